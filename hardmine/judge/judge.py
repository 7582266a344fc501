"""What a model makes of candidates: recognition accuracy, and which gate refuses them (R22, R24)."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from hardmine.candidates import Candidates
from hardmine.judge.average import Average
from hardmine.judge.gates import Gate
from hardmine.judge.scoring import PixelRate, Scoring


class Judge:
    """Scores candidates and shows them to the gates.

    Args:
        scoring: recognition accuracy of what the model gives.
        gates: what a hard candidate must pass as well.
    """

    def __init__(self, scoring: Scoring | None = None, gates: Sequence[Gate] = ()) -> None:
        self.scoring = scoring or PixelRate()
        self.gates = list(gates)

    def __call__(
        self,
        model: nn.Module,
        candidates: Candidates,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        average: Average | None = None,
    ) -> Tensor:
        """Start computing on the device; nothing waits for it.

        Args:
            model: maps `candidates.batch["image"]` to a prediction, which is kept with the candidates.
            candidates: N of them.
            forward_context: autocast, as the model is trained.
            average: of the model, which judges in its place; None takes the model as it is.

        Returns:
            (N, R + 2) float32: score, score of each region, and the number of the gate that refused or -1; see
            `verdicts`.
        """
        areas = len(candidates.miner.store.areas)
        chosen = candidates.mine.chosen.to(candidates.converted.image.device, non_blocking=True)

        def predicted(module: nn.Module) -> Any:
            with forward_context():
                return module(candidates.batch["image"])

        def judged(of: Average) -> tuple[Any, Tensor, Tensor]:
            prediction = of(model, predicted)
            return prediction, *self.scoring(prediction, candidates.batch, areas, chosen)

        candidates.prediction, score, area_score = judged(average or Average(0.0))
        refused = torch.full_like(score, -1)
        for number, gate in enumerate(self.gates):
            passed = gate(candidates.source, candidates.converted, candidates.capped, lambda other: judged(other)[1])
            refused = torch.where((refused < 0) & ~passed, number, refused)
        return torch.cat([score[:, None], area_score, refused[:, None]], dim=1)


def split(judged: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Score (N,), score of each region (N, R), and gate (N,) int64, of what a `Judge` gave."""
    return judged[:, 0], judged[:, 1:-1], judged[:, -1].long()
