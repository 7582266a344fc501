"""Runs, searches, evaluations and sweeps, found by what lies in their folders; nothing of it is executed."""

import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from hardmine.errors import InputError
from hardmine.files import read_text
from hardmine.frozen import flat, read_yaml, written
from hardmine.outcome import FILE, Outcome
from hardmine.report.metric import main_metric
from hardmine.runs import RunFolder

State = Literal["running", "stopped", "failed", "pruned", "finished", "damaged"]
COLUMNS = ("when", "folder", "kind", "data", "method", "pieces", "seconds", "state")
_ENDED: dict[str, State] = {"refused": "failed", "crashed": "failed", "pruned": "pruned"}
_WORST: tuple[State, ...] = ("running", "damaged", "failed", "stopped", "pruned", "finished")  # tells of a sweep
_MARKS = ("run.json", FILE, "evaluation.json", "search.pt")  # only hardmine writes them
_SWEEPS = ("sweep.json", "multirun.yaml")
_CONFIG = ".hydra/config.yaml"  # other programs write one too: theirs has no block mining
_INSIDE = ("checkpoints", "ledger", "pictures", "tensorboard", "images", "regions")  # of a run: no run lies there
_log = logging.getLogger("hardmine")


@dataclass
class Entry:
    """What is known of one folder.

    Attributes:
        folder: of it.
        kind: the command that made it: train, mine, evaluate or sweep.
        state: stopped is what has not come to its end and has no process at work on it.
        began: the time with its zone.
        recorded: whether the run wrote that time down; else it is that of its oldest file.
        data, method: in few words.
        metric: name of the task's figure, without its split; None where none was measured.
        measured: metrics by the names that training logs, in [0, 1].
        figures: pieces, seconds and other numbers of the summary.
        settings: keys of the config and their values.
        device: that it began on.
        lines: what is wrong, or worth a word.
    """

    folder: Path
    kind: str
    state: State = "stopped"
    began: datetime = field(default_factory=lambda: datetime.now().astimezone())
    recorded: bool = False
    data: str = ""
    method: str = ""
    metric: str | None = None
    measured: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    device: str | None = None
    lines: list[str] = field(default_factory=list)

    def value(self, key: str) -> float | str | None:
        """What stands in a column, was measured, or is set; None where there is no such thing.

        Args:
            key: a column, a metric, a number of the summary or a key of the config.
        """
        columns = {"when": self.began.isoformat(timespec="seconds"), "folder": str(self.folder)}
        columns |= {name: str(getattr(self, name)) for name in ("kind", "data", "method", "state")}
        for values in (columns, self.measured, self.figures):
            if key in values:
                return values[key]
        found = self.settings.get(key)
        if key not in self.settings or isinstance(found, str):
            return found
        return found if _is_number(found) else written(found)

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        when = self.began.isoformat(timespec="seconds")
        names = ("kind", "state", "data", "method", "metric", "measured", "figures", "device", "lines")
        return {
            "folder": str(self.folder),
            "when": when,
            "recorded": self.recorded,
            **{name: getattr(self, name) for name in names},
        }


def find(folder: Path, within: bool = False) -> list[Entry]:
    """Whatever hardmine left below a folder, or in it.

    Args:
        folder: to look through; links are not followed.
        within: the runs of sweeps too; those of a sweep that is the folder itself are always found.
    """
    entries: list[Entry] = []
    for place, folders, files in os.walk(folder, onerror=_unseen):
        here = Path(place)
        folders.sort()
        if not {*_SWEEPS}.isdisjoint(files):
            runs = [run for name in folders for run in find(here / name, within=True)]
            entries += [_sweep(here, runs)] if runs or _SWEEPS[0] in files else []
            entries += runs if within or here == folder else []
            folders.clear()
        elif found := _looked_at(here):
            entries.append(found)
            folders[:] = [name for name in folders if name not in _INSIDE]
        folders[:] = [name for name in folders if not name.startswith(".")]
    return entries


