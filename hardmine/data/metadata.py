"""The tables of a folder: metadata.csv with a row for each image, and classes.csv."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

from hardmine.errors import InputError

SOURCE = "source."  # begins the columns that say where an image was made from another one
UNKNOWN = "unknown"  # of an environment
_NO_COMPONENT = {"id", "split", "label"}  # every other column of metadata.csv is an environment component


@dataclass(frozen=True)
class Row:
    """One image of the folder; `label` is None where metadata.csv has no such column."""

    id: str
    split: str
    environment: dict[str, str] = field(default_factory=dict)
    label: str | None = None


def read_metadata(path: Path) -> list[Row]:
    """The images a folder names.

    Raises:
        InputError: no such table, a column missing, an id that is empty, twice there or no file name.
    """
    entries = read_table(path, ("id", "split"))
    columns = list(entries[0]) if entries else []
    components = [name for name in columns if name not in _NO_COMPONENT and not name.startswith(SOURCE)]
    rows = [Row(e["id"], e["split"], {name: e[name] for name in components}, e.get("label")) for e in entries]
    seen: set[str] = set()
    for row in rows:
        if not row.id or row.id in seen or Path(row.id).name != row.id:
            raise InputError(f"{path}: id {row.id!r} is empty, twice there or no file name: give each row its own")
        seen.add(row.id)
    return rows


def read_table(path: Path, required: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a CSV table by column.

    Raises:
        InputError: no such file, not UTF-8, a required column missing, a row of another length.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            lacking = set(required) - set(reader.fieldnames or ())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: it must have the columns {', '.join(required)}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a UTF-8 table ({error}): save it as CSV") from None
    if lacking:
        raise InputError(f"{path}: column {sorted(lacking)[0]!r} is missing: add it")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(f"{path}: line {number} has another number of cells than the header: mend that line")
    return rows
