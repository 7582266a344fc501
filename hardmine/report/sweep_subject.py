"""A sweep as a page shows it: its points side by side, the best first."""

from collections.abc import Sequence
from pathlib import Path

from hardmine.files import read_json
from hardmine.report.subject import Cell, Sheet, Subject, percent
from hardmine.report.sweep import SETTINGS, Point, read_sweep

_MOST = 12  # points whose figures stand side by side
_KINDS = ("multirun.yaml", SETTINGS)


def is_sweep(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _KINDS)


def sweep_subject(folder: Path) -> Subject:
    """What `read_sweep` reads, as tables.

    Raises:
        InputError: no run is in the folder.
    """
    sweep = read_sweep(folder)
    subject = Subject(folder.resolve().name, "sweep")
    runs = sum(len(point.runs) for point in sweep.points)
    better = "larger" if sweep.direction == "maximize" else "smaller"
    subject.facts = [("points", str(len(sweep.points))), ("runs", str(runs))]
    if sweep.metric:
        subject.facts.append(("compared by", f"{sweep.metric}, {better} is better"))
    keys = sweep.keys or ["run"]
    rows = []
    for point in sweep.points:
        values = [point.values.get(key, "") for key in keys] if sweep.keys else [", ".join(point.runs)]
        spread = "" if point.spread is None else f"{point.spread * 100:.2g}"
        cells = [percent(point.objective), Cell(spread), Cell(f"{point.seconds:.0f}"), Cell(point.status)]
        rows.append(((*values, ", ".join(point.runs)), cells))
        subject.notes += [f"{point.name}: {line}" for line in dict.fromkeys(point.lines)]
    columns = [f"{sweep.metric or 'objective'} in %", "spread over runs", "seconds", "state"]
    subject.tables.append(Sheet("Points, the best first", [*keys, "runs"], columns, rows))
    shown = sweep.points[:_MOST]
    subject.tables.append(_side_by_side(folder, shown))
    if shown and shown[0].objective is not None:
        subject.metrics = _means(folder, shown[0])
    if len(sweep.points) > _MOST:
        subject.notes.append(f"the best {_MOST} of {len(sweep.points)} points stand side by side")
    if (picture := folder / "sweep.png").is_file():
        subject.pictures.append(picture)
    return subject


def _side_by_side(folder: Path, points: Sequence[Point]) -> Sheet:
    """Every figure of val and test, a column for each point."""
    means = [_means(folder, point) for point in points]
    names = sorted({name for each in means for name in each}, key=lambda name: (name.startswith("test/"), name))
    rows = [((name,), [percent(each.get(name)) for each in means]) for name in names]
    return Sheet("Side by side, mean over runs in %", ["figure"], [point.name for point in points], rows)


def _means(folder: Path, point: Point) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for run in point.runs:
        path = folder / run / "summary.json"
        for name, value in (read_json(path) if path.is_file() else {}).items():
            if name.startswith(("val/", "test/")) and isinstance(value, int | float):
                found.setdefault(name, []).append(float(value))
    return {name: sum(values) / len(values) for name, values in found.items()}
