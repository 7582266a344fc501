"""Properties of the policies over random stores and pieces, and the patent's own examples (R28, R30-R40)."""

import random
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from conftest import make_recipe, make_store
from hydra.utils import instantiate
from hypothesis import given, settings, strategies as st
from omegaconf import OmegaConf

from hardmine.cli import config_folder
from hardmine.errors import InputError
from hardmine.first import Exhaustive, First
from hardmine.memory.graph import Graph
from hardmine.memory.hardness import is_hard
from hardmine.neighbourhood import (
    AdjacentCell,
    AssociatedCell,
    Auto,
    Cells,
    Generate,
    Neighbourhood,
    Random,
    Reach,
    SameCell,
    Select,
    Stored,
)
from hardmine.records import Recipe, Verdict
from hardmine.space import LAB, RGB
from hardmine.store import ParameterStore

TIMES, WEATHERS = ("morning", "day", "night"), ("sunny", "rainy", "cloudy")
ORDER = {"time": TIMES}
ASSOCIATIONS = {"sunny": ["cloudy"], "area1 night": ["day"], "rainy morning": ["sunny night"]}

SEEDS = st.integers(0, 10_000)
LIMITS = st.one_of(  # of Expr. 3 and of Expr. 4
    st.builds(lambda radius: {"radius": radius}, st.floats(0.5, 60)),
    st.builds(lambda m, s: {"mean_radius": m, "std_radius": s}, st.floats(0.5, 50), st.floats(0.2, 8)),
)
CHANNELS = st.sampled_from(["luminance", "lab"])
INDEPENDENT = st.booleans()


def policies(independent: bool, used: Literal["graph", "source"] = "source") -> list[Neighbourhood]:
    """One of each that moves."""
    return [
        Select(radius=25.0, independent=independent, used=used),
        Select(mean_radius=25.0, std_radius=4.0, channels="lab", independent=independent, used=used),
        SameCell(ORDER, ASSOCIATIONS, independent, used),
        AdjacentCell(ORDER, ASSOCIATIONS, independent, used),
        AssociatedCell(ORDER, ASSOCIATIONS, independent, used),
        Generate(radius=5.0, independent=independent),
        Generate(mean_radius=5.0, std_radius=2.0, channels="lab", independent=independent),
        Auto(radius=15.0, independent=independent, used=used),
    ]


def setting(seed: int, pieces: int = 6) -> tuple[Recipe, ParameterStore, Graph]:
    """Pieces of stored and of generated parameters, some of whose areas the source lacks; some points are used."""
    generator = torch.Generator().manual_seed(seed)

    def chance(share: float, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator) < share

    cells = list(product(TIMES, WEATHERS))
    taken = cells + [cells[int(torch.randint(9, (), generator=generator))] for _ in range(3)]
    store = make_store(12, seed=seed, environment=dict(zip(("time", "weather"), zip(*taken, strict=True), strict=True)))
    count = torch.where(chance(0.25, 12, 4), 0, 100)
    count[0] = 100
    store = store.with_(count=count)
    recipe = Recipe.cat([make_recipe(1, store, int(torch.randint(12, (), generator=generator))) for _ in range(pieces)])
    recipe = recipe.replace(source=torch.arange(pieces), present=~chance(0.25, pieces, 4))
    made = recipe.chosen & chance(0.3, pieces, 1)
    shift = torch.randn(recipe.parameter.shape, generator=generator) * made[..., None]
    recipe = recipe.replace(parameter=recipe.parameter + shift, target=recipe.target.masked_fill(made, -1))
    graph = Graph(store)
    use(graph, chance(0.3, pieces, 12, 4))
    return recipe, store, graph


def use(graph: Graph, which: torch.Tensor) -> None:
    """Mark parameters (S, M, R) as used."""
    graph.used.add(*which.nonzero().unbind(1))
    graph.uses += which.sum(0).long()


def is_used(graph: Graph, source: int, store: ParameterStore) -> torch.Tensor:
    """(M, R) bool."""
    target = torch.arange(len(store))[None, :, None]
    return graph.used.holds(torch.tensor([source]), target, torch.arange(store.regions))[0]


def move(
    policy: Neighbourhood, recipe: Recipe, store: ParameterStore, graph: Graph, seed: int = 0
) -> tuple[Recipe, torch.Tensor]:
    return policy(recipe, store, graph, torch.Generator().manual_seed(seed))


