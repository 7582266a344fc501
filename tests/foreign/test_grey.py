"""Grey images: one channel, of which only the lightness can move."""

from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

import hardmine
from foreign.conftest import AREAS, Segmented, Segmenter, check_areas, loader, measured, mine


class Grey(Segmented):
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = super().__getitem__(index)
        return image.mean(0, keepdim=True), labels


def project() -> tuple[Segmenter, DataLoader[Any]]:
    return Segmenter(channels=1), loader(Grey())


def test_it_is_mined() -> None:
    mine(measured(grey=True), *project(), areas=AREAS)


def test_colored_targets_will_do(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), areas=AREAS)


def test_other_areas_stay() -> None:
    check_areas(measured(grey=True), project, lambda batch: batch, areas=AREAS)
