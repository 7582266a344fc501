"""Training runs, each a process of its own, that are made once and skipped when they are there."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hardmine.errors import InputError
from quality.machine import code_version, cores, machine_name
from quality.results import Key, merge, read, rows_of

TRAIN = (sys.executable, "-m", "hardmine", "train")
CONFIGS = Path(__file__).parent / "conf/hardmine"  # methods, and what else joins the groups of `hardmine train`
_LAST_LINES = 8  # of the log of a run that failed
_DAY = 24 * 3600.0


class _StartError(Exception):
    """The run that one starts from was not made."""


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        folder: what it writes; its log lies beside it.
        overrides: of hardmine's config.
        key: which result it is; None for pre-training.
        start: the run whose last weights it starts from.
    """

    folder: Path
    overrides: tuple[str, ...]
    key: Key | None = None
    start: "Run | None" = None

    @property
    def log(self) -> Path:
        return self.folder.parent / f"{self.folder.name}.log"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoints/last.ckpt"

    @property
    def finished(self) -> bool:
        made = [self.folder / "summary.json", self.checkpoint if self.key is None else self.folder / "curve.json"]
        return all(path.is_file() for path in made)


def plan(cfg: Any) -> Run:
    """The run of one job of the grid.

    Raises:
        InputError: no such protocol, size, store, method or data set, or a value of another kind.
    """
    protocol = _one_of(cfg.protocols, cfg.protocol, "protocol")
    size = _one_of(protocol.sizes, cfg.size, "size")
    hidden = _one_of(cfg.stores, cfg.store, "store")
    if cfg.method not in (methods := present(cfg.methods, cfg.past)):
        raise InputError(f"method={cfg.method} is unknown: take one of {', '.join(methods)}")
    for name, good, wanted in (
        ("seed", type(cfg.seed) is int, "a whole number"),
        ("targets", type(cfg.targets) is bool, "true or false"),
        ("jobs", type(cfg.jobs) is int and cfg.jobs > 0, "a whole number above 0"),
    ):
        if not good:
            raise InputError(f"{name}={cfg[name]} must be {wanted}")
    data = Path(cfg.root) / cfg.protocol
    if not data.is_dir():
        raise InputError(
            f"{data}: no such folder: set root to the one that holds it, or protocol to those that are there"
        )
    store = "" if cfg.method in cfg.storeless else cfg.store
    key = Key(cfg.protocol, cfg.size, cfg.method, store, cfg.targets, cfg.seed)
    runs = Path(cfg.out) / f"{key.protocol}-{key.size}"
    common = (
        f"hydra.searchpath=[{_quoted(f'file://{CONFIGS}')}]",
        f"experiment=quality_{key.protocol}",
        f"seed={key.seed}",
        f"data.root={_quoted(data)}",
        f"data.size=[{','.join(str(pixels) for pixels in size.pixels)}]",
        *protocol.overrides,
        *size.overrides,
    )
    weights = runs / "pretrained" / f"seed{key.seed}"
    kept = (
        f"_target_:lightning.pytorch.callbacks.ModelCheckpoint,dirpath:{_quoted(weights / 'checkpoints')},save_top_k:0"
    )
    alone = (
        "+method=none",
        "ckpt=null",
        f"trainer.max_steps={size.pretrain}",
        "task.lr=1e-3",
        "++trainer.enable_checkpointing=true",
        f"++callbacks.checkpoint={{{kept}}}",
        f"callbacks.curve.every={size.pretrain}",  # nobody looks at it, and measuring takes long
    )
    before = Run(weights, (*common, *alone))
    name = "-".join(filter(None, (key.method, store, "targets" if key.targets else "")))
    own = (
        f"+method={key.method}",
        f"ckpt={_quoted(before.checkpoint)}",
        f"store.sources={hidden if store else 0}",
        f"data.targets={cfg.share if key.targets else 0}",
        "++trainer.enable_checkpointing=false",  # their weights are of no use, and writing them would count as training
    )
    return Run(runs / name / f"seed{key.seed}", (*common, *own), key, before)


def present(methods: Iterable[str], past: Collection[str]) -> list[str]:
    """The methods that can be run; of those of the past there are results alone."""
    return [method for method in methods if method not in past]


