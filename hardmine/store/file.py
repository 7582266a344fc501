"""The file of a parameter store: a Parquet table of a row for each target and region, written here or elsewhere."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.files import write_atomically
from hardmine.space import COLORS, LAB, Axis, Space

if TYPE_CHECKING:
    from hardmine.store.store import ParameterStore

WHOLE = "(whole image)"  # name of the last region in the rows of the file
_PREFIX = "environment."  # of the columns that name the environment


def write_store(store: "ParameterStore", path: Path) -> None:
    """See `ParameterStore.save`."""
    m, r = len(store), store.regions
    names = [*store.areas, WHOLE]
    columns: dict[str, Any] = {
        "target": [name for name in store.ids for _ in range(r)],
        "area": names * m,
        "pixels": store.count.flatten().tolist(),
    }
    for column, value in zip(store.space.names, store.parameters.flatten(0, 1).unbind(1), strict=True):
        columns[column] = value.numpy()
    for component, entries in store.environment.items():
        columns[_PREFIX + component] = [entry for entry in entries for _ in range(r)]
    facts = {"version": 1, "areas": store.areas, "axes": [asdict(axis) for axis in store.space.axes]}
    table = pa.table(columns).replace_schema_metadata({"hardmine.store": json.dumps(facts)})
    write_atomically(path, lambda file: pq.write_table(table, file))


def read_store(path: Path, space: Space | None) -> dict[str, Any]:
    """What the constructor of `ParameterStore` takes; see `ParameterStore.load`."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: give `path` a store written by hardmine store", "store") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None
    there = set(table.column_names)
    facts = json.loads((table.schema.metadata or {}).get(b"hardmine.store", b"{}"))
    if space is None:
        space = Space([Axis(**axis) for axis in facts["axes"]]) if "axes" in facts else LAB
    known = {axis for colors in COLORS.values() for axis in colors.axes}
    stored = Space([axis for axis in space.axes if axis.name in there or axis in known])
    lacking = {"target", "area", *stored.names} - there
    if lacking:
        raise InputError(f"{path}: column {sorted(lacking)[0]!r} is missing: add it to the table of statistics")
    return _arguments(path, table, stored, facts.get("areas"))


def _arguments(path: Path, table: pa.Table, space: Space, areas: Sequence[str] | None) -> dict[str, Any]:
    targets, names = table["target"].to_pylist(), table["area"].to_pylist()
    areas = tuple(areas or dict.fromkeys(name for name in names if name != WHOLE))
    ids = tuple(dict.fromkeys(targets))
    row = {name: index for index, name in enumerate(ids)}
    region = {name: index for index, name in enumerate((*areas, WHOLE))}
    values = torch.stack([_numbers(path, table, name) for name in space.names], dim=1)
    possible = values.isfinite().all(1) & (values[:, space.spread] >= 0).all(1)
    possible &= torch.tensor([name in region for name in names], dtype=torch.bool)
    if not possible.all():
        line = int((~possible).nonzero()[0])
        raise InputError(
            f"{path}: row {line} ({targets[line]}, {names[line]}) is no distribution: mend or drop that row"
        )
    place = torch.tensor([row[name] for name in targets]), torch.tensor([region[name] for name in names])
    points = torch.zeros(len(ids), len(region), len(space))
    points[place] = values.float()
    count = torch.zeros(len(ids), len(region), dtype=torch.int64)
    with_pixels = "pixels" in table.column_names
    count[place] = _numbers(path, table, "pixels").long() if with_pixels else torch.full((len(names),), 1 << 30)
    environment = {}
    for column in (name for name in table.column_names if name.startswith(_PREFIX)):
        of_target = dict(zip(targets, table[column].to_pylist(), strict=True))
        environment[column.removeprefix(_PREFIX)] = [str(of_target[name]) for name in ids]
    return {
        "parameters": points,
        "count": count,
        "areas": areas,
        "ids": ids,
        "environment": environment,
        "space": space,
    }


def _numbers(path: Path, table: pa.Table, column: str) -> Tensor:
    """(rows,) float64; what is missing is NaN."""
    try:
        return torch.from_numpy(table[column].cast(pa.float64()).to_numpy().copy())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"{path}: column {column!r} holds no numbers: write it as numbers") from None
