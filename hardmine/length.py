"""How long a trainer trains."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lightning as L


def total_steps(trainer: "L.Trainer") -> int:
    """Optimiser steps of the whole fit, by its steps or its epochs; -1 where neither ends it."""
    total = trainer.estimated_stepping_batches
    return -1 if total == float("inf") else int(total)


def told_length(trainer: "L.Trainer", sources: int) -> str | None:
    """How many steps an epoch is, in one line; None where no epochs are counted.

    Args:
        trainer: that is about to train.
        sources: number of source images.
    """
    if trainer.max_epochs in (None, -1):
        return None
    steps, epochs = total_steps(trainer), trainer.max_epochs
    return f"an epoch of {sources} source images is {steps // max(epochs, 1)} steps: {epochs} epochs are {steps} steps"


def reopen_epoch(trainer: "L.Trainer") -> None:
    """Count an epoch that a stop cut short as begun and not as done, so that a run which goes on ends it.

    Args:
        trainer: whose fit has ended, before its checkpoint is written.
    """
    loop = trainer.fit_loop
    if loop.epoch_loop._num_ready_batches_reached():  # of Lightning's own, as nothing else says so
        return
    for counted in (loop.epoch_progress.total, loop.epoch_progress.current):
        progress: Any = counted  # declared as a kind that counts less
        progress.processed = progress.completed = progress.started - 1
