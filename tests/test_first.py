"""First parameters where areas or targets are few (R17, R18, R25)."""

import pytest
import torch
from conftest import make_recipe, make_store
from hypothesis import given, settings, strategies as st

from hardmine.first import Exhaustive, First, FirstParameter
from hardmine.memory.graph import Graph
from hardmine.neighbourhood import Reach
from hardmine.records import Recipe, Verdict
from hardmine.store import ParameterStore


def rows_of(source: list[int], store: ParameterStore, present: list[list[bool]] | None = None) -> Recipe:
    rows = Recipe.clean(torch.tensor(source), torch.tensor(source), store.regions, len(store.space))
    return rows if present is None else rows.replace(present=torch.tensor(present))


def tried(policy: FirstParameter, rows: Recipe, store: ParameterStore, graph: Graph, seed: int) -> Recipe:
    """First parameters that turned out to be easy."""
    made, found = policy(rows, store, graph, torch.Generator().manual_seed(seed))
    assert found.all()
    score, none = torch.ones(len(rows)), torch.full((len(rows),), -1)
    graph.update(made, Verdict(score, score[:, None].expand(-1, store.regions), score < 0, none, none + 1, -score))
    return made


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("targets", [2, 3])
def test_the_parameter_just_used_does_not_come_again(targets: int, independent: bool) -> None:
    """However few there are, and however often all of them have been used."""
    store = make_store(targets)
    graph, policy, latest = Graph(store), First(independent=independent), None
    for turn in range(20):
        made = tried(policy, rows_of([4, 7], store), store, graph, turn)
        assert (made.target[:, :3] >= 0).all()
        assert latest is None or (made.target[:, :3] != latest).all()
        latest = made.target[:, :3]


@pytest.mark.parametrize("independent", [False, True])
def test_with_one_target_a_parameter_near_it_is_generated(independent: bool) -> None:
    store = make_store(1)
    graph, policy = Graph(store), First(independent=independent)
    made = [tried(policy, rows_of([4], store), store, graph, turn) for turn in range(6)]
    assert [bool((each.target[0, :3] == 0).all()) for each in made] == [True, False] * 3
    near = Reach().squares(made[1].parameter, store.parameters[0], store.space)[0, :3]
    assert Reach().holds(near, store.space).all() and (near.sum(-1) > 0).all()
    assert not torch.equal(made[1].parameter, made[3].parameter)
    others = tried(policy, rows_of([-1, -1], store), store, graph, 0)  # images that nobody numbered are many
    assert (tried(policy, rows_of([-1, -1], store), store, graph, 1).target == others.target).all()


def test_what_was_used_last_is_kept_in_checkpoints() -> None:
    store = make_store(3)
    graph, again = Graph(store), Graph(store)
    tried(First(independent=True), rows_of([4, 9, 2], store), store, graph, 0)
    again.load_state_dict(graph.state_dict())
    source = torch.tensor([9, 2, 5, -1])
    assert torch.equal(again.latest_of(source), graph.latest_of(source))
    assert (graph.latest_of(source)[2:] == -1).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([First(), First("random"), First(independent=True), Exhaustive()]))
def test_something_of_every_image_is_converted(seed: int, policy: FirstParameter) -> None:
    """Where a target has one of its areas at all."""
    generator = torch.Generator().manual_seed(seed)
    store = make_store(5)
    has = torch.rand(5, 4, generator=generator) < 0.4
    has[0, int(torch.randint(3, (), generator=generator))] = True
    store = store.with_(count=torch.where(has, 100, 0))
    rows = rows_of(list(range(12)), store)
    present = torch.rand(12, 4, generator=generator) < 0.5
    rows, possible = rows.replace(present=present), (present & has.any(0))[:, :3].any(1)
    made, found = policy(rows, store, Graph(store), torch.Generator().manual_seed(seed))
    assert torch.equal(found, made.counted.any(1))
    if not isinstance(policy, First) or policy.areas == "all":
        assert torch.equal(found, possible)
    assert not (made.chosen & ~has[made.target.clamp(min=0).long(), torch.arange(4)]).any()


def test_areas_by_chance_are_some_of_the_image() -> None:
    store = make_store()
    rows = rows_of([0] * 200, store, [[False, True, True, True]] * 200)
    made, found = First("random")(rows, store, Graph(store), torch.Generator().manual_seed(0))
    assert found.all() and not made.chosen[:, 0].any()
    assert {tuple(row) for row in made.chosen[:, 1:3].tolist()} == {(True, True), (True, False), (False, True)}


def test_a_walk_is_of_the_areas_of_the_image() -> None:
    """Two areas and four targets: 12 images, each once."""
    store = make_store(4)
    rows = rows_of([3], store, [[True, False, True, True]])
    graph = Graph(store)
    made = [tried(Exhaustive(), rows, store, graph, turn) for turn in range(24)]
    seen = [(int(each.target.max()), tuple(each.chosen[0].tolist())) for each in made]
    assert len(set(seen[:12])) == 12 and seen[12:] == seen[:12]
    assert not any(each.chosen[0, 1] for each in made)


def test_an_image_without_an_area_of_the_store_is_left_as_it_is() -> None:
    store = make_store()
    rows = rows_of([0, 1], store, [[False] * 4, [True] * 4])
    for policy in (First(), First("random"), First(areas=["area1"]), First(independent=True), Exhaustive()):
        _, found = policy(rows, store, Graph(store), torch.Generator())
        assert found.tolist() == [False, True]
    assert make_recipe(1, store).counted.any()
