"""LightningModules that train by plain automatic optimisation and know nothing of mining."""

from hardmine.tasks.segmentation import SegmentationTask

__all__ = ["SegmentationTask"]
