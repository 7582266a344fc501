"""One bar over the optimiser steps of a run, with what the search has found so far."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hardmine.length import total_steps


class MiningProgress(ProgressBar):
    """Steps done, loss, hit rate, pieces and buffer size; where the output is no terminal, a line now and then.

    Args:
        every: optimiser steps between lines where the output is no terminal.
    """

    def __init__(self, every: int = 50) -> None:
        super().__init__()
        self.every = every
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._total = -1  # steps

    def disable(self) -> None:
        """Lightning calls this on every rank but the first."""
        self.every = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._total = total_steps(trainer)
        if self.every and self._console.is_terminal:
            columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[found]}"), console=self._console)
            total = self._total if self._total > 0 else None
            self._task = self._bar.add_task("", total=total, found="", completed=trainer.global_step)
            self._bar.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if self._bar is not None:
            self._bar.update(self._task, completed=step)
            if step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
                self._bar.update(
                    self._task, found=self._found(trainer)
                )  # reads the loss: on a GPU the host waits for it
        elif self.every and step % self.every == 0:
            of = f"/{self._total}" if self._total > 0 else ""
            self._console.print(f"step {step}{of}  {self._found(trainer)}", soft_wrap=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @staticmethod
    def _found(trainer: L.Trainer) -> str:
        shown = {name: float(value) for name, value in trainer.progress_bar_metrics.items()}
        forms = {"loss": "{:.3f}", "hit_rate": "{:.0%}", "pieces": "{:.0f}", "buffer": "{:.0f}"}
        parts = [
            f"{name.replace('_', ' ')} {form.format(shown[name])}" for name, form in forms.items() if name in shown
        ]
        return "  ".join(parts)
