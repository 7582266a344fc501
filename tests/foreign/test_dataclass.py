"""A dataclass as batch, with names of the images beside the tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import hardmine
from foreign.conftest import AREAS, Segmented, Segmenter, check_areas, loader, mine, watch


@dataclass
class Batch:
    image: Tensor
    mask: Tensor
    names: list[str]


def collate(samples: Sequence[tuple[Tensor, Tensor]]) -> Batch:
    image, mask = (torch.stack(parts) for parts in zip(*samples, strict=True))
    return Batch(image, mask, [f"image {n}" for n in range(len(image))])


class BatchSegmenter(Segmenter):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # type: ignore[override]
        return nn.functional.cross_entropy(self(batch.image), batch.mask)


def project() -> tuple[BatchSegmenter, DataLoader[Any]]:
    return BatchSegmenter(), loader(Segmented(), collate_fn=collate)


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    module, data = project()
    seen = watch(module)
    mine(store, module, data, areas=AREAS)
    assert all(isinstance(batch, Batch) for batch in seen.batches)
    assert all(batch.names == [f"image {n}" for n in range(4)] for batch in seen.batches)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(store, project, lambda batch: (batch.image, batch.mask), areas=AREAS)
