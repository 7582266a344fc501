"""Near ids of a store, found part by part (R35-R38), against a table of all distances."""

from typing import Any

import pytest
import torch
from conftest import make_recipe, make_store
from hypothesis import given, settings, strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hardmine.first import First
from hardmine.memory.graph import Graph
from hardmine.neighbourhood import Auto, Blend, Neighbourhood, Reach, SameCell, Select
from hardmine.neighbourhood.stored import taken
from hardmine.records import Recipe, Verdict
from hardmine.store import ParameterStore, draw as module
from hardmine.store.inside import together
from hardmine.store.near import _together, near, nearest
from hardmine.store.tree import Tree

SEEDS = st.integers(0, 10_000)
REACHES = st.one_of(
    st.builds(Reach, st.floats(0.5, 60), channels=st.sampled_from(["luminance", "lab"])),
    st.builds(
        lambda mean, std: Reach(mean_radius=mean, std_radius=std, channels="lab"), st.floats(5, 60), st.floats(1, 9)
    ),
)


WAYS: dict[str, dict[str, Any]] = {
    "all in one part": {},
    "all in many parts": {"BUDGET": 900},
    "large": {"FEW": 0},  # as a large store is searched
    "large in many parts": {"FEW": 0, "BUDGET": 900},
    "listed": {"FEW": 0, "TRIES": (1, 1)},
    "many tries": {"FEW": 0, "TRIES": (1, 1), "LISTED": 3},
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    take(request.param, monkeypatch)
    name: str = request.param
    return name


def take(way: str, patch: pytest.MonkeyPatch) -> None:
    for name, value in WAYS[way].items():
        patch.setattr(module, name, value)


def setting(seed: int, rows: int = 5, targets: int = 40) -> tuple[Recipe, ParameterStore]:
    """A store and pieces that lack areas here and there, some parameters moved away from it."""
    generator = torch.Generator().manual_seed(seed)
    store = make_store(targets, seed=seed)
    count = torch.where(torch.rand(targets, 4, generator=generator) < 0.3, 0, 100)
    count[0] = 100
    store = store.with_(count=count)
    recipe = Recipe.cat(
        [make_recipe(1, store, int(torch.randint(targets, (), generator=generator))) for _ in range(rows)]
    )
    shift = torch.randn(recipe.parameter.shape, generator=generator) * 3
    present = torch.rand(rows, 4, generator=generator) < 0.8
    return recipe.replace(
        source=torch.arange(rows) - 1, parameter=recipe.parameter + shift * recipe.chosen[..., None], present=present
    ), store


def table(rows: Recipe, store: ParameterStore, reach: Reach, independent: bool) -> torch.Tensor:
    """(N, M, R) or (N, M) bool: what is near, of all distances at once."""
    near = reach.holds(reach.squares(rows.parameter[:, None], store.parameters, store.space), store.space)
    if independent:
        return near & rows.counted[:, None] & store.valid
    moves = rows.chosen[:, None] & store.valid  # every one of them must lie inside
    return (near | ~moves).all(2) & (moves & rows.present[:, None]).any(2)


def ids(found: torch.Tensor) -> list[set[int]]:
    """The ids of each row; none may come twice."""
    rows = [[one for one in row if one >= 0] for row in found.flatten(0, -2).tolist()]
    assert all(len(set(row)) == len(row) for row in rows)
    return [set(row) for row in rows]


@settings(max_examples=60, deadline=None)
@given(SEEDS, REACHES, st.booleans(), st.sampled_from([*WAYS]))
def test_near_ids_are_those_of_a_table_of_all_distances(seed: int, reach: Reach, independent: bool, way: str) -> None:
    rows, store = setting(seed)
    wanted = table(rows, store, reach, independent)
    if independent:
        wanted = wanted.transpose(1, 2).flatten(0, 1)
    with pytest.MonkeyPatch.context() as patch:
        take(way, patch)
        found = near(rows, store, reach, len(store), torch.Generator().manual_seed(seed), independent)
        few, again = (near(rows, store, reach, 3, torch.Generator().manual_seed(seed), independent) for _ in range(2))
    assert found.shape == ((5, 4, 40) if independent else (5, 40)) and few.shape[-1] == 3
    assert torch.equal(few, again)
    assert ids(found) == [set(row.nonzero().flatten().tolist()) for row in wanted]
    for some, row in zip(ids(few), ids(found), strict=True):
        assert some <= row and len(some) == min(3, len(row))


def test_the_threshold_is_strict_to_the_last_bit(way: str) -> None:
    """Differences of exactly 5 do not lie inside, though the products of such numbers round to either side."""
    generator = torch.Generator().manual_seed(0)
    here = torch.rand(20, 5, 6, generator=generator)
    here[:, 0] = 56 + torch.randint(6 * 2**17, (20, 6), generator=generator) / 2**17  # plus 5 is not rounded
    there = here.clone()
    there[:, 0, 0] += 5  # in one area of four
    inside = there.clone()
    inside[:, 0, 0] = there[:, 0, 0].nextafter(torch.tensor(0.0))
    count, names = torch.full((40, 5), 99), [f"t{i}" for i in range(40)]
    store = ParameterStore(torch.cat([there, inside]), count, ["river", "grass", "pole", "sky"], names)
    for reach in (Reach(radius=5.0), Reach(mean_radius=5.0, std_radius=1.0)):
        for row in range(20):
            rows = make_recipe(1, store).replace(parameter=here[row : row + 1])
            (found,) = ids(near(rows, store, reach, 40, torch.Generator()))
            assert row not in found and row + 20 in found


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.booleans(), st.sampled_from([*WAYS]))
def test_what_is_taken_is_left_out(seed: int, independent: bool, way: str) -> None:
    rows, store = setting(seed)
    graph, generator = Graph(store), torch.Generator().manual_seed(seed)
    dense = torch.rand(len(rows), len(store), 4, generator=generator) < 0.1
    source, target, region = dense.nonzero().unbind(1)
    graph.used.add(source - 1, target, region)
    reach = Reach(radius=30.0)
    wanted = table(rows, store, reach, independent)
    own = torch.arange(len(store))[:, None] == rows.target[:, None]
    barred = (dense | own) & rows.counted[:, None] & store.valid
    wanted = (wanted & ~barred).transpose(1, 2).flatten(0, 1) if independent else wanted & ~barred.any(-1)
    with pytest.MonkeyPatch.context() as patch:
        take(way, patch)
        left_out = taken(rows, store, graph, "source")
        found = near(rows, store, reach, len(store), generator, independent, left_out)
    assert ids(found) == [set(row.nonzero().flatten().tolist()) for row in wanted]


