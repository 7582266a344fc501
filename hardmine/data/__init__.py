"""DataModules and data sets."""

from hardmine.data.annotations import Annotations, ImageBoxes, read_coco, write_coco
from hardmine.data.folder import Folder, FolderData
from hardmine.data.image_folder import ImageFolderData
from hardmine.data.index_images import Predictor, Superpixels, Whole
from hardmine.data.labelled import Joined, Kind, LabelledImages
from hardmine.data.listings import CityscapesData, CocoData, PairsData, YoloData
from hardmine.data.module import LabelledData
from hardmine.data.riverside import RiversideData

__all__ = [
    "Annotations",
    "CityscapesData",
    "CocoData",
    "Folder",
    "FolderData",
    "ImageBoxes",
    "ImageFolderData",
    "Joined",
    "Kind",
    "LabelledData",
    "LabelledImages",
    "PairsData",
    "Predictor",
    "RiversideData",
    "Superpixels",
    "Whole",
    "YoloData",
    "read_coco",
    "write_coco",
]
