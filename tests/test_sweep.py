"""Sweeps: a bad run ends nothing but itself, the table at the end, and the search with Optuna."""

import errno
import io
import json
import math
import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from hardmine.cli import main
from hardmine.cli.config import run_configured
from hardmine.errors import InputError
from hardmine.outcome import Outcome, PrunedError, recorded
from hardmine.report.metric import direction_of, main_metric
from hardmine.report.sweep import Point, Sweep, read_sweep, sweep_table, write_sweep
from hardmine.report.table import print_table
from hardmine.runs import RunFolder


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


def test_values_stand_in_the_table_as_they_are() -> None:
    """Rich reads `[day,night]` as a style, and cuts what is long."""
    point = Point(
        {"callbacks.early_stopping.patience": "[day,night]", "ckpt": f"{'a' * 60}/b"}, ["0"], [], [0.5], 1.0, ["done"]
    )
    console = Console(file=io.StringIO(), width=60)
    print_table(console, sweep_table(Sweep("val/miou", "maximize", [point])))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[day,night]" in said and "…" not in said and "0.5" in said


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


# The search


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Exit code of `hardmine sweep`, with a run of no time in place of training."""
    pytest.importorskip("optuna")

    def build(*arguments: str, worth: Callable[[Any], float] = of_rate, curve: bool = False) -> int:
        def train(cfg: Any, watching: Any) -> None:
            for step in range(3) if curve else ():
                if watching[0].worse(step, worth(cfg)):
                    raise PrunedError("worse than others")
            fake(worth)(cfg)

        monkeypatch.setattr("hardmine.cli.train.train", train)
        try:
            main(["sweep", f"out={tmp_path / 's'}", *arguments])
        except SystemExit as end:
            return int(str(end.code))
        return 0

    return build


def test_a_search_finds_what_is_better(
    sweep: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("trials=4", "task.lr=interval(0.0,0.2)", "seeds=[0,1]", "model=choice(unet,unet)") == 0
    found = rows(tmp_path / "s")
    assert len(found) == 4 and all(row["seeds"] == ["0", "1"] and row["status"] == "done" for row in found)
    assert found[0]["objective"] == max(row["objective"] for row in found)
    assert found[0]["objective"] == pytest.approx(float(found[0]["task.lr"]) + 0.005)
    assert sweep("trials=4", "task.lr=interval(0.0,0.2)", "seeds=[0,1]", "model=choice(unet,unet)") == 0
    assert rows(tmp_path / "s") == found  # there are as many as wanted
    assert sweep("trials=5", "task.lr=interval(0.0,0.3)", "seeds=[0,1]", "model=choice(unet,unet)") == 2
    assert "holds a sweep with arguments=" in capsys.readouterr().err
    for name in ("sweep.parquet", "sweep.png"):
        (tmp_path / "s" / name).unlink()
    main(["sweep", "report", str(tmp_path / "s")])
    assert rows(tmp_path / "s") == found and (tmp_path / "s/sweep.png").is_file()


def test_refused_and_crashed_points_do_not_end_a_search(sweep: Callable[..., int], tmp_path: Path) -> None:
    assert sweep("trials=7", "task.lr=choice(0.1,0.3,0.9)", "sampler=random", "storage=null") == 1
    status = {row["task.lr"]: row["status"] for row in rows(tmp_path / "s")}
    assert status == {"0.1": "done", "0.3": "crashed", "0.9": "refused"}


def test_poor_runs_are_pruned(sweep: Callable[..., int], tmp_path: Path) -> None:
    assert sweep("trials=9", "task.lr=interval(0.0,0.2)", "sampler=random", curve=True) == 0
    by = {status: [row for row in rows(tmp_path / "s") if row["status"] == status] for status in ("done", "pruned")}
    assert by["done"] and by["pruned"]
    assert min(float(row["task.lr"]) for row in by["done"]) < max(float(row["task.lr"]) for row in by["done"])


def test_a_stopped_search_goes_on_where_it_was(
    sweep: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run is ended by a signal; another process finds its folder unlocked, and makes it first."""
    done = 0

    def stopped(cfg: Any) -> float:
        nonlocal done
        done += 1
        if done == 2:
            raise SystemExit(143)
        return of_rate(cfg)

    space = ("trials=4", "task.lr=interval(0.0,0.2)")
    assert sweep(*space, worth=stopped) == 143
    before = json.loads((tmp_path / "s/1/outcome.json").read_text())
    monkeypatch.setattr(RunFolder, "busy", False)  # as it is once the process that locked it is gone
    assert sweep(*space) == 0
    assert "trial 1: its process has ended: it goes on" in "".join(capsys.readouterr())
    found = rows(tmp_path / "s")
    assert len(found) == 4 and ["1"] in [row["runs"] for row in found]
    assert {row["status"] for row in found} == {"done"}
    assert json.loads((tmp_path / "s/1/outcome.json").read_text())["overrides"] == before["overrides"]


