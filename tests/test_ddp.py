"""Two ranks: one logical search, the same on both."""

import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import make_images, make_store
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import hardmine


class Images(Dataset[dict[str, Tensor]]):
    def __init__(self) -> None:
        self.image, self.regions = make_images(batch=16, size=(32, 32))

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        shift = int(torch.randint(0, 8, ()))
        image, regions = self.image[index].roll(shift, -1), self.regions[index].roll(shift, -1)
        return {"image": image, "regions": regions, "target": regions.long()}


class FirstRanks(Images):
    """Those of the second rank have nothing that is labelled."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sample = super().__getitem__(index)
        if torch.distributed.get_rank() == 1:
            sample["regions"] = torch.full_like(sample["regions"], 255)
            sample["target"] = sample["regions"].long()
        return sample


class Module(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, 3, 3, padding=1)
        self.seen: list[list[tuple[int, int]]] = []  # source and draw of every row of every step

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.net(image / 255)
        return logits

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.seen.append(list(zip(batch["index"].tolist(), batch["draw"].tolist(), strict=True)))
        return nn.functional.cross_entropy(self(batch["image"]), batch["target"], ignore_index=255)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Report(L.Callback):
    """Each rank writes down what its search looks like at the end."""

    def __init__(self, mining: hardmine.Mining, folder: Path) -> None:
        self.mining, self.folder = mining, folder

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Module)
        state = {"search": self.mining.state_dict(), "weights": pl_module.state_dict(), "seen": pl_module.seen}
        torch.save(state, self.folder / f"rank{trainer.global_rank}.pt")


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in flat(value[key])]
    return [value.nan_to_num(-1).tolist() if isinstance(value, torch.Tensor) else value]


def fit(
    folder: Path, steps: int = 4, images: Images | None = None, **settings: Any
) -> tuple[list[dict[str, Any]], Any]:
    """What each of two ranks holds after some steps with 4 rows each, and the ledger."""
    usual: dict[str, Any] = {"store": make_store(), "neighbourhood": hardmine.Select(radius=10)}
    mining = hardmine.Mining(
        conversion=hardmine.ColorTransfer(),
        threshold=1.1,
        hardest=1.0,
        areas=("area0", "area1", "area2"),
        ledger=str(folder / "ledger"),
        **{**usual, **settings},
    )
    trainer = L.Trainer(
        callbacks=[mining.callback(), Report(mining, folder)],
        max_steps=steps,
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    loader = DataLoader(hardmine.Numbered(images or Images()), batch_size=4, shuffle=True)
    trainer.fit(Module(), mining.around(loader))
    ranks = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    return ranks, hardmine.Ledger(folder / "ledger").read()


pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="processes are forked"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning"),
]


def assert_alike(ranks: list[dict[str, Any]]) -> None:
    """Buffer, graph, counts, averages and weights; the rows that each trained on are its own."""
    one, two = ({name: rank[name] for name in ("search", "weights")} for rank in ranks)
    assert flat(one) == flat(two)


def test_both_ranks_hold_the_same_buffer_graph_and_weights(tmp_path: Path) -> None:
    ranks, ledger = fit(tmp_path, start=0)
    assert_alike(ranks)
    pieces = 4 * 4 * 2  # 4 steps with 4 candidates on each of 2 ranks
    assert ranks[0]["search"]["miner"]["tally"]["pieces"] == pieces
    assert len(ledger) == pieces
    assert ranks[0]["search"]["judge"]


def test_cells_grow_alike_on_both_ranks(tmp_path: Path) -> None:
    """Two stored parameters, which each source has soon had."""
    store = make_store(2, environment={"time": ["night", "night"]})
    ranks, _ = fit(tmp_path, steps=16, start=0, store=store, neighbourhood=hardmine.SameCell(grows=True))
    assert_alike(ranks)
    assert len(ranks[0]["search"]["miner"]["graph"]["grown"]["recipe"]["source"]) > 0


@pytest.mark.parametrize("stored", [False, True], ids=["pieces alone", "with stored rows"])
def test_ranks_that_wait_for_pieces_share_them_out(tmp_path: Path, stored: bool) -> None:
    """After one plain step, 2 pieces for each update: the first rank learns one, the second the other."""
    policy = hardmine.Generate(radius=10)  # a neighbour for every piece
    ranks, ledger = fit(tmp_path, start=1, neighbourhood=policy, update=hardmine.Update(every=2, stored=stored))
    assert_alike(ranks)
    assert ranks[0]["search"]["miner"]["tally"]["pieces"] == len(ledger) == 3 * 2
    assert ledger["step"].to_pylist() == [1, 1, 2, 2, 3, 3]
    assert ledger["source"].to_pylist() == [0, 1] * 3
    pieces = list(zip(ledger["source"].to_pylist(), ledger["draw"].to_pylist(), strict=True))
    for rank, state in enumerate(ranks):
        assert [rows[-1] for rows in state["seen"][1:]] == pieces[rank::2]
        assert [len(rows) for rows in state["seen"]] == [4, *([4] if stored else [1]) * 3]


def test_a_rank_tells_of_all_its_candidates(tmp_path: Path) -> None:
    ranks, ledger = fit(tmp_path, start=0, update=hardmine.Update(every=8, stored=False))
    assert_alike(ranks)
    assert len(ledger) in (3 * 8, 4 * 8)
    assert sorted(ledger["source"].to_pylist()[:8]) == list(range(8))


def test_a_rank_without_candidates_keeps_step_with_the_others(tmp_path: Path) -> None:
    """The averages of all ranks begin and move in the same steps: each of these is told to all."""
    ranks, ledger = fit(tmp_path, steps=9, images=FirstRanks(), start=0)
    assert_alike(ranks)
    assert len(ledger) == 4 * 9
    assert ranks[0]["search"]["judge"]
