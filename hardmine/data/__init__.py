"""DataModules and data sets."""

from hardmine.data.folder import Folder, FolderData
from hardmine.data.labelled import LabelledImages
from hardmine.data.mining import Candidates, MiningDataModule
from hardmine.data.module import LabelledData
from hardmine.data.riverside import RiversideData
from hardmine.data.sampler import MiningSampler

__all__ = [
    "Candidates",
    "Folder",
    "FolderData",
    "LabelledData",
    "LabelledImages",
    "MiningDataModule",
    "MiningSampler",
    "RiversideData",
]
