"""A sweep as a table, read back from the folders of its runs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from hardmine.errors import InputError
from hardmine.files import read_json, write_atomically
from hardmine.outcome import FILE, Outcome
from hardmine.report.metric import Direction, direction_of, main_metric
from hardmine.report.table import Name

SETTINGS = "sweep.json"  # what hardmine sweep searches by
_OF_RUNS = ("seed", "resume")  # what the runs of one point differ in


@dataclass
class Point:
    """Values that were tried, with one run or one for each seed.

    Attributes:
        values: of the keys that differ within the sweep.
        runs: folders, within that of the sweep.
        seeds: of the runs; empty where none was set.
        objectives: of the runs that came to one.
        seconds: of all runs.
        statuses: of the runs.
        lines: what was wrong with them.
    """

    values: Mapping[str, str]
    runs: list[str] = field(default_factory=list)
    seeds: list[str] = field(default_factory=list)
    objectives: list[float] = field(default_factory=list)
    seconds: float = 0.0
    statuses: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.values.items()) or ", ".join(self.runs)

    @property
    def complete(self) -> bool:
        """Whether each of its runs came to an objective."""
        return len(self.objectives) == len(self.runs)

    @property
    def objective(self) -> float | None:
        """Mean over the runs; None unless all came to one, so that no point wins by the seeds that it lacks."""
        return statistics.fmean(self.objectives) if self.complete else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the runs."""
        return statistics.stdev(self.objectives) if self.complete and len(self.objectives) > 1 else None

    @property
    def status(self) -> str:
        return ", ".join(sorted(set(self.statuses)))


@dataclass(frozen=True)
class Sweep:
    """Points of a sweep, the best first.

    Attributes:
        metric: figure of `summary.json` that they are compared by; None where no run has any.
        direction: which way it is better.
        points: of it.
    """

    metric: str | None
    direction: Direction
    points: Sequence[Point]

    @property
    def keys(self) -> list[str]:
        return list(dict.fromkeys(key for point in self.points for key in point.values))


def read_sweep(folder: Path, metric: str | None = None, direction: str | None = None) -> Sweep:
    """A sweep from the folders of its runs.

    Args:
        folder: of the sweep.
        metric: None: that of the sweep, or the main one of its task.
        direction: maximize or minimize; None: that of the sweep, or as the metric is known to be better.

    Raises:
        InputError: no run is in the folder, or none has the metric.
    """
    runs = {path.parent for path in folder.rglob(FILE)}
    runs |= {path.parents[1] for path in folder.rglob(".hydra/overrides.yaml")}
    if not runs:
        raise InputError(f"{folder}: no run is in it: name the folder of a sweep")
    ordered = sorted(runs, key=lambda path: [(len(part), part) for part in path.relative_to(folder).parts])
    outcomes = {run: Outcome.load(run) for run in ordered}
    summaries = {run: _json(run / "summary.json") for run in ordered}
    settings = _json(folder / SETTINGS)
    if metric is None:
        metric = settings.get("metric") or next(filter(None, map(main_metric, summaries.values())), None)
        direction = direction or settings.get("direction")
    elif not any(metric in summary for summary in summaries.values()):
        known = sorted({name for summary in summaries.values() for name in summary if name.count("/") <= 1})
        raise InputError(f"metric={metric}: no run has it: take one of {', '.join(known) or 'none yet'}")
    if direction not in (None, "maximize", "minimize"):
        raise InputError(f"direction={direction}: take maximize or minimize")
    way: Direction = "minimize" if (direction or direction_of(metric)) == "minimize" else "maximize"
    points: dict[tuple[tuple[str, str], ...], Point] = {}
    searched = settings.get("space", ())
    given = {run: dict(one.split("=", 1) for one in outcomes[run].overrides if "=" in one) for run in ordered}
    for run in ordered:
        values = {key: value for key, value in given[run].items() if key in searched or _differs(key, given.values())}
        point = points.setdefault(tuple(values.items()), Point(values))
        outcome, summary = outcomes[run], summaries[run]
        point.runs.append(str(run.relative_to(folder)))
        point.seeds += [given[run]["seed"]] if "seed" in given[run] else []
        point.seconds += outcome.seconds or summary.get("seconds", 0)
        point.statuses.append(outcome.status)
        point.lines += [outcome.line] if outcome.line else []
        value = summary.get(metric or "") if outcome.status == "done" else None
        point.objectives += [value] if value is not None else []
    sign = 1 if way == "minimize" else -1
    worth = {id(point): math.inf if point.objective is None else sign * point.objective for point in points.values()}
    return Sweep(metric, way, sorted(points.values(), key=lambda point: worth[id(point)]))


