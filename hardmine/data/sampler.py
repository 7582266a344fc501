"""Which rows the next batch trains on: clean sources, and pieces of the buffer."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Sampler

from hardmine.buffer import RecipeBuffer
from hardmine.records import Recipe, state
from hardmine.rng import key, keyed


class MiningSampler(Sampler[Recipe]):
    """Yields whole batches as recipes: B - m clean rows, then m rows of pieces where the buffer has as many.

    Clean rows follow one endless stream of shuffled passes over the sources, and only as many are taken from it as
    are used; so a run whose buffer stays empty sees exactly the batches of a run without mining.

    Every rank draws the batch of all ranks and takes its own part. What was drawn and not yet trained on (loader
    processes draw ahead) is part of the state: a resumed run trains on it first.

    Args:
        sources: S, number of source images.
        batch_size: B, rows per rank.
        mined: m, rows of each batch that are pieces.
        regions: R.
        axes: D.
        buffer: where pieces come from; None trains on clean rows alone.
        fresh_sources: a piece is tried on the next clean source in place of its own (the light is hard, not the
            picture).
        seed: of the order and the views.
    """

    def __init__(
        self,
        sources: int,
        batch_size: int,
        mined: int,
        regions: int,
        axes: int,
        buffer: RecipeBuffer | None,
        fresh_sources: bool = False,
        seed: int = 0,
    ) -> None:
        if not 0 <= mined <= batch_size:
            raise ValueError(f"mined rows must be 0 to the batch size {batch_size}, got {mined}")
        if sources < batch_size:
            raise ValueError(f"{sources} source images are fewer than the batch size {batch_size}")
        self.sources, self.batch_size, self.mined = sources, batch_size, mined
        self.regions, self.axes = regions, axes
        self.buffer, self.fresh_sources, self.seed = buffer, fresh_sources, seed
        self.rank, self.ranks = 0, 1
        self.step = 0  # optimiser steps made; pieces age by it
        self.drawn = 0  # batches drawn so far
        self.cursor = 0  # clean rows taken from the stream so far
        self.in_flight: deque[Recipe] = deque()  # drawn, not yet trained on; rows of all ranks
        self._skip = 0  # batches of this epoch that were trained on before a resume
        self._begun = 0  # batches trained on before this epoch
        self._order: tuple[int, torch.Tensor] = (-1, torch.empty(0))

    def __len__(self) -> int:
        return self.sources // (self.batch_size * self.ranks)

    def __iter__(self) -> Iterator[Recipe]:
        waiting, self._skip, skip = list(self.in_flight), 0, self._skip
        self._begun = self.drawn - len(waiting) - skip
        for recipe in waiting:
            yield self.part(recipe)
        for _ in range(len(self) - skip - len(waiting)):
            recipe = self._draw()
            self.in_flight.append(recipe)
            yield self.part(recipe)

    def part(self, recipe: Recipe) -> Recipe:
        """This rank's rows of a record that holds every rank's."""
        n = len(recipe) // self.ranks
        return recipe[self.rank * n : (self.rank + 1) * n]

    def _draw(self) -> Recipe:
        """The next batch of all ranks: on each rank first its clean rows, then its pieces."""
        wanted = self.mined * self.ranks
        generator = keyed(self.seed, "replay", self.drawn)
        pieces = self.buffer.draw(wanted, self.step, generator) if self.buffer is not None else None
        self.drawn += 1
        if pieces is None:
            return self._clean(self.batch_size * self.ranks)
        if self.fresh_sources:
            fresh = self._clean(len(pieces))
            pieces = pieces.replace(source=fresh.source, view=fresh.view, present=fresh.present)
        return self._shared_out(pieces, self.batch_size, wanted)

    def joined(self, pieces: Recipe, stored: bool) -> Recipe:
        """An update batch of all ranks: these pieces, where `stored` with clean rows up to the batch size."""
        each = len(pieces) // self.ranks
        return self._shared_out(pieces, self.batch_size if stored else each, len(pieces))

    def _shared_out(self, pieces: Recipe, batch_size: int, wanted: int) -> Recipe:
        """Clean rows and pieces in the order of the ranks; clean rows stand in for pieces that are wanting."""
        filled = Recipe.cat([self._clean(batch_size * self.ranks - len(pieces)), pieces])
        clean = batch_size * self.ranks - wanted
        rank_of_row = torch.cat([torch.arange(clean) % self.ranks, torch.arange(wanted) % self.ranks])
        return filled[rank_of_row.argsort(stable=True)]

    def _clean(self, n: int) -> Recipe:
        numbers = range(self.cursor, self.cursor + n)
        self.cursor += n
        source = torch.tensor([self._source(number) for number in numbers], dtype=torch.int64)
        view = torch.tensor([key(self.seed, "view", number) for number in numbers], dtype=torch.int64)
        return Recipe.clean(source, view, self.regions, self.axes)

    def _source(self, number: int) -> int:
        epoch, place = divmod(number, self.sources)
        if self._order[0] != epoch:
            self._order = epoch, torch.randperm(self.sources, generator=keyed(self.seed, "order", epoch))
        return int(self._order[1][place])

    def state_dict(self) -> dict[str, Any]:
        trained = self.drawn - len(self.in_flight) - self._begun
        return {
            "drawn": self.drawn,
            "cursor": self.cursor,
            "step": self.step,
            "trained_in_epoch": trained % len(self),
            "in_flight": [state(recipe) for recipe in self.in_flight],
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.drawn, self.cursor, self.step = saved["drawn"], saved["cursor"], saved["step"]
        self._skip = saved["trained_in_epoch"]
        self.in_flight = deque(Recipe.from_tensors(recipe) for recipe in saved["in_flight"])
