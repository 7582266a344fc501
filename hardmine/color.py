"""sRGB <-> CIE L*a*b* (D65, 2 degrees), few passes over the pixels; kornia.color is what the tests compare with.

Two habits make it fast without compiling anything. A curve with a linear foot is written as
`curve(max(x, knee)) + slope * min(x, knee) + constant`: the same function as a branch, in vectorised passes, and the
constant folds into the next offset. The two linear steps of each direction are 3 x 3 matrix products.
"""

from functools import cache

import torch
from torch import Tensor

_WHITE = (0.95047, 1.0, 1.08883)  # XYZ of D65, 2 degrees
_RGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_F_TO_LAB = ((0.0, 116.0, 0.0), (500.0, -500.0, 0.0), (0.0, 200.0, -200.0))
_KNEE = 0.008856  # below this share of white, CIE's f is linear
_SLOPE = 7.787
_LEVELS = 1 << 16  # steps of the gamma table; half a step is 0.025 of an 8-bit level where the curve is steepest


@cache
def _matrices(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """RGB -> XYZ / white, f -> Lab, and their inverses (3, 3)."""
    xyz = torch.tensor(_RGB_TO_XYZ, dtype=torch.float64) / torch.tensor(_WHITE, dtype=torch.float64)[:, None]
    lab = torch.tensor(_F_TO_LAB, dtype=torch.float64)
    forward, backward = (xyz, lab), (torch.linalg.inv(lab), torch.linalg.inv(xyz))
    return tuple(matrix.to(device, dtype) for matrix in (*forward, *backward))  # type: ignore[return-value]


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
    to_xyz, to_lab, _, _ = _matrices(pixels.device, dtype)
    linear = torch.index_select(_decoding(pixels.device, dtype), 0, pixels.reshape(-1).int()).view(pixels.shape)
    t = to_xyz @ linear
    f = t.clamp(min=_KNEE).pow_(1 / 3).add_(t.clamp_(max=_KNEE), alpha=_SLOPE)
    lab = to_lab @ f
    lab[..., 0, :] -= 16 + 116 * _SLOPE * _KNEE
    return lab


def lab_to_linear(lab: Tensor, scale: float = 1.0) -> Tensor:
    """Linear RGB of L*a*b* (..., 3, P) times `scale`; colours outside sRGB lie outside [0, scale]."""
    _, _, from_lab, from_xyz = _matrices(lab.device, lab.dtype)
    f = from_lab @ lab
    f += 16 / 116
    f[..., 2, :].clamp_(min=0)  # as kornia and scikit-image do with the impossible blues of a large b*
    knee = _KNEE ** (1 / 3)
    base = f.clamp(min=knee)
    t = base.square().mul_(base).add_(f.clamp_(max=knee).sub_(knee), alpha=1 / _SLOPE)
    return (from_xyz * scale) @ t


def lab_to_srgb(lab: Tensor) -> Tensor:
    """8-bit sRGB of L*a*b*, clipped to the gamut.

    Args:
        lab: (..., 3, P) float32 or float64.

    Returns:
        (..., 3, P) uint8.
    """
    step = lab_to_linear(lab, scale=_LEVELS).clamp_(0, _LEVELS - 1).int()
    return torch.index_select(_encoding(lab.device), 0, step.reshape(-1)).view(lab.shape)
