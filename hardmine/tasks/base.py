"""What the tasks share: measuring per environment, the names of the classes, the optimiser."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import isclose
from typing import Any

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torchmetrics import Metric

from hardmine.errors import InputError
from hardmine.finite import look_at_weights
from hardmine.length import total_steps
from hardmine.tasks.averaged import Averaged
from hardmine.tasks.metrics import PerClass, PerEnvironment
from hardmine.tasks.optimisation import Optimisation

_log = logging.getLogger("hardmine")

_FUSED = ("cpu", "cuda", "mps", "xpu")  # devices that torch has such a kernel for


class Task(L.LightningModule):
    """Plain automatic optimisation of a network; knows nothing of mining.

    A subclass gives `forward`, `loss` and `measured`.

    Args:
        net: the network.
        classes: names of the classes, in the order of the labels.
        metrics: makers of what is measured, by name; the first is `metric`, the one that counts.
        val_environments, test_environments: names, in the order of the batches' `environment` index.
        optimisation: how the weights are moved; None takes the defaults.
        channels_last: memory format in which convolutions run fastest on CPUs and on GPUs with tensor cores.
        class_metrics: makers of what is measured of each class, over all images of a split, by name.
    """

    def __init__(
        self,
        net: nn.Module,
        classes: Sequence[str],
        metrics: Mapping[str, Callable[[], Metric]],
        val_environments: Sequence[str],
        test_environments: Sequence[str],
        optimisation: Optimisation | None,
        channels_last: bool,
        class_metrics: Mapping[str, Callable[[], Metric]] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
            raise InputError(f"classes: the names of the classes are needed, got {classes!r}")
        self.net = net.to(memory_format=torch.channels_last) if channels_last else net
        self.classes = tuple(classes)
        self.metric = next(iter(metrics))
        self.optimisation = optimisation or Optimisation()
        self.averaged = Averaged(self.optimisation.ema)
        self.fused = False  # the optimiser is one kernel: faster, and a few last bits differ
        self._total = -1  # optimiser steps of the fit
        self.measures = nn.ModuleDict(
            {
                f"{split}/{name}": PerEnvironment(factory, environments)
                for split, environments in (("val", val_environments), ("test", test_environments))
                for name, factory in metrics.items()
            }
        )
        for split in ("val", "test"):
            for name, factory in (class_metrics or {}).items():
                self.measures[f"{split}/{name}"] = PerClass(factory, self.classes)

    def loss(self, batch: dict[str, Any]) -> Tensor:
        """What training makes small, a scalar float32, of a batch on the device."""
        raise TypeError(f"{type(self).__name__} must say what is learned")

    def measured(self, batch: dict[str, Any]) -> tuple[Any, Any]:
        """Prediction and truth of a batch, as the metrics take them."""
        raise TypeError(f"{type(self).__name__} must say what is measured")

    def figures(self, split: str) -> list[str]:
        """Names of all that may be logged of a split, the main one first; environments that are not met are missing."""
        names = []
        for key, measure in self._of(split):
            parts = measure.classes if isinstance(measure, PerClass) else measure.names
            names += [key if part == PerEnvironment.ALL else f"{key}/{part}" for part in parts]
        return names

    def evaluate(
        self,
        split: str,
        batches: Iterable[dict[str, Any]],
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> dict[str, float]:
        """What Lightning's validation or test would log of these batches; nothing is logged.

        Every rank must take part. The caller sees to evaluation mode and to gradients.

        Args:
            split: `val` or `test`.
            batches: of the split, on the device, as `validation_step` takes them.
            forward_context: autocast, as the trainer's validation has it.

        Returns:
            Values by the names that are logged, for instance `test/miou/night`; NaN where nothing can be measured.
        """
        for _, measure in self._of(split):
            measure.reset()
        with self.averaged.in_place(self):
            for batch in batches:
                with forward_context():
                    self._count(split, batch)
        return {name: float(value) for name, value in self._values(split)}

    def on_train_start(self) -> None:
        self.averaged.begin(self)
        step, optimizers = self.trainer.global_step, self.trainer.optimizers
        if step and self.trainer.is_global_zero:
            had, has = optimizers[0].param_groups[0]["lr"], self.optimisation.rate(step - 1, self._total)
            if not isclose(had, has, rel_tol=1e-6, abs_tol=1e-12):
                _log.warning(
                    "hardmine: the learning rate of step %d is %.3g, and was %.3g where the run was stopped: task.lr, "
                    "its schedule or the length of the run is another",
                    *(step, has, had),
                )
        for optimizer in optimizers:  # a checkpoint has those of the config that it was made with
            self.optimisation.set_rate(optimizer, self.optimisation.rate(step, self._total))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if self.optimisation.scheduled:
            rate = self.optimisation.rate(self.trainer.global_step, self._total)
            for optimizer in self.trainer.optimizers:
                self.optimisation.set_rate(optimizer, rate)
            self.log("lr", rate, batch_size=1)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self._log_loss(loss, len(batch["image"]))
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.averaged.follow(self, self.trainer.global_step)  # before a checkpoint is written with the end of the batch

    def on_validation_epoch_start(self) -> None:
        self.averaged.put_in(self)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._count("val", batch)

    def on_validation_epoch_end(self) -> None:
        self.averaged.take_out(self)
        self._report("val")

    def on_test_epoch_start(self) -> None:
        self.averaged.put_in(self)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self._count("test", batch)

    def on_test_epoch_end(self) -> None:
        self.averaged.take_out(self)
        self._report("test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self._trainer is not None:
            self._total = total_steps(self._trainer)
            self.optimisation.look_at_length(self._total)
        return self.optimisation.optimizer(self.parameters(), self.fused and self.device.type in _FUSED)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["classes"] = list(self.classes)
        self.averaged.save(checkpoint, self)

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
        fitting = self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING
        if fitting:  # the average, of which nobody sees anything once the weights are in its place
            look_at_weights(str(self.trainer.ckpt_path), checkpoint["state_dict"])
        self.averaged.load(checkpoint, fitting)

    def _count(self, split: str, batch: dict[str, Any]) -> None:
        prediction, target = self.measured(batch)
        for _, measure in self._of(split):
            measure.update(prediction, target, batch["environment"])

    def _report(self, split: str) -> None:
        for name, value in self._values(split):
            # the ranks agree already; Lightning warns where it is not told to take their mean
            self.log(name, value, prog_bar=name == f"val/{self.metric}", sync_dist=True)

    def _values(self, split: str) -> Iterator[tuple[str, Tensor]]:
        """Names and values of what was counted, which is forgotten."""
        for key, measure in self._of(split):
            for part, value in measure.compute().items():
                yield key if part == PerEnvironment.ALL else f"{key}/{part}", value
            measure.reset()

    def _of(self, split: str) -> list[tuple[str, PerEnvironment]]:
        pairs = [(key, measure) for key, measure in self.measures.items() if key.startswith(f"{split}/")]
        return [(key, measure) for key, measure in pairs if isinstance(measure, PerEnvironment)]

    def _log_loss(self, loss: Tensor, rows: int) -> None:
        self.log("loss", loss.detach(), prog_bar=True, batch_size=rows)
