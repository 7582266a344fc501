"""Select an unused stored point near the one that was hard (R35-R37; D55-D58)."""

import torch
from torch import Tensor

from hardmine.graph import Graph
from hardmine.neighbourhood.base import Channels, check_radius, coordinates
from hardmine.records import Recipe
from hardmine.store import ParameterStore


class Select:
    """Expr. 3: a stored point closer than Rth2, unused on this source, each such point with the same chance.

    Where all areas take the same target, the distance between two targets is the root mean square over the areas
    they share. A chosen area that the new target lacks keeps its parameter.

    Args:
        radius: Rth2 in Lab units, strict.
        channels: what distances are measured in: `luminance` (the patent's graph) or `lab`.
        independent: every area selects for itself; an area without a neighbour keeps its parameter.
    """

    def __init__(self, radius: float = 10.0, channels: Channels = "luminance", independent: bool = False) -> None:
        self.radius = check_radius(radius)
        self.channels: Channels = channels
        self.independent = independent

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        near = self.near(rows, store, graph)  # (N, M, R), or (N, M, 1) where areas go together
        draw = torch.rand(near.shape, generator=generator).masked_fill(~near, -1)
        target = draw.argmax(dim=1).masked_fill(~near.any(dim=1), -1).expand_as(rows.chosen)
        chosen, mean, std, stored = store.parameters(target, rows.chosen)
        moved = chosen[..., None]
        proposal = rows.replace(
            mean=torch.where(moved, mean, rows.mean),
            std=torch.where(moved, std, rows.std),
            target=torch.where(chosen, stored, rows.target),
        )
        found = chosen.any(dim=1)
        return proposal.where(found, rows), found

    def near(self, rows: Recipe, store: ParameterStore, graph: Graph) -> Tensor:
        """(N, M, R) bool, or (N, M, 1): the unused points inside Rth2 of each row's parameter."""
        here = coordinates(rows.mean, rows.std, self.channels)[:, None]
        there = coordinates(store.distribution.mean, store.distribution.std, self.channels)
        squared = (here - there).square().sum(-1)  # (N, M, R)
        shared = rows.chosen[:, None] & store.valid
        unused = graph.unused(rows.source)
        if self.independent:
            return shared & unused & (squared < self.radius**2)
        squared = (squared * shared).sum(-1) / shared.sum(-1)  # NaN, and so not near, where nothing is shared
        return ((squared < self.radius**2) & (unused | ~shared).all(dim=-1))[..., None]
