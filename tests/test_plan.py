"""Which rows of a batch become pieces: a share of them, drawn by chance, each on the row's own source."""

from math import ceil, floor

import pytest
import torch
from conftest import make_images, make_recipe, make_store
from hypothesis import given, settings, strategies as st

from hardmine.memory.buffer import RecipeBuffer
from hardmine.plan import Mix, Plan, pieces_of, planned
from hardmine.records import Recipe, Verdict
from hardmine.scenes import Scenes

STORE = make_store()
AXES = len(STORE.space)


def filled(pieces: int, **limits: int) -> RecipeBuffer:
    """Pieces of sources 1000 onwards, each with a parameter of its own."""
    buffer, score = RecipeBuffer(**limits), torch.zeros(pieces)
    recipe = Recipe.cat([make_recipe(1, STORE, target=piece % len(STORE)) for piece in range(pieces)])
    numbers = torch.arange(1000, 1000 + pieces)
    recipe = recipe.replace(source=numbers, draw=numbers, depth=numbers, present=~recipe.present)
    none = torch.full((pieces,), -1)
    buffer.admit(recipe, Verdict(score, score[:, None].expand(-1, 4), score < 0.7, none, none + 1, -score))
    return buffer


def clean(rows: int) -> Recipe:
    return Recipe.clean(torch.arange(rows) + 50, torch.arange(rows) + 70, STORE.regions, AXES)


def rows_of(buffer: RecipeBuffer, rows: int = 8, mined: float = 0.5, number: int = 0, seed: int = 0) -> Recipe:
    return pieces_of(buffer, clean(rows), Mix(mined), firsts, step=0, seed=seed, number=number)


def same(one: Recipe, other: Recipe) -> bool:
    return all(torch.equal(value, other.tensors()[name]) for name, value in one.tensors().items())


# Rows as they are


def test_rows_are_what_the_batch_says() -> None:
    image, regions = make_images(3)
    numbered = Scenes(image, regions, 3, source=torch.tensor([4, 9, 2]), draw=torch.tensor([7, 1, 7]))
    rows = planned(numbered, 4, 6, seed=0, number=5)
    assert (rows.source.tolist(), rows.draw.tolist()) == ([4, 9, 2], [7, 1, 7])
    assert not rows.chosen.any() and (rows.piece == -1).all() and (rows.parent == -1).all()
    assert not len(Plan(rows).pieces)


def test_rows_that_nobody_numbered_get_draws_of_their_own() -> None:
    scenes = Scenes(*make_images(3), 3)
    drawn = [planned(scenes, 4, 6, seed, number) for seed in (0, 1) for number in range(20)]
    assert all((rows.source == -1).all() for rows in drawn)
    assert len({draw for rows in drawn for draw in rows.draw.tolist()}) == 3 * 40
    assert same(drawn[7], planned(scenes, 4, 6, 0, 7))


# How many


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 16), st.floats(0, 1), st.integers(0, 1000))
def test_a_share_of_the_rows_are_pieces(rows: int, mined: float, number: int) -> None:
    wanted = mined * rows
    made = rows_of(filled(20), rows, mined, number)
    assert len(made) == rows
    assert floor(wanted) <= len(Plan(made).pieces) <= ceil(wanted)


@pytest.mark.parametrize(
    ("rows", "mined", "mean"), [(5, 0.3, 1.5), (4, 0.2, 0.8), (1, 0.5, 0.5), (1, 0.2, 0.2), (3, 0.75, 2.25)]
)
def test_what_is_left_of_a_row_is_one_with_that_chance(rows: int, mined: float, mean: float) -> None:
    buffer = filled(20)
    found = [len(Plan(rows_of(buffer, rows, mined, number)).pieces) for number in range(1000)]
    assert abs(sum(found) / 1000 - mean) < 0.065  # 4 deviations
    assert set(found) == {floor(mean), ceil(mean)}


@pytest.mark.parametrize(("pieces", "expected"), [(1, 1), (3, 3), (4, 4), (9, 4)])
def test_as_many_as_there_are(pieces: int, expected: int) -> None:
    made = rows_of(filled(pieces))
    numbers = made.piece[made.piece >= 0].tolist()
    assert len(set(numbers)) == len(numbers) == len(Plan(made).pieces) == expected


def test_nothing_changes_without_pieces_or_a_share() -> None:
    for buffer, mined in ((RecipeBuffer(), 0.5), (filled(9), 0.0)):
        assert same(rows_of(buffer, 8, mined), clean(8))


def test_all_rows_may_be_pieces() -> None:
    assert len(Plan(rows_of(filled(20), 8, 1.0)).pieces) == 8


def test_what_was_scored_too_long_ago_is_no_piece() -> None:
    buffer = filled(9, max_age=10)
    assert len(Plan(pieces_of(buffer, clean(8), Mix(0.5), firsts, step=10, seed=0, number=0)).pieces) == 4
    assert not len(Plan(pieces_of(buffer, clean(8), Mix(0.5), firsts, step=11, seed=0, number=0)).pieces)


# Which


def test_every_row_is_a_piece_as_often_as_another() -> None:
    """Labelled targets, the last rows of hardmine's own batches, among them."""
    buffer, found = filled(20), torch.zeros(8)
    for number in range(2000):
        found[Plan(rows_of(buffer, 8, 0.5, number)).pieces] += 1
    assert (found - 1000).abs().max() < 100  # 4.5 deviations


