"""What the two lines that mine promise in a Lightning trainer, `mining.callback()` and `mining.around(data)`."""

import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from conftest import same_rows
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig
from test_library import TheirData, TheirImages, TheirModule, fit, search
from test_train import assert_equal, weights
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

import hardmine
from hardmine.cli.build import build_data, build_mining, build_task
from hardmine.cli.train import train
from hardmine.errors import InputError
from hardmine.memory.ledger import Ledger
from hardmine.mining import Mining
from hardmine.numbered import Numbered
from hardmine.plan import Mix

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

Configured = Callable[..., DictConfig]

ALL_HARD = ("mining.threshold=1.1", "trainer.precision=32-true", "seed=3")


class Thorough(TheirModule):
    """Batch norm, dropout, noise in evaluation too, a counter, and a tensor that a forward keeps with its graph."""

    features: Tensor
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(  # type: ignore[assignment]
            nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Dropout(0.5)
        )
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, image: Tensor) -> Tensor:
        noise = torch.rand(()) + np.random.rand() + random.random()  # noqa: NPY002
        self.features = self.net(image + 0.01 * noise)
        self.calls += 1
        return self.features

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) + 1e-3 * self.features.square().mean()


def thorough() -> Thorough:
    torch.manual_seed(0)
    return Thorough()


class JitteredData(TheirData):
    """Brightness changes by chance, on the device."""

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        return {**batch, "image": batch["image"] * (1 - 0.1 * torch.rand(()))}


# No trace


