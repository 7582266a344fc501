"""What the tasks share: measuring per environment, the names of the classes, the optimiser."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from hardmine.errors import InputError
from hardmine.tasks.metrics import PerEnvironment


class Task(L.LightningModule):
    """Plain automatic optimisation of a network with AdamW; knows nothing of mining.

    A subclass gives `forward`, `training_step` and `measured`.

    Args:
        net: the network.
        classes: names of the classes, in the order of the labels.
        metrics: makers of what is measured, by name; the first is `metric`, the one that counts.
        val_environments, test_environments: names, in the order of the batches' `environment` index.
        lr: learning rate.
        weight_decay: as AdamW takes it.
        channels_last: memory format in which convolutions run fastest on CPUs and on GPUs with tensor cores.
    """

    def __init__(
        self,
        net: nn.Module,
        classes: Sequence[str],
        metrics: Mapping[str, Callable[[], Metric]],
        val_environments: Sequence[str],
        test_environments: Sequence[str],
        lr: float,
        weight_decay: float,
        channels_last: bool,
    ) -> None:
        super().__init__()
        if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
            raise InputError(f"classes: the names of the classes are needed, got {classes!r}")
        self.net = net.to(memory_format=torch.channels_last) if channels_last else net
        self.classes = tuple(classes)
        self.metric = next(iter(metrics))
        self.lr, self.weight_decay = lr, weight_decay
        self.measures = nn.ModuleDict(
            {
                f"{split}/{name}": PerEnvironment(factory, environments)
                for split, environments in (("val", val_environments), ("test", test_environments))
                for name, factory in metrics.items()
            }
        )

    def measured(self, batch: dict[str, Any]) -> tuple[Any, Any]:
        """Prediction and truth of a batch, as the metrics take them."""
        raise TypeError(f"{type(self).__name__} must say what is measured")

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._count("val", batch)

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._count("test", batch)

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["classes"] = list(self.classes)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights whose outputs mean something else.

        Raises:
            InputError: the checkpoint was trained on other classes.
        """
        theirs = tuple(checkpoint.get("classes", self.classes))
        if theirs != self.classes:
            raise InputError(
                f"checkpoint: trained on the classes {', '.join(theirs)}, but the data has {', '.join(self.classes)}"
            )

    def _count(self, split: str, batch: dict[str, Any]) -> None:
        prediction, target = self.measured(batch)
        for _, measure in self._of(split):
            measure.update(prediction, target, batch["environment"])

    def _report(self, split: str) -> None:
        for key, measure in self._of(split):
            for environment, value in measure.compute().items():
                whole = environment == PerEnvironment.ALL
                shown = key == f"val/{self.metric}" and whole
                # the ranks agree already; Lightning warns where it is not told to take their mean
                self.log(key if whole else f"{key}/{environment}", value, prog_bar=shown, sync_dist=True)
            measure.reset()

    def _of(self, split: str) -> list[tuple[str, PerEnvironment]]:
        pairs = [(key, measure) for key, measure in self.measures.items() if key.startswith(f"{split}/")]
        return [(key, measure) for key, measure in pairs if isinstance(measure, PerEnvironment)]

    def _log_loss(self, loss: Tensor, rows: int) -> None:
        self.log("loss", loss.detach(), prog_bar=True, batch_size=rows)
