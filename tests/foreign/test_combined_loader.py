"""A CombinedLoader: labelled and unlabelled images side by side; the labelled part is mined."""

from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.utils.data import Dataset

import hardmine
from foreign.conftest import AREAS, check_areas, loader, mine, pictures


class Labelled(Dataset[dict[str, Tensor]]):
    def __init__(self) -> None:
        self.image, self.labels = pictures()

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": self.image[index] / 255, "mask": self.labels[index].long()}


class Unlabelled(Dataset[Tensor]):
    def __init__(self) -> None:
        self.image, _ = pictures(12, seed=2)

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> Tensor:
        return self.image[index] / 255


class TwoLoaders(L.LightningDataModule):
    def train_dataloader(self) -> CombinedLoader:
        loaders = {"labelled": loader(Labelled()), "unlabelled": loader(Unlabelled(), batch_size=6)}
        return CombinedLoader(loaders, mode="max_size_cycle")


class SemiSupervised(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.net(image)
        return logits

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        supervised = nn.functional.cross_entropy(self(batch["labelled"]["image"]), batch["labelled"]["mask"])
        probability = self(batch["unlabelled"]).softmax(1)
        entropy = -(probability * probability.clamp(min=1e-6).log()).sum(1).mean()
        loss: Tensor = supervised + 0.1 * entropy
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


VIEWS: dict[str, dict[str, Any]] = {
    "dots": {"image": "labelled.image", "label": "labelled.mask"},
    "part": {"part": "labelled"},
}


@pytest.mark.parametrize("view", VIEWS)
def test_it_is_mined(store: hardmine.ParameterStore, view: str) -> None:
    mine(store, SemiSupervised(), TwoLoaders(), view=hardmine.View(**VIEWS[view]), areas=AREAS)


@pytest.mark.parametrize("view", VIEWS)
def test_other_areas_stay(store: hardmine.ParameterStore, view: str) -> None:
    check_areas(
        store,
        lambda: (SemiSupervised(), TwoLoaders()),
        lambda batch: (
            [*batch["labelled"]["image"], *batch["unlabelled"]],
            [*batch["labelled"]["mask"], *torch.full((6, 32, 32), 255)],
        ),
        view=hardmine.View(**VIEWS[view]),
        areas=AREAS,
    )
