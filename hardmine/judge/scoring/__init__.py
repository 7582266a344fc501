"""Recognition accuracy (R22, R23): what the model knows of a candidate."""

from hardmine.judge.scoring.base import Scoring
from hardmine.judge.scoring.class_rate import ClassRate
from hardmine.judge.scoring.confidence import Confidence
from hardmine.judge.scoring.correct_rate import CorrectRate
from hardmine.judge.scoring.pixel_rate import PixelRate
from hardmine.judge.scoring.reliability import Reliability

__all__ = ["ClassRate", "Confidence", "CorrectRate", "PixelRate", "Reliability", "Scoring"]
