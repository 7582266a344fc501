"""kornia on the device: the module augments and normalises in its own transfer hook, with kornia's generators."""

from typing import Any

import kornia.augmentation as K
import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import hardmine
from foreign.conftest import AREAS, Segmented, check_areas, loader, mine


class Augmented(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.flip = K.AugmentationSequential(
            K.RandomHorizontalFlip(p=0.5), K.RandomVerticalFlip(p=0.5), data_keys=["input", "mask"]
        )
        self.normalize = K.Normalize(mean=torch.tensor([0.5, 0.5, 0.5]), std=torch.tensor([0.25, 0.25, 0.25]))
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1))

    def on_after_batch_transfer(self, batch: list[Tensor], dataloader_idx: int) -> tuple[Tensor, Tensor]:
        image, mask = batch
        if self.trainer.training:
            image, mask = self.flip(image, mask[:, None].float())
            mask = mask[:, 0].long()
        return self.normalize(image), mask

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.net(image)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        image, mask = batch
        return nn.functional.cross_entropy(self(image), mask)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        image, mask = batch
        self.log("val_loss", nn.functional.cross_entropy(self(image), mask))

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def project() -> tuple[Augmented, DataLoader[Any], DataLoader[Any]]:
    return Augmented(), loader(Segmented(), shuffle=True), loader(Segmented())


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), areas=AREAS)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    """Order and flips come from the global generator, which mining leaves alone."""
    check_areas(store, project, lambda batch: batch, areas=AREAS)