class Looks(L.Callback):
    """What there is before and after another callback's `on_train_batch_start`."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        chance = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]  # noqa: NPY002
        self.seen.append(
            {
                "tensors": {name: value.clone() for name, value in pl_module.state_dict().items()},
                "gradients": [parameter.grad for parameter in pl_module.parameters()],
                "training": [part.training for part in pl_module.modules()],
                "attributes": [dict(part.__dict__) for part in pl_module.modules()],
                "chance": chance,
            }
        )


@pytest.mark.filterwarnings("ignore:Found 1 module.* in eval mode")
@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_scoring_leaves_no_trace(decay: float) -> None:
    mining, before, after = search(decay=decay), Looks(), Looks()
    module = thorough()
    module.get_submodule("net.1").eval()  # a frozen layer stays frozen
    fit(mining, module, callbacks=[before, mining.callback(), after])
    assert mining.tally.candidates == 24
    assert mining.offered is not None and mining.offered.prediction is not module.features
    for one, other in zip(before.seen, after.seen, strict=True):
        assert_equal(one["tensors"], other["tensors"])
        assert torch.equal(one["chance"][0], other["chance"][0]) and one["chance"][1:] == other["chance"][1:]
        assert one["training"] == other["training"]
        assert all(a is b for a, b in zip(one["gradients"], other["gradients"], strict=True))
        for mine, theirs in zip(one["attributes"], other["attributes"], strict=True):
            assert mine.keys() == theirs.keys()
            assert all(theirs[name] is value for name, value in mine.items())


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "candidates": {"mix": Mix(candidates=3)},
    "frozen judge": {"decay": 1.0},
    "the model as it is": {"decay": 0.0},
    "teacher": {"gates": [hardmine.Teacher(0.5)]},
    "the library's own conversion": {"conversion": None},
    "later": {"start": 3},
    "nothing mined": {"threshold": 1.1, "mix": Mix(mined=0.0)},
}
TRAINERS: dict[str, dict[str, Any]] = {
    "accumulated": {"accumulate_grad_batches": 2, "max_steps": 3},
    "bf16-mixed": {"precision": "bf16-mixed"},
    "clipped": {"gradient_clip_val": 0.01},
}


@pytest.mark.parametrize("numbered", [False, True], ids=["as it is", "numbered"])
@pytest.mark.parametrize("kind", [*SETTINGS, *TRAINERS])
def test_mining_that_finds_nothing_hard_trains_bit_equal_to_no_mining(kind: str, numbered: bool) -> None:
    """Their own augmentation, dropout and shuffling draw what they drew; batch norm counts what it counted."""
    L.seed_everything(0, verbose=False)
    options = {"max_steps": 6, **TRAINERS.get(kind, {})}
    data, plain, mined = JitteredData(), thorough(), thorough()
    if numbered:
        data.train_dataloader = lambda: DataLoader(  # type: ignore[method-assign]
            Numbered(TheirImages()), batch_size=4, shuffle=True
        )
    mining = search(**{"threshold": 0.0, **SETTINGS.get(kind, {})})
    fit(mining, mined, data, **options)
    assert mining.tally.candidates > 0 and (mining.tally.pieces > 0) == (kind == "nothing mined")
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    L.seed_everything(0, verbose=False)
    trainer.fit(plain, data)
    assert all(map(torch.equal, plain.seen, mined.seen)) and len(plain.seen) == len(mined.seen) == 6
    assert_equal(plain.state_dict(), mined.state_dict())


def test_the_command_lines_runs_with_labelled_targets_too(configured: Configured, tmp_path: Path) -> None:
    train(configured("data.targets=0.25", "mining.threshold=0", run="mined"))
    train(configured("data.targets=0.25", "neighbourhood=none", run="plain"))
    train(configured("neighbourhood=none", run="none"))
    assert_equal(weights(tmp_path / "mined"), weights(tmp_path / "plain"))
    plain, none = weights(tmp_path / "plain"), weights(tmp_path / "none")
    assert not all(torch.equal(value, none[name]) for name, value in plain.items())


# Verdicts


def test_scores_are_read_after_the_training_step() -> None:
    """When it begins the model has judged, and nothing has waited for what it said."""
    mining, seen = search(), list[tuple[bool, int]]()

    class Watched(TheirModule):
        def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
            offered = mining.offered
            assert offered is not None and offered.prediction is not None
            seen.append((offered.score is None, mining.tally.candidates))
            return super().training_step(batch, batch_idx)

        def on_train_batch_end(self, *_: Any) -> None:
            assert mining.offered is not None and mining.offered.score is not None

    fit(mining, Watched())
    assert seen == [(True, 4 * step) for step in range(6)]
    assert mining.tally.candidates == 24


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_nothing_waits_for_a_gpu() -> None:
    """From the candidates to the training step; the first steps look at labels, which waits."""
    mining, model = search(), TheirModule().cuda()
    data = TheirData()
    images = TheirImages()
    for step in range(12):
        raw = {name: value.cuda() for name, value in default_collate([images[row] for row in range(4)]).items()}
        scenes = mining.read(raw)
        tries = mining.propose(mining.plan(scenes))
        torch.cuda.set_sync_debug_mode("error" if step > 9 else "default")
        try:
            mining.offer(scenes, tries, lambda batch: data.on_after_batch_transfer(batch, 0))
            mining.judge(model)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        mining.settle()
    assert mining.tally.candidates == 48


def test_what_can_be_watched_in_the_loggers() -> None:
    mining = search()
    trainer = fit(mining, TheirModule(), log_every_n_steps=2)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert (logged["hit_rate"], logged["pieces"], logged["buffer"]) == (1, 24, len(mining.buffer))
    assert mining.offered is not None and mining.offered.score is not None
    assert logged["mining/score"] == pytest.approx(float(mining.offered.score.mean()))
    assert logged["mining/hit_rate_now"] == 1 and logged["mining/refused"] == 0
    assert logged["buffer/evicted"] == 0 and "mining/neighbour_hit_rate" in logged and "mining/capped_gain" in logged


def test_others_may_wait_for_pieces_from_the_first_step_on(tmp_path: Path) -> None:
    mining = search(start=3)
    keeps = ModelCheckpoint(tmp_path, monitor="pieces", mode="max", every_n_train_steps=1, filename="{step}")
    fit(mining, TheirModule(), callbacks=[mining.callback(), keeps], enable_checkpointing=True)
    assert keeps.best_model_score == 12


# Checkpoints


class Known(Dataset[dict[str, Tensor]]):
    """No chance in it, and samples that say which they are."""

    def __init__(self) -> None:
        self.images = TheirImages()

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, regions = self.images.image[index], self.images.regions[index]
        number = torch.tensor(index)
        return {"image": image, "regions": regions, "target": regions.long(), "index": number, "draw": number}


class KnownData(TheirData):
    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(Known(), batch_size=4)


def resumable(
    folder: Path, run: str, epochs: int = 4, resume: str | None = None, **settings: Any
) -> tuple[Mining, TheirModule]:
    """Two batches an epoch, a checkpoint at the end of each; `resume` goes on with the one of another run."""
    mining = search(**settings, ledger=str(folder / "ledger" / run))
    torch.manual_seed(1)
    module = TheirModule()
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=epochs,
        callbacks=[mining.callback(), ModelCheckpoint(folder / run, "last", enable_version_counter=False)],
    )
    path = None if resume is None else folder / resume / "last.ckpt"
    trainer.fit(module, mining.around(KnownData()), ckpt_path=path, weights_only=True)
    return mining, module


def plain(value: Any) -> Any:
    """Tensors as lists, so that nested states can be compared."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.nan_to_num(-1).tolist() if isinstance(value, Tensor) else value