def differences(new: Recipe, old: Recipe, channels: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, R, 1 or 3) float64 absolute differences of means, and of standard deviations, as Expr. 4 has them."""
    last = 1 if channels == "luminance" else 3
    moved = (new.parameter.double() - old.parameter.double()).abs()
    return moved[..., :last], moved[..., 3 : 3 + last]


def inside(mean: torch.Tensor, std: torch.Tensor, limits: dict[str, float], slack: float = 1e-5) -> torch.Tensor:
    """Expr. 3 or 4 written out."""
    if "radius" in limits:
        return (mean.square().sum(-1) + std.square().sum(-1)).sqrt() < limits["radius"] * (1 + slack)
    near = mean < limits["mean_radius"] * (1 + slack)
    return near.all(-1) & (std < limits["std_radius"] * (1 + slack)).all(-1)


def expected_cells(policy: Cells, store: ParameterStore, target: int, area: int) -> set[tuple[str, str]]:
    """The cells that neighbours of a stored parameter come from, by the rules in words."""
    time, weather = (store.environment[name][target] for name in ("time", "weather"))
    if isinstance(policy, SameCell):
        return {(time, weather)}
    if isinstance(policy, AdjacentCell):
        step = TIMES.index(time)
        times = {TIMES[i] for i in (step - 1, step + 1) if 0 <= i < 3}
        return {(other, weather) for other in times} | {(time, other) for other in WEATHERS if other != weather}
    cells = {(time, "cloudy")} if weather == "sunny" else set()
    cells |= {("day", weather)} if area == 1 and time == "night" else set()
    return cells | ({("night", "sunny")} if (time, weather) == ("morning", "rainy") else set())


# What holds for every policy


@settings(max_examples=60, deadline=None)
@given(SEEDS, LIMITS, CHANNELS, INDEPENDENT, st.sampled_from([Select, Generate, Auto]))
def test_never_outside_the_second_threshold(
    seed: int, limits: dict[str, float], channels: str, independent: bool, kind: type[Select | Generate | Auto]
) -> None:
    recipe, store, graph = setting(seed)
    new, found = move(kind(**limits, channels=channels, independent=independent), recipe, store, graph, seed)  # type: ignore[arg-type]
    mean, std = differences(new, recipe, channels)
    stored = (new.target >= 0) & (new.target != recipe.target)
    generated = found[:, None] & recipe.counted & (new.target < 0)
    assert inside(mean, std, limits)[generated].all()
    assert inside(mean, std, limits)[stored].all()  # each area that moves, whether or not the image has it


@settings(max_examples=60, deadline=None)
@given(SEEDS, INDEPENDENT, st.integers(0, 7), st.sampled_from(["graph", "source"]))
def test_a_stored_neighbour_exists_is_unused_and_is_another(
    seed: int, independent: bool, number: int, used: Literal["graph", "source"]
) -> None:
    """Unused on any source (D54), or on request on its own."""
    recipe, store, graph = setting(seed)
    policy = policies(independent, used)[number]
    new, found = move(policy, recipe, store, graph, seed)
    moved = (new.target != recipe.target) & (new.target >= 0)
    for row, region in moved.nonzero().tolist():
        target = int(new.target[row, region])
        assert store.valid[target, region]
        assert torch.equal(new.parameter[row, region], store.parameters[target, region])
        seen = graph.uses > 0 if used == "graph" else is_used(graph, row, store)
        assert not (seen[target, region] and recipe.counted[row, region])
    if not independent:
        assert all(len(set(new.target[row][moved[row]].tolist())) <= 1 for row in range(len(recipe)))
    if isinstance(policy, Stored):
        assert torch.equal(found, (moved & recipe.counted).any(1))


@settings(max_examples=60, deadline=None)
@given(SEEDS, INDEPENDENT, st.integers(0, 7))
def test_what_has_no_neighbour_or_is_not_chosen_stays(seed: int, independent: bool, number: int) -> None:
    recipe, store, graph = setting(seed)
    new, found = move(policies(independent)[number], recipe, store, graph, seed)
    for name, value in new.tensors().items():
        assert torch.equal(value[~found], recipe.tensors()[name][~found]), name
    assert torch.equal(new.chosen, recipe.chosen)
    assert torch.equal(new.parameter[~recipe.chosen], recipe.parameter[~recipe.chosen])
    assert (new.target[~recipe.chosen] == -1).all()


@settings(max_examples=60, deadline=None)
@given(SEEDS, INDEPENDENT, st.integers(0, 7))
def test_an_absent_area_has_no_say(seed: int, independent: bool, number: int) -> None:
    recipe, store, graph = setting(seed)
    policy, absent = policies(independent)[number], recipe.chosen & ~recipe.present
    new, found = move(policy, recipe, store, graph, seed)
    assert not found[~recipe.counted.any(1)].any()
    if independent:
        assert torch.equal(new.parameter[absent], recipe.parameter[absent])
        assert torch.equal(new.target[absent], recipe.target[absent])
    # nor in distances, but where it goes along with the others
    along = isinstance(policy, Select | Auto) and not independent
    elsewhere = torch.where(absent[..., None], recipe.parameter + (0 if along else 50), recipe.parameter)
    use(graph, absent[:, None].expand(-1, len(store), -1))  # nor in what counts as used
    other = recipe.target.masked_fill(absent, seed % len(store))  # nor in the cell
    again, found_again = move(policy, recipe.replace(parameter=elsewhere, target=other), store, graph, seed)
    assert torch.equal(found, found_again)
    assert torch.equal(new.target[recipe.counted], again.target[recipe.counted])
    assert torch.equal(new.parameter[recipe.counted], again.parameter[recipe.counted])


@settings(max_examples=30, deadline=None)
@given(SEEDS, INDEPENDENT, st.integers(0, 7))
def test_an_absent_area_leaves_no_mark(seed: int, independent: bool, number: int) -> None:
    recipe, store, graph = setting(seed)
    new, _ = move(policies(independent)[number], recipe, store, graph, seed)
    graph = Graph(store)
    score = torch.rand(len(new), 4)
    verdict = Verdict(score[:, -1], score, score[:, -1] < 0.7, new.piece, new.depth, -score[:, -1])
    graph.update(new, verdict)
    marked = torch.stack([is_used(graph, row, store).any(0) for row in range(len(new))])
    assert torch.equal(marked, new.counted & (new.target >= 0))
    assert not marked[~recipe.present].any()


MORE = [Random(), First(), First("random", independent=True), Exhaustive(seed=3)]


@pytest.mark.parametrize("policy", [*policies(False), *policies(True), *MORE], ids=lambda it: type(it).__name__)
def test_the_same_seed_gives_the_same_proposals_and_no_other_chance_is_used(policy: Neighbourhood) -> None:
    recipe, store, graph = setting(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index] # noqa: NPY002
    first, _ = move(policy, recipe, store, graph, 7)
    torch.manual_seed(99)
    second, _ = move(policy, recipe, store, graph, 7)
    torch.set_rng_state(before[0])
    kept = recipe.tensors()
    for name, value in first.tensors().items():
        assert torch.equal(value, second.tensors()[name])
    move(policy, recipe, store, graph, 8)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # type: ignore[index] # noqa: NPY002
    assert before[2] == random.getstate()
    unchanged = setting(1)[0].tensors()
    assert all(torch.equal(value, unchanged[name]) for name, value in kept.items())  # arguments stay as they are


@pytest.mark.parametrize("policy", [Select(60.0), SameCell(), Generate(), Auto(60.0)], ids=lambda it: type(it).__name__)
def test_another_seed_gives_other_proposals(policy: Neighbourhood) -> None:
    recipe, store, _ = setting(1)
    graph = Graph(store)
    drawn = {tuple(move(policy, recipe, store, graph, seed)[0].parameter.flatten().tolist()) for seed in range(8)}
    assert len(drawn) > 1


# Selecting and generating


@settings(max_examples=40, deadline=None)
@given(SEEDS, LIMITS, CHANNELS)
def test_independent_select_finds_whatever_is_there(seed: int, limits: dict[str, float], channels: str) -> None:
    recipe, store, graph = setting(seed)
    policy = Select(**limits, channels=channels, independent=True, used="source")  # type: ignore[arg-type]
    new, _ = move(policy, recipe, store, graph, seed)
    for row, region in recipe.counted.nonzero().tolist():
        free = store.valid[:, region] & ~is_used(graph, row, store)[:, region]
        free &= torch.arange(len(store)) != recipe.target[row, region]
        moved = (store.parameters[:, region].double() - recipe.parameter[row, region].double()).abs()
        last = 1 if channels == "luminance" else 3
        there = free & inside(moved[:, :last], moved[:, 3 : 3 + last], limits, slack=-1e-5)
        assert not there.any() or new.target[row, region] != recipe.target[row, region]


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("used", ["graph", "source"])
def test_nothing_is_found_where_every_point_is_used(
    independent: bool, number: int, used: Literal["graph", "source"]
) -> None:
    recipe, store, _ = setting(3)
    graph, policy = Graph(store), policies(independent, used)[number]
    assert move(policy, recipe, store, graph)[1].any()
    elsewhere = torch.ones(99, len(store), store.regions)
    elsewhere[: len(recipe)] = 0
    use(graph, elsewhere)  # on other sources
    assert move(policy, recipe, store, graph)[1].any() == (used == "source")
    use(graph, torch.ones(len(recipe), len(store), store.regions))
    assert not move(policy, recipe, store, graph)[1].any()


def test_what_is_used_is_asked_for_by_name() -> None:
    with pytest.raises(InputError, match=r"neighbourhood\.used must be graph or source, got 'image'"):
        Select(used="image")  # type: ignore[arg-type]


def test_a_piece_on_another_source_does_not_get_its_own_point_again() -> None:
    store = make_store(2)
    graph, recipe = Graph(store), make_recipe(1, store)
    for independent in (False, True):
        for policy in (Select(1e6, independent=independent), SameCell(independent=independent)):
            both = store.with_(environment={"time": ["night", "night"]})
            assert all(move(policy, recipe, both, graph, seed)[0].target[0, 0] == 1 for seed in range(10))
            alone = store.with_(environment={"time": ["night", "day"]}, count=torch.tensor([[100] * 4, [0] * 4]))
            assert not move(policy, recipe, alone, graph)[1].any()


def test_the_disc_and_the_box_differ_at_their_edges() -> None:
    """Expr. 3 with Rth2 = 5 against Expr. 4 with Mth2 = 8 and Sth2 = 4; both are strict."""
    here = torch.zeros(6)
    at = {"disc alone": (0.0, 4.5), "box alone": (7.0, 3.0), "both": (3.0, 3.0), "neither": (9.0, 0.0)}
    edges = {"edge of the disc": (3.0, 4.0), "edge of the disc, in the box": (5.0, 0.0), "edge of the box": (8.0, 0.0)}
    points = torch.zeros(7, 6)
    points[:, 0], points[:, 3] = torch.tensor([*at.values(), *edges.values()]).T
    disc, box = Reach(radius=5.0), Reach(mean_radius=8.0, std_radius=4.0)
    assert disc.holds(disc.squares(here, points, LAB), LAB).tolist() == [True, False, True, False, False, False, False]
    assert box.holds(box.squares(here, points, LAB), LAB).tolist() == [False, True, True, False, False, True, False]
    store = ParameterStore(
        (points + 20)[:, None].repeat(1, 2, 1), torch.full((7, 2), 99), ["river"], [*at, *edges], min_pixels=1
    )
    start = make_recipe(1, store).replace(parameter=torch.full((1, 2, 6), 20.0), target=torch.full((1, 2), -1))
    for policy, wanted in (
        (Select(radius=5.0), {"disc alone", "both"}),
        (Select(mean_radius=8.0, std_radius=4.0), {"box alone", "both", "edge of the disc, in the box"}),
    ):
        graph = Graph(store)
        taken = {store.ids[int(move(policy, start, store, graph, seed)[0].target[0, 0])] for seed in range(60)}
        assert taken == wanted


def test_the_channels_decide_what_is_measured() -> None:
    points = torch.full((2, 2, 6), 20.0)
    points[1, :, 1] = 60.0  # the same luminance, another a*
    store = ParameterStore(points, torch.full((2, 2), 99), ["river"], ["here", "green"])
    graph, recipe = Graph(store), make_recipe(1, store)
    assert move(Select(5.0), recipe, store, graph)[1].all()
    assert not move(Select(5.0, channels="lab"), recipe, store, graph)[1].any()
    assert not move(Select(mean_radius=5.0, std_radius=5.0, channels="lab"), recipe, store, graph)[1].any()


def test_each_area_that_moves_lies_inside() -> None:
    """Expr. 3 and 4 hold for every one of them, and not on average."""
    points = torch.full((3, 3, 6), 30.0)
    points[1, :2, 0] += torch.tensor([4.0, -4.0])
    points[2, :2, 0] += torch.tensor([1.0, 5.0])  # a root mean square of 3.6
    store = ParameterStore(points, torch.full((3, 3), 99), ["river", "grass"], ["here", "near", "far"])
    graph, here = Graph(store), make_recipe(1, store)
    box = Select(mean_radius=5.0, std_radius=1.0)
    for policy in (Select(5.0), box, Auto(5.0)):
        assert {int(move(policy, here, store, graph, seed)[0].target[0, 0]) for seed in range(20)} == {1}
    absent = here.replace(present=torch.tensor([[True, False, True]]))  # grass goes along: other images have it
    assert {int(move(Select(5.0), absent, store, graph, seed)[0].target[0, 0]) for seed in range(20)} == {1}
    river = make_recipe(1, store.with_(count=torch.tensor([[99, 0, 99]] * 3)))
    assert {int(move(Select(5.0), river, store, graph, seed)[0].target[0, 0]) for seed in range(20)} == {1, 2}


def test_an_area_that_takes_the_whole_images_colours_lies_inside_too() -> None:
    points = torch.full((3, 3, 6), 30.0)
    points[1, 2, 0], points[2, 2, 0] = 33.0, 60.0  # of the whole images, which the grass takes
    count = torch.tensor([[99, 99, 99], [99, 0, 99], [99, 0, 99]])
    store = ParameterStore(points, count, ["river", "grass"], ["here", "near", "far"], missing="whole")
    here = make_recipe(1, store)
    found = [move(Select(5.0), here, store, Graph(store), seed)[0] for seed in range(20)]
    assert {int(one.target[0, 0]) for one in found} == {1}
    assert {float(one.parameter[0, 1, 0]) for one in found} == {33.0}


def test_distances_are_in_units_of_the_axes() -> None:
    reach, one = Reach(radius=10.0, channels="lab"), torch.zeros(6)
    levels = torch.zeros(6)
    levels[0] = 25.0  # of 255, about 10 Lab units
    assert reach.holds(reach.squares(one, levels, RGB), RGB)
    assert not reach.holds(reach.squares(one, levels, LAB), LAB)


@settings(max_examples=40, deadline=None)
@given(SEEDS, LIMITS, CHANNELS, INDEPENDENT)
def test_generate_makes_what_a_photograph_can_have(
    seed: int, limits: dict[str, float], channels: str, independent: bool
) -> None:
    recipe, store, graph = setting(seed)
    recipe = recipe.replace(parameter=recipe.parameter.clamp(min=0.6))
    made, found = move(Generate(**limits, channels=channels, independent=independent), recipe, store, graph, seed)  # type: ignore[arg-type]
    assert torch.equal(found, recipe.counted.any(1))
    mean, std = made.parameter[..., :3][recipe.chosen], made.parameter[..., 3:][recipe.chosen]
    assert (std >= 0.5).all()
    assert (mean[:, 0] >= 0).all() and (mean[:, 0] <= 100).all()
    moved = found[:, None] & (recipe.counted if independent else recipe.chosen)
    assert (made.target[moved] == -1).all()
    if channels == "luminance":
        assert torch.equal(made.parameter[..., [1, 2, 4, 5]], recipe.parameter[..., [1, 2, 4, 5]])
    seen = store.lowest - 5, store.highest + 5  # or no farther out than the parent was
    low, high = torch.minimum(seen[0], recipe.parameter), torch.maximum(seen[1], recipe.parameter)
    assert (made.parameter >= low)[moved].all() and (made.parameter <= high)[moved].all()


@pytest.mark.parametrize("channels", ["luminance", "lab"])
@pytest.mark.parametrize("limits", [{"radius": 1e-3}, {"mean_radius": 1e-3, "std_radius": 1e-3}])
def test_rounding_does_not_lead_out_of_the_second_threshold(channels: str, limits: dict[str, float]) -> None:
    store = make_store()
    many = make_recipe(4000, store)
    policy = Generate(**limits, channels=channels, independent=True)  # type: ignore[arg-type]
    made, _ = move(policy, many, store, Graph(store))
    mean, std = differences(made, many, channels)
    assert inside(mean, std, limits, slack=0.0).all()
    assert (mean.sum(-1) > 0)[many.chosen].float().mean() > 0.9


def test_generate_shifts_all_areas_alike_unless_independent() -> None:
    recipe, store, graph = setting(3)
    shift = (move(Generate(2.0, margin=50.0), recipe, store, graph)[0].parameter - recipe.parameter)[..., 0]
    for row, chosen in enumerate(recipe.chosen):
        assert shift[row][chosen].std(unbiased=False) < 1e-4
    shift = (move(Generate(2.0, margin=50.0, independent=True), recipe, store, graph)[0].parameter - recipe.parameter)[
        ..., 0
    ]
    row = int(recipe.counted.sum(1).argmax())
    assert shift[row][recipe.counted[row]].std() > 1e-2


def test_out_of_a_corner_a_neighbour_is_another_parameter() -> None:
    """A quarter of the disc is projected to where it started: as dark as can be, with as much contrast as can be."""
    store = make_store(targets=1)
    recipe = make_recipe(200, store)
    corner = recipe.parameter.clone()
    corner[..., 0], corner[..., 3] = (store.lowest - 5)[:, 0].clamp(min=0), (store.highest + 5)[:, 3]
    recipe = recipe.replace(parameter=corner)
    made, found = move(Generate(4.0), recipe, store, Graph(store))
    assert found.all() and (made.parameter != corner)[recipe.chosen].view(200, -1).any(1).all()


def test_generate_fills_the_disc_and_the_box() -> None:
    store = make_store()
    graph, many = Graph(store), make_recipe(4000, store)
    many = many.replace(parameter=many.parameter + 20)  # far from the floor
    made, _ = move(Generate(4.0, margin=100.0), many, store, graph)
    mean, std = (moved[:, 0, 0] for moved in differences(made, many, "luminance"))
    lengths = (mean.square() + std.square()).sqrt()
    assert 0.22 < (lengths < 2.0).float().mean() < 0.28  # a quarter of a disc's points lie within half its radius
    assert lengths.max() > 3.9
    made, _ = move(Generate(mean_radius=8.0, std_radius=2.0, margin=100.0), many, store, graph)
    mean, std = (moved[:, 0, 0] for moved in differences(made, many, "luminance"))
    assert mean.max() > 7.9 and std.max() > 1.9
    assert 0.22 < ((mean < 4) & (std < 1)).float().mean() < 0.28
    assert ((mean > 7) & (std > 1.7)).any()  # a corner, outside any disc of the same width


@settings(max_examples=30, deadline=None)
@given(SEEDS, LIMITS, INDEPENDENT)
def test_auto_selects_while_there_is_something_to_select(
    seed: int, limits: dict[str, float], independent: bool
) -> None:
    recipe, store, graph = setting(seed)
    selected, stored = move(Select(**limits, independent=independent), recipe, store, graph, seed)  # type: ignore[arg-type]
    both, found = move(Auto(**limits, independent=independent), recipe, store, graph, seed)  # type: ignore[arg-type]
    assert torch.equal(found, recipe.counted.any(1))
    if not independent:
        assert torch.equal(both.target[stored], selected.target[stored])
        assert (both.target[~stored & found] == -1).all()
        return
    took = (selected.target != recipe.target) & stored[:, None]
    assert torch.equal(both.target[took], selected.target[took])
    assert (both.target[~took & recipe.counted] == -1).all()  # each area on its own
    assert torch.equal(both.parameter[took], selected.parameter[took])


def test_random_knows_no_neighbours() -> None:
    recipe, store, graph = setting(1)
    assert not move(Random(), recipe, store, graph)[1].any()


def test_figure_8() -> None:
    """P1 20 % and P2 30 % are expanded, P3 90 % is not: neighbours P1', P2' and P3' stand beside them."""
    luminance = torch.tensor([[30.0, 10.0], [50.0, 20.0], [70.0, 10.0], [32.0, 11.0], [51.0, 22.0], [72.0, 11.0]])
    points = torch.zeros(6, 2, 6)
    points[..., 0], points[..., 3] = luminance[:, :1], luminance[:, 1:]
    store = ParameterStore(points, torch.full((6, 2), 99), ["river"], ["P1", "P2", "P3", "P1'", "P2'", "P3'"])
    graph = Graph(store)
    recipe = Recipe.cat([make_recipe(1, store, target) for target in range(3)])
    score, passed = torch.tensor([0.2, 0.3, 0.9]), torch.full((3,), -1)
    verdict = Verdict(score, score[:, None].expand(-1, 2), is_hard(score, 0.5), passed, torch.zeros(3).long(), -score)
    graph.update(recipe, verdict)
    assert verdict.piece.tolist() == [True, True, False]
    assert torch.allclose(graph.accuracy[:3, 0], score)
    for seed in range(5):
        proposed, found = move(Select(5.0), recipe[verdict.piece], store, graph, seed)
        assert found.all()
        assert [store.ids[target] for target in proposed.target[:, 0].tolist()] == ["P1'", "P2'"]


