"""How a run is trained: its length, schedule, loss, averaged weights, checkpoints, loggers, compiled or not."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import lightning as L
import pyarrow.parquet as pq
import pytest
import torch
from conftest import same_rows
from omegaconf import DictConfig, OmegaConf
from test_train import assert_equal, weights
from torch import nn

from hardmine.cli.build import _balanced, build_frozen_task
from hardmine.cli.config import with_end
from hardmine.cli.networks import compile_network, network
from hardmine.cli.ranges import look_at_ranges
from hardmine.cli.train import train
from hardmine.errors import InputError
from hardmine.frozen import look_at_frozen
from hardmine.tasks.averaged import Averaged
from hardmine.tasks.classifiers import classifier
from hardmine.tasks.losses import Loss, PixelLoss, balanced
from hardmine.tasks.optimisation import Optimisation

Configured = Callable[..., DictConfig]
SMALL = ["model.encoder_name=tu-test_resnet", "neighbourhood=none", "~callbacks.before"]


# How long


def test_epochs_end_a_run_and_a_longer_one_goes_on(
    configured: Configured, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An epoch of 12 source images, 4 a step, is 3 steps; with one row in four a target it is 4."""
    epochs = [*SMALL, "trainer.max_steps=-1", "data.batch_size=4"]
    whole = train(configured(*epochs, "trainer.max_epochs=2", run="whole"))
    assert whole["steps"] == 6
    assert "an epoch of 12 source images is 3 steps: 2 epochs are 6 steps" in caplog.text
    train(configured(*epochs, "trainer.max_epochs=1", run="parts"))
    train(configured(*epochs, "trainer.max_epochs=2", f"resume={tmp_path / 'parts'}", run="parts"))
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert train(configured(*epochs, "trainer.max_epochs=1", "data.targets=0.25", run="targets"))["steps"] == 4


