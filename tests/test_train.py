"""Whole runs of seconds: what mining must not change, what a resume must bring back, what a run leaves behind."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from conftest import same_rows
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig
from PIL import Image
from torch import nn

from hardmine.cli.build import build_data, build_looking, build_mining, build_task
from hardmine.cli.train import train
from hardmine.judge import without_trace
from hardmine.memory.ledger import Ledger
from hardmine.numbered import Numbered
from hardmine.plan import Plan

Configured = Callable[..., DictConfig]


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)["state_dict"]
    return state


def assert_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_mining_with_threshold_0_trains_bit_equal_to_no_mining(
    configured: Configured, tmp_path: Path, precision: str
) -> None:
    mined = train(configured("mining.threshold=0", f"trainer.precision={precision}", run="mined"))
    plain = train(configured("neighbourhood=none", f"trainer.precision={precision}", run="plain"))
    assert mined["candidates"] == 24
    assert mined["pieces"] == plain["candidates"] == 0
    assert_equal(weights(tmp_path / "mined"), weights(tmp_path / "plain"))


def test_mining_changes_the_weights(configured: Configured, tmp_path: Path) -> None:
    train(configured("mining.threshold=1.1", run="mined"))
    train(configured("neighbourhood=none", run="plain"))
    one, two = weights(tmp_path / "mined"), weights(tmp_path / "plain")
    assert any(not torch.equal(value, two[name]) for name, value in one.items())


def test_resume_equals_uninterrupted(configured: Configured, tmp_path: Path) -> None:
    """Steps 0 to 6 at once, and with a stop after 4, in the middle of an epoch of 3 batches."""
    options = ("mining.threshold=1.1", "callbacks.checkpoint.every_n_train_steps=2", "mining.start=1")
    whole = train(configured(*options, "trainer.max_steps=8", run="whole"))
    train(configured(*options, "trainer.max_steps=4", run="parts"))
    resumed = train(configured(*options, "trainer.max_steps=8", f"resume={tmp_path / 'parts'}", run="parts"))
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    ledgers = [pq.read_table(tmp_path / run / "ledger") for run in ("whole", "parts")]
    assert same_rows(*ledgers)
    assert ledgers[0]["piece"].to_pylist() == list(range(28))
    assert {k: v for k, v in whole.items() if k != "seconds"} == {k: v for k, v in resumed.items() if k != "seconds"}


def test_resume_brings_the_teacher_back(configured: Configured, tmp_path: Path) -> None:
    """The moving average goes on where it was: the same candidates are refused."""
    options = ("gate=teacher", "gate.teacher.min_score=0.25", "gate.teacher.decay=0.5", "mining.threshold=1.1")
    train(configured(*options, "trainer.max_steps=6", run="whole"))
    train(configured(*options, "trainer.max_steps=3", run="parts"))
    train(configured(*options, "trainer.max_steps=6", f"resume={tmp_path / 'parts'}", run="parts"))
    one, two = (pq.read_table(tmp_path / run / "ledger")["gate"].to_pylist() for run in ("whole", "parts"))
    assert one == two
    assert set(one) == {-1, 0}
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_a_rerun_gives_the_same(configured: Configured, tmp_path: Path) -> None:
    train(configured(run="one"))
    train(configured(run="two"))
    assert_equal(weights(tmp_path / "one"), weights(tmp_path / "two"))


def test_what_a_run_leaves_behind(configured: Configured, tmp_path: Path) -> None:
    run = tmp_path / "run"
    summary = train(configured("mining.threshold=1.1", "logger=tensorboard", "callbacks.pictures.every=3"))
    assert summary == json.loads((run / "summary.json").read_text())
    for key in ("test/miou", "val/miou", "pieces", "hit_rate", "steps", "seconds", "test/miou/night_rainy"):
        assert key in summary
    assert summary["steps"] == 6
    assert summary["pieces"] == summary["candidates"] == 24
    assert summary["hit_rate"] == 1
    assert "before/test/miou" in summary
    assert pq.read_table(run / "ledger").num_rows == 24
    assert pq.read_table(run / "store.parquet").num_rows == 8 * 5
    assert sum(pq.read_table(run / "graph.parquet")["uses"].to_pylist()) > 0
    assert sorted(path.name for path in (run / "pictures").iterdir()) == ["step_000003.png", "step_000006.png"]
    for picture in (run / "graph.png", run / "pictures/step_000006.png"):
        with Image.open(picture) as image:
            assert min(image.size) > 100
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))
    leftovers = [path for path in run.rglob(".*") if path.is_file()]
    assert not leftovers


PARTS: dict[str, list[str]] = {
    "random": ["neighbourhood=random"],
    "select": ["neighbourhood=select"],
    "generate": ["neighbourhood=generate", "neighbourhood.channels=lab", "neighbourhood.independent=true"],
    "same cell": ["neighbourhood=same_cell"],
    "adjacent cell": ["neighbourhood=adjacent_cell", "environment.order={time:[day,dusk,night]}"],
    "associated cell": ["neighbourhood=associated_cell", "environment.associations={day:[night]}"],
    "Expr. 4": ["neighbourhood.radius=null", "neighbourhood.mean_radius=9", "neighbourhood.std_radius=3"],
    "areas then whole": ["first=areas_then_whole"],
    "every subset of areas": ["first=exhaustive"],
    "wanted environment": ["store.environment=rainy night"],
    "RGB, whole image": ["conversion=color_transfer", "conversion.colors=rgb", "first=whole_image"],
    "sharpen": ["conversion=sharpen", "store.points=16"],
    "smooth": ["conversion=smooth", "first=random_areas"],
    "outline": ["conversion=outline"],
    "affine object": ["conversion=affine_object", "first.areas=[pole]"],
    "color and filters": ["conversion=color_and_filters"],
    "mean class": ["scoring=mean_class"],
    "worst class, converted": ["scoring=worst_class", "scoring.converted=true"],
    "labelled targets": ["data.targets=0.5"],
    "superfluous gate": ["gate=all", "gate.gamut.max_share=1", "gate.gain.max_share=1", "gate.teacher.min_score=0"],
}


@pytest.mark.parametrize("part", PARTS)
def test_every_part_mines(configured: Configured, tmp_path: Path, part: str) -> None:
    more = ("mining.threshold=1.1", "mining.candidates=2", "trainer.max_steps=3")
    summary = train(configured(*PARTS[part], *more))
    assert summary["candidates"] == 24
    assert summary["pieces"] == 24
    assert (tmp_path / "run/graph.png").stat().st_size > 1000


def test_the_ledger_makes_every_candidate_again(configured: Configured, tmp_path: Path) -> None:
    """A recipe from the ledger, applied to the source it names, scores what the ledger says."""
    config = configured("mining.threshold=1.1", "trainer.max_steps=1", "trainer.precision=32-true", "seed=3")
    torch.manual_seed(3)  # weights as the run begins with
    data = build_data(config)
    net = build_task(config, data)
    train(config)
    ledger = Ledger(tmp_path / "run/ledger")
    recipe = ledger.pieces()
    assert len(recipe) == 4
    numbered = Numbered(data.training)
    places = zip(recipe.source.tolist(), recipe.draw.tolist(), strict=True)
    mining = build_mining(config, data)
    assert mining is not None
    mining.offer(
        mining.read(torch.utils.data.default_collate([numbered[place] for place in places])),
        recipe,
        lambda batch: data.on_after_batch_transfer(batch, 0),
    )
    mining.judge(net)
    mining.settle()
    assert mining.offered is not None and mining.offered.score is not None
    assert torch.equal(mining.offered.score, torch.tensor(ledger.read()["score"].to_pylist()))


def test_images_are_looked_at_in_their_own_frame(configured: Configured) -> None:
    """What an evaluation finds is due to colours: a search's new frames and gates are left out."""
    config = configured("gate=all", "conversion=color_and_frame", "conversion.parts.frame.share=1")
    data = build_data(config)
    batch = torch.utils.data.default_collate([Numbered(data.training)[place, place] for place in range(4)])
    searching, looking, kept = build_mining(config, data), build_looking(config, data), []
    for mining in (searching, looking):
        assert mining is not None
        mining.start = 0
        scenes = mining.read(batch)
        miner = mining.miner
        assert miner is not None
        rows = miner.begin(mining.plan(scenes, None).rows, torch.Generator().manual_seed(0))
        made = mining.make(scenes, Plan(rows))
        kept.append(torch.equal(made.regions, scenes.regions))
    assert kept == [False, True]
    assert not looking.gates


def test_scoring_leaves_no_trace() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    module[1].eval()  # a frozen layer stays frozen
    before = {name: value.clone() for name, value in module.state_dict().items()}
    flags, chance = [child.training for child in module.modules()], torch.get_rng_state()

    def score() -> None:
        with without_trace(module):
            assert not any(child.training for child in module.modules())
            assert not module(torch.rand(2, 3, 4, 4)).requires_grad
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        score()
    assert [child.training for child in module.modules()] == flags
    assert torch.equal(torch.get_rng_state(), chance)
    assert_equal(before, module.state_dict())


def test_checkpoints_hold_nothing_but_plain_values(configured: Configured, tmp_path: Path) -> None:
    train(configured("mining.threshold=1.1"))
    saved = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert len(saved["callbacks"]["HardMining"]["miner"]["buffer"]["score"]) == 24
    assert ModelCheckpoint.__name__ in " ".join(saved["callbacks"])
    assert saved["RiversideData"] == {"cursor": 24, "target_cursor": 0}
