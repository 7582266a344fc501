"""What hardmine is compared with, and how: methods of others, and the curve that each run leaves."""

from quality.rivals.adversarial_style import AdversarialStyle
from quality.rivals.augmentation import Augmentation, PhotometricTrivialAugment
from quality.rivals.curve import Curve
from quality.rivals.mixture import Mixture
from quality.rivals.plain import PlainAugmentation

__all__ = ["AdversarialStyle", "Augmentation", "Curve", "Mixture", "PhotometricTrivialAugment", "PlainAugmentation"]
