"""LightningModules that train by plain automatic optimisation and know nothing of mining."""

from hardmine.tasks.base import Task
from hardmine.tasks.classification import ClassificationTask
from hardmine.tasks.detection import DetectionTask
from hardmine.tasks.segmentation import SegmentationTask

__all__ = ["ClassificationTask", "DetectionTask", "SegmentationTask", "Task"]
