"""torchgeo: a task and a NonGeoDataModule, which shuffles, and normalises and flips after the transfer."""

from typing import Any

import kornia.augmentation as K
import torch
from torch import Tensor
from torchgeo.datamodules import NonGeoDataModule
from torchgeo.datasets import NonGeoDataset
from torchgeo.trainers import SemanticSegmentationTask

import hardmine
from foreign.conftest import AREAS, check_areas, mine, pictures


class Fields(NonGeoDataset):
    """`image` (3, H, W) float32 in [0, 255] and `mask` (H, W) int64, as torchgeo's data sets have them."""

    def __init__(self, root: str = "data", split: str = "train") -> None:
        self.root, self.split = root, split
        self.image, self.mask = pictures(8 if split == "train" else 4)

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": self.image[index].float(), "mask": self.mask[index].long()}


class FieldsDataModule(NonGeoDataModule):
    mean = torch.tensor([123.0, 117.0, 104.0])
    std = torch.tensor([58.0, 57.0, 57.0])

    def __init__(self, batch_size: int = 64, num_workers: int = 0, **kwargs: Any) -> None:
        super().__init__(Fields, batch_size, num_workers, **kwargs)
        self.train_aug = K.AugmentationSequential(
            K.Normalize(mean=self.mean, std=self.std),
            K.RandomHorizontalFlip(p=0.5),
            K.RandomVerticalFlip(p=0.5),
            data_keys=None,
            keepdim=True,
        )
        self.aug = K.AugmentationSequential(K.Normalize(mean=self.mean, std=self.std), data_keys=None, keepdim=True)


def project() -> tuple[SemanticSegmentationTask, FieldsDataModule]:
    task = SemanticSegmentationTask(
        model="unet", backbone="resnet18", in_channels=3, task="multiclass", num_classes=3, loss="ce", ignore_index=255
    )
    return task, FieldsDataModule(batch_size=4, num_workers=0, root="fields")


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), areas=AREAS)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    """Flips and order come from the global generators, so that this also shows that mining leaves them alone."""
    check_areas(store, project, lambda batch: (batch["image"], batch["mask"]), areas=AREAS)
