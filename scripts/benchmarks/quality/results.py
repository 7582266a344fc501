"""All results in one Parquet file: a row for each run, point of its curve, and metric."""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hardmine.errors import InputError
from hardmine.files import write_atomically

Floats = NDArray[np.float64]

COUNTS = ("step", "seconds", "pieces", "candidates", "neighbours", "neighbour_pieces", "first", "first_pieces")


class Key(NamedTuple):
    """Which run; `store` is empty where a method uses none."""

    protocol: str
    size: str
    method: str
    store: str
    targets: bool
    seed: int


SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("protocol", "size", "method", "store")),
        ("targets", pa.bool_()),
        ("seed", pa.int32()),
        *((name, pa.float32() if name == "seconds" else pa.int64()) for name in COUNTS),
        ("metric", pa.string()),
        ("value", pa.float32()),
        ("version", pa.string()),
        ("machine", pa.string()),
    ]
)


@dataclass(frozen=True)
class Curve:
    """One run at P points of increasing step.

    Attributes:
        counts: (P,) each, by the names in `COUNTS`.
        values: (P,) each, by metric, NaN where it was not measured.
        version: commit of the code.
        machine: what it ran on.
    """

    counts: dict[str, Floats]
    values: dict[str, Floats]
    version: str
    machine: str

    def measured(self, metric: str, along: str = "step") -> tuple[Floats, Floats]:
        """A count and a metric at the points where the metric was measured."""
        values = self.values.get(metric, np.full(len(self.counts["step"]), np.nan))
        there = np.isfinite(values)
        return self.counts[along][there], values[there]

    def end(self, metric: str) -> float:
        """The last value, NaN where there is none."""
        values = self.measured(metric)[1]
        return float(values[-1]) if len(values) else float("nan")

    def at(self, metric: str, along: str, where: float) -> float:
        """The value where a count stood at `where`, between two points on a line; past the end the last value."""
        counts, values = self.measured(metric, along)
        return float(np.interp(where, counts, values)) if len(values) else float("nan")


def rows_of(folder: Path, key: Key, version: str, machine: str) -> list[dict[str, Any]]:
    """Rows of a finished run, from its `curve.json`.

    Raises:
        InputError: the file is not such a list.
    """
    path = folder / "curve.json"
    try:
        points = json.loads(path.read_text())
        return [
            {**key._asdict(), **{name: point[name] for name in COUNTS}, "metric": metric, "value": point[metric]}
            | {"version": version, "machine": machine}
            for point in points
            for metric in sorted(point.keys() - set(COUNTS))
        ]
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(f"{path}: not the curve of a run ({error!r}): remove the folder and run it again") from None


def merge(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Add rows; they replace all that the file holds of the same runs."""
    if not rows:
        return
    new = pa.Table.from_pylist(list(rows), SCHEMA)
    keys = list(Key._fields)
    with _alone(path.parent):
        if path.is_file():
            stored = pq.read_table(path, schema=SCHEMA)
            kept = stored.join(new.select(keys).group_by(keys).aggregate([]), keys, join_type="left anti")
            new = pa.concat_tables([kept.select(SCHEMA.names), new])
        new = new.sort_by([(name, "ascending") for name in (*keys, "step", "metric")])
        write_atomically(path, lambda file: pq.write_table(new, file, compression="zstd"))


def read(path: Path, **wanted: str | bool | None) -> dict[Key, Curve]:
    """Curves of all runs, or of those with the given protocol, size, ...; None stands for any."""
    if not path.is_file():
        return {}
    table = pq.read_table(path, schema=SCHEMA)
    for name, value in wanted.items():
        if value is not None:
            table = table.filter(pc.equal(table[name], value))
    table = table.sort_by([(name, "ascending") for name in (*Key._fields, "step")])
    runs = groupby(table.to_pylist(), key=lambda row: Key(*(row[name] for name in Key._fields)))
    return {key: _curve(list(rows)) for key, rows in runs}


def _curve(rows: list[dict[str, Any]]) -> Curve:
    points = {row["step"]: row for row in rows}
    place = {step: index for index, step in enumerate(points)}
    values = {row["metric"]: np.full(len(points), np.nan) for row in rows}
    for row in rows:
        if row["value"] is not None:
            values[row["metric"]][place[row["step"]]] = row["value"]
    counts = {name: np.array([point[name] for point in points.values()], dtype=np.float64) for name in COUNTS}
    return Curve(counts, values, rows[-1]["version"], rows[-1]["machine"])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One reader and writer at a time, among threads and processes; the folder itself is the lock, nothing is left."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
