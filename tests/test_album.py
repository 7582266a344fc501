"""Which candidates an album holds, and that it is read as it was written."""

from pathlib import Path

import pytest
import torch
from conftest import make_recipe, make_store

from hardmine.errors import InputError
from hardmine.records import Recipe, Verdict
from hardmine.report.album import Entry, choose, read_album, write_album
from hardmine.store import ParameterStore

TIMES = ("dusk", "dusk", "night", "night", "rain", "rain")


def tried(store: ParameterStore, count: int, seed: int = 0) -> tuple[Recipe, Verdict]:
    """Candidates of any targets, half of them pieces, with any scores."""
    generator = torch.Generator().manual_seed(seed)
    recipe = make_recipe(count, store)
    target = torch.randint(len(store), (count,), generator=generator)
    recipe = store.recipe(recipe, target[:, None].expand(-1, store.regions), recipe.chosen)
    piece = torch.arange(count).masked_fill(torch.arange(count) % 2 == 1, -1)
    area = torch.rand(count, store.regions, generator=generator)
    score = area.mean(1)
    step = torch.arange(count) // 4
    return recipe.replace(piece=piece), Verdict(score, area, piece >= 0, torch.full_like(piece, -1), step, score)


@pytest.mark.parametrize("seed", range(5))
def test_the_hardest_of_each_environment_and_area_are_chosen(seed: int) -> None:
    store = make_store(environment={"time": TIMES})
    recipe, verdict = tried(store, 400, seed)
    rows = choose(recipe, verdict, store, most=60)
    assert len(rows) == len(set(rows.tolist())) <= 60
    assert verdict.score[rows].tolist() == sorted(verdict.score[rows].tolist())
    time = [TIMES[target] for target in recipe.target[:, 0].tolist()]
    for where in set(TIMES):
        mine = torch.tensor([each == where for each in time]) & (recipe.piece >= 0)
        for area in range(store.regions - 1):
            hardest = int(verdict.area_score[:, area].masked_fill(~mine, 2).argmin())
            assert hardest in rows


def test_the_latest_of_each_point_of_the_graph_is_chosen() -> None:
    store = make_store(environment={"time": TIMES})
    recipe, verdict = tried(store, 400)
    rows = set(choose(recipe, verdict, store, most=60).tolist())
    for target in range(len(store)):
        assert int((recipe.target[:, 0] == target).nonzero().max()) in rows


@pytest.mark.parametrize("count", [0, 1, 7])
def test_few_candidates_are_all_chosen_or_none_is_there(count: int) -> None:
    store = make_store()
    recipe, verdict = tried(store, count)
    rows = choose(recipe, verdict, store)
    assert set(rows.tolist()) <= set(range(count)) and (len(rows) > 0) == (count > 0)


def test_what_cannot_be_scored_and_what_is_not_converted_is_not_hard() -> None:
    store = make_store()
    recipe, verdict = tried(store, 8)
    verdict.area_score[0], verdict.score[0] = torch.nan, torch.nan
    plain = recipe.replace(chosen=torch.zeros_like(recipe.chosen), piece=torch.full_like(recipe.piece, -1))
    assert len(choose(plain, verdict, store)) == 0
    assert choose(recipe, verdict, store, most=1).tolist() != [0]


def test_an_album_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "album.parquet"
    assert read_album(path) == ([], [], [])
    entry = Entry("piece 1", "night", ["sky"], [], 0.5, 3, ["source a"], ["t0/sky"], ["source"], [b"RIFF"])
    write_album(path, [entry], ["sky", "road"], ["cat"])
    assert read_album(path) == ([entry], ["sky", "road"], ["cat"])
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"album\.parquet: is damaged"):
        read_album(path)