def test_each_id_has_the_same_chance(way: str) -> None:
    store = make_store(30)
    parameters = store.parameters[:1].repeat(30, 1, 1)
    parameters[10:13] += 90.0  # a gap, after which no id may come more often
    store = store.with_(parameters=parameters)
    rows = make_recipe(3000, store, target=0)
    found = torch.cat(
        [
            near(rows[part : part + 500], store, Reach(10.0), 2, torch.Generator().manual_seed(part))
            for part in range(0, 3000, 500)
        ]
    )
    share = found.flatten().bincount(minlength=30) / len(found)
    assert (share[10:13] == 0).all()
    others = torch.cat([share[:10], share[13:]])
    assert (others[1:] - 2 / 26).abs().max() < 4.5 * (2 / 26 / 3000) ** 0.5
    pairs = {tuple(sorted(pair)) for pair in found.tolist()}
    assert len(pairs) == 27 * 26 / 2  # rows draw each for itself


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.booleans(), st.sampled_from([module.BUDGET, 900]))
def test_the_nearest_is_that_of_a_table_of_all_distances(seed: int, independent: bool, size: int) -> None:
    rows, store = setting(seed)
    reach = Reach()
    squares = reach.squares(rows.parameter[:, None], store.parameters, store.space).sum(-1).double()
    shared = rows.counted[:, None] & store.valid
    if not independent:
        squares = (squares * shared).sum(-1, keepdim=True) / shared.sum(-1, keepdim=True)
        shared = shared.any(-1, keepdim=True)
    least = squares.masked_fill(~shared, torch.inf)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BUDGET", size)
        found = nearest(rows, store, reach, independent)
    assert found.shape == (5, 4 if independent else 1)
    torch.testing.assert_close(least.gather(1, found[:, None])[:, 0], least.amin(1), rtol=1e-5, atol=1e-5)
    assert (found[~shared.any(1)] == 0).all()


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("used", [0.0, 0.9])
def test_each_unused_first_target_has_the_same_chance(independent: bool, used: float, way: str) -> None:
    """By guessing where nothing is used, by going through all where nearly everything is."""
    store = make_store(20, environment={"time": ["night", "day"] * 10})
    count = store.count.clone()
    count[4, 1] = 0
    store = store.with_(count=count)
    graph, seen = Graph(store), torch.arange(20) >= 20 * (1 - used)
    graph.used.add(*torch.cartesian_prod(torch.tensor([-1]), seen.nonzero().flatten(), torch.arange(4)).unbind(1))
    policy = First(independent=independent, environment="night")
    rows = Recipe.clean(torch.full((4000,), -1), torch.arange(4000), 4, 6)
    first, found = policy(rows, store, graph, torch.Generator().manual_seed(0))
    assert found.all()
    for area in range(3):
        if used:
            wanted = torch.tensor([0])
        else:
            wanted = torch.arange(0, 20, 2)
            wanted = wanted[wanted != 4] if independent and area == 1 else wanted
        share = (first.target[:, area].clamp(min=0) if independent else first.target.amax(1)).bincount(minlength=20)
        share = share / 4000
        assert share.nonzero().flatten().tolist() == wanted.tolist()
        assert (share[wanted] - 1 / len(wanted)).abs().max() < 4.5 * (1 / len(wanted) / 4000) ** 0.5


