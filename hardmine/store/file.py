"""The table of a parameter store, a row for each target and region: a Parquet file, or a table of a database."""

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
from hardmine.space import COLORS, LAB, LUMINANCE, Axis, Space
from hardmine.store.database import Address, is_url, read_table, write_table

if TYPE_CHECKING:
    from hardmine.store.store import ParameterStore

WHOLE = "(whole image)"  # name of the last region in the rows of the file
_PREFIX = "environment."  # of the columns that name the environment
_REFERENCES = {"images": "image", "index_images": "index_image"}  # argument of the store, and column
_MANY = 1 << 30  # pixels where their number is not known


def write_store(store: "ParameterStore", path: str | Path) -> None:
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
    for argument, column in _REFERENCES.items():
        if any(getattr(store, argument)):
            columns[column] = [reference for reference in getattr(store, argument) for _ in range(r)]
    if is_url(path):
        write_table(Address.of(str(path)), pa.table(columns))
        return
    facts = {"version": 1, "areas": store.areas, "axes": [asdict(axis) for axis in store.space.axes]}
    table = pa.table(columns).replace_schema_metadata({"hardmine.store": json.dumps(facts)})
    write_atomically(Path(path), lambda file: pq.write_table(table, file))


def read_store(path: str | Path, space: Space | None) -> dict[str, Any]:
    """What the constructor of `ParameterStore` takes; see `ParameterStore.load`."""
    if is_url(path):
        address = Address.of(str(path))
        table, folder = read_table(address), address.file.parent
    else:
        table, folder = _parquet(path), Path(path).parent
    facts = json.loads((table.schema.metadata or {}).get(b"hardmine.store", b"{}"))
    stored = _stored(path, table, space, facts)
    for column in ("target", "area"):
        if column not in table.column_names:
            raise InputError(f"{path}: column {column!r} is missing: add it to the table of statistics")
    return {
        **_arguments(path, table, stored, facts.get("areas")),
        **{name: _references(path, table, column, folder.absolute()) for name, column in _REFERENCES.items()},
    }


def _parquet(path: str | Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: give `path` a store written by hardmine store", "store") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: not a Parquet file: {str(error).splitlines()[0]}") from None


def _forms(axis: Axis) -> list[str]:
    """The columns that an axis can be read from: its own, and for a deviation the variance (R6)."""
    variance = axis.spread and axis.name.startswith("std_")
    return [axis.name, *([axis.name.replace("std_", "var_", 1)] if variance else [])]


def _stored(path: str | Path, table: pa.Table, space: Space | None, facts: dict[str, Any]) -> Space:
    """The axes that are in the table, of `space` or, where that is not given, as the table was written or has them."""

    def there(axis: Axis) -> bool:
        return any(form in table.column_names for form in _forms(axis))

    if space is None and "axes" in facts:
        space = Space([Axis(**axis) for axis in facts["axes"]])
    elif space is None:
        space = next((colors for colors in COLORS.values() if any(map(there, colors.axes))), LAB)
    no_need: set[Axis] = set()
    if {axis for axis in LAB.axes if there(axis)} == {*LUMINANCE.axes}:
        no_need = {*LAB.axes}
    stored = [axis for axis in space.axes if there(axis) or (axis.measured and axis not in no_need)]
    lacking = sorted(axis.name for axis in stored if not there(axis))
    if lacking:
        other = "; mean_L and std_L alone do too" if {*stored} & {*LAB.axes} else ""
        raise InputError(f"{path}: column {lacking[0]!r} is missing: add it to the table of statistics{other}")
    if not stored:
        names = ", ".join(space.names)
        raise InputError(f"{path}: the conversion takes {names}, and no column is called so: add one or give no table")
    return Space(stored)


def _arguments(path: str | Path, table: pa.Table, space: Space, areas: Sequence[str] | None) -> dict[str, Any]:
    targets, names = (_texts(path, table, column) for column in ("target", "area"))
    if not targets:
        raise InputError(f"{path}: the table has no rows: add one for each target and area")
    areas = tuple(areas or dict.fromkeys(name for name in names if name != WHOLE))
    ids = tuple(dict.fromkeys(targets))
    row = {name: index for index, name in enumerate(ids)}
    region = {name: index for index, name in enumerate((*areas, WHOLE))}
    values = torch.stack([_along(path, table, axis) for axis in space.axes], dim=1)
    possible = values.isfinite().all(1) & (values[:, space.spread] >= 0).all(1)
    possible &= torch.tensor([name in region for name in names], dtype=torch.bool)
    if not possible.all():
        line = int((~possible).nonzero()[0])
        raise InputError(
            f"{path}: row {line} ({targets[line]}, {names[line]}) is no distribution: mend or drop that row"
        )
    seen: set[tuple[str, str]] = set()
    for target, name in zip(targets, names, strict=True):
        if (target, name) in seen:
            raise InputError(f"{path}: two rows are of target {target!r} and area {name!r}: drop one")
        seen.add((target, name))
    place = torch.tensor([row[name] for name in targets]), torch.tensor([region[name] for name in names])
    points = torch.zeros(len(ids), len(region), len(space))
    points[place] = values.float()
    count = torch.zeros(len(ids), len(region), dtype=torch.int64)
    with_pixels = "pixels" in table.column_names
    count[place] = _numbers(path, table, "pixels").nan_to_num(_MANY).long() if with_pixels else _MANY
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


def _along(path: str | Path, table: pa.Table, axis: Axis) -> Tensor:
    """(rows,) float64: the numbers of an axis; deviations also as roots of variances."""
    columns = [form for form in _forms(axis) if form in table.column_names]
    if len(columns) > 1:
        raise InputError(f"{path}: columns {columns[0]!r} and {columns[1]!r} say the same: leave one out")
    values = _numbers(path, table, columns[0])
    if columns[0] == axis.name:
        return values
    if (values < 0).any():
        line = int((values < 0).nonzero()[0])
        raise InputError(f"{path}: row {line} has a negative variance {columns[0]}={values[line]:g}: mend that row")
    return values.sqrt()


def _references(path: str | Path, table: pa.Table, column: str, folder: Path) -> list[str | None] | None:
    """Of each target in turn; a relative path is from the folder of the table."""
    if column not in table.column_names:
        return None
    of_target: dict[str, str | None] = {}
    targets, texts = _texts(path, table, "target"), _texts(path, table, column, needed=False)
    for target, text in zip(targets, texts, strict=True):
        of_target[target] = of_target.get(target) or text
    return [text if not text or is_url(text) else str(folder / Path(text).expanduser()) for text in of_target.values()]


def _texts(path: str | Path, table: pa.Table, column: str, needed: bool = True) -> list[Any]:
    """The texts of a column; None for what is missing where it is not needed."""
    try:
        texts: list[Any] = table[column].cast(pa.string()).to_pylist()
    except pa.ArrowException:
        raise InputError(f"{path}: column {column!r} holds no texts: write it as texts") from None
    if needed and None in texts:
        raise InputError(f"{path}: row {texts.index(None)} has no {column}: fill it in or drop that row")
    return texts


def _numbers(path: str | Path, table: pa.Table, column: str) -> Tensor:
    """(rows,) float64; what is missing is NaN."""
    try:
        return torch.from_numpy(table[column].cast(pa.float64()).to_numpy().copy())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"{path}: column {column!r} holds no numbers: write it as numbers") from None
