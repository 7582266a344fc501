"""Runs as tables for a terminal: all of a folder, or two side by side."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from hardmine.frozen import written
from hardmine.report.runs import Entry
from hardmine.report.table import Name

_COLORS = {"running": "green", "failed": "red", "damaged": "red", "stopped": "yellow"}
_OWN = ("run_dir", "out", "classes", "resume")  # keys that say nothing of the choice
_SPLITS = ("val", "test")


def runs_table(entries: Sequence[Entry], below: Path) -> Table:
    """A row for each, with the main metrics on `val` and `test` in %.

    Args:
        entries: in the order of the rows.
        below: the folder that they were found in.
    """
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    metrics = list(dict.fromkeys(f"{split}/{entry.metric}" for split in _SPLITS for entry in entries if entry.metric))
    metrics = [name for name in metrics if any(name in entry.measured for entry in entries)]
    for name in ("when", "folder", "data", "method"):
        table.add_column(name, min_width=11 if name == "when" else None)
    for name in (*(metric.replace("/", "\n") for metric in metrics), "pieces", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for entry in entries:
        when = f"{' ' if entry.recorded else '~'}{entry.began:%Y-%m-%d %H:%M}"
        table.add_row(
            when,
            *(Name(plain(text).plain) for text in (place(entry, below), last(entry.data), _method(entry))),
            *(percent(entry.measured.get(name)) for name in metrics),
            *(number(entry.figures.get(name)) for name in ("pieces", "seconds")),
            Text(entry.state, _COLORS.get(entry.state, "")),
        )
    return table


def notes(entries: Sequence[Entry], below: Path) -> list[str]:
    """What the table has no room for."""
    said = [f"{place(entry, below)}: {line}" for entry in entries for line in entry.lines]
    if not all(entry.recorded for entry in entries):
        said.append("~ is the time of the oldest file: when the run began is not recorded")
    return said


def compared(one: Entry, other: Entry) -> list[tuple[str, str, str]]:
    """Keys of the config that differ, with both values; empty where a run has no such key."""
    keys = [key for key in dict.fromkeys((*one.settings, *other.settings)) if key not in _OWN]

    def value(entry: Entry, key: str) -> str:
        return written(entry.settings[key]) if key in entry.settings else ""

    told = [(key, value(one, key), value(other, key)) for key in keys]
    return [(key, old, new) for key, old, new in told if old != new]


def comparison(one: Entry, other: Entry, names: tuple[str, str]) -> list[Table]:
    """Figures of both with their difference, and the keys of the config that differ.

    Args:
        one, other: two runs, searches or evaluations.
        names: of them.
    """
    measures = Table("measure", title="metrics in %, and figures", box=None, header_style="bold", title_justify="left")
    for name in (*names, "difference"):
        measures.add_column(plain(name), justify="right", overflow="fold")
    for kind, show, scale in (("measured", percent, 100), ("figures", number, 1)):
        old, new = getattr(one, kind), getattr(other, kind)
        for key in dict.fromkeys((*old, *new)):
            both = key in old and key in new
            share = kind == "figures" and key == "hit_rate"
            shown, by = (percent, 100) if share else (show, scale)
            change = f"{(new[key] - old[key]) * by:+.1f}" if both else ""
            measures.add_row(plain(key), shown(old.get(key)), shown(new.get(key)), change)
    settings = Table("key", title="settings that differ", box=None, header_style="bold", title_justify="left")
    for name in names:
        settings.add_column(plain(name), overflow="fold")
    for key, before, after in compared(one, other):
        settings.add_row(plain(key), plain(before), plain(after))
    return [table for table in (measures, settings) if table.row_count]


def place(entry: Entry, below: Path) -> str:
    """The folder of a run as it is seen from another."""
    return str(entry.folder.relative_to(below)) if entry.folder.is_relative_to(below) else str(entry.folder)


def plain(text: str) -> Text:
    """As it is, but for signs that a terminal would act on."""
    return Text("".join(sign if sign.isprintable() else "\ufffd" for sign in text))


def percent(value: float | None) -> str:
    return "" if value is None else f"{value * 100:.1f}"


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def last(path: str) -> str:
    """The name of a folder or file, of a run's checkpoint that of the run."""
    return path.rstrip("/").removesuffix("/checkpoints/last.ckpt").rsplit("/", 1)[-1]


def _method(entry: Entry) -> str:
    return f"{entry.kind} {last(entry.method)}" if entry.kind in ("mine", "evaluate") else entry.method
