"""Lightning's own ways of training: each is mined right, or refused in one line."""

import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader

import hardmine
from foreign.conftest import AREAS, Segmented, Segmenter, fit, loader, mine, quiet, watch
from hardmine.errors import InputError

LINES: dict[str, Any] = {"areas": AREAS}


class Validated(Segmenter):
    """With a metric and a learning rate that tuners may change."""

    def __init__(self, lr: float = 1e-3) -> None:
        super().__init__()
        self.lr = lr

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", nn.functional.cross_entropy(self(x), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def mining(store: hardmine.ParameterStore, **keywords: Any) -> "hardmine.Mining":
    return hardmine.Mining(store, **{"threshold": 1.1, "hardest": 1.0, "start": 1, **LINES, **keywords})


@pytest.mark.parametrize(
    "trainer",
    [
        {"overfit_batches": 1},
        {"limit_train_batches": 1},
        {"limit_train_batches": 0.5},
        {"max_steps": -1, "max_epochs": 3},
        {"max_steps": -1, "max_time": {"seconds": 1}},
        {"precision": "bf16-true"},
        {"precision": "bf16-mixed"},
        {"precision": "16-true"},
        {"precision": "64-true"},
        {"val_check_interval": 0.5},
        {"check_val_every_n_epoch": 2},
        {"gradient_clip_val": 0.5},
        {"accumulate_grad_batches": 2, "max_steps": 5},
        {"reload_dataloaders_every_n_epochs": 1},
        {"detect_anomaly": True},
        {"num_sanity_val_steps": 2},
        {"inference_mode": False},
        {"barebones": False, "deterministic": True},
    ],
    ids=lambda trainer: ",".join(f"{name}={value}" for name, value in trainer.items()),
)
def test_trainers(store: hardmine.ParameterStore, trainer: dict[str, Any]) -> None:
    mine(store, Validated(), loader(Segmented()), val=loader(Segmented(4)), trainer=trainer, **LINES)


def test_fast_dev_run(store: hardmine.ParameterStore, tmp_path: Path) -> None:
    """One batch, before mining begins."""
    search = mining(store, start=0)
    module = Validated()
    seen = watch(module)
    trainer = L.Trainer(
        fast_dev_run=True,
        accelerator="cpu",
        callbacks=[search.callback()],
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, search.around(loader(Segmented()), val=loader(Segmented(4))))
    assert len(seen.batches) == 1
    assert search.tally.candidates == 4


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_sizes(store: hardmine.ParameterStore, batch_size: int) -> None:
    """A batch of one is a piece in half of the steps; the last batch may be smaller."""
    mine(store, Segmenter(), loader(Segmented(), batch_size=batch_size), trainer={"max_steps": 12}, **LINES)


def test_a_share_that_is_no_row_is_refused(store: hardmine.ParameterStore) -> None:
    search = mining(store, mix=hardmine.Mix(mined=0.05))
    with pytest.raises(InputError, match=r"mined=0.05 of a batch of 4 is no row"):
        fit(Segmenter(), search.around(loader(Segmented())), callbacks=[search.callback()])


def test_accumulation_searches_once_per_step(store: hardmine.ParameterStore) -> None:
    search = mine(
        store, Segmenter(), loader(Segmented()), trainer={"accumulate_grad_batches": 3, "max_steps": 4}, **LINES
    )
    assert search.tally.candidates == 4 * 3  # steps 1, 2 and 3
    assert search.step == 4


def test_an_accumulation_that_changes(store: hardmine.ParameterStore) -> None:
    search = mining(store)
    schedule = GradientAccumulationScheduler({0: 1, 1: 2})
    fit(Segmenter(), search.around(loader(Segmented())), callbacks=[search.callback(), schedule])
    assert search.step == 6
    assert search.tally.candidates == 5 * 4


