"""When the model is updated (R41-R43): at every step, at every piece, every k pieces, with or without stored data."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import lightning as L
import pyarrow.parquet as pq
import pytest
import torch
from conftest import Known, make_recipe, make_store, same_rows
from omegaconf import DictConfig
from test_ddp import Images, Module
from torch import Tensor
from torch.utils.data import DataLoader

from hardmine.cli.build import build_data, build_mining
from hardmine.cli.train import train
from hardmine.data.order import Order, Place
from hardmine.errors import InputError
from hardmine.memory.ledger import Ledger
from hardmine.memory.stopping import Stopping
from hardmine.miner import Miner
from hardmine.mining import Mining
from hardmine.neighbourhood import Generate
from hardmine.numbered import Numbered
from hardmine.plan import Mix, Plan
from hardmine.records import Recipe
from hardmine.scenes import Scenes
from hardmine.tasks import SegmentationTask
from hardmine.update import Pending, Rounds, Update

Configured = Callable[..., DictConfig]
# one plain step, then all is hard; a batch norm of one row needs 2 x 2 pixels at the bottom of the net
ALL_HARD = ("mining.threshold=1.1", "mining.start=1", "data.size=[64,64]")


@dataclass
class Trained:
    """Every batch of a run: as it was planned, and as the model got it."""

    rows: list[Recipe] = field(default_factory=list)
    batches: list[dict[str, Tensor]] = field(default_factory=list)

    @property
    def pieces(self) -> list[list[int]]:
        return [recipe.piece.tolist() for recipe in self.rows]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Look over the shoulder of plan and training step."""
    seen = Trained()
    plan, step = Mining.plan, SegmentationTask.training_step

    def planned(self: Mining, scenes: Scenes, rows: Recipe | None = None) -> Plan:
        made = plan(self, scenes, rows)
        seen.rows.append(made.rows)
        return made

    def trained_on(self: SegmentationTask, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        seen.batches.append(batch)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Mining, "plan", planned)
    monkeypatch.setattr(SegmentationTask, "training_step", trained_on)
    return seen


def column(run: Path, name: str) -> list[int]:
    found: list[int] = pq.read_table(run / "ledger")[name].to_pylist()
    return found


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return state


def test_every_piece_is_one_update_and_the_next_scoring_knows_it(
    configured: Configured, tmp_path: Path, trained: Trained
) -> None:
    """One source is searched at a time: its piece, an update with that row alone, and on with the updated model."""
    summary = train(configured("update=every_piece", *ALL_HARD, "trainer.max_steps=8"))
    run = tmp_path / "run"
    assert summary["steps"] == 8
    assert trained.pieces == [[-1] * 4, [0], [1], [2], [3], [4], [5], [6]]
    assert column(run, "step") == [1, 2, 3, 4, 5, 6, 7]
    assert len(set(column(run, "score"))) > 1


def test_the_same_input_is_converted_again_and_again(configured: Configured, tmp_path: Path) -> None:
    """R42, D66: one source to the end of its chain, each candidate a neighbour of the last, then the next source."""
    train(configured("update=every_piece", *ALL_HARD, "trainer.max_steps=8"))
    run = tmp_path / "run"
    assert column(run, "source") == [0] * 5 + [1] * 2
    assert column(run, "depth") == [0, 1, 2, 3, 4, 0, 1]
    assert column(run, "parent") == [-1, 0, 1, 2, 3, -1, 5]
    assert len(set(column(run, "draw"))) == 2


def test_every_k_pieces(configured: Configured, tmp_path: Path, trained: Trained) -> None:
    """Ten sources are searched side by side; k may be more than a batch has rows."""
    train(configured("update=every_ten", *ALL_HARD, "trainer.max_steps=3"))
    assert trained.pieces == [[-1] * 4, list(range(10)), list(range(10, 20))]
    run = tmp_path / "run"
    assert column(run, "step") == [1] * 10 + [2] * 10
    assert column(run, "source") == list(range(10)) * 2
    assert column(run, "depth") == [0] * 10 + [1] * 10


