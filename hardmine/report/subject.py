"""What the folder of a run, a search or an evaluation tells, as tables and curves that a page can show."""

import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hardmine.errors import InputError
from hardmine.files import read_text, trouble
from hardmine.memory.ledger import Ledger
from hardmine.report.album import NAME as ALBUM, Entry, point, read_album
from hardmine.report.evaluation import AS_THEY_ARE, NAME, Evaluation, as_they_are
from hardmine.runs import RunFolder
from hardmine.space import in_words
from hardmine.store import ParameterStore
from hardmine.store.file import WHOLE

_BINS = 60  # of a curve
_POINTS = 600  # of a panel of the graph
_HARDEST = 20  # pieces in the table
_TOLD = ("of", "version", "began", "python", "torch", "device")  # of an evaluation, in other words


@dataclass(frozen=True)
class Cell:
    """A number of a table: as text, and where it has a colour in [0, 1]; `note` is told on hovering."""

    text: str
    value: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table of cells, each row with its labels first."""

    title: str
    labels: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[tuple[Sequence[str], Sequence[Cell]]]


@dataclass(frozen=True)
class Point:
    """A stored parameter: where it lies, its accuracy (None where it was never used), and words on it."""

    x: float
    y: float
    accuracy: float | None
    words: str
    entry: int | None = None  # of the album


@dataclass(frozen=True)
class Panel:
    """The graph of one area: points, names of its axes, and the half sides of what lies within the second threshold."""

    area: str
    across: str
    up: str
    points: Sequence[Point]
    reach: tuple[float, float] | None = None
    round: bool = True


@dataclass(frozen=True)
class Curve:
    """Series of (x, y) over one axis; what is over steps is over the seconds of the subject's clock as well."""

    title: str
    across: str
    series: Mapping[str, Sequence[tuple[float, float]]]


