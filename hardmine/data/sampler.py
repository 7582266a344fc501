"""Which rows the next batch trains on: clean sources, labelled targets, and pieces of the buffer."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Sampler

from hardmine.memory.buffer import RecipeBuffer
from hardmine.records import Recipe, state
from hardmine.rng import key, keyed


class MiningSampler(Sampler[Recipe]):
    """Yields whole batches as recipes: B - m - t sources, t targets, then m pieces where the buffer has as many.

    Sources follow one endless stream of shuffled passes, targets another, and only as many are taken from it as are
    used; so a run whose buffer stays empty sees exactly the batches of a run without mining. Sources stand in for
    pieces that are wanting.

    Every rank draws the batch of all ranks and takes its own part. What was drawn and not yet trained on (loader
    processes draw ahead) is part of the state: a resumed run trains on it first.

    Args:
        sources: S, number of source images, samples 0 to S - 1 of the training data.
        batch_size: B, rows per rank.
        mined: m, rows of each batch that are pieces.
        regions: R.
        axes: D.
        buffer: where pieces come from; None trains on clean rows alone.
        fresh_sources: a piece is tried on the next clean source in place of its own (the light is hard, not the
            picture).
        seed: of the order and the views.
        targets: T, number of labelled target images to train on, samples S to S + T - 1.
        target_rows: t, rows of each batch that are targets, as they are.
        convert_targets: of the pieces that are tried on other sources, as large a share is tried on targets as these
            have among the rows that are no pieces.
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
        targets: int = 0,
        target_rows: int = 0,
        convert_targets: bool = False,
    ) -> None:
        if not 0 <= mined <= batch_size:
            raise ValueError(f"mined rows must be 0 to the batch size {batch_size}, got {mined}")
        if not 0 <= target_rows <= batch_size - mined:
            raise ValueError(f"target rows must be 0 to {batch_size - mined} beside {mined} mined, got {target_rows}")
        if target_rows and targets < 1:
            raise ValueError(f"{target_rows} target rows need target images, got {targets}")
        if sources < batch_size:
            raise ValueError(f"{sources} source images are fewer than the batch size {batch_size}")
        self.sources, self.batch_size, self.mined, self.target_rows = sources, batch_size, mined, target_rows
        self.converted_targets = target_rows / (batch_size - mined) if convert_targets and target_rows else 0.0
        self.regions, self.axes = regions, axes
        self.buffer, self.fresh_sources, self.seed = buffer, fresh_sources, seed
        self._of_sources = _Stream(range(sources), seed, "")
        self._of_targets = _Stream(range(sources, sources + targets), seed, "target ")
        self.rank, self.ranks = 0, 1
        self.step = 0  # optimiser steps made; pieces age by it
        self.drawn = 0  # batches drawn so far
        self.in_flight: deque[Recipe] = deque()  # drawn, not yet trained on; rows of all ranks
        self._skip = 0  # batches of this epoch that were trained on before a resume
        self._begun = 0  # batches trained on before this epoch

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

    @property
    def stand_ins(self) -> torch.Tensor:
        """(B * ranks,) bool: the rows of a batch without pieces that stand where these would be."""
        return (torch.arange(self.batch_size) >= self.batch_size - self.mined).repeat(self.ranks)

    def _draw(self) -> Recipe:
        """The next batch of all ranks: on each rank first its sources, then its targets, then its pieces."""
        wanted = self.mined * self.ranks
        generator = keyed(self.seed, "replay", self.drawn)
        pieces = self.buffer.draw(wanted, self.step, generator) if self.buffer is not None else None
        self.drawn += 1
        if pieces is None and not self.target_rows:
            return self._clean(self.batch_size * self.ranks)
        if pieces is None:
            pieces = self._clean(0)
        if self.fresh_sources:
            on_targets = round(self.converted_targets * len(pieces))
            fresh = Recipe.cat([self._clean(len(pieces) - on_targets), self._targets(on_targets)])
            pieces = pieces.replace(source=fresh.source, draw=fresh.draw, present=fresh.present)
        return self._shared_out(pieces, self.batch_size, wanted, self.target_rows)

    def joined(self, pieces: Recipe, stored: bool) -> Recipe:
        """An update batch of all ranks: these pieces, where `stored` with sources and targets up to the batch size."""
        if stored:
            return self._shared_out(pieces, self.batch_size, len(pieces), self.target_rows)
        return self._shared_out(pieces, len(pieces) // self.ranks, len(pieces), 0)

    def _shared_out(self, pieces: Recipe, batch_size: int, wanted: int, targets: int) -> Recipe:
        """Sources, targets and pieces in the order of the ranks; sources stand in for pieces that are wanting."""
        of_targets = self._targets(targets * self.ranks)
        clean = self._clean(batch_size * self.ranks - len(of_targets) - len(pieces))
        sources = batch_size * self.ranks - len(of_targets) - wanted
        filled = Recipe.cat([clean[:sources], of_targets, clean[sources:], pieces])
        stored = sources + len(of_targets)
        rank_of_row = torch.cat([torch.arange(stored) % self.ranks, torch.arange(wanted) % self.ranks])
        return filled[rank_of_row.argsort(stable=True)]

    def _clean(self, n: int) -> Recipe:
        return Recipe.clean(*self._of_sources.take(n), self.regions, self.axes)

    def _targets(self, n: int) -> Recipe:
        return Recipe.clean(*self._of_targets.take(n), self.regions, self.axes)

    def state_dict(self) -> dict[str, Any]:
        trained = self.drawn - len(self.in_flight) - self._begun
        return {
            "drawn": self.drawn,
            "cursor": self._of_sources.cursor,
            "target_cursor": self._of_targets.cursor,
            "step": self.step,
            "trained_in_epoch": trained % len(self),
            "in_flight": [state(recipe) for recipe in self.in_flight],
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.drawn, self.step = saved["drawn"], saved["step"]
        self._of_sources.cursor = saved["cursor"]
        self._of_targets.cursor = saved.get("target_cursor", 0)  # checkpoints of runs without targets may lack it
        self._skip = saved["trained_in_epoch"]
        self.in_flight = deque(Recipe.from_tensors(recipe) for recipe in saved["in_flight"])


class _Stream:
    """Endless shuffled passes over samples, each time under a view of its own.

    Args:
        samples: their numbers in the training data.
        seed: of the order and the views.
        name: sets the order and the views of one stream apart from another's.
    """

    def __init__(self, samples: range, seed: int, name: str) -> None:
        self.samples, self.seed, self.name = samples, seed, name
        self.cursor = 0  # taken so far
        self._order: tuple[int, torch.Tensor] = (-1, torch.empty(0))

    def take(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The next n samples and their views, both (n,) int64."""
        numbers = range(self.cursor, self.cursor + n)
        self.cursor += n
        samples = [self._sample(number) for number in numbers]
        views = [key(self.seed, f"{self.name}view", number) for number in numbers]
        return torch.tensor(samples, dtype=torch.int64), torch.tensor(views, dtype=torch.int64)

    def _sample(self, number: int) -> int:
        epoch, place = divmod(number, len(self.samples))
        if self._order[0] != epoch:
            order = torch.randperm(len(self.samples), generator=keyed(self.seed, f"{self.name}order", epoch))
            self._order = epoch, order
        return self.samples[int(self._order[1][place])]