# The environment table


@settings(max_examples=60, deadline=None)
@given(SEEDS, INDEPENDENT, st.sampled_from([SameCell, AdjacentCell, AssociatedCell]))
def test_neighbours_come_from_the_cells_they_should(seed: int, independent: bool, kind: type[Cells]) -> None:
    recipe, store, graph = setting(seed)
    policy = kind(ORDER, ASSOCIATIONS, independent, "source")
    new, _ = move(policy, recipe, store, graph, seed)
    cell = list(zip(*store.environment.values(), strict=True))
    for row in (recipe.target.amax(1) >= 0).nonzero().flatten().tolist():  # parameters that are stored
        wanted = [expected_cells(policy, store, int(recipe.target[row].max()), area) for area in range(4)]
        counted = recipe.counted[row].nonzero().flatten().tolist()
        if not independent:
            together = set().union(*(wanted[area] for area in counted))
            wanted = [together] * 4
        for area in counted:
            target = int(new.target[row, area])
            if target != int(recipe.target[row, area]):
                assert cell[target] in wanted[area]
        areas = [area for area in counted if independent]
        for area in areas:  # and none is missed
            free = store.valid[:, area] & ~is_used(graph, row, store)[:, area]
            free[recipe.target[row, area].long()] = False
            possible = any(cell[target] in wanted[area] for target in free.nonzero().flatten().tolist())
            assert possible == (int(new.target[row, area]) != int(recipe.target[row, area]))


