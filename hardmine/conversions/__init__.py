"""Conversions: how a source image and a recipe become a candidate."""

from hardmine.conversions.color_transfer import ColorTransfer, Source

__all__ = ["ColorTransfer", "Source"]
