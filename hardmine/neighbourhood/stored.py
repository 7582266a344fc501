"""What the policies share that take an unused stored point (R35, R36; D55, D69)."""

import torch
from torch import Tensor

from hardmine.memory.graph import Graph
from hardmine.records import Recipe
from hardmine.store.store import ParameterStore


class Stored:
    """A stored point that a subclass calls near, unused on this source, each such point with the same chance.

    Where all areas go together they take the same target; a chosen area that the new target lacks keeps its parameter.

    Args:
        independent: every area selects for itself (R21); an area without a neighbour keeps its parameter.
    """

    def __init__(self, independent: bool = False) -> None:
        self.independent = independent

    def near(self, rows: Recipe, store: ParameterStore) -> Tensor:
        """(N, M, R) bool: stored points near each row's parameter, for each region or (N, M, 1) all together."""
        raise TypeError(f"{type(self).__name__} must say which points are near")

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """See `Neighbourhood`."""
        near = self.near(rows, store) & self._free(rows, store, graph)
        draw = torch.rand(near.shape, generator=generator).masked_fill(~near, -1)
        target = draw.argmax(dim=1).masked_fill(~near.any(dim=1), -1).expand_as(rows.chosen)
        moving = rows.counted if self.independent else rows.chosen  # an absent area goes along, or stays as it is
        moved, point, stored = store.of_targets(target, moving)
        proposal = rows.replace(
            parameter=torch.where(moved[..., None], point, rows.parameter),
            target=torch.where(moved, stored, rows.target),
        )
        found = (moved & rows.present).any(dim=1)
        return proposal.where(found, rows), found

    def _free(self, rows: Recipe, store: ParameterStore, graph: Graph) -> Tensor:
        """(N, M, R), or (N, M, 1): points that exist, that this source has not seen, and that are another's.

        A piece that goes on with another source (`fresh_sources`) has a point that is unused there.
        """
        shared = rows.counted[:, None] & store.valid
        free = graph.unused(rows.source) & (torch.arange(len(store))[:, None] != rows.target[:, None])
        if self.independent:
            return shared & free
        return (shared.any(-1) & (free | ~shared).all(-1))[..., None]
