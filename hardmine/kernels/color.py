"""sRGB <-> CIE L*a*b* (D65, 2 degrees), few passes over the pixels; kornia.color is what the tests compare with.

Two habits make it fast without compiling anything. A curve with a linear foot is written as
`curve(max(x, knee)) + slope * min(x, knee) + constant`: the same function as a branch, in vectorised passes, and the
constant folds into the next offset. And memory that is free is written again: new memory costs more than arithmetic.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch
from torch import Tensor

Colors = Literal["lab", "rgb"]

_WHITE = (0.95047, 1.0, 1.08883)  # XYZ of D65, 2 degrees
_RGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_KNEE = 0.008856  # below this share of white, CIE's f is linear
_SLOPE = 7.787
_LEVELS = 1 << 16  # steps of the gamma table; half a step is 0.025 of an 8-bit level where the curve is steepest


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
def _matrices(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Linear RGB -> XYZ / white, and its inverse, (3, 3)."""
    xyz = torch.tensor(_RGB_TO_XYZ, dtype=torch.float64) / torch.tensor(_WHITE, dtype=torch.float64)[:, None]
    return xyz.to(device, dtype), torch.linalg.inv(xyz).to(device, dtype)


@cache
def _decoding(device: torch.device, dtype: torch.dtype) -> Tensor:
    """(256,) linear light in [0, 1] of each 8-bit sRGB level."""
    level = torch.arange(256, dtype=torch.float64) / 255
    linear = torch.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92)
    return linear.to(device, dtype)


@cache
def _encoding(device: torch.device) -> Tensor:
    """(65536,) uint8, the 8-bit sRGB level at the middle of each step of linear light."""
    light = (torch.arange(_LEVELS, dtype=torch.float64) + 0.5) / _LEVELS
    encoded = torch.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    return (encoded * 255).round().to(torch.uint8).to(device)


def srgb_to_lab(pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """L*a*b* of 8-bit sRGB pixels (R13).

    Args:
        pixels: (..., 3, P) uint8.
        dtype: float32 or float64 of the result.

    Returns:
        (..., 3, P): L* in [0, 100], a* and b* in about [-128, 127].
    """
    linear = torch.index_select(_decoding(pixels.device, dtype), 0, pixels.reshape(-1).int()).view(pixels.shape)
    t = _matrices(pixels.device, dtype)[0] @ linear
    f = t.clamp(min=_KNEE).pow_(1 / 3).add_(t.clamp_(max=_KNEE), alpha=_SLOPE)
    x, y, z = f.unbind(-2)
    lab = linear  # its memory is free
    torch.mul(y, 116, out=lab[..., 0, :]).sub_(16 + 116 * _SLOPE * _KNEE)
    torch.sub(x, y, out=lab[..., 1, :]).mul_(500)
    torch.sub(y, z, out=lab[..., 2, :]).mul_(200)
    return lab


def lab_to_linear(lab: Tensor, scale: float = 1.0) -> Tensor:
    """Linear RGB of L*a*b* (..., 3, P) times `scale`; colours outside sRGB lie outside [0, scale]."""
    f = torch.empty_like(lab)
    x, y, z = f.unbind(-2)
    torch.add(lab[..., 0, :], 16, out=y).div_(116)
    torch.add(y, lab[..., 1, :], alpha=1 / 500, out=x)
    torch.sub(y, lab[..., 2, :], alpha=1 / 200, out=z).clamp_(min=0)  # as kornia and scikit-image do with large b*
    knee = _KNEE ** (1 / 3)
    base = f.clamp(min=knee)
    t = (base * base).mul_(base).add_(f.clamp_(max=knee).sub_(knee), alpha=1 / _SLOPE)
    return torch.matmul(_matrices(lab.device, lab.dtype)[1] * scale, t, out=f)


def lab_to_srgb(lab: Tensor) -> Tensor:
    """8-bit sRGB of L*a*b*, clipped to the gamut.

    Args:
        lab: (..., 3, P) float32 or float64.

    Returns:
        (..., 3, P) uint8.
    """
    return _encoded(lab_to_linear(lab, scale=_LEVELS))


def linear_to_srgb(linear: Tensor) -> Tensor:
    """8-bit sRGB (..., P) of linear light, [0, 1] and clipped to it."""
    return _encoded(linear * _LEVELS)


def _encoded(steps: Tensor) -> Tensor:
    """8-bit sRGB of linear light (..., P), in steps of the gamma table; written over."""
    step = steps.clamp_(0, _LEVELS - 1).long().flatten(0, -2)
    rows = _encoding(steps.device).expand(len(step), _LEVELS)
    return torch.gather(rows, 1, step).view(steps.shape)  # gather runs on all cores where index_select does not
