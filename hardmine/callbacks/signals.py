"""What a run does when it is asked to end: it finishes its step, keeps a checkpoint and says so."""

import signal
from typing import Any, NoReturn

import lightning as L
import torch
from torch import distributed

from hardmine.ending import CODES, leave, set_usual


class Signals(L.Callback):
    """Ends training after the step, or the last validation, in which SIGTERM, SIGINT or SIGUSR1 came to any rank.

    A second signal of the same kind does what it does to any process. Where Slurm sent SIGUSR1, the job is put into the
    queue again.

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
        set_usual(number)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._agree()
        if self.came is not None:
            loop = trainer.fit_loop
            if not loop.epoch_loop._should_check_val_fx(loop._data_fetcher):  # type: ignore[arg-type]
                trainer.limit_val_batches = 0  # Lightning validates at a stop, which a run that goes on would count
            trainer.should_stop = True

    def _agree(self) -> None:
        """What came to any rank; all of them ask at the same time."""
        seen = self._seen
        if self._group is not None:
            flag = torch.tensor([seen])
            distributed.all_reduce(flag, distributed.ReduceOp.MAX, group=self._group)
            seen = int(flag)
        if seen and self.came is None:
            self.came = signal.Signals(seen)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restore()  # from here on a signal ends the process where it stands
        self._agree()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self._before = {}

    def leave(self, folder: Any, step: int, kept: bool, first: bool) -> NoReturn:
        """End the process as the signal wants it.

        Args:
            folder: of the run.
            step: updates made.
            kept: a checkpoint was written.
            first: this is the rank that speaks.
        """
        assert self.came is not None
        again = f"resume={folder} goes on from there" if kept else "no checkpoint is kept (callbacks.checkpoint)"
        raise leave(self.came, f"ended after step {step}: {again}", first, kept)