@pytest.mark.parametrize(
    "settings",
    [{}, {"start": 5}, {"conversion": None, "start": 3}, {"decay": 1.0, "mix": Mix(candidates=2)}],
    ids=["from the first step", "before mining starts", "what is usual", "frozen judge"],
)
def test_a_resumed_fit_goes_on_to_the_same_bits(settings: dict[str, Any], tmp_path: Path) -> None:
    """Stopped after 4 of 8 steps; the checkpoint holds nothing but plain values."""
    one, whole = resumable(tmp_path, "whole", **settings)
    resumable(tmp_path, "parts", epochs=2, **settings)
    saved = torch.load(tmp_path / "parts/last.ckpt", weights_only=True)["callbacks"]["HardMining"]
    assert saved["step"] == 4 and saved["format"] == 4
    two, parts = resumable(tmp_path, "parts", resume="parts", **settings)
    assert_equal(whole.state_dict(), parts.state_dict())
    assert all(map(torch.equal, whole.seen[4:], parts.seen)) and len(parts.seen) == 4
    assert plain(one.state_dict()) == plain(two.state_dict())
    assert one.tally == two.tally and one.tally.pieces == 4 * one.mix.candidates * (8 - one.start)
    ledgers = [Ledger(tmp_path / "ledger" / run).read() for run in ("whole", "parts")]
    assert same_rows(*ledgers) and ledgers[0].num_rows == one.tally.candidates


def test_a_fit_that_goes_back_drops_the_verdicts_that_follow(tmp_path: Path) -> None:
    """Resumed with the checkpoint of step 4, where the ledger has those of 8 steps, and ended after 6."""
    resumable(tmp_path, "parts", epochs=2)
    (tmp_path / "early").mkdir()
    shutil.copy(tmp_path / "parts/last.ckpt", tmp_path / "early")
    resumable(tmp_path, "parts", resume="parts")
    before = Ledger(tmp_path / "ledger/parts").read()
    resumable(tmp_path, "parts", epochs=3, resume="early")
    after = Ledger(tmp_path / "ledger/parts").read()
    assert before.num_rows == 32 and after.num_rows == 24
    assert same_rows(before.slice(0, 24), after)


