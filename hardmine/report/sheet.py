"""A sheet for a person to look at: a row for each candidate, what it was made of and what came of it (R10)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from hardmine.candidates import Candidates
from hardmine.neighbourhood.cells import environments
from hardmine.records import VOID, Recipe
from hardmine.report.caption import font, size_for, words
from hardmine.report.picture import Picture
from hardmine.report.prediction import draw_labels, draw_prediction
from hardmine.space import COLORS
from hardmine.store import ParameterStore

COLUMNS = ("source", "index image", "target", "converted", "prediction")
Target = Callable[[int], Tensor | None]
"""Image (3, H, W) uint8 of a row of the store; None where there is none."""

_NARROW, _WIDE = 160, 512  # pixels; narrower pictures are enlarged, wider ones reduced
_GAP, _MARGIN = 6, 10  # pixels
_BLANK, _EDGE, _PIECE = (230, 230, 230), (90, 90, 90), (213, 94, 0)
_READ = (
    "score: recognition accuracy of the prediction; target: what was asked for (generated: colours of no target); "
    "converted: what came"
)
_PIECES = "; piece (filled square): hard enough to be trained on"


@dataclass(frozen=True)
class Shown:
    """One candidate, of plain numbers, words and arrays: nothing of a batch or a device stays with it.

    Attributes:
        what: whether it is a piece, and of which parameter.
        score: recognition accuracy in [0, 1].
        pictures: of each of `COLUMNS`, all of one size.
        captions: of each picture.
        areas: labels in the index image; 255 where there is void.
        classes: that are painted in the prediction.
    """

    what: str
    score: float
    pictures: tuple[Picture, ...]
    captions: tuple[str, ...]
    areas: frozenset[int]
    classes: frozenset[int]


def choice(candidates: Candidates, most: int) -> list[int]:
    """Rows to look at: pieces before others, of pieces neighbours before first parameters, and the hardest first.

    Args:
        candidates: scored.
        most: rows at most.
    """
    assert candidates.score is not None
    recipe = candidates.recipe
    scores = candidates.score.nan_to_num(2.0).tolist()  # what could not be scored comes last
    pieces, neighbours = (recipe.piece >= 0).tolist(), (recipe.parent >= 0).tolist()
    order = sorted(range(len(recipe)), key=lambda i: (not pieces[i], pieces[i] and not neighbours[i], scores[i]))
    return order[:most]


def show(candidates: Candidates, row: int, store: ParameterStore, target: Target, classes: Sequence[str] = ()) -> Shown:
    """A candidate as it is looked at.

    Pictures narrower than 160 pixels are enlarged by a whole number, pixel by pixel; wider ones than 512 are reduced.

    Args:
        candidates: scored.
        row: which of them.
        store: the targets.
        target: their images.
        classes: names of what is recognised; numbers where there are none.
    """
    assert candidates.prediction is not None and candidates.score is not None
    recipe, source = candidates.recipe[row : row + 1], int(candidates.of[row])
    regions, image = candidates.source.regions[source].cpu(), candidates.converted.image[row]
    size = _size(*regions.shape)
    converted = _photograph(image, size)
    aim, picture = _aim(recipe.target[0][recipe.counted[0]].tolist(), store, target, size)
    environment = " ".join(environments(recipe, store)[0].values())
    became = f"converted to {environment}" if environment else COLUMNS[3]
    areas = COLUMNS[1]
    if not torch.equal(moved := candidates.converted.regions[row].cpu(), regions):  # to be compared with the prediction
        regions, areas, became = moved, f"{areas}, moved", f"{became}, and moved"
    score, painted = float(candidates.score[row]), frozenset[int]()
    if isinstance(candidates.prediction, Tensor) and candidates.prediction.ndim == 4:
        painted = frozenset(torch.unique(candidates.prediction[row].argmax(0)).tolist())
    return Shown(
        _what(recipe),
        score,
        (
            _photograph(candidates.source.image[source], size),
            draw_labels(regions, size),
            picture,
            converted,
            draw_prediction(candidates.prediction, row, converted, classes, size[0] / image.shape[2]),
        ),
        (COLUMNS[0], areas, aim, became, COLUMNS[4]),
        frozenset(torch.unique(regions).tolist()),
        painted,
    )


def sheet(rows: Sequence[Shown], title: str, areas: Sequence[str], classes: Sequence[str] = ()) -> Picture:
    """(height, width, 3) uint8: the title, the rows, and which colours mean what.

    Args:
        rows: with pictures of one size, at least one.
        title: what is to be seen.
        areas: names of the areas in label order.
        classes: names of what is recognised.
    """
    width = sum(picture.shape[1] + _GAP for picture in rows[0].pictures) - _GAP
    size = size_for(rows[0].pictures[0].shape[1])
    strips = [words(title, width, size + 4)]
    for row in rows:
        pairs = zip(row.captions, row.pictures, strict=True)
        columns = [words(caption, each.shape[1], size) for caption, each in pairs]
        strips += [space(width), _heading(row, width, size), beside(columns), beside(row.pictures)]
    in_areas = sorted(frozenset[int]().union(*(row.areas for row in rows)))
    in_classes = sorted(frozenset[int]().union(*(row.classes for row in rows)))
    legends = [("areas", in_areas, areas), ("predicted classes", in_classes, classes)]
    if tuple(areas) == tuple(classes):
        legends = [("areas and predicted classes", sorted({*in_areas, *in_classes}), areas)]
    for what, labels, names in legends:
        if labels:
            strips += [space(width), legend(what, labels, names, width, size)]
    of_pieces = any(_piece(row) is not None for row in rows)
    strips += [space(width), words(_READ + (_PIECES if of_pieces else ""), width, size)]
    margin = ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0))
    return np.pad(np.concatenate(strips), margin, constant_values=255)


def _heading(row: Shown, width: int, size: int) -> Picture:
    """What a row is and its score, behind a square that is filled where it is a piece."""
    score = "no score" if row.score != row.score else f"score {row.score:.0%}"
    said = f"{row.what}: {score}"
    piece = _piece(row)
    if piece is None:
        return words(said, width, size)
    square = np.full((size, size, 3), _EDGE, np.uint8)
    square[2:-2, 2:-2] = _PIECE if piece else 255
    return beside([square, words(said, width - size - _GAP, size)])


def _piece(row: Shown) -> bool | None:
    """Whether a row is a piece; None where it does not say."""
    return True if row.what.startswith("piece ") else False if row.what.startswith("no piece") else None


def _what(recipe: Recipe) -> str:
    piece, parent = int(recipe.piece), int(recipe.parent)
    if parent >= 0:
        return f"{f'piece {piece}' if piece >= 0 else 'no piece'}, neighbour of piece {parent}"
    return f"piece {piece}, first parameter" if piece >= 0 else "no piece"


def _aim(targets: list[int], store: ParameterStore, target: Target, size: tuple[int, int]) -> tuple[str, Picture]:
    """Words and picture of where the colours come from; of several targets the most frequent one is shown."""
    blank = np.full((size[1], size[0], 3), _BLANK, np.uint8)
    rows = [row for row, _ in Counter(row for row in targets if row >= 0).most_common()]
    if not rows:
        return "generated", blank
    generated = ", and generated" if -1 in targets else ""
    colors = {axis.name for known in COLORS.values() for axis in known.axes}
    kind = "target" if colors & set(store.space.names) else "parameter"
    caption = f"{kind}{'s' if len(rows) > 1 else ''} {', '.join(store.ids[row] for row in rows)}{generated}"
    image = target(rows[0])
    if image is None:
        return f"{caption}: no image" if kind == "target" else caption, blank
    photograph = Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
    return caption, np.asarray(ImageOps.pad(photograph, size, Image.Resampling.BILINEAR, color=_BLANK))


def _size(height: int, width: int) -> tuple[int, int]:
    """Width and height at which a picture is shown, a whole number of times larger or smaller."""
    if width < _NARROW:
        times = -(-_NARROW // width)
        return width * times, height * times
    part = -(-width // _WIDE)
    return width // part, max(1, height // part)


def _photograph(image: Tensor, size: tuple[int, int]) -> Picture:
    picture = Image.fromarray(image.permute(1, 2, 0).cpu().numpy())
    smaller = size[0] < picture.width
    return np.asarray(picture.resize(size, Image.Resampling.BOX if smaller else Image.Resampling.NEAREST))


def beside(pictures: Sequence[Picture]) -> Picture:
    """Pictures next to each other, at the top, with gaps."""
    height = max(len(picture) for picture in pictures)
    columns: list[Picture] = []
    for picture in pictures:
        gap = _GAP if columns else 0
        columns.append(np.pad(picture, ((0, height - len(picture)), (gap, 0), (0, 0)), constant_values=255))
    return np.concatenate(columns, axis=1)


def space(width: int) -> Picture:
    return np.full((_MARGIN, width, 3), 255, np.uint8)


def swatch(label: int, size: int) -> Picture:
    """A square of a label's colour; that of void is hatched."""
    return draw_labels(torch.full((size, size), label), (size, size))


def legend(what: str, labels: Sequence[int], names: Sequence[str], width: int, size: int) -> Picture:
    """A coloured square and a name for each label, in as many lines as that takes."""
    heading = f"{what}:"
    entries = [words(heading, round(font(size).getlength(heading)) + _GAP, size)]
    for label in labels:
        name = "void" if label == VOID else names[label] if label < len(names) else str(label)
        word = words(name, min(round(font(size).getlength(name)) + 1, width - size - _GAP), size)
        entries.append(beside([swatch(label, size), word, np.full((1, _MARGIN, 3), 255, np.uint8)]))
    rows: list[list[Picture]] = [[]]
    for entry in entries:
        if rows[-1] and sum(each.shape[1] + _GAP for each in rows[-1]) + entry.shape[1] > width:
            rows.append([])
        rows[-1].append(entry)
    strips = [beside(row) for row in rows]
    return np.concatenate(
        [np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=255) for strip in strips]
    )
