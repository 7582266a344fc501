"""scripts/benchmark_quality: runs are made once, results are kept once, comparisons are paired."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf
from quality import __main__ as command
from quality.check import hit_ratio, pieces_ratio, updates_ratio
from quality.compare import Group, groups, paired, reach
from quality.plots import draw, hit_rates
from quality.results import Curve, Key, merge, read, rows_of
from quality.runs import CONFIGS, Run, found, plan, present, run_all
from quality.table import method_tables

from hardmine.cli import config_folder
from hardmine.errors import InputError

METRICS = {"camvid": "miou"}
TRAINING = """
import importlib.util, json, pathlib, sys
given = dict(argument.split("=", 1) for argument in sys.argv[1:])
folder = pathlib.Path(given["hydra.run.dir"].strip("'"))
with open(CALLS, "a") as calls:
    print(json.dumps(given), file=calls)
assert list(folder.iterdir()) == [folder / "origin.json"], "the folder of an unfinished run is left"
if given["ckpt"] != "null":
    assert pathlib.Path(given["ckpt"].strip("'")).is_file(), "pre-training comes first"
assert importlib.util.find_spec("quality"), "the rivals cannot be imported"
print("learning")
if given["+method"] in FAILING:
    sys.exit("out of luck")
(folder / "checkpoints").mkdir()
(folder / "checkpoints/last.ckpt").touch()
point = dict.fromkeys(COUNTS, 0) | {"test/miou": 0.5, "val/miou": None}
(folder / "curve.json").write_text(json.dumps([point, point | {"step": 10, "seconds": 2.5}]))
(folder / "summary.json").write_text("{}")
"""
COUNTS = ["step", "seconds", "pieces", "candidates", "neighbours", "neighbour_pieces", "first", "first_pieces"]

Cfg = Callable[..., Any]
Counts = Mapping[str, Sequence[float]]
NONE: Counts = {}


class Training:
    """A stand-in for `hardmine train` that writes down how it was called."""

    def __init__(self, folder: Path) -> None:
        self.script, self.log = folder / "training.py", folder / "calls"
        self.failing()

    def failing(self, *methods: str) -> None:
        self.script.write_text(f"CALLS, FAILING, COUNTS = {str(self.log)!r}, {methods}, {COUNTS}\n{TRAINING}")

    @property
    def command(self) -> Sequence[str]:
        return (sys.executable, str(self.script))

    def calls(self) -> list[dict[str, str]]:
        """Since the last look."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(tmp_path)


@pytest.fixture
def cfg(tmp_path: Path) -> Cfg:
    def build(*overrides: str) -> Any:
        job = ["protocol=camvid", "size=quick", "method=random", "store=s8", "targets=false", "seed=0"]
        paths = [f"root={tmp_path}/data", f"out={tmp_path}/runs", f"results={tmp_path}/results.parquet"]
        for protocol in METRICS:
            (tmp_path / "data" / protocol).mkdir(parents=True, exist_ok=True)
        with hydra.initialize_config_dir(str(command.CONF), version_base="1.3"):
            return hydra.compose("quality", [*job, *paths, *overrides])

    return build


def curve(values: Sequence[float], seconds: float = 1, pieces: float = 1, others: Counts = NONE) -> Curve:
    """Points ten steps apart; seconds and pieces of each step."""
    steps = np.arange(len(values)) * 10.0
    counts = {name: np.array(others.get(name, [0] * len(values)), dtype=float) for name in COUNTS}
    counts |= {"step": steps, "seconds": steps * seconds, "pieces": steps * pieces}
    metrics = {"test/miou": np.array(values), "val/miou": np.array(values) / 2, "test/iou/road": np.array(values)}
    return Curve(counts, metrics, "abc", "a machine")


def grouped(methods: Mapping[str, Sequence[Curve]], store: str = "m64", targets: bool = False) -> dict[Key, Curve]:
    return {
        Key("camvid", "full", method, store if method not in ("none", "color_jitter") else "", targets, seed): of_seed
        for method, curves in methods.items()
        for seed, of_seed in enumerate(curves)
    }


def group(methods: Mapping[str, Sequence[Curve]]) -> Group:
    return groups(grouped(methods), METRICS, list(methods))[0]


def targets_of(node: Any) -> Iterator[str]:
    """Everything that a config has made."""
    if isinstance(node, dict):
        if node.get("_target_"):
            yield node["_target_"]
        node = list(node.values())
    for value in node if isinstance(node, list) else ():
        yield from targets_of(value)