def _looked_at(folder: Path) -> Entry | None:
    try:
        return read_entry(folder)
    except OSError as error:  # no right to look, or it has just gone
        return Entry(folder, "", "damaged", lines=[f"cannot be read ({(error.strerror or '').lower()})"])


def _unseen(error: OSError) -> None:
    _log.warning("hardmine: %s: cannot be looked into (%s)", error.filename, (error.strerror or "").lower())


def read_entry(folder: Path) -> Entry | None:
    """What a folder says of the run, the search or the evaluation in it; None where there is none.

    What is damaged is told in `lines`.
    """
    run, lines = RunFolder(folder), list[str]()
    marked = [folder / name for name in (*_MARKS, _CONFIG) if (folder / name).is_file()]
    if not marked:
        return None
    try:
        settings = run.settings()
    except InputError as error:
        settings = {}
        lines.append(_short(error, folder))
    if marked == [run.frozen] and "mining" not in settings and (not lines or _is_of_another(run.frozen)):
        return None
    summary, evaluation = _json(folder / "summary.json", lines), _json(folder / "evaluation.json", lines)
    searched = bool(summary) and "steps" not in summary and not settings
    evaluated = bool(evaluation) or "budget" in settings
    entry = Entry(folder, "evaluate" if evaluated else "mine" if searched or "search" in settings else "train")
    entry.settings = dict(flat(settings))
    about = _mapping(evaluation.get("about"))
    entry.data = _data(settings, about)
    _measure(entry, {**evaluation, **about} if evaluated else summary)
    outcome = _outcome(folder, lines)
    if outcome is not None and outcome.seconds:
        entry.figures["seconds"] = outcome.seconds
    entry.method = _method(settings, entry.kind, _experiment(run, lines))
    starts: list[Any] = run.starts
    starts = starts or [_mapping(summary.get("made"))]
    _begin(entry, [about] if evaluated else starts, marked)
    entry.state = _state(entry, outcome, bool(evaluation if evaluated else summary), lines)
    if outcome is not None and outcome.line:
        lines.insert(0, outcome.line)
    entry.lines = lines
    return entry


def _state(entry: Entry, outcome: Outcome | None, ended: bool, lines: list[str]) -> State:
    """How far a run is; what it has to say beside that joins `lines`."""
    if lines:
        return "damaged"
    if outcome is not None and outcome.status in _ENDED:
        return _ENDED[outcome.status]
    if ended:
        return "finished"
    try:
        if RunFolder(entry.folder).busy:
            return "running"
    except OSError as error:
        lines.append(f"run.lock: cannot be read ({error.strerror}): perhaps it is running")
    kept = {"train": "checkpoints/last*.ckpt", "mine": "search.pt"}.get(entry.kind, "*")
    if not any(entry.folder.glob(kept)):
        lines.append("ended before it kept anything to go on with")
    return "stopped"


def _is_of_another(config: Path) -> bool:
    """Whether YAML that cannot be read as a run's is that of another program, which has no block `mining`."""
    try:
        plain = read_yaml(config)
    except InputError:
        return False
    return isinstance(plain, dict) and "mining" not in plain


def _outcome(folder: Path, lines: list[str]) -> Outcome | None:
    told: Any = _json(folder / FILE, lines)
    if not told:
        return None
    status, line, seconds = told.get("status"), told.get("line"), told.get("seconds")
    good = status in (*_ENDED, "done", "unfinished") and isinstance(line, str)
    if not good or not isinstance(seconds, int | float):
        lines.append(f"{FILE}: cannot be read: it must hold status, line and seconds")
        return None
    return Outcome([], status, line, seconds)


def _measure(entry: Entry, told: Mapping[str, Any]) -> None:
    """Metrics and figures of a summary, or of what an evaluation holds."""
    numbers = {key: value for key, value in told.items() if _is_number(value)}
    of = _mapping(told.get("measured")) if "measured" in told else numbers
    splits = ("train/", "val/", "target/", "test/")
    entry.measured = {key: value for key, value in of.items() if _is_number(value) and key.startswith(splits)}
    names = ("pieces", "candidates", "hit_rate", "steps", "seconds", "refused", "unscored", "nonfinite_steps")
    entry.figures = {name: numbers[name] for name in names if name in numbers}
    metric = told.get("metric")
    entry.metric = metric if isinstance(metric, str) else (main_metric(entry.measured) or "/").split("/")[1] or None


