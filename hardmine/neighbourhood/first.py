"""The first parameter of a search (R12, R17)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.records import Recipe
from hardmine.store import ParameterStore


class First:
    """Draws stored targets, each with the same chance.

    Args:
        areas: which areas are converted: `all`, names of some, or `random` (each with probability 1/2, at least one).
        independent: a target of its own for every area; otherwise all areas of an image take the same light.
    """

    def __init__(self, areas: Literal["all", "random"] | Sequence[str] = "all", independent: bool = False) -> None:
        self.areas = areas
        self.independent = independent

    def __call__(self, rows: Recipe, store: ParameterStore, generator: torch.Generator) -> Recipe:
        """`rows` with first parameters."""
        n, r = rows.chosen.shape
        columns = r if self.independent else 1
        target = torch.randint(len(store), (n, columns), generator=generator).expand(n, r)
        return store.recipe(rows, target, self._choose(n, store, generator)).replace(
            parent=torch.full((n,), -1, dtype=torch.int64)
        )

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
        return chosen
