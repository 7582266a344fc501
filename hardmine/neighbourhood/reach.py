"""The second threshold: how far a neighbour may be (Expr. 3 and 4; R37, R38; D57-D60)."""

from math import inf
from typing import Literal

import torch
from torch import Tensor

from hardmine.space import Space

Channels = Literal["luminance", "lab"]
RADIUS = 10.0  # where none is given
_INSIDE = 1 - 1e-6  # what is drawn stays strictly inside after rounding


class Reach:
    """A disc of radius Rth2 around a point of the graph (Expr. 3), or a box of half sides Mth2 and Sth2 (Expr. 4).

    Distances are in units of the axes: 1 Lab unit for colours.

    Args:
        radius: Rth2, strict; None where `mean_radius` and `std_radius` are given in its place. 10 where nothing is.
        mean_radius: Mth2, strict, for means and for every other axis that is no standard deviation.
        std_radius: Sth2, strict, for standard deviations.
        channels: `luminance` measures and moves the axes of the patent's graph, `lab` all of them.
    """

    def __init__(
        self,
        radius: float | None = None,
        mean_radius: float | None = None,
        std_radius: float | None = None,
        channels: Channels = "luminance",
    ) -> None:
        box = (mean_radius, std_radius)
        if radius is None and box == (None, None):
            radius = RADIUS
        if (radius is None) == (None in box) or (radius is not None and box != (None, None)):
            raise ValueError(
                "give either radius (Rth2) or both mean_radius (Mth2) and std_radius (Sth2), got "
                f"radius={radius}, mean_radius={mean_radius}, std_radius={std_radius}"
            )
        for name, value in (("radius (Rth2)", radius), ("mean_radius (Mth2)", box[0]), ("std_radius (Sth2)", box[1])):
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be > 0 Lab units, got {value}")
        if channels not in ("luminance", "lab"):
            raise ValueError(f"channels must be luminance or lab, got {channels!r}")
        self.radius, self.mean_radius, self.std_radius = radius, mean_radius, std_radius
        self.channels = channels

    def axes(self, space: Space) -> Tensor:
        """(D,) bool: the axes that are measured and moved."""
        return space.graph if self.channels == "luminance" else torch.ones(len(space), dtype=torch.bool)

    def squares(self, one: Tensor, other: Tensor, space: Space) -> Tensor:
        """(..., d): squared differences of two points (..., D) along the d measured axes, in their units."""
        axes = self.axes(space)
        return ((one[..., axes] - other[..., axes]) / space.unit[axes]).square()

    def holds(self, squares: Tensor, space: Space) -> Tensor:
        """(...) bool: whether squared differences (..., d) lie strictly inside; NaN never does."""
        if self.radius is not None:
            return squares.sum(-1) < self.radius**2
        return (squares < self._sides(space).square()).all(-1)

    def limits(self, space: Space) -> tuple[Tensor, float]:
        """(d,) what no squared difference inside reaches, and what their sum does not, infinite for a box."""
        if self.radius is not None:
            return torch.full((int(self.axes(space).sum()),), self.radius**2), self.radius**2
        return self._sides(space).square(), inf

    def draw(self, shape: tuple[int, ...], space: Space, generator: torch.Generator) -> Tensor:
        """(*shape, D): shifts, uniform inside; 0 along the axes that are not moved."""
        axes = self.axes(space)
        d = int(axes.sum())
        if self.radius is not None:
            direction = torch.randn(*shape, d, generator=generator)
            direction = direction / direction.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            length = torch.rand(*shape, 1, generator=generator) ** (1 / d) * self.radius
        else:
            direction = torch.rand(*shape, d, generator=generator) * 2 - 1
            length = self._sides(space)
        shift = torch.zeros(*shape, len(space))
        shift[..., axes] = direction * length * _INSIDE * space.unit[axes]
        return shift

    def _sides(self, space: Space) -> Tensor:
        """(d,) half sides of the box of Expr. 4."""
        spread = space.spread[self.axes(space)]
        return torch.where(spread, torch.tensor(self.std_radius), torch.tensor(self.mean_radius))
