"""First parameters that leave out nothing: every choice of areas with every target (R18; D45)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.first.enumeration import Enumeration, shuffled
from hardmine.memory.graph import Graph
from hardmine.records import Recipe
from hardmine.store.environment import Wanted, matching
from hardmine.store.store import ParameterStore


class Exhaustive:
    """Walks the (2^N - 1) * M images of each source in an order that looks random, and after the last starts again.

    None comes twice before all have come: an area that the image or a target lacks is left out, for it would give an
    image that another choice of areas gives as well. Where the walk stands is what the graph counts, so that a resumed
    run goes on there.

    Args:
        areas: which areas there are to choose from: `all`, or names of some.
        environment: take targets of this environment only, for instance "sunny night" or {time: night} (R12).
        seed: of the order, which differs from source to source.
    """

    def __init__(
        self, areas: Literal["all"] | Sequence[str] = "all", environment: Wanted | None = None, seed: int = 0
    ) -> None:
        self.areas, self.environment, self.seed = areas, environment, seed
        self._known: tuple[ParameterStore, dict[tuple[bool, ...], Enumeration]] | None = None

    def members(self, store: ParameterStore, present: Tensor | None = None) -> Enumeration:
        """What is walked, made once for a store and a set of areas; its targets are rows of the store.

        Args:
            store: the targets.
            present: (A,) bool, the areas that the image has; None has all.
        """
        if self._known is None or self._known[0] is not store:
            self._known = store, {}
        of_areas = self._known[1]
        there = tuple([True] * len(store.areas) if present is None else present.tolist())
        if there not in of_areas:
            names = store.areas if self.areas == "all" else self.areas
            for name in names:
                if name not in store.areas:
                    raise InputError(f"first.areas: no area is called {name!r}: take some of {', '.join(store.areas)}")
            mask = torch.tensor([name in names for name in store.areas])
            wanted = matching(store, self.environment).nonzero().flatten()
            mask = mask & store.offered[wanted, :-1]
            if not mask.any():
                raise InputError("first.areas: no target has any of these areas: take others or another environment")
            of_areas[there] = Enumeration(mask & torch.tensor(there), wanted.tolist())
        return of_areas[there]

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """`rows` with first parameters; see `FirstParameter`."""
        chosen = torch.zeros(len(rows), store.regions, dtype=torch.bool)
        target = torch.zeros(len(rows), dtype=torch.int64)
        for row, (source, number) in enumerate(zip(rows.source.tolist(), _numbers(rows, graph), strict=True)):
            members = self.members(store, rows.present[row, :-1])
            if members.count:
                place = shuffled(number % members.count, members.count, self.seed, "exhaustive", source)
                chosen[row, :-1], target[row] = members[place]
        first = store.recipe(rows, target[:, None].expand(-1, store.regions), chosen)
        return first.replace(parent=torch.full_like(rows.parent, -1), depth=torch.zeros_like(rows.depth)), chosen.any(1)


def _numbers(rows: Recipe, graph: Graph) -> list[int]:
    """How many first parameters each row's source has had; rows of the same source count on."""
    earlier = (rows.source[:, None] == rows.source).tril(diagonal=-1).sum(dim=1).tolist()
    return [graph.tried.get(source, 0) + more for source, more in zip(rows.source.tolist(), earlier, strict=True)]
