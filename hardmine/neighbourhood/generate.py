"""Generate a parameter near the one that was hard (R39; D61-D63)."""

import torch
from torch import Tensor

from hardmine.graph import Graph
from hardmine.neighbourhood.base import Channels, check_radius
from hardmine.records import Recipe
from hardmine.store import ParameterStore


class Generate:
    """Expr. 3: (t_mean1 + alpha, t_std1 + beta), uniform inside the disc (or ball) of radius Rth2.

    The point is projected into the box that the store's valid points of that area span, widened by `margin`: no
    negative deviation, no mean that no image has. The projection is onto a convex set that holds the parent, so the
    result is never farther from it than what was drawn.

    Args:
        radius: Rth2 in Lab units, strict.
        channels: what is moved: `luminance` alone or all of `lab`.
        independent: every area is moved on its own; otherwise one shift moves the light of the whole image.
        margin: Lab units by which a parameter may lie outside what the store has seen.
        min_std: smallest standard deviation generated, Lab units.
    """

    def __init__(
        self,
        radius: float = 10.0,
        channels: Channels = "luminance",
        independent: bool = False,
        margin: float = 5.0,
        min_std: float = 0.5,
    ) -> None:
        self.radius = check_radius(radius)
        self.last = 1 if channels == "luminance" else 3
        self.independent = independent
        self.margin = margin
        self.floor = torch.tensor([0.0, -128.0, -128.0, *[min_std] * 3])
        self.ceiling = torch.tensor([100.0, 127.0, 127.0, *[torch.inf] * 3])

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        shift = self._shift(len(rows), store.regions if self.independent else 1, generator)
        moved = torch.cat([rows.mean, rows.std], dim=-1)
        drawn = moved.clone()
        drawn[..., : self.last] += shift[..., : self.last]
        drawn[..., 3 : 3 + self.last] += shift[..., self.last :]
        low = torch.maximum(store.lowest - self.margin, self.floor)
        high = torch.minimum(store.highest + self.margin, self.ceiling)
        # a stored parent may be flatter than min_std: the box always holds the parent
        drawn = torch.maximum(torch.minimum(drawn, torch.maximum(high, moved)), torch.minimum(low, moved))
        drawn = torch.where(rows.chosen[..., None], drawn, moved)
        found = rows.chosen.any(dim=1)
        return rows.replace(mean=drawn[..., :3], std=drawn[..., 3:], target=torch.full_like(rows.target, -1)), found

    def _shift(self, n: int, columns: int, generator: torch.Generator) -> Tensor:
        """(N, columns, 2 * channels): uniform in the open ball of radius Rth2."""
        dimensions = 2 * self.last
        direction = torch.randn(n, columns, dimensions, generator=generator)
        direction = direction / direction.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        length = torch.rand(n, columns, 1, generator=generator) ** (1 / dimensions)
        shift: Tensor = direction * (length * (self.radius * (1 - 1e-6)))  # 1e-6: strictly inside after rounding
        return shift
