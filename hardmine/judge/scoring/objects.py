"""Labelled objects and the detections that meet them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

from hardmine.judge.scoring.base import in_areas


def is_object(boxes: Tensor, labels: Tensor) -> Tensor:
    """Which rows of a padded list are objects: labelled, and with an extent.

    Args:
        boxes: (..., 4) floating point x1, y1, x2, y2 in pixels.
        labels: (...) integer class, -1 for padding.

    Returns:
        (...) bool; false too for boxes without width or height, as a crop leaves at its edge: there is nothing to see.
    """
    return (labels >= 0) & (boxes[..., 2:] > boxes[..., :2]).all(-1)


def detections(prediction: Sequence[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Detections of N images, padded to the longest list.

    Args:
        prediction: for each image `boxes` (n, 4), `scores` (n,) and `labels` (n,).

    Returns:
        (N, D, 4) boxes and (N, D) scores float32, (N, D) labels int64; padding has score 0 and label -2, no class
        and no padding of the truth. D is at least 1.
    """
    longest = max(1, *(len(image["scores"]) for image in prediction))
    boxes, scores, labels = [], [], []
    for image in prediction:
        free = longest - len(image["scores"])
        boxes.append(torch.nn.functional.pad(image["boxes"].float(), (0, 0, 0, free)))
        scores.append(torch.nn.functional.pad(image["scores"].float(), (0, free)))
        labels.append(torch.nn.functional.pad(image["labels"].long(), (0, free), value=-2))
    return torch.stack(boxes), torch.stack(scores), torch.stack(labels)


def overlaps(boxes: Tensor, labels: Tensor, true_boxes: Tensor, true_labels: Tensor) -> Tensor:
    """(N, D, G) IoU of detections (N, D) with labelled objects (N, G); 0 between different classes."""
    iou = torch.stack([box_iou(mine, truth) for mine, truth in zip(boxes, true_boxes.float(), strict=True)])
    return iou.nan_to_num(0) * (labels[:, :, None] == true_labels[:, None])


def mean_of_objects(
    value: Tensor, counted: Tensor, labels: Tensor, regions: Tensor, areas: int, by_class: bool
) -> tuple[Tensor, Tensor]:
    """Scores of images and regions from those of their objects.

    Args:
        value: (N, G) float32, score of each object.
        counted: (N, G) bool, false for padding.
        labels: (N, G) int64 class.
        regions: (N, H, W) uint8 labels in [0, A) or 255.
        areas: A.
        by_class: the areas were made of the boxes: area k < A - 1 is class k, the last area the rest of the image.

    Returns:
        (N,) and (N, R) float32; NaN without an object. The rest, and with `by_class` false every area that is there,
        has the image's score.
    """
    total = (value * counted).sum(1) / counted.sum(1)  # 0 / 0 is NaN: no object
    area = in_areas(total, regions, areas)
    if by_class:
        own = (labels[:, :, None] == torch.arange(areas - 1, device=labels.device)) & counted[:, :, None]
        area[:, : areas - 1] = (value[:, :, None] * own).sum(1) / own.sum(1)
    return total, area
