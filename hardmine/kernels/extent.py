"""Images of different sizes in one tensor: each lies in the upper left corner, the rest is padding."""

from collections.abc import Iterator

import torch
from torch import Tensor


def by_size(extent: Tensor, height: int, width: int) -> Iterator[tuple[Tensor, int, int]]:
    """The rows of each size, so that what is done to an image can be done as if it stood alone.

    Args:
        extent: (B, 2) float in (0, 1], share of height and width that each image fills.
        height, width: of the tensor, pixels.

    Yields:
        (n,) int64 rows on the CPU, and height and width of their images, pixels.
    """
    sizes = (extent.cpu().double() * torch.tensor([height, width])).round().long().clamp(min=1)
    for size in torch.unique(sizes, dim=0):
        yield (sizes == size).all(1).nonzero().flatten(), int(size[0]), int(size[1])
