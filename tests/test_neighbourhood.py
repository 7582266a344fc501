"""Properties of the policies, over random stores and pieces."""

import pytest
import torch
from conftest import make_recipe, make_store
from hypothesis import given, settings
from hypothesis import strategies as st

from hardmine.errors import InputError
from hardmine.graph import Graph
from hardmine.neighbourhood import Auto, First, Generate, Neighbourhood, Random, Select
from hardmine.records import Distribution, Recipe, Verdict
from hardmine.store import ParameterStore

SEEDS = st.integers(0, 10_000)
RADII = st.floats(0.5, 60)
CHANNELS = st.sampled_from(["luminance", "lab"])


def setting(seed: int, pieces: int = 5) -> tuple[Recipe, ParameterStore, Graph]:
    """Pieces of random targets and a store in which some areas are missing and some points are used."""
    generator = torch.Generator().manual_seed(seed)
    full = make_store(targets=8, seed=seed)
    count = torch.where(torch.rand(8, 4, generator=generator) < 0.25, 0, 100)
    count[0] = 100
    store = ParameterStore(Distribution(full.distribution.mean, full.distribution.std, count), full.areas, full.ids)
    recipe = Recipe.cat([make_recipe(1, store, int(torch.randint(8, (), generator=generator))) for _ in range(pieces)])
    recipe = recipe.replace(source=torch.arange(pieces))
    graph = Graph(store, sources=pieces)
    graph.used = torch.rand(graph.used.shape, generator=generator) < 0.3
    return recipe, store, graph


def move(
    policy: Neighbourhood, recipe: Recipe, store: ParameterStore, graph: Graph, seed: int = 0
) -> tuple[Recipe, torch.Tensor]:
    return policy(recipe, store, graph, torch.Generator().manual_seed(seed))


def distance(a: Recipe, b: Recipe, channels: str) -> torch.Tensor:
    """(N, R), Expr. 3 written out."""
    last = 1 if channels == "luminance" else 3
    mean, std = (a.mean - b.mean)[..., :last], (a.std - b.std)[..., :last]
    return (mean.square().sum(-1) + std.square().sum(-1)).sqrt()


@settings(max_examples=40, deadline=None)
@given(SEEDS, RADII, CHANNELS)
def test_independent_select_takes_unused_stored_points_inside_the_radius(
    seed: int, radius: float, channels: str
) -> None:
    recipe, store, graph = setting(seed)
    chosen, found = move(Select(radius, channels, independent=True), recipe, store, graph, seed)  # type: ignore[arg-type]
    moved = (chosen.target != recipe.target) & found[:, None]
    assert (distance(chosen, recipe, channels)[moved] < radius).all()
    for row, region in moved.nonzero().tolist():
        target = int(chosen.target[row, region])
        assert not graph.used[recipe.source[row], target, region]
        assert store.valid[target, region]
        assert torch.equal(chosen.mean[row, region], store.distribution.mean[target, region])
        assert torch.equal(chosen.std[row, region], store.distribution.std[target, region])


@settings(max_examples=40, deadline=None)
@given(SEEDS, RADII, CHANNELS)
def test_coherent_select_takes_one_unused_target_inside_the_radius(seed: int, radius: float, channels: str) -> None:
    recipe, store, graph = setting(seed)
    chosen, found = move(Select(radius, channels), recipe, store, graph, seed)  # type: ignore[arg-type]
    assert torch.equal(chosen.chosen, recipe.chosen)
    for row in found.nonzero().flatten().tolist():
        took = (chosen.target[row] != recipe.target[row]) & recipe.chosen[row]
        targets = set(chosen.target[row][took].tolist())
        assert len(targets) <= 1
        for target in targets:
            shared = recipe.chosen[row] & store.valid[target]
            assert not graph.used[recipe.source[row], target][shared].any()
            squared = distance(chosen, recipe, channels)[row][shared].square().mean()
            assert squared.sqrt() < radius * (1 + 1e-5)


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_select_finds_nothing_where_every_point_is_used(seed: int) -> None:
    recipe, store, graph = setting(seed)
    graph.used[:] = True
    for independent in (False, True):
        same, found = move(Select(1e6, independent=independent), recipe, store, graph)
        assert not found.any()
        assert torch.equal(same.mean, recipe.mean)


@settings(max_examples=60, deadline=None)
@given(SEEDS, RADII, CHANNELS, st.booleans())
def test_generate_stays_inside_the_radius_and_the_possible(
    seed: int, radius: float, channels: str, independent: bool
) -> None:
    recipe, store, graph = setting(seed)
    policy = Generate(radius, channels, independent)  # type: ignore[arg-type]
    made, found = move(policy, recipe, store, graph, seed)
    assert torch.equal(found, recipe.chosen.any(1))
    assert (distance(made, recipe, "lab") < radius).all()
    if channels == "luminance":
        assert torch.equal(made.mean[..., 1:], recipe.mean[..., 1:])
    assert (made.std[recipe.chosen] > 0).all()
    assert (made.mean[..., 0][recipe.chosen] >= 0).all()
    assert (made.mean[..., 0][recipe.chosen] <= 100).all()
    assert torch.equal(made.mean[~recipe.chosen], recipe.mean[~recipe.chosen])
    assert (made.target == -1).all()


