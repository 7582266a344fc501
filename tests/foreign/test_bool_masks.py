"""Masks of bool, one logit."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from foreign.conftest import Segmented, Segmenter, check_areas, loader, measured, mine

AREAS = ("background", "road")


class Roads(Segmented):
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = super().__getitem__(index)
        return image, labels == 1


class RoadModel(Segmenter):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        image, mask = batch
        assert mask.dtype == torch.bool
        return nn.functional.binary_cross_entropy_with_logits(self(image)[:, 0], mask.float())


def project() -> tuple[RoadModel, DataLoader[Any]]:
    return RoadModel(classes=1), loader(Roads())


def test_it_is_mined() -> None:
    mine(measured(AREAS), *project(), areas=AREAS)


def test_other_areas_stay() -> None:
    check_areas(measured(AREAS), project, lambda batch: batch, area="road", label=1, areas=AREAS)
