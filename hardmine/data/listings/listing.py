"""A list of images with the files that their labels are in: what every layout comes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from hardmine.arguments import parted
from hardmine.data.annotations import ImageBoxes
from hardmine.data.coding import Coding
from hardmine.data.layout import Layout, LayoutData, LayoutKeys, Reading, Regions
from hardmine.data.listings.described import Describing, Description
from hardmine.data.listings.splits import Facts
from hardmine.data.metadata import Row
from hardmine.errors import InputError

REMEDY = "set data.val, data.test or data.target to a share, or say the splits by data.lists, table or pattern"


@dataclass(frozen=True)
class Listed(Row):
    """One image, and where it lies.

    Attributes:
        image: its file.
        labels: the file of its mask or of its boxes; None where it has none.
        boxes: in it.
    """

    image: Path = Path()
    labels: Path | None = None
    boxes: ImageBoxes | None = None


class Listing(Layout):
    """Images in a list.

    Args:
        rows: the images.
        listed: file or folder that the list is of, for messages.
        classes: names of the classes to recognise.
        coding: what is in masks; None where the labels are boxes.
        told: lines on what was taken otherwise than it may have been meant.
        remedy: how images come into a split that is empty, for messages.
        regions, reading: see `Layout`.
    """

    def __init__(
        self,
        rows: Sequence[Listed],
        listed: Path,
        classes: tuple[str, ...],
        coding: Coding | None,
        told: Sequence[str] = (),
        remedy: str = "add some",
        regions: Regions = "labels",
        **reading: Unpack[Reading],
    ) -> None:
        super().__init__(listed, regions, **reading)
        self.kind = "boxes" if coding is None else "masks"
        self.all_rows, self.listed = rows, listed
        self._classes, self._coding, self._told, self._remedy = classes, coding, told, remedy
        if self.kind == "boxes" and not any(len(row.boxes.boxes) for row in rows if row.boxes is not None):
            raise InputError(f"{listed}: the images have no box: add some")
        self.areas  # noqa: B018  # what is wrong with their names shows now

    @property
    def classes(self) -> tuple[str, ...]:
        return self._classes

    @property
    def coding(self) -> Coding:
        return super().coding if self._coding is None else self._coding

    @property
    def told(self) -> list[str]:
        return [*super().told, *self._told]

    def empty(self, split: str) -> str:
        return f"{self.listed}: no image is in the split {split!r}: {self._remedy}"

    def image_path(self, row: Row) -> Path:
        assert isinstance(row, Listed)
        return row.image

    def regions_path(self, row: Row) -> Path:
        assert isinstance(row, Listed)
        return super().regions_path(row) if row.labels is None else row.labels

    def boxes(self, row: Row) -> ImageBoxes:
        assert isinstance(row, Listed)
        return super().boxes(row) if row.boxes is None else row.boxes

    def boxes_path(self, row: Row) -> Path:
        assert isinstance(row, Listed)
        return super().boxes_path(row) if row.labels is None else row.labels


class ListedKeys(Describing, LayoutKeys, total=False):
    """Keyword arguments of the data module of every list."""


class ListedData(LayoutData):
    """The splits of a list, which is told where its images lie, and asks what is said of them beside their files.

    Args:
        root: that a table and lists are relative to.
        rows: the images, still without split and environment.
        facts: what is known of each, by a name that shares, a table and lists know it by.
        listed, classes, coding, told, regions, remedy: see `Listing`.
        size, tiles: see `LayoutData`.
        more: see `Description`, `Layout` and `LabelledData`.
    """

    def __init__(
        self,
        root: Path,
        rows: Sequence[Listed],
        facts: Mapping[str, Facts],
        listed: Path,
        classes: tuple[str, ...],
        coding: Coding | None,
        told: Sequence[str],
        regions: Regions,
        size: tuple[int, int],
        tiles: bool = False,
        remedy: str = REMEDY,
        **more: Unpack[ListedKeys],
    ) -> None:
        describing, reading, loading = parted(more, Describing, Reading)
        images = {name: row.image for name, row in zip(facts, rows, strict=True)}
        described = Description(**describing).of(root, images, list(facts.values()))
        found = [
            replace(row, split=split, environment=environment)
            for row, (split, environment) in zip(rows, described, strict=True)
            if split
        ]
        left = len(rows) - len(found)
        told = [*told, *([f"{left} images are in no list of data.lists, and not read"] if left else [])]
        layout = Listing(found, listed, classes, coding, told, remedy, regions, **reading)
        super().__init__(layout, size, tiles, **loading)
