"""How well the model does while it is trained, against steps, seconds and candidates."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from lightning.pytorch.trainer.states import RunningStage, TrainerFn
from lightning.pytorch.utilities.model_helpers import is_overridden

from hardmine.errors import InputError
from hardmine.files import write_atomically
from hardmine.judge import without_trace
from hardmine.memory.tally import Tally
from hardmine.tasks.base import Task

Row = dict[str, float | None]

_STAGES = {"val": RunningStage.VALIDATING, "test": RunningStage.TESTING}


class Curve(L.Callback):
    """Measures `val` and `test` before the first step, every few steps and at the end; training goes on as without it.

    The file is a JSON list of rows with `step`; `seconds` of training so far, without those spent in measuring or in
    validation; what the search has come to, zeros where there is none: `candidates` and `pieces`, of them
    `neighbours` and `neighbour_pieces`, the rest being `first` and `first_pieces`; and every metric by the name that
    validation and test give it, null where it cannot be measured. With weight averaging the averaged weights are
    measured, as Lightning's own validation does. A resumed run goes on with the rows up to its step.

    Args:
        path: of the JSON file.
        every: optimiser steps between rows.

    Raises:
        InputError: `every` below 1; in training, a module that is no `Task`, or no DataModule.
    """

    def __init__(self, path: str, every: int) -> None:
        if every < 1:
            raise InputError(f"every must be at least 1 optimiser step, got {every}")
        self.path, self.every = Path(path), every
        self.rows: list[Row] = []
        self._seconds = 0.0  # of training, up to the latest pause
        self._since: float | None = None  # when training went on; None while it pauses
        self._loaders: dict[str, list[Any]] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        if not isinstance(pl_module, Task):
            raise InputError(f"Curve measures hardmine's tasks, got a {type(pl_module).__name__}: make it a Task")
        if trainer.datamodule is None:  # type: ignore[attr-defined]
            raise InputError("Curve needs a DataModule with `val` and `test`: give trainer.fit one")
        self._loaders.clear()
        # after all that follow a step (verdicts, averages), before the checkpoints, which keep the rows;
        # a new list, as Lightning is going through the old one
        others = [callback for callback in trainer.callbacks if callback is not self]  # type: ignore[attr-defined]
        last = [callback for callback in others if isinstance(callback, Checkpoint)]
        trainer.callbacks = [*(callback for callback in others if callback not in last), self, *last]  # type: ignore[attr-defined]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step == 0:
            self.rows, self._seconds = [], 0.0
        self.rows = [row for row in self.rows if (row["step"] or 0) <= trainer.global_step]
        if trainer.global_step % self.every == 0:
            self._add_row(trainer, pl_module)
        self._go_on()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every == 0:
            self._add_row(trainer, pl_module)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._pause(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._go_on()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._add_row(trainer, pl_module)
        self._pause(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [row.copy() for row in self.rows], "seconds": self._elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows, self._seconds = [row.copy() for row in state_dict["rows"]], state_dict["seconds"]

    def _add_row(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure, unless this step was measured already, as where gradients of several batches make one step."""
        if self.rows and self.rows[-1]["step"] == trainer.global_step:
            return
        training = self._since is not None
        self._pause(trainer)
        mining = getattr(trainer.datamodule, "mining", None)  # type: ignore[attr-defined]
        tally = Tally() if mining is None else mining.tally
        row: Row = {
            "step": trainer.global_step,
            "seconds": round(self._seconds, 3),
            "pieces": tally.pieces,
            "candidates": tally.candidates,
            "neighbours": tally.neighbours,
            "neighbour_pieces": tally.neighbour_pieces,
            "first": tally.candidates - tally.neighbours,
            "first_pieces": tally.pieces - tally.neighbour_pieces,
        }
        for name, value in self._measured(trainer, pl_module).items():
            row[name] = None if value != value else value  # JSON knows no NaN
        self.rows.append(row)
        if trainer.is_global_zero:
            text = "[\n" + ",\n".join(json.dumps(row) for row in self.rows) + "\n]\n"
            write_atomically(self.path, lambda file: file.write(text.encode()))
        if training:
            self._go_on()

    def _measured(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, float]:
        assert isinstance(pl_module, Task)
        context = trainer.precision_plugin.forward_context
        measured: dict[str, float] = {}
        # around the loaders too: an iterator over one draws a random number
        with without_trace(pl_module), _averaged(trainer, pl_module):
            for split, stage in _STAGES.items():
                with _in_stage(trainer, stage):
                    measured |= pl_module.evaluate(split, self._batches(trainer, split), context)
        return measured

    def _batches(self, trainer: L.Trainer, split: str) -> Iterator[Any]:
        """Batches of a split as Lightning's evaluation hands them to the module."""
        if split not in self._loaders:
            self._loaders[split] = list(_loaders(trainer, split))
        limit = getattr(trainer, f"limit_{split}_batches")
        for index, loader in enumerate(self._loaders[split]):
            for batch in islice(loader, _most(loader, limit)):
                batch = trainer.precision_plugin.convert_input(batch)
                batch = trainer.lightning_module._on_before_batch_transfer(batch, dataloader_idx=index)
                yield trainer.strategy.batch_to_device(batch, dataloader_idx=index)

    def _elapsed(self) -> float:
        return self._seconds + (0.0 if self._since is None else time.perf_counter() - self._since)

    def _pause(self, trainer: L.Trainer) -> None:
        if self._since is not None and trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize(trainer.strategy.root_device)  # what is queued there is training still
        self._seconds, self._since = self._elapsed(), None

    def _go_on(self) -> None:
        self._since = time.perf_counter()


def _loaders(trainer: L.Trainer, split: str) -> Iterable[Any]:
    """The loaders of a split, made once and kept, so that their processes are; shared out as Lightning does."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not is_overridden(f"{split}_dataloader", data, L.LightningDataModule):
        return
    if split == "test":  # fit has set up the others
        data.setup("test")
    made = getattr(data, f"{split}_dataloader")()
    for loader in made if isinstance(made, list | tuple) else [made]:
        yield trainer._data_connector._prepare_dataloader(loader, shuffle=False, mode=_STAGES[split])


def _most(loader: Any, limit: int | float) -> int | None:
    """Batches that a trainer's limit, a number or a share, allows; a loader used whole need not know its length."""
    if isinstance(limit, int):
        return limit
    return None if limit == 1 else int(len(loader) * limit)


@contextmanager
def _in_stage(trainer: L.Trainer, stage: RunningStage) -> Iterator[None]:
    """Hooks of the data ask the trainer whether they are training; mining does."""
    before = trainer.state.stage
    trainer.state.stage = stage
    try:
        yield
    finally:
        trainer.state.stage = before


@contextmanager
def _averaged(trainer: L.Trainer, pl_module: L.LightningModule) -> Iterator[None]:
    """The averaged weights in the module's place, where a callback averages them."""
    averages = [callback for callback in trainer.callbacks if isinstance(callback, WeightAveraging)]  # type: ignore[attr-defined]
    for callback in averages:
        callback.on_validation_epoch_start(trainer, pl_module)
    try:
        yield
    finally:
        for callback in reversed(averages):
            callback.on_validation_epoch_end(trainer, pl_module)
