"""`hardmine evaluate` and `hardmine.audit`: where a model fails, in the light it was given and in other light."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import RIVERSIDE, TINY, UNET, make_images, make_store
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader

import hardmine
from hardmine.cli import main
from hardmine.cli.evaluate import _Light, gate, hardest, look_at_fail_area
from hardmine.cli.summary import show
from hardmine.errors import InputError
from hardmine.memory.ledger import Ledger
from hardmine.report.environments import read_graph
from hardmine.report.evaluation import Evaluation, _table
from hardmine.report.table import print_table
from hardmine.runs import RunFolder
from hardmine.whatif import WhatIf, what_if

AREAS = ("area0", "area1", "area2")
TIMES = {"time": ["day", "day", "night", "night", "night", "dusk"]}


class Bright(nn.Module):
    """Recognises class 0 in bright pixels and class 1 in dark ones; what it is asked is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def forward(self, image: Tensor) -> Tensor:
        self.rows += len(image)
        light = image.float().mean(1) / 255
        return torch.stack([light, 1 - light, torch.zeros_like(light)], dim=1)


def loader(batch: int = 3) -> DataLoader[dict[str, Tensor]]:
    image, regions = make_images(batch=7)
    samples = [
        {"image": i, "regions": r, "target": (r > 0).long().masked_fill(r == 255, 255)}
        for i, r in zip(image, regions, strict=True)
    ]
    return DataLoader(samples, batch_size=batch)  # type: ignore[arg-type]


def audited(store: hardmine.ParameterStore, batch: int = 3, budget: int = 5000) -> WhatIf:
    return hardmine.audit(Bright(), loader(batch), store, AREAS, budget=budget)


def test_every_image_meets_every_target(caplog: pytest.LogCaptureFixture) -> None:
    module = Bright()
    found = hardmine.audit(module, loader(), make_store(environment=TIMES), AREAS)
    assert found.environments == ("day", "dusk", "night") and found.areas == (*AREAS, "image")
    assert found.candidates[:, -1].tolist() == [14, 7, 21]
    assert found.images[:, -1].tolist() == [7, 7, 7]
    table = found.table
    assert table.num_rows == 3 * 4 and set(table.column_names) >= {"environment", "area", "accuracy", "low", "drop"}
    assert module.training  # as it was
    assert "pieces" not in caplog.text and "regions: the areas of regions" in caplog.text


def test_batches_do_not_matter() -> None:
    store = make_store(environment=TIMES)
    one, other = audited(store, 2).table.to_pydict(), audited(store, 7).table.to_pydict()
    assert all(one[name] == pytest.approx(other[name], abs=1e-5) for name in ("accuracy", "low", "drop_high"))


def test_images_as_they_are_are_scored_as_by_hand() -> None:
    store = make_store(targets=1, environment={"time": ["night"]})
    found = audited(store)
    image, regions = make_images(batch=7)
    rates = []
    for row in range(7):
        known = regions[row] != 255
        right = (Bright()(image[row : row + 1])[0].argmax(0) == (regions[row] > 0)) & known
        rates.append(float(right.sum() / known.sum()))
    assert found.clean[0, -1] == pytest.approx(np.mean(rates), abs=1e-6)
    assert found.drop[0, -1] == pytest.approx(found.clean[0, -1] - found.accuracy[0, -1], abs=1e-6)


@pytest.mark.parametrize("budget", [3, 10, 21, 25])
def test_a_budget_is_kept_and_fair(budget: int) -> None:
    found = audited(make_store(environment=TIMES), budget=budget)
    counts = found.candidates[:, -1]
    assert 0 < counts.sum() <= budget
    assert counts.max() - counts.min() <= found.images[:, -1].max()  # no environment goes short


def test_a_budget_of_less_than_the_environments_is_refused() -> None:
    with pytest.raises(hardmine.InputError, match=r"budget: 2 candidates for 3 environments: set it to 3 or more"):
        audited(make_store(environment=TIMES), budget=2)


def test_an_iterator_is_no_loader() -> None:
    with pytest.raises(hardmine.InputError, match="loader: it gave 7 images, and 0 the second time"):
        hardmine.audit(Bright(), iter(loader()), make_store(), AREAS)


