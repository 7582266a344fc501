"""When the model is updated (R41-R43): at every step, at every piece, every k pieces, with or without stored data."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from conftest import make_recipe, make_store, same_rows
from omegaconf import DictConfig

from hardmine.cli.train import train
from hardmine.data.replay import Replayed
from hardmine.records import Recipe
from hardmine.update import Pending, Update

Configured = Callable[..., DictConfig]
ALL_HARD = ("mining.threshold=1.1", "mining.start=0", "data.size=[64,64]")  # a batch norm of one row needs 2 x 2


@pytest.fixture
def trained_rows(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """Every batch that was loaded, in order."""
    loaded: list[Recipe] = []
    load = Replayed.__getitem__

    def spy(self: Replayed, recipe: Recipe) -> dict[str, object]:
        loaded.append(recipe)
        return load(self, recipe)

    monkeypatch.setattr(Replayed, "__getitem__", spy)
    return loaded


def steps(run: Path) -> list[int]:
    found: list[int] = pq.read_table(run / "ledger")["step"].to_pylist()
    return found


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return state


def test_every_piece_is_one_update_and_the_next_scoring_knows_it(
    configured: Configured, tmp_path: Path, trained_rows: list[Recipe]
) -> None:
    """A batch of 4 sources gives 4 pieces, 4 updates of one row each; the next batch is scored 4 steps later."""
    summary = train(configured("update=every_piece", *ALL_HARD, "trainer.max_steps=6"))
    assert summary["steps"] == 6
    assert steps(tmp_path / "run") == [0] * 4 + [4] * 4
    updates = [recipe for recipe in trained_rows if len(recipe) == 1]
    assert [int(recipe.piece) for recipe in updates] == [0, 1, 2, 3, 4, 5]
    scores = pq.read_table(tmp_path / "run/ledger")["score"].to_pylist()
    assert len(set(scores)) > 1


def test_a_search_every_few_steps(configured: Configured, tmp_path: Path) -> None:
    """The last of each three steps is searched; pieces are trained on in all."""
    train(configured("mining.search_every=3", "trainer.max_steps=8", *ALL_HARD))
    assert steps(tmp_path / "run") == [2] * 4 + [5] * 4


def test_every_k_pieces(configured: Configured, tmp_path: Path, trained_rows: list[Recipe]) -> None:
    train(configured("update=every_ten", *ALL_HARD, "trainer.max_steps=2"))
    updates = [recipe for recipe in trained_rows if len(recipe) == 10]
    assert [recipe.piece.tolist() for recipe in updates] == [list(range(10)), list(range(10, 20))]
    assert steps(tmp_path / "run") == [0] * 12 + [1] * 8


def test_batch_learning_joins_stored_rows_and_new_pieces(
    configured: Configured, tmp_path: Path, trained_rows: list[Recipe]
) -> None:
    train(configured("update=batch", "update.every=2", *ALL_HARD, "trainer.max_steps=3"))
    updates = [recipe.piece.tolist() for recipe in trained_rows]
    assert [-1, -1, 0, 1] in updates
    assert [-1, -1, 2, 3] in updates
    assert [-1, -1, 4, 5] in updates


def test_a_model_that_nothing_is_hard_for_is_not_updated(configured: Configured, tmp_path: Path) -> None:
    options = ("update=every_piece", "update.tries=3", "mining.threshold=0")
    summary = train(configured(*options, "trainer.max_steps=50", run="online"))
    assert summary["steps"] == 0
    assert summary["candidates"] == 12
    assert summary["stopped"] == "nothing hard in 3 batches"


def test_a_budget_ends_the_search(configured: Configured, tmp_path: Path) -> None:
    """Training at every step goes on; training that waits for pieces ends once they have been used."""
    summary = train(configured(*ALL_HARD, "stopping.max_pieces=8", run="steps"))
    assert (summary["steps"], summary["candidates"]) == (6, 8)
    assert summary["stopped"] == "the budget of 8 pieces is spent"
    online = train(configured("update=every_piece", *ALL_HARD, "stopping.max_pieces=5", "trainer.max_steps=50"))
    assert (online["steps"], online["pieces"]) == (8, 8)


@pytest.mark.parametrize("mode", ["every_piece", "every_ten", "batch"])
def test_resume_equals_uninterrupted(configured: Configured, tmp_path: Path, mode: str) -> None:
    options = (f"update={mode}", *ALL_HARD, "callbacks.checkpoint.every_n_train_steps=1", "mining.start=1")
    batch = ["update.every=2"] if mode == "batch" else []
    train(configured(*options, *batch, "trainer.max_steps=7", run="whole"))
    train(configured(*options, *batch, "trainer.max_steps=3", run="parts"))
    train(configured(*options, *batch, "trainer.max_steps=7", f"resume={tmp_path / 'parts'}", run="parts"))
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    ledgers = [pq.read_table(tmp_path / run / "ledger") for run in ("whole", "parts")]
    assert same_rows(*ledgers)


def test_pending_pieces_leave_in_the_order_they_came() -> None:
    pending, recipe = Pending(), make_recipe(4, make_store()).replace(piece=torch.tensor([3, -1, 4, 5]))
    pending.put(recipe)
    assert len(pending) == 3
    assert pending.take(2).piece.tolist() == [3, 4]
    again = Pending()
    again.load_state_dict(pending.state_dict())
    assert again.take(1).piece.tolist() == [5]


def test_impossible_updates() -> None:
    with pytest.raises(ValueError, match=r"update\.every must be >= 0"):
        Update(every=-1)
