"""Generate a parameter near the one that was hard (R39; D61-D63)."""

import torch
from torch import Tensor

from hardmine.memory.graph import Graph
from hardmine.neighbourhood.reach import Channels, Reach
from hardmine.records import Recipe
from hardmine.store.store import ParameterStore


class Generate:
    """(t_mean1 + alpha, t_std1 + beta), uniform inside the second threshold (Expr. 3 or 4).

    The parameter is projected into the box that the store's valid ones of that area span, widened by `margin`, and into
    the bounds of the axes: no negative deviation, no mean that no image has. The projection is onto a convex set that
    holds the parent, so the result is never farther from it than what was drawn.

    Args:
        radius, mean_radius, std_radius, channels: see `Reach`.
        independent: every area is moved on its own; otherwise one shift moves the light of the whole image.
        margin: units of the axes (Lab units) by which a parameter may lie outside what the store has seen.
    """

    def __init__(
        self,
        radius: float | None = None,
        mean_radius: float | None = None,
        std_radius: float | None = None,
        channels: Channels = "luminance",
        independent: bool = False,
        margin: float = 5.0,
    ) -> None:
        self.reach = Reach(radius, mean_radius, std_radius, channels)
        self.independent = independent
        self.margin = margin

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """See `Neighbourhood`."""
        space, here = store.space, rows.parameter
        columns = store.regions if self.independent else 1
        shift = self.reach.draw((len(rows), columns), space, generator)
        low = torch.maximum(store.lowest - self.margin * space.unit, space.low)
        high = torch.minimum(store.highest + self.margin * space.unit, space.high)
        # a stored parent may lie outside the bounds (an area without contrast): the box always holds the parent
        low, high = torch.minimum(low, here), torch.maximum(high, here)
        moved = rows.counted if self.independent else rows.chosen
        drawn = (here + shift).clamp(low, high)
        # out of a corner of the box the projection leads back to where it started: there the other way is taken
        stuck = ((drawn == here).all(-1) | ~moved).all(1)
        drawn = torch.where(stuck[:, None, None], (here - shift).clamp(low, high), drawn)
        # adding a shift to a large number rounds; where that leads out of the second threshold the parameter stays
        inside = self.reach.holds(self.reach.squares(drawn, here, space), space)
        drawn = torch.where(inside[..., None], drawn, here)
        proposal = rows.replace(
            parameter=torch.where(moved[..., None], drawn, here), target=torch.where(moved, -1, rows.target).int()
        )
        found = rows.counted.any(dim=1)
        return proposal.where(found, rows), found
