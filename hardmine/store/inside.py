"""Which pairs of a row and a target of a large store lie inside the second threshold, in machine code.

A pair that fails in one region is looked at in no other, and nothing is gathered for it.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardmine.kernels.compiled import compiled
from hardmine.records import Recipe
from hardmine.store.draw import Test
from hardmine.store.near import Threshold
from hardmine.store.store import ParameterStore

Values = NDArray[Any]


def together(rows: Recipe, store: ParameterStore, reach: Threshold) -> Test:
    """Inside in every region that would move, see `near`."""
    axes = reach.axes(store.space).nonzero().flatten()
    each, total = reach.limits(store.space)
    limits: tuple[Any, Any, Any] = store.space.unit[axes].numpy(), each.numpy(), np.float32(total)
    of_rows = rows.parameter.numpy(), rows.chosen.numpy(), rows.counted.numpy()
    of_targets = store.points.numpy(), store.offered.numpy()

    def test(row: Tensor, target: Tensor) -> Tensor:
        passed = np.empty(len(row), np.bool_)
        _look(row.numpy(), target.numpy(), *of_rows, *of_targets, axes.numpy(), *limits, passed)
        return torch.from_numpy(passed)

    return test


@compiled()
def _look(
    row: Values,
    target: Values,
    parameter: Values,
    chosen: Values,
    counted: Values,
    points: Values,
    offered: Values,
    axes: Values,
    unit: Values,
    each: Values,
    limit: float,
    passed: Values,
) -> None:
    for pair in range(len(row)):
        n, m = row[pair], target[pair]
        inside, seen = True, False
        for region in range(chosen.shape[1]):
            # an area that the source lacks goes along, and is seen where the piece is put on another source
            if not (chosen[n, region] and offered[m, region]):
                continue
            seen = seen or bool(counted[n, region])
            total = np.float32(0)
            for place in range(len(axes)):
                shift = (parameter[n, region, axes[place]] - points[m, region, axes[place]]) / unit[place]
                square = shift * shift
                inside = bool(inside and square < each[place])
                total += square
            inside = bool(inside and total < limit)
            if not inside:
                break
        passed[pair] = inside and seen
