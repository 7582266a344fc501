"""What the policies share that take an unused stored parameter (R35, R36; D55, D69)."""

from typing import Literal

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.memory.graph import Graph
from hardmine.records import Recipe
from hardmine.store.draw import Taken
from hardmine.store.store import ParameterStore

Used = Literal["graph", "source"]


class Stored:
    """A stored parameter that a subclass calls near and that is unused, each such one with the same chance.

    Where all areas go together they take the same target; a chosen area that the new target lacks keeps its parameter.

    Args:
        independent: every area selects for itself (R21); an area without a neighbour keeps its parameter.
        used: a parameter is used once it was tried on any image (`graph`, D54), or on the same one (`source`).

    Raises:
        InputError: `used` is neither.
    """

    def __init__(self, independent: bool = False, used: Used = "graph") -> None:
        if used not in ("graph", "source"):
            raise InputError(f"neighbourhood.used must be graph or source, got {used!r:.60}")
        self.independent, self.used = independent, used

    def near(
        self, rows: Recipe, store: ParameterStore, most: int, generator: torch.Generator, taken: Taken | None = None
    ) -> Tensor:
        """Targets near each row's parameter: (N, C) ids, or (N, R, C) where areas are independent.

        Args:
            rows: N pieces.
            store: the targets.
            most: C; each with the same chance where more are near, -1 where fewer are.
            generator: the only source of chance.
            taken: those that are left out.
        """
        raise TypeError(f"{type(self).__name__} must say which targets are near")

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """See `Neighbourhood`."""
        ids = self.near(rows, store, 1, generator, taken(rows, store, graph, self.used))
        target = (ids[..., 0] if self.independent else ids).expand_as(rows.chosen)
        moving = rows.counted if self.independent else rows.chosen  # an absent area goes along, or stays as it is
        moved, parameter, stored = store.of_targets(target, moving)
        proposal = rows.replace(
            parameter=torch.where(moved[..., None], parameter, rows.parameter),
            target=torch.where(moved, stored, rows.target),
        )
        found = (moved & rows.present).any(dim=1)
        return proposal.where(found, rows), found


def taken(rows: Recipe, store: ParameterStore, graph: Graph | None = None, used: Used = "graph") -> Taken:
    """What is not to be drawn: the targets that rows have already and, with a graph, those that are used.

    Both only where a row converts the region and the target has something for it.
    """

    counted = rows.counted

    def is_taken(row: Tensor, region: Tensor, target: Tensor) -> Tensor:
        seen = rows.target[row, region] == target
        if graph is not None:
            by_source = used == "source"
            seen |= graph.used.holds(rows.source[row], target, region) if by_source else graph.uses[target, region] > 0
        return seen & counted[row, region] & store.offered[target, region]

    return is_taken
