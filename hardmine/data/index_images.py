"""How index images come about where nobody has drawn them: from boxes, superpixels, a model, or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from skimage.segmentation import slic
from torch import Tensor

from hardmine.errors import InputError
from hardmine.records import VOID

# scikit-image's own 10 and 0.5 merge up to half of the segments away where few are asked for: places without a label
_SLIC = {"compactness": 20.0, "min_size_factor": 0.2}

FromImage = Literal["superpixels", "whole", "predicted"]  # index images that need the image alone


class Predictor(Protocol):
    """Makes the index image (H, W) uint8 of an image (3, H, W) uint8 sRGB; `areas` names its labels 0, 1, 2, ..."""

    @property
    def areas(self) -> Sequence[str]: ...

    def __call__(self, image: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class Whole:
    """One area: the image.

    >>> Whole()(torch.zeros(3, 1, 2, dtype=torch.uint8))
    tensor([[0, 0]], dtype=torch.uint8)
    """

    areas: tuple[str, ...] = ("image",)

    def __call__(self, image: Tensor) -> Tensor:
        return torch.zeros(image.shape[1:], dtype=torch.uint8)


@dataclass(frozen=True)
class Superpixels:
    """SLIC superpixels (Achanta et al. 2012) under a fixed number of labels.

    SLIC finds about as many segments as it is asked for, in no fixed place. Each is matched to one point of a fixed
    grid, row by row, so that label k means about the same place in every image and a store can keep statistics under
    it. Segments beyond the number of labels join the nearest point's; a label that no segment matches stays empty.

    Args:
        count: number of labels, 1 to 255.

    Raises:
        InputError: `count` out of range.
    """

    count: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.count <= VOID:
            raise InputError(f"data.superpixels must be 1 to {VOID} (labels have 8 bits), got {self.count}")

    @property
    def areas(self) -> tuple[str, ...]:
        return tuple(f"superpixel_{index}" for index in range(self.count))

    def __call__(self, image: Tensor) -> Tensor:
        pixels = image.permute(1, 2, 0).numpy()
        segments = slic(pixels, self.count, channel_axis=-1, start_label=0, **_SLIC)
        height, width = segments.shape
        size = np.bincount(segments.ravel()).clip(min=1)
        rows, columns = (axis.ravel() for axis in np.indices(segments.shape))
        centre = np.stack([np.bincount(segments.ravel(), axis) / size for axis in (rows, columns)], axis=1) + 0.5
        distance = ((centre[:, None] - grid(self.count, height, width)) ** 2).sum(axis=2)
        label = distance.argmin(axis=1)
        matched, point = linear_sum_assignment(distance)
        label[matched] = point
        return torch.from_numpy(label.astype(np.uint8)[segments])


def grid(count: int, height: int, width: int) -> np.ndarray:
    """`count` points spread evenly over an image, row by row.

    Returns:
        (count, 2) float64: y and x of each, pixels.
    """
    rows = min(count, max(1, round((count * height / width) ** 0.5)))
    points = []
    for row in range(rows):
        columns = count * (row + 1) // rows - count * row // rows
        points += [((row + 0.5) / rows * height, (column + 0.5) / columns * width) for column in range(columns)]
    return np.array(points)


@dataclass(frozen=True)
class Predicted:
    """A user's predictor, with what it returns checked.

    Raises:
        InputError: the predictor has no or too many areas, or (when called) returns no index image of the image.
    """

    predictor: Predictor

    def __post_init__(self) -> None:
        if not 1 <= len(self.areas) <= VOID:
            raise InputError(
                f"`regions`=predicted: the predictor must name 1 to {VOID} areas, got {len(self.areas)}", "data"
            )

    @property
    def areas(self) -> tuple[str, ...]:
        return tuple(self.predictor.areas)

    def __call__(self, image: Tensor) -> Tensor:
        regions = self.predictor(image).to("cpu", copy=True)  # it is kept; the predictor may use its own again
        if regions.shape != image.shape[1:] or regions.dtype != torch.uint8:
            raise InputError(
                f"`regions`=predicted: the predictor must return {tuple(image.shape[1:])} uint8, "
                f"got {tuple(regions.shape)} {str(regions.dtype).removeprefix('torch.')}: mend it",
                "data",
            )
        strange = (regions >= len(self.areas)) & (regions != VOID)
        if strange.any():
            raise InputError(
                f"`regions`=predicted: the predictor gave label {int(regions[strange][0])}, "
                f"but names areas 0 to {len(self.areas) - 1}: mend it",
                "data",
            )
        return regions


def from_image(regions: FromImage, superpixels: int = 32, predictor: Predictor | None = None) -> Predictor:
    """What makes index images of images alone.

    Args:
        regions: which way.
        superpixels: number of labels of `superpixels`.
        predictor: of `predicted`.

    Raises:
        InputError: no such way, or `predicted` without a predictor.
    """
    if regions == "whole":
        return Whole()
    if regions == "superpixels":
        return Superpixels(superpixels)
    if regions != "predicted":
        raise InputError(f"`regions` must be one of superpixels, whole, predicted, got {regions!r}", "data")
    if predictor is None:
        raise InputError(
            "`regions`=predicted needs a predictor, which only code can pass: set another `regions`", "data"
        )
    return Predicted(predictor)


def regions_of_boxes(boxes: Tensor, labels: Tensor, size: tuple[int, int], rest: int) -> Tensor:
    """Index image drawn from boxes: a pixel belongs to the smallest box that holds its centre, else to the rest.

    Args:
        boxes: (G, 4) float32, x1, y1, x2, y2 in pixels.
        labels: (G,) int64, label of each box; negative ones are padding.
        size: H, W.
        rest: label of the pixels outside all boxes.

    Returns:
        (H, W) uint8. Of boxes equally large the later one is on top.

    >>> regions_of_boxes(torch.tensor([[0.0, 0.0, 2.0, 1.0]]), torch.tensor([1]), (2, 3), rest=4)
    tensor([[1, 1, 4],
            [4, 4, 4]], dtype=torch.uint8)
    """
    regions = torch.full(size, rest, dtype=torch.uint8)
    width, height = (boxes[:, 2:] - boxes[:, :2]).double().unbind(1)
    edges = (boxes - 0.5).ceil().long().clamp(min=0)  # first pixel whose centre is at or beyond the edge
    for index in (width * height).argsort(descending=True, stable=True).tolist():
        if labels[index] >= 0:
            left, top, right, bottom = edges[index].tolist()
            regions[top:bottom, left:right] = int(labels[index])
    return regions