def test_intervals_hold_the_mean_and_shrink_with_images() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for images in (10, 160):
        numbers = np.arange(images).repeat(2)
        cell = np.tile([-1, 0], images)
        score = np.clip(rng.normal(0.6, 0.1, (2 * images, 2)), 0, 1)
        found = what_if(["night"], ["road", "image"], numbers, cell, score)
        assert (found.low <= found.accuracy).all() and (found.accuracy <= found.high).all()
        assert (found.drop_low <= found.drop).all() and (found.drop <= found.drop_high).all()
        widths.append(float((found.high - found.low).mean()))
    assert widths[1] < widths[0] / 2.5  # a sixteenth of the variance


def test_what_one_image_tells_has_no_interval() -> None:
    nothing = np.nan
    score = np.array([[0.5, 0.5], [0.25, 0.25], [1, 0.5], [nothing, 0.75]])
    found = what_if(["a"], ["road", "image"], np.array([0, 0, 1, 1]), np.array([-1, 0, -1, 0]), score)
    assert found.accuracy[0].tolist() == [0.25, 0.5] and found.clean[0].tolist() == [0.5, 0.5]
    assert np.isnan(found.low[0, 0]) and not np.isnan(found.low[0, 1])
    assert found.images[0].tolist() == [1, 2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run with 12 train, 4 val, 8 target and 6 test images, 32 x 32."""
    run = tmp_path_factory.mktemp("trained") / "run"
    main(["train", *RIVERSIDE, *UNET, *TINY, "neighbourhood=none", "trainer.max_steps=1", f"hydra.run.dir={run}"])
    return run / "checkpoints/last.ckpt"


def evaluate(checkpoint: Path, out: Path, *more: str) -> Evaluation:
    quick = ["trainer.accelerator=cpu", "pictures=0", "report=false"]
    main(["evaluate", f"ckpt={checkpoint}", f"out={out}", *quick, *more])
    return Evaluation.read(out)


def refused(checkpoint: Path, out: Path, *more: str) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        evaluate(checkpoint, out, *more)
    return stopped.value.code


Said = pytest.CaptureFixture[str]


def test_an_evaluation_agrees_with_the_run_and_says_what_it_found(
    checkpoint: Path, tmp_path: Path, capsys: Said
) -> None:
    out = tmp_path / "found"
    found = evaluate(checkpoint, out, "pictures=1")
    shown = capsys.readouterr().out
    assert "the same val images in other light" in shown and "32 candidates of the 4 images" in shown
    summary = json.loads((checkpoint.parent.parent / "summary.json").read_text())
    logged = {name: value for name, value in summary.items() if name.startswith(("val/", "test/"))}
    measured = {name: found.measured[name] for name in logged}
    assert logged and measured == pytest.approx(logged, nan_ok=True)
    assert list(found.areas) == ["train", "val", "target", "test"]
    assert found.what_if is not None and found.what_if.candidates[:, -1].sum() == 32
    assert {hard.image for hard in found.hardest} == {f"val_{number:04d}" for number in range(4)}
    sheets = {path.stem.replace("_", " ") for path in (out / "pictures").iterdir()}
    assert sheets == {"hardest", *found.what_if.environments}
    found.write(tmp_path / "again")
    assert (tmp_path / "again/evaluation.json").read_bytes() == (out / "evaluation.json").read_bytes()
    marks, store = read_graph(out / "graph.parquet"), hardmine.ParameterStore.load(out / "store.parquet")
    assert marks.ids == store.ids and (marks.uses[:, :-1] <= 4).all() and (marks.uses.sum() > 0)


def test_a_gate_says_what_it_compares(checkpoint: Path, tmp_path: Path, capsys: Said) -> None:
    few = ("budget=8",)
    assert refused(checkpoint, tmp_path / "a", "fail_under=1", *few) == 1
    assert "fail_under=1 failed: the lowest recognition accuracy of whole images" in capsys.readouterr().out
    evaluate(checkpoint, tmp_path / "b", "fail_under=0", "fail_area=any", *few)
    assert "fail_under=0 passed: the lowest recognition accuracy of an area in an" in capsys.readouterr().out


def test_a_gate_looks_at_what_it_is_told_to() -> None:
    """Two environments, two areas: the image is recognised worst by dusk, the road by night."""
    light = what_if(
        ["dusk", "night"],
        ["sky", "road", "image"],
        np.array([0, 0, 0]),
        np.array([-1, 0, 1]),
        np.array([[1.0, 1.0, 1.0], [0.4, 0.8, 0.5], [0.9, 0.3, 0.7]]),
    )
    passed, line = gate(light, 0.5, "image")
    assert passed and "of whole images in an environment is 0.500 (dusk)" in line
    assert "areas were not looked at: the lowest is 0.300 (road in night)" in line
    assert gate(light, 0.51, "image")[0] is False
    passed, line = gate(light, 0.4, "any")
    assert not passed and line.endswith("of an area in an environment is 0.300 (road in night)")
    passed, line = gate(light, 0.4, "sky")
    assert passed and line.endswith("of sky in an environment is 0.400 (dusk)")
    with pytest.raises(InputError, match=r"fail_area: 'rode' is no area.*did you mean `road`"):
        look_at_fail_area("rode", ["sky", "road"])


def test_a_gate_says_where_nothing_could_be_scored() -> None:
    """By dusk the image has no score; the road has none by night."""
    light = what_if(
        ["dusk", "night"],
        ["sky", "road", "image"],
        np.array([0, 0, 0]),
        np.array([-1, 0, 1]),
        np.array([[1.0, 1.0, 1.0], [np.nan, np.nan, np.nan], [0.9, np.nan, 0.7]]),
    )
    passed, line = gate(light, 0.5, "image")
    assert passed and line.endswith("see fail_area; nothing could be scored in dusk")
    assert gate(light, 0.5, "any")[1].endswith("(sky in night); nothing could be scored in dusk")
    passed, line = gate(light, 0.5, "road")
    assert not passed and line.endswith("; nothing could be scored in dusk, night")


def test_an_image_without_a_score_is_not_among_the_hardest() -> None:
    nan = float("nan")
    assert hardest(torch.tensor([0.5, nan, 0.25, 1.0, nan])).tolist() == [2, 0, 3]
    assert not len(hardest(torch.tensor([nan, nan])))


def test_an_evaluation_in_which_nothing_could_be_scored_says_so() -> None:
    score = np.full((2, 2), np.nan)
    light = what_if(["night"], ["road", "image"], np.array([0, 0]), np.array([-1, 0]), score)
    about = {"candidates": 1, "images": 1, "of": 1, "source": "val"}
    found = Evaluation(about, "miou", {}, None, {}, light, [])
    (line,) = found.lines()
    assert line == "1 candidates of the 1 images: none could be scored: look at the labels of the val images"


def test_titles_are_whole_however_narrow_the_terminal() -> None:
    table = Table(title="a title that is wider than its table", caption="and a caption that is wider, too")
    table.add_column("n")
    table.add_row("1")
    console = Console(file=io.StringIO(), width=20)
    print_table(console, table)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0] == "a title that is wider than its table" and lines[-1] == "and a caption that is wider, too"


def test_no_column_is_cut_off_however_narrow_the_terminal() -> None:
    table = Table("a name that may break", box=None)
    table.add_column("as it is", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_row("some words that may break", "0123456789", "finished")
    console = Console(file=io.StringIO(), width=20)
    print_table(console, table)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert any("0123456789" in line and "finished" in line for line in lines)
    assert console.width == 20


def test_areas_that_begin_alike_keep_their_names() -> None:
    apart, alike = ["pavement_of_stone", "road"], ["pavement_of_stone", "pavement_of_sand"]
    assert [str(column.header) for column in _table("", ["environment"], apart).columns[1:]] == ["pavement_…", "road"]
    assert [str(column.header) for column in _table("", ["environment"], alike).columns[1:]] == alike


def test_the_table_at_the_end_of_a_run_cuts_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Environments of many parts differ in the last one; a name may have signs that Rich reads as a style."""
    monkeypatch.setenv("COLUMNS", "60")
    name = "balanced_accuracy"
    after = {f"val/{name}/{'part_' * 12}{end}": 0.5 for end in ("day", "night", "[red]")}
    counts = {"pieces": 0, "candidates": 0, "hit_rate": 0.0, "steps": 1, "seconds": 1.0}
    flags = dict.fromkeys(("nonfinite_steps", "unscored", "nothing_mined"), 0)
    folder = tmp_path / f"{'long ' * 20}[red]"
    folder.mkdir()
    show(RunFolder(folder), name, None, {}, after, {**counts, **flags})
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "balanced_accuracy in %, when mining started and at the end"
    assert "…" not in said and all(f" {end}" in said for end in ("day", "night", "[red]"))
    assert said.splitlines()[-1] == f"run folder: {folder}"


def test_a_stopped_evaluation_goes_on_to_the_same_end(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = evaluate(checkpoint, tmp_path / "whole", "rows=2")
    plain, stops = Ledger.flush, [2]

    def flush(self: Ledger) -> None:
        plain(self)
        stops[0] -= 1
        if not stops[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "flush", flush)
    with pytest.raises(SystemExit, match="130"):
        evaluate(checkpoint, tmp_path / "part", "rows=2")
    monkeypatch.undo()
    parts = [len(list((tmp_path / f"{name}/ledger").iterdir())) for name in ("part", "whole")]
    assert parts == [2, 4]
    loaded: list[list[int]] = []
    load = _Light._load

    def watched(self: _Light, rows: list[int]) -> dict[str, Tensor]:
        loaded.append(rows)
        return load(self, rows)

    monkeypatch.setattr(_Light, "_load", watched)
    other = evaluate(checkpoint, tmp_path / "part", "rows=2")
    assert loaded == [[0], [2], [3]]  # the first image, which tells what images are, and what was left
    assert one.what_if is not None and other.what_if is not None and one.what_if.table == other.what_if.table


def test_another_evaluation_is_not_gone_on_with(checkpoint: Path, tmp_path: Path, capsys: Said) -> None:
    out = tmp_path / "one"
    evaluate(checkpoint, out, "budget=8")
    assert refused(checkpoint, out, "budget=8") == 2
    assert "already holds an evaluation: set out= to another folder" in capsys.readouterr().err
    (out / "evaluation.json").unlink()
    assert refused(checkpoint, out, "budget=9") == 2
    assert "holds the beginning of another evaluation: set out= to another folder" in capsys.readouterr().err


def test_a_training_run_is_not_written_over(checkpoint: Path, capsys: Said) -> None:
    run = checkpoint.parent.parent
    before = (run / ".hydra/config.yaml").read_bytes()
    assert refused(checkpoint, run) == 2
    assert "already holds a run: set out= to another folder" in capsys.readouterr().err
    assert (run / ".hydra/config.yaml").read_bytes() == before


def test_without_other_light_the_measures_stand_alone(checkpoint: Path, tmp_path: Path, capsys: Said) -> None:
    alone = "data.counts={train: 1, val: 4, target: 0, test: 0}"
    found = evaluate(checkpoint, tmp_path / "a", alone)
    assert "no images in other light: the data has no split target" in capsys.readouterr().out
    assert found.what_if is None and list(found.areas) == ["train", "val"]
    assert refused(checkpoint, tmp_path / "b", alone, "fail_under=0.5") == 2
    assert "fail_under: no store" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_store_may_be_given(checkpoint: Path, tmp_path: Path) -> None:
    evaluate(checkpoint, tmp_path / "a", "budget=8")
    store = hardmine.ParameterStore.load(tmp_path / "a/store.parquet")
    kept = store.with_(environment={"light": ["dim"] * 4 + ["dark"] * 4})
    kept.save(tmp_path / "store.parquet")
    given = ("store=file", f"store.path={tmp_path / 'store.parquet'}", "source=test", "budget=4")
    found = evaluate(checkpoint, tmp_path / "b", *given)
    assert found.what_if is not None and found.what_if.environments == ("dark", "dim")
    assert found.about["images"] == 2 and found.about["of"] == 6


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("source=night", "source: the data has no images in the split 'night'"),
        ("budget=0", "budget must be a number of candidates, 1 or more, got 0"),
        ("rows=0", "rows must be a number of candidates"),
        ("fail_under=2", "fail_under must be a recognition accuracy from 0 to 1, got 2"),
    ],
)
def test_bad_choices_are_told(checkpoint: Path, tmp_path: Path, change: str, line: str, capsys: Said) -> None:
    assert refused(checkpoint, tmp_path / "a", change) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_what_is_missing_is_asked_for(capsys: Said) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", "out=x"])
    assert "evaluate: ckpt is missing: set ckpt=PATH to a checkpoint or a state dict" in capsys.readouterr().err