def figure_7() -> ParameterStore:
    """Two targets for each time and weather."""
    taken = [pair for pair in product(TIMES, WEATHERS) for _ in range(2)]
    store = make_store(18, 4, environment=dict(zip(("time", "weather"), zip(*taken, strict=True), strict=True)))
    return store.with_(areas=("grass", "pole", "asphalt", "river"))


def reached(policy: Neighbourhood, recipe: Recipe, store: ParameterStore, region: int = 3) -> set[tuple[str, ...]]:
    """The environments that neighbours of a region come from, over many draws."""
    cell = list(zip(*store.environment.values(), strict=True))
    graph = Graph(store)
    drawn = [move(policy, recipe, store, graph, seed) for seed in range(40)]
    return {cell[int(new.target[0, region])] for new, found in drawn if found.all()}


@pytest.mark.parametrize("independent", [False, True])
def test_figure_7(independent: bool) -> None:
    """River, night, sunny (E1): the three kinds of neighbours of D53."""
    store = figure_7()
    river = torch.tensor([[False, False, False, True, False]])
    e1 = make_recipe(1, store, target=12).replace(chosen=river)
    e1 = e1.replace(target=torch.where(river, 12, -1).int())
    associated = {"river sunny night": ["cloudy night"]}
    assert reached(SameCell(ORDER, independent=independent), e1, store) == {("night", "sunny")}
    assert reached(AdjacentCell(ORDER, independent=independent), e1, store) == {
        ("day", "sunny"),
        ("night", "rainy"),
        ("night", "cloudy"),
    }
    assert reached(AssociatedCell(ORDER, associated, independent), e1, store) == {("night", "cloudy")}
    drawn = {int(move(SameCell(), e1, store, Graph(store), seed)[0].target[0, 3]) for seed in range(20)}
    assert drawn == {13}  # another of the same cell