def test_a_piece_is_trained_on_with_its_own_source_and_draw(
    configured: Configured, tmp_path: Path, trained: Trained
) -> None:
    """To the last bit the image that was scored: made again of the ledger's row, it is what the model learnt from."""
    config = configured("update=every_piece", *ALL_HARD, "trainer.max_steps=8")
    train(config)
    pieces = Ledger(tmp_path / "run/ledger").pieces()
    data = build_data(config)
    mining = build_mining(config, data)
    assert mining is not None
    numbered = Numbered(data.training)
    assert len(trained.batches[1:]) == len(pieces) == 7
    for row, batch in enumerate(trained.batches[1:]):
        recipe = pieces[row : row + 1]
        assert batch["index"].tolist() == recipe.source.tolist()
        assert batch["draw"].tolist() == recipe.draw.tolist()
        sample = numbered[int(recipe.source), int(recipe.draw)]
        source = mining.read({name: value[None] for name, value in sample.items()})
        made, _ = mining.conversion(source, recipe)
        assert torch.equal(batch["image"], made.image / 255)
        assert not torch.equal(batch["image"], source.image / 255)
        assert torch.equal(batch["target"], made.labels["target"])


def test_batch_learning_joins_stored_rows_and_new_pieces(configured: Configured, trained: Trained) -> None:
    """Stored rows come from the order that plain training follows: of each batch the last, where targets stand."""
    train(configured("update=batch", "update.every=2", *ALL_HARD, "trainer.max_steps=5"))
    assert trained.pieces == [[-1] * 4, [-1, -1, 0, 1], [-1, -1, 2, 3], [-1, -1, 4, 5], [-1, -1, 6, 7]]
    order, places = Order(12, 4, seed=0), list[list[Place]]()
    while len(places) < 5:
        for batch in order:
            order.delivered()
            places.append(batch)
    for kept, got in zip(places[1:5], trained.batches[1:], strict=True):
        assert list(zip(got["index"].tolist(), got["draw"].tolist(), strict=True))[:2] == kept[2:]
    for rows, got in zip(trained.rows[1:], trained.batches[1:], strict=True):
        assert got["index"].tolist() == rows.source.tolist()
        assert not rows.chosen[:2].any() and rows.chosen[2:].any(1).all()


def test_a_model_that_nothing_is_hard_for_is_not_updated(configured: Configured) -> None:
    options = ("update=every_piece", "update.tries=3", "mining.threshold=0")
    summary = train(configured(*options, "trainer.max_steps=50"))
    assert summary["steps"] == 0
    assert summary["candidates"] == 3
    assert summary["stopped"].startswith("nothing hard in 3 rounds: give more targets, or set")


def test_training_ends_where_nothing_is_hard_any_more(configured: Configured) -> None:
    """After one plain step three rounds of four sources each, without an update."""
    options = ("update=batch", "update.every=3", "update.tries=3", "mining.threshold=0", "mining.start=1")
    summary = train(configured(*options, "trainer.max_steps=50"))
    assert (summary["steps"], summary["candidates"]) == (1, 9)
    assert summary["stopped"].startswith("nothing hard in 3 rounds: give more targets, or set")


def test_a_budget_ends_the_search(configured: Configured) -> None:
    """Training at every step goes on; training that waits for pieces ends once they have been used."""
    summary = train(configured(*ALL_HARD, "mining.start=0", "stopping.max_pieces=8", run="steps"))
    assert (summary["steps"], summary["candidates"]) == (6, 8)
    assert summary["stopped"] == "the budget of 8 pieces is spent"
    online = train(configured("update=every_piece", *ALL_HARD, "stopping.max_pieces=5", "trainer.max_steps=50"))
    assert (online["steps"], online["pieces"]) == (1 + 5, 5)
    assert online["stopped"] == "the budget of 5 pieces is spent"


