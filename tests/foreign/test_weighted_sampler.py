"""A WeightedRandomSampler: what is rare comes often, and what weighs nothing never."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, WeightedRandomSampler

import hardmine
from foreign.conftest import AREAS, Segmented, Segmenter, check_areas, loader, mine, watch


class Rare(Segmented):
    """Every second image weighs nothing, and is black."""

    weights = (1.0, 0.0) * 4

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = super().__getitem__(index)
        return (image if self.weights[index] else torch.zeros_like(image)), labels


def project() -> tuple[Segmenter, DataLoader[Any]]:
    dataset = Rare()
    sampler = WeightedRandomSampler(dataset.weights, num_samples=len(dataset), replacement=True)
    return Segmenter(), loader(dataset, sampler=sampler)


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    module, data = project()
    seen = watch(module)
    mine(store, module, data, areas=AREAS)
    assert all(bool(image.flatten(1).any(1).all()) for image, _ in seen.batches)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(store, project, lambda batch: batch, areas=AREAS)
