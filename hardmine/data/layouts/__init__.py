"""Data as it lies: each layout lists its images, and one class reads them."""

from hardmine.data.layouts.listing import Listed, Listing
from hardmine.data.layouts.pairs import PairsData

__all__ = ["Listed", "Listing", "PairsData"]
