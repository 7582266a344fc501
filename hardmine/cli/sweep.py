"""`hardmine sweep`: search for the settings that train best, and the table of any sweep."""

import json
import logging
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hardmine.cli import config_folder
from hardmine.cli.config import key_of, plain_arguments, run_configured, with_root
from hardmine.cli.explain import explain
from hardmine.cli.paths import quoted, with_paths
from hardmine.errors import InputError
from hardmine.outcome import Outcome, Status
from hardmine.report.metric import Direction, direction_of, main_metric

_log = logging.getLogger("hardmine")


@dataclass(frozen=True)
class Settings:
    """The keys of `conf/sweep.yaml`."""

    out: str
    trials: int = 20
    seeds: list[int] | None = None
    metric: str | None = None
    direction: Literal["maximize", "minimize"] | None = None
    pruner: Literal["median", "none"] = "median"
    sampler: Literal["tpe", "random"] = "tpe"
    storage: str | None = None
    space: Mapping[str, str] = field(default_factory=dict)


def command(arguments: list[str]) -> None:
    """Ask, train and tell until there are enough trials; then the table."""
    from hardmine.cli.launch import is_first, joined
    from hardmine.cli.multirun import show
    from hardmine.cli.study import Study, read_space

    if arguments[:1] == ["report"]:
        _report(arguments[1:])
        return
    settings, others = _settings(arguments)
    fixed, space = read_space(others)
    folder = Path(settings.out).expanduser().resolve()
    direction = settings.direction or direction_of(settings.metric)
    accelerator = _look(fixed, space)
    with joined(accelerator) as share:
        study = None
        if is_first():
            _keep(folder, settings, direction, others, space)
            study = Study(
                folder, space, settings.trials, direction, settings.pruner, settings.sampler, settings.storage
            )
            named = settings.metric or "the main metric of the task"
            _log.warning("hardmine: sweep: %s %s over %s, in %s", direction, named, ", ".join(space), folder)
        while True:
            asked = None if study is None else study.ask()
            point = share(None if asked is None else (asked.arguments, asked.folder))
            if point is None:
                break
            values, place = point
            watched = None if asked is None else asked.trial
            for seed, run in _runs(settings, place).items():
                numbered = [] if seed is None else [f"seed={seed}"]
                if study is not None:
                    _log.warning("hardmine: sweep: %s", " ".join([*values, *numbered]))
                outcome = share(_run([*fixed, *values, *numbered], run, settings, watched))
                watched = None  # a trial has one curve: that of its first seed
                if outcome.status != "done":
                    break
            if study is not None and asked is not None:
                study.tell(asked, *_ended(settings, outcome, place))
        code = show(folder) if study is not None else 0
    if code:
        raise SystemExit(code)


