"""When a trainer has the model judge, and when verdicts are taken in."""

from typing import TYPE_CHECKING, Any

import lightning as L
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature

from hardmine.errors import InputError
from hardmine.judge.rehearsal import Rehearsal

if TYPE_CHECKING:
    from hardmine.adapters.data import MiningDataModule
    from hardmine.mining import Mining


class HardMining(L.Callback):
    """Scores the candidates of each batch and hands the hard ones to the buffer (R24, R41).

    A moving average of the model scores, unless `Mining.decay` is 0: then it is the model as it is. Scores are computed
    before the training step and read after it, when a GPU has long finished them, so that nothing waits.

    Args:
        mining: the search.
    """

    def __init__(self, mining: "Mining") -> None:
        self.mining = mining
        self._clock = 0  # updates of the model when the latest batch came
        self._rehearsal: Rehearsal | None = None  # of the first step
        self._rehearsed = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        if is_param_in_hook_signature(pl_module.training_step, "dataloader_iter", explicit=True):
            raise InputError(
                "training_step(dataloader_iter) fetches its own batches, which cannot be mined: take batch"
            )
        self._rehearsed = False
        self.mining.begin()  # what is found belongs to the fit; a checkpoint is read after this
        self.mining.followed_by = trainer

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.lightning_module.automatic_optimization:
            self.mining.step = trainer.global_step
        self._clock = trainer.global_step
        ledger = self.mining.ledger
        if ledger is not None and trainer.is_global_zero:
            self.mining.go_on_from(ledger.truncate(self.mining.step))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._clock = trainer.global_step
        if self.mining.miner is None:
            raise InputError(
                "the callback has seen no batch of this Mining, so that nothing is mined: give the data as "
                "trainer.fit(module, mining.around(data))"
            )
        context = trainer.precision_plugin.forward_context
        if not self._rehearsed:
            self._rehearsed = True
            self._rehearsal = self.mining.rehearse(pl_module, batch, context)
        self.mining.judge(pl_module, context)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._rehearsal is not None:
            line = self._rehearsal.end()
            self._rehearsal = None
            if line:
                self.mining.tell(line)
        # the clock stands still while gradients are accumulated; by hand, optimisers may make several steps, or none
        self.mining.settle(trainer.global_step - self._clock if pl_module.automatic_optimization else 1)
        self._clock = trainer.global_step  # a batch of None has no start
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        self._log(pl_module, every > 0 and trainer.global_step % every == 0)

    def _log(self, pl_module: L.LightningModule, everything: bool) -> None:
        mining, offered = self.mining, self.mining.offered
        tally = mining.tally
        # from the first step on: other callbacks may wait for them
        shown = {"hit_rate": tally.hit_rate, "pieces": float(tally.pieces), "buffer": float(len(mining.buffer))}
        pl_module.log_dict(shown, prog_bar=True, batch_size=1)
        if everything and len(mining.buffer):
            age = mining.step - mining.buffer.step.float().mean()
            pl_module.log("mining/buffer_age", age, batch_size=1)
        if not everything or offered is None or offered.score is None:
            return
        pl_module.log_dict(
            {
                "mining/score": offered.score.nanmean(),
                "mining/hit_rate_now": float((offered.recipe.piece >= 0).float().mean()),
                "mining/neighbour_hit_rate": tally.neighbour_pieces / max(tally.neighbours, 1),
                "mining/refused": float(tally.refused),
                "mining/capped_gain": offered.capped.nanmean(),
                **{f"buffer/{why}": float(number) for why, number in mining.buffer.left.items()},
            },
            batch_size=1,
        )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.mining.end()

    def state_dict(self) -> dict[str, Any]:
        return self.mining.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.mining.load_state_dict(state_dict)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._flush(trainer)  # what the checkpoint knows, the ledger has
        if data := _mined(trainer):
            data.keep(checkpoint)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if data := _mined(trainer):
            data.go_on(checkpoint)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._flush(trainer)

    def _flush(self, trainer: L.Trainer) -> None:
        if self.mining.ledger is not None and trainer.is_global_zero:
            self.mining.ledger.flush()


def _mined(trainer: L.Trainer) -> "MiningDataModule | None":
    from hardmine.adapters.data import MiningDataModule

    data = trainer.datamodule  # type: ignore[attr-defined]
    return data if isinstance(data, MiningDataModule) else None