def test_an_epoch_that_was_cut_short_goes_on(configured: Configured, tmp_path: Path) -> None:
    """A signal in the middle of an epoch is no end of it, and no reason to validate."""
    options = [
        *SMALL, "trainer.max_steps=-1", "trainer.max_epochs=2", "data.batch_size=4", "checkpoint=best",
        "early_stopping=validation", "trainer.val_check_interval=3",
    ]  # fmt: skip
    whole = train(configured(*options, run="whole"))
    assert whole["steps"] == 6

    class Stop(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
            if trainer.global_step == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        train(configured(*options, run="parts"), [Stop()])
    assert not list((tmp_path / "parts/checkpoints").glob("best*"))
    resumed = train(configured(*options, f"resume={tmp_path / 'parts'}", run="parts"))
    assert {k: v for k, v in whole.items() if k != "seconds"} == {k: v for k, v in resumed.items() if k != "seconds"}
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


@pytest.mark.parametrize(
    ("given", "added"),
    [
        (["trainer.max_epochs=3"], ["trainer.max_steps=-1"]),
        (["trainer.max_steps=3"], ["trainer.max_epochs=-1"]),
        (["trainer.max_epochs=1,2", "-m"], ["trainer.max_steps=-1"]),
        (["trainer.max_epochs=3", "trainer.max_steps=3"], []),
        (["trainer.max_epochs=-1"], []),
        (["~trainer.max_epochs"], []),
        (["task.lr=1"], []),
    ],
)
def test_one_length_takes_the_place_of_the_other(given: list[str], added: list[str]) -> None:
    assert with_end(given) == [*given, *added]


def test_two_lengths_are_refused(configured: Configured) -> None:
    with pytest.raises(InputError, match=r"^trainer\.max_epochs=2: trainer\.max_steps=6 is set as well: keep one"):
        look_at_ranges(configured("trainer.max_epochs=2"))


# Schedule


def test_the_rate_rises_falls_and_depends_on_the_step_alone() -> None:
    cosine = Optimisation(lr=2.0, schedule="cosine", warmup=4)
    rates = [cosine.rate(step, 20) for step in range(20)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[4:] == sorted(rates[4:], reverse=True) and 0 < rates[-1] < 0.05
    assert rates[12] == pytest.approx(1.0)  # in the middle
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.SGD([torch.zeros(1)], lr=2.0), 16)
    theirs.optimizer.step()
    for rate in rates[4:]:
        assert rate == pytest.approx(theirs.get_last_lr()[0])
        theirs.step()
    assert {Optimisation(lr=2.0).rate(step, 20) for step in (0, 19)} == {2.0}


def test_a_schedule_and_an_average_go_on_bit_for_bit(configured: Configured, tmp_path: Path) -> None:
    """Stopped in the middle; the judge of the search is the average that is written, and goes on as well."""
    options = [
        *("model.encoder_name=tu-test_resnet", "mining.threshold=1.1", "mining.decay=0.9", "task.ema=0.9"),
        *("task.schedule=cosine", "task.warmup=2", "callbacks.checkpoint.every_n_train_steps=2"),
    ]
    whole = train(configured(*options, run="whole"))

    class Stop(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
            if trainer.global_step == 4:
                raise KeyError("stopped")

    with pytest.raises(KeyError, match="stopped"):
        train(configured(*options, run="parts"), [Stop()])
    resumed = train(configured(*options, f"resume={tmp_path / 'parts'}", run="parts"))
    one, two = (torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True) for run in ("whole", "parts"))
    for key in ("state_dict", "trained_state_dict"):
        assert_equal(one[key], two[key])
    assert any(not torch.equal(value, one["trained_state_dict"][name]) for name, value in one["state_dict"].items())
    assert one["callbacks"]["HardMining"]["judge"] == {}  # there is one average
    assert {k: v for k, v in whole.items() if k != "seconds"} == {k: v for k, v in resumed.items() if k != "seconds"}
    assert same_rows(*(pq.read_table(tmp_path / run / "ledger") for run in ("whole", "parts")))


def test_another_rate_on_resume_is_told_and_taken(
    configured: Configured, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(configured(*SMALL, "trainer.max_steps=2"))
    at = f"resume={tmp_path / 'run'}"
    train(configured(*SMALL, "trainer.max_steps=3", at))
    assert "the learning rate" not in caplog.text
    train(configured(*SMALL, "trainer.max_steps=4", "task.lr=0.5", at))
    assert "the learning rate of step 3 is 0.5, and was 0.001 where the run was stopped" in caplog.text
    saved = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert saved["optimizer_states"][0]["param_groups"][0]["lr"] == 0.5


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["task.warmup=6"], "task.warmup=6 must be less than the 6 steps of the run: lower it"),
        (["task.ema=1"], "task.ema must be a share from 0 to below 1, or null, got 1"),
        (["task.loss=dice", "task.label_smoothing=0.1"], "task.label_smoothing does not go with task.loss=dice"),
        (["task.loss=lovasz", "task.class_weights=balanced"], "task.class_weights do not go with task.loss=lovasz"),
        (["task.class_weights=[1,2]"], "task.class_weights must be 4 numbers of 0 or more, one for each class"),
    ],
)
def test_what_does_not_go_together(configured: Configured, given: list[str], line: str) -> None:
    with pytest.raises(InputError) as refused:
        train(configured(*SMALL, *given))
    assert refused.value.keyed.startswith(line)


# Losses


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 2.0]], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", get_args(PixelLoss))
def test_void_teaches_nothing(name: PixelLoss, weights: list[float] | None) -> None:
    if name == "lovasz" and weights:
        return
    loss = Loss(name, 3, weights, ignore=255)
    logits, target = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randint(3, (2, 4, 5))
    target[:, :2] = 255
    loss(logits, target).backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, :2].any() and logits.grad[:, :, 2:].any()
    assert not loss.state_dict()
    perfect = nn.functional.one_hot(target.clamp(max=2), 3).permute(0, 3, 1, 2) * 50.0 - 25
    assert float(loss(perfect, target)) < 1e-3 < float(loss(-perfect, target))