def store(path: Path, curves: dict[Key, Curve]) -> None:
    rows = [
        {**key._asdict(), **{name: count[point] for name, count in of.counts.items()}}
        | {"metric": metric, "value": value, "version": of.version, "machine": of.machine}
        for key, of in curves.items()
        for metric, values in of.values.items()
        for point, value in enumerate(values)
    ]
    merge(path, rows)


# runs


def test_a_run_is_told_what_the_grid_says(cfg: Cfg, tmp_path: Path) -> None:
    run = plan(cfg("method=hardmine", "store=m64", "targets=true", "seed=3"))
    assert run.folder == tmp_path / "runs/camvid-quick/hardmine-m64-targets/seed3"
    told = dict(override.split("=", 1) for override in run.overrides)
    assert told["experiment"] == "quality_camvid" and told["seed"] == "3" and told["data.size"] == "[96,128]"
    assert told["data.root"] == f"'{tmp_path}/data/camvid'" and told["store.sources"] == "56"
    assert float(told["data.targets"]) > 0
    assert run.start is not None and told["ckpt"] == f"'{run.start.checkpoint}'"
    assert {"+method=none", "ckpt=null", "trainer.max_steps=400"} <= set(run.start.overrides)


def test_a_run_finds_the_rivals(cfg: Cfg) -> None:
    run = plan(cfg("method=mixture"))
    assert run.start is not None
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        own, before = (hydra.compose("train", list(overrides)) for overrides in (run.overrides, run.start.overrides))
    assert own.first["_target_"] == "quality.rivals.Mixture" and own.callbacks.curve.every == 40
    assert before.neighbourhood["_target_"] is None and before.trainer.max_steps == 400


def test_every_method_is_one_of_the_configs(cfg: Cfg) -> None:
    methods = present(cfg().methods, cfg().past)
    assert sorted(methods) == sorted(path.stem for path in (CONFIGS / "method").glob("*.yaml"))
    assert set(cfg().past) <= set(cfg().methods)
    planned = [plan(cfg(f"method={method}")) for method in methods]
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        for run in planned:
            made = hydra.compose("train", list(run.overrides))
            assert all(get_object(target) for target in targets_of(OmegaConf.to_container(made)))


def test_pre_training_is_shared_and_finished_runs_are_skipped(cfg: Cfg, training: Training, tmp_path: Path) -> None:
    planned = [plan(cfg(f"method={method}")) for method in ("random", "hardmine")]
    assert run_all(planned, tmp_path / "results.parquet", 2, training.command) == 0
    calls = training.calls()
    assert calls[0]["+method"] == "none" and calls[0]["ckpt"] == "null"
    assert sorted(call["+method"] for call in calls[1:]) == ["hardmine", "random"]
    assert {key.method for key in read(tmp_path / "results.parquet")} == {"random", "hardmine"}
    assert run_all(planned, tmp_path / "results.parquet", 2, training.command) == 0
    assert training.calls() == []
    assert "learning" in planned[0].log.read_text()


def test_an_unfinished_run_is_removed_and_made_again(cfg: Cfg, training: Training, tmp_path: Path) -> None:
    run = plan(cfg())
    run.folder.mkdir(parents=True)
    (run.folder / "curve.json").write_text("[]")  # a run writes it all along, and `summary.json` at its end
    assert not run.finished
    assert run_all([run], tmp_path / "results.parquet", 1, training.command) == 0
    assert run.finished and len(training.calls()) == 2


def test_results_of_a_finished_run_that_were_not_kept_are_added(cfg: Cfg, training: Training, tmp_path: Path) -> None:
    run, results = plan(cfg()), tmp_path / "results.parquet"
    run_all([run], results, 1, training.command)
    results.unlink()
    run_all([run], results, 1, training.command)
    assert list(read(results)) == [run.key] and len(training.calls()) == 2


