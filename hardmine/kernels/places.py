"""Where the content of each pixel comes from, under an affine map."""

import torch
from torch import Tensor


def places(origin: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """x and y (N, H, W) of the content of each pixel, the edges of the image being -1 and 1 (`align_corners=False`).

    Multiplied out instead of as a product of matrices, which a library makes in another way for another batch.

    Args:
        origin: (N, 2, 3), see `hardmine.kernels.warp`.
        height, width: of the images.
    """
    x = torch.arange(width, device=origin.device)
    y = torch.arange(height, device=origin.device)[:, None]

    def place(axis: int, size: int) -> Tensor:
        across, down, shift = origin[:, axis, :, None, None].unbind(1)
        return (2 * across / size) * x + (2 * down / size) * y + ((2 * shift + 1) / size - 1)

    return place(0, width), place(1, height)
