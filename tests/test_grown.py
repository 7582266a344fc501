"""Cells that grow by the parameters that were used in them (R29; D51)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from conftest import make_recipe, make_store, same_rows
from omegaconf import DictConfig

from hardmine.cli.train import train
from hardmine.errors import InputError
from hardmine.memory import grown as memory
from hardmine.memory.graph import Graph
from hardmine.miner import Miner
from hardmine.neighbourhood import AdjacentCell, AssociatedCell, Auto, SameCell
from hardmine.records import Recipe, Verdict
from hardmine.store import ParameterStore


def cells(each: int = 2) -> ParameterStore:
    """Dark nights and bright days, `each` targets of both; the nights come first."""
    store = make_store(2 * each, environment={"time": ["night"] * each + ["day"] * each})
    points = store.parameters.clone()
    points[:each, :, 0], points[each:, :, 0] = points[:each, :, 0] * 0.2, points[each:, :, 0] * 0.2 + 70
    return store.with_(parameters=points)


def judged(recipe: Recipe, hard: list[bool], gate: int = -1) -> Verdict:
    n, regions = recipe.chosen.shape
    score = torch.tensor([0.1 if each else 0.9 for each in hard])
    refused = torch.full((n,), gate)
    return Verdict(score, score[:, None].expand(-1, regions), score < 0.5, refused, torch.zeros(n).long(), -score)


def moved(policy: Any, rows: Recipe, store: ParameterStore, graph: Graph, seed: int = 0) -> tuple[Recipe, torch.Tensor]:
    found: tuple[Recipe, torch.Tensor] = policy(rows, store, graph, torch.Generator().manual_seed(seed))
    return found


def exhausted(store: ParameterStore, sources: int) -> Graph:
    """On every source each stored parameter was tried."""
    graph = Graph(store, grows=True)
    for target in range(len(store)):
        rows = make_recipe(sources, store, target)
        graph.update(rows, judged(rows, [True] * sources))
    return graph


@pytest.mark.parametrize("kind", [SameCell, AdjacentCell, AssociatedCell])
def test_what_was_made_in_a_cell_is_chosen_there_for_other_sources(kind: Any) -> None:
    store = cells()
    associations = {"night": ["day"]} if kind is AssociatedCell else None
    policy, graph = kind(associations=associations, grows=True), exhausted(store, 3)
    rows = make_recipe(3, store, 0)
    assert not moved(kind(associations=associations), rows, store, graph)[1].any()
    made, found = moved(policy, rows, store, graph)
    assert found.all() and (made.target[:, :3] == -1).all() and not torch.equal(made.parameter[0], made.parameter[1])
    low, high = store.parameters.amin(0), store.parameters.amax(0)
    assert (made.parameter[:, :3] >= low[:3] - 1e-4).all() and (made.parameter[:, :3] <= high[:3] + 1e-4).all()
    # where the one that was made belongs to a cell that the policy leads to, other sources get it
    point = store.parameters[:2].mean(0) if kind is SameCell else store.parameters[2:].mean(0)
    one = make_recipe(1, store, 0)
    one = one.replace(parameter=point[None], target=torch.where(one.chosen, -1, one.target))
    graph.update(one, judged(one, [True]))
    for seed in range(5):
        again, found = moved(policy, rows, store, graph, seed)
        assert found.all() and torch.equal(again.parameter[1:, :3], point[:3].expand(2, -1, -1))
        assert (again.target == -1).all() and not torch.equal(again.parameter[0, :3], point[:3])  # it had it already
    graph.update(again[1:2], judged(again[1:2], [False]))
    later, _ = moved(policy, rows, store, graph, 9)
    assert [torch.equal(each, point[:3]) for each in later.parameter[:, :3]] == [False, False, True]


def test_another_cell_does_not_get_it() -> None:
    store, policy = cells(), SameCell(grows=True)
    graph, night = exhausted(store, 3), make_recipe(3, store, 0)
    made, _ = moved(policy, night[:1], store, graph)
    graph.update(made, judged(made, [True]))
    assert torch.equal(moved(policy, night, store, graph)[0].parameter[1], made.parameter[0])
    day, found = moved(policy, make_recipe(3, store, 2), store, graph)
    assert found.all() and not any(torch.equal(each, made.parameter[0]) for each in day.parameter)
    assert (day.parameter[:, :3, 0] > 60).all()


def test_stored_parameters_come_first_and_nothing_changes_by_default() -> None:
    store = cells(4)
    rows, fresh = make_recipe(5, store, 0), Graph(store, grows=True)
    one, other = (moved(SameCell(grows=grows), rows, store, fresh)[0] for grows in (False, True))
    assert torch.equal(one.target, other.target) and (one.target[:, :3] > 0).all()
    assert Graph(store).grown is None and "grown" not in Graph(store).state_dict()
    assert Miner(store, SameCell()).graph.grown is None and Miner(store, Auto()).graph.grown is None
    assert Miner(store, SameCell(grows=True)).graph.grown is not None


def test_a_row_that_converts_nothing_has_no_neighbour() -> None:
    store = cells()
    rows = make_recipe(2, store, 0)
    rows = rows.replace(chosen=rows.chosen & torch.tensor([[True], [False]]))
    new, found = moved(SameCell(grows=True), rows, store, exhausted(store, 2))
    assert found.tolist() == [True, False] and torch.equal(new.parameter[1], rows.parameter[1])


def test_only_generated_pieces_are_kept_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = cells()
    graph = Graph(store, grows=True)
    assert graph.grown is not None
    stored = make_recipe(3, store, 1)
    made = stored.replace(parameter=stored.parameter + torch.rand(3, 1, 1), target=torch.full_like(stored.target, -1))
    for recipe, verdict in (
        (stored, judged(stored, [True] * 3)),
        (made, judged(made, [False] * 3)),
        (made, judged(made, [True] * 3, gate=0)),
    ):
        graph.update(recipe, verdict)
        assert not len(graph.grown.recipe) and not len(graph.grown.used)
    graph.update(made, judged(made, [True, False, True]))
    assert torch.equal(graph.grown.recipe.parameter, made.parameter[[0, 2]])
    assert len(graph.grown.used) == 2 * 3  # of three areas
    elsewhere = made.replace(source=made.source + 5)
    graph.update(elsewhere, judged(elsewhere, [True] * 3))
    assert torch.equal(graph.grown.recipe.parameter, made.parameter[[0, 2, 1]])
    assert len(graph.grown.used) == 5 * 3
    monkeypatch.setattr(memory, "_MOST", 3)
    further = made.replace(parameter=made.parameter + 1)
    graph.update(further, judged(further, [True] * 3))
    assert torch.equal(graph.grown.recipe.parameter, made.parameter[[0, 2, 1]])


def test_what_has_grown_is_brought_back() -> None:
    store, policy = cells(), SameCell(grows=True)
    graph = exhausted(store, 4)
    made, _ = moved(policy, make_recipe(2, store, 0), store, graph)
    graph.update(made, judged(made, [True, True]))
    again = Graph(store, grows=True)
    again.load_state_dict(graph.state_dict())
    rows = make_recipe(4, store, 1)
    for seed in range(4):
        one, other = (moved(SameCell(grows=True), rows, store, each, seed)[0] for each in (graph, again))
        assert torch.equal(one.parameter, other.parameter)
    again.load_state_dict(Graph(store).state_dict())  # of a run that did not grow


def test_areas_go_together() -> None:
    with pytest.raises(InputError, match=r"neighbourhood\.grows takes all areas of an image along"):
        SameCell(independent=True, grows=True)


def test_a_resumed_run_goes_on_to_the_same_bits(configured: Callable[..., DictConfig], tmp_path: Path) -> None:
    options = ["mining.threshold=1.1", "mining.mined=0.75", "neighbourhood=adjacent_cell", "neighbourhood.grows=true"]
    options += ["callbacks.checkpoint.every_n_train_steps=4", "data.counts={train: 4, val: 2, target: 2, test: 2}"]
    train(configured(*options, "trainer.max_steps=16", run="whole"))
    train(configured(*options, "trainer.max_steps=8", run="parts"))
    train(configured(*options, "trainer.max_steps=16", f"resume={tmp_path / 'parts'}", run="parts"))
    ledgers = [pq.read_table(tmp_path / run / "ledger") for run in ("whole", "parts")]
    assert same_rows(*ledgers)
    ends = [torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True) for run in ("whole", "parts")]
    for name, value in ends[0]["state_dict"].items():
        assert torch.equal(value, ends[1]["state_dict"][name]), name
    grown = grown_in(ends[0])
    assert len(grown["recipe"]["source"]) > 0
    assert torch.equal(grown["recipe"]["parameter"], grown_in(ends[1])["recipe"]["parameter"])


def grown_in(value: Any) -> Any:
    """What the graph in a checkpoint grew by."""
    if not isinstance(value, dict):
        return None
    return value.get("grown") or next(filter(None, map(grown_in, value.values())), None)
