"""Which candidates become learning data."""

from math import ceil
from typing import Any

import torch
from torch import Tensor

from hardmine.memory.drops import Drops
from hardmine.records import Recipe

_LATEST = 64  # candidates that `hardest` is a share of; few, since a model that learns leaves old ones behind
_LEAST = 4  # of these are among the hardest


def is_hard(score: Tensor, threshold: float) -> Tensor:
    """Whether each candidate becomes learning data where Th1 is a number (R24, R25, D47).

    Args:
        score: recognition accuracy in [0, 1], any shape; NaN where there was nothing to recognise.
        threshold: Th1. 0 admits nothing, anything above 1 admits every scored candidate.

    Returns:
        bool, the shape of `score`: strictly below Th1. NaN is never hard.
    """
    return score < threshold


class Hardness:
    """Compares the drop of each candidate's parameter with those of the latest candidates.

    Args:
        targets: M, stored parameters.
        hardest: only drops as large as this share of the latest ones are hard, in (0, 1]; 1 takes all.
        threshold: Th1, below which a hard score must lie as well (R24); None leaves it to `hardest` alone.

    Attributes:
        drops: what is known of each parameter.
        latest: drops of the latest candidates, 64 or, where `hardest` is small, as many as have four among them; NaN
            left out.
    """

    def __init__(self, targets: int, hardest: float = 1.0, threshold: float | None = None) -> None:
        if not 0 < hardest <= 1:
            raise ValueError(f"hardest must be a share in (0, 1], got {hardest}")
        self.hardest, self.threshold = hardest, threshold
        self.drops = Drops(targets)
        self.latest = torch.empty(0)

    def __call__(self, candidates: Recipe, score: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Learn from N scores, and tell what is hard.

        Args:
            candidates: N rows.
            score: (N,) recognition accuracy in [0, 1]; NaN where there was nothing to recognise.
            before: (N,) the drop of the piece whose neighbour a candidate is; 0 where there is none.

        Returns:
            hard (N,) bool, and drop (N,) float32, see `Drops.look`.
        """
        drop = self.drops.look(candidates, score, before)
        if self.hardest < 1:
            self.latest = torch.cat([self.latest, drop[~drop.isnan()]])[-max(_LATEST, ceil(_LEAST / self.hardest)) :]
        return self._holds(score, drop), drop

    def still(self, rows: Recipe, accuracy: Tensor) -> Tensor:
        """Whether pieces are hard by what is known of their parameters now, so that these are expanded (R36; D56, D69).

        A parameter that the store does not have, or that was never scored, is known by its own piece alone, which was
        hard when it was scored last.

        Args:
            rows: N pieces.
            accuracy: (M,) latest recognition accuracy under each stored parameter, NaN where there is none.

        Returns:
            (N,) bool: hard under any parameter that they hold.
        """
        target = rows.target.clamp(min=0).long()
        known = (rows.target >= 0) & ~accuracy[target].isnan()
        hard = self._holds(accuracy[target], self.drops.of(target))
        return (rows.counted & (hard | ~known)).any(1)

    def _holds(self, score: Tensor, drop: Tensor) -> Tensor:
        """What a share and Th1 say together, in the shape of both."""
        hard = ~drop.isnan() if self.hardest == 1 else self._among_hardest(drop)
        return hard if self.threshold is None else hard & is_hard(score, self.threshold)

    def _among_hardest(self, drop: Tensor) -> Tensor:
        if not len(self.latest):
            return torch.zeros_like(drop, dtype=torch.bool)
        bar, most = self.latest.quantile(1 - self.hardest), self.latest.max()
        if bar == most:  # more than that share lie at the top, as where a detector sees nothing: all are as hard
            less = self.latest[self.latest < most]
            bar = less.max() if len(less) else most
        return drop > bar

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and a number."""
        return {"drops": self.drops.state_dict(), "latest": self.latest.clone()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.drops.load_state_dict(saved["drops"])
        self.latest = saved["latest"].clone()
