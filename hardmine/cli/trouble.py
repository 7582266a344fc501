"""Errors of training that are no fault of the program, in one line."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from textwrap import shorten
from types import TracebackType
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException

from hardmine.errors import DivergedError, InputError


@contextmanager
def told(trainer: Any, callbacks: Mapping[str, Any], folder: Any) -> Iterator[None]:
    """While training: what Lightning or a callback of the user's refuses, and losses that are no numbers.

    Args:
        trainer: that trains.
        callbacks: by their name in the config.
        folder: of the run.

    Raises:
        InputError: it was refused before the first step.
        SystemExit: with 1, after it.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        where = "" if isinstance(error, DivergedError) else _where(error, callbacks)
        if where is None:
            raise
        line = f"{where}{shorten(' '.join(str(error).split()), 300)}"
        if trainer.global_step == 0 and where:
            raise InputError(line) from None
        if trainer.is_global_zero:
            print(f"hardmine: error: {line} (run folder: {folder})", file=sys.stderr)
        raise SystemExit(1) from None


def _where(error: Exception, callbacks: Mapping[str, Any]) -> str | None:
    """The key of what refused; None where it is a fault of the program, whose traceback is wanted."""
    mine = {id(callback): name for name, callback in callbacks.items() if _is_foreign(callback)}
    trace: TracebackType | None = error.__traceback__
    found = "trainer: " if isinstance(error, MisconfigurationException) else None
    while trace is not None:
        name = mine.get(id(trace.tb_frame.f_locals.get("self")))
        found = found if name is None else f"callbacks.{name}: "
        trace = trace.tb_next
    return found


def _is_foreign(callback: Any) -> bool:
    return not type(callback).__module__.startswith("hardmine.")