class TwoOptimizers(Segmenter):
    """By hand: one optimiser in even batches, both in odd ones."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:  # type: ignore[override]
        x, y = batch
        for number, optimizer in enumerate(self.optimizers()):
            if number and batch_idx % 2 == 0:
                continue
            optimizer.zero_grad()
            self.manual_backward(nn.functional.cross_entropy(self(x), y))
            optimizer.step()

    def configure_optimizers(self) -> Any:
        first, _, last = self.net
        return [torch.optim.SGD(part.parameters(), lr=0.01) for part in (first, last)]


def test_several_optimizers_by_hand(store: hardmine.ParameterStore) -> None:
    search = mine(store, TwoOptimizers(), loader(Segmented()), trainer={"max_steps": 9}, **LINES)
    assert search.step == 6  # batches
    assert search.tally.candidates == 5 * 4


def test_a_learning_rate_finder(store: hardmine.ParameterStore, tmp_path: Path) -> None:
    """It takes all callbacks away while it tries: those batches are not mined, and mining begins with the fit."""
    search = mining(store)
    finder = LearningRateFinder(num_training_steps=5, min_lr=1e-5, max_lr=1e-2)
    module = Validated()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = L.Trainer(
            max_steps=6,
            accelerator="cpu",
            callbacks=[search.callback(), finder],
            enable_progress_bar=False,
            enable_checkpointing=False,
            logger=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(module, search.around(loader(Segmented(32)), val=loader(Segmented(4))))
    assert search.tally.candidates == 5 * 4
    assert search.step == 6


def test_a_batch_size_finder_is_no_matter_of_mining(store: hardmine.ParameterStore, tmp_path: Path) -> None:
    """It needs a batch size that it can set."""

    class Data(L.LightningDataModule):
        def __init__(self) -> None:
            super().__init__()
            self.batch_size = 2

        def train_dataloader(self) -> DataLoader[Any]:
            return loader(Segmented(16), batch_size=self.batch_size)

        def val_dataloader(self) -> DataLoader[Any]:
            return loader(Segmented(4), batch_size=self.batch_size)

    data, search = Data(), mining(store)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = L.Trainer(
            max_steps=4,
            accelerator="cpu",
            callbacks=[search.callback(), BatchSizeFinder(max_trials=1, init_val=2)],
            enable_progress_bar=False,
            logger=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(Validated(), search.around(data))
    assert search.tally.pieces


def test_weight_averaging(store: hardmine.ParameterStore) -> None:
    callbacks: list[L.Callback] = [StochasticWeightAveraging(swa_lrs=1e-3, swa_epoch_start=1), WeightAveraging()]
    for callback in callbacks:
        search = mining(store)
        module = Validated()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(
                module,
                search.around(loader(Segmented()), val=loader(Segmented(4))),
                callbacks=[search.callback(), callback],
                max_steps=-1,
                max_epochs=4,
            )
        assert search.tally.pieces
        assert all(bool(value.isfinite().all()) for value in module.parameters())


@pytest.mark.parametrize("monitor", ["val_loss", "pieces", "hit_rate", "buffer"])
def test_stopping_and_checkpoints_on_metrics(store: hardmine.ParameterStore, monitor: str, tmp_path: Path) -> None:
    search = mining(store)
    best = ModelCheckpoint(tmp_path, monitor=monitor, mode="max", save_top_k=2, every_n_epochs=1)
    stop = EarlyStopping(monitor, mode="max", patience=2)
    fit(
        Validated(),
        search.around(loader(Segmented()), val=loader(Segmented(4))),
        callbacks=[search.callback(), best, stop],
        enable_checkpointing=True,
        max_steps=-1,
        max_epochs=5,
    )
    assert len(list(tmp_path.glob("*.ckpt"))) == 2
    assert search.tally.pieces


def test_a_second_fit_begins_anew(store: hardmine.ParameterStore) -> None:
    search, module = mining(store), Segmenter()
    data = search.around(loader(Segmented()))
    fit(module, data, callbacks=[search.callback()])
    first = search.tally
    assert first.candidates == 20
    fit(module, data, callbacks=[search.callback()])
    assert search.tally.candidates == 20
    assert search.tally is not first


def test_validation_alone_is_not_mined(store: hardmine.ParameterStore) -> None:
    search = mining(store, start=0)
    trainer = quiet(search.callback())
    trainer.validate(Validated(), search.around(loader(Segmented()), val=loader(Segmented(4))))
    assert search.tally.candidates == 0


def test_without_its_callback_the_first_step_stops(store: hardmine.ParameterStore) -> None:
    for callbacks in ([], [mining(store).callback()]):
        with pytest.raises(InputError, match="no callback of this Mining"):
            fit(Segmenter(), mining(store).around(loader(Segmented())), callbacks=callbacks)


def test_a_step_that_fetches_its_own_batches_is_refused(store: hardmine.ParameterStore) -> None:
    class Fetching(Segmenter):
        def training_step(self, dataloader_iter: Any) -> Tensor:  # type: ignore[override]
            batch, _, _ = next(dataloader_iter)
            return super().training_step(batch, 0)

    search = mining(store)
    warnings.filterwarnings("ignore", message="You are using the `dataloader_iter`")
    with pytest.raises(InputError, match="dataloader_iter"):
        fit(Fetching(), search.around(loader(Segmented())), callbacks=[search.callback()])


def test_a_skipped_step(store: hardmine.ParameterStore) -> None:
    """A hook of the module may end the epoch before the step; verdicts are taken in all the same."""

    class Skipping(Segmenter):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
            return -1 if self.trainer.current_epoch % 2 and batch_idx else None

    search = mining(store)
    fit(Skipping(), search.around(loader(Segmented())), callbacks=[search.callback()], max_steps=-1, max_epochs=4)
    assert search.tally.candidates >= search.tally.pieces > 0


def test_a_resumed_run_is_bit_equal(store: hardmine.ParameterStore, tmp_path: Path) -> None:
    """One batch makes an epoch: Lightning begins the order of a plain loader anew."""

    def run(steps: int, checkpoint: str | None = None) -> Segmenter:
        L.seed_everything(0, verbose=False)
        module, search = Segmenter(), mining(store, seed=3)
        trainer = quiet(search.callback(), max_steps=steps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning warns that a plain loader cannot go on in mid-epoch
            trainer.fit(module, search.around(loader(Segmented(4))), ckpt_path=checkpoint, weights_only=True)
        trainer.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return module

    whole = run(8)
    run(4)
    parts = run(8, str(tmp_path / "4.ckpt"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert all(bool(value.isfinite().all()) for value in whole.parameters())


class Several(Segmenter):
    """Trains on every part of a batch."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        parts = batch.values() if isinstance(batch, dict) else batch
        return torch.stack([super(Several, self).training_step(part, batch_idx) for part in parts]).sum()


