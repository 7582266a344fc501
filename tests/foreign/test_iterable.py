"""An IterableDataset: a stream without length or numbers, shuffled in a buffer of its own."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

import hardmine
from foreign.conftest import AREAS, Segmented, Segmenter, check_areas, loader, mine


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __init__(self, seed: int = 0) -> None:
        self.source, self.seed = Segmented(count=10), seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(self.seed)
        waiting: list[int] = []
        for index in range(len(self.source)):
            waiting.append(index)
            if len(waiting) > 3:
                yield self.source[waiting.pop(int(torch.randint(len(waiting), (), generator=generator)))]
        for index in waiting:
            yield self.source[index]


def project() -> tuple[Segmenter, DataLoader[Any]]:
    return Segmenter(), loader(Stream())  # the last batch of each round has two rows


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), areas=AREAS)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(store, project, lambda batch: batch, areas=AREAS)
