"""Colour transfer per area: Expr. 1 and 2 folded into one per-pixel affine map (R11, R14, R15; D36-D44).

Expr. 1, `s_normed = (source - s_mean) / s_std`, and Expr. 2, `source' = s_normed * t_std + t_mean`, are together
`source' = gain * source + offset` with `gain = t_std / s_std` and `offset = t_mean - gain * s_mean`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hardmine.records import Distribution, Recipe, Rows


@dataclass(frozen=True)
class Table(Rows):
    """The affine map of each region, for N images made of S sources.

    Attributes:
        chosen: (N, R) bool; the last region is not looked at, for it has no pixels of its own.
        gain: (N, R, 3) float32.
        offset: (N, R, 3) float32, in the units of the pixels.
        source: (N,) int64, the source each row is made of.
    """

    chosen: Tensor
    gain: Tensor
    offset: Tensor
    source: Tensor


def affine(
    source: Distribution,
    recipe: Recipe,
    *,
    min_std: float = 1.0,
    max_gain: float = 4.0,
    usual: Distribution | None = None,
    grey: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Expr. 1 and 2 as a gain and an offset.

    Args:
        source: statistics of the source images, one row per row of `recipe`.
        recipe: chosen regions, and their t_mean and t_std as the two halves of `parameter`: of three channels, or of
            the first one, which then moves alone.
        min_std: floor of s_std in the units of `source`; flat areas have no contrast to stretch.
        max_gain: cap of the gain; unbounded gains turn sensor noise into blotches.
        usual: 1 row or N, of the pixels of all sources. By how many of its deviations a source's mean differs from it,
            by so many of the target's the converted mean differs from t_mean: a dark road stays darker than others.
        grey: the first channel moves alone, whatever the parameters of the others are.

    Returns:
        gain (N, R, 3), offset (N, R, 3), and capped (N, R) bool: chosen regions whose gain met the cap in a channel.
    """
    t_mean, t_std = recipe.parameter.chunk(2, dim=-1)
    alone = grey or t_mean.shape[-1] == 1
    raw = t_std / source.std.clamp(min=min_std)
    gain = raw.clamp(max=max_gain)
    if usual is not None:
        apart = (source.mean - usual.mean) / usual.std.clamp(min=min_std)
        t_mean = t_mean + t_std * torch.where(usual.count[..., None] > 0, apart, 0.0)
    offset = t_mean - gain * source.mean
    capped = raw > max_gain
    if alone:
        moves = torch.arange(3, device=gain.device) == 0
        gain, offset, capped = torch.where(moves, gain, 1.0), torch.where(moves, offset, 0.0), capped & moves
    return gain, offset, capped.any(-1) & recipe.chosen & (source.count > 0)
