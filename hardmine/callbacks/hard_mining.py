"""The adapter between Lightning and the miner."""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from hardmine.candidates import KEY, Candidates
from hardmine.data.mining import MiningDataModule
from hardmine.errors import InputError
from hardmine.judge import Average, Judge, split
from hardmine.judge.gates import Gate
from hardmine.judge.scoring import Scoring
from hardmine.memory.hardness import DEFAULT
from hardmine.memory.ledger import Ledger
from hardmine.records import Recipe


class HardMining(L.Callback):
    """Scores the candidates of each batch with the current model and hands those below Th1 to the buffer (R24, R41).

    The scores are computed before the training step and read after it, when a GPU has long finished them, so that
    nothing waits.

    Args:
        threshold: Th1, recognition accuracy in [0, 1] under which a candidate becomes a piece.
        scoring: recognition accuracy of what the model gives.
        gates: what a hard candidate must pass as well.
        ledger: folder that records every verdict; None keeps no record.
        ema_decay: share, in [0, 1], of the judge's weights that stays in each step. 0 judges with the module as it is
            now; 1, the first embodiment, as it was when the first candidates came; in between, an exponential moving
            average of it, which does not yet know by heart what was learned a few steps ago. Checkpoints keep it.
    """

    def __init__(
        self,
        threshold: float = DEFAULT,
        scoring: Scoring | None = None,
        gates: Sequence[Gate] = (),
        ledger: str | None = None,
        ema_decay: float = 0.995,
    ) -> None:
        if not 0 <= ema_decay <= 1:
            raise InputError(f"mining.ema_decay must be a share from 0 to 1, got {ema_decay}")
        self.threshold = threshold
        self.judge = Judge(scoring, gates)
        self.ledger = Ledger(ledger) if ledger is not None else None
        self.ema_decay = ema_decay
        self.average = Average(ema_decay)
        self._followed = 0  # optimiser steps that the averages have followed
        self._saved: dict[str, Tensor] | None = None  # its weights, of a checkpoint
        self._scores: Tensor | None = None
        self._copied: torch.cuda.Event | None = None  # when the scores have reached the CPU from a GPU

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit":  # what was kept belongs to the fit; a checkpoint is read after this
            self.average = Average(self.ema_decay)
            self._saved = self._scores = None
            self._followed = trainer.global_step

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for gate in self.judge.gates:
            gate.start(pl_module)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.ledger is not None and trainer.is_global_zero:
            self.ledger.truncate(trainer.global_step)
        self._followed = trainer.global_step
        if self._saved is not None:  # the first step may come before the first candidates
            self.average.start(pl_module, self._saved)
            self._saved = None
        data = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, MiningDataModule):  # it searches between updates, where Lightning calls no hook

            def judge(candidates: Candidates) -> Recipe:
                self._score(trainer, pl_module, candidates)
                return self._admit(trainer, candidates)

            data.judge = judge

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(batch, dict) and KEY in batch and batch[KEY].score is None:
            self._score(trainer, pl_module, batch[KEY])

    def _score(self, trainer: L.Trainer, pl_module: L.LightningModule, candidates: Candidates) -> None:
        """Start computing what every rank will read in `_admit`."""
        if not self.average.started:  # ranks differ in BatchNorm's statistics; checkpoints keep one
            state = {name: value.cpu() for name, value in pl_module.state_dict().items()}
            self.average.start(pl_module, trainer.strategy.broadcast(state))
        self._scores = self.judge(pl_module, candidates, trainer.precision_plugin.forward_context, self.average)
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
        if trainer.global_step != self._followed:  # it stands still while gradients are accumulated
            self._followed = trainer.global_step
            for gate in self.judge.gates:
                gate.step(pl_module)
            self.average.follow(pl_module)
        if not isinstance(batch, dict) or KEY not in batch:
            return
        if self._scores is not None:
            self._admit(trainer, batch[KEY])
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._log(pl_module, batch[KEY])

    def _admit(self, trainer: L.Trainer, candidates: Candidates) -> Recipe:
        assert self._scores is not None
        if self._copied is not None:
            self._copied.synchronize()  # of the copy alone: the training step queued behind it goes on
        scores, self._scores = self._scores, None
        recipe, verdict = candidates.miner.admit(candidates.recipe, *split(scores), self.threshold)
        share = len(scores) // trainer.world_size
        candidates.score = scores[trainer.global_rank * share : (trainer.global_rank + 1) * share, 0]
        if self.ledger is not None and trainer.is_global_zero:
            self.ledger.append(recipe, verdict)
        return recipe

    def _log(self, pl_module: L.LightningModule, candidates: Candidates) -> None:
        miner, score = candidates.miner, candidates.score
        assert score is not None
        shown = {"hit_rate": miner.tally.hit_rate, "pieces": miner.tally.pieces, "buffer": len(miner.buffer)}
        pl_module.log_dict({name: float(value) for name, value in shown.items()}, prog_bar=True, batch_size=1)
        pl_module.log_dict(
            {
                "mining/score": score.nanmean(),
                "mining/hit_rate_now": float((score < self.threshold).float().mean()),
                "mining/neighbour_hit_rate": miner.tally.neighbour_pieces / max(miner.tally.neighbours, 1),
                "mining/refused": float(miner.tally.refused),
                "mining/capped_gain": candidates.capped.nanmean(),
                **{f"buffer/{why}": float(number) for why, number in miner.buffer.left.items()},
            },
            batch_size=1,
        )

    def state_dict(self) -> dict[str, Any]:
        gates = {str(number): gate.state_dict() for number, gate in enumerate(self.judge.gates)}
        judging = self.average.state_dict() or self._saved
        return {**gates, "judge": judging} if judging else gates

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for number, gate in enumerate(self.judge.gates):
            gate.load_state_dict(state_dict.get(str(number), {}))
        self._saved = state_dict.get("judge")

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._flush(trainer)  # what the checkpoint knows, the ledger has

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._flush(trainer)

    def _flush(self, trainer: L.Trainer) -> None:
        if self.ledger is not None and trainer.is_global_zero:
            self.ledger.flush()
