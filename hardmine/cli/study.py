"""A search of Optuna's whose trials are folders: processes share it, and it goes on after they were killed."""

import fcntl
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hardmine.errors import InputError
from hardmine.outcome import Status
from hardmine.report.metric import Direction
from hardmine.runs import RunFolder

_log = logging.getLogger("hardmine")
STARTS = 3  # of a trial whose process ended each time, as one does that takes more memory than there is
Space = Mapping[str, Any]  # distributions of Optuna's by key


@dataclass(frozen=True)
class Asked:
    """A trial to make.

    Attributes:
        trial: Optuna's.
        folder: of its runs, locked.
    """

    trial: Any
    folder: Path

    @property
    def arguments(self) -> list[str]:
        """KEY=VALUE of its point."""
        return [f"{key}={value}" for key, value in self.trial.params.items()]


class Study:
    """Ask and tell.

    Args:
        folder: of the sweep; a trial is a folder in it, locked by the process that runs it.
        space: what to search.
        trials: to make, by all processes together.
        direction: which way an objective is better.
        pruner: `median`, or `none`.
        sampler: `tpe`, or `random`.
        storage: URL of a database; None takes a journal file in the folder.

    Raises:
        InputError: Optuna is missing, or cannot open the storage.
    """

    def __init__(
        self,
        folder: Path,
        space: Space,
        trials: int,
        direction: Direction,
        pruner: str = "median",
        sampler: str = "tpe",
        storage: str | None = None,
    ) -> None:
        optuna = _optuna()
        self.folder, self.space, self.trials, self._sampler = folder, space, trials, sampler
        folder.mkdir(parents=True, exist_ok=True)
        kept: Any = storage
        if storage is None:
            journal = optuna.storages.journal
            kept = journal.JournalStorage(journal.JournalFileBackend(str(folder / "study.journal")))
        try:
            self._study = optuna.create_study(
                storage=kept,
                study_name=folder.resolve().name,
                direction=direction,
                pruner=optuna.pruners.MedianPruner() if pruner == "median" else optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
        except Exception as error:  # of SQLAlchemy and of the drivers of databases, each with its own kinds
            why = " ".join(str(error).split())[:200]
            raise InputError(f"storage={storage}: cannot be opened ({why}): sqlite:///FILE.db is one") from None
        if self._study.direction.name.lower() != direction:
            raise InputError(f"{folder}: holds a sweep to {self._study.direction.name.lower()}: name another folder")

    def ask(self) -> Asked | None:
        """The next trial, locked; None where there are as many as wanted.

        A trial whose process has ended comes first: its runs go on from their last checkpoints.
        """
        optuna = _optuna()
        states = optuna.trial.TrialState
        with _locked(self.folder / "study.lock"):
            self._take_up()
            trials = self._study.get_trials(deepcopy=False)
            waiting = any(trial.state == states.WAITING for trial in trials)
            counted = sum(trial.state != states.WAITING and "folder" not in trial.user_attrs for trial in trials)
            if counted >= self.trials and not waiting:
                return None
            kinds = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
            self._study.sampler = kinds[self._sampler](seed=len(trials))  # processes do not try the same
            trial = self._study.ask(dict(self.space))
            RunFolder(self._folder(trial)).claim()
            return Asked(trial, self._folder(trial))

    def _folder(self, trial: Any) -> Path:
        return self.folder / str(trial.user_attrs.get("folder", trial.number))

    def tell(self, asked: Asked, status: Status, objective: float | None, line: str = "") -> None:
        """How a trial ended.

        Args:
            asked: what was asked for.
            status: of its runs.
            objective: where they are done.
            line: what was wrong.
        """
        states = _optuna().trial.TrialState
        if line:
            asked.trial.set_user_attr("line", line)
        if status == "done" and objective is not None and math.isfinite(objective):
            self._study.tell(asked.trial, objective)
        else:
            self._study.tell(asked.trial, state=states.PRUNED if status == "pruned" else states.FAIL)

    def _take_up(self) -> None:
        states = _optuna().trial.TrialState
        for trial in self._study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            folder = self._folder(trial)
            if RunFolder(folder).busy:
                continue
            starts = trial.user_attrs.get("starts", 1)
            whole = trial.params.keys() == self.space.keys()
            again = whole and starts < STARTS
            what = "it goes on" if again else f"it has failed after {starts} starts" if whole else "it had not begun"
            _log.warning("hardmine: trial %s: its process has ended: %s", folder.name, what)
            if again:
                about = {"folder": int(folder.name), "starts": starts + 1}
                self._study.enqueue_trial(trial.params, user_attrs=about)
            self._study.tell(trial.number, state=states.FAIL)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise InputError("sweep: Optuna is not installed: pip install 'hardmine[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def read_space(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """What is searched, in Hydra's grammar for sweeps.

    Args:
        arguments: KEY=VALUE.

    Returns:
        Arguments that are values, and distributions of Optuna's by key, as texts where there is a choice.

    Raises:
        InputError: a sweep that cannot be searched.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    fixed: list[str] = []
    space: dict[str, Any] = {}
    for argument in arguments:
        try:
            parsed = OverridesParser.create().parse_overrides([argument])[0]
        except HydraException:
            line = "cannot be read: put it in quotes, and see hardmine sweep --help"
            raise InputError(f"{argument}: {line}") from None
        key, sweep = parsed.get_key_element(), cast("Any", parsed.value()) if parsed.is_sweep_override() else None
        if sweep is None:
            fixed.append(argument)
        elif parsed.is_interval_sweep():
            log = "log" in sweep.tags
            if sweep.start >= sweep.end or (log and sweep.start <= 0):
                raise InputError(f"{argument}: the first must be less than the second{', and above 0' if log else ''}")
            space[key] = _between(sweep.start, sweep.end, log=log)
        elif parsed.is_range_sweep() and (values := list(sweep.range())):
            space[key] = _between(min(values), max(values), step=abs(sweep.step))
        elif parsed.is_choice_sweep() and (texts := list(dict.fromkeys(parsed.sweep_string_iterator()))):
            space[key] = _optuna().distributions.CategoricalDistribution(texts)
        else:
            raise InputError(f"{argument}: cannot be searched: take choice, range or interval")
    return fixed, space


def _between(low: Any, high: Any, **more: Any) -> Any:
    """Whole numbers where both ends are."""
    kinds = _optuna().distributions
    whole = isinstance(low, int) and isinstance(high, int)
    return (kinds.IntDistribution if whole else kinds.FloatDistribution)(low, high, **more)
