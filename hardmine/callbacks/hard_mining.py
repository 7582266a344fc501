"""The adapter between Lightning and the miner."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from torch import Tensor

from hardmine.data.mining import KEY, Candidates
from hardmine.ledger import Ledger
from hardmine.rng import global_state_kept
from hardmine.scoring import PixelRate
from hardmine.threshold import DEFAULT


class HardMining(L.Callback):
    """Scores the candidates of each batch with the current model and hands those below Th1 to the buffer (R24, R41).

    The scores are computed before the training step and read after it, when a GPU has long finished them, so that
    nothing waits.

    Args:
        threshold: Th1, recognition accuracy in [0, 1] under which a candidate becomes a piece.
        scoring: recognition accuracy of logits.
        ledger: folder that records every verdict; None keeps no record.
    """

    def __init__(self, threshold: float = DEFAULT, scoring: PixelRate | None = None, ledger: str | None = None) -> None:
        self.threshold = threshold
        self.scoring = scoring or PixelRate()
        self.ledger = Ledger(ledger) if ledger is not None else None
        self._scores: Tensor | None = None
        self._copied: torch.cuda.Event | None = None  # when the scores have reached the CPU from a GPU

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.ledger is not None and trainer.is_global_zero:
            self.ledger.truncate(trainer.global_step)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        candidates: Candidates | None = batch.get(KEY) if isinstance(batch, dict) else None
        if candidates is None:
            return
        offered, areas = candidates.batch, len(candidates.miner.store.areas)
        with without_trace(pl_module), trainer.precision_plugin.forward_context():
            logits = pl_module(offered["image"])
        score, area_score = self.scoring(logits, offered["target"], offered["regions"], areas)
        candidates.prediction = logits
        self._scores = torch.cat([score[:, None], area_score], dim=1)
        if trainer.world_size > 1:
            everyone = self._scores.new_empty(trainer.world_size * len(self._scores), self._scores.shape[1])
            torch.distributed.all_gather_into_tensor(everyone, self._scores)
            self._scores = everyone
        if self._scores.is_cuda:
            pinned = torch.empty(self._scores.shape, pin_memory=True)
            self._scores = pinned.copy_(self._scores, non_blocking=True)
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._scores is None:
            return
        if self._copied is not None:
            self._copied.synchronize()  # of the copy alone: the training step queued behind it goes on
        candidates: Candidates = batch[KEY]
        scores, self._scores = self._scores, None
        recipe, verdict = candidates.miner.admit(candidates.recipe, scores[:, 0], scores[:, 1:], self.threshold)
        share = len(scores) // trainer.world_size
        candidates.score = scores[trainer.global_rank * share : (trainer.global_rank + 1) * share, 0]
        if self.ledger is not None and trainer.is_global_zero:
            self.ledger.append(recipe, verdict)
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log(pl_module, candidates, scores[:, 0])

    def _log(self, pl_module: L.LightningModule, candidates: Candidates, score: Tensor) -> None:
        miner = candidates.miner
        shown = {"hit_rate": miner.tally.hit_rate, "pieces": miner.tally.pieces, "buffer": len(miner.buffer)}
        pl_module.log_dict({name: float(value) for name, value in shown.items()}, prog_bar=True, batch_size=1)
        pl_module.log_dict(
            {
                "mining/score": score.nanmean(),
                "mining/hit_rate_now": float((score < self.threshold).float().mean()),
                "mining/neighbour_hit_rate": miner.tally.neighbour_pieces / max(miner.tally.neighbours, 1),
                "mining/capped_gain": candidates.capped,
            },
            batch_size=1,
        )

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._flush(trainer)  # what the checkpoint knows, the ledger has

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._flush(trainer)

    def _flush(self, trainer: L.Trainer) -> None:
        if self.ledger is not None and trainer.is_global_zero:
            self.ledger.flush()


@contextmanager
def without_trace(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation inside a training run: no gradient, no BatchNorm update, no random number, every flag put back."""
    flags = {child: child.training for child in module.modules()}
    module.eval()
    try:
        with torch.no_grad(), global_state_kept():
            yield
    finally:
        for child, training in flags.items():
            child.training = training
