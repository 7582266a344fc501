"""Recognition accuracy (R22, R23): what the model knows of a candidate."""

from hardmine.scoring.pixel_rate import PixelRate

__all__ = ["PixelRate"]
