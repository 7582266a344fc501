"""What all layouts have in common, and how images and tables are written."""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from torch import Tensor

from hardmine.data.export import Example
from hardmine.data.labelled import Kind, LabelledImages
from hardmine.data.metadata import SOURCE, UNKNOWN
from hardmine.files import write_atomically

PIECES = ("id", "piece", "source", "targets", "parent", "depth")  # columns of pieces.csv


class Layout(ABC):
    """Writes the examples of a data set, one after the other.

    Args:
        out: the folder.
        images: of the data set; they tell its areas, classes and kind of labels.

    Attributes:
        kinds: of labels that it has a place for.
        lacks: why it has none for the others.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("masks", "classes", "boxes")
    lacks: ClassVar[str] = ""

    def __init__(self, out: Path, images: LabelledImages) -> None:
        self.out, self.kind = out, images.kind
        self.areas, self.classes = images.areas, images.classes

    @abstractmethod
    def add(self, example: Example) -> None:
        """Write one example."""

    @abstractmethod
    def finish(self) -> list[str]:
        """Write what comes last; returns lines on what was left out, and why."""


def png(pixels: Tensor) -> bytes:
    """The file of an image (3, H, W) or an index image (H, W), both uint8."""
    file = io.BytesIO()
    there = pixels if pixels.ndim == 2 else pixels.permute(1, 2, 0)
    Image.fromarray(there.contiguous().numpy()).save(file, "PNG")
    return file.getvalue()


def write(path: Path, content: bytes | str) -> None:
    """A file, whole or not at all."""
    written = content.encode() if isinstance(content, str) else content
    write_atomically(path, lambda file: file.write(written))


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    write(path, text.getvalue())


def write_environments(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """A CSV file of images with their environments: pieces may have components that others lack, and the reverse."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns.sort(key=lambda name: name.startswith(SOURCE))  # the others first, in their order
    empty = {name: "" if name.startswith(SOURCE) else UNKNOWN for name in columns}
    write_table(path, columns, [list({**empty, **row}.values()) for row in rows])
