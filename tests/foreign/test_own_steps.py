"""What modules and hooks do to a batch themselves: it is judged as it is trained on, or refused, or told."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelPruning
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn

import hardmine
from foreign.conftest import AREAS, Segmented, Segmenter, fit, loader, mine, quiet
from hardmine.errors import InputError

MEAN, STD = torch.tensor([0.48, 0.46, 0.41])[:, None, None], torch.tensor([0.23, 0.22, 0.22])[:, None, None]
OTHER = "training_step gives the model other images than it is judged on"


def refused(module: L.LightningModule, store: hardmine.ParameterStore, message: str, **keywords: Any) -> None:
    search = hardmine.Mining(store, areas=AREAS, **{"start": 100, **keywords})
    with pytest.raises(InputError, match=message) as caught:
        fit(module, search.around(loader(Segmented())), callbacks=[search.callback()], max_steps=2)
    assert "\n" not in str(caught.value)


class Normalising(Segmenter):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return super().training_step(((x - MEAN) / STD, y), batch_idx)


class WithoutCall(Segmenter):
    """Hands the images to its net, not to its forward."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.net(x * 2 - 1), y)


class FromLevels(Segmenter):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return super().training_step((x * 255, y), batch_idx)


@pytest.mark.parametrize("module", [Normalising, WithoutCall, FromLevels])
def test_a_step_that_normalises_is_refused_at_once(
    store: hardmine.ParameterStore, module: type[L.LightningModule]
) -> None:
    refused(module(), store, "training_step changes the values of the images before the model sees them")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_with_predict_it_is_mined(
    store: hardmine.ParameterStore, precision: str, caplog: pytest.LogCaptureFixture
) -> None:
    def predict(module: nn.Module, batch: tuple[Tensor, Tensor]) -> Any:
        return module((batch[0] - MEAN.to(batch[0])) / STD.to(batch[0]))

    class Cast(Normalising):
        def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
            x, y = batch
            return Segmenter.training_step(self, ((x - MEAN.to(x)) / STD.to(x), y), batch_idx)

    mine(store, Cast(), loader(Segmented()), areas=AREAS, predict=predict, trainer={"precision": precision})
    assert OTHER not in caplog.text


class Halving(Segmenter):
    """Trains on smaller images."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return super().training_step((nn.functional.interpolate(x, scale_factor=0.5), y[:, ::2, ::2]), batch_idx)


class Mixing(Segmenter):
    """Mixes each image with another one."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        logits = self(0.7 * x + 0.3 * x.flip(0))
        return 0.7 * nn.functional.cross_entropy(logits, y) + 0.3 * nn.functional.cross_entropy(logits, y.flip(0))


@pytest.mark.parametrize("module", [Halving, Mixing])
def test_a_step_that_augments_is_mined_and_told(
    store: hardmine.ParameterStore, module: type[L.LightningModule], caplog: pytest.LogCaptureFixture
) -> None:
    mine(store, module(), loader(Segmented()), areas=AREAS)
    assert caplog.text.count(OTHER) == 1


def test_a_plain_step_is_no_news(store: hardmine.ParameterStore, caplog: pytest.LogCaptureFixture) -> None:
    mine(store, Segmenter(), loader(Segmented()), areas=AREAS)
    assert OTHER not in caplog.text


class Normed(Segmenter):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Conv2d(8, 3, 1))


class Noise:
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        self.numpy, self.torch = np.random.default_rng(0), torch.Generator().manual_seed(0)

    def __call__(self, x: Tensor) -> Tensor:
        noise = torch.rand(x.shape, generator=self.torch)
        return x + 0.1 * noise * self.numpy.random()