def test_cross_entropy_is_torchs_and_the_sum_is_the_sum() -> None:
    logits, target = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    theirs = nn.functional.cross_entropy(logits, target, torch.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1)
    assert torch.equal(Loss("cross_entropy", 3, [1, 2, 3], 0.1)(logits, target), theirs)
    both = Loss("cross_entropy_dice", 3)(logits, target)
    assert both == Loss("cross_entropy", 3)(logits, target) + Loss("dice", 3)(logits, target)
    assert float(Loss("focal", 3)(logits[:, :, 0, 0], target[:, 0, 0])) > 0  # of one class per image


def test_balanced_classes_weigh_alike() -> None:
    count = torch.tensor([600, 300, 0, 100])
    weights = balanced(count)
    assert weights == pytest.approx([0.5556, 1.1111, 0.0, 3.3333])
    assert (torch.tensor(weights) * count).sum() == pytest.approx(1000, rel=1e-3)


def test_more_classes_than_a_byte_holds_are_balanced() -> None:
    """One image of each of 299 classes, and two of the last."""
    names = [str(label) for label in range(300)]
    labels: Any = [{"target": torch.tensor(label)} for label in [*range(300), 299]]
    weights = _balanced(SimpleNamespace(training=labels, classes=names))  # type: ignore[arg-type]
    assert len(weights) == 300
    assert weights[299] == pytest.approx(weights[0] / 2, abs=1e-4) and weights[255] == weights[0]


def test_a_run_with_all_of_it(configured: Configured, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is measured and written is the average: the file alone, without it, measures the same."""
    options = [*SMALL, "task.loss=cross_entropy_dice", "task.class_weights=balanced", "task.ema=0.5"]
    summary = train(configured(*options))
    assert "class weights: grass 0.614, " in caplog.text
    plain = configured(*SMALL, f"ckpt={tmp_path / 'run/checkpoints/last.ckpt'}", "trainer.max_steps=0", run="plain")
    again = train(plain)
    assert again["val/miou"] == summary["val/miou"] and again["test/miou"] == summary["test/miou"]
    frozen, _ = build_frozen_task(tmp_path / "run/checkpoints/last.ckpt", "ckpt", [])  # knows no labels to count
    assert_equal(frozen.state_dict(), weights(tmp_path / "run"))


# Checkpoints


BEST = ["checkpoint=best", "early_stopping=validation", "trainer.val_check_interval=1"]


class Falls(L.Callback):
    """Weights that are spoilt from a step on, so that validation is best before it."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        if trainer.global_step >= 3:
            with torch.no_grad():
                pl_module.net.segmentation_head[0].weight.zero_()  # type: ignore[union-attr, index]


def test_the_best_is_measured_and_training_ends_early_and_goes_on_alike(configured: Configured, tmp_path: Path) -> None:
    """Stopped after a validation that the checkpoint before it does not know of, if it is written too early."""
    options = [
        *SMALL, *BEST, "callbacks.early_stopping.patience=3", "callbacks.best.save_top_k=2", "trainer.max_steps=20",
        "callbacks.checkpoint.every_n_train_steps=1", "task.lr=0.01", "task.ema=null",
    ]  # fmt: skip
    whole = train(configured(*options, run="whole"), [Falls()])
    assert whole["steps"] < 20
    assert whole["stopped_early"].startswith("val/miou was not better in the latest 3 validations")
    kept = tmp_path / "whole/checkpoints"
    assert whole["best_score"] == whole["val/miou"]
    assert (kept / "best.ckpt").read_bytes() == (kept / whole["measured"]).read_bytes()
    assert len(list(kept.glob("best-*.ckpt"))) == 2

    class Stop(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
            if trainer.global_step == whole["steps"] - 1:
                raise KeyError("stopped")

    with pytest.raises(KeyError, match="stopped"):
        train(configured(*options, run="parts"), [Falls(), Stop()])
    moved = (tmp_path / "parts").rename(tmp_path / "moved")
    resumed = train(configured(*options, f"resume={moved}", run="moved"), [Falls()])
    assert {k: v for k, v in whole.items() if k != "seconds"} == {k: v for k, v in resumed.items() if k != "seconds"}
    assert {path.name for path in kept.iterdir()} == {path.name for path in (moved / "checkpoints").iterdir()}
    again = train(configured(*options, f"resume={moved}", run="moved"))
    assert again == resumed  # finished: nothing is trained
    more = train(configured(*options, "callbacks.early_stopping.patience=5", f"resume={moved}", run="moved"), [Falls()])
    assert more["steps"] == whole["steps"] + 2


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            ["callbacks.best.monitor=val/miuo"],
            "callbacks.best.monitor=val/miuo: validation has no such figure (did you",
        ),
        (
            ["data.counts={train: 12, val: 0, target: 8, test: 6}"],
            "callbacks.best.monitor=val/miou: there are no images",
        ),
        (["callbacks.best.monitor=strange"], "callbacks.best.mode: is strange better large or small?: say max or min"),
    ],
)
def test_a_figure_that_there_will_not_be(configured: Configured, given: list[str], line: str) -> None:
    with pytest.raises(InputError) as refused:
        train(configured(*SMALL, *BEST, *given))
    assert str(refused.value).startswith(line)


