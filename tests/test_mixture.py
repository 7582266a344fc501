"""First parameters between the stored ones."""

import pytest
import torch
from conftest import make_recipe, make_store
from quality.rivals import Mixture

from hardmine.memory.graph import Graph
from hardmine.records import Recipe
from hardmine.store import ParameterStore


def drawn(store: ParameterStore, targets: int, n: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    rows = make_recipe(n, store)
    generator = torch.Generator().manual_seed(0)
    first, found = Mixture(targets)(rows, store, Graph(store), generator)
    assert found.all()
    return first.parameter, first.chosen


def test_mixtures_lie_inside_the_hull_of_the_store() -> None:
    store = make_store()
    point, chosen = drawn(store, 3)
    assert (point <= store.highest + 1e-3)[:, :-1].all() and (point >= store.lowest - 1e-3)[:, :-1].all()
    assert chosen[:, :-1].all() and not chosen[:, -1].any()
    assert len(torch.unique(point[:, 0, 0])) == 50


def test_a_mixture_of_one_is_a_stored_target() -> None:
    store = make_store()
    point, _ = drawn(store, 1)
    distance = (point[:, None, :-1] - store.parameters[None, :, :-1]).abs().amax((2, 3))
    assert (distance.min(1).values < 1e-4).all()


def test_an_area_is_mixed_of_targets_that_have_it() -> None:
    store = make_store()
    count = store.count.clone()
    count[1:, 0] = 0  # the first area is in the first target alone
    count[:, 1] = 0
    count[0, 1] = 0
    store = store.with_(count=count)
    point, chosen = drawn(store, 6)
    assert torch.allclose(point[chosen[:, 0], 0], store.parameters[0, 0], atol=1e-4)
    assert not chosen[:, 1].any() and (point[:, 1] == 0).all()


def test_no_target_is_refused() -> None:
    with pytest.raises(ValueError, match="targets must be >= 1, got 0"):
        Mixture(0)


def test_targets_of_the_wanted_environment_alone_are_mixed() -> None:
    store = make_store(environment={"time": ["night", "day", "day", "night", "day", "day"]})
    rows = Recipe.clean(torch.arange(50), torch.arange(50), store.regions, len(store.space))
    made, found = Mixture(3, "night")(rows, store, Graph(store), torch.Generator().manual_seed(0))
    both = store.parameters[[0, 3], 0]
    assert found.all() and (made.parameter[:, 0] >= both.amin(0) - 1e-4).all()
    assert (made.parameter[:, 0] <= both.amax(0) + 1e-4).all()
