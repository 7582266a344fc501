"""`hardmine runs`: what lies below a folder is found again, sorted, filtered and compared, whatever state it is in."""

import fcntl
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml  # comes with omegaconf

from hardmine.cli import main
from hardmine.cli.runs import condition, in_order
from hardmine.machine import Machine
from hardmine.outcome import Outcome, Status
from hardmine.report.listing import compared
from hardmine.report.runs import Entry, find, read_entry
from hardmine.runs import RunFolder

Said = pytest.CaptureFixture[str]
SETTINGS: dict[str, Any] = {
    "data": {"_target_": "hardmine.data.FolderData", "root": "/photos/camvid"},
    "neighbourhood": {"_target_": "hardmine.neighbourhood.SameCell", "radius": 10.0},
    "update": {"every": 4},
    "mining": {"threshold": "auto", "start": 0},
    "task": {"lr": 0.01, "ema": None, "channels_last": True},
    "seed": 0,
}


def write(path: Path, told: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(told if isinstance(told, str) else json.dumps(told))


def run_of(folder: Path, miou: float | None = 0.5, began: str = "2030-01-01T10:00:00+00:00", **changes: Any) -> Path:
    """The folder of a run; one without a metric has not come to its end."""
    write(folder / ".hydra/config.yaml", yaml.safe_dump({**SETTINGS, **changes, "run_dir": str(folder)}))
    write(folder / ".hydra/overrides.yaml", "- experiment=camvid_dusk\n- seed=0\n")
    machine = asdict(Machine(began, "1.0", "3.12", "2.15", "Board 9000"))
    write(folder / "run.json", {"format": 1, "hardmine": "1.0", "starts": [machine]})
    if miou is not None:
        measured = {"val/miou": miou, "test/miou": miou / 2, "val/miou/day": miou, "before/val/miou": 0.1}
        write(folder / "summary.json", {**measured, "steps": 9, "seconds": 12.5, "pieces": 7, "hit_rate": 0.25})
    return folder


def states(folder: Path, within: bool = False) -> dict[str, str]:
    return {str(entry.folder.relative_to(folder)): entry.state for entry in find(folder, within)}


def shown(capsys: Said, *arguments: str) -> str:
    main(["runs", *arguments])
    return capsys.readouterr().out


def only(folder: Path) -> Entry:
    entry = read_entry(folder)
    assert entry is not None
    return entry


def test_a_run_is_told_in_its_words(tmp_path: Path) -> None:
    entry = only(run_of(tmp_path / "a"))
    assert (entry.kind, entry.state, entry.data) == ("train", "finished", "/photos/camvid")
    assert entry.method == "same_cell every=4 (camvid_dusk)" and entry.metric == "miou"
    assert entry.measured == {"val/miou": 0.5, "test/miou": 0.25, "val/miou/day": 0.5}
    assert (entry.figures["pieces"], entry.figures["seconds"], entry.device) == (7, 12.5, "Board 9000")
    assert entry.recorded and entry.began.timestamp() == 1893492000
    plain = only(
        run_of(tmp_path / "b", neighbourhood={"_target_": None}, data={"_target_": "hardmine.data.RiversideData"})
    )
    assert (plain.method, plain.data) == ("none (camvid_dusk)", "riverside")


@pytest.mark.parametrize(
    ("status", "state"), [("refused", "failed"), ("crashed", "failed"), ("pruned", "pruned"), ("done", "finished")]
)
def test_an_outcome_says_how_it_ended(status: Status, state: str, tmp_path: Path) -> None:
    folder = run_of(tmp_path, 0.5 if status == "done" else None)
    Outcome([], status, "" if status == "done" else "task.lr: is too large", 99.0).save(folder)
    entry = only(folder)
    assert entry.state == state and entry.figures["seconds"] == 99
    assert entry.lines == ([] if status == "done" else ["task.lr: is too large"])


def test_what_has_not_ended_is_running_while_its_process_lives(tmp_path: Path) -> None:
    run_of(tmp_path / "begun", None)
    write(run_of(tmp_path / "kept", None) / "checkpoints/last.ckpt", "weights")
    write(run_of(tmp_path / "alive", None) / "run.lock", "process 1 on here\n")
    write(run_of(tmp_path / "dead", None) / "run.lock", "process 2 on here\n")
    with (tmp_path / "alive/run.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert states(tmp_path) == {"alive": "running", "begun": "stopped", "dead": "stopped", "kept": "stopped"}
    assert states(tmp_path)["alive"] == "stopped"
    assert only(tmp_path / "kept").lines == [] and "kept anything" in only(tmp_path / "begun").lines[0]


def test_whoever_looks_keeps_nobody_from_working(tmp_path: Path) -> None:
    write(tmp_path / "run.lock", "")
    (tmp_path / "run.lock").chmod(0o444)
    with (tmp_path / "run.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)  # another one looks as well
        assert not RunFolder(tmp_path).busy


def test_searches_and_evaluations_are_known_by_what_they_left(tmp_path: Path) -> None:
    made = asdict(Machine("2031-01-01T00:00:00+00:00", "1", "3", "2", "Board"))
    search = run_of(tmp_path / "s", None, search={"depth": 4})
    (search / "run.json").unlink()
    write(search / "search.pt", "state")
    assert (only(search).kind, only(search).state, only(search).method) == (
        "mine",
        "stopped",
        "same_cell (camvid_dusk)",
    )
    (search / "search.pt").unlink()
    write(search / "summary.json", {"pieces": 3, "candidates": 9, "made": made})
    assert (only(search).state, only(search).device, only(search).began.year) == ("finished", "Board", 2031)
    evaluation = run_of(tmp_path / "e", None, budget=9, ckpt="/runs/night/checkpoints/last.ckpt")
    about = {"data": "/p", "device": "Board", "seconds": 3.0, "candidates": 4, "began": made["began"]}
    write(
        evaluation / "evaluation.json",
        {"about": about, "metric": "dice", "measured": {"test/dice": 0.5, "val/x": None}},
    )
    entry = only(evaluation)
    assert (entry.kind, entry.state, entry.metric, entry.measured) == (
        "evaluate",
        "finished",
        "dice",
        {"test/dice": 0.5},
    )
    assert entry.figures == {"candidates": 4, "seconds": 3.0} and entry.recorded and entry.device == "Board"


EVIL: dict[str, tuple[str, str]] = {
    "half a summary": ("summary.json", '{"val/miou": 0.'),
    "a summary that is a list": ("summary.json", "[1]"),
    "deep JSON": ("summary.json", "[" * 100_000),
    "a pipe's worth of zeros": ("summary.json", "\0" * 9),
    "no YAML": (".hydra/config.yaml", "mining: ["),
    "YAML of many": (".hydra/config.yaml", "a: &a [x, x]\nb: &b [*a, *a]\nmining: [*b, *b]\n"),
    "YAML that calls": (".hydra/config.yaml", "mining: !!python/object/apply:os.system ['touch called']\n"),
    "a list for a config": (".hydra/config.yaml", "- mining\n"),
    "overrides of nobody": (".hydra/overrides.yaml", "7\n"),
    "an outcome of another kind": ("outcome.json", '{"status": "sleeping", "line": "", "seconds": 0}'),
    "an outcome without words": ("outcome.json", '{"status": "crashed", "line": 3, "seconds": 0}'),
    "an evaluation": ("evaluation.json", "{"),
}


@pytest.mark.parametrize("name", EVIL)
def test_what_is_damaged_is_one_row_with_what_is_wrong(
    name: str, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file, text = EVIL[name]
    write(run_of(tmp_path / "bad") / file, text)
    run_of(tmp_path / "good")
    assert states(tmp_path) == {"bad": "damaged", "good": "finished"}
    out = shown(capsys, ".")
    assert f"bad: {file}" in out and "Traceback" not in out
    assert not (tmp_path / "called").exists()
    assert [entry["state"] for entry in json.loads(shown(capsys, "json=true"))] == ["damaged", "finished"]


@pytest.mark.parametrize(
    ("began", "summary"),
    [
        ("yesterday", {"steps": 1}),
        ("9999-12-31T23:59:59-12:00", {"steps": "many", "seconds": 10**400, "pieces": True}),
        ("", {"val/miou": float("nan"), "test/miou": float("inf"), "steps": None}),
    ],
)
def test_strange_values_are_left_out(began: str, summary: dict[str, Any], tmp_path: Path, capsys: Said) -> None:
    write(run_of(tmp_path / "a", began=began) / "summary.json", summary)
    entry = only(tmp_path / "a")
    assert not entry.recorded and entry.measured == {} and entry.state == "finished"
    assert "not recorded" in shown(capsys, str(tmp_path))


def test_signs_of_a_terminal_and_of_markup_are_only_text(tmp_path: Path, capsys: Said) -> None:
    folder = run_of(tmp_path / "[red]x", None)
    Outcome([], "crashed", "\x1b]0;title\x07 [bold]no\ud800", 1.0).save(folder)
    out = shown(capsys, str(tmp_path))
    assert "[red]x" in out and "[bold]no" in out and "\x1b" not in out and "\x07" not in out


def test_other_programs_are_passed_over(tmp_path: Path, capsys: Said) -> None:
    write(tmp_path / "theirs/.hydra/config.yaml", "model: big\n")
    write(tmp_path / "numbers/summary.json", {"steps": 3})
    write(tmp_path / "many/multirun.yaml", "hydra: {}\n")
    run_of(tmp_path / ".trash/a")
    run_of(tmp_path / "b/checkpoints/inside")
    run_of(tmp_path / "b")
    assert states(tmp_path) == {"b": "finished"}
    with pytest.raises(SystemExit) as stopped:
        main(["runs", str(tmp_path / "many")])
    assert stopped.value.code == 2 and "no run is in it" in capsys.readouterr().err


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Two runs that differ in one key, one of them refused; a run of its own stands beside the sweep."""
    folder = tmp_path / "sweep"
    write(folder / "multirun.yaml", "hydra: {}\n")
    for number, (rate, miou) in enumerate([(0.1, 0.25), (0.2, 0.75), (9, None)]):
        run = run_of(folder / str(number), miou, f"2030-01-0{number + 1}T10:00:00+00:00", task={"lr": rate})
        status: Status = "refused" if miou is None else "done"
        Outcome([f"task.lr={rate}"], status, "" if miou else "task.lr: is too large", 10.0).save(run)
    run_of(tmp_path / "alone", 0.5, "2029-06-01T10:00:00+00:00")
    return folder


def test_a_sweep_is_one_row_with_its_best(sweep: Path, capsys: Said) -> None:
    alone, row = find(sweep.parent)
    assert alone.folder.name == "alone" and (row.kind, row.state) == ("sweep", "failed")
    assert row.measured == {"val/miou": 0.75} and row.figures["seconds"] == 30 and row.method == "sweep task.lr"
    assert row.lines == ["3 runs: 1 failed, 2 finished", "best: task.lr=0.2"]
    assert row.began == only(sweep / "0").began
    assert set(states(sweep.parent, within=True)) == {"alone", "sweep", "sweep/0", "sweep/1", "sweep/2"}
    assert set(states(sweep)) == {".", "0", "1", "2"}
    assert "within=true" in shown(capsys, str(sweep.parent)) and "within=true" not in shown(capsys, str(sweep))


def test_a_sweep_with_a_damaged_run_is_a_row_all_the_same(sweep: Path) -> None:
    write(sweep / "1/outcome.json", "{")
    (row,) = [entry for entry in find(sweep.parent) if entry.kind == "sweep"]
    assert row.state == "damaged" and row.lines[0] == "3 runs: 1 damaged, 1 failed, 1 finished"


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("when", ["alone", "0", "1", "2"]),
        ("-when", ["2", "1", "0", "alone"]),
        ("-val/miou", ["1", "alone", "0", "2"]),  # whoever has none is last, up and down
        ("val/miou", ["0", "alone", "1", "2"]),
        ("-task.lr", ["2", "1", "0", "alone"]),
    ],
)
def test_rows_are_sorted_by_any_key(order: str, names: list[str], sweep: Path, capsys: Said) -> None:
    found = json.loads(
        shown(capsys, str(sweep.parent), "within=true", f"sort={order}", "where=kind=train", "json=true")
    )
    assert [Path(entry["folder"]).name for entry in found] == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("val/miou>0.25", ["1", "alone"]),
        ("val/miou>=0.25", ["0", "1", "alone"]),
        ("task.lr=0.1", ["0"]),
        ("task.lr<0.2", ["0", "alone"]),
        ("task.lr!=9", ["0", "1", "alone"]),
        ("state=failed", ["2"]),
        ("data=camvid", ["0", "1", "2", "alone"]),  # as the table shows it
        ("data!=camvid", []),
        ("data=/photos/camvid", ["0", "1", "2", "alone"]),
        ("when<2030", ["alone"]),
        ("task.channels_last=true", ["alone"]),
        ("task.ema=null", ["alone"]),
        ("seconds = 12.5", ["alone"]),
    ],
)
def test_rows_are_filtered_by_any_key(text: str, names: list[str], sweep: Path) -> None:
    found = [entry for entry in find(sweep.parent, within=True) if entry.kind == "train"]
    holds = condition(text, found)
    assert sorted(entry.folder.name for entry in found if holds(entry)) == names


def test_all_conditions_hold_and_what_is_left_out_is_counted(sweep: Path, capsys: Said) -> None:
    one = shown(capsys, str(sweep), "where=val/miou>0,task.lr>0.1")
    assert one == shown(capsys, str(sweep), "where=val/miou>0", "where=task.lr>0.1")
    assert "1 of 4" in one and "75.0" in one and "37.5" in one and "25.0" not in one


def test_a_comparison_shows_differences_alone_in_the_settings(tmp_path: Path, capsys: Said) -> None:
    one = run_of(tmp_path / "one", 0.5)
    other = run_of(tmp_path / "other", 0.75, seed=1, task={"lr": 0.01, "ema": 0.9})
    found = {key: values for key, *values in compared(only(one), only(other))}
    assert found == {"task.ema": ["null", "0.9"], "task.channels_last": ["true", ""], "seed": ["0", "1"]}
    out = shown(capsys, str(one), str(other))
    assert out.count("+25.0") == 2 and "task.ema" in out and "task.lr" not in out and "run_dir" not in out
    told = json.loads(shown(capsys, str(one), str(other), "json=true"))
    assert told["settings"] == found and len(told["runs"]) == 2
    assert "no setting differs" in shown(capsys, str(one), str(one))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["a", "a", "a"], "runs: a a a: use hardmine runs"),
        (["-a"], "runs: -a: use hardmine runs"),
        (["a", "size=3"], "runs: size= is unknown"),
        (["a", "json=yes"], "json=yes: take true or false"),
        (["a", "a", "sort=when"], "neither sorted nor filtered"),
        (["a", "sort=size"], "sort=size: no run has it: take one of when, folder"),
        (["a", "where=size<3"], "where=size: no run has it"),
        (["a", "where=val/miou>50"], "where=val/miou>50: val/miou is a share and at most 1: 50 % is 0.5"),
        (["a", "where=miou"], "where=miou: take KEY and VALUE"),
        (["a", "where=seconds<few"], "'few' is no number"),
        (["a", "b"], "b: no run, search or evaluation is in it"),
        (["b"], "b: no run is in it"),
    ],
)
def test_bad_questions_are_told(
    arguments: list[str], line: str, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_of(tmp_path / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(SystemExit) as stopped:
        main(["runs", *arguments])
    told = capsys.readouterr()
    assert stopped.value.code == 2 and line in told.err and told.err.count("\n") == 1 and not told.out


def test_the_usual_folder_is_outputs(tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_of(tmp_path / "elsewhere")
    assert "elsewhere" in shown(capsys)
    run_of(tmp_path / "outputs/day")
    out = shown(capsys)
    assert "day" in out and "elsewhere" not in out


def test_a_table_fits_80_columns_and_every_state_can_be_read(
    sweep: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run_of(sweep.parent / "outputs/2030-01-01/10-00-00", None)
    table = shown(capsys, str(sweep.parent), "within=true").split("sweep: 3 runs")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert all(word in table for word in ("finished", "failed", "stopped", "val", "test", "seconds", "pieces"))


def test_names_are_broken_after_signs_and_not_within_words(
    tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    run_of(tmp_path / "riverside-quick/first_embodiment-m64/seed0")
    table = shown(capsys, str(tmp_path))
    assert "riverside-quick/first_embodiment-m64/seed0" not in table
    assert all(word in table for word in ("riverside-", "quick/", "first_", "embodiment-", "m64/", "seed0", "finished"))

    monkeypatch.setenv("COLUMNS", "160")
    assert "riverside-quick/first_embodiment-m64/seed0" in shown(capsys, str(tmp_path)).split()


def test_looking_imports_nothing_heavy(tmp_path: Path) -> None:
    run_of(tmp_path / "a")
    code = f"from hardmine.cli.runs import command; command([{str(tmp_path)!r}])"
    said = "import sys; print(sorted({'torch', 'lightning', 'matplotlib', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", f"{code}; {said}"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_rows_of_the_same_worth_keep_their_order(tmp_path: Path) -> None:
    entries = [only(run_of(tmp_path / name)) for name in "cab"]
    assert [entry.folder.name for entry in in_order(entries, "pieces")] == ["c", "a", "b"]
