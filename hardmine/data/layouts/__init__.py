"""Data as it lies: each layout lists its images, and one class reads them."""

from hardmine.data.layouts.cityscapes import CityscapesData
from hardmine.data.layouts.coco import CocoData
from hardmine.data.layouts.listing import Listed, Listing
from hardmine.data.layouts.pairs import PairsData
from hardmine.data.layouts.yolo import YoloData

__all__ = ["CityscapesData", "CocoData", "Listed", "Listing", "PairsData", "YoloData"]
