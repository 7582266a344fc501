"""The callback that judges: by the model as it is, as it was when mining started, or an average in between."""

import sys
from collections.abc import Callable
from pathlib import Path

import lightning as L
import pytest
import torch
from conftest import make_store, same_rows
from hydra.utils import instantiate
from omegaconf import DictConfig
from test_library import TheirData, TheirModule
from test_tasks import trainer_of
from test_train import assert_equal, weights
from torch import Tensor, nn

from hardmine.callbacks import HardMining
from hardmine.candidates import Candidates
from hardmine.cli.build import build_conversion, build_data, build_mining, build_task
from hardmine.cli.train import train
from hardmine.data.mining import MiningDataModule
from hardmine.data.replay import Replayed
from hardmine.errors import InputError
from hardmine.judge import Judge
from hardmine.memory.ledger import Ledger
from hardmine.miner import Miner
from hardmine.neighbourhood import Select
from hardmine.scenes import Scenes

Configured = Callable[..., DictConfig]

ALL_HARD = ("mining.threshold=1.1", "trainer.precision=32-true", "seed=3")


def judge_weights(run: Path) -> dict[str, Tensor]:
    callbacks = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    state: dict[str, Tensor] = callbacks["HardMining"]["judge"]
    return state


def scores(config: DictConfig, ledger: Ledger, state: dict[str, Tensor] | None) -> tuple[Tensor, Tensor]:
    """Scores of the ledger, and those that the same recipes have now under some weights, or those training began with.

    Batches of four in the order of the ledger, so that sums are the same to the last bit.
    """
    torch.manual_seed(3)
    data = build_data(config)
    net = build_task(config, data)
    if state is not None:
        net.load_state_dict(state)
    recipes, convert = ledger.pieces(), build_conversion(config, data)
    store = build_mining(config, data).store
    assert store is not None
    miner = Miner(store, 12, instantiate(config.neighbourhood))
    again = []
    for start in range(0, len(recipes), 4):
        recipe = recipes[slice(start, start + 4)]
        batch = Replayed(data.split("train"), torch.utils.data.default_collate)[recipe]
        source = Scenes.of_batch(batch, len(store.areas))
        made, capped = convert(source, recipe)
        offered = data.on_after_batch_transfer(
            {**batch, "image": made.image, "regions": made.regions, **made.labels}, 0
        )
        again.append(Judge()(net, Candidates(offered, recipe, recipe, miner, source, made, capped))[:, 0])
    return torch.tensor(ledger.read()["score"].to_pylist()), torch.cat(again)


@pytest.mark.parametrize("frozen", [True, False])
def test_scores_of_a_frozen_judge_do_not_change_with_training(
    configured: Configured, tmp_path: Path, frozen: bool
) -> None:
    config = configured(*ALL_HARD, "trainer.max_steps=4", f"mining.ema_decay={float(frozen)}")
    train(config)
    then, now = scores(config, Ledger(tmp_path / "run/ledger"), None)
    assert len(then) == 16
    assert torch.equal(then[:4], now[:4])  # the first step: both are the model that training began with
    assert torch.equal(then, now) == frozen


def test_the_judge_is_the_model_as_it_was_when_mining_started(configured: Configured, tmp_path: Path) -> None:
    options = (*ALL_HARD, "trainer.max_steps=5", "mining.start=2", "mining.ema_decay=1")
    config = configured(*options)
    train(config)
    judge = judge_weights(tmp_path / "run")
    assert_equal(judge, weights(tmp_path / "run", "before"))
    assert any(not torch.equal(value, judge[name]) for name, value in weights(tmp_path / "run").items())
    then, now = scores(config, Ledger(tmp_path / "run/ledger"), judge)
    assert len(then) == 12 and torch.equal(then, now)


