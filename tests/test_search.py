"""The first embodiment's search, with a judge whose verdicts are known."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import Known, make_store
from hypothesis import given, settings, strategies as st
from torch import Tensor

from hardmine.errors import InputError
from hardmine.memory.stopping import Stopping
from hardmine.miner import Miner
from hardmine.neighbourhood import Generate, Random
from hardmine.records import Recipe
from hardmine.search import Search, Steps

Hard = Callable[[Recipe], Tensor]  # (N,) bool


def all_hard(recipe: Recipe) -> Tensor:
    return torch.ones(len(recipe), dtype=torch.bool)


def all_easy(recipe: Recipe) -> Tensor:
    return torch.zeros(len(recipe), dtype=torch.bool)


def by_chance(recipe: Recipe) -> Tensor:
    """Hard or easy as the bits of the parameter fall."""
    return (recipe.parameter[:, 0, 0] * 1000).long() % 2 == 0


def judge(miner: Miner, hard: Hard = by_chance) -> Known:
    """What takes the place of the model."""
    return Known(miner, lambda tries: torch.where(hard(tries), 0.1, 0.9))


def run(search: Search, hard: Hard = by_chance) -> list[Recipe]:
    made: list[Recipe] = []
    while not search.done:
        made.append(step(search, judge(search.miner, hard), len(made)))
    return made


def step(search: Search, process: Known, number: int, most: int | None = None) -> Recipe:
    candidates, verdict = search.step(process, number, most)
    search.output(process, candidates, verdict, most)
    return candidates


def test_a_hard_candidate_leads_to_neighbours_down_to_the_depth() -> None:
    miner = Miner(make_store(), Generate(radius=3.0), threshold=0.7)
    made = Recipe.cat(run(Search(miner, 5, rows=2, steps=Steps(depth=3)), all_hard))
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
    made = Recipe.cat(run(Search(miner, 3, rows=3, steps=Steps(retries=4)), all_easy))
    assert len(made) == 3 * 5
    assert miner.tally.pieces == 0
    for source in range(3):
        assert len(set(made[made.source == source].target[:, 0].tolist())) == 5


def test_a_hard_candidate_may_be_tried_for_anew() -> None:
    """Easy ones are counted since the last hard one."""
    search, made = (
        Search(Miner(make_store(), Generate(radius=3.0), threshold=0.7), 1, rows=1, steps=Steps(depth=2, retries=2)),
        list[Recipe](),
    )
    while not search.done:
        hard = torch.tensor([len(made) % 3 == 2])
        made.append(step(search, judge(search.miner, lambda tries, hard=hard: hard), len(made)))  # type: ignore[misc]
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
    search = Search(miner, sources, rows, Steps(depth, retries), searches)
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
    process, made = judge(search.miner, all_hard), list[Recipe]()
    for number, (most, following) in enumerate(((1, 3), (3, 9), (9, 9))):
        candidates, verdict = search.step(process, number, most)
        search.output(process, candidates, verdict, following)
        made.append(candidates)
    assert [recipe.source.tolist() for recipe in made] == [[0], [0, 1, 2], [0, 1, 2, 3]]
    assert made[2].depth.tolist() == [2, 1, 1, 0]


def test_a_search_without_an_end_begins_its_sources_again() -> None:
    search = Search(
        Miner(make_store(), Random(), threshold=0.7), 2, rows=2, steps=Steps(depth=0, retries=0), searches=None
    )
    made = [step(search, judge(search.miner), number).source.tolist() for number in range(5)]
    assert made == [[0, 1]] * 5
    assert not search.done and search.progress == 0


def test_a_budget_ends_it() -> None:
    miner = Miner(make_store(), Generate(radius=5.0), stopping=Stopping(max_pieces=6), threshold=0.7)
    run(Search(miner, 50, rows=4), all_hard)
    assert miner.tally.pieces == 8


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"rows": 0}, "search.rows must be a number of searches side by side, 1 or more, got 0"),
        ({"searches": 0}, "search.searches must be a number of first parameters of each source, 1 or more, got 0"),
        ({"steps": {"depth": -1}}, "search.depth must be a number of neighbours of neighbours, 0 or more, got -1"),
        ({"steps": {"retries": -1}}, "search.retries must be a number of parameters, 0 or more, got -1"),
        ({"steps": {"order": "late"}}, "search.order must be text, output_late or update_early, got 'late'"),
        ({"steps": {"easy": "again"}}, "search.easy must be neighbour or first, got 'again'"),
    ],
)
def test_impossible_limits(bad: dict[str, Any], message: str) -> None:
    def search() -> Search:
        steps = Steps(**bad.get("steps", {}))
        return Search(Miner(make_store(), Random(), threshold=0.7), 3, **{"rows": 2, **bad, "steps": steps})

    with pytest.raises(InputError, match=re.escape(message)):
        search()


def test_a_stopped_search_goes_on_to_the_same_end() -> None:
    def search() -> Search:
        return Search(Miner(make_store(), Generate(radius=5.0), threshold=0.7), 6, rows=4)

    whole = Recipe.cat(run(search()))
    begun, again, file = search(), search(), io.BytesIO()
    parts = [step(begun, judge(begun.miner), number) for number in range(3)]
    torch.save({"miner": begun.miner.state_dict(), "search": begun.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again.miner.load_state_dict(saved["miner"])
    again.load_state_dict(saved["search"])
    resumed = Recipe.cat(parts + run(again))
    for name, value in whole.tensors().items():
        assert torch.equal(value, resumed.tensors()[name]), name


def test_after_an_easy_neighbour_the_text_goes_back_to_a_first_parameter() -> None:
    """NO in S124 leads to S110."""
    for easy, wanted in (("neighbour", [-1, 0, 0, 0, 0]), ("first", [-1, 0, -1, -1, -1])):
        miner = Miner(make_store(targets=50), Generate(radius=3.0), threshold=0.7)
        search, made = Search(miner, 1, rows=1, steps=Steps(easy=easy, retries=3)), list[Recipe]()  # type: ignore[arg-type]
        while not search.done:
            hard = torch.tensor([not made])  # the first candidate alone
            made.append(step(search, judge(miner, lambda tries, hard=hard: hard), len(made)))  # type: ignore[misc]
        assert [int(recipe.parent) for recipe in made] == wanted


def test_without_a_limit_a_chain_goes_on_as_long_as_it_is_hard() -> None:
    miner = Miner(make_store(), Generate(radius=3.0), stopping=Stopping(max_pieces=40), threshold=0.7)
    made = Recipe.cat(run(Search(miner, 2, rows=1, steps=Steps(depth=None)), all_hard))
    assert made.depth.tolist() == list(range(40)) and set(made.source.tolist()) == {0}


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("text", ["convert", "admit", "output", "convert", "update", "admit", "output", "convert"]),
        ("output_late", ["convert", "admit", "convert", "output", "update", "admit", "convert", "output"]),
        ("update_early", ["convert", "admit", "output", "update", "convert", "admit", "output"]),
    ],
)
def test_the_order_of_output_next_candidate_and_update(order: Any, wanted: list[str]) -> None:
    """As FIG. 11 has it, and as D83 allows."""
    miner = Miner(make_store(), Generate(radius=3.0), threshold=0.7)
    search, process = Search(miner, 2, rows=1, steps=Steps(order=order), learns=True), judge(miner, all_hard)
    for number in range(2):
        candidates, verdict = search.step(process, number)
        search.output(process, candidates, verdict, updates=True)
        if not number:
            process.done.append("update")
    assert process.done == wanted


def test_a_source_that_has_no_area_of_the_store_is_passed_over() -> None:
    store = make_store()
    store = store.with_(count=store.count * torch.tensor([1, 0, 0, 0]))  # of area 0 alone
    miner = Miner(store, Generate(radius=3.0), threshold=0.7)
    process = judge(miner, all_easy)
    process.areas = lambda rows: torch.stack([rows.source % 2 == 0, *[torch.ones(len(rows)).bool()] * 3], dim=1)
    search = Search(miner, 6, rows=2, steps=Steps(retries=1))
    while not search.done:
        step(search, process, 0)
    assert Recipe.cat(process.tries).source.bincount().tolist() == [2, 0, 2, 0, 2]
    process.areas = lambda rows: torch.zeros_like(rows.present)
    with pytest.raises(InputError, match="no source has an area that a target of the store has"):
        Search(miner, 6, rows=2, searches=None).step(process, 0)


def test_a_search_ends_where_a_hard_piece_has_no_neighbour() -> None:
    """Such a source would be hard for ever."""
    miner = Miner(make_store(), Random(), threshold=0.7)
    made = Recipe.cat(run(Search(miner, 5, rows=2), all_hard))
    assert made.source.tolist() == [0, 1, 2, 3, 4]
    endless = Search(Miner(make_store(), Random(), threshold=0.7), 3, rows=1, searches=None)
    process = judge(endless.miner, all_hard)
    assert [int(step(endless, process, number).source) for number in range(7)] == [0, 1, 2, 0, 1, 2, 0]
