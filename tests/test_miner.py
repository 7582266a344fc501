import io

import torch
from conftest import make_recipe, make_store

from hardmine.miner import Miner
from hardmine.neighbourhood import Auto, Generate, Random
from hardmine.records import Recipe


def batch(miner: Miner, pieces: int = 2) -> Recipe:
    """Two clean rows, then pieces."""
    clean = Recipe.clean(torch.tensor([5, 6]), torch.tensor([1, 2]), miner.store.regions)
    hard = make_recipe(pieces, miner.store).replace(piece=torch.arange(10, 10 + pieces))
    return Recipe.cat([clean, hard])


def test_pieces_get_neighbours_and_clean_rows_get_first_parameters() -> None:
    miner = Miner(make_store(), 8, Generate(radius=3.0), candidates=2)
    rows = batch(miner)
    proposed = miner.propose(rows, step=4)
    assert len(proposed) == 8
    assert proposed.source.tolist() == [5, 5, 6, 6, 0, 0, 1, 1]
    assert proposed.view.tolist() == [1, 1, 2, 2, 0, 0, 1, 1]
    assert proposed.parent.tolist() == [-1, -1, -1, -1, 10, 10, 11, 11]
    assert (proposed.piece == -1).all()
    assert (proposed.target[:4, :3] >= 0).all()
    assert (proposed.target[4:] == -1).all()
    assert ((proposed.mean - rows.mean.repeat_interleave(2, 0))[4:, :, 0].abs() < 3).all()


def test_an_exhausted_neighbourhood_starts_again() -> None:
    miner = Miner(make_store(), 8, Random())
    assert (miner.propose(batch(miner), 0).parent == -1).all()


def test_admits_what_is_below_the_threshold() -> None:
    miner = Miner(make_store(), 8, Auto())
    proposed = miner.propose(batch(miner), step=4)
    score = torch.tensor([0.2, 0.9, 0.5, 0.7])
    recipe, verdict = miner.admit(proposed, score, score[:, None].expand(-1, 4), threshold=0.7)
    assert recipe.piece.tolist() == [0, -1, 1, -1]
    assert verdict.step.tolist() == [4] * 4
    assert len(miner.buffer) == 2
    assert vars(miner.tally) == {"candidates": 4, "pieces": 2, "neighbours": 2, "neighbour_pieces": 1}
    assert miner.tally.hit_rate == 0.5


def test_the_state_brings_everything_back() -> None:
    miner, again = (Miner(make_store(), 8, Auto()) for _ in range(2))
    proposed = miner.propose(batch(miner), step=4)
    miner.admit(proposed, torch.zeros(4), torch.zeros(4, 4), 0.7)
    file = io.BytesIO()
    torch.save(miner.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.tally == miner.tally
    one, two = miner.propose(batch(miner), 5), again.propose(batch(again), 5)
    assert all(torch.equal(value, two.tensors()[name]) for name, value in one.tensors().items())
