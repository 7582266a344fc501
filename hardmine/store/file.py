"""The table of a parameter store, a row for each target and region: a Parquet file, or a table of a database."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.files import trouble, write_atomically
from hardmine.names import blemish, did_you_mean, look_at_names, look_at_values, near
from hardmine.space import COLORS, LAB, LUMINANCE, Axis, Space
from hardmine.store.database import Address, is_url, read_table, write_table

if TYPE_CHECKING:
    from hardmine.store.store import ParameterStore

WHOLE = "(whole image)"  # name of the last region in the rows of the file
_PREFIX = "environment."  # of the columns that name the environment
_REFERENCES = {"images": "image", "index_images": "index_image"}  # argument of the store, and column
_MANY = 1 << 30  # pixels where their number is not known
_log = logging.getLogger("hardmine")
_VERSION = 1  # of the facts in the schema's metadata
_SLACK = 0.01  # by which a mean may lie outside its bounds, in units of its axis: it was rounded to float32


def write_store(store: "ParameterStore", path: str | Path) -> None:
    """See `ParameterStore.save`."""
    table = table_of(store)
    if is_url(path):
        write_table(Address.of(str(path)), table.replace_schema_metadata())
        return
    write_atomically(Path(path), lambda file: pq.write_table(table, file, write_page_checksum=True))


def table_of(store: "ParameterStore") -> pa.Table:
    """A row for each target and region, with the store's facts in the schema's metadata."""
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
    facts = {"version": _VERSION, "areas": store.areas, "axes": [asdict(axis) for axis in store.space.axes]}
    return pa.table(columns).replace_schema_metadata({"hardmine.store": json.dumps(facts)})


def read_store(path: str | Path, space: Space | None) -> dict[str, Any]:
    """What the constructor of `ParameterStore` takes; see `ParameterStore.load`."""
    if is_url(path):
        address = Address.of(str(path))
        table, folder = read_table(address), address.file.parent
    else:
        table, folder = _parquet(path), Path(path).parent
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} is twice there: leave one out")
    facts = _Facts.of(path, (table.schema.metadata or {}).get(b"hardmine.store"))
    stored = _stored(path, table, space, facts)
    further = _further(table, stored)
    for column in ("target", "area"):
        if column not in table.column_names:
            meant = did_you_mean(column, further)
            raise InputError(f"{path}: column {column!r} is missing: add it to the table of statistics{meant}")
    arguments = _arguments(path, table, stored, facts.areas, foreign=facts.space is None)
    if further:
        optional = ("pixels", *_REFERENCES.values(), *(_PREFIX + name.split(".")[-1] for name in further))
        named = ", ".join(name + did_you_mean(name, optional, similar=0.8) for name in further)
        _log.warning(
            "hardmine: %s: columns that are not read: %s; those of an environment begin with %s", path, named, _PREFIX
        )
    return {
        **arguments,
        **{name: _references(path, table, column, folder.absolute()) for name, column in _REFERENCES.items()},
    }


@dataclass(frozen=True)
class _Facts:
    """What a saved store says of itself in the schema's metadata; nothing in a table made elsewhere."""

    areas: tuple[str, ...] | None = None
    space: Space | None = None

    @classmethod
    def of(cls, path: str | Path, text: bytes | None) -> "_Facts":
        if text is None:
            return cls()
        try:
            facts = json.loads(text)
            version, areas, axes = facts["version"], facts["areas"], facts["axes"]
            if isinstance(version, bool) or not isinstance(version, int) or version < 1:
                raise ValueError("version must be a whole number")
            if version > _VERSION:
                raise InputError(
                    f"{path}: a store of version {version}, from a later hardmine; this one reads {_VERSION}: update it"
                )
            if not isinstance(areas, list) or not areas or not all(isinstance(name, str) for name in areas):
                raise TypeError("areas must be names")
            if WHOLE in areas:
                raise ValueError(f"no area is called {WHOLE}")
            space = Space([_axis(axis) for axis in axes])
        except InputError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"{path}: the metadata `hardmine.store` of its schema is broken ({why:.80}): save the store again, or "
                "drop the metadata"
            ) from None
        look_at_names(path, "area", [(f"areas[{index}] of the metadata", name) for index, name in enumerate(areas)])
        return cls(tuple(areas), space)


