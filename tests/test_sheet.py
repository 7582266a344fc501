"""What is shown of candidates, in which order and in which words; and that nothing of it is cut."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from conftest import is_in, make_images, make_recipe, make_store
from hypothesis import given, settings, strategies as st
from PIL import Image
from torch import Tensor

from hardmine.callbacks import Pictures
from hardmine.callbacks.pictures import _classes as pictures_classes
from hardmine.candidates import Candidates
from hardmine.records import Recipe
from hardmine.report.caption import SIZE, font, lines, words
from hardmine.report.gallery import Gallery
from hardmine.report.prediction import color, draw_labels
from hardmine.report.sheet import COLUMNS, Shown, choice, sheet, show, swatch
from hardmine.scenes import Scenes
from hardmine.store import ParameterStore

TIMES = ("dusk", "dusk", "night", "night", "rain", "rain")


def make_candidates(
    scores: Sequence[float],
    pieces: Sequence[int],
    parents: Sequence[int] | None = None,
    store: ParameterStore | None = None,
    targets: Sequence[int] | None = None,
    size: tuple[int, int] = (24, 32),
    kind: str = "masks",
) -> Candidates:
    """Candidates as they are after the verdict; one row for each score."""
    n = len(scores)
    image, regions = make_images(n, size=size)
    store = store or make_store()
    row = torch.tensor(targets or [0] * n)
    recipe = make_recipe(n, store)
    recipe = store.recipe(recipe, row[:, None].expand(-1, store.regions), recipe.chosen)
    recipe = recipe.replace(piece=torch.tensor(pieces), parent=torch.tensor(parents or [-1] * n))
    source, converted = Scenes(image, regions, 3), Scenes(255 - image, regions, 3)
    made = Candidates(recipe, source, converted, torch.zeros(n), torch.arange(n), None, {})
    made.score = torch.tensor(scores)
    made.prediction = torch.nn.functional.one_hot(regions.long() % 3, 3).permute(0, 3, 1, 2).float()
    if kind == "classes":
        made.prediction = torch.eye(3)[torch.arange(n) % 3] * 9
    if kind == "boxes":
        box = torch.tensor([[4.0, 3.0, 20.0, 15.0]])
        made.prediction = [{"boxes": box, "scores": torch.tensor([0.9]), "labels": torch.tensor([1])}] * n
    return made


def nothing(row: int) -> Tensor | None:
    return None


# Which rows


def test_pieces_come_first_and_neighbours_before_first_parameters() -> None:
    """One row of each kind, hard ones and easier ones, in any order of the batch."""
    kinds = [
        ("neighbour, hard", 0.1, 5, 2),
        ("neighbour, less hard", 0.6, 6, 2),
        ("first, hard", 0.05, 7, -1),
        ("first, less hard", 0.5, 8, -1),
        ("no piece, hard", 0.01, -1, -1),
        ("no piece, a neighbour", 0.3, -1, 2),
        ("no piece, no score", float("nan"), -1, -1),
    ]
    for order in list(permutations(range(7)))[::97]:
        rows = [kinds[place] for place in order]
        made = make_candidates([row[1] for row in rows], [row[2] for row in rows], [row[3] for row in rows])
        assert [rows[place][0] for place in choice(made, 7)] == [kind[0] for kind in kinds]
        assert choice(made, 2) == choice(made, 7)[:2]


def test_a_default_sheet_shows_neighbours_however_many_candidates_there_are() -> None:
    made = make_candidates([0.1] * 8, [-1, 3, -1, -1, 4, -1, -1, 5], [-1, -1, -1, -1, -1, -1, -1, 2])
    assert choice(made, 4)[:3] == [7, 1, 4]


# What is said of a row


@pytest.mark.parametrize(
    ("piece", "parent", "said"),
    [
        (17, 9, "piece 17, neighbour of piece 9"),
        (18, -1, "piece 18, first parameter"),
        (-1, -1, "no piece"),
        (-1, 9, "no piece, neighbour of piece 9"),
        (0, 0, "piece 0, neighbour of piece 0"),
    ],
)
def test_a_row_says_what_it_is(piece: int, parent: int, said: str) -> None:
    assert show(make_candidates([0.5], [piece], [parent]), 0, make_store(), nothing).what == said


def test_the_captions_name_targets_and_the_environment() -> None:
    store = make_store(environment={"time": TIMES})
    made = make_candidates([0.5], [1], store=store, targets=[2])
    assert show(made, 0, store, nothing).captions[2:4] == ("target t2: no image", "converted to night")
    made.recipe = made.recipe.replace(target=torch.tensor([[4, 2, 4, -1]], dtype=torch.int32))
    assert show(made, 0, store, nothing).captions[2:4] == ("targets t4, t2: no image", "converted to rain")
    made.recipe = made.recipe.replace(target=torch.tensor([[4, -1, 4, -1]], dtype=torch.int32))
    assert show(made, 0, store, nothing).captions[2] == "target t4, and generated: no image"
    made.recipe = made.recipe.replace(target=torch.full((1, 4), -1, dtype=torch.int32))
    assert show(made, 0, store, nothing).captions[2:4] == ("generated", "converted to night")
    assert show(make_candidates([0.5], [1]), 0, make_store(), nothing).captions[3] == "converted"


def test_the_captions_tell_where_labels_have_moved() -> None:
    made = make_candidates([0.5, 0.5], [1, 2])
    moved = made.converted.regions.clone()
    moved[1, 10, 10] = (moved[1, 10, 10] + 1) % 3
    made.converted = made.converted.replace(made.converted.image, moved)
    still, other = (show(made, row, make_store(), nothing) for row in range(2))
    assert (still.captions[1], still.captions[3]) == ("index image", "converted")
    assert (other.captions[1], other.captions[3]) == ("index image, moved", "converted, and moved")
    assert np.array_equal(other.pictures[1], draw_labels(moved[1], (160, 120)))  # the prediction is compared with it


def test_what_has_no_target_image_is_blank_and_says_so() -> None:
    store, image = make_store(), torch.full((3, 10, 40), 77, dtype=torch.uint8)
    made = make_candidates([0.5, 0.5], [1, 2], targets=[0, 1])
    rows = [show(made, row, store, {0: image}.get) for row in range(2)]
    known, unknown = (row.pictures[2] for row in rows)
    assert [row.captions[2] for row in rows] == ["target t0", "target t1: no image"]
    assert (known == 77).all(-1).any() and (unknown != 77).any(-1).all()
    middle = known[len(known) // 2]
    assert (middle == 77).all()  # as wide as the column, and not stretched: the rest is ground
    assert (known == 77).all(-1).mean() == pytest.approx(1 / 3, abs=0.02)
    assert (unknown == unknown[0, 0]).all()


# The pictures


@pytest.mark.parametrize(("width", "shown"), [(32, 160), (96, 192), (159, 318), (160, 160), (512, 512), (1024, 512)])
def test_pictures_are_shown_a_whole_number_of_times_larger_or_smaller(width: int, shown: int) -> None:
    row = show(made := make_candidates([0.5], [1], size=(24, width)), 0, make_store(), nothing)
    assert {picture.shape for picture in row.pictures} == {(24 * shown // width, shown, 3)}
    if shown >= width:
        times = shown // width
        image, regions = made.source.image[0].permute(1, 2, 0).numpy(), made.source.regions[0].numpy()
        assert np.array_equal(row.pictures[0], image.repeat(times, 0).repeat(times, 1))
        labels, there = regions.repeat(times, 0).repeat(times, 1), row.pictures[1]
        assert all((there[labels == label] == color(label)).all() for label in range(3))
        void = there[labels == 255]
        assert {tuple(pixel) for pixel in void.tolist()} == {(0, 0, 0), (255, 255, 255)}  # hatched
    else:  # no colour between two areas
        colours = {*(tuple(color(label)) for label in (0, 1, 2, 255)), (255, 255, 255)}
        assert {tuple(pixel) for pixel in row.pictures[1].reshape(-1, 3).tolist()} <= colours


@pytest.mark.parametrize("kind", ["masks", "classes", "boxes"])
def test_predictions_of_every_kind_are_shown_beside_the_image(kind: str) -> None:
    row = show(make_candidates([0.5], [1], kind=kind), 0, make_store(), nothing, ("one", "two", "three"))
    converted, prediction = row.pictures[3:]
    assert prediction.shape == converted.shape and not np.array_equal(prediction, converted)
    assert (row.classes != frozenset()) == (kind == "masks")
    if kind == "boxes":  # at its place on the enlarged picture
        changed = (prediction != converted).any(-1)
        assert changed[:, 20].any() and changed[:, 100].any() and not changed[:10].any() and not changed[:, 110:].any()


def test_nothing_of_a_batch_stays_with_what_is_shown() -> None:
    made = make_candidates([0.5], [1])
    row = show(made, 0, make_store(), nothing)
    before = [picture.copy() for picture in row.pictures]
    made.source.image.zero_()
    made.converted.image.zero_()
    made.source.regions.zero_()
    for one, other in zip(before, row.pictures, strict=True):
        assert np.array_equal(one, other) and one.flags.owndata


# The sheet


def make_row(what: str = "no piece", captions: Sequence[str] = COLUMNS, width: int = 170) -> Shown:
    pictures = tuple(np.full((20, width, 3), 40 * number, np.uint8) for number in range(5))
    return Shown(what, 0.5, pictures, tuple(captions), frozenset({0, 2, 255}), frozenset({1}))


def test_a_sheet_has_every_picture_and_every_word() -> None:
    rows = [make_row("piece 3, first parameter"), make_row("no piece")]
    drawn = sheet(rows, "step 7: two of them", ("sky", "road", "tree"), ("cat", "dog"))
    assert all(is_in(drawn, picture) for row in rows for picture in row.pictures)
    for text in ("piece 3, first parameter: score 50%", "no piece: score 50%", *COLUMNS, "sky", "tree", "void", "dog"):
        written = words(text, round(font().getlength(text)) + 1)
        assert is_in(drawn, written), text
    assert is_in(drawn, words("step 7: two of them", 400, 17))
    for text in ("road", "cat"):  # neither is to be seen on it
        assert not is_in(drawn, words(text, round(font().getlength(text)) + 1)), text
    for label in (0, 2, 255, 1):
        assert is_in(drawn, swatch(label, SIZE))


def test_classes_that_are_the_areas_stand_in_the_legend_once() -> None:
    names = ("sky", "road", "tree")
    assert len(sheet([make_row()], "x", names, names)) < len(sheet([make_row()], "x", names, ("a", "b")))


def test_long_captions_go_on_in_the_next_line() -> None:
    captions = ("source", "index image", "target harbour_at_the_old_bridge_0000012 and another", "converted", "x")
    row = make_row(captions=captions)
    written = lines(captions[2], 170)
    assert len(written) > 1 and " ".join(written).split()[0] == "target"
    assert is_in(sheet([row], "x", ()), words(captions[2], 170))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abcdefgxyzWM_-0123", min_size=1, max_size=40), max_size=8), st.integers(30, 300))
def test_lines_lose_no_letter_and_are_not_too_wide(parts: list[str], width: int) -> None:
    text = " ".join(parts)
    made = lines(text, width)
    assert "".join(made).replace(" ", "") == text.replace(" ", "")
    assert all(font().getlength(line) <= width for line in made)
    for part in parts:  # a word that fits in a line is in one
        assert font().getlength(part) > width or any(part in line.split() for line in made)


# While training


def test_a_callback_says_how_much_of_how_many_it_shows(tmp_path: Path) -> None:
    from hardmine.mining import Mining

    mining = Mining(make_store(), areas=("area0", "area1", "area2"))
    pictures = Pictures("", rows=2, targets=[("t0", torch.zeros(3, 4, 4, dtype=torch.uint8), None, None)])
    pictures.mining = mining
    made = make_candidates([0.1, 0.2, 0.3], [4, -1, 5])
    drawn = pictures.sheet(made, step=12)
    assert is_in(drawn, words("step 12: 3 candidates, 2 pieces; 2 are shown", 600, 17))
    assert is_in(drawn, words("piece 5, first parameter: score 30%", 300))
    assert not is_in(drawn, words("no piece: score 20%", 200))


@pytest.mark.parametrize(
    ("classes", "names"),
    [(("cat", "dog"), ("cat", "dog")), (["cat"], ["cat"]), (7, ()), ("cat", ()), ([1, 2], ()), (None, ())],
)
def test_classes_of_a_stranger_may_be_anything(classes: object, names: object) -> None:
    module = L.LightningModule()
    module.classes = classes  # type: ignore[assignment]
    assert pictures_classes(module) == names


# The gallery of a search


def store_of_times() -> ParameterStore:
    return make_store(environment={"time": TIMES})


def gallery_after(store: ParameterStore, rounds: Sequence[Candidates], rows: int = 4, most: int = 12) -> Gallery:
    gallery = Gallery(store, nothing, rows=rows, most=most)
    for candidates in rounds:
        gallery.look(candidates)
    return gallery


def rounds_of(store: ParameterStore, seed: int, count: int = 12) -> tuple[list[Candidates], list[tuple[str, float]]]:
    """Rounds of four candidates, most of them pieces; and of all pieces the time and the score."""
    generator = torch.Generator().manual_seed(seed)
    rounds, found = [], []
    for number in range(count):
        scores = torch.rand(4, generator=generator).tolist()
        targets = torch.randint(6, (4,), generator=generator).tolist()
        pieces = [number * 4 + row if scores[row] < 0.8 else -1 for row in range(4)]
        made = make_candidates(scores, pieces, store=store, targets=targets, size=(4, 160))
        assert made.score is not None
        rounds.append(made)
        found += [(TIMES[targets[row]], float(made.score[row])) for row in range(4) if pieces[row] >= 0]
    return rounds, found


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_the_hardest_of_each_environment_are_kept_and_no_more(seed: int) -> None:
    store = store_of_times()
    rounds, found = rounds_of(store, seed)
    gallery = gallery_after(store, rounds, rows=3)
    for time in set(TIMES):
        scores = sorted(score for each, score in found if each == time)
        assert gallery.seen[(time,)] == len(scores)
        assert [row.score for row in gallery.kept.get((time,), [])] == scores[:3]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_few_environments_are_kept_and_the_hardest_piece_is_among_them(seed: int) -> None:
    store = store_of_times()
    rounds, found = rounds_of(store, seed)
    gallery = gallery_after(store, rounds, rows=3, most=2)
    hardest = {time: min(score for each, score in found if each == time) for time, _ in found}
    assert {cell[0] for cell in gallery.kept} == set(sorted(hardest, key=lambda time: hardest[time])[:2])
    for (time,), rows in gallery.kept.items():
        assert rows[0].score == hardest[time] and len(rows) <= 3
    assert gallery.told(len(found)) == f"pictures show 2 of {len(hardest)} environments, those whose pieces are hardest"


def test_the_sheets_of_a_search(tmp_path: Path) -> None:
    store = store_of_times()
    made = make_candidates([0.3, 0.1, 0.2, 0.9], [0, 1, 2, -1], store=store, targets=[0, 1, 2, 4])
    gallery = gallery_after(store, [made], rows=2)
    gallery.write(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dusk.png", "hardest.png", "night.png"]
    with Image.open(tmp_path / "hardest.png") as image:
        drawn = np.asarray(image)
    assert is_in(drawn, words("the 2 hardest of 3 pieces", 300, 17))
    first, second = (
        words(f"piece {piece}, first parameter: score {score}%", 300) for piece, score in ((1, 10), (2, 20))
    )
    assert is_in(drawn, first) and is_in(drawn, second) and gallery.told(3) is None
    with Image.open(tmp_path / "dusk.png") as image:
        assert is_in(np.asarray(image), words("dusk: the 2 hardest of 2 pieces", 300, 17))


def test_a_search_that_went_on_says_that_it_has_not_seen_all(tmp_path: Path) -> None:
    gallery = gallery_after(make_store(), [make_candidates([0.3], [5])])
    gallery.write(tmp_path, 6)
    with Image.open(tmp_path / "hardest.png") as image:
        title = words("the 1 hardest of 1 pieces found since the search went on (6 in all)", 600, 17)
        assert is_in(np.asarray(image), title)
    none = gallery_after(make_store(), [make_candidates([0.3], [-1])])
    none.write(tmp_path / "none", 6)
    assert not (tmp_path / "none").exists()
    assert none.told(6) == "no pictures: all pieces were found before this search went on" and none.told(0) is None


def test_environments_that_are_spelt_alike_have_sheets_of_their_own(tmp_path: Path) -> None:
    store = make_store(environment={"time": ["a/b", "a b", "a b", "..", "..", ".."]})
    made = make_candidates([0.3, 0.1, 0.2], [0, 1, 2], store=store, targets=[0, 1, 3])
    gallery_after(store, [made]).write(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["--.png", "a-b.png", "a-b_.png", "hardest.png"]


def test_recipes_of_a_search_are_not_changed() -> None:
    made = make_candidates([0.3], [5])
    before = Recipe.from_tensors({name: value.clone() for name, value in made.recipe.tensors().items()})
    gallery_after(make_store(), [made])
    assert all(torch.equal(value, getattr(before, name)) for name, value in made.recipe.tensors().items())
