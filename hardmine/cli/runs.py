"""`hardmine runs`: every run, search, evaluation and sweep below a folder, or two of them side by side."""

import json
import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardmine.errors import InputError
from hardmine.files import trouble

if TYPE_CHECKING:
    from hardmine.report.runs import Entry

_USE = 'use hardmine runs [FOLDER] [sort=KEY] [where="KEY<VALUE"] [json=true], or hardmine runs RUN ANOTHER'
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    **{"<=": operator.le, ">=": operator.ge, "!=": operator.ne},
    **{"<": operator.lt, ">": operator.gt, "=": operator.eq},
}


def command(arguments: list[str]) -> None:
    """The table of a folder, or the comparison of two."""
    places = [Path(argument).expanduser() for argument in arguments if "=" not in argument]
    pairs = [argument.split("=", 1) for argument in arguments if "=" in argument]
    given = dict(pairs)
    choices = {"json": ("true", "false"), "within": ("true", "false")}
    for key, value in pairs:
        if key not in ("sort", "where", *choices):
            raise InputError(f"runs: {key}= is unknown: {_USE}")
        if value not in choices.get(key, (value,)):
            raise InputError(f"{key}={value}: take true or false")
    if len(places) > 2 or any(str(place).startswith("-") for place in places):
        raise InputError(f"runs: {' '.join(map(str, places))}: {_USE}")
    for folder in places:
        if why := trouble(folder, folder=True):
            raise InputError(f"{folder}: {why}: name a folder with runs in it")
    if len(places) == 2:
        if given.keys() - {"json"}:
            raise InputError(f"runs: two runs are neither sorted nor filtered: {_USE}")
        _compare(places[0], places[1], given.get("json") == "true")
        return
    usual = Path("outputs") if Path("outputs").is_dir() else Path()
    conditions = [part for key, value in pairs if key == "where" for part in value.split(",")]
    _list(places[0] if places else usual, conditions, given.get("sort", "when"), given)


def _list(folder: Path, conditions: Sequence[str], order: str, given: dict[str, str]) -> None:
    from rich.console import Console

    from hardmine.report.listing import notes, runs_table
    from hardmine.report.runs import find
    from hardmine.report.table import print_table

    found = find(folder, given.get("within") == "true")
    if not found:
        raise InputError(f"{folder}: no run is in it: name a folder with runs in it")
    key = order.removeprefix("-")
    _look_known("sort", key, found)
    asked = [condition(text, found) for text in conditions]
    entries = [entry for entry in found if all(holds(entry) for holds in asked)]
    entries = in_order(entries, key, order.startswith("-"))
    if given.get("json") == "true":
        print(json.dumps([entry.told() for entry in entries], indent=2))
        return
    console = Console()
    if entries:
        print_table(console, runs_table(entries, folder))
    _say(console, notes(entries, folder))
    left = len(found) - len(entries)
    _say(console, [f"{folder}: {len(entries)} of {len(found)}; where={','.join(conditions)}" if left else ""])
    if any(entry.kind == "sweep" and entry.folder != folder for entry in entries) and "within" not in given:
        _say(console, ["the runs of a sweep: hardmine runs SWEEP, or within=true"])


def in_order(entries: "Sequence[Entry]", key: str, falling: bool = False) -> "list[Entry]":
    """By a column, a metric, a figure or a key of the config; those without it are last."""
    values = [(entry.began.timestamp() if key == "when" else entry.value(key), entry) for entry in entries]
    there = [pair for pair in values if pair[0] is not None]
    there.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]), reverse=falling)
    return [entry for _, entry in there] + [entry for value, entry in values if value is None]


def condition(text: str, among: "Sequence[Entry]") -> "Callable[[Entry], bool]":
    """What `KEY<VALUE` asks of an entry; one that has no such key is not it.

    Args:
        text: with one of <, <=, >, >=, = and !=.
        among: what is asked.

    Raises:
        InputError: no condition, or one that cannot be asked.
    """
    from hardmine.report.listing import last

    parsed = re.fullmatch(r"\s*([^<>=!]+?)\s*(<=|>=|!=|<|>|=)\s*(.*?)\s*", text)
    if parsed is None:
        raise InputError(f"where={text}: take KEY and VALUE with one of {' '.join(_SIGNS)} between, all in quotes")
    key, sign, wanted = parsed.groups()
    _look_known("where", key, among)
    number, ordered = _number(wanted), sign not in ("=", "!=")
    if ordered and number is None and key != "when":
        raise InputError(f"where={text}: {wanted!r:.60} is no number: ask with = or !=")
    shares = [entry.measured[key] for entry in among if key in entry.measured]
    if number is not None and number > 1 and shares and max(shares) <= 1:
        raise InputError(f"where={text}: {key} is a share and at most 1: 50 % is 0.5")

    def holds(entry: "Entry") -> bool:
        value = entry.value(key)
        if isinstance(value, str):  # an ISO time has the order of its letters
            if key == "data" and wanted == last(value):  # as the table shows it
                value = wanted
            return (not ordered or key == "when") and _SIGNS[sign](value, wanted)
        return value is not None and _SIGNS[sign](value, wanted if number is None else number)

    return holds


def _look_known(what: str, key: str, entries: "Sequence[Entry]") -> None:
    from hardmine.report.runs import COLUMNS

    if key in COLUMNS or any(entry.value(key) is not None for entry in entries):
        return
    names = [name for entry in entries for name in (*entry.measured, *entry.figures) if name.count("/") < 2]
    known = ", ".join(dict.fromkeys((*COLUMNS, *names)))
    raise InputError(f"{what}={key}: no run has it: take one of {known}, or a key of the config")


def _compare(one: Path, other: Path, as_json: bool) -> None:
    from rich.console import Console

    from hardmine.report.listing import compared, comparison
    from hardmine.report.runs import read_entry
    from hardmine.report.table import print_table

    entries = []
    for folder in (one, other):
        entry = read_entry(folder)
        if entry is None:
            raise InputError(f"{folder}: no run, search or evaluation is in it: name the folder of one")
        entries.append(entry)
    names = ("one", "other") if one.name == other.name else (one.name, other.name)
    if as_json:
        differs = {key: [old, new] for key, old, new in compared(entries[0], entries[1])}
        print(json.dumps({"runs": [entry.told() for entry in entries], "settings": differs}, indent=2))
        return
    console = Console()
    for name, entry in zip(names, entries, strict=True):
        _say(console, [f"{name}: {entry.folder}, {entry.kind}, {entry.state}", *entry.lines])
    for table in comparison(entries[0], entries[1], names):
        print_table(console, table)
    if all(entry.settings for entry in entries) and not compared(entries[0], entries[1]):
        console.print("no setting differs")


def _say(console: Any, lines: Sequence[str]) -> None:
    from hardmine.report.listing import plain

    for line in filter(None, lines):
        console.print(plain(line), soft_wrap=True)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
