"""The first embodiment's search, with a judge whose verdicts are known."""

import io
from collections.abc import Callable

import pytest
import torch
from conftest import make_store
from hypothesis import given, settings, strategies as st
from torch import Tensor

from hardmine.memory.stopping import Stopping
from hardmine.miner import Miner
from hardmine.neighbourhood import Generate, Random
from hardmine.records import Recipe, Verdict
from hardmine.search import Admit, Search

Hard = Callable[[Recipe], Tensor]  # (N,) bool


def all_hard(recipe: Recipe) -> Tensor:
    return torch.ones(len(recipe), dtype=torch.bool)


def all_easy(recipe: Recipe) -> Tensor:
    return torch.zeros(len(recipe), dtype=torch.bool)


def by_chance(recipe: Recipe) -> Tensor:
    """Hard or easy as the bits of the parameter fall."""
    return (recipe.parameter[:, 0, 0] * 1000).long() % 2 == 0


def judge(miner: Miner, hard: Hard = by_chance) -> Admit:
    """What takes the place of the model."""

    def admit(tries: Recipe) -> tuple[Recipe, Verdict]:
        score = torch.where(hard(tries), 0.1, 0.9)
        area_score = score[:, None].expand(-1, tries.chosen.shape[1])
        return miner.admit(tries, score, area_score, torch.full((len(tries),), -1))

    return admit


def run(search: Search, hard: Hard = by_chance) -> list[Recipe]:
    made: list[Recipe] = []
    while not search.done:
        made.append(search.step(judge(search.miner, hard), len(made))[0])
    return made


def test_a_hard_candidate_leads_to_neighbours_down_to_the_depth() -> None:
    miner = Miner(make_store(), Generate(radius=3.0), threshold=0.7)
    made = Recipe.cat(run(Search(miner, 5, rows=2, depth=3), all_hard))
    assert len(made) == 5 * 4
    for source in range(5):
        chain = made[made.source == source]
        assert chain.depth.tolist() == [0, 1, 2, 3]
        assert chain.parent.tolist() == [-1, *chain.piece[:3].tolist()]
        assert len(set(chain.draw.tolist())) == 1
        moved = (chain.parameter[1:, 0] - chain.parameter[:-1, 0])[:, [0, 3]]
        assert (moved.norm(dim=1) < 3.0).all()


def test_an_easy_candidate_is_tried_again_with_another_parameter() -> None:
    miner = Miner(make_store(targets=50), Random(), threshold=0.7)
    made = Recipe.cat(run(Search(miner, 3, rows=3, retries=4), all_easy))
    assert len(made) == 3 * 5
    assert miner.tally.pieces == 0
    for source in range(3):
        assert len(set(made[made.source == source].target[:, 0].tolist())) == 5


def test_a_hard_candidate_may_be_tried_for_anew() -> None:
    """Easy ones are counted since the last hard one."""
    search, made = (
        Search(Miner(make_store(), Generate(radius=3.0), threshold=0.7), 1, rows=1, depth=2, retries=2),
        list[Recipe](),
    )
    while not search.done:
        hard = torch.tensor([len(made) % 3 == 2])
        made.append(search.step(judge(search.miner, lambda tries, hard=hard: hard), len(made))[0])  # type: ignore[misc]
    assert [int(recipe.depth) for recipe in made] == [0] * 3 + [1] * 3 + [2] * 3
    assert [int(recipe.parent) for recipe in made] == [-1] * 3 + [0] * 3 + [1] * 3


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 7), st.integers(1, 9), st.integers(0, 3), st.integers(0, 3), st.integers(1, 2), st.integers(0, 99)
)
def test_every_source_is_searched_within_the_limits(
    sources: int, rows: int, depth: int, retries: int, searches: int, seed: int
) -> None:
    miner = Miner(make_store(), Generate(radius=5.0), seed=seed, threshold=0.7)
    search = Search(miner, sources, rows, depth, retries, searches)
    made = Recipe.cat(run(search))
    assert search.progress == 1
    assert made.depth.max() <= depth
    tries = torch.bincount(made.source, minlength=sources)
    assert (tries >= searches).all()
    assert (tries <= searches * (depth + 1) * (retries + 1)).all()
    first = made[made.parent < 0]
    assert (first.depth == 0).all()


def test_the_oldest_searches_alone_where_fewer_are_wanted() -> None:
    search = Search(Miner(make_store(), Generate(radius=5.0), threshold=0.7), 9, rows=4)
    made = [search.step(judge(search.miner, all_hard), step, most)[0] for step, most in enumerate((1, 3, 9))]
    assert [recipe.source.tolist() for recipe in made] == [[0], [0, 1, 2], [0, 1, 2, 3]]
    assert made[2].depth.tolist() == [2, 1, 1, 0]


def test_a_search_without_an_end_begins_its_sources_again() -> None:
    search = Search(Miner(make_store(), Random(), threshold=0.7), 2, rows=2, depth=0, retries=0, searches=None)
    made = [search.step(judge(search.miner), step)[0].source.tolist() for step in range(5)]
    assert made == [[0, 1]] * 5
    assert not search.done and search.progress == 0


def test_a_budget_ends_it() -> None:
    miner = Miner(make_store(), Generate(radius=5.0), stopping=Stopping(max_pieces=6), threshold=0.7)
    run(Search(miner, 50, rows=4), all_hard)
    assert miner.tally.pieces == 8


@pytest.mark.parametrize(
    "bad",
    [
        {"rows": 0},
        {"depth": -1},
        {"retries": -1},
        {"searches": 0},
    ],
)
def test_impossible_limits(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="search: rows and searches must be >= 1"):
        Search(Miner(make_store(), Random(), threshold=0.7), 3, **{"rows": 2, **bad})


def test_a_stopped_search_goes_on_to_the_same_end() -> None:
    def search() -> Search:
        return Search(Miner(make_store(), Generate(radius=5.0), threshold=0.7), 6, rows=4)

    whole = Recipe.cat(run(search()))
    begun, again, file = search(), search(), io.BytesIO()
    parts = [begun.step(judge(begun.miner), step)[0] for step in range(3)]
    torch.save({"miner": begun.miner.state_dict(), "search": begun.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again.miner.load_state_dict(saved["miner"])
    again.load_state_dict(saved["search"])
    resumed = Recipe.cat(parts + run(again))
    for name, value in whole.tensors().items():
        assert torch.equal(value, resumed.tensors()[name]), name
