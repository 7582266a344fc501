"""Augmentation of colours: what changes pixels and leaves every label where it is."""

from torchvision.transforms.v2 import TrivialAugmentWide

_PHOTOMETRIC = (
    "Identity",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)


class PhotometricTrivialAugment(TrivialAugmentWide):  # type: ignore[misc]  # torchvision ships no types
    """TrivialAugment (Wide, arXiv:2103.10158) without the operations that move pixels: the labels would not follow."""

    _AUGMENTATION_SPACE = {name: TrivialAugmentWide._AUGMENTATION_SPACE[name] for name in _PHOTOMETRIC}  # noqa: RUF012
