"""The moving average of a task's weights, in their place wherever the task is measured or written."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hardmine.judge import Average
from hardmine.ranks import Ranks

TRAINED = "trained_state_dict"  # of a checkpoint whose `state_dict` is the average


class Averaged:
    """An average that follows the updates of a fit. Lightning's own leaves the average in place of the weights at the
    end of a fit, from where no run goes on bit for bit.

    Args:
        decay: share of the average that stays in each step; None keeps no average, and nothing here does anything.
    """

    def __init__(self, decay: float | None) -> None:
        self.average = Average(0.0 if decay is None else decay)
        self.kept = decay is not None
        self._follows = False  # there is an average of the weights that are here
        self._saved: dict[str, Tensor] | None = None  # of a checkpoint, until the fit begins
        self._trained: dict[str, Tensor] | None = None  # the weights, while the average is in their place

    def begin(self, module: nn.Module) -> None:
        """With the fit: from the weights as they are, or from a checkpoint's average."""
        if self.kept:
            ranks = Ranks()
            self.average.start(module, self._saved or ranks.first(dict(module.state_dict())))
            self._follows, self._saved = True, None

    def follow(self, module: nn.Module, step: int) -> None:
        """After an update; each rank keeps the same average.

        The first steps count for more, as in TensorFlow's `ExponentialMovingAverage`: an average that still holds
        random weights recognises less than the weights do.

        Args:
            module: as it is now.
            step: updates before this one.
        """
        if self._follows:
            decay = min(self.average.decay, (1 + step) / (10 + step))
            self.average.follow(module, Ranks().buffers(module), decay)

    def put_in(self, module: nn.Module) -> None:
        """The average in place of the weights, until `take_out`."""
        self._go_on(module)
        if self._follows and self._trained is None:
            self._trained = self._exchange(module, self.average.state_dict())

    def take_out(self, module: nn.Module) -> None:
        if self._trained is not None:
            self._exchange(module, self._trained)
            self._trained = None

    @contextmanager
    def in_place(self, module: nn.Module) -> Iterator[None]:
        """Inside, the module is its average."""
        self.put_in(module)
        try:
            yield
        finally:
            self.take_out(module)

    def save(self, checkpoint: dict[str, Any], module: nn.Module) -> None:
        """Have a checkpoint hold the average as its weights, and beside it the weights where training goes on from."""
        self._go_on(module)
        if not self._follows:
            return
        if "optimizer_states" in checkpoint:
            checkpoint[TRAINED] = {**checkpoint["state_dict"], **(self._trained or {})}
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **self.average.state_dict()}

    def load(self, checkpoint: dict[str, Any], fit: bool) -> None:
        """Before a checkpoint's weights are loaded.

        Args:
            checkpoint: changed in place: what is in its `state_dict` is loaded.
            fit: training goes on from it; else it is measured.
        """
        self._follows, self._trained, self._saved = False, None, None  # weights come that this average is not of
        if fit and TRAINED in checkpoint:
            self._saved, checkpoint["state_dict"] = checkpoint["state_dict"], checkpoint[TRAINED]

    def _go_on(self, module: nn.Module) -> None:
        """From a checkpoint's average, where the fit had no step left to begin with."""
        if self._saved is not None:
            self.begin(module)

    @staticmethod
    @torch.no_grad()
    def _exchange(module: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Other values in a module's tensors; those that were there before."""
        own = module.state_dict()
        before = {name: own[name].clone() for name in tensors}
        for name, value in tensors.items():
            own[name].copy_(value)
        return before
