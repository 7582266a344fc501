"""A sheet of labelled images as they are read: each with its index image, boxes and label."""

import numpy as np
import torch
from PIL import Image, ImageDraw

from hardmine.data.labelled import LabelledImages
from hardmine.report.caption import size_for, words, write_on
from hardmine.report.picture import Picture
from hardmine.report.prediction import color, paint
from hardmine.report.sheet import beside, legend, space

_WIDE = 320  # pixels of a picture
_GAP = ((8, 8), (8, 8), (0, 0))


def chosen(images: LabelledImages, most: int) -> list[int]:
    """Images to look at: from each environment in turn, evenly spaced in it.

    Args:
        images: of a split.
        most: images at most.
    """
    names = ["_".join(values.values()) for values in images.environment]
    of_each = {name: [place for place, other in enumerate(names) if other == name] for name in dict.fromkeys(names)}
    count = max(1, most // max(1, len(of_each)))
    spaced = [
        [places[round(step)] for step in np.linspace(0, len(places) - 1, min(count, len(places))).tolist()]
        for places in of_each.values()
    ]
    return [place for places in spaced for place in dict.fromkeys(places)][:most]


def samples(splits: dict[str, LabelledImages], title: str, most: int = 4) -> Picture:
    """(height, width, 3) uint8: of each split some images and their index images, and which colours mean what.

    Args:
        splits: at least one, with images.
        title: what is to be seen.
        most: images of each split.
    """
    cells, labels = [], set[int]()
    images = next(iter(splits.values()))
    for split, images in splits.items():
        for index in chosen(images, most):
            cell, there = _cell(images, index, split)
            cells.append(cell)
            labels |= there
    width = 2 * cells[0].shape[1] + 16
    strips = [words(title, width, size_for(_WIDE) + 4)]
    for one, other in zip(cells[::2], [*cells[1::2], None], strict=False):
        row = beside([one] if other is None else [one, other])
        strips += [space(width), np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255)]
    strips += [space(width), legend("areas", sorted(labels), images.areas, width, size_for(_WIDE))]
    return np.pad(np.concatenate(strips), _GAP, constant_values=255)


def _cell(images: LabelledImages, index: int, split: str) -> tuple[Picture, set[int]]:
    """An image beside its index image, under words that say what it is; and the labels in the latter."""
    sample = images.kept(index)
    pixels, regions = sample["image"][:3].permute(1, 2, 0).numpy(), sample["regions"]
    times = _WIDE / pixels.shape[1]
    size = _WIDE, max(1, round(pixels.shape[0] * times))
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    if images.kind == "boxes":
        draw = ImageDraw.Draw(picture)
        for box, label in zip(sample["boxes"].tolist(), sample["labels"].tolist(), strict=True):
            if label >= 0:
                draw.rectangle([edge * times for edge in box], outline=color(label), width=2)
                write_on(draw, (box[0] * times + 2, box[1] * times + 2), images.classes[label])
    painted = Image.fromarray(paint(regions)).resize(size, Image.Resampling.NEAREST)
    said = [split, *images.environment[index].values(), images.ids[index]]
    if images.kind == "classes":
        said.insert(1, images.classes[int(sample["target"])])
    both = beside([np.asarray(picture), np.asarray(painted)])
    return np.concatenate([words(", ".join(filter(None, said)), both.shape[1], size_for(_WIDE)), both]), {
        int(label) for label in torch.unique(regions)
    }