@pytest.mark.parametrize(
    ("loaders", "part"),
    [
        (lambda: [loader(Segmented()), loader(Segmented(4))], 0),
        (lambda: [loader(Segmented()), loader(Segmented(4))], 1),
        (lambda: {"a": loader(Segmented()), "b": loader(Segmented(4))}, "b"),
    ],
)
def test_several_loaders(store: hardmine.ParameterStore, loaders: Any, part: str | int) -> None:
    mine(store, Several(), loaders(), trainer={"max_steps": 4}, view=hardmine.View(part=part), **LINES)


def test_several_loaders_without_a_word_are_refused(store: hardmine.ParameterStore) -> None:
    search = mining(store)
    with pytest.raises(InputError, match=r"say which part of the batch is mined, View\(part="):
        fit(Several(), search.around([loader(Segmented()), loader(Segmented())]), callbacks=[search.callback()])


@pytest.mark.parametrize("stored", [True, False])
def test_updates_wait_for_pieces(store: hardmine.ParameterStore, stored: bool) -> None:
    """Their samples can be asked for by number; without numbers one line says what to do."""
    update = hardmine.Update(every=2, stored=stored)
    search = mine(store, Segmenter(), loader(hardmine.Numbered(Segmented()), shuffle=True), update=update, **LINES)
    assert search.tally.pieces == 2 * (6 - 2)  # a plain step before `start`, and one that learns what is usual
    plain = mining(store, update=update)
    with pytest.raises(InputError, match=r"update.every .*hardmine.Numbered\(dataset\)"):
        fit(Segmenter(), plain.around(loader(Segmented())), callbacks=[plain.callback()])


