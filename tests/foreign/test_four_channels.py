"""Four channels, blue, green, red and near infrared: three are colours, the fourth never changes."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

import hardmine
from foreign.conftest import AREAS, Segmented, Segmenter, both_ways, check_areas, loader, mine

VIEW: dict[str, Any] = {"channels": (2, 1, 0)}


class Satellite(Segmented):
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = super().__getitem__(index)
        return torch.cat([image.flip(0), 1 - image[1:2]]), labels


def project() -> tuple[Segmenter, DataLoader[Any]]:
    return Segmenter(channels=4), loader(Satellite())


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), view=hardmine.View(**VIEW), areas=AREAS)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(store, project, lambda batch: batch, view=hardmine.View(**VIEW), areas=AREAS)


def test_the_fourth_channel_stays(store: hardmine.ParameterStore) -> None:
    plain, mined = both_ways(store, project, view=hardmine.View(**VIEW), areas=AREAS)
    for (before, _), (after, _) in zip(plain.batches, mined.batches, strict=True):
        assert torch.equal(before[:, 3], after[:, 3])
