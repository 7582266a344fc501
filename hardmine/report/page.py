"""One HTML file of a run, a search, an evaluation or a sweep, or of two side by side; it needs no network."""

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import ceil, floor, isfinite, log10
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import colormaps
from PIL import Image

from hardmine.files import write_atomically
from hardmine.records import VOID
from hardmine.report.album import Entry
from hardmine.report.graph import EXPLAINED, SCALE
from hardmine.report.prediction import color as label_color
from hardmine.report.subject import Curve, Panel, Subject, compared

NAME = "report.html"
_SHEETS = 13  # pictures of each subject
_WIDEST, _QUALITY = 1100, 72  # pixels of a picture, and of its WebP
_MOST = 8_000_000  # bytes of pictures of each subject, as they stand in the page
_BEYOND = 1.05  # of the last step that was logged, up to which its time is taken for that of the next
_COLORS = colormaps[SCALE]
# Okabe and Ito, and for a dark page lighter ones in the same order
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b87a00", "#3d8fc0", "#767676")
_LIGHT_LINES = ("#56b4e9", "#ff8a4c", "#2fc79a", "#e79fc6", "#f0b429", "#a9dcff", "#c0c0c0")


@dataclass(frozen=True)
class Picture:
    """A picture as it stands in the page."""

    title: str
    data: str
    width: int
    height: int


@dataclass(frozen=True)
class Card:
    """A candidate as it stands in the page."""

    entry: Entry
    pictures: Sequence[Picture]


class Axes:
    """Where values lie in a drawing.

    Args:
        xs, ys: what must fit in.
        width, height: of the drawing, in its own units.
    """

    left, right, top = 44, 8, 8

    def __init__(
        self, xs: Sequence[float], ys: Sequence[float], width: int = 340, height: int = 220, bottom: int = 34
    ) -> None:
        self.width, self.height, self.bottom = width, height, bottom
        self.xs, self.ys = _ends(xs), _ends(ys)
        self.across, self.up = ticks(*self.xs), ticks(*self.ys)

    def x(self, value: float) -> float:
        low, high = self.xs
        return round(self.left + (value - low) / (high - low) * (self.width - self.left - self.right), 1)

    def y(self, value: float) -> float:
        low, high = self.ys
        return round(
            self.height - self.bottom - (value - low) / (high - low) * (self.height - self.top - self.bottom), 1
        )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    known = [value for value in values if isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    room = (high - low) * 0.06 or max(abs(high), 1) * 0.1
    return low - room, high + room


def ticks(low: float, high: float) -> list[float]:
    """Round numbers in a range, three to eight of them.

    >>> ticks(-0.06, 1.06)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    step = 10 ** floor(log10((high - low) / 3))
    step *= next(times for times in (5, 2, 1) if (high - low) / (step * times) >= 2.9 or times == 1)
    return [round(number * step, 10) for number in range(ceil(low / step), floor(high / step) + 1)]


def color(value: float) -> str:
    """Of an accuracy in [0, 1]: dark blue is 0, yellow 1.

    >>> color(0), color(1)
    ('#00224e', '#fee838')
    """
    red, green, blue, _ = (round(255 * part) for part in _COLORS(min(max(float(value), 0.0), 1.0)))
    return f"#{red:02x}{green:02x}{blue:02x}"


def ink(value: float) -> str:
    """Of a text on that colour, black or white, whichever is easier to read."""
    levels = [int(color(value)[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in levels)
    return "#000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#fff"


def panel_axes(panel: Panel) -> Axes:
    return Axes([point.x for point in panel.points], [point.y for point in panel.points])


def curve_axes(curve: Curve, clock: Sequence[tuple[float, float]] = ()) -> Axes:
    points = [point for line in curve.series.values() for point in line]
    ys = [y for _, y in points]
    shares = bool(ys) and min(ys) >= 0 and max(ys) <= 1
    low = [0, 1] if shares and max(ys) > 0.3 else [0, *ys]
    return Axes([x for x, _ in points], low, bottom=46 if clock and curve.across == "step" else 34)


def time_of(step: float, clock: Sequence[tuple[float, float]]) -> str:
    """Seconds of training until a step, or minutes or hours where they are many; empty outside of what is known.

    >>> time_of(50, [(0, 0), (100, 60)]), time_of(200, [(0, 0), (100, 60)])
    ('30 s', '')
    """
    if not clock or not 0 <= step <= clock[-1][0] * _BEYOND:
        return ""
    steps, times = zip((0.0, 0.0), *clock, strict=True)
    seconds = float(np.interp(step, steps, times))
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 3 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"


def write_page(path: Path, subjects: Sequence[Subject], about: Sequence[tuple[str, str]] = ()) -> None:
    """Write the page, whole or not at all.

    Args:
        path: of the file.
        subjects: one, or two to stand side by side.
        about: what made the page.
    """
    environment = Environment(
        loader=PackageLoader("hardmine", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        color=color, ink=ink, panel_axes=panel_axes, curve_axes=curve_axes, time_of=time_of, explained=EXPLAINED
    )
    environment.globals.update(lines=_LINES, light_lines=_LIGHT_LINES, swatch=_swatch, VOID=VOID)
    cards = [_cards(subject) for subject in subjects]
    galleries = [[] if of else _gallery(subject) for subject, of in zip(subjects, cards, strict=True)]
    side = compared(*subjects) if len(subjects) == 2 else None
    script = files("hardmine.report").joinpath("page.js").read_text("utf-8")
    text = environment.get_template("page.html.j2").render(
        subjects=[*zip(subjects, galleries, cards, strict=True)],
        side=side,
        about=about,
        script=Markup(script),
        allowed=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    write_atomically(path, lambda file: file.write(text.encode()))


def _swatch(label: int) -> str:
    """Colour of a label in index images and predictions."""
    return "#{:02x}{:02x}{:02x}".format(*label_color(label))


def _cards(subject: Subject) -> list[Card]:
    """The candidates of an album, as many as the page has room for; what is left out is a note."""
    made: list[Card] = []
    room = _MOST
    for entry in subject.album:
        pictures = []
        for caption, data in zip(entry.captions, entry.pictures, strict=True):
            with Image.open(io.BytesIO(data)) as picture:
                pictures.append(Picture(caption, base64.b64encode(data).decode(), *picture.size))
        room -= sum(len(picture.data) for picture in pictures)
        if room < 0:
            subject.notes.append(f"{len(subject.album) - len(made)} more candidates with pictures had no room here")
            break
        made.append(Card(entry, pictures))
    return made


def _gallery(subject: Subject) -> list[Picture]:
    """The first of the sheets, as many as the page has room for; what is left out is a note."""
    made: list[Picture] = []
    room = _MOST
    for path in subject.pictures[:_SHEETS]:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
        small.thumbnail((_WIDEST, 8 * _WIDEST))
        kept = io.BytesIO()
        small.save(kept, "WEBP", quality=_QUALITY, method=4)
        data = base64.b64encode(kept.getvalue()).decode()
        room -= len(data)
        if room < 0:
            break
        made.append(Picture(path.stem.replace("_", " "), data, *small.size))
    left = len(subject.pictures) - len(made)
    if left:
        subject.notes.append(f"{left} more sheets lie in the folder pictures")
    return made
