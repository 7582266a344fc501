import io

import pytest
import torch
from conftest import make_recipe, make_store

from hardmine.miner import Miner
from hardmine.neighbourhood import Auto, Generate, Random
from hardmine.records import Recipe


def batch(miner: Miner, pieces: int = 2) -> Recipe:
    """Two clean rows, then pieces."""
    clean = Recipe.clean(torch.tensor([5, 6]), torch.tensor([1, 2]), miner.store.regions, 6)
    hard = make_recipe(pieces, miner.store).replace(piece=torch.arange(10, 10 + pieces))
    return Recipe.cat([clean, hard])


def test_pieces_get_neighbours_and_clean_rows_get_first_parameters() -> None:
    miner = Miner(make_store(), Generate(radius=3.0), candidates=2, threshold=0.7)
    rows = batch(miner)
    proposed = miner.propose(rows, step=4)
    assert len(proposed) == 8
    assert proposed.source.tolist() == [5, 5, 6, 6, 0, 0, 1, 1]
    assert proposed.draw.tolist() == [1, 1, 2, 2, 0, 0, 1, 1]
    assert proposed.parent.tolist() == [-1, -1, -1, -1, 10, 10, 11, 11]
    assert (proposed.piece == -1).all()
    assert (proposed.target[:4, :3] >= 0).all()
    assert (proposed.target[4:] == -1).all()
    assert ((proposed.parameter - rows.parameter.repeat_interleave(2, 0))[4:, :, 0].abs() < 3).all()


def test_an_exhausted_neighbourhood_starts_again() -> None:
    miner = Miner(make_store(), Random(), threshold=0.7)
    assert (miner.propose(batch(miner), 0).parent == -1).all()


def test_admits_what_is_below_the_threshold() -> None:
    miner = Miner(make_store(), Auto(), threshold=0.7)
    proposed = miner.propose(batch(miner), step=4)
    score = torch.tensor([0.2, 0.9, 0.5, 0.7])
    recipe, verdict = miner.admit(proposed, score, score[:, None].expand(-1, 4), torch.full((4,), -1))
    assert recipe.piece.tolist() == [0, -1, 1, -1]
    assert verdict.step.tolist() == [4] * 4
    assert len(miner.buffer) == 2
    assert vars(miner.tally) == {
        "candidates": 4,
        "pieces": 2,
        "neighbours": 2,
        "neighbour_pieces": 1,
        "refused": 0,
        "unscored": 0,
    }
    assert miner.tally.hit_rate == 0.5


