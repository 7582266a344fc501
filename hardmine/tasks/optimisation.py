"""How the weights of a task are moved: AdamW, a learning rate over the steps, and an average of what comes of it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from hardmine.arguments import look_at_number
from hardmine.errors import InputError


@dataclass(frozen=True)
class Optimisation:
    """AdamW with a learning rate that depends on the step alone, so that a resumed run has the same one.

    Attributes:
        lr: learning rate, the highest one where there is a schedule.
        weight_decay: as AdamW takes it.
        schedule: constant, or cosine: half a wave from `lr` at the end of the warm-up to 0 at the end of the run.
        warmup: optimiser steps in which the learning rate rises in a straight line to `lr`.
        ema: share, from 0 to below 1, of a moving average of the weights that stays in each step; the average is what
            is measured and written. None has no average.

    Raises:
        InputError: numbers out of range.
    """

    lr: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    ema: float | None = None

    def __post_init__(self) -> None:
        look_at_number("warmup", self.warmup, 0, math.inf, "optimiser steps", whole=True)
        if self.ema is not None and not 0 <= self.ema < 1:
            raise InputError(f"`ema` must be a share from 0 to below 1, or null, got {self.ema}", "task")

    @property
    def scheduled(self) -> bool:
        """Whether the learning rate changes at all."""
        return self.schedule != "constant" or self.warmup > 0

    def optimizer(self, parameters: Iterable[nn.Parameter], fused: bool = False) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay, fused=fused)

    def look_at_length(self, total: int) -> None:
        """See that a run is long enough for its schedule.

        Args:
            total: optimiser steps of the whole run; -1 where nobody knows.

        Raises:
            InputError: it is not.
        """
        if self.schedule == "cosine" and total < 0:
            raise InputError("`schedule`=cosine needs the end of the run: set trainer.max_steps or max_epochs", "task")
        if self.warmup and 0 <= total <= self.warmup:
            raise InputError(f"`warmup`={self.warmup} must be less than the {total} steps of the run: lower it", "task")

    def rate(self, step: int, total: int) -> float:
        """Learning rate of the update that follows so many.

        Args:
            step: updates made.
            total: optimiser steps of the whole run.
        """
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.schedule == "constant":
            return self.lr
        done = (step - self.warmup) / max(total - self.warmup, 1)
        return self.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def set_rate(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        """Put learning rate and weight decay where an optimiser, of a checkpoint perhaps, has others."""
        for group in optimizer.param_groups:
            group.update(lr=rate, weight_decay=self.weight_decay)
