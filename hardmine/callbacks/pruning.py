"""Ends a run that validates worse than others did."""

import logging
from collections.abc import Callable

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from hardmine.outcome import PrunedError

_log = logging.getLogger("hardmine")


class Pruning(L.Callback):
    """Asks after each validation whether the run is worth going on with; the ranks do what the first one says.

    Args:
        metric: what runs are compared by; the figure on `val` is looked at. None: the task's main one.
        worse: takes the step and the figure, and says whether to end.
    """

    def __init__(self, metric: str | None, worse: Callable[[int, float], bool]) -> None:
        self.metric, self.worse = metric, worse
        self._told = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        name = f"val/{getattr(pl_module, 'metric', '')}" if self.metric is None else self.metric
        if name not in trainer.callback_metrics:
            name = f"val/{name.split('/')[1] if '/' in name else name}"
        if name not in trainer.callback_metrics:
            if not self._told and trainer.is_global_zero:
                _log.warning("hardmine: pruner: validation has no %s: nothing is pruned", name)
            self._told = True
            return
        value = float(trainer.callback_metrics[name])
        if trainer.strategy.broadcast(self.worse(trainer.global_step, value)):
            raise PrunedError(f"{name} of {value:.3g} after step {trainer.global_step} is worse than of the others")
