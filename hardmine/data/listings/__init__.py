"""Data as it lies: each layout lists its images, and one class reads them."""

from hardmine.data.listings.cityscapes import CityscapesData
from hardmine.data.listings.coco import CocoData
from hardmine.data.listings.listing import Listed, Listing
from hardmine.data.listings.pairs import PairsData
from hardmine.data.listings.yolo import YoloData

__all__ = ["CityscapesData", "CocoData", "Listed", "Listing", "PairsData", "YoloData"]