def test_every_piece_is_drawn_as_often_as_another() -> None:
    buffer, found = filled(8), torch.zeros(8)
    for number in range(2000):
        made = rows_of(buffer, 8, 0.5, number)
        found[made.piece[made.piece >= 0]] += 1
    assert (found - 1000).abs().max() < 100


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 12), st.sampled_from([0.5, 0.75, 1.0]))
def test_a_piece_is_a_light_on_the_rows_own_source(number: int, rows: int, mined: float) -> None:
    buffer, before = filled(20), clean(rows)
    made = rows_of(buffer, rows, mined, number)
    for name in ("source", "draw", "present"):
        assert torch.equal(getattr(made, name), getattr(before, name)), name
    assert buffer.recipe is not None
    there = Plan(made).pieces
    light = buffer.recipe[made.piece[there]]
    for name in ("chosen", "parameter", "target", "piece", "parent", "depth"):
        assert torch.equal(getattr(made[there], name), getattr(light, name)), name
    others = torch.ones(rows, dtype=torch.bool)
    others[there] = False
    assert same(made[others], before[others])


def test_a_draw_depends_on_seed_and_number_alone() -> None:
    buffer = filled(20)
    torch.manual_seed(0)
    made = rows_of(buffer, number=3, seed=5)
    torch.manual_seed(1)
    chance = torch.get_rng_state()
    assert same(made, rows_of(buffer, number=3, seed=5))
    assert torch.equal(chance, torch.get_rng_state())
    others = [rows_of(buffer, number=4, seed=5), rows_of(buffer, number=3, seed=6)]
    assert not any(torch.equal(made.piece, other.piece) for other in others)
    assert not torch.equal(others[0].piece, others[1].piece)


def test_a_plan_counts_no_replay() -> None:
    """Ranks plan on their own; `RecipeBuffer.replayed` is told by all of them."""
    buffer = filled(4)
    rows_of(buffer)
    assert not buffer.replays.any()


def test_the_rows_of_a_plan_that_are_converted() -> None:
    rows = Recipe.cat([clean(2), make_recipe(1, STORE), clean(1), make_recipe(1, STORE)])
    assert Plan(rows).pieces.tolist() == [2, 4]


# Rows without a piece


def firsts(rows: Recipe, generator: torch.Generator) -> Recipe:
    """First parameters, told from pieces by their depth."""
    chosen = torch.ones(len(rows), STORE.regions, dtype=torch.bool)
    target = torch.randint(len(STORE), (len(rows), 1), generator=generator)
    made = STORE.recipe(rows, target.expand(-1, STORE.regions), chosen)
    return made.replace(depth=torch.full((len(rows),), -7))


def stood_in(pieces: int, stand_ins: float, number: int = 0, mined: float = 0.5) -> tuple[int, int]:
    """Pieces and stand-ins among eight rows."""
    buffer = filled(pieces) if pieces else RecipeBuffer()
    rows = pieces_of(buffer, clean(8), Mix(mined, stand_ins=stand_ins), firsts, step=0, seed=0, number=number)
    assert torch.equal(rows.source, clean(8).source) and torch.equal(rows.draw, clean(8).draw)
    first = rows.depth == -7
    assert (rows.piece[first] == -1).all() and rows.chosen[first].any(1).all()
    return int((rows.piece >= 0).sum()), int(first.sum())


@pytest.mark.parametrize(
    ("pieces", "stand_ins", "found"),
    [
        (20, 0.5, (2, 2)),
        (1, 0.5, (1, 3)),
        (0, 0.5, (0, 4)),
        (0, 0.01, (0, 4)),
        (20, 1.0, (0, 4)),
        (20, 0.0, (4, 0)),
        (1, 0.0, (1, 0)),
    ],
)
def test_first_parameters_stand_in_for_pieces(pieces: int, stand_ins: float, found: tuple[int, int]) -> None:
    assert stood_in(pieces, stand_ins, number=1) == found


def test_a_share_of_stand_ins_holds_on_average() -> None:
    found = [stood_in(20, 0.3, number) for number in range(200)]
    assert {sum(both) for both in found} == {4}
    assert sum(first for _, first in found) / 200 == pytest.approx(1.2, abs=0.1)


def test_no_row_stands_in_where_none_is_mined() -> None:
    assert stood_in(20, 0.5, mined=0.0) == (0, 0)


def test_a_piece_is_not_put_where_none_of_its_areas_is() -> None:
    buffer = filled(4)
    there = clean(8).replace(present=torch.zeros(8, 4, dtype=torch.bool))
    rows = pieces_of(buffer, there, Mix(0.5), firsts, step=0, seed=0, number=0)
    assert same(rows, there)


def test_rows_know_the_areas_of_their_image() -> None:
    image, regions = make_images(3)
    regions[0][regions[0] == 1] = 255
    regions[1] = 255
    rows = planned(Scenes(image, regions, 3), 4, 6, seed=0, number=0)
    wanted = [[(regions[row] == area).any().item() for area in range(3)] for row in range(3)]
    assert rows.present[:, :3].tolist() == wanted
    assert rows.present[:, 3].tolist() == [any(areas) for areas in wanted] and not rows.present[1].any()
