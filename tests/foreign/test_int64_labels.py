"""Label maps of int64 with -100 where nothing is labelled, PyTorch's own `ignore_index`; images float in [0, 255]."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

import hardmine
from foreign.conftest import AREAS, Segmented, Segmenter, check_areas, loader, mine

VIEW: dict[str, Any] = {"ignore_index": -100}


class Long(Segmented):
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        labels = self.labels[index].long()
        labels[:3] = -100
        assert labels.dtype == torch.int64
        return self.image[index].float(), labels


def project() -> tuple[Segmenter, DataLoader[Any]]:
    return Segmenter(ignore_index=-100), loader(Long())


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), view=hardmine.View(**VIEW), areas=AREAS)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(store, project, lambda batch: batch, view=hardmine.View(**VIEW), areas=AREAS)
