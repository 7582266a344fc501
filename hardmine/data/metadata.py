"""What the tables of a folder say: metadata.csv has a row for each image, classes.csv one for each label."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hardmine.data.table import read_table
from hardmine.errors import InputError
from hardmine.names import look_at_names, look_at_values, near, unified
from hardmine.records import VOID

SOURCE = "source."  # begins the columns that say where an image was made from another one
UNKNOWN = "unknown"  # of an environment
SPLITS = ("train", "val", "test", "target")
_NO_COMPONENT = {"id", "split", "label"}  # every other column of metadata.csv is an environment component
_ALSO_CALLED = {"training": "train", "validation": "val", "dev": "val", "eval": "val", "testing": "test"}
_LONGEST = 229  # bytes of an id: 255, which file systems take, without what is added where a piece is named after it


@dataclass(frozen=True)
class Row:
    """One image of the folder; `label` is None where metadata.csv has no such column, `line` is where it stands."""

    id: str
    split: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    label: str | None = None
    line: int = field(default=0, compare=False)


def read_metadata(path: Path) -> list[Row]:
    """The images a folder names.

    Raises:
        InputError: a malformed table, an id that is twice there or no file name, a split or a column `label` that is
            misspelt, values of the environment that differ in blanks or case alone.
    """
    table = read_table(path, ("id", "split"))
    columns = next(iter(table.values())).keys()
    components = [name for name in columns if name not in _NO_COMPONENT and not name.startswith(SOURCE)]
    for name in components:
        if "label" not in columns and near(name, ["label"], similar=0.8):
            raise InputError(f"{path}: column {name!r} is no part of an environment: did you mean `label`?")
        # an empty value stays: of some images nobody knows it
        look_at_values(path, name, [(f"line {line}", cells[name]) for line, cells in table.items()])
    rows = [
        Row(unified(cells["id"]), cells["split"], {name: cells[name] for name in components}, cells.get("label"), line)
        for line, cells in table.items()
    ]
    seen: dict[str, int] = {}
    for row in rows:
        where = f"{path}: line {row.line}:"
        if why := _no_file_name(row.id):
            raise InputError(f"{where} id {row.id[:40]!r} {why}: give the image's file name without its ending")
        if seen.setdefault(row.id, row.line) != row.line:
            raise InputError(f"{where} id {row.id!r} is twice there (line {seen[row.id]} too): give each row its own")
        if not row.split:
            raise InputError(f"{where} {row.id} has no split: write one of {', '.join(SPLITS)}, or drop the row")
        if meant := misspelt(row.split):
            raise InputError(
                f"{where} {row.id} has the split {row.split!r}: did you mean `{meant}`? If not, name it less alike"
            )
    return rows


def misspelt(split: str) -> str | None:
    """Which split is meant by something like it; None for a split, and for what is like none."""
    if split in SPLITS:
        return None
    return _ALSO_CALLED.get(split.casefold()) or near(split, SPLITS, similar=0.66)


def unread(splits: Iterable[str], what: str) -> list[str]:
    """A line on what belongs to no split.

    Args:
        splits: that each of it has.
        what: it is.
    """
    others = Counter(split for split in splits if split not in SPLITS)
    counted = ", ".join(f"{split!r} ({count})" for split, count in others.items())
    return [f"{what} of {counted} are not read: the splits are {', '.join(SPLITS)}"] if others else []


def read_labels(path: Path, rows: Sequence[Row]) -> tuple[str, ...]:
    """The labels of images, sorted.

    Args:
        path: of metadata.csv.
        rows: of it.

    Raises:
        InputError: no column `label`, an empty label, or labels that differ in blanks or case alone.
    """
    for row in rows:
        if row.label is None:
            raise InputError(f"{path}: column 'label' is missing: add it or take another `labels`", "data")
        if not row.label:
            raise InputError(f"{path}: line {row.line} ({row.id}) has no label: fill it in or drop the row")
    look_at_values(path, "label", [(f"line {row.line}", row.label or "") for row in rows])
    return tuple(sorted({row.label or "" for row in rows}))


def read_classes(path: Path) -> tuple[str, ...]:
    """The names of classes.csv, in label order.

    Raises:
        InputError: a malformed table, indices out of order, too many names or names that cannot be told apart.
    """
    table = read_table(path, ("index", "name"))
    for expected, (line, cells) in enumerate(table.items()):
        if cells["index"] != str(expected):
            raise InputError(
                f"{path}: line {line}: the indices must run 0, 1, 2, ... in order, got {cells['index']!r} for "
                f"{expected}: renumber them"
            )
    look_at_names(path, "name", [(f"line {line}", cells["name"]) for line, cells in table.items()])
    if len(table) > VOID:
        raise InputError(f"{path}: at most {VOID} areas, got {len(table)}: join areas")
    return tuple(cells["name"] for cells in table.values())


def _no_file_name(name: str) -> str | None:
    if not name:
        return "is empty"
    if name in (".", "..") or "/" in name or "\\" in name:
        return "is no file name"
    if len(name.encode()) > _LONGEST:
        return f"... has {len(name)} characters and is too long for a file name"
    return None
