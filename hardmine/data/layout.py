"""Labelled images on the disk: where they lie is said by a layout, how they are read is the same for all."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from hardmine.data.annotations import ImageBoxes
from hardmine.data.coding import Coding, read_regions
from hardmine.data.header import Header, look_at_image, look_at_regions
from hardmine.data.images import read_image
from hardmine.data.index_images import Predictor, from_image, regions_of_boxes
from hardmine.data.labelled import Kind, LabelledImages, Sample
from hardmine.data.metadata import Row, unread
from hardmine.data.module import LabelledData
from hardmine.errors import InputError
from hardmine.records import VOID

Regions = Literal["labels", "boxes", "superpixels", "whole", "predicted"]
Asked = Literal["auto", "labels", "boxes", "superpixels", "whole", "predicted"]

_REST = "rest"  # area of the pixels outside all boxes


class Layout(ABC):
    """The images of a data set with their labels; a subclass says where they are, and what they are called.

    Args:
        root: the folder that they are in.
        regions: how index images come about: labels (drawn), boxes (the classes of the boxes and the rest;
            small boxes lie on large ones), superpixels, whole (one area), predicted (by `predictor`).
        superpixels: number of areas of `superpixels`.
        predictor: of `predicted`.
        convert: make 8-bit RGB of grey, palette, CMYK and 16-bit images, and drop alpha channels; otherwise
            they are refused.

    Attributes:
        kind, areas, classes: what `LabelledImages` has under these names.
        all_rows: the images.
        listed: file or folder that says which images there are, for messages.
    """

    kind: Kind
    all_rows: Sequence[Row]
    listed: Path

    def __init__(
        self, root: Path, regions: Regions, superpixels: int, predictor: Predictor | None, convert: bool
    ) -> None:
        self.root, self.regions, self.convert = root, regions, convert
        self._maker: Predictor | None = None
        if regions != "labels" and regions != "boxes":
            self._maker = from_image(regions, superpixels, predictor)

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes to recognise."""

    @abstractmethod
    def image_path(self, row: Row) -> Path:
        """The image.

        Raises:
            InputError: it is not there.
        """

    def regions_path(self, row: Row) -> Path:
        """The index image; see `image_path`. Only where masks or areas are drawn."""
        raise TypeError(f"{type(self).__name__} has no index images")

    @property
    def coding(self) -> Coding:
        """What is in index images. Only where masks or areas are drawn."""
        raise TypeError(f"{type(self).__name__} has no index images")

    @property
    def drawn(self) -> tuple[str, ...]:
        """Names of the labels in index images."""
        return self.classes

    @property
    def boxed(self) -> tuple[str, ...]:
        """Names of the labels of boxes."""
        return self.classes

    def boxes(self, row: Row) -> ImageBoxes:
        """The boxes of an image. Only where there are any."""
        raise TypeError(f"{type(self).__name__} has no boxes")

    def boxes_path(self, row: Row) -> Path:
        """The file that the boxes of an image are in."""
        raise TypeError(f"{type(self).__name__} has no boxes")

    @cached_property
    def areas(self) -> tuple[str, ...]:
        """Names of the areas, in label order."""
        if self._maker is not None:
            return tuple(self._maker.areas)
        if self.regions == "labels":
            return self.drawn
        if _REST in self.boxed or len(self.boxed) >= VOID:
            path = self.boxes_path(self.all_rows[0])
            raise InputError(f"{path}: at most {VOID - 1} categories, none called {_REST!r}: rename or join categories")
        return (*self.boxed, _REST)

    @property
    def told(self) -> list[str]:
        """Lines on what is taken otherwise than it may have been meant."""
        return unread((row.split for row in self.all_rows), f"{self.listed}: rows with splits")

    def empty(self, split: str) -> str:
        """The line on a split without images that is asked for."""
        return f"{self.listed}: no row has split {split!r}: add some"

    def rows(self, split: str | None) -> list[Row]:
        """The images of a split; None takes all."""
        return [row for row in self.all_rows if split is None or row.split == split]

    @cached_property
    def _most_boxes(self) -> int:
        return max([1, *(len(self.boxes(row).boxes) for row in self.all_rows)])

    def look(self, row: Row, labels: bool = True) -> list[Header]:
        """Open the files of an image, see that they are whole and fit together.

        Args:
            row: of the image.
            labels: look at its labels too, which nobody needs who measures colours.

        Raises:
            InputError: what reading them would raise, but for damage that only decoding the image shows.
        """
        image = look_at_image(self.image_path(row), self.convert)
        turned = " (as its EXIF orientation turns it)" if image.turned else ""
        with_masks = labels and self.kind == "masks"
        if self.regions == "boxes" or (labels and self.kind == "boxes"):
            self._checked_boxes(row, image.size, turned)
        if self.regions != "labels" and not with_masks:
            return [image]
        drawn = look_at_regions(self.regions_path(row), self.coding)
        _check_sizes(drawn.path, drawn.size, image.size, turned)
        return [image, drawn]

    def paths(self, row: Row) -> tuple[str, str | None]:
        """Absolute paths of the image and of its index image, None where that is made and not read."""
        drawn = str(self.regions_path(row).absolute()) if self.regions == "labels" else None
        return str(self.image_path(row).absolute()), drawn

    def read_from(self, row: Row) -> list[Path]:
        """What is read of an image: itself, and its index image where areas or classes come from there."""
        drawn = self.regions == "labels" or self.kind == "masks"
        return [self.image_path(row), *([self.regions_path(row)] if drawn else [])]

    def said(self, row: Row) -> str:
        """What the tables say of an image: environment, label and boxes."""
        boxed = self.kind == "boxes" or self.regions == "boxes"
        boxes = self.boxes(row) if boxed else None
        return repr((row.environment, row.label, boxes and (boxes.boxes.tolist(), boxes.labels.tolist())))

    def read(self, row: Row, size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        """Image (3, H, W) and index image (H, W), both uint8, at `size` or their own."""
        image, own = read_image(self.image_path(row), size, self.convert)
        return image, self._read_regions(row, image, own)

    def sample(self, row: Row, size: tuple[int, int] | None = None) -> Sample:
        """`image`, `regions` and the labels, as `LabelledImages` describes them."""
        image, own = read_image(self.image_path(row), size, self.convert)
        regions = self._read_regions(row, image, own)
        return {"image": image, "regions": regions, **self._read_labels(row, image, own, regions)}

    def _read_regions(self, row: Row, image: Tensor, own: tuple[int, int]) -> Tensor:
        size = (image.shape[1], image.shape[2])
        if self._maker is not None:
            return self._maker(image)
        if self.regions == "labels":
            return self._read_drawn(row, own, size)
        boxes = self._checked_boxes(row, own).scaled(size)
        return regions_of_boxes(boxes.boxes, boxes.labels, size, rest=len(self.areas) - 1)

    def _read_labels(self, row: Row, image: Tensor, own: tuple[int, int], regions: Tensor) -> Sample:
        size = (image.shape[1], image.shape[2])
        if self.kind == "classes":
            return {"target": torch.tensor(self.classes.index(row.label or ""))}
        if self.kind == "masks":
            return {"target": regions if self.regions == "labels" else self._read_drawn(row, own, size)}
        boxes, labels = self._checked_boxes(row, own).scaled(size).padded(self._most_boxes)
        return {"boxes": boxes, "labels": labels}

    def _read_drawn(self, row: Row, own: tuple[int, int], size: tuple[int, int]) -> Tensor:
        path = self.regions_path(row)
        regions, drawn = read_regions(path, self.coding, size)
        _check_sizes(path, drawn, own)
        return regions

    def _checked_boxes(self, row: Row, own: tuple[int, int], turned: str = "") -> ImageBoxes:
        boxes = self.boxes(row)
        if boxes.size not in (own, SHARES):
            raise InputError(
                f"{self.image_path(row)}: {own[1]} x {own[0]} pixels{turned}, {self.boxes_path(row).name} says "
                f"{boxes.size[1]} x {boxes.size[0]}: correct its width and height and the boxes there"
            )
        return boxes


SHARES = (1, 1)
"""The size that `ImageBoxes` are of whose boxes are shares of the image."""


class LayoutImages(LabelledImages):
    """The images of one split of a layout."""

    def __init__(self, layout: Layout, split: str, size: tuple[int, int], flip: bool, cache_gib: float) -> None:
        self.layout, self.size = layout, size
        self.rows = layout.rows(split)
        super().__init__(
            ids=[row.id for row in self.rows],
            areas=layout.areas,
            classes=layout.classes,
            kind=layout.kind,
            environment=[row.environment for row in self.rows],
            flip=flip,
            cache_gib=cache_gib,
        )

    def read(self, index: int) -> Sample:
        return self.layout.sample(self.rows[index], self.size)

    def look(self, index: int) -> list[Header]:
        return self.layout.look(self.rows[index])

    def paths(self, index: int) -> tuple[str | None, str | None]:
        return self.layout.paths(self.rows[index])

    def read_from(self, index: int) -> list[Path]:
        return self.layout.read_from(self.rows[index])

    def said(self, index: int) -> str:
        return self.layout.said(self.rows[index])


class LayoutData(LabelledData):
    """The splits of a layout.

    Args:
        layout: of the images.
        size: height and width all images are resized to.
        batch_size, num_workers, flip, cache_gib, targets, seed: see `LabelledData`.
    """

    def __init__(
        self,
        layout: Layout,
        size: tuple[int, int],
        batch_size: int,
        num_workers: int,
        flip: bool,
        cache_gib: float,
        targets: float,
        seed: int,
    ) -> None:
        super().__init__(batch_size, num_workers, flip, cache_gib, targets, seed)
        self.layout = layout
        layout.classes  # noqa: B018  # all rows have labels: said now, not when the first batch is read
        self.size = (int(size[0]), int(size[1]))

    def has(self, split: str) -> bool:
        return bool(self.layout.rows(split))

    def images(self, split: str, flip: bool) -> LabelledImages:
        images = LayoutImages(self.layout, split, self.size, flip, self.cache_gib)
        if not len(images):
            raise InputError(self.layout.empty(split))
        boxes = split == "train" and images.kind == "boxes"
        if boxes and not any(len(self.layout.boxes(row).boxes) for row in images.rows):
            raise InputError(f"{self.layout.boxes_path(images.rows[0])}: no training image has a box: add some")
        return images

    @property
    def told(self) -> list[str]:
        return self.layout.told


def look_at_choice(key: str, value: str, choices: object) -> None:
    """See that a value is one of a `Literal`.

    Raises:
        InputError: it is not.
    """
    if value not in get_args(choices):
        raise InputError(f"`{key}` must be one of {', '.join(get_args(choices))}, got {value!r}", "data")


def _check_sizes(path: Path, drawn: tuple[int, int], image: tuple[int, int], turned: str = "") -> None:
    if drawn != image:
        raise InputError(
            f"{path}: {drawn[1]} x {drawn[0]} pixels, its image has {image[1]} x {image[0]}{turned}: make both the "
            "same size"
        )
