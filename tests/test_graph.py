from pathlib import Path

import pyarrow.parquet as pq
import torch
from conftest import make_recipe, make_store

from hardmine.memory.graph import Graph
from hardmine.records import Recipe, Verdict


def verdict(score: list[float], area: list[list[float]], step: int = 5) -> Verdict:
    s = torch.tensor(score)
    n = len(s)
    return Verdict(s, torch.tensor(area), s < 0.7, torch.full((n,), -1), torch.full((n,), step))


def test_marks_points_per_source_and_keeps_the_latest_accuracy() -> None:
    store = make_store()
    graph = Graph(store, sources=4)
    recipe = make_recipe(2, store, target=3)
    nan = float("nan")
    graph.update(recipe, verdict([0.5, 0.9], [[0.1, 0.2, nan, 0.5], [0.3, nan, nan, 0.9]]))
    assert not graph.unused(torch.tensor([0, 1]))[:, 3, :3].any()
    assert graph.unused(torch.tensor([2]))[0].all()
    assert graph.unused(torch.tensor([0]))[0, [0, 1, 2, 4, 5]].all()
    assert torch.allclose(graph.accuracy[3, :2], torch.tensor([0.3, 0.2]))
    assert graph.accuracy[3, 2].isnan()
    assert torch.allclose(graph.accuracy[3, 3], torch.tensor(0.9))
    assert graph.step[3].tolist() == [5, 5, -1, 5]
    assert graph.uses[3].tolist() == [2, 2, 2, 0]


def test_generated_points_leave_no_mark() -> None:
    store = make_store()
    graph = Graph(store, sources=4)
    recipe = make_recipe(1, store)
    graph.update(recipe.replace(target=torch.full_like(recipe.target, -1)), verdict([0.5], [[0.5] * 4]))
    assert graph.unused(torch.arange(4)).all()
    assert graph.accuracy.isnan().all()


def test_absent_areas_leave_no_mark() -> None:
    store = make_store()
    graph = Graph(store, sources=4)
    recipe = make_recipe(1, store, target=3)
    present = recipe.present.clone()
    present[0, 1] = False
    graph.update(recipe.replace(present=present), verdict([0.5], [[0.5] * 4]))
    assert graph.uses[3].tolist() == [1, 0, 1, 0]
    assert graph.used[0, 3].tolist() == [True, False, True, False]
    assert graph.accuracy[3, 1].isnan()


def test_counts_the_first_parameters_of_each_source() -> None:
    store = make_store()
    graph = Graph(store, sources=4)
    recipe = make_recipe(4, store).replace(source=torch.tensor([2, 0, 2, 2]), parent=torch.tensor([-1, -1, -1, 7]))
    graph.update(recipe, verdict([0.5] * 4, [[0.5] * 4] * 4))
    graph.update(recipe[:1], verdict([0.5], [[0.5] * 4]))
    assert graph.tried.tolist() == [1, 0, 3, 0]


def test_the_level_of_a_light_is_averaged_over_sources_and_forgets() -> None:
    store = make_store()
    graph = Graph(store, sources=4)
    graph.update(make_recipe(2, store, target=3), verdict([0.4, 0.8], [[0.5] * 4] * 2))
    assert torch.allclose(graph.level[3], torch.tensor(0.6))
    assert graph.level[[0, 1, 2, 4, 5]].isnan().all()
    graph.update(make_recipe(1, store, target=3), verdict([0.1], [[0.5] * 4]))
    assert torch.allclose(graph.level[3], torch.tensor(0.8 * 0.6 + 0.2 * 0.1))
    graph.update(make_recipe(1, store, target=3), verdict([float("nan")], [[0.5] * 4]))
    assert torch.allclose(graph.level[3], torch.tensor(0.5))
    for _ in range(40):
        graph.update(make_recipe(2, store, target=3), verdict([0.9, 0.9], [[0.5] * 4] * 2))
    assert torch.allclose(graph.level[3], torch.tensor(0.9), atol=1e-3)


def test_the_level_of_a_light_is_that_of_the_lights_near_it() -> None:
    """Weights exp(-d^2 / 200), d the root mean square over the shared areas in mean and deviation of luminance."""
    store = make_store()
    points = torch.zeros_like(store.parameters)
    points[:, :, 0] = torch.tensor([10.0, 20, 50, 60, 90, 90])[:, None]
    store = store.with_(parameters=points)
    graph = Graph(store, sources=4)
    for target, score in ((0, 0.4), (1, 0.6), (3, 0.9)):
        graph.update(make_recipe(1, store, target=target), verdict([score], [[0.5] * 4]))
    rows = Recipe.cat([make_recipe(1, store, target) for target in (0, 2, 4)])
    made = make_recipe(1, store).replace(
        target=torch.full((1, 4), -1).int(), parameter=points[:1] + torch.tensor([5.0, 0, 0, 0, 0, 0])
    )
    near, far = torch.tensor(-0.5).exp(), torch.tensor(-12.5).exp()
    level = graph.level_of(Recipe.cat([rows, made]))
    assert torch.allclose(level[0], (0.4 + near * 0.6 + far * 0.9) / (1 + near + far), atol=1e-4)
    assert torch.allclose(level[3], torch.tensor(0.5), atol=1e-3)  # in the middle of the first two
    assert 0.85 < level[1] < 0.9 and level[2] > 0.89
    nowhere = made.replace(parameter=points[:1] + torch.tensor([500.0, 0, 0, 0, 0, 0]))
    assert graph.level_of(nowhere).isnan().all()
    assert Graph(store, 4).level_of(rows).isnan().all()


def test_state_and_table(tmp_path: Path) -> None:
    store = make_store()
    graph = Graph(store, sources=2)
    graph.update(make_recipe(2, store), verdict([0.5, 0.6], [[0.5] * 4, [0.6] * 4]))
    again = Graph(store, sources=2)
    again.load_state_dict(graph.state_dict())
    for name in ("accuracy", "step", "uses", "used", "tried"):
        assert torch.equal(getattr(again, name).nan_to_num(-1), getattr(graph, name).nan_to_num(-1)), name
    assert again.tried.tolist() == [1, 1]
    graph.save(tmp_path / "graph.parquet", store)
    table = pq.read_table(tmp_path / "graph.parquet")
    assert table.num_rows == 6 * 4
    assert sum(table["uses"].to_pylist()) == 6
    assert table["mean_L"].to_pylist()[5] == float(store.parameters[1, 1, 0])
    assert "mean_a" not in table.column_names  # the graph's axes are those of luminance


def test_a_clean_row_touches_nothing() -> None:
    store = make_store()
    graph = Graph(store, sources=2)
    graph.update(Recipe.clean(torch.arange(1), torch.arange(1), 4, 6), verdict([0.2], [[0.2] * 4]))
    assert graph.uses.sum() == 0
