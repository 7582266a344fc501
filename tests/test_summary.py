"""What is said at the end of a training run, and the table there."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hardmine.cli.summary import show
from hardmine.report.table import environment_rows
from hardmine.runs import RunFolder

FOUND = {"pieces": 0, "candidates": 40, "unscored": 0, "refused": 0, "nothing_mined": True}
ENDED = {"hit_rate": 0.0, "steps": 24, "seconds": 1.0, "nonfinite_steps": 0}


def said(tmp_path: Path, capsys: pytest.CaptureFixture[str], after: dict[str, float], **found: Any) -> str:
    threshold = found.pop("threshold", None)
    mining = SimpleNamespace(miner=None, start=8, threshold=threshold)
    show(RunFolder(tmp_path), "miou", mining, {}, after, {**after, **FOUND, **ENDED, **found})
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (
            {"candidates": 0, "steps": 8},
            "training ended after 8 steps, and mining begins after 8: set mining.start lower",
        ),
        (
            {"candidates": 0},
            "no image that was trained on has an area that a target of the store has: look at the labels",
        ),
        ({"unscored": 40}, "no candidate could be scored: look at the loss"),
        ({"refused": 3}, "gates refused whatever was hard"),
        ({}, "no candidate was harder than the others: take targets that are further from the images"),
        ({"threshold": 0.2}, "no candidate was hard: set mining.threshold=auto"),
    ],
)
def test_a_run_without_a_piece_says_what_to_try(
    found: dict[str, Any], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"nothing was mined: {reason}" in said(tmp_path, capsys, {}, **found)


def test_what_is_not_known_is_said_and_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(tmp_path, capsys, {"val/miou": math.nan, "test/miou": 0.5})
    assert "val/miou is not known: nothing in the images of val is labelled" in out
    assert out.count("nan") == 0 and "test/miou is not known" not in out
    assert json.loads((tmp_path / "summary.json").read_text())["val/miou"] is None
    rows = environment_rows({"val/miou": math.nan, "test/miou": 0.25}, {"val/miou": 0.5, "test/miou": math.nan})
    assert rows[1:] == [("val", "all", "", "50.0", ""), ("test", "all", "25.0", "", "")]


def test_a_run_that_nothing_is_measured_of_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(tmp_path, capsys, {}, unscored=3)
    assert "nothing was measured: no image of val or test was seen" in out
    assert "3 candidates could not be scored: nothing in them is labelled, or the model gave NaN" in out
    assert "nothing was measured" not in said(tmp_path, capsys, {"val/miou": 0.5})


@pytest.mark.parametrize(
    ("score", "how"),
    [(0.25, "which validated best (0.25)"), (-math.inf, "the first, as no validation had a figure")],
)
def test_the_checkpoint_that_is_measured(
    score: float, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of figures that are NaN Lightning remembers an infinite one."""
    assert f"measured: best-000003.ckpt, {how}" in said(
        tmp_path, capsys, {}, measured="best-000003.ckpt", best_score=score
    )
    kept = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert kept["best_score"] == (score if score > 0 else None)
