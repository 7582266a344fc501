"""A module that has no `forward`, and normalises in a transfer hook of its own; loaders in place of a DataModule."""

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import hardmine
from foreign.conftest import AREAS, check_areas, loader, mine, pictures


class Raw(Dataset[dict[str, Tensor]]):
    """uint8 images; the module scales them on the device."""

    def __init__(self) -> None:
        self.image, self.labels = pictures()

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": self.image[index], "mask": self.labels[index].long()}


class LitSegmenter(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.decoder = nn.Conv2d(8, 3, 1)

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        assert batch["image"].dtype == torch.uint8
        batch["image"] = (batch["image"].float() / 255 - 0.45) / 0.22
        return batch

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        logits = self.decoder(self.encoder(batch["image"]))
        return nn.functional.cross_entropy(logits, batch["mask"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        logits = self.decoder(self.encoder(batch["image"]))
        self.log("val_loss", nn.functional.cross_entropy(logits, batch["mask"]))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def project() -> tuple[LitSegmenter, DataLoader[Any], DataLoader[Any]]:
    return LitSegmenter(), loader(Raw()), loader(Raw())


def predict(module: Any, batch: dict[str, Tensor]) -> Tensor:
    assert batch["image"].dtype == torch.float32
    logits: Tensor = module.decoder(module.encoder(batch["image"]))
    return logits


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), areas=AREAS, predict=predict)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(store, project, lambda batch: (batch["image"], batch["mask"]), areas=AREAS, predict=predict)