def _begin(entry: Entry, starts: Sequence[Mapping[str, Any]], marked: Sequence[Path]) -> None:
    """When, and on what: as it was written down, else by the files."""
    device = starts[0].get("device") if starts else None
    entry.device = device if isinstance(device, str) else None
    try:
        entry.began = datetime.fromisoformat(starts[0]["began"]).astimezone()
        entry.recorded = True
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, OSError):
        hydra = entry.folder / ".hydra/hydra.yaml"
        oldest = min(path.stat().st_mtime for path in (*marked, *([hydra] if hydra.is_file() else ())))
        entry.began = datetime.fromtimestamp(oldest).astimezone()


def _data(settings: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    block = _mapping(settings.get("data"))
    root = block.get("root")
    name = root if isinstance(root, str) else _name(block.get("_target_")).removesuffix("_data")
    return name or str(about.get("data", ""))


def _experiment(run: RunFolder, lines: list[str]) -> str:
    try:
        given = dict(one.split("=", 1) for one in run.overrides if "=" in one)
    except InputError as error:
        lines.append(_short(error, run.path))
        return ""
    return given.get("experiment", "")


def _method(settings: Mapping[str, Any], kind: str, experiment: str) -> str:
    """Neighbourhood, update and experiment; of an evaluation the model."""
    if kind == "evaluate":
        ckpt = settings.get("ckpt")
        return ckpt if isinstance(ckpt, str) else ""
    name, every = _name(_mapping(settings.get("neighbourhood")).get("_target_")), _mapping(settings.get("update"))
    words = [name or "none"] if settings else []
    if name and kind == "train" and _is_number(every.get("every")) and every["every"]:
        words.append(f"every={every['every']}")
    return " ".join(filter(None, (*words, experiment and f"({experiment})")))


def _sweep(folder: Path, runs: Sequence[Entry]) -> Entry:
    """A sweep, by its runs: what it came to is its best point."""
    from hardmine.report.sweep import read_sweep

    entry = Entry(folder, "sweep")
    if not runs:
        entry.lines.append("no run of it has begun")
        entry.began = datetime.fromtimestamp((folder / _SWEEPS[0]).stat().st_mtime).astimezone()
        return entry
    first = min(runs, key=lambda run: run.began)
    entry.began, entry.recorded, entry.device, entry.data = first.began, first.recorded, first.device, first.data
    entry.figures["seconds"] = sum(run.figures.get("seconds", 0) for run in runs)
    states = Counter(run.state for run in runs)
    entry.state = min(states, key=_WORST.index)
    entry.lines.append(f"{len(runs)} runs: " + ", ".join(f"{states[one]} {one}" for one in _WORST if states[one]))
    try:
        sweep = read_sweep(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        entry.state = "damaged"
        entry.lines.append(_short(error, folder))
        return entry
    entry.method = " ".join(("sweep", *sweep.keys))
    best = sweep.points[0]
    if sweep.metric and best.objective is not None:
        entry.measured[sweep.metric] = best.objective
        entry.metric = sweep.metric.split("/")[1] if "/" in sweep.metric else None
        entry.lines += [f"best: {best.name}"] if best.values else []
    return entry


def _json(path: Path, lines: list[str]) -> dict[str, Any]:
    """What a file holds; empty where there is none, and where it is damaged, which joins `lines`."""
    if not path.is_file():
        return {}
    try:
        told = json.loads(read_text(path))
    except InputError as error:
        lines.append(_short(error, path.parent))
        return {}
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not told:
        lines.append(f"{path.name}: cannot be read: it must hold what the run came to")
        return {}
    return told


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _name(target: Any) -> str:
    """Of the choice in a config group, which its class is called after."""
    name = target.rsplit(".", 1)[-1] if isinstance(target, str) else ""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number of a size that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _short(error: Exception, folder: Path) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return said.removeprefix(f"{folder}/")
