"""Index images and a model's prediction as pictures."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

from hardmine.records import VOID
from hardmine.report.caption import write_on
from hardmine.report.picture import Picture

_SHOWN = 0.3  # confidence from which a detection is drawn
# Okabe and Ito, told apart by colour-blind people; without their black, which is void
_FIRST = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442")
_MAPS = ("tab20", "tab20b", "tab20c")
_COUNT = 60  # colours
_STRIPES = 8  # pixels from one white stripe of void to the next


def draw_prediction(
    prediction: Tensor | Sequence[Mapping[str, Tensor]],
    row: int,
    image: Picture,
    classes: Sequence[str],
    scale: float = 1.0,
) -> Picture:
    """What a model says of one image, for a person to look at.

    Args:
        prediction: of a batch: (N, C, H, W) logits are painted, the class of (N, C) logits is written on the image,
            and so are boxes with their class from lists of `boxes`, `scores`, `labels`.
        row: which image of the batch.
        image: (height, width, 3) sRGB as it is to be looked at.
        classes: names; numbers are written where there are none.
        scale: how much larger `image` is than what the model was given.

    Returns:
        As large as `image`.
    """
    if not isinstance(prediction, Tensor):
        return _boxes(prediction[row], image, classes, scale)
    if prediction.ndim == 4:
        return draw_labels(prediction[row].argmax(0), (image.shape[1], image.shape[0]))
    confidence, index = prediction[row].float().softmax(0).max(0)
    picture = Image.fromarray(image)
    write_on(ImageDraw.Draw(picture), (2, 2), f"{_name(classes, int(index))} {float(confidence):.0%}")
    return np.asarray(picture)


def draw_labels(labels: Tensor, size: tuple[int, int]) -> Picture:
    """(H, W) labels as a picture of `size`, width and height; void is hatched, as no area is."""
    shown = Image.fromarray(labels.cpu().numpy().astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    values = np.asarray(shown)
    picture = paint(torch.from_numpy(values.copy()))
    row, column = np.indices(values.shape)
    picture[(values == VOID) & ((row + column) % _STRIPES < 2)] = 255
    return picture


def paint(labels: Tensor) -> Picture:
    """(H, W) labels as (H, W, 3) colours, see `color`."""
    palette = np.array([color(label) for label in range(256)], np.uint8)
    picture: Picture = palette[labels.cpu().numpy().astype(np.uint8)]
    return picture


@cache
def color(label: int) -> tuple[int, int, int]:
    """sRGB of a label; void, 255, is black, and from 60 on colours come again."""
    if label == VOID:
        return 0, 0, 0
    label %= _COUNT
    if label < len(_FIRST):
        return ImageColor.getrgb(_FIRST[label])[:3]
    left = label - len(_FIRST) + 1  # their blue is too much like the first
    red, green, blue, _ = colormaps[_MAPS[left // 20]](left % 20)
    return round(red * 255), round(green * 255), round(blue * 255)


def _boxes(found: Mapping[str, Tensor], image: Picture, classes: Sequence[str], scale: float) -> Picture:
    rows = found["scores"] >= _SHOWN
    boxes, scores, labels = (found[key][rows].tolist() for key in ("boxes", "scores", "labels"))
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for box, score, label in zip(boxes, scores, labels, strict=True):
        left, top, right, bottom = (edge * scale for edge in box)
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=color(label), width=2)
        write_on(draw, (left + 2, top + 2), f"{_name(classes, label)} {score:.0%}")
    return np.asarray(picture)


def _name(classes: Sequence[str], index: int) -> str:
    return classes[index] if index < len(classes) else str(index)