@dataclass
class Subject:
    """One folder, read; what it does not have is left empty."""

    name: str
    kind: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    tables: list[Sheet] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)  # what was refused, capped, evicted
    pictures: list[Path] = field(default_factory=list)
    album: list[Entry] = field(default_factory=list)  # candidates with pictures, the hardest first
    legend: tuple[Sequence[str], Sequence[str]] = ((), ())  # areas and classes, in label order
    clock: list[tuple[float, float]] = field(default_factory=list)  # steps, and seconds of training until then
    settings: list[tuple[str, str, str]] = field(default_factory=list)  # key, default, value
    frozen: bool = False  # its settings are known, even where they are the defaults
    metrics: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_subject(folder: Path, neighbourhood: Mapping[str, Any] | None = None, gates: Sequence[str] = ()) -> Subject:
    """Whatever lies in the folder.

    Args:
        folder: of a run, a search or an evaluation.
        neighbourhood: the policy's settings, for the second threshold.
        gates: names, in the order of their numbers.

    Raises:
        InputError: it is none, or a file of it is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: name a run, a search or an evaluation")
    name = folder.resolve().name
    starts: list[Any]
    if (folder / NAME).is_file():
        found = Evaluation.read(folder)
        subject, starts = _of_evaluation(name, found), [found.about]
    elif (folder / "summary.json").is_file():
        summary = _json(folder / "summary.json")
        subject, starts = _of_summary(name, summary), list(RunFolder(folder).starts)
        starts = starts or [summary.get("made")]
    else:
        raise InputError(
            f"{folder}: has neither summary.json nor {NAME}: name the folder of a run that has ended, or an evaluation"
        )
    subject.facts += made(starts)
    environment = _environments(folder / "store.parquet")
    subject.album, *legend = read_album(folder / "pictures" / ALBUM)
    subject.legend = legend[0], legend[1]
    if (folder / "graph.parquet").is_file():
        subject.panels = list(_panels(folder / "graph.parquet", environment, neighbourhood or {}, subject.album))
        if subject.kind != "evaluation" and environment:
            subject.tables.append(_tried(folder / "graph.parquet", environment))
    if (folder / "ledger").is_dir() and subject.kind != "evaluation":
        _of_ledger(subject, Ledger(folder / "ledger").read(), environment, gates)
    _logged(folder, subject)
    subject.pictures = _pictures(folder / "pictures")
    return subject


def made(starts: Sequence[Any]) -> list[tuple[str, str]]:
    """When a run began and what it was made on, each machine that it was gone on with once.

    Args:
        starts: of the run, each what `Machine` holds; what is missing was not recorded.
    """
    told = [each for each in starts if isinstance(each, Mapping) and "began" in each]
    if not told:
        return [("made on", "not recorded")]

    def words(start: Mapping[str, Any]) -> str:
        many = start.get("processes", 1)
        versions = f"hardmine {start.get('hardmine') or start.get('version')}, torch {start.get('torch')}"
        processes = "" if many == 1 else f", {many} processes"
        return f"{start.get('device')}{processes} ({versions}, Python {start.get('python')})"

    return [("began", str(told[0]["began"])), ("made on", "; then ".join(dict.fromkeys(map(words, told))))]


def _of_evaluation(name: str, found: Evaluation) -> Subject:
    about = {key: str(value) for key, value in found.about.items() if key not in _TOLD}
    subject = Subject(name, "evaluation", list(about.items()), notes=found.lines())
    subject.metrics = {key: value for key, value in found.measured.items() if value is not None}
    if found.what_if is not None:
        subject.tables.append(_light(found))
        cells = zip(found.what_if.environments, found.what_if.accuracy[:, -1].tolist(), strict=True)
        subject.metrics.update({f"other light/{where}": value for where, value in cells if value == value})
    areas = list(next(iter(next(iter(found.areas.values())).values())))
    rows = [((split, where), [percent(each) for each in (value, *of)]) for split, where, value, of in found.of_splits()]
    title = f"{found.metric}, and recognition accuracy of each area, in %"
    subject.tables.append(Sheet(title, ["split", "environment"], [found.metric, *areas], rows))
    if found.class_metric is not None:
        splits, classes = found.of_classes()
        of = [((each,), [percent(value) for value in values]) for each, values in classes]
        subject.tables.append(Sheet(f"{found.class_metric} of each class in %", ["class"], splits, of))
    hard = [
        ((each.image, each.environment), [percent(value) for value in (each.clean, each.accuracy, each.lowest)])
        for each in found.hardest
    ]
    if hard:
        columns = ["as it is", "mean in other light", "lowest"]
        subject.tables.append(Sheet("Images that fail most, in %", ["image", "fails most in"], columns, hard))
    return subject


def _light(found: Evaluation) -> Sheet:
    light = found.what_if
    assert light is not None
    rows = []
    for row, where in enumerate(light.environments):
        cells = []
        for column in range(len(light.areas)):
            value, low, high = (float(each[row, column]) for each in (light.accuracy, light.low, light.high))
            drop, low_drop, high_drop = (
                float(each[row, column]) * 100 for each in (light.drop, light.drop_low, light.drop_high)
            )
            interval = f", 95 % interval {low:.1%} to {high:.1%}" if low == low else ""
            fallen = f"; {drop:.1f} points below the same images as they are" if drop == drop else ""
            fallen += f" ({low_drop:.1f} to {high_drop:.1f})" if low_drop == low_drop else ""
            note = (
                f"{light.areas[column]} in {where}: {value:.1%}{interval}{fallen}; {light.images[row, column]} images"
            )
            cells.append(percent(value, note))
        low, high = float(light.low[row, -1]), float(light.high[row, -1])
        ends = Cell(f"{low * 100:.0f}-{high * 100:.0f}" if low == low else "")  # NaN of a single image
        rows.append(((where,), [*cells, ends, Cell(_points(float(light.drop[row, -1])))]))
    rows.append(((AS_THEY_ARE,), [*map(percent, as_they_are(light)), Cell(""), Cell("")]))
    title = f"The same {found.about.get('source', '')} images in other light: recognition accuracy in %"
    return Sheet(title, ["environment"], [*light.areas, "95 % interval of the image", "drop of the image"], rows)


def _of_summary(name: str, summary: Mapping[str, Any]) -> Subject:
    numbers = {key: float(value) for key, value in summary.items() if isinstance(value, int | float)}
    metrics = {key: value for key, value in numbers.items() if key.startswith(("val/", "test/"))}
    subject = Subject(name, "training run" if "steps" in summary else "search", metrics=metrics)
    rate = {"hit_rate": f"{numbers['hit_rate']:.1%}"} if "hit_rate" in numbers else {}
    plain = ("pieces", "candidates", "hit_rate", "steps", "seconds", "stopped")
    subject.facts = [(key, rate.get(key, str(summary[key]))) for key in plain if summary.get(key) is not None]
    if "refused" in numbers:
        subject.lost.append(("hard candidates that a gate refused", f"{numbers['refused']:.0f}"))
    kinds = dict.fromkeys(key.split("/")[1] for key in metrics)
    for kind in sorted(kinds, key=lambda each: f"val/{each}" not in metrics and f"test/{each}" not in metrics):
        rows = []
        for split in ("val", "test"):
            whole = f"{split}/{kind}"
            keys = [key for key in metrics if key == whole or key.startswith(f"{whole}/")]
            for key in sorted(keys, key=lambda each: (each == whole, each)):
                old, new = numbers.get(f"before/{key}"), metrics[key]
                change = Cell("" if old is None else f"{(new - old) * 100:+.1f}")
                rows.append(
                    ((split, key.removeprefix(whole).lstrip("/") or "all"), [percent(old), percent(new), change])
                )
        of = "environment" if f"val/{kind}" in metrics or f"test/{kind}" in metrics else "class"
        title = f"{kind} in %, when mining started and at the end"
        subject.tables.append(Sheet(title, ["split", of], ["before", "after", "change"], rows))
    return subject


def _environments(path: Path) -> dict[str, str]:
    """The environment of each target by its id."""
    if trouble(path):
        return {}
    store = ParameterStore.load(path)
    values = zip(*store.environment.values(), strict=True) if store.environment else [()] * len(store)
    return {name: " ".join(of) for name, of in zip(store.ids, values, strict=True)}


def _tried(path: Path, environment: Mapping[str, str]) -> Sheet:
    """How well the model did where the search tried: a row for each environment, a column for each area."""
    table = pq.read_table(path, columns=["target", "area", "valid", "uses", "accuracy"])
    areas = [name for name in dict.fromkeys(table["area"].to_pylist()) if name != WHOLE]
    there: dict[tuple[str, str], list[float | None]] = {}  # None where it was not used
    for row in table.to_pylist():
        if row["valid"]:
            value = row["accuracy"] if row["uses"] and row["accuracy"] == row["accuracy"] else None
            there.setdefault((environment.get(row["target"], ""), row["area"]), []).append(value)
    rows = []
    for where in sorted(dict.fromkeys(environment.values())):
        cells = []
        for area in areas:
            values = there.get((where, area), [])
            used = [value for value in values if value is not None]
            note = f"{area} in {where}: {len(used)} of {len(values)} stored parameters were used"
            cells.append(
                percent(sum(used) / len(used), note) if used else Cell("not used" if values else "", None, note)
            )
        rows.append(((where,), cells))
    title = "Recognition accuracy of what was tried, in %: the mean of the latest of each stored parameter"
    return Sheet(title, ["environment"], areas, rows)


def _panels(
    path: Path, environment: Mapping[str, str], policy: Mapping[str, Any], album: Sequence[Entry]
) -> Iterator[Panel]:
    """The distribution graph, area by area; of many points the used ones first."""
    table = pq.read_table(path)
    shown: dict[str, int] = {}  # the latest entry of each point
    for number in sorted(range(len(album)), key=lambda number: album[number].step):
        shown.update(dict.fromkeys(album[number].points, number))
    axes = [name for name in table.column_names if name not in ("target", "area", "valid", "uses", "accuracy", "step")]
    across, up = axes[0], next((name for name in axes if name.startswith("std")), axes[-1])
    given = (policy.get(name) for name in ("radius", "mean_radius", "std_radius"))
    radius, mean, std = (value if isinstance(value, int | float) else None for value in given)
    reach = (radius, radius) if radius else (mean, std) if mean and std else None
    for area in dict.fromkeys(table["area"].to_pylist()):
        rows = table.filter(pc.and_(pc.equal(table["area"], area), table["valid"])).to_pylist()
        rows = sorted(rows, key=lambda row: -row["uses"])[:_POINTS]
        points = []
        for row in rows:
            value, where = row["accuracy"], environment.get(row["target"], "")
            used = row["uses"] > 0 and value is not None and value == value
            said = f"accuracy {value:.1%}, used {row['uses']} times" if used else "not used"
            at = f"{row[across]:.1f} {in_words(across)}; {row[up]:.1f} {in_words(up)}"
            words = f"{row['target']}{f' ({where})' if where else ''}, {area}: {at}; {said}"
            entry = shown.get(point(row["target"], area)) if used else None
            points.append(Point(row[across], row[up], value if used else None, words, entry))
        if points and (area != WHOLE or any(point.accuracy is not None for point in points)):
            yield Panel(area, in_words(across), in_words(up), points, reach, bool(radius))


def _of_ledger(subject: Subject, table: pa.Table, environment: Mapping[str, str], gates: Sequence[str]) -> None:
    """How the search went, and what was refused."""
    if not len(table):
        return
    step, piece = table["step"].to_numpy(), table["piece"].to_numpy() >= 0
    edges = np.linspace(step.min(), step.max() + 1, min(_BINS, int(step.max() - step.min()) + 1) + 1)
    place = np.digitize(step, edges) - 1
    score, gate = table["score"].to_numpy(), table["gate"].to_numpy()
    neighbour = table["parent"].to_numpy() >= 0
    at = edges[1:]

    def rate(of: Any, among: Any) -> list[tuple[float, float]]:
        counts = np.bincount(place[among], minlength=len(at))
        sums = np.bincount(place[among], weights=of[among].astype(float), minlength=len(at))
        return [(float(x), float(s / n)) for x, s, n in zip(at, sums, counts, strict=True) if n]

    every = np.ones(len(step), bool)
    rates = {"all": rate(piece, every), "neighbours": rate(piece, neighbour), "first": rate(piece, ~neighbour)}
    pieces = np.bincount(place, weights=piece, minlength=len(at)).cumsum()
    subject.curves += [
        Curve("hit rate", "step", {name: line for name, line in rates.items() if line}),
        Curve("pieces so far", "step", {"pieces": [*zip(at.tolist(), pieces.tolist(), strict=True)]}),
        Curve("mean recognition accuracy of candidates", "step", {"score": rate(score, ~np.isnan(score))}),
    ]
    for number in np.unique(gate[gate >= 0]).tolist():
        name = gates[number] if number < len(gates) else f"gate {number}"
        subject.lost.append((f"refused by {name}", str(int((gate == number).sum()))))
    ids = list(environment)
    order = np.argsort(np.where(piece & ~np.isnan(score), score, np.inf))[: min(_HARDEST, int(piece.sum()))]
    rows = []
    for row in table.take(pa.array(order)).to_pylist():
        target = max(row["target"])
        named = (
            f"{ids[target]} ({environment[ids[target]]})"
            if 0 <= target < len(ids)
            else ""
            if target < 0
            else str(target)
        )
        rows.append(
            ((str(row["piece"]), str(row["source"]), named or "generated", str(row["step"])), [percent(row["score"])])
        )
    if rows and not subject.album:
        title = f"The {len(rows)} hardest of {int(piece.sum())} pieces, recognition accuracy in %"
        subject.tables.append(Sheet(title, ["piece", "source", "target", "step"], ["score"], rows))


def _logged(folder: Path, subject: Subject) -> None:
    """Loss, metrics and the buffer over steps, where a logger's files are; what left the buffer is a fact."""
    found = _scalars(folder, subject)
    for name, line in found.items():
        if name.startswith("buffer/"):
            why = name.removeprefix("buffer/").replace("_", " ")
            subject.lost.append((f"left the buffer: {why}", f"{line[-1][1]:.0f}"))
    if capped := [value for _, value in found.get("mining/capped_gain", ()) if value == value]:
        share = f"{sum(capped) / len(capped):.1%} of the areas of candidates"
        subject.lost.append(("capped: the conversion met a limit", share))
    curves = [("loss", {"loss": found["loss"]})] if "loss" in found else []
    parts = {name.split("/")[1] for name in found if name.startswith("val/")}
    for part in sorted(parts, key=lambda part: f"val/{part}" not in found):
        whole = f"val/{part}"
        lines = {name.removeprefix(f"{whole}/"): line for name, line in found.items() if name.startswith(f"{whole}/")}
        of = "environment" if whole in found else "class"
        lines |= {"all": found[whole]} if whole in found else {}
        curves.append((f"validation, {part} of each {of}", {name: _first(line) for name, line in lines.items()}))
    if "buffer" in found:
        curves.append(("pieces in the buffer", {"pieces": found["buffer"]}))
    if "mining/buffer_age" in found:
        curves.append(("age of the pieces in the buffer, in steps", {"mean": found["mining/buffer_age"]}))
    subject.curves += [Curve(title, "step", series) for title, series in curves]


