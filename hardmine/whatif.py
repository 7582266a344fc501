"""What became of images in other light: accuracy of each environment and area, and how sure it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hardmine.rng import key

DRAWS = 1000  # of the bootstrap
LEVEL = 0.95  # of the intervals
Values = NDArray[np.float64]
_MEASURES = ("accuracy", "low", "high", "clean", "drop", "drop_low", "drop_high")


@dataclass(frozen=True)
class WhatIf:
    """Recognition accuracy of E environments and R regions, the areas and, last, the image as a whole.

    An image counts once, with the mean of its candidates there. Intervals are of a bootstrap over images, of 95 %; NaN
    where fewer than two images tell.

    Attributes:
        environments: E names.
        areas: R names, the image last.
        images, candidates: (E, R) int64, how many were scored.
        accuracy, low, high: (E, R) in [0, 1] with its interval; NaN where nothing was scored.
        clean: (E, R) accuracy of the same images as they are.
        drop, drop_low, drop_high: (E, R) by how much the light lowers it, with its interval.
    """

    environments: tuple[str, ...]
    areas: tuple[str, ...]
    images: NDArray[np.int64]
    candidates: NDArray[np.int64]
    accuracy: Values
    low: Values
    high: Values
    clean: Values
    drop: Values
    drop_low: Values
    drop_high: Values

    @property
    def worst(self) -> tuple[str, str]:
        """Environment and area with the lowest accuracy."""
        return self._cell(self.accuracy)

    @property
    def furthest(self) -> tuple[str, str]:
        """Environment and area that the light lowers most."""
        return self._cell(-self.drop)

    def _cell(self, values: Values) -> tuple[str, str]:
        """The names of the smallest value of an area."""
        of_areas = np.nan_to_num(values[:, :-1], nan=np.inf)
        environment, area = divmod(int(of_areas.argmin()), of_areas.shape[1])
        return self.environments[environment], self.areas[area]

    def at(self, values: Values, environment: str, area: str) -> float:
        """One of the values (E, R)."""
        return float(values[self.environments.index(environment), self.areas.index(area)])

    def worst_of(self, area: str) -> str:
        """The environment in which an area, or `image`, is recognised worst."""
        of_area = self.accuracy[:, self.areas.index(area)]
        return self.environments[int(np.nan_to_num(of_area, nan=np.inf).argmin())]

    def unscored(self, area: str | None = None) -> list[str]:
        """Environments in which nothing of an area, or of all where it is None, could be scored."""
        counts = self.images.sum(1) if area is None else self.images[:, self.areas.index(area)]
        return [name for name, count in zip(self.environments, counts.tolist(), strict=True) if not count]

    @property
    def worst_environment(self) -> str:
        """Where whole images are recognised worst."""
        return self.worst_of(self.areas[-1])

    @property
    def lowest(self) -> float:
        """Accuracy of whole images there."""
        return self.at(self.accuracy, self.worst_environment, self.areas[-1])

    @property
    def table(self) -> pa.Table:
        """A row for each environment and area; `table.to_pandas()` is a data frame."""
        rows, columns = len(self.environments), len(self.areas)
        names = {"environment": np.repeat(self.environments, columns), "area": np.tile(self.areas, rows)}
        counts = {name: getattr(self, name).flatten() for name in ("images", "candidates")}
        measures = {name: pa.array(getattr(self, name).flatten(), from_pandas=True) for name in _MEASURES}
        return pa.table({**{name: pa.array(values.tolist()) for name, values in names.items()}, **counts, **measures})

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "WhatIf":
        """Of the rows of `table`, as `table.to_pylist()` gives them."""
        environments, areas = (tuple(dict.fromkeys(row[name] for row in rows)) for name in ("environment", "area"))
        shape = (len(environments), len(areas))
        counts = {name: np.array([row[name] for row in rows], np.int64) for name in ("images", "candidates")}
        measures = {name: np.array([row[name] for row in rows], np.float64) for name in _MEASURES}
        shaped: dict[str, Any] = {name: values.reshape(shape) for name, values in {**counts, **measures}.items()}
        return cls(environments, areas, **shaped)


def what_if(
    environments: Sequence[str],
    areas: Sequence[str],
    image: NDArray[np.int64],
    cell: NDArray[np.int64],
    score: Values,
    seed: int = 0,
) -> WhatIf:
    """The table of N scored candidates.

    Args:
        environments: E names.
        areas: R names, the image last.
        image: (N,) number of the image that each was made of.
        cell: (N,) its environment; -1 for the image as it is.
        score: (N, R) in [0, 1]; NaN where an area is absent, or was not converted.
        seed: of the bootstrap.
    """
    numbers, row = np.unique(image, return_inverse=True)
    shape = (len(numbers), 1 + len(environments), len(areas))
    total, count = np.zeros(shape), np.zeros(shape, np.int64)
    np.add.at(total, (row, cell + 1), np.nan_to_num(score))
    np.add.at(count, (row, cell + 1), ~np.isnan(score))
    mean = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
    converted, clean = mean[:, 1:], np.broadcast_to(mean[:, :1], mean[:, 1:].shape)
    weights = np.random.default_rng(key(seed, "bootstrap")).multinomial(
        len(numbers), [1 / len(numbers)] * len(numbers), DRAWS
    )
    accuracy, low, high = _interval(converted, weights)
    drop, drop_low, drop_high = _interval(clean - converted, weights)
    return WhatIf(
        tuple(environments),
        tuple(areas),
        (count[:, 1:] > 0).sum(0),
        count[:, 1:].sum(0),
        accuracy,
        low,
        high,
        _means(np.where(np.isnan(converted), np.nan, clean), np.ones((1, len(numbers))))[0],
        drop,
        drop_low,
        drop_high,
    )


def _means(values: Values, weights: Values) -> Values:
    """(D, E, R) means over images of (S, E, R) values, of which some are NaN, with weights (D, S)."""
    there = ~np.isnan(values)
    total = np.tensordot(weights, np.where(there, values, 0), 1)
    weight = np.tensordot(weights, there.astype(np.float64), 1)
    means: Values = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
    return means


def _interval(values: Values, weights: NDArray[np.int64]) -> tuple[Values, Values, Values]:
    """(E, R) mean of (S, E, R) values over images, and both ends of its interval over the draws of (D, S) images."""
    mean = _means(values, np.ones((1, len(values))))[0]
    drawn = _means(values, weights.astype(np.float64))
    told = (~np.isnan(values)).sum(0) > 1
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(np.where(told, drawn, 0), [tail, 1 - tail], axis=0)
    return mean, np.where(told, low, np.nan), np.where(told, high, np.nan)