class Noisy(Normed):
    """Augments where Lightning's hook is, and draws in its forward; counts what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.noise, self.inside, self.seen = Noise(), {"noise": Noise()}, torch.zeros(())

    def on_after_batch_transfer(self, batch: tuple[Tensor, Tensor], dataloader_idx: int) -> tuple[Tensor, Tensor]:
        x, y = batch
        return self.noise(x), y

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return super().forward(self.inside["noise"](x)) * (1 + 1e-3 * self.seen)


@pytest.mark.parametrize("kind", [Normed, Noisy])
def test_the_rehearsal_leaves_no_trace(store: hardmine.ParameterStore, kind: type[L.LightningModule]) -> None:
    """Without a piece the weights are those of plain training, bit for bit, with dropout and batch norm too."""

    def trained(mined: bool) -> dict[str, Tensor]:
        L.seed_everything(0, verbose=False)
        module, data = kind(), loader(Segmented(), shuffle=True)
        search = hardmine.Mining(store, areas=AREAS, threshold=0.0, start=0)
        if mined:
            fit(module, search.around(data), callbacks=[search.callback()])
        else:
            fit(module, data)
        assert all(not child._forward_pre_hooks for child in module.modules())
        return module.state_dict()

    plain, mined = trained(False), trained(True)
    assert all(torch.equal(plain[name], mined[name]) for name in plain)


class Binary(L.LightningModule):
    """One probability for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[:, 0].sigmoid()  # type: ignore[no-any-return]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.binary_cross_entropy(self(x), y.float())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def test_probabilities_are_known_after_some_small_batches(
    whole_store: hardmine.ParameterStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Pictures(Segmented):
        def __getitem__(self, index: int) -> Any:
            return self.image[index] / 255, index % 2

    search = mine(whole_store, Binary(), loader(Pictures()), trainer={"max_steps": 24}, areas=["image"])
    assert len([line for line in caplog.messages if "probabilities, not logits" in line]) == 1
    assert search.offered is not None and search.offered.score is not None
    right = search.offered.prediction.softmax(1)[torch.arange(4), search.offered.labels["target"]]
    assert torch.allclose(search.offered.score, right, atol=1e-5)


def test_lazy_layers_are_refused(store: hardmine.ParameterStore) -> None:
    module = Segmenter()
    module.net = nn.Sequential(nn.LazyConv2d(8, 3, padding=1), nn.Conv2d(8, 3, 1))
    refused(module, store, "lazy layers whose size is not known yet: run it on a batch before fit")


@pytest.mark.parametrize("scoring", [hardmine.CorrectRate(), hardmine.Confidence()])
def test_a_scoring_of_another_kind_is_refused(store: hardmine.ParameterStore, scoring: Any) -> None:
    refused(Segmenter(), store, "cannot score labels that are label maps", scoring=scoring)


@pytest.mark.filterwarnings("ignore:train_dataloader yielded None")
def test_batches_of_none_are_no_updates(store: hardmine.ParameterStore) -> None:
    """A collate function may give None for samples that are broken."""
    calls = 0

    def collate(samples: Any) -> Any:
        nonlocal calls
        calls += 1
        return None if calls % 3 == 0 else torch.utils.data.default_collate(samples)

    search = mine(store, Segmenter(), loader(Segmented(), collate_fn=collate), areas=AREAS)
    assert search.step == 6


def test_data_that_needs_its_trainer_and_is_sent_to_other_processes(store: hardmine.ParameterStore) -> None:
    class Asking(L.LightningDataModule):
        def prepare_data(self) -> None:
            assert self.trainer is not None

        def train_dataloader(self) -> Any:
            return loader(Segmented())

    mine(store, Segmenter(), Asking(), areas=AREAS)
    around = hardmine.Mining(store, areas=AREAS).around([1], val=[2])
    assert pickle.loads(pickle.dumps(around)).val_dataloader() == [2]


class Keeping(Segmenter):
    """Keeps the last output, also that of validation, and an expanded tensor that nobody may write into."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.wide = torch.zeros(()), torch.zeros(1).expand(3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        self.last = logits.detach()
        return logits

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self(batch[0])


def test_what_a_module_keeps_from_validation(store: hardmine.ParameterStore) -> None:
    data = loader(Segmented())
    mine(store, Keeping(), data, val=data, areas=AREAS, trainer={"val_check_interval": 1})


class ByHand(Segmenter):
    """Optimises by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:  # type: ignore[override]
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        optimizer.step()


