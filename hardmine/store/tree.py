"""A tree over the targets of a large store: those around a parameter are found without looking at the others.

Each branch parts its targets by one axis of one region into those below, those above, and those that lack the region.
The split lies in the middle of a sample, along the axis that spreads most where most have the region.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardmine.kernels.compiled import compiled

_LEAF = 32  # targets that are looked at one by one
_SAMPLE = 64  # targets that tell how a branch spreads
_SLACK = 1 + 1e-5  # what rounding may add; who asks measures again
_BRANCH = np.dtype(
    [
        ("axis", np.int32),  # -1: a leaf
        ("split", np.float32),  # what lies below is not larger
        ("start", np.int32),  # of its targets in the order of the tree
        ("stop", np.int32),
        ("first", np.int32),  # number of the branch of those below; next those above, next those that lack the region
        ("lacking", np.int32),  # 1 where there are such
    ]
)
Values = NDArray[Any]


class Tree:
    """K targets.

    Args:
        points: (K, R, d) float32; NaN where a target lacks the region.
        ids: (K,) int64, what they are called.
    """

    def __init__(self, points: Tensor, ids: Tensor) -> None:
        values = points.flatten(1).contiguous().numpy()
        branches = np.zeros(2 * len(values) + 3, _BRANCH)
        order, n, self._depth = _grow(values, branches)
        self._branches = branches[:n].copy()
        self._values = values[order]
        self._ids = ids[torch.from_numpy(order)]
        self.visited = 0  # targets that the latest search looked at

    def near(self, parameter: Tensor, unit: Tensor, each: Tensor, total: float, most: int) -> tuple[Tensor, Tensor]:
        """Targets that lie inside in every region that both a row and the target have.

        Args:
            parameter: (n, R, d) float32, of n rows; NaN where a row does not have the region.
            unit: (d,) of each axis.
            each, total: (d,) and a number: what the squared differences inside and their sum stay below. Rounding may
                let others through that lie at the edge.
            most: C.

        Returns:
            (K,) int64 targets of those rows that have no more than C, row by row, and (n,) int64 their number, C + 1
            where there are more.
        """
        count = np.empty(len(parameter), dtype=np.int64)
        found = np.empty((len(parameter), min(most, len(self._ids))), dtype=np.int32)
        values = parameter.flatten(1).contiguous().numpy()
        side = (each.sqrt() * unit * _SLACK).numpy()
        inside: tuple[Any, Any, Any] = unit.numpy(), side, np.float32(total * _SLACK)
        self.visited = _search(values, self._values, self._branches, self._depth, *inside, found, count)
        number = torch.from_numpy(count)
        entered = (torch.arange(found.shape[1]) < number[:, None]) & (number[:, None] <= most)
        return self._ids[torch.from_numpy(found)[entered].long()], number.clamp(max=most + 1)


@compiled()
def _widest(points: Values, order: Values, start: int, stop: int, sample: Values) -> tuple[int, float]:
    """The axis that spreads most in a sample and its split; -1 where all are alike. `sample` is scratch."""
    best, widest, split = -1, 0.0, 0.0
    step = max(1, (stop - start) // _SAMPLE)
    for axis in range(points.shape[1]):
        n, total, squares = 0, 0.0, 0.0
        for place in range(start, min(stop, start + step * _SAMPLE), step):
            value = points[order[place], axis]
            if not np.isnan(value):
                sample[n] = value
                n += 1
                total += value
                squares += value * value
        if n < 2:
            continue
        spread = (squares - total * total / n) * n
        ordered = np.sort(sample[:n])
        if ordered[0] < ordered[-1] and spread > widest:
            best, widest, split = axis, spread, ordered[(n - 1) // 2]
            place = n - 1
            while split == ordered[-1]:  # some lie above
                place -= 1
                split = ordered[place]
    return best, split


@compiled()
def _grow(points: Values, branches: Values) -> tuple[Values, int, int]:
    """Enter branches; gives the order of the targets in them, the number of branches and the depth."""
    order = np.arange(len(points))
    depth = np.zeros(len(branches), np.int32)
    sample, aside = np.empty(_SAMPLE, np.float32), np.empty((3, len(points)), np.int64)
    branches[0].start, branches[0].stop = 0, len(points)
    n, number = 1, 0
    while number < n:
        branch = branches[number]
        start, stop = branch.start, branch.stop
        branch.axis, branch.split = _widest(points, order, start, stop, sample) if stop - start > _LEAF else (-1, 0.0)
        if branch.axis >= 0:
            size = np.zeros(3, np.int64)
            for place in range(start, stop):
                value = points[order[place], branch.axis]
                side = 2 if np.isnan(value) else 1 if value > branch.split else 0
                aside[side, size[side]] = order[place]
                size[side] += 1
            for side in range(3):
                order[start : start + size[side]] = aside[side, : size[side]]
                branches[n + side].start, branches[n + side].stop = start, start + size[side]
                depth[n + side] = depth[number] + 1
                start += size[side]
            branch.first, branch.lacking = n, size[2] > 0
            n += 2 + branch.lacking
        number += 1
    return order, n, depth[:n].max()


@compiled()
def _search(
    parameter: Values,
    points: Values,
    branches: Values,
    depth: int,
    unit: Values,
    side: Values,
    limit: float,
    found: Values,
    count: Values,
) -> int:
    """Enter the places of each row's targets in `found` and their number in `count`; the targets looked at."""
    axes, most, visited = len(unit), found.shape[1], 0
    waiting = np.empty(2 * depth + 3, np.int32)
    for row in range(len(parameter)):
        here, n = parameter[row], 0
        waiting[0] = 0
        top = 1
        while top and n <= most:
            top -= 1
            branch = branches[waiting[top]]
            if branch.axis < 0:
                for place in range(branch.start, branch.stop):
                    visited += 1
                    if _inside(here, points[place], unit, side, limit):
                        if n < most:
                            found[row, n] = place
                        n += 1
                        if n > most:
                            break
                continue
            past, reach = here[branch.axis] - branch.split, side[branch.axis % axes]
            # what is unknown, there or here, excludes nothing
            if branch.lacking:
                waiting[top] = branch.first + 2
                top += 1
            if not past > reach:
                waiting[top] = branch.first
                top += 1
            if not -past > reach:
                waiting[top] = branch.first + 1
                top += 1
        count[row] = n
    return visited


@compiled()
def _inside(here: Values, there: Values, unit: Values, side: Values, limit: float) -> bool:
    axes = len(unit)
    for first in range(0, len(here), axes):
        total = np.float32(0)
        for axis in range(axes):
            shift = here[first + axis] - there[first + axis]
            if abs(shift) > side[axis]:
                return False
            total += (shift / unit[axis]) ** 2
        if total > limit:
            return False
    return True