def run_all(planned: Sequence[Run], results: Path, jobs: int, command: Sequence[str] = TRAIN) -> int:
    """Make the runs that are not there yet, and add the results of all of them.

    Args:
        planned: with duplicates, as the grid gives them.
        results: the Parquet file.
        jobs: processes at a time.
        command: what is called with the overrides.

    Returns:
        How many failed.
    """
    wanted = dict.fromkeys(planned)
    collect([run for run in wanted if run.finished], results, replace=False)
    todo = dict.fromkeys(
        needed
        for run in wanted
        if not run.finished
        for needed in (run.start, run)  # what it starts from stands before it in the queue, so that no wait is for ever
        if needed is not None and not needed.finished
    )
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, cores() // jobs)), "PYTHONPATH": _python_path()}
    origin = {"version": code_version(), "machine": machine_name()}
    futures: dict[Run, Future[None]] = {}

    def work(run: Run) -> None:
        if run.start in futures and futures[run.start].exception() is not None:
            raise _StartError(f"not made, as they start from {run.start.folder}, which failed")
        _train(run, command, environment, origin)
        collect([run], results)

    failed = 0
    not_made: Counter[str] = Counter()
    with _progress() as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task("runs", total=len(todo))
        for run in todo:
            futures[run] = pool.submit(work, run)
        run_of = {future: run for run, future in futures.items()}
        try:
            for future in as_completed(run_of):
                error = future.exception()
                if isinstance(error, _StartError):
                    not_made[str(error)] += 1
                elif isinstance(error, (InputError, OSError)):
                    failed += 1
                    _say(progress, f"{run_of[future].folder}: {error}")
                elif error is not None:
                    raise error
                progress.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        for reason, count in not_made.items():
            _say(progress, f"{count} {reason}")
    return failed + not_made.total()


def collect(runs: Sequence[Run], results: Path, replace: bool = True) -> None:
    """Add the results of finished runs to the file.

    Args:
        runs: finished ones.
        results: the Parquet file.
        replace: also those of runs that it already has.
    """
    known = set() if replace else read(results).keys()
    rows = []
    for run in runs:
        if run.key is not None and run.key not in known:
            made = run.folder / "origin.json"
            origin = json.loads(made.read_text()) if made.is_file() else {"version": "", "machine": ""}
            rows += rows_of(run.folder, run.key, **origin)
    merge(results, rows)


def found(out: Path, stores: Sequence[str]) -> list[Run]:
    """Finished runs under a folder, whatever grid they came from."""
    runs = []
    for curve in sorted(out.glob("*/*/seed*/curve.json")):
        folder = curve.parent
        protocol, _, size = folder.parent.parent.name.rpartition("-")
        method, *parts = folder.parent.name.split("-")
        store = next((part for part in parts if part in stores), "")
        key = Key(protocol, size, method, store, "targets" in parts, int(folder.name.removeprefix("seed")))
        runs.append(Run(folder, (), key))
    return [run for run in runs if run.finished and run.folder.parent.name != "pretrained"]


def _train(run: Run, command: Sequence[str], environment: dict[str, str], origin: dict[str, str]) -> None:
    """Run the process, unless another made the run in the meantime.

    Raises:
        InputError: it failed.
    """
    run.log.parent.mkdir(parents=True, exist_ok=True)
    with run.log.open("a") as log:
        # the process inherits the lock with its output: even if only this one is killed, nobody runs the same beside it
        fcntl.flock(log, fcntl.LOCK_EX)
        if run.finished:
            return
        log.truncate(0)
        shutil.rmtree(run.folder, ignore_errors=True)
        run.folder.mkdir()
        (run.folder / "origin.json").write_text(json.dumps(origin))
        line = [*command, *run.overrides, f"hydra.run.dir={_quoted(run.folder)}"]
        code = subprocess.run(line, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if code or not run.finished:
        last = run.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        raise InputError("\n  ".join([f"failed with exit code {code}, see {run.log}", *last]))


def _python_path() -> str:
    """Where a run finds the rivals, and whatever was set before."""
    given = os.environ.get("PYTHONPATH")
    here = str(Path(__file__).parents[1])
    return os.pathsep.join([here, given] if given else [here])


def _say(progress: Progress, text: str) -> None:
    progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # runs take minutes: rich would forget the last one before the next is over
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), speed_estimate_period=_DAY)


def _one_of(choices: Any, name: Any, key: str) -> Any:
    if name not in choices:
        raise InputError(f"{key}={name} is unknown: take one of {', '.join(choices)}")
    return choices[name]


def _quoted(path: Path | str) -> str:
    """As a value for Hydra, which gives commas, brackets and others in a bare one a meaning."""
    return "'" + str(path).replace("'", "\\'") + "'"
