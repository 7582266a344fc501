"""Detection: correct-answer rate, objects recognised / objects (R23b; D46)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hardmine.judge.scoring.objects import detections, is_object, mean_of_objects, overlaps


class CorrectRate:
    """Share of the labelled objects that the model recognises.

    An object is recognised by a detection of its class that is confident enough and overlaps it enough. The most
    confident detection chooses first, the object that it overlaps most; one detection counts for one object.

    Args:
        iou: overlap (intersection over union) from which a detection can be one of the object.
        score: confidence in [0, 1] from which a detection counts.
        by_class: score each class in its own area, for `regions` made of boxes (area k is class k, the last area the
            rest of the image). False gives every area the image's score, for any other kind of areas.
    """

    def __init__(self, iou: float = 0.5, score: float = 0.5, by_class: bool = True) -> None:
        self.iou, self.score, self.by_class = iou, score, by_class

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
        iou = overlaps(boxes, labels, batch["boxes"], batch["labels"])
        able = (iou >= self.iou) & (scores >= self.score)[:, :, None]
        value = _recognised(iou * able, scores).float()
        counted = is_object(batch["boxes"], batch["labels"])
        return mean_of_objects(value, counted, batch["labels"], batch["regions"], areas, self.by_class)


def _recognised(iou: Tensor, scores: Tensor) -> Tensor:
    """Greedy matching in the order of confidence.

    Each round settles in all images at once the most confident detection that still meets a free object, so there are
    as many rounds as objects and not as detections: one that meets none now never will.

    Args:
        iou: (N, D, G) float32, 0 where detection and object cannot match.
        scores: (N, D) float32.

    Returns:
        (N, G) bool.
    """
    taken = iou.new_zeros(iou.shape[0], iou.shape[2], dtype=torch.bool)
    free = iou.clone()
    row = torch.arange(len(iou), device=iou.device)
    for _ in range(min(iou.shape[1:])):
        able = free.amax(2) > 0
        first = torch.where(able, scores, -1).argmax(1)
        best = free[row, first].argmax(1)
        taken[row, best] |= able.any(1)
        free[row, first] = 0
        free.masked_fill_(taken[:, None], 0)
    return taken
