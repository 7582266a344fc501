"""R41 to R47: what the model learns, and when."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conformance import world
from conformance.neighbourhood import frozen, learning
from conformance.runs import Array, Run, Runs, pixels, rows_of
from conformance.scoring import PIXEL, accuracy

TOLD = 30  # updates of a run


def learnt(run: Run, every: int) -> Iterator[torch.nn.Module]:
    """The network after 0, 1, 2 ... updates, each with the next pieces: AdamW and cross entropy, written down here."""
    network = world.Pixels(3)
    network.load_state_dict(world.by_brightness())
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.05, weight_decay=0.01)
    yield network
    for start in range(0, len(run.pieces) - every + 1, every):
        rows = run.pieces[start : start + every]
        image = torch.stack([normalised(run.image(row)) for row in rows])
        target = torch.stack([torch.from_numpy(run.regions(row).astype(np.int64)) for row in rows])
        optimizer.zero_grad()
        loss: Tensor = torch.nn.functional.cross_entropy(network(image), target, ignore_index=255)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield network


def normalised(image: Array) -> Tensor:
    """(3, H, W) float32 as the network takes it."""
    mean, deviation = world.NORMAL
    return torch.from_numpy(((image / 255 - mean) / deviation).transpose(2, 0, 1)).float()


@torch.no_grad()
def score(network: torch.nn.Module, run: Run, piece: dict[str, str]) -> float:
    regions = run.regions(piece)
    right = network(normalised(run.image(piece))[None])[0].argmax(0).numpy() == regions
    return float(right[regions < 3].mean())


def scores_are_of_the_updated_model(run: Run, every: int) -> None:
    """Each piece was scored by the network that all pieces of the updates before, and no others, were taught to."""
    place, old = run.ledger.row_of_piece, 0
    before: list[float] = []
    for update, network in enumerate(learnt(run, every)):
        own = run.pieces[update * every : (update + 1) * every]
        told = run.ledger.score[[place[int(piece["piece"])] for piece in own]]
        assert (run.ledger.step[[place[int(piece["piece"])] for piece in own]] == update).all()
        now = [score(network, run, piece) for piece in own]
        assert told == pytest.approx(now, abs=2 * PIXEL), f"update {update}"
        old += sum(abs(one - other) > 4 * PIXEL for one, other in zip(before, now, strict=False))
        before = [score(network, run, piece) for piece in run.pieces[(update + 1) * every : (update + 2) * every]]
    assert old >= 3, "no model before would have said the same"


def the_next_scoring_uses_the_updated_model(runs: Runs) -> None:
    run = learning(runs)
    assert run.summary["pieces"] == run.summary["steps"] == TOLD
    scores_are_of_the_updated_model(run, every=1)
    again = {row["piece"]: float(row["accuracy"]) for row in run.trace if row["step"] == "S250"}
    networks = learnt(run, every=1)
    next(networks)
    for piece, network in zip(
        run.pieces, networks, strict=True
    ):  # the piece once more, by the model that has learnt it
        if piece["piece"] in again:
            assert again[piece["piece"]] == pytest.approx(score(network, run, piece), abs=2 * PIXEL)
    assert len(again) == TOLD - 1  # nothing is searched after the last update


def an_update_for_every_piece_or_every_ten(runs: Runs) -> None:
    one, ten = learning(runs), runs.learn("update.every=10", "trainer.max_steps=4")
    assert one.summary["pieces"] == one.summary["steps"] and ten.summary["pieces"] == 10 * ten.summary["steps"] == 40
    for run, every in ((one, 1), (ten, 10)):
        updates = [int(row["update"]) for row in run.trace if row["step"] == "S250"]
        assert all(updates.count(update) == every for update in set(updates))
    scores_are_of_the_updated_model(ten, every=10)


def batch_learning_joins_stored_data_and_new_output(runs: Runs) -> None:
    """What the training step was given, watched from inside: new pieces, and stored images as they are."""
    batches: list[tuple[Array, Array]] = []
    step = "hardmine.tasks.base.Task.training_step"

    def watched(self: Any, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        image = (batch["image"] * 255).round().byte().permute(0, 2, 3, 1).numpy()
        batches.append((image, batch["target"].numpy().astype(np.uint8)))
        return original(self, batch, batch_idx)

    from hardmine.tasks.base import Task

    original = Task.training_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, watched)
        run = runs.learn("update=batch", "update.every=2", "trainer.max_steps=4")
    names = [row["id"] for row in rows_of(runs.photos / "metadata.csv") if row["split"] == "train"]
    stored = {pixels(runs.photos / f"images/{name}.png").tobytes(): name for name in names}
    assert len(batches) == 4
    for update, (image, target) in enumerate(batches):
        kept = [stored.get(one.tobytes()) for one in image]
        assert kept[:2] != [None, None] and None not in kept[:2] and kept[2:] == [None, None]
        for name, label in zip(kept[:2], target[:2], strict=True):
            assert np.array_equal(label, pixels(runs.photos / f"regions/{name}.png"))
        for piece, one in zip(run.pieces[2 * update : 2 * update + 2], image[2:], strict=True):
            assert np.array_equal(one, run.image(piece))


def the_model_stays_as_it_is(runs: Runs) -> None:
    """All pieces have the score that the stored weights give them, from the first to the last; no step updates."""
    before = runs.weights.read_bytes()
    run = frozen(runs)
    assert runs.weights.read_bytes() == before
    place = run.ledger.row_of_piece
    for piece in run.pieces:
        told = run.ledger.score[place[int(piece["piece"])]]
        assert told == pytest.approx(accuracy(run.image(piece), run.regions(piece)), abs=PIXEL)
    assert {row["step"] for row in run.trace} == {"S100", "S110", "S122", "S124", "S126", "S130", "S142"}
    assert len(run.pieces) > TOLD


def what_it_brings_is_measured(runs: Runs) -> None:
    """Pieces, time and recognition in each environment; a model that learns fails, and outputs, less often (D81)."""
    first, second = frozen(runs), learning(runs)
    assert second.summary["hit_rate"] < 0.9 * first.summary["hit_rate"]
    for run in (first, second):
        assert run.summary["hit_rate"] == pytest.approx(run.summary["pieces"] / run.summary["candidates"])
    assert second.summary["seconds"] > 0
    for name in ("test/miou", "test/miou/night_sunny", "val/miou"):
        assert 0 <= second.summary[f"before/{name}"] <= 1 and 0 <= second.summary[name] <= 1
    assert second.summary["test/miou/night_sunny"] > second.summary["before/test/miou/night_sunny"]


def steps_may_be_reordered_or_left_out(runs: Runs) -> None:
    """S126 after S142, S250 before S230; without S130 and S142 a plain threshold filter; without mining, training."""
    after = {"text": "S226 S230 S242 S250", "output_late": "S230 S242 S226 S250", "update_early": "S226 S250 S230 S242"}
    for order, expected in after.items():
        run = runs.learn(f"update.search.order={order}", "trainer.max_steps=6")
        steps = [row["step"] for row in run.trace]
        hard = " ".join(steps)
        assert hard.count(expected) >= 2, hard
    plain = frozen(runs, "neighbourhood=random", "search.depth=0", "stopping.max_pieces=8")
    assert {row["step"] for row in plain.trace} == {"S100", "S110", "S122", "S124", "S126"}
    assert (plain.ledger.parent == -1).all() and plain.summary["pieces"] >= 8
    nothing = runs.train("neighbourhood=none", "trainer.max_steps=2").summary
    assert nothing["candidates"] == 0 and nothing["steps"] == 2


def it_is_a_library_a_command_line_and_a_config(runs: Runs) -> None:
    """The same search from Python; and the config that the run froze says what was asked for."""
    from hydra import compose, initialize_config_dir

    from hardmine.cli import config_folder
    from hardmine.cli.train import train

    run = runs.learn("trainer.max_steps=6", "update.search.order=text")
    overrides = (run.path / ".hydra/overrides.yaml").read_text().splitlines()
    given = [line.removeprefix("- ").strip("'") for line in overrides]
    assert "experiment=second_embodiment" in given and "trainer.max_steps=6" in given
    path = runs.place("library")
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        summary = train(compose("train", [*given, f"run_dir={path}"]))
    assert {**summary, "seconds": 0} == {**run.summary, "seconds": 0}
    assert (path / "trace.csv").read_text() == (run.path / "trace.csv").read_text()
