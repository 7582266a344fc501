"""DataModules and data sets."""

from hardmine.data.annotations import Annotations, ImageBoxes, read_coco, write_coco
from hardmine.data.augment import PhotometricTrivialAugment
from hardmine.data.folder import Folder, FolderData
from hardmine.data.image_folder import ImageFolderData
from hardmine.data.index_images import Predictor, Superpixels, Whole
from hardmine.data.labelled import Augment, Joined, Kind, LabelledImages
from hardmine.data.mining import MiningDataModule
from hardmine.data.module import LabelledData
from hardmine.data.riverside import RiversideData
from hardmine.data.sampler import MiningSampler

__all__ = [
    "Annotations",
    "Augment",
    "Folder",
    "FolderData",
    "ImageBoxes",
    "ImageFolderData",
    "Joined",
    "Kind",
    "LabelledData",
    "LabelledImages",
    "MiningDataModule",
    "MiningSampler",
    "PhotometricTrivialAugment",
    "Predictor",
    "RiversideData",
    "Superpixels",
    "Whole",
    "read_coco",
    "write_coco",
]
