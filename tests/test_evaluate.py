"""`hardmine evaluate` and `hardmine.audit`: where a model fails, in the light it was given and in other light."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, UNET, make_images, make_store
from torch import Tensor, nn
from torch.utils.data import DataLoader

import hardmine
from hardmine.cli import main
from hardmine.cli.evaluate import _Light
from hardmine.memory.ledger import Ledger
from hardmine.report.evaluation import Evaluation
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


SMALL = ["data.size=[32,32]", "data.batch_size=4", *TINY, *UNET]


@pytest.fixture
def checkpoint(folder: Path, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    settings = ["neighbourhood=none", "trainer.max_steps=1", f"hydra.run.dir={run}"]
    main(["train", f"data.root={folder}", *SMALL, *settings])
    return run / "checkpoints/last.ckpt"


def test_an_evaluation_agrees_with_the_run_and_says_what_it_found(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found"
    capsys.readouterr()
    main(["evaluate", f"ckpt={checkpoint}", f"out={out}", "trainer.accelerator=cpu"])
    shown = capsys.readouterr().out
    assert "the same val images in other light" in shown and "6 candidates of the 2 images" in shown
    found = Evaluation.read(out)
    summary = json.loads((checkpoint.parent.parent / "summary.json").read_text())
    logged = {name: value for name, value in summary.items() if name.startswith(("val/", "test/"))}
    assert logged and {name: found.measured[name] for name in logged} == pytest.approx(logged, nan_ok=True)
    assert list(found.areas) == ["train", "val", "target", "test"]
    assert found.what_if is not None and found.what_if.candidates[0, -1] == 6
    assert {hard.image for hard in found.hardest} == {"p06", "p07"}
    assert {path.stem for path in (out / "pictures").iterdir()} == {"hardest", "night"}
    found.write(tmp_path / "again")
    assert (tmp_path / "again/evaluation.json").read_bytes() == (out / "evaluation.json").read_bytes()


def test_a_gate_says_what_it_compares(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["evaluate", f"ckpt={checkpoint}", "trainer.accelerator=cpu", "pictures=0", "report=false"]
    with pytest.raises(SystemExit) as stopped:
        main([*given, f"out={tmp_path / 'a'}", "fail_under=1"])
    assert stopped.value.code == 1
    assert "fail_under=1 failed: the lowest recognition accuracy of whole images" in capsys.readouterr().out
    main([*given, f"out={tmp_path / 'b'}", "fail_under=0"])
    assert "fail_under=0 passed" in capsys.readouterr().out


def test_a_stopped_evaluation_goes_on_to_the_same_end(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [
        "evaluate",
        f"ckpt={checkpoint}",
        "rows=1",
        "source=train",
        "trainer.accelerator=cpu",
        "pictures=0",
        "report=false",
    ]
    main([*given, f"out={tmp_path / 'whole'}"])
    appended, stops = Ledger.flush, [2]

    def flush(self: Ledger) -> None:
        appended(self)
        stops[0] -= 1
        if not stops[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "flush", flush)
    with pytest.raises(KeyboardInterrupt):
        main([*given, f"out={tmp_path / 'part'}"])
    monkeypatch.undo()
    done = len(list((tmp_path / "part/ledger").iterdir()))
    assert done == 2 < len(list((tmp_path / "whole/ledger").iterdir()))
    loaded: list[list[int]] = []
    plain = _Light._load

    def load(self: _Light, rows: list[int]) -> dict[str, Tensor]:
        loaded.append(rows)
        return plain(self, rows)

    monkeypatch.setattr(_Light, "_load", load)
    main([*given, f"out={tmp_path / 'part'}"])
    assert loaded[1:] == [[4, 5]]  # the first image, which tells what images are, and what was left
    one, other = (Evaluation.read(tmp_path / name) for name in ("whole", "part"))
    assert one.what_if is not None and other.what_if is not None and one.what_if.table == other.what_if.table


def test_another_evaluation_is_not_gone_on_with(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["evaluate", f"ckpt={checkpoint}", f"out={tmp_path / 'one'}", "trainer.accelerator=cpu", "report=false"]
    main(given)
    for change, line in (
        ([], "already holds an evaluation: set out= to another folder"),
        (["budget=4"], "holds the beginning of another evaluation: set out= to another folder"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*given, *change])
        assert stopped.value.code == 2 and line in capsys.readouterr().err
        (tmp_path / "one/evaluation.json").unlink(missing_ok=True)


def test_a_training_run_is_not_written_over(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = checkpoint.parent.parent
    before = (run / ".hydra/config.yaml").read_bytes()
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", f"ckpt={checkpoint}", f"out={run}"])
    assert stopped.value.code == 2 and "holds a run already" in capsys.readouterr().err
    assert (run / ".hydra/config.yaml").read_bytes() == before


def test_without_other_light_the_measures_stand_alone(
    checkpoint: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (folder / "metadata.csv").read_text().splitlines()
    kept = [row for row in rows if ",target," not in row and ",train," not in row]
    (folder / "metadata.csv").write_text("\n".join(kept) + "\n")
    given = ["evaluate", f"ckpt={checkpoint}", "trainer.accelerator=cpu"]
    main([*given, f"out={tmp_path / 'a'}"])
    assert "no images in other light: the data has no split target" in capsys.readouterr().out
    assert Evaluation.read(tmp_path / "a").what_if is None
    with pytest.raises(SystemExit) as stopped:
        main([*given, f"out={tmp_path / 'b'}", "fail_under=0.5"])
    assert stopped.value.code == 2 and "fail_under: no store" in capsys.readouterr().err
    assert not (tmp_path / "b/evaluation.json").exists()


def test_a_store_of_its_own_and_bad_choices(
    checkpoint: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "night.parquet"
    main(["store", f"root={folder}", f"out={store}"])
    given = ["evaluate", f"ckpt={checkpoint}", "trainer.accelerator=cpu", "pictures=0", "report=false"]
    main([*given, f"out={tmp_path / 'a'}", "store=file", f"store.path={store}", "budget=3"])
    assert "2 candidates of the 2 images" in capsys.readouterr().out
    for change, line in (
        ("source=night", "source: the data has no images in the split 'night'"),
        ("budget=0", "budget must be a number of candidates, 1 or more, got 0"),
        ("rows=0", "rows must be a number of candidates"),
        ("fail_under=2", "fail_under must be a recognition accuracy from 0 to 1, got 2"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*given, f"out={tmp_path / 'b'}", change])
        assert stopped.value.code == 2 and line in capsys.readouterr().err
    shutil.rmtree(tmp_path / "b", ignore_errors=True)
