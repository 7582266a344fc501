"""Sweeps: a bad run ends nothing but itself, the table at the end, and the search with Optuna."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from hardmine.cli.config import run_configured
from hardmine.errors import InputError
from hardmine.outcome import Outcome
from hardmine.report.metric import direction_of, main_metric
from hardmine.report.sweep import read_sweep, write_sweep


def fake(worth: Callable[[Any], float]) -> Callable[[Any], float]:
    """A run of no time that leaves what a training run leaves."""

    def run(cfg: Any) -> float:
        found = worth(cfg)
        summary = {"test/miou": 0.5, "val/miou": found, "val/miou/day": 0.1, "seconds": 1.0}
        (Path(cfg.run_dir) / "summary.json").write_text(json.dumps(summary))
        return found

    return run


def of_rate(cfg: Any) -> float:
    if cfg.task.lr > 0.5:
        raise InputError("task.lr: is too large: take less")
    if cfg.task.lr > 0.2:
        raise ZeroDivisionError("by nothing")
    return float(cfg.task.lr + 0.01 * cfg.seed)


def multirun(folder: Path, *arguments: str, run: Callable[[Any], Any] | None = None) -> int:
    """Exit code of `-m`."""
    try:
        run_configured("train", ["-m", f"hydra.sweep.dir={folder}", *arguments], run or fake(of_rate))
    except SystemExit as end:
        return int(str(end.code))
    return 0


def rows(folder: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(folder / "sweep.parquet").to_pylist())


# What Hydra's launchers run


def test_a_bad_run_ends_nothing_but_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert multirun(tmp_path / "s", "task.lr=0.9,0.1,0.3,0.2", "seed=0,1") == 1
    best, second, *bad = rows(tmp_path / "s")
    assert (best["task.lr"], second["task.lr"]) == ("0.2", "0.1") and best["seeds"] == ["0", "1"]
    assert best["objective"] == pytest.approx(0.205) and best["spread"] == pytest.approx(0.01 / math.sqrt(2))
    assert {row["task.lr"]: (row["status"], row["objective"], row["lines"][0]) for row in bad} == {
        "0.9": ("refused", None, "task.lr: is too large: take less"),
        "0.3": ("crashed", None, "ZeroDivisionError: by nothing"),
    }
    shown = capsys.readouterr().out
    assert "val/miou, larger is better" in shown and "(2 seeds)" in shown
    assert shown.count("task.lr=0.9: task.lr: is too large: take less") == 1
    assert (tmp_path / "s/sweep.png").stat().st_size > 1000


@pytest.mark.parametrize(("rates", "code"), [("0.1,0.2", 0), ("0.1,0.9", 2), ("0.9,0.3,0.1", 1)])
def test_the_exit_code_is_that_of_the_worst(rates: str, code: int, tmp_path: Path) -> None:
    assert multirun(tmp_path, f"task.lr={rates}") == code


def test_joblib_keeps_the_good_beside_the_bad(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")

    def run(cfg: Any) -> float:  # cloudpickle takes it along whole
        import json
        from pathlib import Path

        from hardmine.errors import InputError

        if cfg.task.lr > 0.5:
            raise InputError("task.lr: is too large: take less")
        (Path(cfg.run_dir) / "summary.json").write_text(json.dumps({"val/miou": 0.5}))
        return 0.5

    chosen = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "task.lr=0.9,0.1"]
    assert multirun(tmp_path, *chosen, run=run) == 2
    assert [row["status"] for row in rows(tmp_path)] == ["done", "refused"]


def test_a_launcher_that_fails_still_shows_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    launch = BasicLauncher.launch

    def fails(self: Any, job_overrides: Any, initial_job_idx: int) -> Any:
        launch(self, job_overrides, initial_job_idx)
        raise OSError("a worker is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BasicLauncher, "launch", fails)
        assert multirun(tmp_path, "task.lr=0.1,0.2") == 1
    shown = capsys.readouterr()
    assert "the launcher failed: OSError: a worker is gone" in shown.err
    assert [row["status"] for row in rows(tmp_path)] == ["done", "done"] and "val/miou" in shown.out


def test_a_used_sweep_folder_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "s"
    assert multirun(folder, "task.lr=0.1,0.2") == 0
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for other in (["task.lr=0.1,0.2"], ["task.lr=0.1,0.3", "resume=auto"]):
        assert multirun(folder, *other) == 2
        assert "holds a sweep already: go on with it by the same arguments and resume=auto" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == kept
    assert multirun(folder, "task.lr=0.1,0.2", "resume=auto") == 0


def test_ranks_do_not_run_the_sweep_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert multirun(tmp_path / "s", "seed=0,1") == 2
    assert "each of the 2 processes that torchrun has started would run the whole sweep" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


# The table


def made(folder: Path, *overrides: str, **summary: float) -> None:
    """A run folder of a sweep."""
    folder.mkdir(parents=True)
    Outcome(list(overrides), "done" if summary else "unfinished").save(folder)
    if summary:
        (folder / "summary.json").write_text(json.dumps({f"test/{name}": value for name, value in summary.items()}))


def test_a_point_that_lacks_a_seed_does_not_win(tmp_path: Path) -> None:
    for seed, (good, half) in enumerate([(0.5, 0.9), (0.6, None)]):
        made(tmp_path / f"a{seed}", f"seed={seed}", "model=a", miou=good)
        made(tmp_path / f"b{seed}", f"seed={seed}", "model=b", **({} if half is None else {"miou": half}))
    sweep = read_sweep(tmp_path)
    assert sweep.metric == "test/miou"
    assert [(point.values["model"], point.objective) for point in sweep.points] == [("a", 0.55), ("b", None)]
    assert sweep.points[1].status == "done, unfinished"


def test_the_best_is_first_whichever_way_is_better(tmp_path: Path) -> None:
    for name, miou, loss in [("a", 0.1, 3.0), ("b", 0.2, 2.0), ("c", 0.3, 4.0)]:
        made(tmp_path / name, f"model={name}", miou=miou, loss=loss)
    for metric, order in {"test/miou": "cba", "test/loss": "bac"}.items():
        assert "".join(point.values["model"] for point in read_sweep(tmp_path, metric).points) == order
    assert "".join(point.values["model"] for point in read_sweep(tmp_path, "test/loss", "maximize").points) == "cab"
    write_sweep(tmp_path, read_sweep(tmp_path))
    assert [row["model"] for row in rows(tmp_path)] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        (None, "maximize"),
        ("val/miou", "maximize"),
        ("test/balanced_accuracy/night", "maximize"),
        ("test/map50", "maximize"),
        ("val/loss", "minimize"),
        ("train_loss", "minimize"),
        ("seconds", "minimize"),
    ],
)
def test_the_direction_follows_the_metric(metric: str | None, direction: str) -> None:
    assert direction_of(metric) == direction


def test_an_unknown_metric_is_not_guessed() -> None:
    with pytest.raises(InputError, match=r"metric=val/beauty: is it better large or small\?: say direction=maximize"):
        direction_of("val/beauty")


def test_the_main_metric_is_on_val_where_there_is_val() -> None:
    assert main_metric({"steps": 1, "test/miou": 0, "val/miou/day": 0, "val/miou": 0}) == "val/miou"
    assert main_metric({"before/test/miou": 0, "test/miou/day": 0, "test/miou": 0}) == "test/miou"
    assert main_metric({"steps": 4}) is None
