"""What travels between the stages: frozen records of tensors whose first axis counts rows.

Axis letters used throughout:
    B  images of a batch             N  rows of any record
    A  areas of the scene            R  regions: the A areas and, last, the whole image (R = A + 1)
    M  targets of the store          S  source images
    P  pixels of an image            H, W  height and width
    D  axes of a parameter           3  channels L*, a*, b* (or R, G, B, where said)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import torch
from torch import Tensor

VOID: Final = 255  # label of pixels that are never converted and never scored


class Rows:
    """Mixin of the frozen dataclasses below: every field is a tensor with the rows on its first axis."""

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name; plain tensors, so that a checkpoint of them loads with `weights_only=True`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        return cls(**dict(tensors))

    def __len__(self) -> int:
        return len(next(iter(self.tensors().values())))

    def __getitem__(self, rows: Tensor | slice) -> Self:
        """The rows picked by a slice, a bool mask or an int64 index."""
        return type(self)(**{name: value[rows] for name, value in self.tensors().items()})

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in parts[0].tensors()})

    def where(self, mask: Tensor, other: Self) -> Self:
        """Row by row: this record where `mask` (N,) is true, else `other`."""

        def pick(mine: Tensor, theirs: Tensor) -> Tensor:
            return torch.where(mask.view(-1, *[1] * (mine.ndim - 1)), mine, theirs)

        return type(self)(**{name: pick(value, getattr(other, name)) for name, value in self.tensors().items()})

    def to(self, device: torch.device) -> Self:
        return type(self)(**{name: value.to(device, non_blocking=True) for name, value in self.tensors().items()})

    @property
    def nbytes(self) -> int:
        return sum(value.nbytes for value in self.tensors().values())


@dataclass(frozen=True)
class Distribution(Rows):
    """Colour distributions (R6): mean and population standard deviation per region and channel.

    Attributes:
        mean: (N, R, 3) float32, CIE L*a*b* under D65, L* in [0, 100]. 0 where `count` is 0.
        std: (N, R, 3) float32, the same units, >= 0.
        count: (N, R) int64, pixels the row was computed from; 0 where the area is absent.
    """

    mean: Tensor
    std: Tensor
    count: Tensor


@dataclass(frozen=True)
class Recipe(Rows):
    """All that is needed to make N candidates again, bit for bit.

    Attributes:
        source: (N,) int64, index of the source image in the training data.
        draw: (N,) int64, seed under which the data set's random augmentation (flip, crop) is replayed.
        chosen: (N, R) bool, the regions that are converted (R17), the whole image after the areas (R19); none chosen
            is the clean source.
        present: (N, R) bool, false for areas that the source turned out to lack when it was scored.
        parameter: (N, R, D) float32, of each region, for colours t_mean and t_std of Expr. 2 (R15); 0 where
            not chosen.
        target: (N, R) int32, row of the store the parameter came from; -1 where generated or not chosen.
        piece: (N,) int64, number of the piece in the buffer; -1 for what is no piece (yet).
        parent: (N,) int64, the piece whose neighbourhood the parameter was taken from; -1 for a first parameter.
        depth: (N,) int64, neighbours of neighbours: 0 for a first parameter.
    """

    source: Tensor
    draw: Tensor
    chosen: Tensor
    present: Tensor
    parameter: Tensor
    target: Tensor
    piece: Tensor
    parent: Tensor
    depth: Tensor

    @classmethod
    def clean(cls, source: Tensor, draw: Tensor, regions: int, axes: int) -> "Recipe":
        """Recipes that leave their sources as they are, for R regions and parameters of D axes."""
        n = len(source)
        none = torch.full((n,), -1, dtype=torch.int64)
        return cls(
            source=source,
            draw=draw,
            chosen=torch.zeros(n, regions, dtype=torch.bool),
            present=torch.ones(n, regions, dtype=torch.bool),
            parameter=torch.zeros(n, regions, axes),
            target=torch.full((n, regions), -1, dtype=torch.int32),
            piece=none,
            parent=none.clone(),
            depth=torch.zeros(n, dtype=torch.int64),
        )

    @property
    def counted(self) -> Tensor:
        """(N, R) bool: regions whose parameter did something, which distances and marks are about."""
        return self.chosen & self.present

    def replace(self, **changes: Tensor) -> "Recipe":
        return Recipe(**{**self.tensors(), **changes})


@dataclass(frozen=True)
class Verdict(Rows):
    """What the model of one optimiser step said of N candidates (R22, R23).

    Attributes:
        score: (N,) float32, recognition accuracy in [0, 1]; NaN where nothing could be recognised.
        area_score: (N, R) float32, the same per region; NaN where the area is absent; last the whole image.
        hard: (N,) bool, score < Th1, and where only a share becomes pieces, `drop` is among the largest.
        gate: (N,) int64, number of the first gate that refused the candidate; -1 where all let it pass.
        step: (N,) int64, optimiser steps that the scoring model had behind it.
        drop: (N,) float32, how far the parameter lowers the score, see `Drops`; NaN where `score` is.
    """

    score: Tensor
    area_score: Tensor
    hard: Tensor
    gate: Tensor
    step: Tensor
    drop: Tensor

    @classmethod
    def none(cls, regions: int) -> "Verdict":
        """On no candidate."""
        score, number = torch.empty(0), torch.empty(0, dtype=torch.int64)
        return cls(score, torch.empty(0, regions), torch.empty(0, dtype=torch.bool), number, number, score)

    @property
    def piece(self) -> Tensor:
        """(N,) bool: what becomes learning data, hard and let through."""
        return self.hard & (self.gate < 0)


def state(record: Rows) -> dict[str, Any]:
    """Checkpoint form of a record: detached clones, so that later changes of the record do not reach it."""
    return {name: value.detach().clone() for name, value in record.tensors().items()}
