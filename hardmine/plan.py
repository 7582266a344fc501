"""The rows of a batch: which of them become pieces, and in which light."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import floor, inf

import torch
from torch import Tensor

from hardmine.arguments import look_at_number
from hardmine.errors import InputError
from hardmine.judge.size import Wanted, look_at_size
from hardmine.memory.buffer import RecipeBuffer
from hardmine.records import Recipe
from hardmine.rng import key, keyed
from hardmine.scenes import Scenes

STAND_INS = 1 / 3


@dataclass(frozen=True)
class Mix:
    """What the rows of a batch are used for.

    Attributes:
        mined: share of them, in [0, 1], that are converted, to pieces where the buffer has them.
        candidates: K, candidates that are made of each.
        stand_ins: share, in [0, 1], of the converted rows that take first parameters in place of pieces, beside those
            that pieces are wanting for. 0 leaves the latter unconverted. None is 1 / 3, or 0 where Th1 is a number or
            `update` waits for pieces.
        score_size: at which size candidates are converted and scored; what is trained on has its own. "auto" is 0.5,
            half of both sides, for images of 192 pixels or more, if the run's first candidates are ranked alike at
            both sizes, and 1.0 where Th1 is a number, labels are boxes, or `update` waits for pieces. See `ScoreSize`.

    Raises:
        InputError: a number out of its range.
    """

    mined: float = 0.375
    candidates: int = 1
    stand_ins: float | None = None
    score_size: Wanted = "auto"

    def __post_init__(self) -> None:
        look_at_number("mined", self.mined, 0, 1, "a share")
        look_at_number("candidates", self.candidates, 1, inf, "candidates per row", whole=True)
        if self.stand_ins is not None:
            look_at_number("stand_ins", self.stand_ins, 0, 1, "a share")
        look_at_size(self.score_size)

    def settled(self, auto: bool, waits: bool) -> "Mix":
        """The same with a number for what was left open.

        Args:
            auto: there is no number for Th1.
            waits: `update` waits for pieces.

        Raises:
            InputError: what a search that waits cannot have.
        """
        if waits and self.stand_ins:
            raise InputError(
                f"stand_ins must be 0 or left out where update.every waits for pieces, got {self.stand_ins:g}"
            )
        if waits and self.candidates > 1:
            raise InputError(
                f"update.every searches with one candidate for each row: set candidates=1, got {self.candidates}"
            )
        if waits and self.score_size == 0.5:
            raise InputError("update.every scores at full size: leave score_size out")
        stand_ins, score_size = self.stand_ins, self.score_size
        if stand_ins is None:
            stand_ins = STAND_INS if auto and not waits else 0.0
        if score_size == "auto" and (waits or not auto):  # half size keeps the order of scores, not their values
            score_size = 1.0
        return replace(self, stand_ins=stand_ins, score_size=score_size)


@dataclass(frozen=True)
class Plan:
    """What a batch trains on.

    Attributes:
        rows: B rows; those where no region is chosen stay as they are.
    """

    rows: Recipe

    @property
    def pieces(self) -> Tensor:
        """(m,) int64: the rows that are converted."""
        return self.rows.chosen.any(1).nonzero().flatten()


def planned(scenes: Scenes, regions: int, axes: int, seed: int, number: int) -> Recipe:
    """Rows that leave every image as it is.

    Args:
        scenes: B of them. Those that nobody numbered are source -1; a draw that the batch does not say is drawn here.
        regions: R.
        axes: D.
        seed, number: what the draws depend on.
    """
    source, draw = scenes.source, scenes.draw
    if source is None:
        source = torch.full((len(scenes),), -1)
    if draw is None:
        draw = torch.tensor([key(seed, "draw", number, row) for row in range(len(scenes))], dtype=torch.int64)
    return Recipe.clean(source, draw, regions, axes).replace(present=scenes.present)


def pieces_of(
    buffer: RecipeBuffer,
    clean: Recipe,
    mix: Mix,
    first: Callable[[Recipe, torch.Generator], Recipe],
    step: int,
    seed: int,
    number: int,
) -> Recipe:
    """Rows drawn by chance carry pieces of the buffer.

    Args:
        buffer: where they come from.
        clean: B rows.
        mix: shares of the rows; what is left of a row is one with that chance. `stand_ins=None` is 0.
        first: gives rows a first parameter, where they stand in for pieces.
        step: optimiser steps made.
        seed, number: what the draws depend on.
    """
    generator, stand_ins = keyed(seed, "replay", number), mix.stand_ins or 0.0

    def rows_of(wanted: float) -> int:
        return floor(wanted + float(torch.rand((), generator=generator, dtype=torch.float64)))

    rows = rows_of(mix.mined * len(clean))
    pieces = buffer.draw(rows - rows_of(stand_ins * rows) if stand_ins else rows, step, generator)
    found = 0 if pieces is None else len(pieces)
    place = torch.randperm(len(clean), generator=generator)[:rows]
    made = [clean]
    if pieces is not None:
        there = clean[place[:found]]
        made.append(pieces.replace(source=there.source, draw=there.draw, present=there.present))
    if stand_ins and found < rows:
        made.append(first(clean[place[found:]], generator))
    order, changed = torch.arange(len(clean)), sum(map(len, made)) - len(clean)
    order[place[:changed]] = len(clean) + torch.arange(changed)
    planned = Recipe.cat(made)[order]
    return planned.where(planned.counted.any(1), clean)  # the areas of a piece may lack where it is put