def test_a_database_holds_a_search_too(sweep: Callable[..., int], tmp_path: Path) -> None:
    assert sweep("trials=2", "task.lr=interval(0.0,0.2)", f"storage=sqlite:///{tmp_path}/a.db") == 0
    assert len(rows(tmp_path / "s")) == 2 and (tmp_path / "a.db").is_file()
    assert not (tmp_path / "s/study.journal").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task.lr=0.1"], "sweep: nothing is searched: give KEY=choice"),
        (["task.lr=interval(0.2,0.1)"], r"task.lr=interval\(0.2,0.1\): the first must be less"),
        (["task.lr=tag(log,interval(0,0.1))"], "and above 0"),
        (["task.lrr=choice(1,2)"], "task.lrr.?: no such config key"),
        (["seed=choice(1,2)"], r"seed: is no setting to search: seeds=\[0,1,2\]"),
        (["task.lr=choice(1,2)", "trials=0"], "trials=0: must be at least 1"),
        (["task.lr=choice(1,2)", "trials=many"], "trials must be a whole number, got 'many'"),
        (["task.lr=choice(1,2)", "pruner=hard"], "pruner must be median or none, got 'hard'"),
        (["task.lr=choice(1,2)", "metric=val/beauty"], "say direction=maximize"),
        (["task.lr=choice(1,2)", "-m"], "'-m' is unknown"),
        (["task.lr=choice(1,2)", "hydra.run.dir=a"], "hydra.run.dir: a sweep has folders of its own: set out=FOLDER"),
        (["task.lr=choice(1,2)", "storage=nothing://a"], "storage=nothing://a: cannot be opened"),
        (["task.lr=choice(1,"], r"task.lr=choice\(1,: cannot be read: put it in quotes"),
    ],
)
def test_what_cannot_be_searched_is_one_line(
    arguments: list[str], message: str, sweep: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("hardmine: error: ") and error.count("\n") == 1
    assert re.search(message, error)


def test_processes_share_a_study(tmp_path: Path) -> None:
    """Two ask in turn; neither tries the other's point, and both together make as many as wanted."""
    pytest.importorskip("optuna")
    from hardmine.cli.study import Study, read_space

    _, space = read_space(["task.lr=interval(0.0,1.0)", "mining.candidates=range(1,9,2)", "model=choice(a,b)"])
    studies = [Study(tmp_path / "s", space, 6, "maximize") for _ in range(2)]
    points = []
    for turn in range(8):
        asked = studies[turn % 2].ask()
        if asked is None:
            break
        points.append(asked.arguments)
        studies[turn % 2].tell(asked, "done", 0.5)
    assert len(points) == 6 == len({tuple(point) for point in points})
    assert {point[1] for point in points} <= {f"mining.candidates={number}" for number in (1, 3, 5, 7)}


def test_a_trial_that_kills_its_process_is_not_tried_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    from hardmine.cli.study import STARTS, Study, read_space

    _, space = read_space(["task.lr=interval(0.0,1.0)"])
    monkeypatch.setattr(RunFolder, "busy", False)
    folders = []
    while (asked := Study(tmp_path / "s", space, 2, "maximize").ask()) is not None:  # nobody tells
        folders.append(asked.folder.name)
    assert folders[:STARTS] == ["0"] * STARTS and len(folders) == 2 * STARTS and len(set(folders)) == 2


@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, "unfinished"), (errno.EROFS, "unfinished"), (errno.EACCES, "crashed")]
)
def test_what_a_disk_refuses(number: int, status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk ends the sweep, whose run goes on once there is room; one file that may not be read ends its run."""
    run = tmp_path / "run"
    with (
        pytest.raises(OSError, match="x") if status == "unfinished" else nullcontext(),
        recorded(run, ["seed=0"], (InputError,), str),
    ):
        raise OSError(number, os.strerror(number), "x.png")
    found = Outcome.load(run)
    assert found.status == status and found.overrides == ["seed=0"]
    assert not found.line or re.fullmatch(r"x\.png: permission denied: .*", found.line)
    assert "Traceback" not in capsys.readouterr().err