def test_an_association_of_one_area() -> None:
    store = figure_7()
    night = make_recipe(1, store, target=12)
    associated = {"river sunny night": ["cloudy night"]}
    alone = AssociatedCell(ORDER, associated, independent=True)
    new, found = move(alone, night, store, Graph(store))
    assert found.all()
    assert (new.target != night.target).tolist() == [[False, False, False, True, False]]
    assert reached(AssociatedCell(ORDER, associated), night, store, region=0) == {
        ("night", "cloudy")
    }  # the whole light
    absent = night.replace(present=torch.tensor([[True, True, True, False, True]]))
    assert not reached(AssociatedCell(ORDER, associated), absent, store)


@pytest.mark.parametrize("independent", [False, True])
def test_a_generated_parameter_belongs_to_the_cell_of_the_nearest_stored_one(independent: bool) -> None:
    points = torch.zeros(4, 3, 6)
    points[..., 0] = torch.tensor([[20.0, 20.0, 20.0], [21.0, 90.0, 50.0], [60.0, 60.0, 60.0], [61.0, 61.0, 61.0]])
    points[..., 1] = torch.tensor([[0.0], [0.0], [40.0], [40.0]])  # off the graph: does not count
    times = {"time": ["night", "night", "day", "day"]}
    store = ParameterStore(points, torch.full((4, 3), 99), ["river", "grass"], list("abcd"), times)
    here = torch.zeros(1, 3, 6)
    here[0, :, 0] = torch.tensor([22.0, 62.0, 0.0])
    row = make_recipe(1, store).replace(parameter=here, target=torch.full((1, 3), -1))
    graph = Graph(store)
    new = [move(SameCell(independent=independent), row, store, graph, seed)[0].target[0, :2] for seed in range(30)]
    river, grass = ({int(target[area]) for target in new} for area in (0, 1))
    if independent:
        assert (river, grass) == ({0, 1}, {2, 3})
    else:
        # squares over both areas: a 4 + 1764, b 1 + 784, c 1444 + 4, d 1521 + 1
        assert river == grass == {0, 1}
        absent = row.replace(present=torch.tensor([[False, True, True]]))
        new = [move(SameCell(), absent, store, graph, seed)[0].target[0, :2] for seed in range(30)]
        assert {int(target[1]) for target in new} == {2, 3}


