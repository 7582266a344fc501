"""What every scoring offers, and what several of them need."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from hardmine.kernels.statistics import region_counts


class Scoring(Protocol):
    """Recognition accuracy of candidates (R22), computed where the prediction lies and without a gradient."""

    def __call__(self, prediction: Any, batch: Mapping[str, Any], areas: int, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Score of each image.

        Args:
            prediction: what the task's `forward` gives for N images.
            batch: their labels, and `regions` (N, H, W) uint8 in [0, A) or 255.
            areas: A.
            chosen: (N, R) bool, the regions that were converted, the whole image last.

        Returns:
            (N,) and (N, R) float32 in [0, 1], of the image and of each region; NaN where there is nothing to score.
        """
        ...


def in_areas(score: Tensor, regions: Tensor, areas: int) -> Tensor:
    """An image's score for each of its areas, where a scoring tells no area from another.

    Args:
        score: (N,) float32.
        regions: (N, H, W) uint8 labels in [0, A) or 255.
        areas: A.

    Returns:
        (N, R) float32; NaN for absent areas, last the image's score.
    """
    every = torch.ones(len(regions), 1, regions[0].numel(), dtype=torch.bool, device=regions.device)
    count = region_counts(regions.flatten(1), areas, every)
    inside = torch.where(count[:, 0] > 0, score[:, None], torch.nan)
    return torch.cat([inside[:, :-1], score[:, None]], dim=1)
