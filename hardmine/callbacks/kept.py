"""Which checkpoints a run keeps, and when it ends early: by what its validation says."""

import os
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch import callbacks

from hardmine.files import link


class _Movable(callbacks.ModelCheckpoint):
    """Lightning's, in whose state the files have names alone: a run folder may be moved before its run goes on."""

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        state["best_k_models"] = {Path(path).name: value for path, value in state["best_k_models"].items()}
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = Path(state[name]).name
        return {**state, "dirpath": ""}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        folder = str(self.dirpath)
        found = {**state_dict, "dirpath": self.dirpath}
        found["best_k_models"] = {os.path.join(folder, name): v for name, v in state_dict["best_k_models"].items()}
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            found[name] = os.path.join(folder, state_dict[name]) if state_dict[name] else ""
        super().load_state_dict(found)


class LastModelCheckpoint(_Movable):
    """Lightning's, which waits for a validation that follows the step where other callbacks remember what it says.

    Otherwise a run that is stopped goes on without this validation, and ends at another step than it would have.
    """

    _waits = False

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        loop = trainer.fit_loop
        remember = any(getattr(one, "monitor", None) for one in trainer.callbacks)  # type: ignore[attr-defined]
        # of Lightning's own, as nothing else says so before
        self._waits = bool(remember and loop.epoch_loop._should_check_val_fx(loop._data_fetcher))  # type: ignore[arg-type]
        if not self._waits:
            super().on_train_batch_end(trainer, *args)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._waits:
            self._waits = False
            super().on_train_batch_end(trainer, pl_module, None, None, 0)
        super().on_validation_end(trainer, pl_module)


class BestModelCheckpoint(_Movable):
    """Keeps the weights that validated best as `best-STEP.ckpt`, and the best of all as `best.ckpt`.

    Args:
        dirpath: folder of the checkpoints.
        monitor: figure of validation.
        mode: max or min.
        save_top_k: how many are kept.
    """

    def __init__(self, dirpath: str, monitor: str, mode: str, save_top_k: int = 3) -> None:
        super().__init__(
            dirpath,
            "best-{step:06d}",
            monitor,
            mode=mode,
            save_top_k=save_top_k,
            save_weights_only=True,  # a run goes on from last.ckpt
            auto_insert_metric_name=False,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    @property
    def best(self) -> Path | None:
        """The checkpoint that validated best; None where there is none."""
        return Path(self.best_model_path) if self.best_model_path and Path(self.best_model_path).is_file() else None

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        before = self.best_model_path
        super().on_validation_end(trainer, pl_module)
        if trainer.is_global_zero and self.best_model_path != before and self.best is not None:
            link(self.best, self.best.with_name("best.ckpt"))


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's, which takes the patience of a run that goes on from its config and not from the checkpoint."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.stopping_reason_message = None  # of the fit before

    @property
    def line(self) -> str | None:
        """Why it ended the fit; None where it did not."""
        if self.stopping_reason_message is None:
            return None
        return (
            f"{self.monitor} was not better in the latest {self.wait_count} validations (best {self.best_score:.3g})"
            if self.wait_count >= self.patience
            else f"{self.monitor} is no number any more"
        )
