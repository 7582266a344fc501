"""sRGB and CIE L*a*b* (D65, 2 degrees): what both ways of the conversion share."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch
from torch import Tensor

Colors = Literal["lab", "rgb"]

_WHITE = (0.95047, 1.0, 1.08883)  # XYZ of D65, 2 degrees
_RGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
KNEE = 0.008856  # below this share of white, CIE's f is linear
SLOPE = 7.787
LEVELS = 1 << 16  # steps of the gamma table; half a step is 0.025 of an 8-bit level where the curve is steepest


@contextmanager
def full_precision() -> Iterator[None]:
    """Matrix products of float32 in float32, whatever the training run has set for its own (TF32, bf16)."""
    kept = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(kept)


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """`full_precision` where autocast is on too, and on a GPU the same bits in any batch.

    There kornia's matrix of three channels is a convolution, which cuDNN would make in TF32, and in a way that it
    chooses by the shape of the batch; without cuDNN it is a matrix product for each image.
    """
    kept = torch.backends.cudnn.enabled
    with full_precision(), torch.autocast(device.type, enabled=False):
        torch.backends.cudnn.enabled = False
        try:
            yield
        finally:
            torch.backends.cudnn.enabled = kept


@cache
def matrices() -> tuple[Tensor, Tensor]:
    """Linear RGB -> XYZ / white, and its inverse, (3, 3) float64."""
    xyz = torch.tensor(_RGB_TO_XYZ, dtype=torch.float64) / torch.tensor(_WHITE, dtype=torch.float64)[:, None]
    return xyz, torch.linalg.inv(xyz)


@cache
def decoding() -> Tensor:
    """(256,) float64, linear light in [0, 1] of each 8-bit sRGB level."""
    level = torch.arange(256, dtype=torch.float64) / 255
    return torch.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92)


@cache
def encoding(device: torch.device) -> Tensor:
    """(65536,) uint8, the 8-bit sRGB level at the middle of each step of linear light."""
    light = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    encoded = torch.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    return (encoded * 255).round().to(torch.uint8).to(device)


def linear_to_srgb(linear: Tensor) -> Tensor:
    """8-bit sRGB (..., P) of linear light, [0, 1] and clipped to it."""
    step = (linear * LEVELS).clamp_(0, LEVELS - 1).long().flatten(0, -2)
    rows = encoding(linear.device).expand(len(step), LEVELS)
    return torch.gather(rows, 1, step).view(linear.shape)  # gather runs on all cores where index_select does not
