"""Two ranks: one logical search, the same on both."""

import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import make_store
from test_library import TheirData, TheirModule

import hardmine


class Report(L.Callback):
    """Each rank writes down what its search looks like at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(trainer.datamodule, hardmine.MiningDataModule)  # type: ignore[attr-defined]
        state: dict[str, Any] = trainer.datamodule.state_dict()  # type: ignore[attr-defined]
        state["weights"] = pl_module.state_dict()
        torch.save(state, self.folder / f"rank{trainer.global_rank}.pt")


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in flat(value[key])]
    return [value.nan_to_num(-1).tolist() if isinstance(value, torch.Tensor) else value]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("update", [hardmine.Update(), hardmine.Update(every=1, stored=False)], ids=["steps", "pieces"])
def test_both_ranks_hold_the_same_buffer_graph_and_weights(tmp_path: Path, update: hardmine.Update) -> None:
    mining = hardmine.MiningDataModule(
        TheirData(), make_store(), hardmine.Select(radius=10), update=update, hardest=1.0
    )
    trainer = L.Trainer(
        callbacks=[hardmine.HardMining(threshold=1.1, ledger=str(tmp_path / "ledger")), Report(tmp_path)],
        max_steps=4,
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(TheirModule(), mining)
    one, two = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert flat(one) == flat(two)
    # 4 steps with 4 candidates on each of 2 ranks; or 1 search, whose 8 pieces are 4 updates of a piece on each rank
    pieces = 4 * 4 * 2 if update.every == 0 else 4 * 2
    assert one["miner"]["tally"]["pieces"] == pieces
    assert len(hardmine.Ledger(tmp_path / "ledger").read()) == pieces