def _scalars(folder: Path, subject: Subject) -> dict[str, list[tuple[float, float]]]:
    """What was logged, by name, over steps; the clock of the subject is set where the log has one."""
    found: dict[str, list[tuple[float, float]]] = {}
    files = sorted((folder / "tensorboard").rglob("events.out.*"))
    if files:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        logging.getLogger("tensorboard").setLevel(logging.WARNING)  # it tells of every file that it opens
    clock: dict[float, float] = {}
    before = 0.0  # seconds of the files before: a run that was stopped and went on has one for each part
    for path in files:
        read = EventAccumulator(str(path), size_guidance={"scalars": 4 * _BINS})
        read.Reload()
        for name in read.Tags()["scalars"]:
            events = read.Scalars(name)
            found.setdefault(name, []).extend((each.step, each.value) for each in events)
            if name == "loss":
                began = read.FirstEventTimestamp()
                clock.update({each.step: before + each.wall_time - began for each in events})
        before = max(clock.values(), default=0.0)
    for path in sorted(folder.glob("csv*/metrics.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                for name, text in row.items():
                    if text and name not in ("step", "epoch"):
                        found.setdefault(name, []).append((float(row["step"]), float(text)))
    subject.clock = sorted(clock.items())
    return {name: sorted(line, key=lambda point: point[0]) for name, line in found.items()}


def _first(line: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """One value for each step: the weights from before mining are measured at the end, too, after those of then."""
    return sorted(dict(reversed(line)).items())


def _pictures(folder: Path) -> list[Path]:
    """Sheets: `hardest.png` first, then those of environments, or the latest steps first."""
    paths = sorted(folder.glob("*.png"))
    steps = [path for path in paths if path.stem.startswith("step_")]
    others = [path for path in paths if path not in steps]
    return sorted(others, key=lambda path: path.stem != "hardest") + steps[::-1]


def compared(one: Subject, other: Subject) -> Sheet | None:
    """What either was measured in, side by side, empty where one was not; None where there is nothing."""
    names = list(dict.fromkeys((*one.metrics, *other.metrics)))
    splits = list(dict.fromkeys(name.split("/")[0] for name in names))
    rows = []
    for name in sorted(names, key=lambda name: splits.index(name.split("/")[0])):  # what one lacks is with its split
        old, new = one.metrics.get(name), other.metrics.get(name)
        change = "" if old is None or new is None else _points(new - old)
        rows.append(((name,), [percent(old), percent(new), Cell(change)]))
    return Sheet("Side by side, in %", ["measure"], [one.name, other.name, "change"], rows) if rows else None


def percent(value: float | None, note: str = "") -> Cell:
    """A share in [0, 1] as a coloured cell; empty where there is none."""
    there = value is not None and value == value
    return Cell(f"{value * 100:.1f}", float(value), note) if there and value is not None else Cell("")


def _points(value: float) -> str:
    return "" if value != value else f"{value * 100:+.1f}"


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(read_text(path))
    except json.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        raise InputError(f"{path}: cannot be read: it must hold what the run came to")
    return told
