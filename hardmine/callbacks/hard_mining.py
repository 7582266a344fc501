"""The adapter between Lightning and the miner."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hardmine.candidates import KEY, Candidates
from hardmine.data.mining import MiningDataModule
from hardmine.errors import InputError
from hardmine.judge import Judge, split
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
        self._judging: L.LightningModule | None = None  # the slow copy, where there is one
        self._saved: dict[str, Tensor] | None = None  # its weights, of a checkpoint
        self._scores: Tensor | None = None
        self._copied: torch.cuda.Event | None = None  # when the scores have reached the CPU from a GPU

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for gate in self.judge.gates:
            gate.start(pl_module)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.ledger is not None and trainer.is_global_zero:
            self.ledger.truncate(trainer.global_step)
        if self._saved is not None:
            self._slow(trainer, pl_module)  # the first step may come before the first candidates
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
        model = self._slow(trainer, pl_module) if self.ema_decay else pl_module
        self._scores = self.judge(model, candidates, trainer.precision_plugin.forward_context)
        if trainer.world_size > 1:
            everyone = self._scores.new_empty(trainer.world_size * len(self._scores), self._scores.shape[1])
            torch.distributed.all_gather_into_tensor(everyone, self._scores)
            self._scores = everyone
        if self._scores.is_cuda:
            pinned = torch.empty(self._scores.shape, pin_memory=True)
            self._scores = pinned.copy_(self._scores, non_blocking=True)
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def _slow(self, trainer: L.Trainer, pl_module: L.LightningModule) -> L.LightningModule:
        """The copy of the module, made when it is first asked for."""
        if self._judging is None:
            self._judging = deepcopy(pl_module).requires_grad_(False).eval()
            state = self._saved
            if state is None:  # until their next step, ranks differ in BatchNorm's statistics; checkpoints keep one
                state = trainer.strategy.broadcast({name: value.cpu() for name, value in _weights(pl_module).items()})
            self._judging.load_state_dict(state)
            self._saved = None
        return self._judging

    def _follow(self, judging: L.LightningModule, pl_module: L.LightningModule) -> None:
        """One step of the average; BatchNorm's statistics, as the module's own, are those of each rank."""
        pairs = list(zip(_weights(judging).values(), _weights(pl_module).values(), strict=True))
        average = get_ema_multi_avg_fn(self.ema_decay)  # type: ignore[no-untyped-call]
        average(*map(list, zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)), None)
        for old, new in pairs:
            if not old.is_floating_point():
                old.copy_(new)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for gate in self.judge.gates:
            gate.step(pl_module)
        if self._judging is not None and self.ema_decay < 1:
            self._follow(self._judging, pl_module)
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
        judging = self._saved if self._judging is None else _weights(self._judging)
        return gates if judging is None else {**gates, "judge": judging}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for number, gate in enumerate(self.judge.gates):
            gate.load_state_dict(state_dict.get(str(number), {}))
        self._judging, self._saved = None, state_dict.get("judge")

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._flush(trainer)  # what the checkpoint knows, the ledger has

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._flush(trainer)

    def _flush(self, trainer: L.Trainer) -> None:
        if self.ledger is not None and trainer.is_global_zero:
            self.ledger.flush()


def _weights(module: L.LightningModule) -> dict[str, Tensor]:
    state: dict[str, Tensor] = module.state_dict()
    return state