def test_the_state_brings_everything_back() -> None:
    miner, again = (Miner(make_store(), Auto(), threshold=0.7) for _ in range(2))
    proposed = miner.propose(batch(miner), step=4)
    miner.admit(proposed, torch.zeros(4), torch.zeros(4, 4), torch.full((4,), -1))
    file = io.BytesIO()
    torch.save(miner.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.tally == miner.tally
    one, two = miner.propose(batch(miner), 5), again.propose(batch(again), 5)
    assert all(torch.equal(value, two.tensors()[name]) for name, value in one.tensors().items())


def test_a_gate_keeps_hard_candidates_out() -> None:
    miner = Miner(make_store(), Auto(), threshold=0.7)
    proposed = miner.propose(batch(miner), step=4)
    gate = torch.tensor([-1, 0, 1, -1])
    recipe, verdict = miner.admit(proposed, torch.tensor([0.1, 0.1, 0.9, 0.9]), torch.zeros(4, 4), gate)
    assert recipe.piece.tolist() == [0, -1, -1, -1]
    assert verdict.hard.tolist() == [True, True, False, False]
    assert (miner.tally.pieces, miner.tally.refused) == (1, 1)


def test_an_absent_area_is_remembered() -> None:
    miner = Miner(make_store(), Generate(radius=3.0, independent=True), threshold=0.7)
    proposed = miner.propose(batch(miner), step=0)
    area_score = torch.zeros(4, 4)
    area_score[:, 1] = torch.nan
    recipe, _ = miner.admit(proposed, torch.zeros(4), area_score, torch.full((4,), -1))
    assert (miner.graph.uses[:, 1] == 0).all()
    near = miner.propose(recipe, step=1)
    assert torch.equal(near.parameter[:, 1], recipe.parameter[:, 1])
    assert not torch.equal(near.parameter[:, 0], recipe.parameter[:, 0])


def test_several_proposals_in_one_step_and_on_several_ranks_differ() -> None:
    """Rounds of a frozen model share a step; each rank draws on its own."""
    miner = Miner(make_store(targets=50), Random(), threshold=0.7)
    clean = Recipe.clean(torch.arange(30), torch.arange(30), miner.store.regions, 6)
    drawn = [miner.propose(clean, step=4, rank=rank, ranks=2).target[:, 0].tolist() for rank in (0, 0, 1)]
    assert drawn[0] != drawn[1] != drawn[2]
    one, two = (Miner(make_store(targets=50), Random(), threshold=0.7).propose(clean, 4, rank, 2) for rank in range(2))
    assert one.target.tolist() != two.target.tolist()
    again = Miner(make_store(targets=50), Random(), threshold=0.7).propose(clean, 4, 0, 2)
    assert torch.equal(one.target, again.target)


@pytest.mark.parametrize("bad", [{"candidates": 0}, {"hardest": 0.0}, {"hardest": 1.5}])
def test_impossible_numbers(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be"):
        Miner(make_store(), Random(), **bad)  # type: ignore[arg-type]


def admitted(miner: Miner, scores: list[float]) -> list[bool]:
    """Scores of as many parameters that are new, on sources that are new."""
    clean = Recipe.clean(torch.full((len(scores),), -1), torch.arange(len(scores)), miner.store.regions, 6)
    target = miner.tally.candidates + torch.arange(len(scores))
    proposed = miner.store.recipe(clean, target[:, None].expand(-1, 4), torch.ones(len(scores), 4, dtype=torch.bool))
    score = torch.tensor(scores)
    area, gate = score[:, None].expand(-1, 4), torch.full((len(scores),), -1)
    return miner.admit(proposed, score, area, gate)[1].hard.tolist()


def searching(hardest: float, threshold: float | None = None) -> Miner:
    return Miner(make_store(targets=500), Random(), hardest=hardest, threshold=threshold)


def test_without_th1_the_hardest_share_becomes_pieces() -> None:
    miner = searching(0.25)
    assert admitted(miner, [0.1, 0.2, 0.3, 0.4, 0.9]) == [True, False, False, False, False]
    assert admitted(miner, [0.15, 0.5, 0.6, 0.12, 0.2]) == [
        True,
        False,
        False,
        True,
        False,
    ]  # of ten, the three hardest
    assert admitted(miner, [float("nan"), 0.05, 0.8]) == [False, True, False]
    good = searching(0.25)
    assert admitted(good, [0.97, 0.98, 0.99, 0.96]) == [False, False, False, True]  # however good the model is


def test_th1_holds_beside_the_share() -> None:
    assert admitted(searching(1.0, 0.7), [0.1, 0.69, 0.7, 0.9]) == [True, True, False, False]
    assert admitted(searching(0.5, 0.7), [0.8, 0.85, 0.9, 0.95]) == [False] * 4
    assert admitted(searching(0.25, 0.7), [0.1, 0.2, 0.3, 0.4]) == [True, False, False, False]


def test_what_is_tied_at_the_top_is_hard() -> None:
    miner = searching(0.25)
    assert admitted(miner, [0.0, 0.0, 0.0, 0.4, 0.2]) == [True, True, True, False, False]
    assert admitted(searching(0.25), [0.6] * 4) == [False] * 4  # none is harder than the others
    assert admitted(searching(1.0), [0.6] * 4) == [True] * 4


@pytest.mark.parametrize("hardest", [0.2, 0.05, 0.01])
def test_the_share_holds_however_small(hardest: float) -> None:
    miner, generator = Miner(make_store(targets=6000), Random(), hardest=hardest), torch.Generator().manual_seed(0)
    hard = [admitted(miner, torch.rand(8, generator=generator).tolist()) for _ in range(700)]
    late = [one for row in hard[100:] for one in row]
    assert sum(late) / len(late) == pytest.approx(hardest, rel=0.3)


def test_old_drops_are_forgotten() -> None:
    miner = searching(0.5)
    admitted(miner, [0.1, 0.9, 0.9, 0.9])
    for _ in range(64):
        admitted(miner, [0.5, 0.6, 0.6, 0.6])
    assert admitted(miner, [0.55, 0.6, 0.6, 0.6])[0]


def test_a_stand_in_is_a_first_parameter_that_leaves_no_mark() -> None:
    miner = Miner(make_store(), Auto(), threshold=0.7)
    rows = Recipe.clean(torch.arange(5), torch.arange(5), miner.store.regions, 6)
    made = miner.begin(rows, torch.Generator().manual_seed(0))
    assert (made.target[:, :3] >= 0).all() and (made.piece == -1).all() and (made.parent == -1).all()
    assert torch.equal(made.source, rows.source) and torch.equal(made.draw, rows.draw)
    assert not len(miner.graph.used) and not miner.tally.candidates


def scored(miner: Miner, recipe: Recipe, score: float) -> None:
    """Another image in the same light."""
    values, none = torch.full((len(recipe),), score), torch.full((len(recipe),), -1)
    miner.admit(recipe.replace(piece=none, source=recipe.source + 50), values, values[:, None].expand(-1, 4), none)


def test_only_what_is_still_hard_is_expanded() -> None:
    """By the latest accuracy of a stored parameter, wherever it was measured (R36)."""
    miner = Miner(make_store(), Generate(radius=3.0), threshold=0.7)
    first = miner.propose(batch(miner, pieces=0), 0)
    score, none = torch.full((2,), 0.1), torch.full((2,), -1)
    pieces, _ = miner.admit(first, score, score[:, None].expand(-1, 4), none)
    assert miner.propose(pieces, 1).parent.tolist() == [0, 1]
    scored(miner, pieces[:1], 0.7)  # not below Th1
    assert miner.propose(pieces, 2).parent.tolist() == [-1, 1]
    scored(miner, pieces[:1], 0.69)
    assert miner.propose(pieces, 3).parent.tolist() == [0, 1]
    neighbours = miner.propose(pieces, 4)  # generated: the graph knows nothing of them
    pieces, _ = miner.admit(neighbours, score, score[:, None].expand(-1, 4), none)
    scored(miner, first, 0.9)
    assert (miner.propose(pieces, 5).parent == pieces.piece).all()


def test_without_th1_what_is_still_among_the_hardest_is_expanded() -> None:
    miner = Miner(make_store(targets=500), Generate(radius=3.0), hardest=0.25)
    assert admitted(miner, [0.1, 0.9, 0.9, 0.9]) == [True, False, False, False]
    hard = make_recipe(1, miner.store, target=0).replace(piece=torch.tensor([0]))
    assert miner.propose(hard, 1).parent.tolist() == [0]
    for _ in range(6):
        scored(miner, hard, 0.95)
        admitted(miner, [0.2, 0.9, 0.9, 0.9])
    assert miner.propose(hard, 2).parent.tolist() == [-1]


def test_an_image_that_nothing_can_be_done_to_is_no_candidate() -> None:
    store = make_store()
    miner = Miner(store.with_(count=store.count * torch.tensor([1, 0, 0, 0])), Generate(radius=3.0))
    present = torch.tensor([[True, True, True, True], [False, True, True, True]])
    proposed = miner.propose(batch(miner, pieces=0).replace(present=present), 0)
    assert proposed.counted.any(1).tolist() == [True, False] and not proposed.chosen[1].any()
