"""What the numbers or colours of index images stand for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hardmine.data.images import Void, kind_of, opened, orientation_of, stored_as
from hardmine.errors import InputError
from hardmine.records import VOID

FORMATS = ("PNG", "BMP", "TIFF")
_NUMBERS = ("L", "P", "P;1", "P;2", "P;4")  # Pillow hands out other grey levels and not those of the file
_COLORS = (*_NUMBERS, "RGB", "RGBA", "BGR", "RGBX", "1")


class Coding(Protocol):
    """Makes labels of an open index image; `areas` counts what they name."""

    @property
    def areas(self) -> int: ...

    def labels(self, path: Path, image: Image.Image) -> np.ndarray:
        """(H, W) uint8: 0 to areas - 1, 255 void.

        Args:
            path: of the file, for messages.
            image: the file, opened.

        Raises:
            InputError: a format that changes labels, another kind of image, or what no label is given for.
        """
        ...


@dataclass(frozen=True)
class Indices:
    """The numbers are the labels.

    Attributes:
        areas: number of areas; labels are 0 to areas - 1.
        void: None where 255 is none: of two areas it is then the second one, as in masks of 0 and 255, and a
            black-and-white image has these two.
        source: what names the labels, for messages.
    """

    areas: int
    void: Void = VOID
    source: str = "classes.csv"

    def labels(self, path: Path, image: Image.Image) -> np.ndarray:
        binary = self.void is None and self.areas == 2
        _look_at_format(path, image)
        if not (binary and image.mode == "1"):
            _look_at_numbers(path, image)
        labels = np.array(image).astype(np.uint8)  # of a black-and-white image 0 and 1
        if binary:
            labels[labels == VOID] = 1
        strange = (labels >= self.areas) & (labels != VOID) if self.void is not None else labels >= self.areas
        if strange.any():
            of_void = f"{VOID} is void" if self.void is not None else f"with data.void=null {VOID} is none"
            raise InputError(
                f"{path}: label {labels[strange][0]} is out of range, {self.source} names 0 to {self.areas - 1}, "
                f"{of_void}: mend the label, or name it there"
            )
        return labels


@dataclass(frozen=True)
class Numbers:
    """Each number stands for a label, as Cityscapes' ids do for those that are trained on.

    Attributes:
        areas: number of areas.
        table: label of each number, 255 for void.
        source: what the table is, for messages.
    """

    areas: int
    table: Mapping[int, int]
    source: str

    def labels(self, path: Path, image: Image.Image) -> np.ndarray:
        _look_at_format(path, image)
        _look_at_numbers(path, image)
        numbers = np.array(image)
        known = np.zeros(256, bool)
        label = np.zeros(256, np.uint8)
        for number, of_number in self.table.items():
            known[number], label[number] = True, of_number
        if not known[numbers].all():
            number = numbers[~known[numbers]][0]
            raise InputError(
                f"{path}: {self.source} says nothing of the number {number}: add it there, or mend the mask"
            )
        made: np.ndarray = label[numbers]
        return made


@dataclass(frozen=True)
class Colors:
    """Each colour stands for a label.

    Attributes:
        areas: number of areas.
        table: label of each colour (red, green, blue; 0 to 255), 255 for void.
        source: what the table is, for messages.
    """

    areas: int
    table: Mapping[tuple[int, int, int], int]
    source: str

    def labels(self, path: Path, image: Image.Image) -> np.ndarray:
        _look_at_format(path, image)
        if stored_as(image) not in _COLORS:
            raise InputError(f"{path}: {kind_of(image)}: a mask of colours is 8-bit RGB: save it as PNG")
        if image.mode == "RGBA" and (np.asarray(image.getchannel("A")) < 255).any():
            raise InputError(
                f"{path}: some pixels are transparent, and no colour says what is there: give them a colour, and save "
                "it as RGB"
            )
        pixels = np.array(image.convert("RGB"))
        packed = _packed(pixels)
        colors = sorted(self.table)
        keys = _packed(np.array(colors, np.uint8))
        order = keys.argsort()
        place = np.searchsorted(keys[order], packed).clip(max=len(keys) - 1)
        strange = keys[order][place] != packed
        if strange.any():
            red, green, blue = pixels[strange][0].tolist()
            raise InputError(
                f"{path}: {self.source} says nothing of the colour {red}, {green}, {blue} ({strange.mean():.1%} of the "
                "pixels have such colours): add it there (named void where it is no area), or mend the mask"
            )
        labels = np.array([self.table[color] for color in colors], np.uint8)
        made: np.ndarray = labels[order][place]
        return made


def read_regions(path: Path, coding: Coding, size: tuple[int, int] | None = None) -> tuple[Tensor, tuple[int, int]]:
    """An index image: one area label per pixel, 255 void. Of a palette image the indices are the numbers.

    Args:
        path: the file.
        coding: what its numbers or colours stand for.
        size: height and width to resize to (nearest pixel); None keeps the image's own.

    Returns:
        (H, W) uint8, and the height and width of the image before it is resized.

    Raises:
        InputError: missing, unreadable, or what `coding` refuses.
    """
    with opened(path, "index image") as image:
        labels = coding.labels(path, image)
        own = labels.shape[0], labels.shape[1]
        if size is not None and size != own:
            labels = np.array(Image.fromarray(labels).resize((size[1], size[0]), Image.Resampling.NEAREST))
    return torch.from_numpy(labels), own


def joined(names: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    """Classes of names of which several may be alike, and one `void`.

    Returns:
        The classes, and the label of each name.

    >>> joined(["road", "car", "Void", "car"])
    (('road', 'car'), [0, 1, 255, 1])
    """
    classes = tuple(dict.fromkeys(name for name in names if name.casefold() != "void"))
    return classes, [VOID if name.casefold() == "void" else classes.index(name) for name in names]


def _packed(pixels: np.ndarray) -> np.ndarray:
    """One number for each colour (..., 3)."""
    red, green, blue = np.moveaxis(pixels.astype(np.int64), -1, 0)
    packed: np.ndarray = (red << 16) | (green << 8) | blue
    return packed


def _look_at_format(path: Path, image: Image.Image) -> None:
    if image.format not in FORMATS or image.info.get("compression") == "jpeg":
        raise InputError(f"{path}: a {image.format} changes labels to make its file small: save index images as PNG")
    if orientation_of(image) > 1:
        raise InputError(
            f"{path}: its EXIF orientation would turn it, whether its labels are turned already is not known: save it "
            "without"
        )


def _look_at_numbers(path: Path, image: Image.Image) -> None:
    if stored_as(image) not in _NUMBERS:
        raise InputError(
            f"{path}: {kind_of(image)}: an index image has one 8-bit channel of labels: save it as 8-bit grey or "
            "palette PNG"
        )