@pytest.mark.parametrize("mode", ["every_piece", "every_ten", "batch"])
def test_resume_equals_uninterrupted(configured: Configured, tmp_path: Path, mode: str) -> None:
    """Steps 0 to 7 at once, and with a stop after 3, in the middle of the chains of the search."""
    options = (f"update={mode}", *ALL_HARD, "callbacks.checkpoint.every_n_train_steps=1")
    batch = ["update.every=2"] if mode == "batch" else []
    train(configured(*options, *batch, "trainer.max_steps=7", run="whole"))
    train(configured(*options, *batch, "trainer.max_steps=3", run="parts"))
    train(configured(*options, *batch, "trainer.max_steps=7", f"resume={tmp_path / 'parts'}", run="parts"))
    ledgers = [pq.read_table(tmp_path / run / "ledger") for run in ("whole", "parts")]
    assert same_rows(*ledgers)
    assert len(ledgers[0]) == 6 * {"every_piece": 1, "every_ten": 10, "batch": 2}[mode]
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(value, two[name]) for name, value in one.items())


def test_what_is_usual_is_known_when_the_search_begins(tmp_path: Path) -> None:
    """With the library's own conversion, which learns it from the first batches."""
    mining = Mining(
        make_store(), threshold=1.1, hardest=1.0, start=2, areas=("area0", "area1", "area2"), update=Update(every=2)
    )
    trainer = L.Trainer(
        callbacks=[mining.callback()],
        max_steps=6,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Module(), mining.around(DataLoader(Numbered(Images()), batch_size=4)))
    assert mining.step == 6
    assert mining.tally.pieces in (3 * 2, 4 * 2)  # one more plain step may be needed


# The rounds between two updates, with a judge whose verdicts are known


def judged(miner: Miner, hard: Callable[[Recipe], Tensor], seen: list[Recipe]) -> Known:
    """What takes the place of the model; `seen` gets the tries of each round."""
    process = Known(miner, lambda tries: torch.where(hard(tries), 0.1, 0.9))
    process.tries = seen
    return process


def all_hard(tries: Recipe) -> Tensor:
    return torch.ones(len(tries), dtype=torch.bool)


def none_hard(tries: Recipe) -> Tensor:
    return torch.zeros(len(tries), dtype=torch.bool)


def by_chance(tries: Recipe) -> Tensor:
    """Hard or easy as the bits of the parameter fall."""
    return (tries.parameter[:, 0, 0] * 1000).long() % 2 == 0


def rounds_of(every: int, sources: int = 5, tries: int = 100, max_pieces: int | None = None) -> Rounds:
    miner = Miner(make_store(targets=20), Generate(radius=5.0), stopping=Stopping(max_pieces=max_pieces), threshold=0.7)
    return Rounds(miner, Update(every=every, tries=tries), sources)


def test_no_more_is_searched_than_pieces_are_missing() -> None:
    """So that no piece waits while the model changes."""
    rounds, seen = rounds_of(4), list[Recipe]()
    missing = []

    def first_alone(tries: Recipe) -> Tensor:
        missing.append(4 - len(rounds.pending))
        return torch.arange(len(tries)) == 0

    pieces = rounds.pieces(judged(rounds.miner, first_alone, seen), 0)
    assert pieces is not None and pieces.piece.tolist() == [0, 1, 2, 3]
    assert [len(tries) for tries in seen] == missing == [4, 3, 2, 1]
    assert len(rounds.pending) == 0


def test_an_easy_candidate_gives_way_to_another_parameter_for_the_same_input() -> None:
    """Four first parameters at most, as in the search with a frozen model; then it is the next source's turn."""
    rounds, seen = rounds_of(1, tries=9), list[Recipe]()
    assert rounds.pieces(judged(rounds.miner, none_hard, seen), 0) is None
    tries = Recipe.cat(seen)
    assert tries.source.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert (tries.parent == -1).all()
    assert len(set(tries.target[:4, 0].tolist())) == 4


