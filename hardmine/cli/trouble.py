"""Errors of training that are no fault of the program, in one line."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from textwrap import shorten
from types import TracebackType
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException

from hardmine.errors import InputError, TrainingError


@contextmanager
def explained(trainer: Any, callbacks: Mapping[str, Any]) -> Iterator[None]:
    """While training: what Lightning or a callback of the user's refuses.

    Args:
        trainer: that trains.
        callbacks: by their name in the config.

    Raises:
        InputError: it was refused before the first step.
        TrainingError: after it.
    """
    try:
        yield
    except (InputError, TrainingError):
        raise
    except Exception as error:
        key = _key(error, callbacks)
        if key is None:
            raise
        kind = TrainingError if trainer.global_step else InputError
        raise kind(f"{key}: {shorten(' '.join(str(error).split()), 300)}") from None


def _key(error: Exception, callbacks: Mapping[str, Any]) -> str | None:
    """The key of what refused; None where it is a fault of the program, whose traceback is wanted."""
    foreign = {id(one): name for name, one in callbacks.items() if not type(one).__module__.startswith("hardmine.")}
    found = "trainer" if isinstance(error, MisconfigurationException) else None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        name = foreign.get(id(trace.tb_frame.f_locals.get("self")))
        found = found if name is None else f"callbacks.{name}"
        trace = trace.tb_next
    return found
