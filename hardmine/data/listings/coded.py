"""What tables say of the numbers and colours in masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from hardmine.data.coding import Coding, Colors, Indices, Numbers, joined
from hardmine.data.images import Void
from hardmine.data.metadata import read_classes
from hardmine.data.table import read_table
from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.names import look_at_names, look_at_values
from hardmine.records import VOID

Key = TypeVar("Key", int, tuple[int, int, int])

_RGB = ("r", "g", "b")


def read_coding(
    root: Path,
    classes: str | Sequence[str] | None,
    colors: Mapping[str, Sequence[int]] | None,
    void: Void,
) -> tuple[tuple[str, ...], Coding]:
    """Names of the classes, and how masks tell them.

    Args:
        root: that `classes` is relative to; where it has a classes.csv, nothing need be said.
        classes: names in the order of their labels, or a table: `name` and perhaps `index`, the number in masks, or
            `r`, `g` and `b`. Rows of one name are one class, those named void are none.
        colors: red, green and blue of each name, in place of `classes`.
        void: number in masks that is no class; None where each is one.

    Raises:
        InputError: nothing says what the classes are, or a table is malformed.
    """
    if colors is not None:
        if classes is not None:
            raise InputError("`colors` names the classes already: leave `classes` out", "data")
        look_at_names("data.colors", "class", [(f"entry {number}", name) for number, name in enumerate(colors)])
        return _colored(list(colors), [tuple(color) for color in colors.values()], "data.colors")
    if classes is not None and not isinstance(classes, str):
        look_at_names("data.classes", "class", [(f"entry {number}", name) for number, name in enumerate(classes)])
        if not 0 < len(classes) <= VOID:
            raise InputError(f"`classes` must name 1 to {VOID} classes, got {len(classes)}", "data")
        return tuple(classes), Indices(len(classes), void, "data.classes")
    path = root / (classes or "classes.csv")
    if classes is None and trouble(path) == "no such file":
        raise InputError(
            f"{path}: no such file: set `classes`=[NAME,...] in the order of the numbers in masks, or to a table with "
            "index,name or name,r,g,b, or set `colors`={NAME:[R,G,B],...}",
            "data",
        )
    return _read_table(path, void)


def _read_table(path: Path, void: Void) -> tuple[tuple[str, ...], Coding]:
    table = read_table(path, ("name",))
    names = [cells["name"] for cells in table.values()]
    look_at_values(path, "name", [(f"line {line}", cells["name"]) for line, cells in table.items()])
    for line, cells in table.items():
        if not cells["name"]:
            raise InputError(f"{path}: line {line}: the name is empty: fill it in")
    columns = next(iter(table.values()))
    if set(_RGB) <= columns.keys():
        colors = [tuple(_number(path, line, column, cells[column]) for column in _RGB) for line, cells in table.items()]
        return _colored(names, colors, str(path))
    if "index" in columns:
        numbers = [_number(path, line, "index", cells["index"]) for line, cells in table.items()]
    else:
        numbers = list(range(len(names)))
    plain = len(set(names)) == len(names) and "void" not in map(str.casefold, names)
    if plain and numbers == list(range(len(names))):
        classes = read_classes(path) if "index" in columns else tuple(names)
        return classes, Indices(len(classes), void)
    classes, labels = joined(names)
    return classes, Numbers(
        len(classes), _unique(path, numbers, labels, {} if void is None else {VOID: VOID}), path.name
    )


def _colored(names: list[str], colors: list[tuple[int, ...]], source: str) -> tuple[tuple[str, ...], Coding]:
    for name, color in zip(names, colors, strict=True):
        if len(color) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in color):
            raise InputError(f"{source}: the colour of {name} must be three whole numbers 0 to 255, got {color}")
    classes, labels = joined(names)
    table = _unique(source, [(red, green, blue) for red, green, blue in colors], labels, {})
    return classes, Colors(len(classes), table, source)


def _unique(source: str | Path, keys: list[Key], labels: list[int], table: dict[Key, int]) -> dict[Key, int]:
    """Label of each number or colour, added to a table."""
    if not any(label != VOID for label in labels) or len(set(labels) - {VOID}) >= VOID:
        raise InputError(f"{source}: 1 to {VOID - 1} classes beside void must be named: correct it")
    seen: dict[Key, int] = {}
    for key, label in zip(keys, labels, strict=True):
        if seen.setdefault(key, label) != label:
            raise InputError(f"{source}: {key} stands for two classes: correct it")
    return {**table, **seen}


def _number(path: Path, line: int, column: str, cell: str) -> int:
    if not cell.isdecimal() or int(cell) > 255:
        raise InputError(f"{path}: line {line}: {column} must be a whole number from 0 to 255, got {cell!r}")
    return int(cell)