def test_the_nearest_stored_point_is_one_that_exists() -> None:
    points = torch.zeros(4, 3, 6)
    points[..., 0] = torch.tensor([[10.0, 50.0, 0.0], [8.0, 8.0, 0.0], [0.0, 0.0, 0.0], [50.0, 50.0, 0.0]])
    count = torch.tensor([[99, 0, 99], [99, 99, 99], [0, 0, 99], [99, 99, 99]])
    times = {"time": ["night", "day", "dusk", "day"]}
    store = ParameterStore(points, count, ["river", "grass"], list("abcd"), times)
    row = make_recipe(1, store, target=3).replace(parameter=torch.zeros(1, 3, 6), target=torch.full((1, 3), -1))
    # dusk has no such areas; by day the mean square over the areas in common is 64, at night 100
    for independent in (False, True):
        new = [move(SameCell(independent=independent), row, store, Graph(store), seed)[0] for seed in range(20)]
        assert {int(one.target[0, 0]) for one in new} == {1, 3}


def test_a_stored_parameter_belongs_to_its_own_cell_even_beside_generated_ones() -> None:
    times = {"time": ["night", "day", "day"]}
    store = make_store(3, environment=times)
    store = store.with_(parameters=store.parameters[:1].repeat(3, 1, 1))  # the same colours by night and day
    row = make_recipe(1, store, target=1)
    row = row.replace(
        target=torch.tensor([[1, -1, 1, -1]]), parameter=row.parameter + torch.tensor([0.0, 1, 0, 0])[:, None]
    )
    assert move(SameCell(independent=True), row, store, Graph(store))[0].target[0, [0, 2]].tolist() == [2, 2]


