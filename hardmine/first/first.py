"""The first parameter of a search (R12, R17, R19)."""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Literal

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.memory.graph import Graph
from hardmine.memory.used import Used
from hardmine.neighbourhood.generate import Generate
from hardmine.records import Recipe
from hardmine.store.draw import Taken, draw, without
from hardmine.store.environment import Wanted, matching
from hardmine.store.groups import Groups, Linked
from hardmine.store.store import ParameterStore

_HANDFUL = 4  # random targets that are tried before all are gone through


class _Environment:
    """The targets of an environment, of which `match` (M,) bool tells."""

    def __init__(self, store: ParameterStore, match: Tensor) -> None:
        self.match, self.offered = match, store.offered
        self.targets = match.nonzero().flatten()
        self.offers = store.offered[match].any(0)  # (R,)

    def pool(self, rows: int, independent: bool) -> Linked:
        """Where the first parameters of N rows are among; where areas are `independent`, those of each region."""
        groups = self._of_regions if independent else self._all
        return groups.of(torch.eye(len(groups.count), dtype=torch.bool).repeat(rows, 1))

    @cached_property
    def _all(self) -> Groups:
        return Groups(torch.zeros_like(self.targets), self.targets, 1)

    @cached_property
    def _of_regions(self) -> Groups:
        target, region = (self.offered & self.match[:, None]).nonzero(as_tuple=True)
        return Groups(region, target, self.offered.shape[1])


class First:
    """Draws a stored target that this source has not seen, each such target with the same chance (R25), and where it
    has seen all of them, any but the one it was put into last.

    Where a source was put last into the only target there is, the parameter is generated near it.

    Args:
        areas: which areas are converted: `all`, names of some (none with an empty list), or `random` (of those that the
            image has, each with probability 1/2, at least one).
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
        self._generate = Generate(independent=independent)
        self._known: tuple[ParameterStore, _Environment] | None = None

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """`rows` with first parameters; see `FirstParameter`."""
        n, r = rows.chosen.shape
        chosen = self._choose(rows, store, generator)
        # areas that go together need a target for what the image has; an area that it lacks goes along
        wanted = chosen if self.independent else chosen & rows.present
        latest = graph.latest_of(rows.source)
        target = self._guess(rows.source, wanted, latest, store, graph.used, generator)
        # an area that no target has needs no search
        possible = wanted & self._environment(store).offers
        missing = ((target < 0) & (possible if self.independent else possible.any(1, keepdim=True))).any(1)
        if missing.any():
            still = possible & (target < 0) if self.independent else wanted
            exact = self._search(rows.source[missing], still[missing], latest[missing], store, graph.used, generator)
            target[missing] = torch.where(target[missing] < 0, exact, target[missing])
        again = (target < 0) & possible  # there is none but the latest
        if not self.independent:
            again, latest = again.any(1, keepdim=True), latest.amax(1, keepdim=True)
        first = store.recipe(rows, torch.where(again, latest, target).expand(n, r), chosen)
        if again.any():
            generated, _ = self._generate(first, store, graph, generator)
            again = again & first.chosen
            first = first.replace(
                parameter=torch.where(again[..., None], generated.parameter, first.parameter),
                target=first.target.masked_fill(again, -1),
            )
        fresh = first.replace(parent=torch.full((n,), -1), depth=torch.zeros(n, dtype=torch.int64))
        return fresh, first.counted.any(1)

    def _guess(
        self,
        source: Tensor,
        wanted: Tensor,
        latest: Tensor,
        store: ParameterStore,
        used: Used,
        generator: torch.Generator,
    ) -> Tensor:
        """(N, 1), or (N, R): the first of a handful of random targets that will do and is unused; -1 where none is."""
        columns, region = store.regions if self.independent else 1, torch.arange(store.regions)[:, None]
        targets = self._environment(store).targets
        place = torch.randint(len(targets), (len(wanted), columns, _HANDFUL), generator=generator)
        guess = targets[place].expand(-1, store.regions, -1)
        possible = wanted[..., None] & store.offered[guess, region]
        seen = possible & (used.holds(source, guess, region) | (guess == latest[..., None]))
        if not self.independent:
            guess, possible, seen = guess[:, :1], possible.any(1, keepdim=True), seen.any(1, keepdim=True)
        good = possible & ~seen
        first = guess.gather(-1, good.byte().argmax(-1, keepdim=True))
        return first.masked_fill(~good.any(-1, keepdim=True), -1)[..., 0]

    def _search(
        self,
        source: Tensor,
        wanted: Tensor,
        latest: Tensor,
        store: ParameterStore,
        used: Used,
        generator: torch.Generator,
    ) -> Tensor:
        """(N, 1), or (N, R): any of all targets that will do and are unused; where all are used, any that will do but
        the latest; -1 where there is no other."""
        environment = self._environment(store)

        def possible(query: Tensor, target: Tensor) -> Tensor:
            there = store.offered[target]
            if self.independent:
                there, about = there.gather(1, query[:, None] % store.regions), wanted.flatten()[query, None]
            else:
                about = wanted[query]
            return (there & about).any(1) & environment.match[target]

        def repeated(row: Tensor, region: Tensor, target: Tensor) -> Tensor:
            return wanted[row, region] & (latest[row, region] == target)

        def seen(row: Tensor, region: Tensor, target: Tensor) -> Tensor:
            about = wanted[row, region] & store.offered[target, region]
            return about & used.holds(source[row], target, region) | repeated(row, region, target)

        asked = wanted if self.independent else wanted.any(1)

        def find(left_out: Taken) -> Tensor:
            test = without(possible, left_out, store.regions, self.independent)
            pool = partial(environment.pool, len(wanted), self.independent)
            return draw(test, asked, store, 1, generator, pool)

        target = find(seen)
        if (target < 0).any():
            target = torch.where(target < 0, find(repeated), target)
        return target[..., 0] if self.independent else target

    def _environment(self, store: ParameterStore) -> _Environment:
        """The targets of the environment, looked up once for a store."""
        if self._known is None or self._known[0] is not store:
            self._known = store, _Environment(store, matching(store, self.environment))
        return self._known[1]

    def _choose(self, rows: Recipe, store: ParameterStore, generator: torch.Generator) -> Tensor:
        chosen = torch.zeros_like(rows.chosen)
        areas = len(store.areas)
        if self.areas == "all":
            chosen[:, :areas] = True
        elif self.areas == "random":
            draw = torch.rand(len(rows), areas, generator=generator).masked_fill(~rows.present[:, :areas], 1)
            chosen[:, :areas] = (draw < 0.5) | (draw == draw.min(dim=1, keepdim=True).values)
        else:
            for name in self.areas:
                if name not in store.areas:
                    raise InputError(f"first.areas: no area is called {name!r}: take some of {', '.join(store.areas)}")
                chosen[:, store.areas.index(name)] = True
        chosen[:, -1] = self.whole
        return chosen
