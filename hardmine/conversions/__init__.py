"""Conversions: how a source image and a recipe become a candidate."""

from hardmine.conversions.affine_object import AffineObject
from hardmine.conversions.base import Conversion
from hardmine.conversions.chain import Chain, suited, unlearnt
from hardmine.conversions.color_transfer import ColorTransfer
from hardmine.conversions.filters import Filter, Outline, Sharpen, Smooth
from hardmine.conversions.reframe import Reframe

__all__ = [
    "AffineObject",
    "Chain",
    "ColorTransfer",
    "Conversion",
    "Filter",
    "Outline",
    "Reframe",
    "Sharpen",
    "Smooth",
    "suited",
    "unlearnt",
]
