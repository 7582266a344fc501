"""What a run does when it is asked to end: it finishes its step, keeps a checkpoint and says so."""

import logging
import os
import signal
import subprocess
from typing import Any

import lightning as L
import torch
from torch import distributed

_log = logging.getLogger("hardmine")
# numbers of signals by how they end a run; SIGUSR1 is what Slurm sends where the time of a job is nearly up
CODES = {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 128 + signal.SIGINT, signal.SIGUSR1: 0}


class Signals(L.Callback):
    """Ends training after the step in which SIGTERM, SIGINT or SIGUSR1 came to any of the ranks.

    A second signal of the same kind does what it always does. Where Slurm sent SIGUSR1, the job is put into the queue
    again.

    Attributes:
        came: the signal; None where none did.
    """

    def __init__(self) -> None:
        self.came: signal.Signals | None = None
        self._seen = 0
        self._before: dict[signal.Signals, Any] = {}
        self._group: Any = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.world_size > 1:  # ranks agree on the CPU, where no device waits for them
            self._group = distributed.new_group(backend="gloo")
        self._before = {number: signal.signal(number, self._note) for number in CODES}

    def _note(self, number: int, frame: Any) -> None:
        self._seen = number
        signal.signal(number, self._before[signal.Signals(number)] or signal.SIG_DFL)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        seen = self._seen
        if self._group is not None:
            flag = torch.tensor([seen])
            distributed.all_reduce(flag, distributed.ReduceOp.MAX, group=self._group)
            seen = int(flag)
        if seen and self.came is None:
            self.came = signal.Signals(seen)
            trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self._before = {}

    def leave(self, folder: Any, step: int, kept: bool, first: bool) -> None:
        """End the process as the signal wants it.

        Args:
            folder: of the run.
            step: updates made.
            kept: a checkpoint was written.
            first: this is the rank that speaks.
        """
        assert self.came is not None
        job = os.environ.get("SLURM_JOB_ID") if self.came == signal.SIGUSR1 else None
        if first:
            again = (
                "no checkpoint is kept (callbacks.checkpoint)" if not kept else f"resume={folder} goes on from there"
            )
            _log.warning("hardmine: %s: ended after step %d: %s", self.came.name, step, again)
            if job and kept:
                _log.warning("hardmine: job %s is put into the queue again", job)
                subprocess.run(["scontrol", "requeue", job], check=False)
        raise SystemExit(CODES[self.came])
