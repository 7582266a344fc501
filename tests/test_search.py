"""The first embodiment's search, with a judge whose verdicts are known."""

import io

import torch
from conftest import make_store
from hypothesis import given, settings
from hypothesis import strategies as st

from hardmine.memory.stopping import Stopping
from hardmine.miner import Miner
from hardmine.neighbourhood import Generate, Random
from hardmine.records import Recipe
from hardmine.search import Judged, Search


def verdicts(recipe: Recipe, hard: torch.Tensor) -> Judged:
    score = torch.where(hard, 0.1, 0.9)
    return score, score[:, None].expand(-1, recipe.chosen.shape[1]), torch.full((len(recipe),), -1)


def all_hard(recipe: Recipe) -> Judged:
    return verdicts(recipe, torch.ones(len(recipe), dtype=torch.bool))


def all_easy(recipe: Recipe) -> Judged:
    return verdicts(recipe, torch.zeros(len(recipe), dtype=torch.bool))


def by_chance(recipe: Recipe) -> Judged:
    """Hard or easy as the bits of the parameter fall."""
    return verdicts(recipe, (recipe.parameter[:, 0, 0] * 1000).long() % 2 == 0)


def run(search: Search, judge: object = by_chance) -> list[Recipe]:
    made = []
    while not search.done:
        made.append(search.step(judge, 0.7)[0])  # type: ignore[arg-type]
    return made


def test_a_hard_candidate_leads_to_neighbours_down_to_the_depth() -> None:
    miner = Miner(make_store(), 5, Generate(radius=3.0))
    made = Recipe.cat(run(Search(miner, 5, rows=2, depth=3), all_hard))
    assert len(made) == 5 * 4
    for source in range(5):
        chain = made[made.source == source]
        assert chain.depth.tolist() == [0, 1, 2, 3]
        assert chain.parent.tolist() == [-1, *chain.piece[:3].tolist()]
        moved = (chain.parameter[1:, 0] - chain.parameter[:-1, 0])[:, [0, 3]]
        assert (moved.norm(dim=1) < 3.0).all()


def test_an_easy_candidate_is_tried_again_with_another_parameter() -> None:
    miner = Miner(make_store(targets=50), 3, Random())
    made = Recipe.cat(run(Search(miner, 3, rows=3, retries=4), all_easy))
    assert len(made) == 3 * 5
    assert miner.tally.pieces == 0
    for source in range(3):
        assert len(set(made[made.source == source].target[:, 0].tolist())) > 1


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 7), st.integers(1, 9), st.integers(0, 3), st.integers(0, 3), st.integers(1, 2), st.integers(0, 99)
)
def test_every_source_is_searched_within_the_limits(
    sources: int, rows: int, depth: int, retries: int, searches: int, seed: int
) -> None:
    miner = Miner(make_store(), sources, Generate(radius=5.0), seed=seed)
    search = Search(miner, sources, rows, depth, retries, searches)
    made = Recipe.cat(run(search))
    assert search.progress == 1
    assert made.depth.max() <= depth
    tries = torch.bincount(made.source, minlength=sources)
    assert (tries >= searches).all()
    assert (tries <= searches * (depth + 1) * (retries + 1)).all()
    first = made[made.parent < 0]
    assert (first.depth == 0).all()


def test_a_budget_ends_it() -> None:
    miner = Miner(make_store(), 50, Generate(radius=5.0), stopping=Stopping(max_pieces=6))
    run(Search(miner, 50, rows=4), all_hard)
    assert miner.tally.pieces == 8


def test_a_stopped_search_goes_on_to_the_same_end() -> None:
    def search() -> Search:
        return Search(Miner(make_store(), 6, Generate(radius=5.0)), 6, rows=4)

    whole = Recipe.cat(run(search()))
    begun, again, file = search(), search(), io.BytesIO()
    parts = [begun.step(by_chance, 0.7)[0] for _ in range(3)]
    torch.save(begun.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    resumed = Recipe.cat(parts + run(again))
    for name, value in whole.tensors().items():
        assert torch.equal(value, resumed.tensors()[name]), name
