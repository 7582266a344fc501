"""How one run of a sweep ended, as a file in its folder: a run that ends badly ends nothing but itself."""

import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from hardmine.errors import InputError, TrainingError
from hardmine.files import is_full, read_json, unwritten, write_atomically
from hardmine.runs import RunFolder

Status = Literal["done", "pruned", "refused", "crashed", "running", "unfinished"]
FILE = "outcome.json"


class PrunedError(Exception):
    """The run is worse than others were at the same step, and is not worth its end."""


@dataclass(frozen=True)
class Outcome:
    """What a run of a sweep came to.

    Attributes:
        overrides: what it was started with.
        status: how it ended; unfinished where it has not and no process is at work in its folder.
        line: what was wrong.
        seconds: it took, with what it took before it was stopped.
    """

    overrides: Sequence[str]
    status: Status = "unfinished"
    line: str = ""
    seconds: float = 0.0

    def save(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2) + "\n"
        write_atomically(folder / FILE, lambda file: file.write(text.encode()))

    @classmethod
    def load(cls, folder: Path) -> "Outcome":
        """That of a run, whether it has ended or not."""
        run = RunFolder(folder)
        if (folder / FILE).is_file():
            try:
                found = cls(**read_json(folder / FILE))
            except TypeError:
                raise InputError(f"{folder / FILE}: is damaged: delete it to run this point anew") from None
        else:
            found = cls(run.overrides, "done" if (folder / "summary.json").is_file() else "unfinished")
        return replace(found, status="running") if found.status == "unfinished" and run.busy else found


@contextmanager
def recorded(
    folder: Path, overrides: Sequence[str], bad: tuple[type[Exception], ...], explain: Callable[[Exception], str]
) -> Iterator[None]:
    """Keep how a run ends in its folder, and go on after one that is refused, crashes or is pruned.

    What ends the process passes, a signal and a full disk among it: the run is unfinished then.

    Args:
        folder: of the run.
        overrides: what it was started with.
        bad: what bad input is told with.
        explain: the one line of it.
    """
    before = Outcome.load(folder)  # of the run that this one goes on with
    outcome = Outcome(before.overrides or list(overrides), seconds=before.seconds)
    outcome.save(folder)
    started = time.perf_counter()
    status: Status = "done"
    line = ""
    try:
        yield
    except PrunedError as error:
        status, line = "pruned", str(error)
    except bad as error:
        status, line = "refused", explain(error)
    except TrainingError as error:
        status, line = "crashed", str(error)
    except Exception as error:
        if is_full(error):
            raise
        said = unwritten(error, folder)
        if said is None:
            traceback.print_exc()
        status, line = "crashed", said or " ".join(f"{type(error).__name__}: {error}".split())
    seconds = round(before.seconds + time.perf_counter() - started, 1)
    replace(outcome, status=status, line=line, seconds=seconds).save(folder)