def test_an_area_that_kept_its_parameter_does_not_decide_the_cell() -> None:
    store = figure_7()
    mixed = make_recipe(1, store, target=12)
    target = mixed.target.clone()
    target[0, 0] = 0  # grass of a sunny morning, which target 12 lacked
    assert reached(SameCell(), mixed.replace(target=target), store) == {("night", "sunny")}
    assert reached(SameCell(independent=True), mixed.replace(target=target), store, 0) == {("morning", "sunny")}


def test_a_cell_without_another_parameter_has_no_neighbour() -> None:
    store = figure_7()
    count = store.count.clone()
    count[13, 3] = 0
    store, e1 = store.with_(count=count), make_recipe(1, store, target=12)
    new, found = move(SameCell(independent=True), e1, store, Graph(store))
    assert found.all()
    assert new.target.tolist() == [[13, 13, 13, 12, -1]]
    river = e1.replace(chosen=torch.tensor([[False, False, False, True, False]]))
    assert not move(SameCell(independent=True), river, store, Graph(store))[1].any()
    assert not move(SameCell(), river, store, Graph(store))[1].any()


def test_the_table_is_made_once_for_a_store() -> None:
    policy, store = SameCell(), figure_7()
    assert policy.table(store) is policy.table(store)
    other = store.with_(environment={"time": ["day"] * 18})
    assert policy.table(other).cells == ("day",)


@pytest.mark.parametrize("kind", [SameCell, AdjacentCell, AssociatedCell])
def test_the_table_needs_environments(kind: type[Cells]) -> None:
    store = make_store()
    with pytest.raises(InputError, match="has no environment columns"):
        move(kind(), make_recipe(1, store), store, Graph(store))


def test_associated_cell_needs_associations() -> None:
    store = figure_7()
    with pytest.raises(InputError, match=r"environment.associations: no cells are associated"):
        move(AssociatedCell(), make_recipe(1, store), store, Graph(store))


@pytest.mark.parametrize("name", ["same_cell", "adjacent_cell", "associated_cell"])
def test_configs_of_the_table(name: str) -> None:
    folder: Path = config_folder()
    train: Any = OmegaConf.load(folder / "common.yaml")
    config = OmegaConf.create(
        {
            "environment": train.environment,
            "neighbourhood": OmegaConf.load(folder / f"neighbourhood/{name}.yaml"),
        }
    )
    assert instantiate(config.neighbourhood).order is None
    config.environment.order = {"time": list(TIMES)}
    config.environment.associations = {"sunny night": ["cloudy night"]}
    store = figure_7()
    assert reached(instantiate(config.neighbourhood), make_recipe(1, store, target=12), store)


