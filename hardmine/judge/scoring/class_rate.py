"""Area division, each class counting the same however small it is (R23c; D46)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hardmine.judge.scoring.pixel_rate import pixel_counts
from hardmine.kernels.statistics import region_counts


class ClassRate:
    """Share of the pixels that the model gets right, taken class by class.

    Args:
        worst: the score is that of the image's worst class; false takes the mean over its classes.
        converted: count the pixels of the converted areas only.
    """

    def __init__(self, worst: bool = False, converted: bool = False) -> None:
        self.worst, self.converted = worst, converted

    @torch.no_grad()
    def __call__(
        self, prediction: Tensor, batch: Mapping[str, Any], areas: int, chosen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score of each image.

        Args:
            prediction: (N, C, H, W) logits, floating point.
            batch: `target` (N, H, W) integer in [0, C), 255 is not scored; `regions` (N, H, W) uint8 in [0, A) or 255.
            areas: A.
            chosen: (N, R) bool, the converted regions; the last one, the whole image, counts every labelled pixel.

        Returns:
            (N,) and (N, R) float32 in [0, 1]; of a region all its labelled pixels alike (R23c). NaN where there is
            nothing to score.
        """
        regions = batch["regions"].flatten(1)
        counts = pixel_counts(prediction, batch["target"])
        of_regions = region_counts(regions, areas, counts)
        if self.converted:
            counts = counts & _converted(regions, areas, chosen)[:, None]
        sums = region_counts(batch["target"].flatten(1).byte(), prediction.shape[1], counts)
        rate = (sums[:, 0] / sums[:, 1])[:, :-1]  # 0 / 0 is NaN: an absent class
        if self.worst:
            least = rate.nan_to_num(torch.inf).amin(1)
            score = torch.where(least.isinf(), torch.nan, least)
        else:
            score = rate.nanmean(1)
        return score, of_regions[:, 0] / of_regions[:, 1]


def _converted(regions: Tensor, areas: int, chosen: Tensor) -> Tensor:
    """(N, P) bool: pixels that the conversion reached, of (N, P) labels and (N, R) regions."""
    reached = chosen.new_zeros(len(chosen), 256)  # one entry for each uint8 label, void among them
    reached[:, :areas] = chosen[:, :-1]
    return (reached | chosen[:, -1:]).gather(1, regions.long())
