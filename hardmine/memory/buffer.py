"""The online-update buffer: the pieces found hard, held as recipes (R24, R41)."""

from math import inf
from typing import Any

import torch
from torch import Tensor

from hardmine.arguments import look_at_number
from hardmine.records import Recipe, Verdict, state

_NUMBERS = ("score", "drop", "step", "replays")  # of each piece


class RecipeBuffer:
    """A ring of pieces; where it is full, a new piece takes the place of the oldest.

    A piece leaves when it has been replayed or is stale: an old score says little of the present model, and a piece
    that stays hard for ever is one whose conversion destroyed the label.

    Args:
        capacity: pieces held at most; one takes about 400 bytes with 11 areas.
        max_replays: how often a piece is trained on.
        max_age: optimiser steps a score is believed.
    """

    def __init__(self, capacity: int = 4096, max_replays: int = 16, max_age: int = 1000) -> None:
        look_at_number("buffer.capacity", capacity, 1, inf, "pieces", whole=True)
        look_at_number("buffer.max_replays", max_replays, 1, inf, "times", whole=True)
        look_at_number("buffer.max_age", max_age, 1, inf, "optimiser steps")
        self.capacity, self.max_replays, self.max_age = capacity, max_replays, max_age
        self.recipe: Recipe | None = None
        self.score = torch.empty(0)  # (n,) float32, recognition accuracy when it was scored
        self.drop = torch.empty(0, dtype=torch.float32)  # (n,) float32, how far the parameter lowered it
        self.step = torch.empty(0, dtype=torch.int64)  # (n,) optimiser step of that score
        self.replays = torch.empty(0, dtype=torch.int64)  # (n,) times trained on
        self.admitted = 0  # pieces ever admitted; the number of the next one
        self.left = {"replayed": 0, "aged": 0, "evicted": 0}  # pieces that are gone, and why

    def __len__(self) -> int:
        return len(self.score)

    @property
    def nbytes(self) -> int:
        recipe = self.recipe.nbytes if self.recipe is not None else 0
        return recipe + sum(int(getattr(self, name).nbytes) for name in _NUMBERS)

    def admit(self, recipe: Recipe, verdict: Verdict) -> Recipe:
        """Take in the rows that are pieces and number them.

        Returns:
            `recipe` with `piece` set where a row became a piece.
        """
        hard = verdict.piece
        number = self.admitted + hard.long().cumsum(0) - 1
        recipe = recipe.replace(piece=torch.where(hard, number, recipe.piece))
        fresh = recipe[hard]
        if len(fresh):
            self.admitted += len(fresh)
            self.recipe = fresh if self.recipe is None else Recipe.cat([self.recipe, fresh])
            self.score = torch.cat([self.score, verdict.score[hard]])
            self.drop = torch.cat([self.drop, verdict.drop[hard]])
            self.step = torch.cat([self.step, verdict.step[hard]])
            self.replays = torch.cat([self.replays, torch.zeros(len(fresh), dtype=torch.int64)])
            self._drop("evicted", torch.arange(len(self)) < len(self) - self.capacity)
        return recipe

    def draw(self, n: int, step: int, generator: torch.Generator) -> Recipe | None:
        """At most `n` different pieces, all with the same chance; None where the buffer is empty.

        A draw is no replay: ranks draw on their own, and `replayed` tells what all of them trained on.

        Args:
            n: pieces wanted.
            step: the present optimiser step; pieces scored more than `max_age` before it are dropped.
            generator: draws which.
        """
        self._drop("aged", step - self.step > self.max_age)
        if self.recipe is None or not len(self) or n < 1:
            return None
        waiting = -torch.rand(len(self), generator=generator, dtype=torch.float64).log()
        picked = waiting.argsort()[:n]
        return self.recipe[picked]

    def drops(self, piece_numbers: Tensor) -> Tensor:
        """(N,) float32, how far the parameters of pieces (N,) lowered the score; 0 for those that are gone, and -1."""
        drop, place, there = self.drop.new_zeros(len(piece_numbers)), *self._find(piece_numbers)
        drop[there] = self.drop[place[there]]
        return drop

    def _find(self, piece_numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of pieces (N,), and (N,) bool, whether they are there."""
        if self.recipe is None or not len(self):
            return torch.zeros_like(piece_numbers), torch.zeros_like(piece_numbers, dtype=torch.bool)
        number = self.recipe.piece  # rising
        place = torch.searchsorted(number, piece_numbers.contiguous()).clamp(max=len(self) - 1)
        return place, number[place] == piece_numbers

    def replayed(self, piece_numbers: Tensor) -> None:
        """Count that pieces were trained on; those that were `max_replays` times leave.

        Args:
            piece_numbers: (K,) int64, once for each time; those of pieces that are gone, and -1, count nothing.
        """
        place, there = self._find(piece_numbers)
        self.replays = self.replays + place[there].bincount(minlength=len(self))
        self._drop("replayed", self.replays >= self.max_replays)

    def _drop(self, why: str, mask: Tensor) -> None:
        if self.recipe is not None and mask.any():
            self.left[why] += int(mask.sum())
            self.recipe = self.recipe[~mask]
            for name in _NUMBERS:
                setattr(self, name, getattr(self, name)[~mask])

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers."""
        return {
            "recipe": state(self.recipe) if self.recipe is not None else {},
            **{name: getattr(self, name).clone() for name in _NUMBERS},
            "admitted": self.admitted,
            "left": dict(self.left),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.recipe = Recipe.from_tensors(saved["recipe"]) if saved["recipe"] else None
        for name in _NUMBERS:
            setattr(self, name, saved[name].clone())
        self.admitted, self.left = saved["admitted"], dict(saved["left"])
