"""A batch sampler: images of one size in each batch, sizes differ from batch to batch."""

import random
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

import hardmine
from foreign.conftest import AREAS, Segmenter, check_areas, mine, pictures, watch

SIZES = [(32, 32), (24, 40)]


class TwoSizes(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self) -> None:
        self.kinds = [pictures(5, size) for size in SIZES]

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = self.kinds[index % 2]
        return image[index // 2] / 255, labels[index // 2].long()


class SameSize(Sampler[list[int]]):
    """Batches of two and three images, each of one size, in an order of its own."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self.count, self.order = count, random.Random(seed)

    def __iter__(self) -> Iterator[list[int]]:
        batches = []
        for kind in range(2):
            members = list(range(kind, self.count, 2))
            self.order.shuffle(members)
            batches += [members[:2], members[2:]]
        self.order.shuffle(batches)
        yield from batches

    def __len__(self) -> int:
        return 4


def project() -> tuple[Segmenter, DataLoader[Any]]:
    dataset = TwoSizes()
    return Segmenter(), DataLoader(dataset, batch_sampler=SameSize(len(dataset)))


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    module, data = project()
    seen = watch(module)
    mine(store, module, data, areas=AREAS)
    assert {len(image) for image, _ in seen.batches} == {2, 3}
    assert {tuple(image.shape[2:]) for image, _ in seen.batches} == set(SIZES)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(store, project, lambda batch: batch, areas=AREAS)
