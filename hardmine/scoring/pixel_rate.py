"""Area division: correct pixels / all pixels (R23c; D46)."""

import torch
from torch import Tensor

from hardmine.records import VOID
from hardmine.regions import region_sums


class PixelRate:
    """Share of the labelled pixels that the model gets right."""

    def __call__(self, logits: Tensor, target: Tensor, regions: Tensor, areas: int) -> tuple[Tensor, Tensor]:
        """Score of each image.

        Args:
            logits: (N, classes, H, W) floating point.
            target: (N, H, W) class of each pixel, integer; 255 is not scored.
            regions: (N, H, W) uint8 labels in [0, A) or 255.
            areas: A.

        Returns:
            (N,) and (N, R) float32 in [0, 1]; NaN where there is nothing to score.
        """
        known = target != VOID
        correct = (logits.argmax(dim=1).to(target.dtype) == target) & known
        counts = torch.stack([correct, known], dim=1).flatten(2).float()
        (sums,) = region_sums(regions.flatten(1), areas, counts)
        area = sums[:, 0] / sums[:, 1]  # 0 / 0 is NaN: an absent area
        return area[:, -1], area
