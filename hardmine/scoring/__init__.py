"""Recognition accuracy (R22, R23): what the model knows of a candidate."""

from hardmine.scoring.base import Scoring
from hardmine.scoring.class_rate import ClassRate
from hardmine.scoring.confidence import Confidence
from hardmine.scoring.correct_rate import CorrectRate
from hardmine.scoring.pixel_rate import PixelRate
from hardmine.scoring.reliability import Reliability

__all__ = ["ClassRate", "Confidence", "CorrectRate", "PixelRate", "Reliability", "Scoring"]