def test_a_frozen_judge_that_finds_nothing_hard_changes_nothing(configured: Configured, tmp_path: Path) -> None:
    mined = train(configured("mining.threshold=0", "mining.ema_decay=1", run="mined"))
    train(configured("neighbourhood=none", run="plain"))
    assert mined["candidates"] == 24 and mined["pieces"] == 0
    assert_equal(weights(tmp_path / "mined"), weights(tmp_path / "plain"))


@pytest.mark.parametrize("start", [1, 3])
@pytest.mark.parametrize("decay", [0.9, 1])
def test_a_resumed_run_is_judged_by_the_same_model(
    configured: Configured, tmp_path: Path, start: int, decay: float
) -> None:
    """Stopped after 2 steps: after mining started, and before it."""
    teacher = ("gate=teacher", "gate.teacher.min_score=0")
    options = (*ALL_HARD, *teacher, f"mining.start={start}", f"mining.ema_decay={decay}")
    train(configured(*options, "trainer.max_steps=5", run="whole"))
    train(configured(*options, "trainer.max_steps=2", run="parts"))
    train(configured(*options, "trainer.max_steps=5", f"resume={tmp_path / 'parts'}", run="parts"))
    for name in ("whole", "parts"):
        assert len(Ledger(tmp_path / name / "ledger").read()) == 4 * (5 - start)
    assert same_rows(Ledger(tmp_path / "whole/ledger").read(), Ledger(tmp_path / "parts/ledger").read())
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert_equal(judge_weights(tmp_path / "whole"), judge_weights(tmp_path / "parts"))


def test_a_judge_in_between_is_the_moving_average_of_the_model(configured: Configured, tmp_path: Path) -> None:
    """By hand, from the weights of runs that were stopped one step later each time."""
    options = (*ALL_HARD, "mining.start=1", "mining.ema_decay=0.75")
    for steps in (1, 2, 3):
        train(configured(*options, f"trainer.max_steps={steps}", run=f"steps{steps}"))
    start, *later = (weights(tmp_path / f"steps{steps}") for steps in (1, 2, 3))
    judge = judge_weights(tmp_path / "steps3")
    for name, value in start.items():
        for new in later:
            value = 0.75 * value + 0.25 * new[name] if value.is_floating_point() else new[name]
        torch.testing.assert_close(judge[name], value)
    then, now = scores(configured(*options), Ledger(tmp_path / "steps3/ledger"), start)
    assert torch.equal(then[:4], now[:4])  # the first candidates meet the model as it was


@pytest.mark.parametrize("decay", [-0.1, 1.5, float("nan")])
def test_an_impossible_decay_is_refused(decay: float) -> None:
    with pytest.raises(InputError, match=r"mining\.ema_decay must be a share from 0 to 1"):
        HardMining(ema_decay=decay)


def test_nothing_is_kept_where_nothing_is_frozen() -> None:
    assert HardMining().state_dict() == {}
    callback = HardMining(ema_decay=1.0)
    assert callback.state_dict() == {}
    callback.load_state_dict({"judge": {"net.weight": torch.ones(1)}})
    assert callback.state_dict()["judge"]["net.weight"] == 1  # saved again before it was used


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_ranks_are_judged_by_one_model(tmp_path: Path) -> None:
    """Until their next step ranks differ in BatchNorm's statistics: all take those that a checkpoint keeps."""

    class Normed(TheirModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))  # type: ignore[assignment]

    class Judges(L.Callback):
        def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            torch.save((mining.state_dict()["judge"], pl_module.state_dict()), tmp_path / f"{trainer.global_rank}.pt")

    mining = HardMining(threshold=1.1, ema_decay=1.0)
    trainer = trainer_of(
        callbacks=[mining, Judges()], devices=2, strategy="ddp_fork", use_distributed_sampler=False, max_steps=4
    )
    trainer.fit(Normed(), MiningDataModule(TheirData(), make_store(), Select(radius=10), start=1))
    (judge, now), (other, _) = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert_equal(judge, other)
    assert judge["net.1.num_batches_tracked"] == 1 and now["net.1.num_batches_tracked"] == 4
