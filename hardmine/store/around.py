"""Where the targets near a parameter are among, in a large store."""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from hardmine.records import Recipe
from hardmine.store.near import Threshold
from hardmine.store.store import ParameterStore
from hardmine.store.tree import Tree

_trees: WeakKeyDictionary[ParameterStore, dict[tuple[int, int, tuple[bool, ...]], Tree]] = WeakKeyDictionary()


def tree(store: ParameterStore, axes: Tensor, first: int, stop: int) -> Tree:
    """The targets by the axes (D,) bool of some regions, `first` to `stop` - 1; made once."""
    trees = _trees.setdefault(store, {})
    key = first, stop, tuple(axes.tolist())
    if key not in trees:
        offered = store.offered[:, first:stop]
        there = offered.any(1).nonzero().flatten()
        points = store.points[:, first:stop][there][..., axes]
        trees[key] = Tree(points.masked_fill(~offered[there][..., None], torch.nan), there)
    return trees[key]


class Around:
    """A pool of the targets around each row's parameter, see `Pool` and `near`."""

    def __init__(self, rows: Recipe, store: ParameterStore, reach: Threshold, independent: bool) -> None:
        self.store, self.independent = store, independent
        self.axes = reach.axes(store.space)
        self.limits = reach.limits(store.space)
        self.unit = store.space.unit[self.axes]
        self.areas, self.whole = bool(rows.chosen[:, :-1].any()), bool(rows.chosen[:, -1].any())
        # what a row does not convert does not move, wherever it lies
        self.parameter = rows.parameter[..., self.axes].masked_fill(~rows.chosen[..., None], torch.nan)

    def some(self, query: Tensor, tries: int, generator: torch.Generator) -> Tensor:
        """See `Pool`: of the whole store."""
        return torch.randint(len(self.store), (len(query), tries), generator=generator)

    def listed(self, query: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
        """See `Pool`: from a tree."""
        n, last = self.store.regions, self.store.regions - 1
        if not self.independent:  # as a rule the whole image does not move, or nothing else does
            first, stop = 0 if self.areas else last, n if self.whole else last
            return self._listed(query, self.parameter[query], first, stop, most)
        row, region = query // n, query % n
        pairs, more = [], torch.zeros_like(query, dtype=torch.bool)
        for one in torch.unique(region).tolist():
            here = region == one
            *pair, more[here] = self._listed(query[here], self.parameter[row[here]], one, one + 1, most)
            pairs.append(torch.stack(pair))
        both = torch.cat(pairs, dim=1)
        return both[0], both[1], more

    def _listed(
        self, query: Tensor, parameter: Tensor, first: int, stop: int, most: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        index = tree(self.store, self.axes, first, stop)
        target, count = index.near(parameter[:, first:stop], self.unit, *self.limits, most)
        more = count > most
        return query.repeat_interleave(count.masked_fill(more, 0)), target, more
