"""Targets of the store that pass a test, each with the same chance, without looking at all of a large store.

Of a small store every target is tested. Of a large one first random targets, then those that an index lists; these two
take turns, each time with more, so that what is easy to find costs little and what is rare is found all the same.
Nothing here is as large as rows x targets x regions: the largest tensor has `BUDGET` numbers.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from hardmine.store.store import ParameterStore

BUDGET = 4_000_000  # numbers of the largest tensor: pairs of a row and a target x regions x axes
FEW = 4096  # targets of a store that are all tested
TRIES = 16, 64  # random targets for each query, in the first turn and where that does not do
LISTED = 4096  # targets of a query that an index lists, before many more are tried

Test = Callable[[Tensor, Tensor], Tensor]
"""Which of K pairs of a query and a target, (K,) int64 each, will do: (K,) bool.

A query is a row or, where areas are independent, one region of a row; then it is called row * R + region.
"""
Taken = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Whether a row may not have a target in a region: bool in the shape of the three, int64, which broadcast."""


class Pool(Protocol):
    """Where the targets of each query are among, in a large store; others may be there too."""

    def some(self, query: Tensor, tries: int, generator: torch.Generator) -> Tensor:
        """(n, T) int64: random targets for n queries, each of a query's with the same chance."""
        ...

    def listed(self, query: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
        """All targets of n queries that have no more than `most`.

        Returns:
            Pairs of a query and a target, (K,) int64 each, and (n,) bool: which queries have more and are left out.
        """
        ...


def without(test: Test, taken: Taken | None, regions: int, independent: bool) -> Test:
    """What passes a test and is not taken: in the region of the query or, where all areas go together, in any."""
    if taken is None:
        return test

    def left(query: Tensor, target: Tensor) -> Tensor:
        passed = test(query, target)
        place = passed.nonzero().flatten()
        query, target = query[place], target[place]
        if independent:
            crossed = taken(query // regions, query % regions, target)
        else:
            crossed = taken(query[:, None], torch.arange(regions), target[:, None]).any(1)
        return passed.index_fill_(0, place[crossed], False)

    return left


def parts(store: ParameterStore, rows: int) -> Iterator[slice]:
    """Slices of the store whose targets, for N rows, all regions and all axes, stay within `BUDGET`."""
    size = max(1, BUDGET // (max(rows, 1) * store.regions * len(store.space)))
    for start in range(0, len(store), size):
        yield slice(start, min(start + size, len(store)))


def draw(
    test: Test, wanted: Tensor, store: ParameterStore, most: int, generator: torch.Generator, pool: Callable[[], Pool]
) -> Tensor:
    """Targets that pass a test, each with the same chance where more than C do.

    Args:
        test: which pass.
        wanted: (N,) bool, or (N, R) where areas are independent: for which queries there may be one.
        store: the targets.
        most: C, ids for each query at most.
        generator: the only source of chance.
        pool: gives the index of a large store.

    Returns:
        (N, C) int64, or (N, R, C); different ids, then -1 where there are fewer.
    """
    if len(store) <= FEW:
        found = _of_all(test, wanted, store, most, generator)
    else:
        found = _of_some(test, wanted.flatten().nonzero().flatten(), wanted.numel(), store, most, generator, pool())
    return found.view(*wanted.shape, most)


def _of_all(test: Test, wanted: Tensor, store: ParameterStore, most: int, generator: torch.Generator) -> Tensor:
    """(Q, C): by testing every target for every query."""
    query = torch.arange(wanted.numel())
    ids = torch.full((len(query), most), -1)
    chances = torch.full((len(query), most), -1.0)
    for part in parts(store, len(wanted)):
        target = torch.arange(part.start, part.stop)
        passed = test(query.repeat_interleave(len(target)), target.repeat(len(query))).view(len(query), len(target))
        # the C largest of random numbers, first of this part, then of it and all parts before
        chance = torch.rand(passed.shape, generator=generator).masked_fill(~passed, -1)
        chance, place = chance.topk(min(most, len(target)), dim=-1)
        chances, candidates = torch.cat([chances, chance], dim=-1), torch.cat([ids, target[place]], dim=-1)
        chances, place = chances.topk(most, dim=-1)
        ids = candidates.gather(-1, place).masked_fill(chances < 0, -1)
    return ids


def _of_some(
    test: Test, waiting: Tensor, queries: int, store: ParameterStore, most: int, generator: torch.Generator, pool: Pool
) -> Tensor:
    """(Q, C): the queries that are waiting, in turns."""
    found = torch.full((queries, most), -1)
    many = 1 + 4 * most * len(store) // LISTED  # where more than can be listed pass, as good as always enough
    for tries, listed in ((TRIES[0], 0), (TRIES[1], LISTED), (many, len(store))):
        still = [waiting[:0]]
        for query in torch.split(waiting, max(1, BUDGET // max(tries, listed))):
            target = pool.some(query, tries, generator).flatten()
            pair = _passing(test, query.repeat_interleave(tries), target, store)
            query = query[~_deal(found, *pair, generator, full=True)[query]]
            if listed and len(query):
                those, target, more = pool.listed(query, listed)
                _deal(found, *_passing(test, those, target, store), generator)
                query = query[more]
            still.append(query)
        waiting = torch.cat(still)
    return found


def _passing(test: Test, query: Tensor, target: Tensor, store: ParameterStore) -> tuple[Tensor, Tensor]:
    """The pairs that pass a test, each once, in order."""
    size = max(1, BUDGET // (store.regions * len(store.space)))
    passed = [test(*pair) for pair in zip(torch.split(query, size), torch.split(target, size), strict=True)]
    passing = torch.cat(passed)
    pair = torch.unique(query[passing] * len(store) + target[passing])
    return pair // len(store), pair % len(store)


def _deal(found: Tensor, query: Tensor, target: Tensor, generator: torch.Generator, full: bool = False) -> Tensor:
    """Enter C random ones of each query's targets, or all where there are fewer; with `full` only where there are C.

    Args:
        found: (Q, C), is written to.
        query, target: (K,) different pairs.
        generator: the only source of chance.
        full: see above.

    Returns:
        (Q,) bool: which queries have C targets or more.
    """
    queries, most = found.shape
    order = torch.rand(len(query), generator=generator).argsort()
    order = order[query[order].argsort(stable=True)]
    query, target = query[order], target[order]
    count = query.bincount(minlength=queries)
    place = torch.arange(len(query)) - (count.cumsum(0) - count)[query]
    enough = count >= most
    dealt = place < most
    if full:
        dealt &= enough[query]
    found[query[dealt], place[dealt]] = target[dealt]
    return enough
