"""Detection: mean reliability of the recognised objects (R23b; D46)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hardmine.judge.scoring.objects import detections, is_object, mean_of_objects, overlaps


class Reliability:
    """Confidence with which the model finds the labelled objects, 0 for those it misses.

    Args:
        iou: overlap (intersection over union) from which a detection of the right class is one of the object.
        by_class: score each class in its own area, for `regions` made of boxes (area k is class k, the last area the
            rest of the image). False gives every area the image's score, for any other kind of areas.
    """

    def __init__(self, iou: float = 0.5, by_class: bool = True) -> None:
        self.iou, self.by_class = iou, by_class

    @torch.no_grad()
    def __call__(
        self, prediction: Sequence[Mapping[str, Tensor]], batch: Mapping[str, Any], areas: int, chosen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score of each image.

        Args:
            prediction: for each image `boxes` (n, 4) x1, y1, x2, y2 in pixels, `scores` (n,) in [0, 1], `labels` (n,).
            batch: `boxes` (N, G, 4) in pixels and `labels` (N, G) int64, -1 for padding; `regions` (N, H, W) uint8.
            areas: A.
            chosen: not looked at.

        Returns:
            (N,) and (N, R) float32 in [0, 1]; NaN where there is no object.
        """
        boxes, scores, labels = detections(prediction)
        found = overlaps(boxes, labels, batch["boxes"], batch["labels"]) >= self.iou
        value = (scores[:, :, None] * found).amax(1)
        counted = is_object(batch["boxes"], batch["labels"])
        return mean_of_objects(value, counted, batch["labels"], batch["regions"], areas, self.by_class)
