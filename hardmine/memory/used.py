"""Which stored parameters were tried on which source (R35; D55, D66)."""

import torch
from torch import Tensor


class Used:
    """A set of (source, target, region), as large as what was tried and not as what there is.

    Each mark is one number. They lie in sorted lists, each more than twice as long as the next one; new marks are a
    list of their own or melt into the last ones, so that a mark is moved only some twenty times in a long run.

    Sources that nobody numbered are -1 and count as one source: their marks are of the parameter alone.

    Args:
        targets: M.
        regions: R.
    """

    def __init__(self, targets: int, regions: int) -> None:
        self.targets, self.regions = targets, regions
        self._lists: list[Tensor] = []  # sorted int64, without a mark in common

    def __len__(self) -> int:
        return sum(map(len, self._lists))

    def add(self, source: Tensor, target: Tensor, region: Tensor) -> None:
        """Mark K parameters, each tensor (K,) int64; marks that are there stay."""
        marks = torch.unique(self._number(source, target, region))
        marks = marks[~self._has(marks)]
        while self._lists and len(self._lists[-1]) <= 2 * len(marks):
            marks = torch.cat([self._lists.pop(), marks]).sort().values
        if len(marks):
            self._lists.append(marks)

    def holds(self, source: Tensor, target: Tensor, region: Tensor | int) -> Tensor:
        """Whether parameters were tried.

        Args:
            source: (N,) int64.
            target: (N, ...) int64, for instance (N, C) ids of each row.
            region: a region, or a tensor that broadcasts with `target`.

        Returns:
            Bool in the shape of `target` and `region`.
        """
        return self._has(self._number(source.view(-1, *[1] * (target.ndim - 1)), target, region))

    def _number(self, source: Tensor, target: Tensor, region: Tensor | int) -> Tensor:
        number = ((source + 1) * self.targets + target) * self.regions + region
        return number.contiguous()  # as it is searched for

    def _has(self, marks: Tensor) -> Tensor:
        there = torch.zeros_like(marks, dtype=torch.bool)
        for known in self._lists:
            place = torch.searchsorted(known, marks).clamp(max=len(known) - 1)
            there |= known[place] == marks
        return there

    def state(self) -> Tensor:
        """(K, 3) int64: source, target and region of every mark, in order."""
        marks = torch.cat([*self._lists, torch.empty(0, dtype=torch.int64)]).sort().values
        target = marks // self.regions
        return torch.stack([target // self.targets - 1, target % self.targets, marks % self.regions], dim=1)

    def load(self, state: Tensor) -> None:
        """Hold exactly the marks of a `state`."""
        self._lists = []
        self.add(*state.unbind(1))
