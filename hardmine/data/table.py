"""Tables of a folder, read strictly: each line is a row, its cells are separated by commas, nothing is guessed at."""

import csv
import re
from pathlib import Path

from hardmine.errors import InputError
from hardmine.files import read_text, trouble
from hardmine.names import blemish, did_you_mean, look_at_names

_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}

Table = dict[int, dict[str, str]]
"""The cells of each row by column; the keys are numbers of lines in the file."""


def read_table(path: Path, required: tuple[str, ...]) -> Table:
    """The rows of a CSV table in UTF-8, with or without a byte order mark; empty lines are left out.

    Raises:
        InputError: no such file, another encoding or delimiter, a column missing or twice there, a quote that is not
            closed, a row of another length, a cell with what does not show, or no row at all.
    """
    if trouble(path) == "no such file":
        raise InputError(f"{path}: no such file: it must have the columns {', '.join(required)}")
    lines = {number: line for number, line in enumerate(re.split(r"\r\n|\r|\n", read_text(path)), 1) if line}
    if not lines:
        raise InputError(f"{path}: it is empty: it must have the columns {', '.join(required)}")
    first = min(lines)
    header = _header(path, first, lines.pop(first), required)
    if not lines:
        raise InputError(f"{path}: there is no row below the header: add some")
    return {number: _row(path, number, line, header) for number, line in lines.items()}


def _header(path: Path, number: int, line: str, required: tuple[str, ...]) -> list[str]:
    for delimiter, name in _OTHER_DELIMITERS.items():
        cells = next(csv.reader([line]))
        if delimiter in line and (len(cells) == 1 or not set(required) <= set(cells)):
            raise InputError(f"{path}: its cells are separated by {name}: save it as CSV with commas")
    header = _cells(path, number, line)
    for place, column in enumerate(header):
        if not column:
            raise InputError(f"{path}: line {number}: column {place + 1} has no name: name or remove it")
    look_at_names(path, "column", [(f"line {number}, cell {place}", name) for place, name in enumerate(header, 1)])
    for column in required:
        if column not in header:
            raise InputError(f"{path}: column {column!r} is missing: add it{did_you_mean(column, header)}")
    return header


def _row(path: Path, number: int, line: str, header: list[str]) -> dict[str, str]:
    cells = _cells(path, number, line)
    if len(cells) != len(header):
        raise InputError(
            f"{path}: line {number} has another number of cells than the header ({len(cells)}, not {len(header)}): "
            "mend that line"
        )
    for column, cell in zip(header, cells, strict=True):
        if why := blemish(cell):
            raise InputError(f"{path}: line {number}: {column} {cell!r:.80} {why}: remove it")
    return dict(zip(header, cells, strict=True))


def _cells(path: Path, number: int, line: str) -> list[str]:
    # csv would go on into the next lines, and swallow these rows
    if line.count('"') % 2:
        raise InputError(f"{path}: line {number} has a quote that is not closed in it: close or remove it")
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: line {number} is no row of a CSV table ({error}): mend that line") from None
