"""The two experiments that have the text to the letter, end to end, by the trace of their steps (FIG. 6 and 11)."""

import csv
import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from conftest import RIVERSIDE, UNET
from omegaconf import DictConfig

from hardmine.cli import main
from hardmine.cli.train import train

Configured = Callable[..., DictConfig]
# after FIG. 6 or 11: which step follows which, of one search
NEXT = {
    "S100": {"S110"},
    "S110": {"S122"},
    "S122": {"S124"},
    "S124": {"S126", "S110", "S100"},  # hard: output; easy: another first parameter, or the next image
    "S126": {"S130"},
    "S130": {"S142"},
    "S142": {"S122"},
}
LEARNING = {f"S2{step[2:]}": {f"S2{other[2:]}" for other in others} for step, others in NEXT.items()} | {
    "S242": {"S250"},  # updated before the neighbour is scored
    "S250": {"S222"},
}
WAYS = ["update.search.retries=2", "mining.start=2", "trainer.max_steps=8", "mining.threshold=0.6", "data.size=[64,64]"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def follows(trace: Iterable[dict[str, str]], allowed: dict[str, set[str]]) -> bool:
    return all(after["step"] in allowed[before["step"]] for before, after in pairwise(trace))


def second(configured: Configured, *more: str, run: str = "run") -> DictConfig:
    return configured("experiment=second_embodiment", *RIVERSIDE, *UNET, *WAYS, *more, run=run)


def test_the_second_embodiment_goes_step_by_step(configured: Configured, tmp_path: Path) -> None:
    summary = train(second(configured))
    trace = rows_of(tmp_path / "run/trace.csv")
    assert summary["pieces"] == 6  # one update each, after two plain steps
    assert {row["step"] for row in trace} == {"S200", "S210", "S222", "S224", "S226", "S230", "S242", "S250"}
    assert follows(trace[:-1], LEARNING), [row["step"] for row in trace]
    for before, after in pairwise(trace):
        assert before["source"] == after["source"] or after["step"] == "S200"  # the same input again and again
    compared = [row for row in trace if row["step"] == "S224"]
    scored = [row for row in trace if row["step"] == "S222"]
    for one, verdict in zip(scored, compared, strict=True):  # output iff below Th1
        assert (float(one["accuracy"]) < 0.6) == (verdict["piece"] != "")
    pieces = [row["piece"] for row in trace if row["step"] == "S226"]
    assert pieces == [str(number) for number in range(6)]
    for row in trace:
        if row["step"] == "S230":
            assert row["parent"] in pieces and row["target"]
    # the score of a piece is of the model before its update; S250 has it after
    learnt = {row["piece"]: float(row["accuracy"]) for row in trace if row["step"] == "S250"}
    first = {row["piece"]: float(one["accuracy"]) for one, row in zip(scored, compared, strict=True) if row["piece"]}
    assert learnt.keys() < first.keys() and all(learnt[piece] != first[piece] for piece in learnt)
    ledger = pq.read_table(tmp_path / "run/ledger")
    assert ledger["score"].to_pylist() == pytest.approx([float(row["accuracy"]) for row in scored], abs=1e-6)
    assert [str(step) for step in ledger["step"].to_pylist()] == [row["update"] for row in scored]


@pytest.mark.parametrize(
    ("order", "before", "after"), [("output_late", "S242", "S226"), ("update_early", "S250", "S230")]
)
def test_steps_in_the_orders_of_d83(
    order: str, before: str, after: str, configured: Configured, tmp_path: Path
) -> None:
    train(second(configured, f"update.search.order={order}", "trainer.max_steps=6"))
    steps = [row["step"] for row in rows_of(tmp_path / "run/trace.csv")]
    for hard in [place for place, step in enumerate(steps) if step == after][:-1]:
        assert before in steps[max(0, hard - 3) : hard]
    assert steps.count(after) >= 2


def test_the_order_of_output_and_update_changes_nothing_that_is_learnt(configured: Configured, tmp_path: Path) -> None:
    """A conversion does not look at the model: the same pieces, the same weights."""
    weights = []
    for order in ("text", "output_late", "update_early"):
        train(second(configured, f"update.search.order={order}", run=order))
        loaded = torch.load(tmp_path / order / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        weights.append(torch.cat([value.flatten().double() for value in loaded.values()]))
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])


def test_without_a_neighbourhood_two_steps_are_left_out(configured: Configured, tmp_path: Path) -> None:
    train(second(configured, "neighbourhood=random", "update.search.depth=0", "trainer.max_steps=5"))
    steps = {row["step"] for row in rows_of(tmp_path / "run/trace.csv")}
    assert steps == {"S200", "S210", "S222", "S224", "S226", "S250"}


def test_ten_pieces_for_an_update(configured: Configured, tmp_path: Path) -> None:
    """Searches run side by side; each of them goes on with its own image."""
    summary = train(second(configured, "update.every=4", "trainer.max_steps=5"))
    trace = rows_of(tmp_path / "run/trace.csv")
    assert summary["pieces"] == 12 and sum(row["step"] == "S226" for row in trace) == 12
    for number in {row["update"] for row in trace if row["step"] == "S250"}:
        assert sum(row["step"] == "S250" and row["update"] == number for row in trace) == 4


def test_a_trace_goes_on_where_a_run_was_stopped(configured: Configured, tmp_path: Path) -> None:
    train(second(configured, run="whole"))
    train(second(configured, "trainer.max_steps=5", run="part"))
    config = second(configured, run="part")
    config.resume = str(tmp_path / "part")
    train(config)
    assert (tmp_path / "part/trace.csv").read_text() == (tmp_path / "whole/trace.csv").read_text()


def test_the_first_embodiment_goes_step_by_step(configured: Configured, tmp_path: Path) -> None:
    """With a run's data and model, and the experiment's search."""
    run, out = tmp_path / "source", tmp_path / "out"
    train(configured("neighbourhood=none", "trainer.max_steps=2", run="source"))
    weights = run / "checkpoints/last.ckpt"
    before = weights.read_bytes()
    limits = ["search.rows=1", "search.retries=1", "stopping.max_pieces=60", "mining.threshold=0.2"]
    main(["mine", "experiment=first_embodiment", f"ckpt={weights}", f"out={out}", *limits])
    trace = rows_of(out / "trace.csv")
    assert weights.read_bytes() == before
    assert {row["step"] for row in trace} == set(NEXT)
    assert follows(trace, NEXT), [row["step"] for row in trace]
    assert len({row["source"] for row in trace}) > 1
    assert json.loads((out / "summary.json").read_text())["pieces"] == sum(row["step"] == "S126" for row in trace)


def test_the_first_embodiment_is_a_search_with_a_frozen_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "experiment=first_embodiment", f"hydra.run.dir={tmp_path / 'run'}"])
    assert "hardmine mine experiment=first_embodiment ckpt=FILE out=FOLDER" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
