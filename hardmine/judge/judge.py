"""What a model makes of candidates: recognition accuracy, and which gate refuses them (R22, R24)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from hardmine.candidates import Candidates
from hardmine.judge.gates import Gate
from hardmine.judge.scoring import PixelRate, Scoring
from hardmine.rng import global_state_kept


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
    ) -> Tensor:
        """Start computing on the device; nothing waits for it.

        Args:
            model: maps `candidates.batch["image"]` to a prediction, which is kept with the candidates.
            candidates: N of them.
            forward_context: autocast, as the model is trained.

        Returns:
            (N, R + 2) float32: score, score of each region, and the number of the gate that refused or -1; see
            `verdicts`.
        """
        areas = len(candidates.miner.store.areas)
        chosen = candidates.mine.chosen.to(candidates.converted.image.device, non_blocking=True)

        def judged(module: nn.Module) -> tuple[Any, Tensor, Tensor]:
            with without_trace(module), forward_context():
                prediction = module(candidates.batch["image"])
            return prediction, *self.scoring(prediction, candidates.batch, areas, chosen)

        candidates.prediction, score, area_score = judged(model)
        refused = torch.full_like(score, -1)
        for number, gate in enumerate(self.gates):
            passed = gate(candidates.source, candidates.converted, candidates.capped, lambda other: judged(other)[1])
            refused = torch.where((refused < 0) & ~passed, number, refused)
        return torch.cat([score[:, None], area_score, refused[:, None]], dim=1)


def split(judged: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Score (N,), score of each region (N, R), and gate (N,) int64, of what a `Judge` gave."""
    return judged[:, 0], judged[:, 1:-1], judged[:, -1].long()


@contextmanager
def without_trace(module: nn.Module) -> Iterator[None]:
    """Evaluation inside a training run: no gradient, no BatchNorm update, no random number, every flag put back."""
    flags = {child: child.training for child in module.modules()}
    module.eval()
    try:
        with torch.no_grad(), global_state_kept():
            yield
    finally:
        for child, training in flags.items():
            child.training = training
