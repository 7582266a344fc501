"""The curve of a run: the numbers of Lightning's own validation and test, and no trace in the training."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import make_store
from lightning.pytorch.callbacks import EMAWeightAveraging
from omegaconf import DictConfig
from quality.rivals import Curve
from test_tasks import Halves, Masks, Rows, make, trainer_of
from torch import Tensor
from torch.utils.data import DataLoader

from hardmine import Mining
from hardmine.cli.train import train
from hardmine.errors import InputError

Configured = Callable[..., DictConfig]


class Data(L.LightningDataModule):
    """Halves the images on the device, and notes for each batch whether the trainer is training."""

    def __init__(self, rows: type[Rows] = Masks) -> None:
        super().__init__()
        self.rows = rows
        self.stages: list[bool] = []

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(self.rows(), batch_size=2, shuffle=True)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(self.rows(), batch_size=2)

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(self.rows(), batch_size=4)

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        assert self.trainer is not None
        self.stages.append(self.trainer.training)
        return {**batch, "image": batch["image"] * 0.5}  # must be seen by whoever measures


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def metrics(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name.startswith(("val/", "test/"))}


def fitted(path: Path | None, kind: str = "segmentation", **settings: Any) -> tuple[Any, L.Trainer, Data]:
    """A run of a few steps; without a path, without a curve."""
    callbacks = [*settings.pop("callbacks", []), *([] if path is None else [Curve(str(path), every=2)])]
    data = Data(Masks if kind == "segmentation" else Rows)
    task, _ = make(kind)
    trainer = trainer_of(**{"callbacks": callbacks, "max_steps": 5, "limit_val_batches": 1, **settings})
    trainer.fit(task, data)
    return task, trainer, data


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("kind", ["segmentation", "classification", "fcos"])
def test_the_numbers_are_those_of_validation_and_test(kind: str, precision: str, tmp_path: Path) -> None:
    task, trainer, data = fitted(tmp_path / "curve.json", kind, precision=precision)
    rows = rows_of(tmp_path / "curve.json")
    assert [row["step"] for row in rows] == [0, 2, 4, 5]
    last = metrics(rows[-1])
    wanted = {**trainer.validate(task, data, verbose=False)[0], **trainer.test(task, data, verbose=False)[0]}
    assert {name: value if value is not None else "NaN" for name, value in last.items()} == {
        name: value if value == value else "NaN" for name, value in wanted.items()
    }
    assert f"test/{task.metric}/night" in last
    assert f"val/{task.metric}/night" not in last  # one batch, of days
    assert rows[0]["seconds"] == 0 < rows[1]["seconds"] < rows[-1]["seconds"]
    assert {rows[-1][name] for name in ("pieces", "candidates", "neighbours", "first", "first_pieces")} == {0}


@pytest.mark.parametrize("kind", ["segmentation", "fcos"])
def test_measuring_leaves_no_trace(kind: str, tmp_path: Path) -> None:
    one, _, data = fitted(tmp_path / "curve.json", kind)
    state = torch.get_rng_state()
    two, _, _ = fitted(None, kind)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
    assert all(module.training for module in one.modules()) == all(module.training for module in two.modules())
    assert data.stages.count(True) == 5  # the data knew when it was not trained on
    assert all(not measure.compute() for measure in one.measures.values())


def test_averaged_weights_are_measured_and_training_goes_on_with_its_own(tmp_path: Path) -> None:
    def average() -> list[L.Callback]:
        return [EMAWeightAveraging(decay=0.5)]

    # whichever stands first, the average has had its step
    reference = Curve(str(tmp_path / "first.json"), every=2)
    fitted(None, callbacks=[reference, *average()])
    one, trainer, data = fitted(tmp_path / "curve.json", callbacks=average())
    two, _, _ = fitted(None, callbacks=average())
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
    rows = rows_of(tmp_path / "curve.json")
    assert [metrics(row) for row in rows] == [metrics(row) for row in rows_of(tmp_path / "first.json")]
    assert metrics(rows[-1]).items() >= trainer.test(one, data, verbose=False)[0].items()  # averaged at the end
    fitted(tmp_path / "plain.json")
    assert metrics(rows[2]) != metrics(rows_of(tmp_path / "plain.json")[2])


def test_what_lightning_validates_is_what_the_average_gives(tmp_path: Path) -> None:
    class Validated(L.Callback):
        def __init__(self) -> None:
            self.values: list[float] = []

        def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            self.values.append(float(trainer.callback_metrics["val/miou"]))

    seen = Validated()
    settings: dict[str, Any] = {
        "val_check_interval": 2,
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0,
        "max_steps": 4,
    }
    fitted(tmp_path / "curve.json", callbacks=[EMAWeightAveraging(decay=0.9), seen], **settings)
    rows = rows_of(tmp_path / "curve.json")
    assert len(rows) == 3
    assert [row["val/miou"] for row in rows[1:]] == seen.values


def test_a_mined_run_and_its_resumption(configured: Configured, tmp_path: Path) -> None:
    def run(name: str, steps: int, *more: str) -> list[dict[str, Any]]:
        path = tmp_path / name / "curve.json"
        curve = f"+callbacks.curve={{_target_: quality.rivals.Curve, path: {path}, every: 3}}"
        options = ("mining.threshold=1.1", "callbacks.checkpoint.every_n_train_steps=2", f"trainer.max_steps={steps}")
        summary = train(configured(curve, *options, *more, run=name))
        rows = rows_of(path)
        for key, value in metrics(rows[-1]).items():
            assert summary[key] == value or (value is None and summary[key] != summary[key])
        return rows

    whole = run("whole", 6)
    assert [(row["step"], row["candidates"], row["pieces"]) for row in whole] == [(0, 0, 0), (3, 12, 12), (6, 24, 24)]
    assert all(row["first"] + row["neighbours"] == row["candidates"] for row in whole)
    assert whole[-1]["neighbour_pieces"] + whole[-1]["first_pieces"] == 24 and whole[-1]["neighbours"] > 0
    assert any(name.startswith("test/iou/") for name in whole[-1]) and "test/miou/night_rainy" in whole[-1]
    run("parts", 3)
    parts = run("parts", 6, f"resume={tmp_path / 'parts'}")
    timeless = [[{**row, "seconds": 0} for row in rows] for rows in (whole, parts)]
    assert timeless[0] == timeless[1]
    assert parts[1]["seconds"] < parts[2]["seconds"]


def test_rows_later_than_the_step_of_a_resumption_are_dropped() -> None:
    curve = Curve("nowhere.json", every=2)
    curve.load_state_dict({"rows": [{"step": 0}, {"step": 2}, {"step": 4}], "seconds": 7.0})
    trainer = trainer_of()
    trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = 3
    curve.on_train_start(trainer, L.LightningModule())
    assert [row["step"] for row in curve.rows] == [0, 2]
    assert curve.state_dict()["seconds"] > 7


def test_it_comes_after_the_verdicts_and_before_the_checkpoints(tmp_path: Path) -> None:
    curve = Curve(str(tmp_path / "curve.json"), every=2)
    mining = Mining(make_store()).callback()
    trainer = trainer_of(callbacks=[curve, mining], enable_checkpointing=True, default_root_dir=tmp_path)
    trainer.datamodule = Data()  # type: ignore[attr-defined]
    curve.setup(trainer, make("segmentation")[0], "fit")
    names = [type(callback).__name__ for callback in trainer.callbacks]  # type: ignore[attr-defined]
    assert names.index("HardMining") < names.index("Curve") < names.index("ModelCheckpoint")
    assert len(names) == len(set(names))


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match="every must be at least 1"):
        Curve("curve.json", every=0)
    task, loader = make("segmentation")
    with pytest.raises(InputError, match="needs a DataModule"):
        trainer_of(callbacks=[Curve("curve.json", every=1)]).fit(task, loader, loader)
    with pytest.raises(InputError, match="hardmine's tasks"):
        Curve("curve.json", every=1).setup(trainer_of(), L.LightningModule(), "fit")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_two_ranks_measure_together(tmp_path: Path) -> None:
    """Each sees another environment; the row has both, and the file is written once."""
    task, _ = make("fcos")
    trainer = trainer_of(
        devices=2,
        strategy="ddp_fork_find_unused_parameters_true",
        use_distributed_sampler=False,
        callbacks=[Curve(str(tmp_path / "curve.json"), every=1)],
        limit_val_batches=0,
    )
    trainer.fit(task, HalvesData())
    rows = rows_of(tmp_path / "curve.json")
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert {"test/map50", "test/map50/day", "test/map50/night"} <= metrics(rows[-1]).keys()
    assert not any(name.startswith("val/") for name in rows[-1])


class HalvesData(Data):
    def __init__(self) -> None:
        super().__init__(Halves)
