"""The first parameter of a search (R12, R17, R19)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.memory.graph import Graph
from hardmine.records import Recipe
from hardmine.store.environment import Wanted, matching
from hardmine.store.store import ParameterStore


class First:
    """Draws a stored target that this source has not seen, each such target with the same chance (R25), and where it
    has seen all of them, any.

    Args:
        areas: which areas are converted: `all`, names of some (none with an empty list), or `random` (each with
            probability 1/2, at least one).
        whole: the whole image too, after its areas.
        independent: a target of its own for every area; otherwise all areas of an image take the same light.
        environment: take targets of this environment only, for instance "sunny night" or {time: night} (R12).
    """

    def __init__(
        self,
        areas: Literal["all", "random"] | Sequence[str] = "all",
        whole: bool = False,
        independent: bool = False,
        environment: Wanted | None = None,
    ) -> None:
        if not whole and not areas:
            raise InputError("first: no area is chosen and whole=false, so that nothing is converted: choose some")
        self.areas, self.whole, self.independent, self.environment = areas, whole, independent, environment

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """`rows` with first parameters, and that every row has one; see `Neighbourhood`."""
        n, r = rows.chosen.shape
        chosen = self._choose(n, store, generator)
        there = store.valid if store.missing == "keep" else torch.ones_like(store.valid)
        possible = chosen[:, None] & (there & matching(store, self.environment)[:, None])  # (N, M, R)
        unused = graph.unused(rows.source)
        if not self.independent:
            possible, unused = possible.any(-1, keepdim=True), (unused | ~possible).all(-1, keepdim=True)
        draw = torch.rand(possible.shape, generator=generator) + unused  # what is unused lies above what is used
        target = draw.masked_fill(~possible, -1).argmax(dim=1).masked_fill(~possible.any(dim=1), -1)
        first = store.recipe(rows, target.expand(n, r), chosen)
        fresh = first.replace(parent=torch.full((n,), -1), depth=torch.zeros(n, dtype=torch.int64))
        return fresh, first.chosen.any(1)

    def _choose(self, n: int, store: ParameterStore, generator: torch.Generator) -> Tensor:
        chosen = torch.zeros(n, store.regions, dtype=torch.bool)
        areas = len(store.areas)
        if self.areas == "all":
            chosen[:, :areas] = True
        elif self.areas == "random":
            draw = torch.rand(n, areas, generator=generator)
            chosen[:, :areas] = (draw < 0.5) | (draw == draw.min(dim=1, keepdim=True).values)
        else:
            for name in self.areas:
                if name not in store.areas:
                    raise InputError(f"first.areas: no area is called {name!r}: take some of {', '.join(store.areas)}")
                chosen[:, store.areas.index(name)] = True
        chosen[:, -1] = self.whole
        return chosen