def _axis(entries: dict[str, Any]) -> Axis:
    axis = Axis(**entries)
    numbers = (axis.low, axis.high, axis.unit)
    if not all(isinstance(number, int | float) and number == number for number in numbers) or not axis.unit > 0:
        raise TypeError("low, high and unit of an axis must be numbers")
    if not isinstance(axis.name, str) or not isinstance(axis.spread, bool) or not isinstance(axis.graph, bool):
        raise TypeError("an axis has a name, and spread and graph are true or false")
    return axis


def _parquet(path: str | Path) -> pa.Table:
    why = trouble(Path(path))
    if why:
        raise InputError(f"{path}: {why}: give `path` a store written by hardmine store", "store")
    table = None
    try:
        with Path(path).open("rb") as file:
            begins = file.read(12)
            if begins.startswith(b"PAR1"):
                table = pq.ParquetFile(file, page_checksum_verification=True).read()
                table.column_names  # noqa: B018  # decodes them
    except (OSError, ValueError, pa.ArrowException) as error:  # of a damaged file it is any of these
        raise InputError(
            f"{path}: the Parquet file is damaged ({str(error).splitlines()[0]:.120}): write it again"
        ) from None
    if table is None:
        what = f"begins with {begins!r}" if begins else "is empty"
        raise InputError(f"{path}: not a Parquet file (it {what}): give one written by hardmine store or by pandas")
    return table


def _forms(axis: Axis) -> list[str]:
    """The columns that an axis can be read from: its own, and for a deviation the variance (R6)."""
    variance = axis.spread and axis.name.startswith("std_")
    return [axis.name, *([axis.name.replace("std_", "var_", 1)] if variance else [])]


def _stored(path: str | Path, table: pa.Table, space: Space | None, facts: _Facts) -> Space:
    """The axes that are in the table, of `space` or, where that is not given, as the table was written or has them."""

    def there(axis: Axis) -> bool:
        return any(form in table.column_names for form in _forms(axis))

    if space is None and facts.space is not None:
        space = facts.space
    elif space is None:
        space = next((colors for colors in COLORS.values() if any(map(there, colors.axes))), LAB)
    no_need: set[Axis] = set()
    if {axis for axis in LAB.axes if there(axis)} == {*LUMINANCE.axes}:
        no_need = {*LAB.axes}
    stored = [axis for axis in space.axes if there(axis) or (axis.measured and axis not in no_need)]
    lacking = sorted(axis.name for axis in stored if not there(axis))
    if lacking:
        other = "; mean_L and std_L alone do too" if {*stored} & {*LAB.axes} else ""
        other += did_you_mean(lacking[0], _further(table, Space(stored)))
        raise InputError(f"{path}: column {lacking[0]!r} is missing: add it to the table of statistics{other}")
    if not stored:
        names = ", ".join(space.names)
        raise InputError(f"{path}: the conversion takes {names}, and no column is called so: add one or give no table")
    return Space(stored)


def _further(table: pa.Table, space: Space) -> list[str]:
    """The columns that nothing is read from."""
    known = {"target", "area", "pixels", *_REFERENCES.values(), *(form for axis in space.axes for form in _forms(axis))}
    return [
        name for name in table.column_names if name not in known and not name.startswith((_PREFIX, "__index_level_"))
    ]