# Networks


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (
            {"_target_": "segmentation_models_pytorch.Unet", "encoder_weights": "imagenet"},
            "model.encoder_weights=imagenet",
        ),
        ({"_target_": "timm.create_model", "model_name": "resnet18", "pretrained": True}, "model.pretrained=True"),
        (
            {"_target_": "hardmine.tasks.classifiers.classifier", "num_classes": 3, "weights": "DEFAULT"},
            "model.weights=DEFAULT",
        ),
    ],
)
def test_pretrained_weights_without_a_network(
    model: dict[str, Any], line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One line, at once; and none are asked for where a checkpoint brings its own."""

    def nothing_answers(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", nothing_answers)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=rf"^{line}: pretrained weights cannot be downloaded"):
        network(OmegaConf.create(model))
    assert isinstance(network(OmegaConf.create(model), filled=True), nn.Module)


def test_pretrained_weights_go_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = {name: torch.full_like(value, 7) for name, value in classifier(1000).state_dict().items()}
    monkeypatch.setattr("torchvision.models._api.WeightsEnum.get_state_dict", lambda *_, **__: theirs)
    own = classifier(3, weights="DEFAULT").state_dict()
    assert {name for name, value in own.items() if not (value == 7).all()} == {"fc.weight", "fc.bias"}
    with pytest.raises(InputError, match=r"^weights=BEST: resnet18 has IMAGENET1K_V1"):
        classifier(3, weights="BEST")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in the modules that compiling imports
def test_a_compiled_network_has_the_same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = torch.compile, []

    def compiled(function: Any, **_: Any) -> Any:
        seen.append(function)
        return real(function, backend="eager")

    monkeypatch.setattr("torch.compile", compiled)
    net, x = nn.Sequential(nn.Linear(2, 3)), torch.ones(1, 2)
    before, names = net(x), list(net.state_dict())
    compile_network(net, torch.device("cpu"))
    assert torch.equal(net(x), before) and list(net.state_dict()) == names and len(seen) == 2


def test_without_a_compiler_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise RuntimeError("no g++")

    monkeypatch.setattr("torch.compile", none)
    with pytest.raises(InputError, match=r"^compile=true: nothing can be compiled for cpu here \(no g\+\+\): install"):
        compile_network(nn.Linear(1, 1), torch.device("cpu"))


# Loggers


def test_csv_keeps_what_was_logged_before_a_run_went_on(configured: Configured, tmp_path: Path) -> None:
    options = [*SMALL, "logger=csv", "trainer.log_every_n_steps=1", "task.warmup=2", "trainer.max_steps=3"]
    train(configured(*options))
    train(configured(*options, "trainer.max_steps=4", f"resume={tmp_path / 'run'}"))
    first, second = (tmp_path / "run" / name / "metrics.csv" for name in ("csv", "csv_2"))
    assert len(first.read_text().splitlines()) > len(second.read_text().splitlines()) > 1
    assert {"loss", "lr", "val/miou", "test/miou"} <= set(first.read_text().splitlines()[0].split(","))
    assert "test,all,," in first.with_name("environments.csv").read_text()


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_one_line(
    package: str, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hardmine.cli.loggers.find_spec", lambda _: None)
    with pytest.raises(InputError, match=rf"pip install 'hardmine\[{package}\]'$"):
        train(configured(f"logger={package}"))


TRACKED = [
    "trainer.log_every_n_steps=1",
    "report=true",
    "callbacks.pictures.every=3",
    "model.encoder_name=tu-test_resnet",
]


@pytest.mark.filterwarnings("ignore")  # these libraries' own
def test_mlflow_in_files(configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed: pip install 'hardmine[mlflow]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    summary = train(configured(*TRACKED, "logger=mlflow"))
    client = tracking.MlflowClient(f"file:{tmp_path / 'run/mlruns'}")
    runs = client.search_runs([client.get_experiment_by_name("hardmine").experiment_id])
    assert len(runs) == 1
    assert runs[0].data.metrics["test.miou"] == pytest.approx(summary["test/miou"])
    assert runs[0].data.params["task/lr"] == "0.001"
    files = {file.path for file in client.list_artifacts(runs[0].info.run_id)}
    assert {"report.html", "summary.json", "graph.png", "environments.md", "pictures"} <= files
    saved = OmegaConf.load(tmp_path / "run/.hydra/config.yaml")
    assert saved.logger.run_id == runs[0].info.run_id
    look_at_frozen(OmegaConf.to_container(saved, resolve=False), tmp_path / "run/.hydra/config.yaml")


@pytest.mark.filterwarnings("ignore")
def test_wandb_offline(configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed: pip install 'hardmine[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(configured(*TRACKED, "logger=wandb"))
    assert wandb.run is None  # the next one of a sweep has its own
    (offline,) = (tmp_path / "run/wandb").glob("offline-run-*")
    saved = OmegaConf.load(tmp_path / "run/.hydra/config.yaml")
    assert offline.name.endswith(saved.logger.id)
    assert list((offline / "files/media").rglob("*.png")) and list((offline / "files/media").rglob("*.table.json"))


@pytest.mark.parametrize(
    "more", [{"tracking_uri": "http://elsewhere"}, {"settings": {"base_url": "http://elsewhere"}}, {"entity": "them"}]
)
def test_a_run_folder_cannot_say_where_figures_go(more: dict[str, Any], tmp_path: Path) -> None:
    kind = "MLFlow" if "tracking_uri" in more else "Wandb"
    package = "hardmine.callbacks.tracking" if kind == "MLFlow" else "lightning.pytorch.loggers"
    frozen = {"logger": {"_target_": f"{package}.{kind}Logger", **more}}
    with pytest.raises(InputError, match=rf"would be given {next(iter(more))}: a run folder may not call it"):
        look_at_frozen(frozen, tmp_path / ".hydra/config.yaml")


def test_the_average_follows_quickly_at_first() -> None:
    module = nn.Linear(1, 1, bias=False)
    averaged = Averaged(0.5)
    averaged.begin(module)
    expected = module.weight.item()
    for step in range(20):
        with torch.no_grad():
            module.weight.fill_(float(step))
        averaged.follow(module, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with averaged.in_place(module):
        assert module.weight.item() == pytest.approx(expected, rel=1e-5)
    assert module.weight.item() == 19


def test_a_run_too_short_for_a_best_checkpoint_says_so(
    configured: Configured, caplog: pytest.LogCaptureFixture
) -> None:
    train(configured(*SMALL, "checkpoint=best", "trainer.max_steps=2", "trainer.val_check_interval=100"))
    assert "checkpoint=best kept none, as nothing was validated in 2 steps" in caplog.text
