from pathlib import Path

import pyarrow.parquet as pq
import torch
from conftest import make_recipe, make_store

from hardmine.memory.graph import Graph
from hardmine.records import Recipe, Verdict


def verdict(score: list[float], area: list[list[float]], step: int = 5) -> Verdict:
    s = torch.tensor(score)
    n = len(s)
    return Verdict(s, torch.tensor(area), s < 0.7, torch.full((n,), -1), torch.full((n,), step), -s)


def unused(graph: Graph, source: int) -> torch.Tensor:
    """(6, 4) bool: which parameters of `make_store` were not tried on a source."""
    return ~graph.used.holds(torch.tensor([source]), torch.arange(6)[None, :, None], torch.arange(4))[0]


def test_marks_parameters_per_source_and_keeps_the_latest_accuracy() -> None:
    store = make_store()
    graph = Graph(store)
    recipe = make_recipe(2, store, target=3)
    nan = float("nan")
    graph.update(recipe, verdict([0.5, 0.9], [[0.1, 0.2, nan, 0.5], [0.3, nan, nan, 0.9]]))
    assert not unused(graph, 0)[3, :3].any() and not unused(graph, 1)[3, :3].any()
    assert unused(graph, 2).all()
    assert unused(graph, 0)[[0, 1, 2, 4, 5]].all()
    assert torch.allclose(graph.accuracy[3, :2], torch.tensor([0.3, 0.2]))
    assert graph.accuracy[3, 2].isnan()
    assert torch.allclose(graph.accuracy[3, 3], torch.tensor(0.9))
    assert graph.step[3].tolist() == [5, 5, -1, 5]
    assert graph.uses[3].tolist() == [2, 2, 2, 0]


def test_generated_parameters_leave_no_mark() -> None:
    store = make_store()
    graph = Graph(store)
    recipe = make_recipe(1, store)
    graph.update(recipe.replace(target=torch.full_like(recipe.target, -1)), verdict([0.5], [[0.5] * 4]))
    assert not len(graph.used)
    assert graph.accuracy.isnan().all()


def test_absent_areas_leave_no_mark() -> None:
    store = make_store()
    graph = Graph(store)
    recipe = make_recipe(1, store, target=3)
    present = recipe.present.clone()
    present[0, 1] = False
    graph.update(recipe.replace(present=present), verdict([0.5], [[0.5] * 4]))
    assert graph.uses[3].tolist() == [1, 0, 1, 0]
    assert unused(graph, 0)[3].tolist() == [False, True, False, True]
    assert graph.accuracy[3, 1].isnan()


def test_counts_the_first_parameters_of_each_source() -> None:
    store = make_store()
    graph = Graph(store)
    recipe = make_recipe(4, store).replace(source=torch.tensor([2, 0, 2, 2]), parent=torch.tensor([-1, -1, -1, 7]))
    graph.update(recipe, verdict([0.5] * 4, [[0.5] * 4] * 4))
    graph.update(recipe[:1], verdict([0.5], [[0.5] * 4]))
    assert graph.tried == {0: 1, 2: 3}


def test_sources_without_a_number_share_their_marks() -> None:
    store = make_store()
    graph, recipe = Graph(store), make_recipe(2, store, target=3)
    graph.update(recipe.replace(source=torch.full((2,), -1)), verdict([0.5, 0.9], [[0.5] * 4] * 2))
    assert unused(graph, -1).sum() == 6 * 4 - 3
    assert unused(graph, 0).all()
    assert graph.uses[3].tolist() == [2, 2, 2, 0]
    assert graph.tried == {-1: 2}


def test_state_and_table(tmp_path: Path) -> None:
    store = make_store()
    graph = Graph(store)
    graph.update(make_recipe(2, store), verdict([0.5, 0.6], [[0.5] * 4, [0.6] * 4]))
    again = Graph(store)
    again.load_state_dict(graph.state_dict())
    for name in ("accuracy", "step", "uses"):
        assert torch.equal(getattr(again, name).nan_to_num(-1), getattr(graph, name).nan_to_num(-1)), name
    assert again.tried == graph.tried == {0: 1, 1: 1}
    assert torch.equal(unused(again, 0), unused(graph, 0)) and not unused(again, 1)[0, 0]
    assert all(isinstance(value, torch.Tensor) for value in graph.state_dict().values())
    graph.save(tmp_path / "graph.parquet", store)
    table = pq.read_table(tmp_path / "graph.parquet")
    assert table.num_rows == 6 * 4
    assert sum(table["uses"].to_pylist()) == 6
    assert table["mean_L"].to_pylist()[5] == float(store.parameters[1, 1, 0])
    assert "mean_a" not in table.column_names  # the graph's axes are those of luminance


def test_a_clean_row_touches_nothing() -> None:
    store = make_store()
    graph = Graph(store)
    graph.update(Recipe.clean(torch.arange(1), torch.arange(1), 4, 6), verdict([0.2], [[0.2] * 4]))
    assert graph.uses.sum() == 0