def test_a_failed_run_does_not_stop_the_others(
    cfg: Cfg, training: Training, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    training.failing("random")
    planned = [plan(cfg(f"method={method}")) for method in ("random", "hardmine")]
    assert run_all(planned, tmp_path / "results.parquet", 1, training.command) == 1
    shown = capfd.readouterr().err
    assert "out of luck" in shown and str(planned[0].log) in shown
    assert {key.method for key in read(tmp_path / "results.parquet")} == {"hardmine"}


def test_failed_pre_training_fails_what_starts_from_it(
    cfg: Cfg, training: Training, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.failing("none")
    runs = [plan(cfg(f"method={method}")) for method in ("random", "mixture", "hardmine")]
    assert run_all(runs, tmp_path / "results.parquet", 1, training.command) == 4
    assert len(training.calls()) == 1
    said = capsys.readouterr().err
    assert "3 not made, as they start from" in said and "hardmine" not in said.replace(str(tmp_path), "")


def test_the_grid_runs_methods_without_a_store_once(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(planned: Sequence[Run], results: Path, jobs: int) -> int:
        return run_all(planned, results, jobs, training.command)

    grid = ["protocol=camvid", "method=none,random", "store=s8,m64", "targets=false", "seed=0,1"]
    paths = [f"root={tmp_path}", f"out={tmp_path}/runs", f"results={tmp_path}/results.parquet"]
    (tmp_path / "camvid").mkdir()
    monkeypatch.setattr(command, "run_all", run)
    monkeypatch.setattr(sys, "argv", ["benchmark_quality", *grid, *paths])
    command.main()
    own = [call for call in training.calls() if call["ckpt"] != "null"]
    assert sorted((call["+method"], call["store.sources"], call["seed"]) for call in own) == [
        (method, sources, seed)
        for method, sources in (("none", "0"), ("random", "0"), ("random", "56"))
        for seed in "01"
    ]
    again = found(tmp_path / "runs", ["s8", "m64"])
    assert {run.key for run in again} == read(tmp_path / "results.parquet").keys()


@pytest.mark.parametrize("value", ["seed=x", "targets=2", "jobs=0"])
def test_a_value_of_another_kind_is_one_line(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [f"root={tmp_path}", f"out={tmp_path}", "method=none"]
    monkeypatch.setattr(sys, "argv", ["benchmark_quality", *paths, value])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert capsys.readouterr().err.startswith(f"hardmine: error: {value} must be ")


@pytest.mark.parametrize("method", ["nun", "same_sources"])  # of the latter there are results alone
def test_a_method_that_cannot_be_run_is_one_line(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["benchmark_quality", f"root={tmp_path}", f"out={tmp_path}", f"method={method}", "seed=0"]
    )
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert capsys.readouterr().err.startswith(f"hardmine: error: method={method} is unknown: take one of none, ")


def test_an_unknown_key_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark_quality", f"root={tmp_path}", "methd=none"])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    said = capsys.readouterr().err
    assert said == "hardmine: error: 'methd': no such config key: see scripts/benchmark_quality --help\n"


def test_a_missing_data_set_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ["protocol=camvid", "method=none", "store=s8", "targets=false", "seed=0"]
    monkeypatch.setattr(sys, "argv", ["benchmark_quality", *grid, f"root={tmp_path}/no", f"out={tmp_path}/runs"])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert capsys.readouterr().err.startswith(f"hardmine: error: {tmp_path}/no/camvid: no such folder: set root to ")
    assert not list((tmp_path / "runs").glob("*/pretrained"))


# results


def test_merging_replaces_the_same_run_and_keeps_others(tmp_path: Path) -> None:
    path = tmp_path / "results.parquet"
    key, other = (Key("camvid", "full", "random", "s8", False, seed) for seed in (0, 1))
    store(path, {key: curve([0.1, 0.2, 0.3]), other: curve([0.1, 0.4])})
    store(path, {key: curve([0.1, 0.6])})
    stored = read(path)
    assert stored.keys() == {key, other}
    assert stored[key].counts["step"].tolist() == [0, 10]
    assert stored[key].end("test/miou") == pytest.approx(0.6)
    assert stored[other].end("test/miou") == pytest.approx(0.4)
    assert read(path, size="quick") == {} and read(tmp_path / "none.parquet") == {}


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    key = Key("camvid", "full", "random", "s8", False, 0)
    points = [dict.fromkeys(COUNTS, step) | {"test/miou": value} for step, value in ((0, 0.1), (1, None), (2, 0.3))]
    (tmp_path / "curve.json").write_text(json.dumps(points))
    merge(tmp_path / "results.parquet", rows_of(tmp_path, key, "", ""))
    stored = read(tmp_path / "results.parquet")[key]
    assert len(stored.counts["step"]) == 3 and stored.measured("test/miou")[0].tolist() == [0, 2]
    (tmp_path / "curve.json").write_text('[{"step": 1, "test/miou": 0.5}]')
    with pytest.raises(InputError, match=r"curve\.json: not the curve of a run"):
        rows_of(tmp_path, key, "", "")


# comparisons


def test_equal_time_lies_between_two_points_or_at_the_end_of_a_faster_run() -> None:
    one = group({"random": [curve([0, 0.2, 0.4])], "hardmine": [curve([0, 0.4, 0.6], seconds=4 / 3)]})
    assert one.at_equal_time("hardmine") == {0: pytest.approx(0.5)}  # 20 s are its step 15
    one = group({"random": [curve([0, 0.2, 0.4])], "hardmine": [curve([0, 0.4, 0.6], seconds=0.5)]})
    assert one.at_equal_time("hardmine") == {0: pytest.approx(0.6)}


def test_seconds_of_two_machines_are_not_compared() -> None:
    elsewhere = replace(curve([0, 0.4, 0.6]), machine="another machine")
    one = group({"random": [curve([0, 0.2, 0.4])] * 2, "hardmine": [elsewhere, curve([0, 0.4, 0.7])]})
    assert one.at_equal_time("hardmine") == {1: pytest.approx(0.7)}
    titles = {method: method for method in ("random", "hardmine")}
    rows = method_tables([one], titles, {"camvid": "mIoU"}).splitlines()[4:6]
    assert [row.split("|")[3:5] for row in rows] == [["  ", " +0.0 "], [" +25.0 ", "  "]]


def test_changes_are_paired_by_seed() -> None:
    assert paired({0: 0.5, 1: 0.7, 2: 0.9}, {2: 0.5, 1: 0.6, 3: 0}) == {1: pytest.approx(0.1), 2: pytest.approx(0.4)}


def test_the_best_comparator_has_the_highest_median() -> None:
    ends = {"none": [0.9, 0.1, 0.1], "random": [0.2, 0.2, 0.3], "hardmine": [0.9, 0.9, 0.9]}
    assert group({method: [curve([0, end]) for end in of] for method, of in ends.items()}).best() == "random"


def test_methods_without_a_store_stand_beside_those_of_each_store() -> None:
    curves = grouped({"none": [curve([0, 1])], "random": [curve([0, 1])]}) | grouped({"random": [curve([0, 1])]}, "s8")
    both = groups(curves, METRICS, ["none", "random"])
    assert [(of.key.store, list(of.methods)) for of in both] == [
        ("m64", ["none", "random"]),
        ("s8", ["none", "random"]),
    ]
    assert groups(grouped({"none": [curve([0, 1])]}), METRICS, [])[0].key.store == ""


def test_reaching_a_level() -> None:
    steps = np.array([0.0, 10, 20])
    assert reach(steps, np.array([0.1, 0.3, 0.2]), 0.2) == pytest.approx(5)
    assert reach(steps, np.array([0.5, 0.3, 0.2]), 0.2) == 0
    assert reach(steps, np.array([0.1, 0.3, 0.2]), 0.4) is None


def test_ratios_are_taken_where_the_median_curve_is_as_good() -> None:
    ours = {0: curve([0, 0.4, 0.4]), 1: curve([0, 0.2, 0.4]), 2: curve([0, 0.6, 0.6])}
    other = {seed: curve([0, 0.1, 0.2], pieces=10) for seed in range(3)}
    assert updates_ratio(ours, other, "test/miou") == pytest.approx(5 / 20)
    assert pieces_ratio(ours, other, "test/miou") == pytest.approx(5 / 200)
    assert updates_ratio(other, ours, "test/miou") is None


def test_hits_of_neighbours_against_first_candidates() -> None:
    counts = {"neighbours": [0, 10, 20], "neighbour_pieces": [0, 6, 8], "first": [0, 10, 40], "first_pieces": [0, 2, 4]}
    one = curve([0, 0.5, 1], others=counts)
    assert hit_ratio(one) == pytest.approx(4)
    assert hit_rates({0: one}, "neighbour_pieces", "neighbours", one.counts["step"]).tolist() == [[0.6, 0.2]]
    assert hit_ratio(curve([0, 1])) is None


# what is printed


def everything() -> dict[Key, Curve]:
    """Two seeds of all that is checked; hardmine is 3 points above random, 10 above none."""
    base = {"none": 0.20, "color_jitter": 0.22, "trivial_augment": 0.21, "adversarial_style": 0.2, "random": 0.27}
    base |= {"mixture": 0.25, "first_embodiment": 0.28, "hardmine": 0.30}
    hits = {"neighbours": [0, 50, 90], "neighbour_pieces": [0, 40, 60], "first": [0, 50, 90], "first_pieces": [0, 9, 9]}
    curves: dict[Key, Curve] = {}
    for store_name, targets in (("m64", False), ("s8", False), ("s8", True)):
        methods = {
            method: [
                curve(
                    [0.1, end - 0.01 + seed / 20, end + seed / 20],
                    pieces=1 if method == "hardmine" else 20,
                    others=hits,
                )
                for seed in (0, 1)
            ]
            for method, end in base.items()
        }
        curves |= grouped(methods, store_name, targets)
    return {
        key._replace(store="") if key.method in ("trivial_augment", "adversarial_style") else key: of
        for key, of in curves.items()
    }


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["benchmark_quality", *arguments])
    command.main()
    return capsys.readouterr().out


def test_the_check_is_one_line_of_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path / "results.parquet", everything())
    line = shown(monkeypatch, capsys, "--check", f"results={tmp_path}/results.parquet", "protocol=camvid")
    assert line.count("\n") == 1
    told = json.loads(line)
    assert told["best"]["gain_vs_best"] == "random"
    assert told["gain_vs_best"] == pytest.approx(3, abs=1e-3) and told["spread"]["gain_vs_best"] == [3, 3]
    assert told["gain_with_targets"] == pytest.approx(10, abs=1e-3)
    assert told["day_change"] == pytest.approx(1.5, abs=1e-3)
    assert told["hit_ratio"] == pytest.approx(60 / 9, abs=1e-3)
    assert told["seeds"]["updates_ratio"] == [0, 1]
    assert told["updates_ratio"] < 0.5 and told["goals"]["updates_ratio"] and told["goals"]["pieces_ratio"]
    assert told["goals"].keys() <= told.keys()


def test_what_is_missing_is_named_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = Key("camvid", "full", "mixture", "s8", False, 1)
    store(tmp_path / "results.parquet", {key: of for key, of in everything().items() if key != gone})
    with pytest.raises(SystemExit, match="2"):
        shown(monkeypatch, capsys, "--check", f"results={tmp_path}/results.parquet")
    told = capsys.readouterr()
    assert told.out == "" and told.err == (
        "hardmine: error: missing mixture (s8; seeds 1): run scripts/benchmark_quality root=PATH protocol=camvid "
        "size=full method=mixture store=s8 targets=false seed=1\n"
    )


METRIC_OF = {"blood_cells": "balanced_accuracy", "street_boxes": "map50"}  # others: miou


def of_each_kind(**ours: Sequence[float]) -> dict[Key, Curve]:
    """Three seeds of what is needed of five kinds; the best rival ends at 0.4 in the median."""
    ends = {"none": [0.1, 0.2, 0.3], "color_jitter": [0.4, 0.4, 0.1], "random": [0.3, 0.3, 0.9], "mixture": [0.2] * 3}
    curves = {}
    for protocol in ("camvid", "blood_cells", "street_boxes", "nuclei", "street"):
        for method, of_method in {**ends, "hardmine": ours.get(protocol, [0.5, 0.5, 0.2])}.items():
            for seed, end in enumerate(of_method):
                made, metric = curve([0.1, end]), METRIC_OF.get(protocol, "miou")
                source = 0.9 - (0.03 if (method, protocol) == ("hardmine", "street") else 0)
                values = {f"test/{metric}": made.values["test/miou"], f"val/{metric}": np.array([0.9, source])}
                store_name = "" if method in ("none", "color_jitter") else "m64"
                key = Key(protocol, "quick", method, store_name, False, seed)
                curves[key] = Curve(made.counts, values, "abc", "a machine")
    return curves


def test_the_check_looks_at_every_kind_of_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = of_each_kind(nuclei=[0.39, 0.38, 0.9], blood_cells=[0.4, 0.4, 0.4])
    store(tmp_path / "results.parquet", everything() | kinds)
    told = json.loads(shown(monkeypatch, capsys, "--check", f"results={tmp_path}/results.parquet"))
    assert (told["worst_gap"], told["wins"], told["source_loss"]) == pytest.approx((-1, 3, 3), abs=0.01)
    assert told["kinds"]["nuclei"]["best"] == "color_jitter" and told["kinds"]["street"]["gap"] == pytest.approx(10)
    assert [told["goals"][name] for name in ("worst_gap", "wins", "source_loss")] == [False, True, False]
    assert told["gain_vs_best"] == pytest.approx(3, abs=1e-3)  # the figures of one protocol stand beside them


def test_kinds_may_have_been_measured_with_other_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = {key: of for key, of in of_each_kind().items() if key.protocol != "street" or key.seed == 1}
    store(tmp_path / "results.parquet", everything() | kinds)
    told = json.loads(shown(monkeypatch, capsys, "--check", f"results={tmp_path}/results.parquet"))
    assert told["kinds"]["street"]["seeds"] == [1] and told["kinds"]["nuclei"]["seeds"] == [0, 1, 2]


def test_a_missing_kind_is_named_with_the_command_that_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = Key("nuclei", "quick", "random", "m64", False, 2)
    store(tmp_path / "results.parquet", {k: of for k, of in (everything() | of_each_kind()).items() if k != gone})
    with pytest.raises(SystemExit, match="2"):
        shown(monkeypatch, capsys, "--check", f"results={tmp_path}/results.parquet")
    assert capsys.readouterr().err == (
        "hardmine: error: missing random (nuclei, m64; seeds 2): run scripts/benchmark_quality root=PATH "
        "protocol=nuclei size=quick method=random store=m64 targets=false seed=2\n"
    )


def test_nothing_at_all_asks_for_the_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        shown(monkeypatch, capsys, "--check", f"results={tmp_path}/results.parquet", "protocol=blood_cells")
    assert "protocol=blood_cells size=full method=none,hardmine store=s8 targets=true seed=0,1,2,3,4" in (
        capsys.readouterr().err
    )


def test_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path / "results.parquet", everything())
    text = shown(monkeypatch, capsys, "--table", f"results={tmp_path}/results.parquet", "store=m64", "targets=false")
    rows = [line for line in text.splitlines() if "`method=" in line]
    assert [row.split("`")[1] for row in rows] == [
        f"method={name}"
        for name in ("none", "color_jitter", "trivial_augment", "adversarial_style", "random", "mixture")
    ] + ["method=first_embodiment", "method=hardmine"]
    cells = [cell.strip() for cell in rows[-1].split("|")[2:-1]]
    assert cells == ["32.5 (30.0 to 35.0)", "+3.0", "+3.0", "16.3", "+5.0", "20", "67 / 10", "20", "2"]
    assert "a machine; version abc; seeds 0, 1." in text
    text = shown(monkeypatch, capsys, "--classes", f"results={tmp_path}/results.parquet", "store=s8", "targets=true")
    assert "| method | road |" in text and "| none" not in text


def test_a_class_that_has_most_of_the_pixels_is_left_out_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = curve([0.1, 0.4])
    classes = {"other": [0.9, 0.9], "car": [0.1, 0.2], "bike": [0.1, 0.4], "bump": [np.nan, np.nan]}
    values = made.values | {f"test/iou/{name}": np.array(of) for name, of in classes.items()}
    of_street = Curve(made.counts, values, "abc", "a machine")
    store(tmp_path / "results.parquet", {Key("street", "quick", "none", "", False, 0): of_street})
    table = shown(monkeypatch, capsys, "--table", f"results={tmp_path}/results.parquet")
    heads, _, row = (line.split(" | ") for line in table.splitlines() if line.startswith("| "))
    assert row[heads.index("without other")] == "33.3"  # of car, bike and road


def test_published_tables_are_those_of_the_stored_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).parents[1]
    text = shown(monkeypatch, capsys, "--table")
    assert (root / "scripts/benchmarks/quality/results.md").read_text() == text
    for page in ("docs/results.md", "scripts/benchmarks/quality/ablation.md"):
        rows = [line for line in (root / page).read_text().splitlines() if "(`method=" in line]
        assert rows, page
        assert set(rows) <= set(text.splitlines()), page


def test_pictures_are_as_wide_as_the_page(tmp_path: Path) -> None:
    from PIL import Image

    one = groups(everything(), METRICS, [])[0]
    titles = {method: method for method in one.methods}
    paths = draw(tmp_path, one, titles, "mIoU", list(titles))
    assert [path.name for path in paths] == ["camvid-full-m64.png", "camvid-full-m64-hits.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.width == 1200