@contextmanager
def _explained(program: str) -> Iterator[None]:
    """Errors of Hydra as one line."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(explain(error, program)) from None


def _settings(arguments: Sequence[str]) -> tuple[Settings, list[str]]:
    """The keys of a sweep, and all other arguments with what the sweep's file searches.

    Raises:
        InputError: an option, a key that is searched in another way, or a bad value.
    """
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    from hardmine.cli.hints import look_at_types

    for argument in arguments:
        if argument.startswith("-") or ("=" not in argument and not argument.startswith("~")):
            raise InputError(
                f"sweep: {argument!r} is unknown: it takes KEY=VALUE and KEY=RANGE; see hardmine sweep --help"
            )
        if key_of(argument) in ("resume", "run_dir", "hydra.run.dir", "hydra.sweep.dir"):
            raise InputError(f"{key_of(argument)}: a sweep has folders of its own: set out=FOLDER")
    names = {*Settings.__dataclass_fields__, "sweeper"}
    own = [argument for argument in arguments if key_of(argument).split(".")[0] in names]
    with _explained("hardmine sweep"), initialize_config_dir(str(config_folder()), version_base="1.3"):
        cfg = compose("sweep", with_paths(own, sweep=True))
        look_at_types(cfg)
        settings: Settings = instantiate(cfg, _convert_="all")
    if settings.trials < 1:
        raise InputError(f"trials={settings.trials}: must be at least 1")
    others = with_root([argument for argument in arguments if argument not in own])
    given = {key_of(argument) for argument in others}
    others += [f"{key}={value}" for key, value in settings.space.items() if key not in given]
    if settings.seeds is not None and "seed" in given:
        raise InputError("seed: is set by seeds: give one of the two")
    return settings, with_paths(others, sweep=True)


def _look(fixed: Sequence[str], space: Mapping[str, Any]) -> str:
    """See that the keys of a sweep are known before its first run.

    Returns:
        The accelerator of its runs.

    Raises:
        InputError: one is not, or none is searched.
    """
    from hydra import compose, initialize_config_dir

    if not space:
        raise InputError("sweep: nothing is searched: give KEY=choice(A,B), KEY=interval(LOW,HIGH) or sweeper=mining")
    if "seed" in space:
        raise InputError("seed: is no setting to search: seeds=[0,1,2] runs each point with each")
    one = [f"{key}={(getattr(kind, 'choices', None) and kind.choices[0]) or kind.low}" for key, kind in space.items()]
    with _explained("hardmine train"), initialize_config_dir(str(config_folder()), version_base="1.3"):
        return str(compose("train", [*fixed, *one]).trainer.accelerator)


def _keep(
    folder: Path, settings: Settings, direction: Direction, others: Sequence[str], space: Mapping[str, Any]
) -> None:
    """What the sweep is, in its folder.

    Raises:
        InputError: another one is there.
    """
    from hardmine.files import read_json, write_atomically
    from hardmine.report.sweep import SETTINGS

    kept = folder / SETTINGS
    now = {"metric": settings.metric, "direction": direction, "seeds": settings.seeds, "arguments": sorted(others)}
    if kept.is_file():
        before = read_json(kept)
        for name, value in now.items():
            if before.get(name) != value:
                raise InputError(
                    f"{folder}: holds a sweep with {name}={before.get(name)}, not {value}: name another with out=FOLDER"
                )
    elif folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: is not empty, and holds no sweep: name another with out=FOLDER")
    write_atomically(
        kept, lambda file: file.write((json.dumps({**now, "space": list(space)}, indent=2) + "\n").encode())
    )


def _runs(settings: Settings, folder: Path) -> dict[int | None, Path]:
    """Folders of the runs of a trial, by seed."""
    return {None: folder} if settings.seeds is None else {seed: folder / str(seed) for seed in settings.seeds}


def _ended(settings: Settings, last: Outcome, folder: Path) -> tuple[Status, float | None, str]:
    """How a trial ended whose last run came to `last`: status, objective, and what was wrong."""
    if last.status != "done":
        return last.status, None, last.line
    found: list[float] = []
    for run in _runs(settings, folder).values():
        summary = json.loads((run / "summary.json").read_text())
        name = settings.metric or main_metric(summary)
        if summary.get(name) is None:
            have = ", ".join(sorted(key for key in summary if key.count("/") == 1)) or "none"
            line = f"metric={name}: the run has no such figure: take one of {have}"
            _log.warning("hardmine: trial %s: %s", folder.name, line)
            return "crashed", None, line
        found.append(float(summary[name]))
    return "done", statistics.fmean(found), ""


def _run(arguments: list[str], folder: Path, settings: Settings, trial: Any) -> Outcome:
    """One run, or what is left of it; a signal that ends it ends the process."""
    from hardmine.callbacks.pruning import Pruning
    from hardmine.cli.resume import prepared
    from hardmine.cli.train import train

    if (outcome := Outcome.load(folder)).status == "done":
        return outcome

    def worse(step: int, value: float) -> bool:
        if trial is None:
            return False
        trial.report(value, step)
        return bool(trial.should_prune())

    watching = [Pruning(settings.metric, worse)] if settings.pruner != "none" else []
    try:
        ready, frozen = prepared([*arguments, "resume=auto", f"hydra.run.dir={quoted(str(folder))}"])
        run_configured("train", ready, lambda cfg: train(cfg, watching), frozen, record=True)
    except InputError as error:
        Outcome(arguments, "refused", error.keyed).save(folder)
    return Outcome.load(folder)


def _report(arguments: Sequence[str]) -> None:
    from hardmine.cli.multirun import show

    if not arguments or "=" in arguments[0]:
        raise InputError("sweep report: name the folder of a sweep: hardmine sweep report FOLDER")
    given = plain_arguments("sweep report", arguments[1:], ("metric", "direction"))
    folder = Path(arguments[0]).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: name that of a sweep")
    show(folder, given.get("metric"), given.get("direction"))