# First parameters


def firsts(policy: First, n: int, store: ParameterStore, seed: int = 0) -> Recipe:
    rows = Recipe.clean(torch.arange(n), torch.arange(n), store.regions, len(store.space))
    first, found = move(policy, rows, store, Graph(store), seed)
    assert found.all()
    assert (first.parent == -1).all() and (first.depth == 0).all()
    return first


@pytest.mark.parametrize("independent", [False, True])
def test_first_parameters_are_others_than_the_source_has_seen(independent: bool) -> None:
    store = make_store(targets=6)
    graph, seen = Graph(store), []
    rows = Recipe.clean(torch.arange(2), torch.arange(2), 4, 6)
    for turn in range(6):
        first, found = First(independent=independent)(rows, store, graph, torch.Generator().manual_seed(turn))
        assert found.all()
        score = torch.ones(2)
        nothing = torch.full((2,), -1)
        graph.update(first, Verdict(score, score[:, None].expand(-1, 4), score < 0.7, nothing, nothing, -score))
        seen.append(first.target[:, :3])
    for source in range(2):
        for area in range(3):
            assert sorted(int(target[source, area]) for target in seen) == list(range(6))
    again, found = First(independent=independent)(rows, store, graph, torch.Generator().manual_seed(9))
    assert found.all()
    assert (again.target[:, :3] >= 0).all()


@pytest.mark.parametrize("independent", [False, True])
def test_first_parameters_come_from_the_store(independent: bool) -> None:
    store = make_store(targets=50)
    first = firsts(First(independent=independent), 20, store)
    assert first.chosen[:, :3].all()
    assert not first.chosen[:, 3].any()
    same = (first.target[:, :3] == first.target[:, :1]).all(1)
    assert same.all() != independent
    assert torch.equal(first.parameter[0, 1], store.parameters[first.target[0, 1], 1])


def test_which_areas_are_converted_is_a_choice() -> None:
    store = make_store()
    assert firsts(First(areas=["area1"]), 9, store).chosen.any(0).tolist() == [False, True, False, False]
    assert firsts(First(areas=[], whole=True), 9, store).chosen.all(0).tolist() == [False, False, False, True]
    assert firsts(First(whole=True), 9, store).chosen.all()
    drawn = firsts(First(areas="random"), 200, store).chosen
    assert len({tuple(row) for row in drawn.tolist()}) == 7  # every non-empty set of three areas
    with pytest.raises(InputError, match="no area is called 'sea'"):
        firsts(First(areas=["sea"]), 1, store)
    with pytest.raises(InputError, match="nothing is converted"):
        First(areas=[])


def test_the_first_environment_is_a_choice() -> None:
    store = figure_7()
    drawn = firsts(First(environment="sunny night"), 60, store).target[:, :4]
    assert set(drawn.flatten().tolist()) == {12, 13}
    with pytest.raises(InputError, match="nothing is called 'foggy'"):
        firsts(First(environment="foggy night"), 1, store)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"radius": 0}, r"Rth2.*must be > 0 Lab units, got 0"),
        ({"mean_radius": 5.0, "std_radius": -1.0}, r"Sth2.*got -1"),
        ({"mean_radius": 5.0}, "give either radius"),
        ({"radius": 5.0, "mean_radius": 5.0, "std_radius": 5.0}, "give either radius"),
        ({"radius": float("nan")}, "Rth2.*got nan"),
        ({"channels": "rgb"}, "channels must be luminance or lab, got 'rgb'"),
    ],
)
@pytest.mark.parametrize("kind", [Select, Generate, Auto])
def test_thresholds_that_cannot_be(
    kind: type[Select | Generate | Auto], limits: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**limits)  # type: ignore[arg-type]


def test_an_enumeration_gives_each_first_parameter_once_beside_neighbours() -> None:
    """Pieces and clean rows of one source in a batch: a piece takes a neighbour and no number."""
    store = make_store(targets=2)
    graph, first = Graph(store), Exhaustive()
    clean = Recipe.clean(torch.tensor([1]), torch.tensor([0]), store.regions, len(store.space))
    pieces = make_recipe(2, store).replace(source=torch.ones(2).long(), parent=torch.tensor([0, 1]))
    walked: list[tuple[object, int]] = []
    for step in range(9):
        rows = Recipe.cat([clean, clean]) if step % 2 else clean
        proposed, found = move(first, rows, store, graph)
        assert found.all() and torch.equal(proposed.source, rows.source)
        judged = Recipe.cat([pieces[:1], proposed, pieces[1:]]) if step % 2 else proposed
        score, nothing = torch.ones(len(judged)), torch.full((len(judged),), -1)
        graph.update(judged, Verdict(score, score[:, None].expand(-1, 4), score < 0.7, nothing, nothing, -score))
        walked += zip(map(tuple, proposed.chosen.tolist()), proposed.target.amax(1).tolist(), strict=True)
    assert len(walked) == len(set(walked)) == 13
    assert graph.tried == {1: 13}
