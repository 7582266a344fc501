"""What a conversion's parameters are: named axes with bounds and a unit of distance."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite

import torch
from torch import Tensor


@dataclass(frozen=True)
class Axis:
    """One number that a conversion needs for a region.

    Attributes:
        name: of the column in a store's file, for instance `mean_L`.
        low, high: what may be generated, in the axis's own unit; infinite where there is no end.
        unit: how much of it counts as a distance of 1. With 1 Lab unit for colours, radii of all conversions compare.
        spread: a standard deviation, which Expr. 4 limits by Sth2 (`std_radius`); all others by Mth2 (`mean_radius`).
        graph: one of the axes of the patent's graph (D54), for colours those of luminance.
    """

    name: str
    low: float
    high: float
    unit: float = 1.0
    spread: bool = False
    graph: bool = True

    @property
    def measured(self) -> bool:
        """Whether a parameter of it comes from a target: a colour, or a number without bounds to draw it between."""
        return any(self in colors.axes for colors in COLORS.values()) or not isfinite(self.low + self.high)


# of each channel its name, and the units of its mean and of its standard deviation
_CHANNELS = {
    "L": ("lightness L*", "0 to 100", "L* units"),
    "a": ("a*", "green to red", "Lab units"),
    "b": ("b*", "blue to yellow", "Lab units"),
    **{letter: (name, "0 to 255", "levels") for letter, name in (("R", "red"), ("G", "green"), ("B", "blue"))},
}


def in_words(axis: str) -> str:
    """The name of an axis for a reader, with its unit.

    >>> in_words("mean_L"), in_words("std_R"), in_words("sigma")
    ('mean of lightness L* (0 to 100)', 'std of red (levels)', 'sigma')
    """
    kind, _, channel = axis.partition("_")
    if kind not in ("mean", "std") or channel not in _CHANNELS:
        return axis.replace("_", " ")
    name, of_mean, of_std = _CHANNELS[channel]
    return f"{kind} of {name} ({of_mean if kind == 'mean' else of_std})"


class Space:
    """The axes of one conversion, or of several in turn, as tensors of D numbers."""

    def __init__(self, axes: Sequence[Axis]) -> None:
        self.axes = tuple(axes)
        if len({axis.name for axis in axes}) < len(axes):
            raise ValueError(f"every axis needs a name of its own, got {[axis.name for axis in axes]}")

    def __len__(self) -> int:
        return len(self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(axis.name for axis in self.axes)

    @cached_property
    def low(self) -> Tensor:
        return torch.tensor([axis.low for axis in self.axes])

    @cached_property
    def high(self) -> Tensor:
        return torch.tensor([axis.high for axis in self.axes])

    @cached_property
    def unit(self) -> Tensor:
        return torch.tensor([axis.unit for axis in self.axes])

    @cached_property
    def spread(self) -> Tensor:
        return torch.tensor([axis.spread for axis in self.axes])

    @cached_property
    def graph(self) -> Tensor:
        return torch.tensor([axis.graph for axis in self.axes])

    def sobol(self, n: int, seed: int = 0) -> Tensor:
        """(n, D): quasi-random points that fill the bounds evenly (Sobol 1967, scrambled)."""
        engine = torch.quasirandom.SobolEngine(len(self), scramble=True, seed=seed)  # type: ignore[no-untyped-call]
        drawn: Tensor = engine.draw(n)
        return self.low + drawn * (self.high - self.low)


def _colors(names: str, lowest: Sequence[float], highest: Sequence[float], unit: float, graph: Sequence[bool]) -> Space:
    channels = list(zip(names, lowest, highest, graph, strict=True))
    means = [Axis(f"mean_{name}", low, high, unit, graph=shown) for name, low, high, shown in channels]
    # half a unit: an area that has no contrast at all is no photograph
    stds = [Axis(f"std_{name}", unit / 2, torch.inf, unit, spread=True, graph=shown) for name, _, _, shown in channels]
    return Space([*means, *stds])


LAB = _colors("Lab", (0, -128, -128), (100, 127, 127), 1.0, (True, False, False))
# RGB has no luminance of its own, so that its graph shows all three; 255 levels are as far as 100 units of L*
RGB = _colors("RGB", (0, 0, 0), (255, 255, 255), 2.55, (True, True, True))
COLORS = {"lab": LAB, "rgb": RGB}
LUMINANCE = Space([axis for axis in LAB.axes if axis.graph])  # the simple case of Lab: L* moves alone