def _differs(key: str, runs: Any) -> bool:
    return key not in _OF_RUNS and len({given.get(key) for given in runs}) > 1


def _json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def sweep_table(sweep: Sweep) -> Table:
    """Values, objective with its spread over seeds, seconds and status of each point."""
    better = "larger" if sweep.direction == "maximize" else "smaller"
    table = Table(title=f"{sweep.metric or 'no run has a metric'}, {better} is better" if sweep.metric else "sweep")
    for key in sweep.keys or ["run"]:
        table.add_column(Name(key))
    for heading in (sweep.metric or "objective", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("status")
    for place, point in enumerate(sweep.points):
        values = [_short(point.values.get(key, "")) for key in sweep.keys] or [", ".join(point.runs)]
        objective = "" if point.objective is None else f"{point.objective:.4g}"
        if point.spread is not None:
            objective += f" ± {point.spread:.2g} ({len(point.runs)} {'seeds' if len(set(point.seeds)) > 1 else 'runs'})"
        best = place == 0 and bool(objective)
        table.add_row(
            *map(Name, values), objective, f"{point.seconds:.0f}", point.status, style="bold" if best else None
        )
    return table


def write_sweep(folder: Path, sweep: Sweep) -> None:
    """`sweep.parquet`, the table with a row for each point, and `sweep.png`, what each key did to the objective."""
    columns: dict[str, list[Any]] = {key: [point.values.get(key) for point in sweep.points] for key in sweep.keys}
    names = ("objective", "spread", "seconds", "status", "seeds", "objectives", "runs", "lines")
    columns |= {name: [getattr(point, name) for point in sweep.points] for name in names}
    kinds = {"objective": pa.float64(), "spread": pa.float64(), "objectives": pa.list_(pa.float64())}
    kinds |= {name: pa.list_(pa.string()) for name in ("seeds", "runs", "lines")}
    table = pa.table({name: pa.array(values, kinds.get(name)) for name, values in columns.items()})
    about = {"metric": sweep.metric or "", "direction": sweep.direction}
    table = table.replace_schema_metadata(about)
    write_atomically(folder / "sweep.parquet", lambda file: pq.write_table(table, file))
    figure = draw_sweep(sweep)
    write_atomically(folder / "sweep.png", lambda file: figure.savefig(file, format="png", dpi=110))


def draw_sweep(sweep: Sweep) -> Figure:
    """One panel for each key, the objective over its values, with bars of the spread over seeds."""
    keys = sweep.keys or ["run"]
    columns = min(4, len(keys))
    rows = -(-len(keys) // columns)
    figure = Figure(figsize=(3.4 * columns + 0.6, 3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for panel in panels[len(keys) :]:
        panel.set_visible(False)
    shown = [point for point in sweep.points if point.objective is not None]
    for panel, key in zip(panels, keys, strict=False):
        texts = [point.values.get(key, point.name) for point in shown]
        numbers = [number for number in map(_number, texts) if number is not None]
        across: list[Any] = numbers if len(numbers) == len(texts) else texts
        if numbers and across is numbers and min(numbers) > 0 and max(numbers) >= 50 * min(numbers):
            panel.set_xscale("log")
        panel.errorbar(
            across, [point.objective for point in shown], [point.spread or 0 for point in shown], fmt="o", capsize=3
        )
        panel.set_xlabel(key, fontsize=9)
        panel.tick_params(labelsize=8)
    panels[0].set_ylabel(sweep.metric or "objective", fontsize=9)
    return figure


def _short(text: str) -> str:
    number = _number(text)
    return text if number is None or len(text) < 8 else f"{number:.4g}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