def test_a_resumed_run_by_hand_keeps_its_ledger(store: hardmine.ParameterStore, tmp_path: Path) -> None:
    def run(steps: int, **resumed: Any) -> hardmine.Mining:
        search = hardmine.Mining(store, areas=AREAS, start=1, threshold=1.1, hardest=1.0, ledger=tmp_path / "ledger")
        trainer = quiet(search.callback(), max_steps=steps)
        trainer.fit(ByHand(), search.around(loader(Segmented())), **resumed)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return search

    run(4)
    search = run(8, ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True)
    assert search.ledger is not None and len(search.ledger.read()) == search.tally.candidates


class Giving(Segmenter):
    """Gives something in place of logits."""

    def __init__(self, give: Any) -> None:
        super().__init__()
        self.give = give

    def forward(self, x: Tensor) -> Any:
        return self.give(self.net(x))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda z: z.permute(0, 2, 3, 1), "classes come second"),
        (lambda z: (z.repeat(1, 4, 1, 1), z), "several tensors that may be the logits"),
        (lambda z: z[:, :2], "the model gives 2 classes and a label is 2"),
        (lambda z: z.mean((2, 3)), "predict: the model gives"),
        (lambda z: z[:2], "predict: the model gives"),
        (lambda z: {"seg": z}, "no logits found"),
        (lambda z: z.nothing, "cannot be called with the images alone"),
        (lambda z: None, "no logits found"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_the_first_step(
    store: hardmine.ParameterStore, give: Any, message: str
) -> None:
    module = Giving(give)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    refused(module, store, message)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    "give",
    [
        lambda z: (z, z.mean((1, 2, 3))),
        lambda z: (z.mean(), z),
        lambda z: (z, z[:, :, ::2, ::2]),
        lambda z: {"out": z, "aux": z[:, :2]},
        lambda z: {"logits": z},
    ],
    ids=["with a number", "with a loss", "with smaller ones", "out", "logits"],
)
def test_logits_among_others_are_found(store: hardmine.ParameterStore, give: Any) -> None:
    search = mine(store, Giving(give), loader(Segmented()), areas=AREAS)
    assert search.offered is not None
    assert search.offered.prediction.shape == (4, 3, 32, 32)


class Named(torch.utils.data.Dataset[dict[str, Tensor]]):
    def __init__(self) -> None:
        self.data = Segmented()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image, labels = self.data[index]
        return {"picture": image, "truth": labels, "zones": labels.flip(0)}


def test_hooks_that_give_other_names(store: hardmine.ParameterStore) -> None:
    """What the view names is found before the hooks; after them, what they call it."""

    class Renaming(Segmenter):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Tensor, Tensor]:
            return batch["picture"], batch["truth"]

    view = hardmine.View(image="picture", label="truth", regions="zones", maps=["zones"])
    search = mine(store, Renaming(), loader(Named()), areas=AREAS, view=view)
    assert search.offered is not None
    zones = search.offered.labels["regions"]
    assert torch.equal(zones, search.offered.converted.regions)


def test_hooks_that_make_more_rows_are_refused(store: hardmine.ParameterStore) -> None:
    class Doubling(Segmenter):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return [torch.cat([each, each]) for each in batch]

    refused(Doubling(), store, "the hooks of the transfer make 8 rows of 4", start=0)


def test_a_part_that_has_ended_is_not_mined(store: hardmine.ParameterStore) -> None:
    class Both(Segmenter):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            parts = [part for part in batch.values() if part is not None]
            return torch.stack([super(Both, self).training_step(part, batch_idx) for part in parts]).sum()

    both = CombinedLoader({"a": loader(Segmented(4)), "b": loader(Segmented(16))}, "max_size")
    mine(store, Both(), both, areas=AREAS, view=hardmine.View(part="a"), trainer={"max_steps": 12})


def test_pruned_weights(store: hardmine.ParameterStore) -> None:
    search = hardmine.Mining(store, areas=AREAS, threshold=1.1, hardest=1.0, start=0)
    pruning = ModelPruning("l1_unstructured", amount=0.2, verbose=0)
    fit(Segmenter(), search.around(loader(Segmented())), callbacks=[search.callback(), pruning], max_steps=8)
    assert search.tally.pieces > 0


