"""What each process tells the others, and the distributions that they find together."""

import multiprocessing
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest
import torch
from conftest import make_images
from hypothesis import given, settings, strategies as st
from torch import Tensor, distributed

from hardmine.ranks import Ranks, pooled
from hardmine.records import Distribution, Recipe
from hardmine.scenes import Scenes

COUNT = 3  # processes
CPU = torch.device("cpu")
CASES = [(regions, room) for regions in (2, 3, 4, 5, 12) for room in (1, 2, 3, 8)]
Shown = dict[str, str]  # what went wrong, by the name of the check


# What every process makes up alike


def recipe_of(rows: int, regions: int, generator: torch.Generator) -> Recipe:
    def numbers(*shape: int) -> Tensor:
        return torch.randint(-1, 1 << 62, shape, generator=generator)

    return Recipe(
        source=numbers(rows),
        draw=numbers(rows),
        chosen=numbers(rows, regions) % 2 > 0,
        present=numbers(rows, regions) % 2 > 0,
        parameter=torch.randn(rows, regions, 6, generator=generator),
        target=(numbers(rows, regions) % 99 - 1).int(),
        piece=numbers(rows),
        parent=numbers(rows),
        depth=numbers(rows),
    )


def told(regions: int, most: int, seed: int) -> list[tuple[Recipe, Tensor, Tensor]]:
    """Rows, scores and numbers of each rank; none to `most` of them."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(COUNT):
        rows, numbers = torch.randint(most + 1, (2,), generator=generator).tolist()
        scores = torch.rand(rows, regions + 2, generator=generator)
        scores[scores > 0.9] = torch.nan
        made.append((recipe_of(rows, regions, generator), scores, torch.randint(1 << 40, (numbers,))))
    for rank, (recipe, scores, numbers) in enumerate(made):
        made[rank] = recipe, scores, torch.arange(len(numbers)) + (rank << 40)
    return made


def colored(images: int, seed: int) -> Scenes:
    image, regions = make_images(images, seed=seed)
    regions[regions == seed % 3] = 255  # an area that is nowhere
    return Scenes(image, regions, 3)


# Three processes, once


def assert_told(ranks: Ranks, made: list[tuple[Recipe, Tensor, Tensor]], room: int) -> None:
    """What is read is what everyone made, rank after rank, as far as there is room."""
    recipe, scores, numbers = made[ranks.rank]
    parts, read, read_numbers = ranks.tell(recipe.tensors(), scores, numbers).read()
    assert len(parts) == COUNT
    for part, (expected, _, _) in zip(parts, made, strict=True):
        for name, value in expected[:room].tensors().items():
            assert part[name].dtype == value.dtype, name
            assert part[name].shape == value.shape, name
            assert part[name].numpy().tobytes() == value.numpy().tobytes(), name
    torch.testing.assert_close(
        read, torch.cat([theirs[:room] for _, theirs, _ in made]), rtol=0, atol=0, equal_nan=True
    )
    assert torch.equal(read_numbers, torch.cat([theirs[:room] for _, _, theirs in made]))


def check_told(regions: int, room: int) -> None:
    ranks = Ranks()
    assert ranks.room(room - ranks.rank, CPU) == room
    for seed in range(6):
        assert_told(ranks, told(regions, room, seed), room)


def check_room_for_the_first() -> None:
    """Where nobody asked for room before, there is as much as the largest rank has to tell of."""
    made = told(4, 9, seed=1)
    room = max(max(len(scores), len(numbers)) for _, scores, numbers in made)
    ranks = Ranks()
    assert_told(ranks, made, room)
    assert ranks.room(99, CPU) == room


def check_no_more_than_there_is_room() -> None:
    ranks = Ranks()
    ranks.room(2, CPU)
    for seed in range(4):
        assert_told(ranks, told(4, 5, seed), 2)


def check_a_part_of_rows() -> None:
    """Every third row, as tries are shared out: not one after the other in memory."""
    ranks = Ranks()
    ranks.room(2, CPU)
    for rows in (3, 6):
        every = recipe_of(rows, 4, torch.Generator().manual_seed(rows))
        made = [(every[rank::COUNT], torch.rand(rows // COUNT, 6), torch.arange(rank)) for rank in range(COUNT)]
        made = [(recipe, torch.full_like(scores, rank), n) for rank, (recipe, scores, n) in enumerate(made)]
        assert_told(ranks, made, 2)


def check_first() -> None:
    ranks = Ranks()
    own = {"weight": torch.full((2, 2), float(ranks.rank)), "seen": torch.tensor(7 - ranks.rank)}
    same = ranks.first(own)
    assert same["weight"].tolist() == [[0, 0], [0, 0]] and int(same["seen"]) == 7
    assert (own["weight"] == ranks.rank).all() and int(own["seen"]) == 7 - ranks.rank


def check_total() -> None:
    """Distributions of other numbers of pixels, in ranks that lack areas, are together those of all pixels."""
    parts = [colored(1 + rank, rank).measured("lab") for rank in range(COUNT)]
    ranks = Ranks()
    total = ranks.total(pooled([parts[ranks.rank]]), CPU)
    expected = pooled(parts)
    assert torch.equal(total.count, expected.count)
    torch.testing.assert_close(total.mean, expected.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(total.std, expected.std, rtol=1e-4, atol=1e-4)
    assert total.mean.dtype == total.std.dtype == torch.float32


CHECKS: Mapping[str, Callable[[], None]] = {
    **{f"{regions} regions, room for {room}": lambda r=regions, n=room: check_told(r, n) for regions, room in CASES},  # type: ignore[misc]
    "room for the first": check_room_for_the_first,
    "no more than there is room": check_no_more_than_there_is_room,
    "a part of rows": check_a_part_of_rows,
    "the first rank": check_first,
    "the pixels of all ranks": check_total,
}


def work(rank: int, folder: str) -> None:
    distributed.init_process_group(
        "gloo", f"file://{folder}/meet", timeout=timedelta(seconds=60), rank=rank, world_size=COUNT
    )
    shown: Shown = {}
    for name, check in CHECKS.items():
        try:
            check()
        except Exception as error:
            shown[name] = f"{type(error).__name__}: {error}"
    torch.save(shown, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[Shown]:
    """What went wrong in each process."""
    folder = tmp_path_factory.mktemp("ranks")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(rank, str(folder))) for rank in range(COUNT)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(COUNT)]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("name", list(CHECKS))
def test_three_processes(name: str, shown: list[Shown]) -> None:
    assert [rank.get(name) for rank in shown] == [None] * COUNT


# One process alone


def test_one_process_reads_what_it_told() -> None:
    ranks = Ranks()
    assert (ranks.rank, ranks.count) == (0, 1)
    recipe, scores = recipe_of(3, 4, torch.Generator().manual_seed(0)), torch.rand(3, 6)
    scores[1, 2] = torch.nan
    parts, read, numbers = ranks.tell(recipe.tensors(), scores, torch.tensor([5, 5, 7])).read()
    assert len(parts) == 1
    assert all(torch.equal(parts[0][name], value) for name, value in recipe.tensors().items())
    torch.testing.assert_close(read, scores, rtol=0, atol=0, equal_nan=True)
    assert numbers.tolist() == [5, 5, 7]


def test_one_process_has_nothing_to_agree_on() -> None:
    ranks, tensors = Ranks(), {"weight": torch.ones(2)}
    assert ranks.first(tensors) is tensors
    found = pooled([colored(2, 0).measured("lab")])
    assert ranks.total(found, CPU) is found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_scores_reach_the_cpu_before_they_are_read() -> None:
    scores = torch.rand(1000, 6)
    there = scores.cuda()
    told = Ranks().tell(recipe_of(1000, 4, torch.Generator()).tensors(), there, torch.arange(3))
    there.zero_()  # queued behind the copy
    _, read, _ = told.read()
    assert read.device == CPU and torch.equal(read, scores)


# Distributions


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(0, 100))
def test_pooled_is_the_distribution_of_all_pixels(batches: list[int], seed: int) -> None:
    """The same pixels as one image, one batch after the other."""
    scenes = [colored(images, seed + number) for number, images in enumerate(batches)]
    image = torch.cat([part.image.transpose(0, 1).flatten(1) for part in scenes], dim=1)
    regions = torch.cat([part.regions.flatten() for part in scenes])
    expected = Scenes(image[None, :, None], regions[None, None], 3).measured("lab")
    found = pooled([part.measured("lab") for part in scenes])
    assert len(found) == 1
    assert torch.equal(found.count, expected.count)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.std, expected.std, rtol=1e-3, atol=1e-2)


def test_pooled_by_hand() -> None:
    """Three pixels 0, 0, 6 and one pixel 10: mean 4, squares 136 / 4 - 16 = 18."""
    one = Distribution(torch.full((1, 1, 3), 2.0), torch.full((1, 1, 3), 8.0**0.5), torch.tensor([[3]]))
    other = Distribution(torch.full((1, 1, 3), 10.0), torch.zeros(1, 1, 3), torch.tensor([[1]]))
    for parts in ([one, other], [Distribution.cat([one, other])]):
        found = pooled(parts)
        assert found.count.tolist() == [[4]]
        assert found.mean[0, 0].tolist() == pytest.approx([4.0] * 3)
        assert found.std[0, 0].tolist() == pytest.approx([18**0.5] * 3)


def test_an_area_that_nobody_has_is_zero() -> None:
    nothing = Distribution(torch.zeros(2, 3, 3), torch.zeros(2, 3, 3), torch.zeros(2, 3, dtype=torch.int64))
    found = pooled([nothing, nothing])
    assert not found.mean.any() and not found.std.any() and not found.count.any()
    assert found.count.dtype == torch.int64 and found.mean.dtype == torch.float32


def test_many_pixels_are_counted_exactly() -> None:
    """More than float32 can count, of one color: the deviation stays nought."""
    count = torch.full((64, 1), (1 << 30) + 1)
    found = pooled([Distribution(torch.full((64, 1, 3), 71.3), torch.zeros(64, 1, 3), count)])
    assert int(found.count) == 64 * ((1 << 30) + 1)
    assert found.mean[0, 0].tolist() == pytest.approx([71.3] * 3)
    assert found.std.max() < 1e-3
