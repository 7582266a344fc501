"""The online-update buffer: the pieces found hard, held as recipes (R24, R41)."""

from math import inf
from typing import Any

import torch
from torch import Tensor

from hardmine.arguments import look_at_number
from hardmine.records import Recipe, Verdict

_NUMBERS = ("score", "drop", "step", "replays")  # of each piece
_FIRST = 1024  # places at the beginning
_SPARE = 4  # places for new pieces: this part of the capacity


class RecipeBuffer:
    """The latest pieces; where it is full, a new piece takes the place of the oldest.

    A piece leaves when it has been replayed or is stale: an old score says little of the present model, and a piece
    that stays hard for ever is one whose conversion destroyed the label.

    Pieces lie in the order of their numbers in tables that are longer than what they hold, and leave gaps there. They
    are moved together only when a table has come to its end, so that an admission costs what it brings.

    Args:
        capacity: pieces held at most; one takes about 500 bytes with 11 areas.
        max_replays: how often a piece is trained on.
        max_age: optimiser steps a score is believed.
    """

    def __init__(self, capacity: int = 4096, max_replays: int = 16, max_age: int = 1000) -> None:
        look_at_number("buffer.capacity", capacity, 1, inf, "pieces", whole=True)
        look_at_number("buffer.max_replays", max_replays, 1, inf, "times", whole=True)
        look_at_number("buffer.max_age", max_age, 1, inf, "optimiser steps")
        self.capacity, self.max_replays, self.max_age = capacity, max_replays, max_age
        self.admitted = 0  # pieces ever admitted; the number of the next one
        self.left = {"replayed": 0, "aged": 0, "evicted": 0}  # pieces that are gone, and why
        self._clear()

    def _clear(self) -> None:
        self._tables: dict[str, Tensor] = {}  # the fields of a recipe and `_NUMBERS`; empty before the first piece
        self._held = torch.zeros(0, dtype=torch.bool)  # whether a place of the tables has a piece
        self._end = 0  # of what has been written
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def recipe(self) -> Recipe | None:
        """All pieces, copied; None before the first."""
        if not self._tables:
            return None
        place = self._places
        return Recipe.from_tensors({name: v[place] for name, v in self._tables.items() if name not in _NUMBERS})

    @property
    def score(self) -> Tensor:
        """(n,) float32, recognition accuracy when it was scored."""
        return self._of("score")

    @property
    def drop(self) -> Tensor:
        """(n,) float32, how far the parameter lowered it."""
        return self._of("drop")

    @property
    def step(self) -> Tensor:
        """(n,) int64, optimiser step of that score."""
        return self._of("step")

    @property
    def replays(self) -> Tensor:
        """(n,) int64, times trained on."""
        return self._of("replays")

    @property
    def nbytes(self) -> int:
        return self._held.nbytes + sum(table.nbytes for table in self._tables.values())

    @property
    def _places(self) -> Tensor:
        """(n,) int64: where the pieces lie, in the order of their numbers."""
        return self._held[: self._end].nonzero().flatten()

    def _of(self, name: str) -> Tensor:
        if not self._tables:
            return torch.empty(0, dtype=torch.float32 if name in ("score", "drop") else torch.int64)
        return self._tables[name][self._places]

    def admit(self, recipe: Recipe, verdict: Verdict) -> Recipe:
        """Take in the rows that are pieces and number them.

        Returns:
            `recipe` with `piece` set where a row became a piece.
        """
        hard = verdict.piece
        number = self.admitted + hard.long().cumsum(0) - 1
        recipe = recipe.replace(piece=torch.where(hard, number, recipe.piece))
        fresh = hard.nonzero().flatten()
        if len(fresh):
            self.admitted += len(fresh)
            numbers = {"score": verdict.score, "drop": verdict.drop, "step": verdict.step}
            rows = {name: value[fresh] for name, value in {**recipe.tensors(), **numbers}.items()}
            self._write({**rows, "replays": torch.zeros_like(fresh)})
            if self._count > self.capacity:
                self._leave("evicted", self._places[: self._count - self.capacity])
        return recipe

    def _write(self, rows: dict[str, Tensor]) -> None:
        n = len(rows["replays"])
        if self._end + n > len(self._held):
            self._move_together(rows, n)
        place = slice(self._end, self._end + n)
        for name, value in rows.items():
            self._tables[name][place] = value
        self._held[place] = True
        self._end, self._count = self._end + n, self._count + n

    def _move_together(self, like: dict[str, Tensor], more: int) -> None:
        """What is held, at the beginning of tables that have room for more."""
        place, n = self._places, self._count
        room = min(self.capacity + self.capacity // _SPARE, max(_FIRST, 2 * (n + more)))
        size = max(room, n + more)
        for name, value in like.items():
            table = value.new_empty(size, *value.shape[1:])
            if n:
                table[:n] = self._tables[name][place]
            self._tables[name] = table
        self._held = torch.arange(size) < n
        self._end = n

    def _leave(self, why: str, place: Tensor) -> None:
        """Pieces leave from their places."""
        self.left[why] += len(place)
        self._held[place] = False
        self._count -= len(place)

    def draw(self, n: int, step: int, generator: torch.Generator) -> Recipe | None:
        """At most `n` different pieces, all with the same chance; None where the buffer is empty.

        A draw is no replay: ranks draw on their own, and `replayed` tells what all of them trained on.

        Args:
            n: pieces wanted.
            step: the present optimiser step; pieces scored more than `max_age` before it are dropped.
            generator: draws which.
        """
        if not self._count:
            return None
        place = self._places
        old = step - self._tables["step"][place] > self.max_age
        if old.any():
            self._leave("aged", place[old])
            place = place[~old]
        if not len(place) or n < 1:
            return None
        waiting = -torch.rand(len(place), generator=generator, dtype=torch.float64).log()
        picked = place[waiting.argsort()[:n]]
        return Recipe.from_tensors({name: v[picked] for name, v in self._tables.items() if name not in _NUMBERS})

    def drops(self, piece_numbers: Tensor) -> Tensor:
        """(N,) float32, how far the parameters of pieces (N,) lowered the score; 0 for those that are gone, and -1."""
        drop, (place, there) = torch.zeros(len(piece_numbers), dtype=torch.float32), self._find(piece_numbers)
        if self._tables:
            drop = drop.to(self._tables["drop"].dtype)
            drop[there] = self._tables["drop"][place[there]]
        return drop

    def _find(self, piece_numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Places of pieces (N,), and (N,) bool, whether they are there."""
        if not self._end:
            return torch.zeros_like(piece_numbers), torch.zeros_like(piece_numbers, dtype=torch.bool)
        number = self._tables["piece"][: self._end]  # rising, also over gaps
        place = torch.searchsorted(number, piece_numbers.contiguous()).clamp(max=self._end - 1)
        return place, (number[place] == piece_numbers) & self._held[place]

    def replayed(self, piece_numbers: Tensor) -> None:
        """Count that pieces were trained on; those that were `max_replays` times leave.

        Args:
            piece_numbers: (K,) int64, once for each time; those of pieces that are gone, and -1, count nothing.
        """
        place, there = self._find(piece_numbers)
        place, times = torch.unique(place[there], return_counts=True)
        if not len(place):
            return
        replays = self._tables["replays"]
        replays[place] += times
        self._leave("replayed", place[replays[place] >= self.max_replays])

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers."""
        recipe = self.recipe
        return {
            "recipe": {} if recipe is None else recipe.tensors(),
            **{name: self._of(name) for name in _NUMBERS},
            "admitted": self.admitted,
            "left": dict(self.left),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self._clear()
        if len(saved["score"]):
            self._write({**saved["recipe"], **{name: saved[name] for name in _NUMBERS}})
        self.admitted, self.left = saved["admitted"], dict(saved["left"])