class Counting(L.LightningDataModule):
    """Counts its epochs and keeps what it was made with."""

    def __init__(self, batch_size: int = 4) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.epochs = 0

    def train_dataloader(self) -> Any:
        self.epochs += 1
        return loader(Segmented(), batch_size=self.hparams["batch_size"])

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = 10 * state_dict["epochs"]


@pytest.mark.parametrize("before", [False, True], ids=["plain first", "mined first"])
@pytest.mark.parametrize("after", [False, True], ids=["then plain", "then mined"])
def test_the_state_of_a_data_module_stays_its_own(
    store: hardmine.ParameterStore, tmp_path: Path, before: bool, after: bool
) -> None:
    """A run goes on from a checkpoint whether the one before it was mined or not."""

    def run(mined: bool, steps: int, checkpoint: str | None) -> Counting:
        data, search = Counting(), hardmine.Mining(store, areas=AREAS, start=0)
        callbacks = [search.callback()] if mined else []
        trainer = quiet(*callbacks, max_steps=steps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning warns of callbacks that a checkpoint has and a trainer lacks
            trainer.fit(Segmenter(), search.around(data) if mined else data, ckpt_path=checkpoint, weights_only=True)
        trainer.save_checkpoint(tmp_path / "run.ckpt")
        return data

    run(before, 2, None)
    saved = torch.load(tmp_path / "run.ckpt", weights_only=True)
    assert saved["Counting"] == {"epochs": 1} and saved["datamodule_hyper_parameters"] == {"batch_size": 4}
    assert "MiningDataModule" not in saved
    assert run(after, 4, str(tmp_path / "run.ckpt")).epochs >= 10


def test_a_search_goes_on_with_its_own_store_alone(store: hardmine.ParameterStore, tmp_path: Path) -> None:
    def run(store: hardmine.ParameterStore, steps: int, checkpoint: str | None, areas: Any = AREAS) -> None:
        search = hardmine.Mining(store, areas=areas, start=0)
        trainer = quiet(search.callback(), max_steps=steps)
        trainer.fit(Segmenter(), search.around(loader(Segmented())), ckpt_path=checkpoint, weights_only=True)
        trainer.save_checkpoint(tmp_path / "run.ckpt")

    run(store, 2, None)
    kept = str(tmp_path / "run.ckpt")
    with pytest.raises(InputError, match="another store, or over areas in another order"):
        run(store.with_(parameters=store.parameters + 1), 4, kept)
    with pytest.raises(InputError, match="another store, or over areas in another order"):
        run(store, 4, kept, areas=AREAS[::-1])
    run(store, 4, kept)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda store: hardmine.Mining("night"), "store must be a ParameterStore, got 'night'"),  # type: ignore[arg-type]
        (lambda store: hardmine.Mining(None), "store must be a ParameterStore, got None"),  # type: ignore[arg-type]
        (lambda store: hardmine.Mining(store, areas="road"), "areas must be a list of different names"),
        (lambda store: hardmine.Mining(store, areas={0: "road"}), "areas must be a list of different names"),  # type: ignore[arg-type]
        (lambda store: hardmine.Mining(store, areas=["road", "road"]), "areas must be a list of different names"),
        (lambda store: hardmine.Mining(store).around(None), "around: give a DataModule or loaders, got NoneType"),
        (lambda store: hardmine.Mining(store).around(Segmented()), r"got Segmented: DataLoader\(dataset\)"),
        (
            lambda store: hardmine.Mining(store).around(hardmine.Mining(store).around(loader(Segmented()))),
            "this data is mined already",
        ),
    ],
)
def test_arguments_that_cannot_be(store: hardmine.ParameterStore, made: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(store)


def test_areas_of_whole_images_are_told(whole_store: hardmine.ParameterStore, caplog: pytest.LogCaptureFixture) -> None:
    search = hardmine.Mining(whole_store, areas=["road", "sky"])
    search.read((torch.rand(2, 3, 8, 8), torch.tensor([0, 1])))
    assert "areas are not used: each image is one area" in caplog.text