def _arguments(
    path: str | Path, table: pa.Table, space: Space, areas: Sequence[str] | None, foreign: bool
) -> dict[str, Any]:
    targets, names = (_texts(path, table, column) for column in ("target", "area"))
    if not targets:
        raise InputError(f"{path}: the table has no rows: add one for each target and area")
    areas = tuple(areas or dict.fromkeys(name for name in names if name != WHOLE))
    if WHOLE not in names and (meant := near(WHOLE, areas, similar=0.85)):
        raise InputError(f"{path}: area {meant!r}: rows of whole images are called {WHOLE!r}: rename them")
    ids = tuple(dict.fromkeys(targets))
    for what, column in (("target", targets), ("area", names)):
        look_at_values(path, what, [(f"row {line}", name) for line, name in enumerate(column)])
    row = {name: index for index, name in enumerate(ids)}
    region = {name: index for index, name in enumerate((*areas, WHOLE))}
    for line, name in enumerate(names):
        if name not in region:
            raise InputError(
                f"{path}: row {line} ({targets[line]}, {name}): the areas in the metadata are {', '.join(areas)}: "
                "rename or drop that row"
            )
    values = torch.stack([_along(path, table, axis) for axis in space.axes], dim=1)
    pixels = _pixels(path, table)
    if foreign:  # of its own stores hardmine knows the scale, however dark the targets are
        for letters in (axes.names for axes in COLORS.values() if set(axes.names) & set(space.names)):
            _look_at_scale(path, {name: values[:, space.names.index(name)] for name in letters if name in space.names})
    _look_at_colors(path, values, pixels, space, [f"{one}, {other}" for one, other in zip(targets, names, strict=True)])
    seen: set[tuple[str, str]] = set()
    for target, name in zip(targets, names, strict=True):
        if (target, name) in seen:
            raise InputError(f"{path}: two rows are of target {target!r} and area {name!r}: drop one")
        seen.add((target, name))
    place = torch.tensor([row[name] for name in targets]), torch.tensor([region[name] for name in names])
    points = torch.zeros(len(ids), len(region), len(space))
    points[place] = values.float()
    count = torch.zeros(len(ids), len(region), dtype=torch.int64)
    count[place] = pixels
    environment = {}
    for column in (name for name in table.column_names if name.startswith(_PREFIX)):
        of_target = _of_targets(path, column, targets, _texts(path, table, column))
        look_at_values(path, column, [(f"target {name!r}", value) for name, value in of_target.items()])
        environment[column.removeprefix(_PREFIX)] = list(of_target.values())
    look_at_names(path, "column", [(_PREFIX + name, name) for name in environment])
    return {
        "parameters": points,
        "count": count,
        "areas": areas,
        "ids": ids,
        "environment": environment,
        "space": space,
    }


def _look_at_colors(path: str | Path, values: Tensor, pixels: Tensor, space: Space, rows: Sequence[str]) -> None:
    """See that colours are such as there are.

    Args:
        path: of the table.
        values: (rows, D) float64.
        pixels: (rows,) int64; where there are none, any number will do.
        space: what the D numbers are.
        rows: names of the rows.

    Raises:
        InputError: one that is no number or outside the bounds of its axis.
    """
    of = dict(zip(space.names, values.unbind(1), strict=True))
    for axis in space.axes:
        low, high = axis.low - _SLACK * axis.unit, axis.high + _SLACK * axis.unit
        if axis.spread:  # its own lower bound is of what is generated; an area of one colour has none
            low, mean = 0.0, _AXES.get(axis.name.replace("std_", "mean_", 1))
            high = high if mean is None else (mean.high - mean.low) / 2 + _SLACK * axis.unit  # half black, half white
        possible = ((of[axis.name] >= low) & (of[axis.name] <= high)) | (pixels == 0)
        wrong = ~possible | ~of[axis.name].isfinite()
        if wrong.any():
            line = int(wrong.nonzero()[0])
            found, bounds = of[axis.name][line], f"{low:.3g} to {high:.4g}" if isfinite(high) else f"{low:.3g} or more"
            raise InputError(
                f"{path}: row {line} ({rows[line]}) is no distribution, {axis.name}={found:g} is not {bounds}: mend or "
                "drop that row"
            )


_AXES = {axis.name: axis for colors in COLORS.values() for axis in colors.axes}