def test_the_ledger_has_what_a_checkpoint_knows(tmp_path: Path) -> None:
    """On the disk as soon as the checkpoint is."""
    mining, rows = search(ledger=str(tmp_path / "ledger")), list[int]()

    class Reads(L.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            rows.append(Ledger(tmp_path / "ledger").read().num_rows)

    keeps = ModelCheckpoint(tmp_path, every_n_train_steps=2)
    fit(mining, TheirModule(), callbacks=[mining.callback(), Reads(), keeps], enable_checkpointing=True)
    assert rows == [0, 0, 8, 8, 16, 16]
    assert Ledger(tmp_path / "ledger").read().num_rows == 24


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    resumable(tmp_path, "parts")
    path = tmp_path / "parts/last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["callbacks"]["HardMining"]["format"] = 1
    torch.save(checkpoint, path)
    with pytest.raises(InputError, match="the checkpoint holds a search in format 1, this version reads 4"):
        resumable(tmp_path, "again", resume="parts")


def test_a_run_with_targets_resumes_to_the_same_weights(configured: Configured, tmp_path: Path) -> None:
    options = ("data.targets=0.25", "mining.threshold=1.1", "mining.start=1")
    whole = train(configured(*options, "trainer.max_steps=8", run="whole"))
    train(configured(*options, "trainer.max_steps=4", run="parts"))
    train(configured(*options, "trainer.max_steps=8", f"resume={tmp_path / 'parts'}", run="parts"))
    assert whole["pieces"] == 28
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    ledgers = [Ledger(tmp_path / run / "ledger").read() for run in ("whole", "parts")]
    assert same_rows(*ledgers)
    assert max(ledgers[0]["source"].to_pylist()) >= 12  # candidates are made of targets, too


# By whom is judged


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
    mining = build_mining(config, data)
    assert mining is not None
    mining.decay = 0.0
    mining.begin()
    recipes, numbered, again = ledger.pieces(), Numbered(data.training), []
    for start in range(0, len(recipes), 4):
        recipe = recipes[start : start + 4]
        places = zip(recipe.source.tolist(), recipe.draw.tolist(), strict=True)
        scenes = mining.read(default_collate([numbered[place] for place in places]))
        mining.offer(scenes, recipe, lambda batch: data.on_after_batch_transfer(batch, 0))
        mining.judge(net)
        mining.settle()
        assert mining.offered is not None and mining.offered.score is not None
        again.append(mining.offered.score)
    return torch.tensor(ledger.read()["score"].to_pylist()), torch.cat(again)


@pytest.mark.parametrize("frozen", [True, False])
def test_scores_of_a_frozen_judge_do_not_change_with_training(
    configured: Configured, tmp_path: Path, frozen: bool
) -> None:
    config = configured(*ALL_HARD, "trainer.max_steps=4", f"mining.decay={float(frozen)}")
    train(config)
    then, now = scores(config, Ledger(tmp_path / "run/ledger"), None)
    assert len(then) == 16
    assert torch.equal(then[:4], now[:4])  # the first step: both are the model that training began with
    assert torch.equal(then, now) == frozen


def test_the_judge_is_the_model_as_it_was_when_mining_started(configured: Configured, tmp_path: Path) -> None:
    config = configured(*ALL_HARD, "trainer.max_steps=5", "mining.start=2", "mining.decay=1", "task.ema=null")
    train(config)
    judge = judge_weights(tmp_path / "run")
    assert_equal(judge, weights(tmp_path / "run", "before"))
    assert any(not torch.equal(value, judge[name]) for name, value in weights(tmp_path / "run").items())
    then, now = scores(config, Ledger(tmp_path / "run/ledger"), judge)
    assert len(then) == 12 and torch.equal(then, now)


def test_a_frozen_judge_that_finds_nothing_hard_changes_nothing(configured: Configured, tmp_path: Path) -> None:
    mined = train(configured("mining.threshold=0", "mining.decay=1", run="mined"))
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
    options = (*ALL_HARD, *teacher, f"mining.start={start}", f"mining.decay={decay}")
    train(configured(*options, "trainer.max_steps=5", run="whole"))
    train(configured(*options, "trainer.max_steps=2", run="parts"))
    train(configured(*options, "trainer.max_steps=5", f"resume={tmp_path / 'parts'}", run="parts"))
    for name in ("whole", "parts"):
        assert len(Ledger(tmp_path / name / "ledger").read()) == 4 * (5 - start)
    assert same_rows(Ledger(tmp_path / "whole/ledger").read(), Ledger(tmp_path / "parts/ledger").read())
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert_equal(judge_weights(tmp_path / "whole"), judge_weights(tmp_path / "parts"))


def test_a_judge_in_between_is_the_moving_average_of_the_model(configured: Configured, tmp_path: Path) -> None:
    """By hand, from the weights of runs that were stopped when mining began and four steps later.

    The average follows an update before the next judgement: the last update has had none.
    """
    options = (*ALL_HARD, "mining.start=1", "mining.decay=0.75", "task.ema=null")
    for steps in (1, 5, 6):
        train(configured(*options, f"trainer.max_steps={steps}", run=f"steps{steps}"))
    start, later = (weights(tmp_path / f"steps{steps}") for steps in (1, 5))
    judge = judge_weights(tmp_path / "steps6")
    for name, value in start.items():
        new, kept = later[name], 0.75**4
        torch.testing.assert_close(judge[name], kept * value + (1 - kept) * new if value.is_floating_point() else new)
    then, now = scores(configured(*options), Ledger(tmp_path / "steps6/ledger"), start)
    assert torch.equal(then[:16], now[:16])  # four steps long candidates meet the model as it was
    then, now = scores(configured(*options), Ledger(tmp_path / "steps6/ledger"), judge)
    assert torch.equal(then[-4:], now[-4:])  # the last ones the average of the weights before the last step


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_ranks_are_judged_by_one_model(tmp_path: Path) -> None:
    """Until their next step ranks differ in BatchNorm's statistics: all take those that a checkpoint keeps."""
    mining = search(decay=1.0, start=1)

    class Judges(L.Callback):
        def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            torch.save((mining.state_dict()["judge"], pl_module.state_dict()), tmp_path / f"{trainer.global_rank}.pt")

    fit(
        mining,
        thorough(),
        callbacks=[mining.callback(), Judges()],
        devices=2,
        strategy="ddp_fork",
        max_steps=4,
    )
    (judge, now), (other, _) = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert_equal(judge, other)
    assert judge["net.1.num_batches_tracked"] == 1 and now["net.1.num_batches_tracked"] == 4


# What cannot be


class Fetches(TheirModule):
    def training_step(self, dataloader_iter: Any) -> Tensor:  # type: ignore[override]
        return super().training_step(*next(dataloader_iter)[:2])


def other_callback() -> None:
    """One that belongs to another search."""
    fit(search(), TheirModule(), callbacks=[search().callback()])


ONE_LINE: list[tuple[Callable[[], object], str]] = [
    (lambda: fit(search(), TheirModule(), callbacks=[]), "no callback of this Mining, so that nothing would be judged"),
    (other_callback, "no callback of this Mining, so that nothing would be judged"),
    (lambda: fit(search(), Fetches()), "training_step(dataloader_iter) fetches its own batches"),
    (lambda: search().around(TheirData(), val=[]), "around: a DataModule has its own validation loaders"),
    (
        lambda: fit(search(update=hardmine.Update(every=1)), TheirModule()),
        "update.every converts the same sources again and again: give one DataLoader with a batch size over",
    ),
]


@pytest.mark.filterwarnings("ignore:You are using the `dataloader_iter` step flavor")
@pytest.mark.parametrize(("made", "message"), ONE_LINE, ids=["none", "another's", "iterator", "val", "not numbered"])
def test_what_cannot_be_mined_is_refused_in_one_line(made: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        made()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_validation_needs_no_callback() -> None:
    class Validated(TheirModule):
        def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
            self.log("loss", nn.functional.cross_entropy(self(batch["image"]), batch["target"], ignore_index=255))

    class WithVal(TheirData):
        def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
            return DataLoader(TheirImages(), batch_size=4)

    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    mining = search()
    (found,) = trainer.validate(Validated(), mining.around(WithVal()), verbose=False)
    assert found["loss"] > 0 and mining.offered is None
