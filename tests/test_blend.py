"""Blends: light between a hard one and stored ones near it."""

import pytest
import torch
from conftest import make_store

from hardmine.memory.graph import Graph
from hardmine.neighbourhood import Blend, Reach
from hardmine.records import Recipe
from hardmine.store import ParameterStore


def at(store: ParameterStore, target: int, n: int = 1) -> Recipe:
    """n rows whose areas all have the colours of one target."""
    rows = Recipe.clean(torch.arange(n), torch.arange(n), store.regions, len(store.space))
    chosen, point, of = store.of_targets(torch.full((n, store.regions), target), ~rows.chosen)
    chosen[:, -1] = False
    return rows.replace(
        chosen=chosen, parameter=torch.where(chosen[..., None], point, 0.0), target=torch.where(chosen, of, -1).int()
    )


def blended(policy: Blend, rows: Recipe, store: ParameterStore, seed: int = 0) -> tuple[Recipe, torch.Tensor]:
    return policy(rows, store, Graph(store), torch.Generator().manual_seed(seed))


def gathered(spread: float, targets: int = 6) -> ParameterStore:
    """Targets around one light, and one far away."""
    store = make_store(targets=targets)
    points = store.parameters[:1] + spread * torch.randn(
        store.parameters.shape, generator=torch.Generator().manual_seed(1)
    )
    points[-1] = store.parameters[0] + 40
    return store.with_(parameters=points)


def test_a_blend_lies_between_the_parameter_and_one_stored_point() -> None:
    store = gathered(2.0, targets=3)  # the third is far
    rows = at(store, 0, 100)
    made, found = blended(Blend(radius=30), rows, store)
    assert found.all()
    way = (store.parameters[1] - store.parameters[0])[:-1]
    share = (made.parameter[:, :-1] - store.parameters[0, :-1]) / way
    torch.testing.assert_close(share, share[:, :1, :1].expand_as(share), atol=1e-3, rtol=0)  # all areas and axes alike
    assert 0 < share.min() < 0.2 and 0.8 < share.max() < 1
    assert (made.target == -1).all()


def test_independent_areas_are_blended_with_targets_of_their_own() -> None:
    store = gathered(2.0, targets=4)
    points = store.parameters.clone()
    points[1, 1] += 60.0  # near in all areas but one
    points[2, 0] += 60.0
    store = store.with_(parameters=points)
    rows = at(store, 0, 100)
    made, found = blended(Blend(radius=30, independent=True, targets=1), rows, store)
    assert found.all() and (made.target == -1).all()

    def share(target: int, area: int) -> torch.Tensor:
        return (made.parameter[:, area] - points[0, area]) / (points[target, area] - points[0, area])

    for target, area in ((2, 1), (1, 0)):  # the only one near there
        torch.testing.assert_close(share(target, area), share(target, area)[:, :1].expand(-1, 6), atol=1e-3, rtol=0)
    assert (share(2, 1)[:, 0] - share(1, 0)[:, 0]).abs().max() > 0.1  # weights of their own
    absent = rows.replace(present=torch.tensor([[False, True, True, True]]).expand(100, -1))
    made, _ = blended(Blend(radius=30, independent=True), absent, store)
    assert torch.equal(made.parameter[:, 0], absent.parameter[:, 0])  # and an absent area stays


@pytest.mark.parametrize("limits", [(6.0, None, None), (None, 5.0, 4.0)])
def test_a_blend_stays_inside_the_second_threshold(limits: tuple[float | None, float | None, float | None]) -> None:
    store, rows = gathered(2.0, targets=12), at(gathered(2.0, targets=12), 0, 200)
    made, found = blended(Blend(*limits), rows, store)
    assert found.all()
    reach = Reach(*limits)
    assert reach.holds(reach.squares(made.parameter, rows.parameter, store.space), store.space).all()  # in every area
    assert len({tuple(point) for point in made.parameter[:, 0].tolist()}) == 200


def test_an_area_that_a_stored_point_lacks_keeps_its_parameter() -> None:
    store = gathered(2.0, targets=3)
    count = store.count.clone()
    count[1, 1] = 0
    store = store.with_(count=count)
    rows = at(store, 0, 20)
    made, found = blended(Blend(radius=30), rows, store)
    assert found.all()
    assert torch.equal(made.parameter[:, 1], rows.parameter[:, 1])
    assert not torch.isclose(made.parameter[:, 0], rows.parameter[:, 0]).all(-1).any()


def test_where_nothing_stored_is_near_a_neighbour_is_generated() -> None:
    store = gathered(2.0)
    far = at(store, len(store) - 1, 3)
    made, found = blended(Blend(radius=10), far, store)
    shift = (made.parameter - far.parameter)[:, :-1]
    assert found.all() and shift.norm(dim=-1).max() < 10
    assert shift[..., 0].abs().min() > 0
    clean = Recipe.clean(torch.arange(3), torch.arange(3), store.regions, len(store.space))
    assert not blended(Blend(radius=10), clean, store)[1].any()


def test_what_was_not_chosen_stays_as_it_is() -> None:
    store = gathered(2.0)
    rows = at(store, 0, 5)
    chosen = rows.chosen.clone()
    chosen[:, 1] = False
    rows = rows.replace(chosen=chosen, parameter=torch.where(chosen[..., None], rows.parameter, 0.0))
    made, found = blended(Blend(radius=30), rows, store)
    assert found.all() and torch.equal(made.chosen, chosen) and (made.parameter[:, 1] == 0).all()


def test_the_same_generator_gives_the_same_blend() -> None:
    store, policy = gathered(2.0), Blend(radius=30)
    rows = at(store, 0, 8)
    one, other, third = (blended(policy, rows, store, seed)[0].parameter for seed in (3, 3, 4))
    assert torch.equal(one, other) and not torch.equal(one, third)


def test_blends_need_a_target() -> None:
    with pytest.raises(ValueError, match="targets must be >= 1, got 0"):
        Blend(targets=0)
