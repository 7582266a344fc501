"""Checkpoints that are whole or absent, and the snapshot that a run is compared with."""

import logging
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from hardmine.errors import InputError
from hardmine.files import write_atomically
from hardmine.finite import nan_weight
from hardmine.tasks.averaged import TRAINED

_log = logging.getLogger("hardmine")
# parts of a checkpoint by which a run goes on
_STATE = ("loops", "callbacks", "optimizer_states", "lr_schedulers", TRAINED)
_BEFORE = "-before"  # of the name of the checkpoint that the latest one took the place of


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own writer may leave half a file when killed; this one writes beside it and renames.

    A checkpoint `last.ckpt` whose weights are NaN is of no use to anybody and not written.
    The checkpoint that stood there before is kept beside it, `last-before.ckpt`, for the day that a disk loses one.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        path = Path(path)
        if path.stem == "last" and (name := nan_weight(checkpoint.get("state_dict", {}))):
            _log.warning("hardmine: %s: not written, as weights are NaN (%s)", path, name)
            return
        kept = before(path) if path.stem == "last" and is_whole(path) else None
        write_atomically(path, lambda file: torch.save(checkpoint, file), kept)


def before(path: Path) -> Path:
    """Where the checkpoint is kept that the one at `path` took the place of."""
    return path.with_name(f"{path.stem}{_BEFORE}{path.suffix}")


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is all there, by the checksums that its container holds of each of its parts."""
    try:
        with zipfile.ZipFile(path) as container:
            return container.testzip() is None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return False


def fitting_weights(path: Path, module: torch.nn.Module) -> dict[str, Any] | None:
    """The weights that a checkpoint holds for a module; None where they are for another, or it is no checkpoint."""
    try:
        weights = dict(torch.load(path, map_location="cpu", mmap=True, weights_only=True)["state_dict"])
        shapes = {name: tensor.shape for name, tensor in weights.items()}
    except Exception:  # whatever another file makes torch raise
        return None
    return weights if shapes == {name: tensor.shape for name, tensor in module.state_dict().items()} else None


def weights_alone(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a checkpoint holds beside the state of training; None where it holds nothing else."""
    kept = {name: value for name, value in checkpoint.items() if name not in _STATE}
    return kept if len(kept) < len(checkpoint) else None


def look_at_state(path: Path, mines: bool) -> None:
    """See that a checkpoint has all that a run goes on from; Lightning takes what is there and begins the rest anew.

    Args:
        path: of the checkpoint.
        mines: the run has a search.

    Raises:
        InputError: no checkpoint, or one without a part of it.
    """
    try:
        held = dict(torch.load(path, map_location="cpu", mmap=True, weights_only=True))
        parts = {
            "weights": held.get("state_dict"),
            "the state of the loop": dict(held.get("loops") or {}).get("fit_loop"),
            "the state of the optimizer": held.get("optimizer_states"),
            "the search": dict(held.get("callbacks") or {}).get("HardMining") or not mines,
        }
    except Exception as error:  # whatever another file makes torch raise
        raise InputError(
            f"{path}: cannot be read as a checkpoint ({type(error).__name__}): start the run anew"
        ) from None
    missing = [what for what, part in parts.items() if not part]
    if missing:
        raise InputError(
            f"{path}: {' and '.join(missing)} missing, without which the run cannot go on (a run that has come to its "
            f"end keeps them with keep=all): begin a new one from its weights with ckpt={path}"
        )


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
