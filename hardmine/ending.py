"""How a process ends that a signal asks to."""

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_log = logging.getLogger("hardmine")
# numbers of signals by how they end a run; SIGUSR1 is what Slurm sends where the time of a job is nearly up
CODES = {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 128 + signal.SIGINT, signal.SIGUSR1: 0}


class AskedError(BaseException):
    """A signal came where no step has to be finished first.

    Attributes:
        number: of the signal.
        left: what there is to go on with.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)
        self.left = "ended outside of training: no checkpoint is kept"


@contextmanager
def heeded(first: Callable[[], bool]) -> Iterator[None]:
    """A signal ends what is done inside, in one line.

    Args:
        first: whether this process is the one that speaks.
    """
    owner = os.getpid()

    def ask(number: int, frame: Any) -> None:
        if os.getpid() == owner:  # loader processes are ended by the one that started them
            set_usual(number)
            raise AskedError(number)

    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, ask) for number in CODES} if here else {}
    try:
        yield
    except AskedError as asked:
        raise leave(asked.number, asked.left, first()) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def set_usual(number: int) -> None:
    """Have a signal do what it does to any process."""
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def leave(number: signal.Signals, left: str, first: bool, again: bool = True) -> SystemExit:
    """Say why the process ends; where Slurm sent SIGUSR1, the job is put into the queue again.

    Args:
        number: of the signal.
        left: what there is to go on with.
        first: this process is the one that speaks.
        again: the job may begin again.

    Returns:
        What ends the process as the signal wants it.
    """
    job = os.environ.get("SLURM_JOB_ID") if number == signal.SIGUSR1 else None
    if first:
        _log.warning("hardmine: %s: %s", number.name, left)
        if job and again:
            _log.warning("hardmine: job %s is put into the queue again", job)
            try:
                subprocess.run(["scontrol", "requeue", job], check=False)
            except OSError as error:
                _log.warning("hardmine: scontrol: %s: start job %s again by hand", error.strerror, job)
    return SystemExit(CODES[number])
