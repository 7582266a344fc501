"""Drops: what a parameter does to the score is told from what its image does."""

import io

import pytest
import torch
from conftest import make_store
from torch import Tensor

from hardmine.memory.drops import Drops
from hardmine.miner import Miner
from hardmine.neighbourhood import Random
from hardmine.records import Recipe

STORE = make_store(targets=20)
NONE = torch.zeros(0)


def tried(source: Tensor, target: Tensor) -> Recipe:
    """One candidate for each source, all of its areas in the light of one target or, (N, R), of one each."""
    rows = Recipe.clean(source, torch.arange(len(source)), STORE.regions, 6)
    chosen = torch.ones(len(source), STORE.regions, dtype=torch.bool)
    chosen[:, -1] = False
    return STORE.recipe(rows, target if target.ndim == 2 else target[:, None].expand(-1, STORE.regions), chosen)


def looked(drops: Drops, source: Tensor, target: Tensor, score: Tensor) -> Tensor:
    return drops.look(tried(source, target), score, torch.zeros(len(score), dtype=torch.float32))


def planted(noise: float, sources: int = 30, seed: int = 0, steps: int = 200) -> tuple[Drops, Tensor]:
    """After a search in which pictures differ more than parameters do."""
    chance = torch.Generator().manual_seed(seed)
    picture, light = torch.randn(sources, generator=chance) * 0.05, torch.randn(20, generator=chance) * 0.02
    drops = Drops(20)
    for _ in range(steps):
        source, target = (torch.randint(n, (8,), generator=chance) for n in (sources, 20))
        score = 0.9 + picture[source] - light[target] + noise * torch.randn(8, generator=chance)
        looked(drops, source, target, score)
    return drops, light - light.mean()


@pytest.mark.parametrize("seed", range(3))
def test_drops_of_parameters_are_found_under_pictures_that_differ_more(seed: int) -> None:
    drops, truth = planted(noise=0.01, seed=seed)
    assert torch.corrcoef(torch.stack([drops.drop, truth]))[0, 1] > 0.95
    assert torch.allclose(drops.drop - drops.drop.mean(), truth, atol=0.02)


def test_a_difficult_picture_does_not_make_its_parameters_hard() -> None:
    """Source 0 always scores lowest; target 7 lowers every score a little."""
    chance, drops, latest = torch.Generator().manual_seed(1), Drops(20), []
    for _ in range(100):
        source, target = (torch.randint(n, (8,), generator=chance) for n in (10, 20))
        score = 0.9 - 0.5 * (source == 0) - 0.05 * (target == 7)
        drop = looked(drops, source, target, score)
        latest += [(float(value), int(t), int(s)) for value, t, s in zip(drop, target, source, strict=True)]
    hardest = sorted(latest[-400:], reverse=True)[:10]
    assert {target for _, target, _ in hardest} == {7}
    assert any(source != 0 for _, _, source in hardest)


def test_the_first_search_compares_scores_alone() -> None:
    drop = looked(Drops(20), torch.arange(4), torch.arange(4), torch.tensor([0.9, 0.5, 0.7, 0.7]))
    assert drop.argsort().tolist()[0] == 0 and drop.argmax() == 1
    assert drop[2] == drop[3] == pytest.approx(0.0, abs=1e-6)


def test_a_rare_parameter_is_drawn_towards_no_drop() -> None:
    drops = Drops(20)
    for _ in range(5):
        looked(drops, torch.tensor([-1, -1]), torch.tensor([0, 1]), torch.tensor([0.4, 0.8]))
    both = looked(drops, torch.tensor([-1, -1]), torch.tensor([0, 2]), torch.tensor([0.4, 0.4]))
    assert both[0] > both[1] > 0


def test_a_neighbour_begins_where_its_piece_stood() -> None:
    generated = tried(torch.tensor([-1, -1]), torch.tensor([0, 0]))
    generated = generated.replace(target=torch.full_like(generated.target, -1))
    drop = Drops(20).look(generated, torch.tensor([0.5, 0.5]), torch.tensor([0.3, 0.0]))
    assert drop.tolist() == pytest.approx([0.2, 0.0])


def test_areas_with_parameters_of_their_own_share_the_drop() -> None:
    """Two of three areas are of target 0, which lowers the score; target 3 always goes with an area of it."""
    drops = Drops(20)
    target = torch.tensor([[0, 0, 3, -1], [1, 1, 2, -1]])
    for _ in range(30):
        looked(drops, torch.tensor([-1, -1]), target, torch.tensor([0.3, 0.9]))
    assert drops.drop[0] == drops.drop[3] > 0 > drops.drop[1]
    assert drops.count[0] == pytest.approx(2 * float(drops.count[3]), rel=0.5) and drops.count[4:].sum() == 0


def test_what_could_not_be_scored_teaches_nothing() -> None:
    drops, nan = Drops(20), float("nan")
    first = looked(drops, torch.tensor([1, 2]), torch.tensor([0, 1]), torch.tensor([nan, nan]))
    assert first.isnan().all() and not drops.count.any() and not drops.sources
    some = looked(drops, torch.tensor([1, 2]), torch.tensor([0, 1]), torch.tensor([nan, 0.4]))
    assert some.isnan().tolist() == [True, False] and list(drops.sources) == [2]


def test_sources_that_nobody_numbered_and_huge_numbers() -> None:
    drops = Drops(20)
    looked(drops, torch.tensor([-1, 2**40]), torch.tensor([0, 1]), torch.tensor([0.1, 0.9]))
    assert list(drops.sources) == [2**40]


def test_another_default_dtype_changes_nothing() -> None:
    ask = torch.tensor([1, 2, 1]), torch.tensor([3, 3, 4]), torch.tensor([0.5, 0.7, 0.9])
    usual = looked(Drops(20), *ask)
    try:
        torch.set_default_dtype(torch.float64)
        other = looked(Drops(20), *ask)
    finally:
        torch.set_default_dtype(torch.float32)
    assert other.dtype == torch.float32 and torch.equal(usual, other)


def test_the_state_brings_everything_back() -> None:
    drops, again, file = planted(0.01, steps=20)[0], Drops(20), io.BytesIO()
    torch.save(drops.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    ask = torch.tensor([1, 2, 70]), torch.tensor([3, 3, 4]), torch.tensor([0.5, 0.7, 0.9])
    assert torch.equal(looked(drops, *ask), looked(again, *ask))
    assert drops.sources == again.sources and torch.equal(drops.count, again.count)


def test_a_search_without_th1_finds_the_hard_parameters_where_the_model_is_good_on_all() -> None:
    """95 % of every picture is easy background: no score is below 0.9, and pictures differ more than parameters."""
    chance = torch.Generator().manual_seed(0)
    miner = Miner(STORE, Random(), hardest=0.1)
    picture = 0.96 + 0.02 * torch.randn(40, generator=chance)
    targets = []
    for step in range(200):
        rows = Recipe.clean(torch.randint(40, (8,), generator=chance), torch.arange(8), STORE.regions, 6)
        tries = miner.propose(rows, step)
        score = picture[tries.source] - 0.01 * (tries.target[:, 0] < 3)
        made, verdict = miner.admit(tries, score, score[:, None].expand(-1, 4), torch.full((8,), -1))
        if step >= 100:
            targets += made.target[verdict.hard, 0].tolist()
    assert len(targets) > 40
    assert sum(target < 3 for target in targets) > 0.9 * len(targets)