def test_generate_shifts_all_areas_alike_unless_independent() -> None:
    recipe, store, graph = setting(3)
    shift = (move(Generate(2.0, margin=50.0), recipe, store, graph)[0].mean - recipe.mean)[..., 0]
    for row, chosen in enumerate(recipe.chosen):
        assert shift[row][chosen].std(unbiased=False) < 1e-4
    shift = (move(Generate(2.0, margin=50.0, independent=True), recipe, store, graph)[0].mean - recipe.mean)[..., 0]
    assert shift[0][recipe.chosen[0]].std() > 1e-2


def test_generate_fills_the_disc() -> None:
    store = make_store()
    graph, many = Graph(store, sources=1), make_recipe(4000, store)
    many = many.replace(std=many.std + 20)  # far from the floor
    made, _ = move(Generate(4.0, margin=100.0), many, store, graph)
    lengths = distance(made, many, "luminance")[:, 0]
    assert 0.22 < (lengths < 2.0).float().mean() < 0.28  # a quarter of a disc's points lie within half its radius
    assert lengths.max() > 3.9


@settings(max_examples=30, deadline=None)
@given(SEEDS, RADII)
def test_auto_selects_while_there_is_something_to_select(seed: int, radius: float) -> None:
    recipe, store, graph = setting(seed)
    selected, stored = move(Select(radius), recipe, store, graph, seed)
    both, found = move(Auto(radius), recipe, store, graph, seed)
    assert torch.equal(both.target[stored], selected.target[stored])
    assert (both.target[~stored] == -1).all()
    assert torch.equal(found, recipe.chosen.any(1))


@pytest.mark.parametrize("policy", [Random(), Select(), Generate(), Auto(), Select(independent=True)])
def test_the_same_seed_gives_the_same_proposals_and_no_other_chance_is_used(policy: Neighbourhood) -> None:
    recipe, store, graph = setting(1)
    before = torch.get_rng_state()
    first, _ = move(policy, recipe, store, graph, 7)
    second, _ = move(policy, recipe, store, graph, 7)
    for name, value in first.tensors().items():
        assert torch.equal(value, second.tensors()[name])
    assert torch.equal(before, torch.get_rng_state())


def test_random_knows_no_neighbours() -> None:
    recipe, store, graph = setting(1)
    assert not move(Random(), recipe, store, graph)[1].any()


def test_figure_8() -> None:
    """P1 20 % and P2 30 % are expanded, P3 90 % is not: neighbours P1', P2' and P3' stand beside them."""
    luminance = torch.tensor([[30.0, 10.0], [50.0, 20.0], [70.0, 10.0], [32.0, 11.0], [51.0, 22.0], [72.0, 11.0]])
    mean, std = torch.zeros(6, 2, 3), torch.zeros(6, 2, 3)
    mean[..., 0], std[..., 0] = luminance[:, :1], luminance[:, 1:]
    store = ParameterStore(
        Distribution(mean, std, torch.full((6, 2), 99)), ["river"], ["P1", "P2", "P3", "1", "2", "3"]
    )
    graph = Graph(store, sources=1)
    recipe = Recipe.cat([make_recipe(1, store, target) for target in range(3)])
    score = torch.tensor([0.2, 0.3, 0.9])
    verdict = Verdict(score, score[:, None].expand(-1, 2), score < 0.5, torch.zeros(3, dtype=torch.int64))
    graph.update(recipe, verdict)
    near, found = move(Select(5.0), recipe[verdict.hard], store, graph)
    assert found.all()
    assert near.target[:, 0].tolist() == [3, 4]


@pytest.mark.parametrize("independent", [False, True])
def test_first_parameters_come_from_the_store(independent: bool) -> None:
    store = make_store(targets=50)
    rows = Recipe.clean(torch.arange(20), torch.arange(20), 4)
    first = First(independent=independent)(rows, store, torch.Generator().manual_seed(0))
    assert first.chosen[:, :3].all()
    assert not first.chosen[:, 3].any()
    same = (first.target[:, :3] == first.target[:, :1]).all(1)
    assert same.all() != independent
    assert torch.equal(first.mean[0, 1], store.distribution.mean[first.target[0, 1], 1])


def test_which_areas_are_converted_is_a_choice() -> None:
    store, rows = make_store(), Recipe.clean(torch.arange(200), torch.arange(200), 4)
    generator = torch.Generator().manual_seed(0)
    some = First(areas=["area1"])(rows, store, generator).chosen
    assert some.any(0).tolist() == [False, True, False, False]
    drawn = First(areas="random")(rows, store, generator).chosen
    assert drawn.any(1).all()
    assert len({tuple(row) for row in drawn.tolist()}) == 7  # every non-empty set of three areas
    with pytest.raises(InputError, match="no area is called 'sea'"):
        First(areas=["sea"])(rows, store, generator)


def test_radius_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"Rth2.*got 0"):
        Select(radius=0)
