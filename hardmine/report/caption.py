"""Words beside and on pictures: legible, and never cut."""

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hardmine.report.picture import Picture

SIZE = 13  # pixels
_LINE = 1.35  # height of a line, in sizes
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


@cache
def font(size: int = SIZE) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own, so that pictures are alike everywhere."""
    return ImageFont.load_default(size)


def size_for(width: int) -> int:
    """Of words beside a picture so wide, which may be looked at smaller than it is."""
    return max(SIZE, width // 17)


def lines(text: str, width: int, size: int = SIZE) -> list[str]:
    """The text in lines at most `width` pixels wide, broken between words; only a word that is wider is broken itself.

    >>> lines("no piece", 40)
    ['no', 'piece']
    """
    made = [""]
    for word in text.split():
        longer = f"{made[-1]} {word}".strip()
        if font(size).getlength(longer) <= width:
            made[-1] = longer
            continue
        if made[-1]:
            made.append("")
        for letter in word:
            if made[-1] and font(size).getlength(made[-1] + letter) > width:
                made.append("")
            made[-1] += letter
    return made


def words(text: str, width: int, size: int = SIZE) -> Picture:
    """The text in black on white, `width` pixels wide and as high as its lines."""
    written, height = lines(text, width, size), round(size * _LINE)
    picture = Image.new("RGB", (width, height * len(written)), _WHITE)
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(written):
        draw.text((0, number * height), line, fill=_BLACK, font=font(size))
    return np.asarray(picture)


def write_on(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str) -> None:
    """White on black, from the upper left corner `place` on, moved so that all of it is inside where it has room."""
    picture = draw.im.size
    written = font(size_for(picture[0]))
    left, top, right, bottom = draw.textbbox((0, 0), text, font=written)
    x = max(0.0, min(place[0], picture[0] - right))
    y = max(0.0, min(place[1], picture[1] - bottom))
    draw.rectangle((x + left - 1, y + top - 1, x + right + 1, y + bottom + 1), fill=_BLACK)
    draw.text((x, y), text, fill=_WHITE, font=written)