def test_user_code_finds_its_data_module(store: hardmine.ParameterStore) -> None:
    class Data(L.LightningDataModule):
        def __init__(self) -> None:
            super().__init__()
            self.palette = "day"

        def train_dataloader(self) -> DataLoader[Any]:
            return loader(Segmented())

    class Asking(Segmenter):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            assert self.trainer.datamodule.palette == "day"  # type: ignore[attr-defined]
            return super().training_step(batch, batch_idx)

    mine(store, Asking(), Data(), **LINES)


class Hooked(Segmenter):
    """Hooks that work in place, count, and draw from a generator of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.chance = 0, torch.Generator().manual_seed(5)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        self.calls += 1
        image, labels = batch
        labels.add_(1).remainder_(3)
        return image + 0.01 * self.calls + 0.01 * torch.rand((), generator=self.chance), labels


def test_hooks_act_once_on_what_is_trained(store: hardmine.ParameterStore) -> None:
    seen = []
    for search in (None, mining(store, mix=hardmine.Mix(mined=0.0))):
        L.seed_everything(0, verbose=False)
        module = Hooked()
        seen.append(watch(module))
        data: Any = loader(Segmented())
        fit(module, data if search is None else search.around(data), callbacks=[search.callback()] if search else [])
        assert module.calls == 6
    for plain, mined in zip(seen[0].batches, seen[1].batches, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(plain, mined, strict=True))


def test_the_loader_is_the_users_own_again(store: hardmine.ParameterStore) -> None:
    data = loader(Segmented())
    collate = data.collate_fn
    mine(store, Segmenter(), data, **LINES)
    assert data.collate_fn is collate and len(next(iter(data))) == 2


def test_the_callback_alone_is_refused(store: hardmine.ParameterStore) -> None:
    with pytest.raises(InputError, match=r"trainer.fit\(module, mining.around\(data\)\)"):
        fit(Segmenter(), loader(Segmented()), callbacks=[mining(store).callback()])


def test_a_fit_that_ends_before_mining_begins_says_so(
    store: hardmine.ParameterStore, caplog: pytest.LogCaptureFixture
) -> None:
    search = mining(store, start=100)
    fit(Segmenter(), search.around(loader(Segmented())), callbacks=[search.callback()])
    assert "nothing was mined: the model was updated 6 times, and mining begins after 100" in caplog.text


def test_no_logging_interval(store: hardmine.ParameterStore) -> None:
    mine(store, Segmenter(), loader(Segmented()), trainer={"log_every_n_steps": 0}, **LINES)


class Sigmoid(Segmenter):
    """Ends in probabilities, as many published networks do."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes=classes)

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        given = self(x)
        if given.shape[1] == 1:
            return nn.functional.binary_cross_entropy(given[:, 0], (y > 0).float())
        return nn.functional.nll_loss(given.log(), y)


@pytest.mark.parametrize("classes", [1, 3])
def test_probabilities_are_scored_as_such(
    store: hardmine.ParameterStore, classes: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = Segmented()
    data.labels = data.labels.clamp(max=max(1, classes - 1))
    search = mine(store, Sigmoid(classes), loader(data), **LINES)
    assert "the model gives probabilities, not logits" in caplog.text
    assert search.offered is not None and search.offered.score is not None
    assert len(set(search.offered.score.tolist())) > 1
