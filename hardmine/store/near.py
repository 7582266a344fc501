"""Which stored targets lie near a parameter: their ids."""

from typing import Protocol

import torch
from torch import Tensor

from hardmine.records import Recipe
from hardmine.space import Space
from hardmine.store.draw import FEW, Pool, Taken, Test, draw, parts, without
from hardmine.store.store import ParameterStore


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

    def limits(self, space: Space) -> tuple[Tensor, float]:
        """(d,) what no squared difference inside reaches, and what their sum does not."""
        ...


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

    def around() -> Pool:
        from hardmine.store.around import Around  # Numba takes half a second

        return Around(rows, store, reach, independent)

    if independent:
        inside = _each(rows, store, reach)
    elif len(store) <= FEW:
        inside = _together(rows, store, reach)
    else:
        from hardmine.store.inside import together

        inside = together(rows, store, reach)
    wanted = rows.counted & store.offers
    return draw(
        without(inside, taken, store.regions, independent),
        wanted if independent else wanted.any(1),
        store,
        most,
        generator,
        around,
    )


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
        squares = reach.squares(rows.parameter[:, :, None], store.points[part].transpose(0, 1), store.space).sum(-1)
        shared = rows.counted[..., None] & store.offered[part].T  # (N, R, m)
        if not independent:
            squares = (squares * shared).sum(1, keepdim=True) / shared.sum(1, keepdim=True)
            shared = shared.any(1, keepdim=True)
        least, place = squares.masked_fill(~shared, torch.inf).min(dim=-1)
        target = torch.where(least < best, place + part.start, target)
        best = torch.minimum(best, least)
    return target


def _each(rows: Recipe, store: ParameterStore, reach: Threshold) -> Test:
    counted = rows.counted

    def test(query: Tensor, target: Tensor) -> Tensor:
        row, region = query // store.regions, query % store.regions
        squares = reach.squares(rows.parameter[row, region], store.points[target, region], store.space)
        return reach.holds(squares, store.space) & counted[row, region] & store.offered[target, region]

    return test


def _together(rows: Recipe, store: ParameterStore, reach: Threshold) -> Test:
    """Inside in every region that would move; of pairs that fail in one no other is looked at."""

    counted = rows.counted

    def test(row: Tensor, target: Tensor) -> Tensor:
        passed = torch.zeros_like(row, dtype=torch.bool)
        place = torch.arange(len(row))
        for region in range(store.regions):
            # an area that the source lacks goes along, and is seen where the piece is put on another source
            moves = rows.chosen[:, region][row] & store.offered[:, region][target]
            squares = reach.squares(rows.parameter[:, region][row], store.points[:, region][target], store.space)
            inside = (reach.holds(squares, store.space) | ~moves).nonzero().flatten()
            place, row, target = place[inside], row[inside], target[inside]
        seen = (counted[row] & store.offered[target]).any(1)
        return passed.index_fill_(0, place[seen], True)

    return test
