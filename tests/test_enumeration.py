"""(2^N - 1) * M images of one input, none of them written down (R18; D45)."""

import sys
from itertools import islice

import pytest
import torch
from conftest import make_store
from hypothesis import given, settings, strategies as st

from hardmine.errors import InputError
from hardmine.first import Exhaustive
from hardmine.first.enumeration import Enumeration, shuffled
from hardmine.memory.graph import Graph
from hardmine.records import Recipe, Verdict
from hardmine.store import ParameterStore

Member = tuple[tuple[bool, ...], int]


def members(enumeration: Enumeration) -> list[Member]:
    return [(tuple(subset.tolist()), target) for subset, target in enumeration]


def test_four_areas_and_two_targets_give_thirty_images() -> None:
    every = Enumeration(areas=4, targets=2)
    assert every.count == len(every) == 30
    listed = members(every)
    assert len(set(listed)) == 30
    assert all(any(subset) for subset, _ in listed)
    assert {target for _, target in listed} == {0, 1}


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), st.data())
def test_the_index_of_a_member_finds_it_again(areas: int, targets: int, data: st.DataObject) -> None:
    every = Enumeration(areas, targets)
    number = data.draw(st.integers(-every.count, every.count - 1))
    assert every.index(*every[number]) == number % every.count


@pytest.mark.parametrize("number", [30, -31, 2**200])
def test_beyond_the_end(number: int) -> None:
    with pytest.raises(IndexError, match=f"30 members has no number {number}"):
        Enumeration(4, 2)[number]


def test_as_many_areas_as_an_index_image_can_have() -> None:
    every = Enumeration(areas=255, targets=5000)
    assert every.count == (2**255 - 1) * 5000
    subset, target = every[-1]
    assert subset.all() and target == 4999
    assert every.index(subset, target) == every.count - 1
    assert [target for _, target in islice(every, 3)] == [0, 0, 0]
    with pytest.raises(OverflowError):
        len(every)
    assert every.count > sys.maxsize


def test_restricted_to_some_areas_and_targets() -> None:
    every = Enumeration(torch.tensor([True, False, True]), targets=[7, 3])
    assert members(every) == [
        ((True, False, False), 7),
        ((False, False, True), 7),
        ((True, False, True), 7),
        ((True, False, False), 3),
        ((False, False, True), 3),
        ((True, False, True), 3),
    ]
    of_each = Enumeration(torch.tensor([[True, False], [False, False], [True, True]]), targets=3)
    assert members(of_each) == [
        ((True, False), 0),
        ((True, False), 2),
        ((False, True), 2),
        ((True, True), 2),
    ]


@pytest.mark.parametrize(("subset", "target"), [([0, 0, 0], 7), ([0, 1, 0], 7), ([1, 0, 0], 0)])
def test_what_is_no_member_has_no_index(subset: list[int], target: int) -> None:
    with pytest.raises(ValueError, match="no member"):
        Enumeration(torch.tensor([True, False, True]), targets=[7, 3]).index(torch.tensor(subset).bool(), target)


def test_a_mask_of_another_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(A,\) or \(3, A\) bool, got \(2, 4\) torch.bool"):
        Enumeration(torch.ones(2, 4, dtype=torch.bool), targets=3)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**62))
def test_the_order_has_every_number_once(count: int, seed: int) -> None:
    assert sorted(shuffled(number, count, seed) for number in range(count)) == list(range(count))


def test_the_order_looks_random_and_depends_on_its_key() -> None:
    order = torch.tensor([shuffled(number, 1000, 1) for number in range(1000)])
    for lag in (1, 2, 10):
        assert torch.corrcoef(torch.stack([order[:-lag].double(), order[lag:].double()]))[0, 1].abs() < 0.1
    assert order.tolist() != [shuffled(number, 1000, 2) for number in range(1000)]
    huge = (2**255 - 1) * 5000
    assert len({shuffled(number, huge, 0) for number in range(100)}) == 100


# The policy that walks it


def walk(policy: Exhaustive, store: ParameterStore, graph: Graph, sources: list[int]) -> list[Member]:
    """The members that one batch of clean rows gets, entered into the graph."""
    n = len(sources)
    rows = Recipe.clean(torch.tensor(sources), torch.arange(n), store.regions, len(store.space))
    first, found = policy(rows, store, graph, torch.Generator())
    assert found.all()
    assert torch.equal(first.source, rows.source)
    score = torch.full((n,), 0.5)
    verdict = Verdict(score, score[:, None].expand(-1, store.regions), score < 0.7, rows.piece, rows.depth, -score)
    graph.update(first, verdict)
    assert not first.chosen[:, -1].any()
    chosen, target = first.chosen[:, :-1].tolist(), first.target.amax(dim=1).tolist()
    return [(tuple(subset), one) for subset, one in zip(chosen, target, strict=True)]


def test_walks_through_all_for_each_source_and_starts_again() -> None:
    store = make_store(targets=2, areas=4)
    graph, policy = Graph(store), Exhaustive(seed=5)
    walked: dict[int, list[Member]] = {0: [], 2: []}
    for _ in range(20):  # several rows of a source in a batch count on
        for source, member in zip([0, 2, 0, 0], walk(policy, store, graph, [0, 2, 0, 0]), strict=True):
            walked[source].append(member)
    assert len(set(walked[0][:30])) == 30
    assert walked[0][30:] == walked[0][:30]
    assert len(set(walked[2])) == 20
    assert walked[2] != walked[0][:20]
    assert graph.tried == {0: 60, 2: 20}


def test_goes_on_where_a_checkpoint_stopped() -> None:
    store = make_store(targets=2, areas=4)
    graph, resumed = Graph(store), Graph(store)
    before = walk(Exhaustive(), store, graph, [0] * 11)
    resumed.load_state_dict(graph.state_dict())
    after = walk(Exhaustive(), store, resumed, [0] * 19)
    assert len({*before, *after}) == 30
    assert after == walk(Exhaustive(), store, graph, [0] * 19)


def test_an_area_that_a_target_lacks_is_not_walked() -> None:
    store = make_store(targets=3, areas=2)
    count = torch.tensor([[100, 0, 100], [0, 0, 100], [100, 100, 100]])
    keep, whole = store.with_(count=count), store.with_(count=count, missing="whole")
    walked = walk(Exhaustive(), keep, Graph(keep), [0] * 4)
    assert set(walked) == {((True, False), 0), ((True, False), 2), ((False, True), 2), ((True, True), 2)}
    assert Exhaustive().members(whole).count == 9


def test_areas_and_environment_are_a_choice() -> None:
    store = make_store(targets=4, environment={"time": ["day", "night", "day", "night"]})
    policy = Exhaustive(areas=["area0", "area2"], environment="night")
    walked = walk(policy, store, Graph(store), [0] * 6)
    assert len(set(walked)) == policy.members(store).count == 6
    assert {target for _, target in walked} == {1, 3}
    assert not any(subset[1] for subset, _ in walked)
    with pytest.raises(InputError, match="no area is called 'sea'"):
        Exhaustive(areas=["sea"]).members(store)
    with pytest.raises(InputError, match="no target has any of these areas"):
        Exhaustive(areas=[]).members(store)
