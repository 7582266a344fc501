"""Manual optimisation: encoder and head have an optimiser each, stepped by hand."""

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import hardmine
from foreign.conftest import AREAS, Segmented, check_areas, loader, mine

TRAINER = {"max_steps": 12}  # Lightning counts the steps of both


class TwoOptimizers(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(image))
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        image, labels = batch
        encoder, head = self.optimizers()  # type: ignore[attr-defined]
        loss = nn.functional.cross_entropy(self(image), labels)
        encoder.zero_grad()
        head.zero_grad()
        self.manual_backward(loss)
        encoder.step()
        head.step()
        self.log("train_loss", loss)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.encoder.parameters(), lr=1e-4), torch.optim.Adam(self.head.parameters(), lr=1e-3)


def project() -> tuple[TwoOptimizers, DataLoader[Any]]:
    return TwoOptimizers(), loader(Segmented())


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), trainer=TRAINER, areas=AREAS)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(store, project, lambda batch: batch, trainer=TRAINER, areas=AREAS)