def _look_at_scale(path: str | Path, of: dict[str, Tensor]) -> None:
    """The scales of other programs, of which no photograph is a case: OpenCV's Lab in 8 bits, colours from 0 to 1."""
    means = [of[name] for name in of if name.startswith("mean_")]
    if not all(mean.isfinite().all() for mean in means):
        return
    if of.keys() >= {"mean_L", "mean_a", "mean_b"}:
        shifted = all(bool(((of[name] >= 64) & (of[name] <= 192)).all()) for name in ("mean_a", "mean_b"))
        if shifted and bool((of["mean_L"] >= 0).all() & (of["mean_L"] <= 255).all()):
            raise InputError(
                f"{path}: its Lab is OpenCV's in 8 bits (mean_a and mean_b lie around 128): write mean_L * 100 / 255, "
                "std_L * 100 / 255, mean_a - 128 and mean_b - 128"
            )
    if all(bool((mean.abs() < 1).all()) for mean in means) and any(bool((mean != 0).any()) for mean in means):
        highest = "100 (mean_a and mean_b by 128)" if "mean_L" in of else "255"
        raise InputError(f"{path}: its colours run from 0 to 1: multiply means and deviations by {highest}")


def _pixels(path: str | Path, table: pa.Table) -> Tensor:
    """(rows,) int64; rows without a number count as large enough."""
    if "pixels" not in table.column_names:
        return torch.full((table.num_rows,), _MANY)
    pixels = _numbers(path, table, "pixels").nan_to_num(_MANY, posinf=-1.0)
    wrong = (pixels < 0) | (pixels != pixels.floor()) | (pixels > 1 << 53)
    if wrong.any():
        line = int(wrong.nonzero()[0])
        raise InputError(
            f"{path}: row {line}: pixels {table['pixels'][line]} is no number of pixels: mend or drop that row"
        )
    return pixels.long()


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
    texts = _texts(path, table, column, needed=False)
    of_target = _of_targets(path, column, _texts(path, table, "target"), texts)
    return [text if not text or is_url(text) else str(folder / Path(text).expanduser()) for text in of_target.values()]


def _of_targets(path: str | Path, column: str, targets: Sequence[str], texts: Sequence[Any]) -> dict[str, Any]:
    """The text of each target in turn; rows of one target that have none leave it to the others.

    Raises:
        InputError: two texts of one target.
    """
    of: dict[str, Any] = {}
    for line, (target, text) in enumerate(zip(targets, texts, strict=True)):
        if of.get(target) and text and of[target] != text:
            raise InputError(
                f"{path}: row {line}: target {target!r} has {column} {text!r}, and {of[target]!r} in a row before: "
                "write one"
            )
        of[target] = of.get(target) or text
    return of


def _texts(path: str | Path, table: pa.Table, column: str, needed: bool = True) -> list[Any]:
    """The texts of a column; None for what is missing where it is not needed.

    A target and an area are called by name; the number of an hour or a camera names an environment as well.
    """
    of, numbers = table[column], column.startswith(_PREFIX)
    kind = of.type.value_type if pa.types.is_dictionary(of.type) else of.type
    if not (numbers or pa.types.is_null(kind) or _is_text(kind)):
        raise InputError(f"{path}: column {column!r} holds no texts ({kind}): write its names as texts")
    try:
        texts: list[Any] = of.cast(pa.string()).to_pylist()
    except pa.ArrowException:
        raise InputError(f"{path}: column {column!r} holds no texts: write it as texts") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: column {column!r} is not UTF-8: write it as texts") from None
    lacking = [line for line, text in enumerate(texts) if text is None or (text == "" and not numbers)]
    if needed and lacking:
        raise InputError(f"{path}: row {lacking[0]} has no {column}: fill it in or drop that row")
    for line, text in enumerate(texts):
        if text and (why := blemish(text)):
            raise InputError(f"{path}: row {line}: {column} {text!r:.80} {why}: remove it")
    return texts


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _numbers(path: str | Path, table: pa.Table, column: str) -> Tensor:
    """(rows,) float64; what is missing is NaN."""
    of = table[column]
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    if not any(is_kind(of.type) for is_kind in numbers):
        raise InputError(f"{path}: column {column!r} holds no numbers: write it as numbers")
    return torch.from_numpy(of.cast(pa.float64(), safe=False).to_numpy().copy())
