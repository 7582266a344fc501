"""Checkpoints that are whole or absent, and the snapshot that a run is compared with."""

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from hardmine.files import write_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own writer may leave half a file when killed; this one writes beside it and renames."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))


class Snapshot(L.Callback):
    """Keeps the weights as they are when mining starts: the `before` of the final table.

    Args:
        path: of the checkpoint.
        step: optimiser steps made when it is taken.
    """

    def __init__(self, path: str, step: int) -> None:
        self.path, self.step = path, step
        self._before = True  # the step has not been met

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._before = trainer.global_step <= self.step

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._before and trainer.global_step >= self.step:  # several optimisers make several steps at once
            self._before = False
            trainer.save_checkpoint(self.path, weights_only=True)
