"""Errors of training that are no fault of the program, in one line."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from textwrap import shorten
from types import TracebackType
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from hardmine.errors import InputError, TrainingError
from hardmine.files import unwritten

_GONE = "imed out|timeout|closed by peer|reset by peer"  # as torch.distributed says it


@contextmanager
def explained(trainer: Any, callbacks: Mapping[str, Any], timeout: float, folder: Any) -> Iterator[None]:
    """While training: what Lightning or a callback of the user's refuses, and ranks that are gone.

    Args:
        trainer: that trains.
        callbacks: by their name in the config.
        timeout: seconds that ranks wait for one another.
        folder: of the run.

    Raises:
        InputError: it was refused before the first step.
        TrainingError: after it. One rank alone says what all of them meet.
    """
    try:
        yield
    except InputError:
        raise
    except TrainingError:
        if not trainer.is_global_zero:
            raise SystemExit(1) from None
        raise
    except Exception as error:
        if trainer.world_size > 1 and isinstance(error, RuntimeError) and re.search(_GONE, str(error)):
            raise TrainingError(
                f"another process of the run is gone or has not answered for {timeout:g} s (timeout): resume={folder} "
                "goes on from the last checkpoint"
            ) from None
        key = None if unwritten(error) else _key(error, callbacks)
        if key is None:
            raise
        kind = TrainingError if trainer.global_step else InputError
        raise kind(f"{key}: {shorten(' '.join(str(error).split()), 300)}") from None


def _key(error: Exception, callbacks: Mapping[str, Any]) -> str | None:
    """The key of what refused; None where it is a fault of the program, whose traceback is wanted."""
    foreign = {id(one): name for name, one in callbacks.items() if _is_the_users(one)}
    found = "trainer" if isinstance(error, MisconfigurationException) else None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        name = foreign.get(id(trace.tb_frame.f_locals.get("self")))
        found = found if name is None else f"callbacks.{name}"
        trace = trace.tb_next
    return found


def _is_the_users(callback: Any) -> bool:
    """What is saved when is chosen by the user as well, but saving calls all of the program."""
    if isinstance(callback, EarlyStopping):  # it looks at a figure that the user names
        return True
    return not type(callback).__module__.startswith("hardmine.") and not isinstance(callback, Checkpoint)
