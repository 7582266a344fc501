"""Losses that are no numbers: counted, and not trained on for ever."""

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor

from hardmine.errors import TrainingError
from hardmine.finite import look_at_weights, nan_weight


class Finite(L.Callback):
    """Counts batches whose loss is NaN or infinite; ends training after so many in a row on any rank.

    Args:
        patience: batches in a row.

    Raises:
        TrainingError: in training, after `patience` batches; at its end, where weights are NaN or infinite.
        InputError: a checkpoint to go on from has weights that are NaN.
    """

    def __init__(self, patience: int = 10) -> None:
        self.patience = patience
        self._counts = torch.zeros(2, dtype=torch.int64)  # in all, and in a row; on the device of the loss
        self._batches = 0

    @property
    def steps(self) -> int:
        """Batches without a finite loss so far, of this rank."""
        return int(self._counts[0])

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            bad = ~loss.detach().isfinite().all()
            counts = self._counts.to(loss.device)
            self._counts = torch.stack([counts[0] + bad, (counts[1] + 1) * bad])
        self._batches += 1
        alone_on_a_cpu = trainer.world_size == 1 and self._counts.is_cpu
        if alone_on_a_cpu or self._batches % self.patience == 0:  # elsewhere looking waits for the device
            over = bool(self._counts[1] >= self.patience)
            if trainer.strategy.reduce_boolean_decision(over, all=False):
                raise TrainingError(
                    f"the loss was NaN or infinite in the latest {self.patience} steps up to step "
                    f"{trainer.global_step} (trainer.patience_nonfinite): lower task.lr, or look at the labels and at "
                    "trainer.precision"
                )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        infinite = (name for name, value in pl_module.named_parameters() if not value.isfinite().all())
        if name := nan_weight(pl_module.state_dict()) or next(infinite, None):
            raise TrainingError(
                f"weights are NaN or infinite ({name}) after step {trainer.global_step}: lower task.lr or "
                "task.weight_decay, or look at the labels and at trainer.precision"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._counts = torch.tensor([state_dict["steps"], 0])

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        look_at_weights(str(trainer.ckpt_path), checkpoint["state_dict"])