@pytest.mark.parametrize("independent", [False, True])
def test_a_cell_gives_each_of_its_unused_targets_the_same_chance(independent: bool, way: str) -> None:
    store = make_store(20, environment={"time": ["night", "day"] * 10})
    count = store.count.clone()
    count[4, 1] = 0
    store = store.with_(count=count)
    rows, graph = make_recipe(2000, store, target=2), Graph(store)
    graph.used.add(*torch.cartesian_prod(torch.tensor([0]), torch.tensor([6, 8]), torch.arange(4)).unbind(1))
    rows = rows.replace(source=torch.zeros(2000).long())
    proposed, found = SameCell(independent=independent, used="source")(
        rows, store, graph, torch.Generator().manual_seed(0)
    )
    assert found.all()
    for area in range(3):
        wanted = [one for one in (0, 4, 10, 12, 14, 16, 18) if not (independent and one == 4 and area == 1)]
        target = proposed.target[:, area] if independent else proposed.target.amax(1)
        share = target.bincount(minlength=20) / 2000
        assert share.nonzero().flatten().tolist() == wanted
        assert (share[wanted] - 1 / len(wanted)).abs().max() < 4.5 * (1 / len(wanted) / 2000) ** 0.5


@settings(max_examples=40, deadline=None)
@given(SEEDS, REACHES)
def test_pairs_are_tested_alike_in_machine_code(seed: int, reach: Reach) -> None:
    rows, store = setting(seed)
    row, target = torch.arange(len(rows)).repeat_interleave(len(store)), torch.arange(len(store)).repeat(len(rows))
    assert torch.equal(together(rows, store, reach)(row, target), _together(rows, store, reach)(row, target))


def test_a_tree_looks_at_few_targets() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(20_000, 6, 2, generator=generator) * 60
    points[torch.rand(20_000, 6, generator=generator) < 0.02] = torch.nan
    index, limit = Tree(points, torch.arange(20_000)), torch.tensor([100.0, 100.0])
    near, count = index.near(points[:50], torch.ones(2), limit, 100.0, 100)
    inside = ~((points[:50, None] - points).square().sum(-1) >= 100).any(-1)
    row = torch.arange(50).repeat_interleave(count)
    assert torch.equal(torch.unique(torch.stack([row, near], 1), dim=0), inside.nonzero())
    assert torch.equal(count, inside.sum(1))
    assert index.visited < 50 * 20_000 / 8


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves((args, kwargs)) if torch.is_tensor(leaf)}
        for leaf in tree_leaves(made):
            if torch.is_tensor(leaf) and leaf.untyped_storage().data_ptr() not in given:
                self.bytes = max(self.bytes, leaf.untyped_storage().nbytes())
        return made


POLICIES = [
    Select(15.0),
    Select(15.0, independent=True),
    Blend(15.0),
    Auto(15.0),
    SameCell(),
    SameCell(independent=True),
    First(),
    First("random", independent=True),
]


@pytest.fixture(scope="module")
def city() -> tuple[Recipe, ParameterStore, Graph]:
    """20,000 targets with 20 areas, 64 sources, and marks of a long run."""
    store = make_store(20_000, 20, environment={"time": [f"{hour}" for hour in range(20)] * 1000})
    rows = make_recipe(64, store, target=7)
    moved = rows.replace(
        parameter=rows.parameter + rows.chosen[..., None] * 0.5, target=torch.full_like(rows.target, -1)
    )
    graph, generator = Graph(store), torch.Generator().manual_seed(0)
    for step in range(100):
        target = torch.randint(20_000, (64, 1), generator=generator).expand(-1, 21)
        tried = store.recipe(rows, target, rows.chosen)
        score = torch.rand(64, 21, generator=generator)
        nothing = torch.full((64,), -1)
        graph.update(tried, Verdict(score[:, -1], score, score[:, -1] < 0, nothing, nothing + step, -score[:, -1]))
    return Recipe.cat([rows[:32], moved[32:]]), store, graph


@pytest.mark.parametrize("policy", POLICIES, ids=lambda it: type(it).__name__)
def test_a_large_store_is_never_unfolded(policy: Neighbourhood, city: tuple[Recipe, ParameterStore, Graph]) -> None:
    rows, store, graph = city
    with Largest() as largest:
        proposed, found = policy(rows, store, graph, torch.Generator().manual_seed(0))
    assert found.any() and len(proposed) == 64
    assert largest.bytes <= 8 * module.BUDGET < 64 * 20_000 * 21 * 4 / 3


def test_marks_of_a_large_store_are_few(city: tuple[Recipe, ParameterStore, Graph]) -> None:
    _, store, graph = city
    assert len(graph.used) <= 100 * 64 * 20
    assert sum(value.nbytes for value in graph.state_dict().values()) < 64 * len(store) * store.regions / 2


@pytest.mark.parametrize("policy", POLICIES, ids=lambda it: type(it).__name__)
def test_no_rows_give_no_rows(policy: Neighbourhood) -> None:
    store = make_store(6, environment={"time": ["day", "night"] * 3})
    graph = Graph(store)
    graph.used.add(*torch.ones(3, 1).long())
    proposed, found = policy(make_recipe(2, store)[:0], store, graph, torch.Generator())
    assert len(proposed) == len(found) == 0
