"""Losses, weights and scores that are no numbers: counted, never kept, said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import RIVERSIDE, TINY, UNET, make_recipe, make_store
from test_cli import fails
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hardmine.callbacks import AtomicCheckpointIO, Finite
from hardmine.cli import main
from hardmine.errors import InputError, TrainingError
from hardmine.finite import look_at_weights, nan_weight
from hardmine.miner import Miner
from hardmine.neighbourhood import Random
from hardmine.runs import RunFolder

NAN, INF = float("nan"), float("inf")


class Lossy(L.LightningModule):
    """Its losses are known."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.losses = losses

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.weight.sum() * 0 + self.losses[batch_idx]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0)


def fit(losses: list[float], patience: int) -> Finite:
    finite = Finite(patience)
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[finite], enable_model_summary=False, log_every_n_steps=1, **quiet
    )
    trainer.fit(Lossy(losses), DataLoader(range(len(losses))))  # type: ignore[arg-type]
    return finite


@pytest.mark.parametrize(
    ("losses", "steps"), [([1, 1], 0), ([1, NAN, 1], 1), ([INF, 1, -INF, 1], 2), ([NAN, NAN, 1, NAN, NAN], 4)]
)
def test_counted(losses: list[float], steps: int) -> None:
    finite = fit(losses, patience=3)
    assert finite.steps == steps
    later = Finite(3)
    later.load_state_dict(finite.state_dict())
    assert later.steps == steps


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_training_ends(value: float) -> None:
    with pytest.raises(TrainingError, match=r"latest 3 steps up to step 4 \(trainer\.patience_nonfinite\): lower"):
        fit([1, value, value, value, 1, 1], patience=3)


def test_weights() -> None:
    good = {"a": torch.ones(2), "mask": torch.tensor([-INF]), "n": torch.tensor(3), "text": "nan"}
    assert nan_weight(good) is None
    bad = {**good, "b": torch.tensor([1, NAN])}
    assert nan_weight(bad) == "b"
    with pytest.raises(InputError, match=r"a\.ckpt: weights are NaN \(b\): take"):
        look_at_weights("a.ckpt", bad)


def test_a_good_checkpoint_stays(tmp_path: Path) -> None:
    files, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    files.save_checkpoint({"state_dict": {"a": torch.ones(1)}}, path)
    before = path.read_bytes()
    files.save_checkpoint({"state_dict": {"a": torch.tensor(NAN)}}, path)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_what_has_no_finite_score_is_no_piece() -> None:
    store = make_store()
    miner = Miner(store, Random(), threshold=1.1)
    rows = make_recipe(4, store)
    score = torch.tensor([NAN, INF, -INF, 0.5])
    _, verdict = miner.admit(rows, score, score[:, None].expand(-1, store.regions), torch.full((4,), -1))
    assert verdict.hard.tolist() == [False, False, False, True]
    assert (miner.tally.candidates, miner.tally.pieces, miner.tally.unscored, len(miner.buffer)) == (4, 1, 3, 1)


def arguments(run: Path, *more: str) -> list[str]:
    return ["train", *RIVERSIDE, *UNET, *TINY, f"hydra.run.dir={run}", *more]


def test_a_run_that_diverges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    lost = ["task.lr=1e30", "trainer.max_steps=40", "trainer.patience_nonfinite=4", "neighbourhood=none"]
    with pytest.raises(SystemExit) as caught:
        main(arguments(run, *lost, "callbacks.checkpoint.every_n_train_steps=1", "trainer.val_check_interval=100"))
    error = capsys.readouterr().err
    assert caught.value.code == 1 and "Traceback" not in error
    (line,) = [line for line in error.splitlines() if line.startswith("hardmine: error: ")]
    assert "the loss was NaN or infinite in the latest 4 steps" in line
    checkpoint = run / "checkpoints/last.ckpt"
    if checkpoint.exists():
        assert nan_weight(torch.load(checkpoint, weights_only=True)["state_dict"]) is None


def test_weights_that_are_lost_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In fewer steps than are waited for: the run is not finished, and no weights are kept."""
    run = tmp_path / "run"
    with pytest.raises(SystemExit) as caught:
        main(arguments(run, "task.weight_decay=1e30", "task.lr=1e20", "trainer.max_steps=3", "neighbourhood=none"))
    error = capsys.readouterr().err
    assert caught.value.code == 1 and "Traceback" not in error
    (line,) = [line for line in error.splitlines() if line.startswith("hardmine: error: ")]
    assert "weights are NaN or infinite" in line and "after step 3: lower task.lr" in line
    assert not (run / "summary.json").exists() and not (run / "checkpoints/last.ckpt").exists()
    assert RunFolder(run).finished(3) is None


def test_weights_that_are_nan_are_not_gone_on_with(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, few = tmp_path / "run", ["trainer.max_steps=1", "mining.threshold=0"]
    main(arguments(run, *few))
    summary = json.loads((run / "summary.json").read_text())
    assert summary["nonfinite_steps"] == summary["unscored"] == 0 and summary["nothing_mined"]
    assert "nothing was mined: no candidate was hard" in capsys.readouterr().out
    checkpoint = run / "checkpoints/last.ckpt"
    saved = torch.load(checkpoint, weights_only=True)
    next(iter(saved["state_dict"].values())).fill_(NAN)
    torch.save(saved, checkpoint)
    assert "weights are NaN" in fails(capsys, "train", f"resume={run}", "trainer.max_steps=2")
    assert "weights are NaN" in fails(capsys, *arguments(tmp_path / "other", f"ckpt={checkpoint}"))
    assert not (tmp_path / "other").exists()


STOP = "+callbacks.stop={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/miuo}"


@pytest.mark.parametrize(
    ("more", "code", "told"),
    [
        ([STOP], 2, "callbacks.stop.monitor=val/miuo: validation has no such figure (did you mean `val/miou`?)"),
        (
            [STOP.replace("val/miuo", "lost"), "trainer.val_check_interval=1"],
            1,
            "callbacks.stop: Early stopping conditioned on metric `lost`",
        ),
        (["trainer.max_steps=2", "mining.start=5"], None, "mining begins after 5: set mining.start lower"),
        (["+trainer.limit_train_batches=0"], None, "nothing was mined: training ended after 0 steps"),
    ],
)
def test_said_in_a_line(
    more: list[str], code: int | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Callable[[], None] = lambda: main(arguments(tmp_path / "run", *more))  # noqa: E731
    if code is None:
        run()
    else:
        with pytest.raises(SystemExit) as caught:
            run()
        assert caught.value.code == code
    shown = capsys.readouterr()
    assert told in shown.out + shown.err and "Traceback" not in shown.err