def test_the_sources_begin_again_when_all_have_been_searched() -> None:
    rounds, seen = rounds_of(1, sources=2), list[Recipe]()
    admit = judged(rounds.miner, all_hard, seen)
    for step in range(15):
        assert rounds.pieces(admit, step) is not None
    assert Recipe.cat(seen).source.tolist() == [0] * 5 + [1] * 5 + [0] * 5
    assert Recipe.cat(seen).depth.tolist() == list(range(5)) * 3


def test_an_update_counts_the_rounds_anew() -> None:
    """Three in vain end it; here every third brings a piece."""
    rounds, seen = rounds_of(1, tries=3), list[Recipe]()

    def third(tries: Recipe) -> Tensor:
        return torch.tensor([len(seen) % 3 == 0])

    for step in range(4):
        assert rounds.pieces(judged(rounds.miner, third, seen), step) is not None
    assert len(seen) == 12
    assert rounds.pieces(judged(rounds.miner, none_hard, seen), 4) is None
    assert len(seen) == 15
    assert (
        rounds.miner.stopping.reason
        == "nothing hard in 3 rounds: give more targets, or set threshold or hardest higher"
    )


def test_a_budget_leaves_nothing_to_wait_for() -> None:
    rounds, seen = rounds_of(2, max_pieces=3), list[Recipe]()
    admit = judged(rounds.miner, all_hard, seen)
    first, second, third = (rounds.pieces(admit, step) for step in range(3))
    assert first is not None and first.piece.tolist() == [0, 1]
    assert second is not None and second.piece.tolist() == [2, 3]
    assert third is None and len(seen) == 2
    assert rounds.miner.stopping.reason == "the budget of 3 pieces is spent"


def test_rounds_that_were_stopped_go_on_alike() -> None:
    def pieces(rounds: Rounds, steps: range) -> list[Recipe]:
        admit, found = judged(rounds.miner, by_chance, []), []
        for step in steps:
            found.append(rounds.pieces(admit, step))
            assert found[-1] is not None
        return found  # type: ignore[return-value]

    whole, begun, again = rounds_of(3), rounds_of(3), rounds_of(3)
    wanted = pieces(whole, range(8))
    pieces(begun, range(4))
    file = io.BytesIO()
    torch.save({"miner": begun.miner.state_dict(), "rounds": begun.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again.miner.load_state_dict(saved["miner"])
    again.load_state_dict(saved["rounds"])
    for one, two in zip(wanted[4:], pieces(again, range(4, 8)), strict=True):
        for name, value in one.tensors().items():
            assert torch.equal(value, two.tensors()[name]), name


def test_pending_pieces_leave_in_the_order_they_came() -> None:
    pending, recipe = Pending(), make_recipe(4, make_store()).replace(piece=torch.tensor([3, -1, 4, 5]))
    pending.put(recipe)
    assert len(pending) == 3
    assert pending.take(2).piece.tolist() == [3, 4]
    again = Pending()
    again.load_state_dict(pending.state_dict())
    assert again.take(1).piece.tolist() == [5]


def test_impossible_updates() -> None:
    with pytest.raises(ValueError, match=r"update\.every must be a number of pieces, 0 or more, got -1"):
        Update(every=-1)
    with pytest.raises(ValueError, match=r"update\.tries must be a number of rounds of the search, 1 or more, got 0"):
        Update(every=2, tries=0)
    with pytest.raises(InputError, match="set candidates=1, got 2"):
        Mining(make_store(), update=Update(every=2), mix=Mix(candidates=2))
    mining = Mining(make_store(), update=Update(every=3))
    mining.ranks.count = 2
    with pytest.raises(InputError, match="every=3 pieces cannot be shared out among 2 ranks: take a multiple"):
        mining.between(sources=5)
