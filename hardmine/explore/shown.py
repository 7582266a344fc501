"""What a light has come to, as a browser takes it: pictures, words, and a table of accuracies."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image
from torch import Tensor

from hardmine.explore.explorer import Explorer, Light, Opened
from hardmine.records import VOID, Recipe
from hardmine.report.page import color as heat, ink
from hardmine.report.picture import Picture
from hardmine.report.prediction import color
from hardmine.report.sheet import COLUMNS, Target, show

_DRAWN = (1, 4)  # of the columns, those of few colours
_QUALITY = 90  # of WebP


@dataclass(frozen=True)
class Found:
    """Of one image in one light.

    Attributes:
        pictures: a data URL of each of `COLUMNS`.
        captions: of each.
        accuracy: the sentence on the image as a whole.
        table: the areas, as HTML.
        score: recognition accuracy, NaN where there is none.
        clean: that of the image as it is.
        recipe: 1 row.
    """

    pictures: tuple[str, ...]
    captions: tuple[str, ...]
    accuracy: str
    table: str
    score: float
    clean: float
    recipe: Recipe


def found(explorer: Explorer, opened: Opened, light: Light, target: Target, classes: Sequence[str]) -> Found:
    """Put an image into a light, and show what came of it.

    Args:
        explorer: does it.
        opened, light: see there.
        target: images of the targets.
        classes: names of what is recognised.
    """
    made, verdict = explorer.converted(opened, light)
    recipe = made.recipe
    made.recipe = recipe.replace(target=light.target.where(light.chosen, -1).int()[None])  # whatever the strength
    shown = show(made, 0, explorer.store, target, classes)
    score, clean = float(verdict.score[0]), float(opened.clean.score[0])
    captions = list(shown.captions)
    if not recipe.counted.any():
        captions[2], captions[3] = COLUMNS[2], "nothing is converted"
    elif light.strength < 1:
        captions[3] += f", {light.strength:.0%} of the way"
    return Found(
        tuple(url(picture, column in _DRAWN) for column, picture in enumerate(shown.pictures)),
        tuple(captions),
        _sentence(clean, score),
        table(explorer.store.areas, opened, verdict.area_score[0], light.chosen, (clean, score))
        + legend(explorer.store.areas, classes, VOID in shown.areas),
        score,
        clean,
        recipe,
    )


def url(picture: Picture, drawn: bool) -> str:
    """A picture as it stands in a page; what is drawn keeps every pixel."""
    kept, kind = io.BytesIO(), "PNG" if drawn else "WEBP"
    Image.fromarray(picture).save(kept, kind, **({} if drawn else {"quality": _QUALITY}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(kept.getvalue()).decode()}"


def table(areas: Sequence[str], opened: Opened, after: Tensor, chosen: Tensor, whole: tuple[float, float]) -> str:
    """HTML: recognition accuracy of each area that the image has, and of the image, before and after.

    Args:
        areas: their names.
        opened: the image.
        after: (R,) accuracies in the light.
        chosen: (R,) bool, what was converted.
        whole: accuracy of the image before and after.
    """
    rows = []
    for label, name in enumerate(areas):
        if opened.present[label]:
            pair = float(opened.clean.area_score[0, label]), float(after[label])
            rows.append(_row(swatch(label) + escape(name), *pair, converted=bool(chosen[label])))
    rows.append(_row("image", *whole, converted=False))
    head = "".join(f'<th scope="col">{word}</th>' for word in ("area", "as it is", "converted", "change"))
    return (
        "<table><caption>recognition accuracy in %; areas in bold are converted</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def legend(areas: Sequence[str], classes: Sequence[str], void: bool) -> str:
    """HTML: what colours mean that the table does not tell."""
    entries = [swatch(VOID) + "void"] if void else []
    if tuple(classes) != tuple(areas):
        entries = [swatch(label) + escape(name) for label, name in enumerate(classes)] + entries
        entries = ["predicted:", *entries]
    return f'<p class="legend">{" ".join(f"<span>{entry}</span>" for entry in entries)}</p>' if entries else ""


def swatch(label: int) -> str:
    """HTML: a square of a label's colour; that of void is hatched."""
    red, green, blue = color(label)
    kind = "swatch void" if label == VOID else "swatch"
    return f'<i class="{kind}" style="background-color:rgb({red},{green},{blue})"></i>'


def _row(name: str, before: float, after: float, converted: bool) -> str:
    change = "" if before != before or after != after else f"{(after - before) * 100:+.1f}"
    head = f"<b>{name}</b>" if converted else name
    return f'<tr><th scope="row">{head}</th>{_cell(before)}{_cell(after)}<td>{change}</td></tr>'


def _cell(value: float) -> str:
    if value != value:
        return '<td class="none">none</td>'
    return f'<td style="background-color:{heat(value)};color:{ink(value)}">{value * 100:.1f}</td>'


def _sentence(clean: float, score: float) -> str:
    if score != score:
        return "Recognition accuracy: none, as the image has no labels that can be scored"
    if clean != clean:
        return f"Recognition accuracy {score:.1%}"
    return f"Recognition accuracy {clean:.1%} as it is, {score:.1%} converted"
