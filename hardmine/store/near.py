"""Which stored targets lie near a parameter: their ids, found in one part of the store after the other.

Nothing here is as large as rows x targets x regions: a part has `BUDGET` numbers, and what stays of it are C ids a row.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from hardmine.records import Recipe
from hardmine.space import Space
from hardmine.store.store import ParameterStore

BUDGET = 4_000_000  # numbers of the largest tensor: rows x targets of a part x regions x axes

Test = Callable[[slice], Tensor]
"""Of the m targets in a slice of the store, which will do: (N, m) bool for all areas together, or (N, R, m)."""
Taken = Callable[[slice, Tensor], None]
"""Of the targets in a slice that passed, (N, m) or (N, R, m) bool, crosses out those not to be drawn."""


class Threshold(Protocol):
    """The second threshold, as `Reach` has it."""

    def axes(self, space: Space) -> Tensor:
        """(D,) bool: the axes that are measured."""
        ...

    def squares(self, one: Tensor, other: Tensor, space: Space) -> Tensor:
        """(..., d): squared differences along the d measured axes, in their units."""
        ...

    def holds(self, squares: Tensor, space: Space) -> Tensor:
        """(...) bool: whether squared differences (..., d) lie strictly inside; smaller ones do where larger do."""
        ...


def parts(store: ParameterStore, rows: int) -> Iterator[slice]:
    """Slices of the store whose targets, for N rows, all regions and all axes, stay within `BUDGET`."""
    size = max(1, BUDGET // (max(rows, 1) * store.regions * len(store.space)))
    for start in range(0, len(store), size):
        yield slice(start, min(start + size, len(store)))


def common(regions: Tensor, valid: Tensor) -> Tensor:
    """(N, m) bool: whether any of a row's regions (N, R) is one that a target has (m, R)."""
    return regions.float() @ valid.T.float() > 0


def cross_out(passed: Tensor, row: Tensor, region: Tensor, place: Tensor) -> None:
    """Leave out K places of a slice, each tensor (K,) int64; where all areas go together, whatever the region."""
    passed[(row, place) if passed.ndim == 2 else (row, region, place)] = False


def draw(
    test: Test, rows: int, store: ParameterStore, most: int, generator: torch.Generator, taken: Taken | None = None
) -> Tensor:
    """Targets that pass a test, each with the same chance where more than C do.

    Args:
        test: which pass.
        rows: N.
        store: the targets.
        most: C, ids for each row at most.
        generator: the only source of chance.
        taken: crosses out those that pass and are left out all the same.

    Returns:
        (N, C) int64, or (N, R, C) where the test is one of each region; different ids, then -1 where there are fewer.
    """
    best: tuple[Tensor, Tensor] | None = None
    for part in parts(store, rows):
        passed = test(part)
        if taken is not None:
            taken(part, passed)
        # the C largest of random numbers, first of this part, then of it and all parts before
        chance = torch.rand(passed.shape, generator=generator).masked_fill(~passed, -1)
        chance, place = chance.topk(min(most, passed.shape[-1]), dim=-1)
        ids = (place + part.start).masked_fill(chance < 0, -1)
        if best is None:
            nothing = ids.new_full((*ids.shape[:-1], most), -1)
            best = nothing.to(chance.dtype), nothing
        chances, candidates = torch.cat([best[0], chance], dim=-1), torch.cat([best[1], ids], dim=-1)
        chance, place = chances.topk(most, dim=-1)
        best = chance, candidates.gather(-1, place)
    assert best is not None  # no store is empty
    return best[1]


def near(
    rows: Recipe,
    store: ParameterStore,
    reach: Threshold,
    most: int,
    generator: torch.Generator,
    independent: bool = False,
    taken: Taken | None = None,
) -> Tensor:
    """Targets strictly inside the second threshold around each row's parameter, see `draw`.

    All areas go together, and then each region that would move must lie inside (D57-D60), or `independent`ly of each
    other. A region does not move where the row does not convert it or the target has nothing for it.
    """
    inside = _each(rows, store, reach) if independent else _together(rows, store, reach)
    return draw(inside, len(rows), store, most, generator, taken)


def nearest(rows: Recipe, store: ParameterStore, reach: Threshold, independent: bool = False) -> Tensor:
    """The one target nearest to each row's parameter along the axes of `reach`.

    All areas go together by the mean square over the regions the two have in common, or `independent`ly of each other.

    Returns:
        (N, 1) int64, or (N, R) where areas are independent; 0 where nothing is in common.
    """
    columns = store.regions if independent else 1
    best = torch.full((len(rows), columns), torch.inf)
    target = torch.zeros(len(rows), columns, dtype=torch.int64)
    for part in parts(store, len(rows)):
        squares, shared = _squares(rows, store, reach, part).sum(-1), _shared(rows, store, part)
        if not independent:
            squares = (squares * shared).sum(1, keepdim=True) / shared.sum(1, keepdim=True)
            shared = shared.any(1, keepdim=True)
        least, place = squares.masked_fill(~shared, torch.inf).min(dim=-1)
        target = torch.where(least < best, place + part.start, target)
        best = torch.minimum(best, least)
    return target


def _shared(rows: Recipe, store: ParameterStore, part: slice) -> Tensor:
    """(N, R, m) bool: regions that a row converts and a target has something for."""
    return rows.counted[..., None] & store.offered[part].T


def _squares(rows: Recipe, store: ParameterStore, reach: Threshold, part: slice) -> Tensor:
    """(N, R, m, d)."""
    return reach.squares(rows.parameter[:, :, None], store.points[part].transpose(0, 1), store.space)


def _each(rows: Recipe, store: ParameterStore, reach: Threshold) -> Test:
    def test(part: slice) -> Tensor:
        return reach.holds(_squares(rows, store, reach, part), store.space) & _shared(rows, store, part)

    return test


def _together(rows: Recipe, store: ParameterStore, reach: Threshold) -> Test:
    """Inside in every region that would move, one region after the other."""

    def test(part: slice) -> Tensor:
        inside = torch.ones(len(rows), len(store.parameters[part]), dtype=torch.bool)
        seen = torch.zeros_like(inside)
        for region in range(store.regions):
            # an area that the source lacks goes along, and is seen where the piece is put on another source
            moves = rows.chosen[:, region, None] & store.offered[part, region]
            squares = reach.squares(rows.parameter[:, region, None], store.points[part, region], store.space)
            inside &= reach.holds(squares, store.space) | ~moves
            seen |= moves & rows.present[:, region, None]
        return inside & seen

    return test
