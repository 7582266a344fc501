"""The first parameter of a search (R12, R17, R19)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.memory.graph import Graph
from hardmine.memory.used import Used
from hardmine.records import Recipe
from hardmine.store.environment import Wanted, matching
from hardmine.store.near import common, draw
from hardmine.store.store import ParameterStore

_HANDFUL = 4  # random targets that are tried before all are gone through


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
        self._known: tuple[ParameterStore, Tensor] | None = None

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """`rows` with first parameters, and that every row has one; see `FirstParameter`."""
        n, r = rows.chosen.shape
        chosen = self._choose(n, store, generator)
        target = self._guess(rows.source, chosen, store, graph.used, generator)
        # an area that no target has needs no search
        wanted = chosen & self._there(store)[self._matching(store)].any(0)
        missing = ((target < 0) & (wanted if self.independent else wanted.any(1, keepdim=True))).any(1)
        if missing.any():
            exact = self._search(rows.source[missing], chosen[missing], store, graph.used, generator)
            target[missing] = torch.where(target[missing] < 0, exact, target[missing])
        first = store.recipe(rows, target.expand(n, r), chosen)
        fresh = first.replace(parent=torch.full((n,), -1), depth=torch.zeros(n, dtype=torch.int64))
        return fresh, first.chosen.any(1)

    def _guess(
        self, source: Tensor, chosen: Tensor, store: ParameterStore, used: Used, generator: torch.Generator
    ) -> Tensor:
        """(N, 1), or (N, R): the first of a handful of random targets that will do and is unused; -1 where none is."""
        columns, region = store.regions if self.independent else 1, torch.arange(store.regions)[:, None]
        targets = self._matching(store).nonzero().flatten()
        place = torch.randint(len(targets), (len(chosen), columns, _HANDFUL), generator=generator)
        guess = targets[place].expand(-1, store.regions, -1)
        possible = chosen[..., None] & self._there(store)[guess, region]
        seen = possible & used.holds(source, guess, region)
        if not self.independent:
            guess, possible, seen = guess[:, :1], possible.any(1, keepdim=True), seen.any(1, keepdim=True)
        good = possible & ~seen
        first = guess.gather(-1, good.byte().argmax(-1, keepdim=True))
        return first.masked_fill(~good.any(-1, keepdim=True), -1)[..., 0]

    def _search(
        self, source: Tensor, chosen: Tensor, store: ParameterStore, used: Used, generator: torch.Generator
    ) -> Tensor:
        """(N, 1), or (N, R): any of all targets that will do and are unused; where all are used, any that will do."""
        there, matches = self._there(store), self._matching(store)

        def possible(part: slice) -> Tensor:
            those = there[part] & matches[part, None]
            return chosen[..., None] & those.T if self.independent else common(chosen, those)

        def seen(part: slice) -> tuple[Tensor, Tensor, Tensor]:
            row, region, target = used.marks(source, part)
            about = chosen[row, region] & there[target, region]
            return row[about], region[about], target[about]

        target = draw(possible, len(chosen), store, 1, generator, seen)
        if (target < 0).any():
            target = torch.where(target < 0, draw(possible, len(chosen), store, 1, generator), target)
        return target[..., 0] if self.independent else target

    def _matching(self, store: ParameterStore) -> Tensor:
        """(M,) bool: the targets of the environment, looked up once for a store."""
        if self._known is None or self._known[0] is not store:
            self._known = store, matching(store, self.environment)
        return self._known[1]

    @staticmethod
    def _there(store: ParameterStore) -> Tensor:
        """(M, R) bool: the regions that a target has something for."""
        return store.valid if store.missing == "keep" else torch.ones_like(store.valid)

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
