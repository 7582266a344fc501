"""Labelled images on the disk: where they lie is said by a layout, how they are read is the same for all."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, TypedDict, Unpack, get_args

import torch
from torch import Tensor

from hardmine.data.annotations import ImageBoxes
from hardmine.data.bands import Bands
from hardmine.data.coding import Coding, read_regions
from hardmine.data.header import Header, look_at_image, look_at_regions, size_of
from hardmine.data.images import read_image
from hardmine.data.index_images import Predictor, from_image, regions_of_boxes
from hardmine.data.labelled import Kind, LabelledImages, Sample, in_threads
from hardmine.data.metadata import Row, unread
from hardmine.data.module import LabelledData, Loading
from hardmine.errors import InputError
from hardmine.records import VOID

Regions = Literal["labels", "boxes", "superpixels", "whole", "predicted"]
Asked = Literal["auto", "labels", "boxes", "superpixels", "whole", "predicted"]

_REST = "rest"  # area of the pixels outside all boxes


class Reading(TypedDict, total=False):
    """Keyword arguments on how the files of every layout are read, see `Layout`."""

    superpixels: int
    predictor: Predictor | None
    convert: bool
    channels: Sequence[int] | None
    value_range: Sequence[float] | None
    exact_resize: bool


class LayoutKeys(Reading, Loading, total=False):
    """Keyword arguments of the data module of every layout."""


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
        channels, value_range: see `Bands`, which then makes 8-bit RGB in place of `convert`.
        exact_resize: see `exact` of `read_image`.

    Attributes:
        kind, areas, classes: what `LabelledImages` has under these names.
        all_rows: the images.
        listed: file or folder that says which images there are, for messages.
        bands: of `channels` and `value_range`; None where neither is given.
        maker: makes index images of images; None where they are drawn, or made of boxes.
    """

    kind: Kind
    all_rows: Sequence[Row]
    listed: Path

    def __init__(
        self,
        root: Path,
        regions: Regions,
        superpixels: int = 32,
        predictor: Predictor | None = None,
        convert: bool = False,
        channels: Sequence[int] | None = None,
        value_range: Sequence[float] | None = None,
        exact_resize: bool = True,
    ) -> None:
        self.root, self.regions, self.convert, self.exact_resize = root, regions, convert, exact_resize
        self.bands = _bands(channels, value_range, convert)
        self.maker: Predictor | None = None
        if regions != "labels" and regions != "boxes":
            self.maker = from_image(regions, superpixels, predictor)

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
        if self.maker is not None:
            return tuple(self.maker.areas)
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
        path = self.image_path(row)
        image = look_at_image(path, self.convert) if self.bands is None else self.bands.look(path)
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

    def labels(self, row: Row) -> Sample:
        """The class of an image, or its boxes in its own pixels."""
        if self.kind == "classes":
            return {"target": torch.tensor(self.classes.index(row.label or ""))}
        boxes = self.boxes(row)
        return {"boxes": boxes.boxes, "labels": boxes.labels}

    def read(self, row: Row, size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        """Image (3, H, W) and index image (H, W), both uint8, at `size` or their own."""
        image, own = self._read_image(row, size)
        return image, self._read_regions(row, image, own)

    def sample(self, row: Row, size: tuple[int, int] | None = None) -> Sample:
        """`image`, `regions` and the labels, as `LabelledImages` describes them."""
        image, own = self._read_image(row, size)
        regions = self._read_regions(row, image, own)
        return {"image": image, "regions": regions, **self._read_labels(row, image, own, regions)}

    def _read_image(self, row: Row, size: tuple[int, int] | None) -> tuple[Tensor, tuple[int, int]]:
        if self.bands is not None:
            return self.bands.read(self.image_path(row), size)
        return read_image(self.image_path(row), size, self.convert, self.exact_resize)

    def _read_regions(self, row: Row, image: Tensor, own: tuple[int, int]) -> Tensor:
        size = (image.shape[1], image.shape[2])
        if self.maker is not None:
            return self.maker(image)
        if self.regions == "labels":
            return self._read_drawn(row, own, size)
        boxes = self._checked_boxes(row, own).scaled(size)
        return regions_of_boxes(boxes.boxes, boxes.labels, size, rest=len(self.areas) - 1)

    def _read_labels(self, row: Row, image: Tensor, own: tuple[int, int], regions: Tensor) -> Sample:
        size = (image.shape[1], image.shape[2])
        if self.kind == "classes":
            return self.labels(row)
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
        self.rows, ids = self._listed(layout.rows(split))
        super().__init__(
            ids=ids,
            areas=layout.areas,
            classes=layout.classes,
            kind=layout.kind,
            environment=[row.environment for row in self.rows],
            flip=flip,
            cache_gib=cache_gib,
        )

    def _listed(self, rows: list[Row]) -> tuple[list[Row], list[str]]:
        """The row of each sample, and its name."""
        return rows, [row.id for row in rows]

    def read(self, index: int) -> Sample:
        return self.layout.sample(self.rows[index], self.size)

    def labels(self, index: int) -> Sample:
        if self.kind == "masks":
            return super().labels(index)
        return self.layout.labels(self.rows[index])

    def look(self, index: int) -> list[Header]:
        return self.layout.look(self.rows[index])

    def paths(self, index: int) -> tuple[str | None, str | None]:
        return self.layout.paths(self.rows[index])

    def read_from(self, index: int) -> list[Path]:
        return self.layout.read_from(self.rows[index])

    def said(self, index: int) -> str:
        return self.layout.said(self.rows[index])


class TiledImages(LayoutImages):
    """Tiles of the images of one split, each a sample of its own; no image is resized.

    Tiles lie side by side from the upper left corner on. The last ones are moved inward so that they fit, and what they
    have in common with those before is void in `target`: each pixel is learnt and counted once, and a metric over all
    tiles is that over the whole images.

    Raises:
        InputError: an image that is smaller than a tile.
    """

    def _listed(self, rows: list[Row]) -> tuple[list[Row], list[str]]:
        self._wholes: dict[str, Sample] = {}  # the images read last
        self.windows: list[tuple[int, int, int, int]] = []  # upper left corner, and rows and columns that are void
        repeated, ids = [], []
        paths = [self.layout.image_path(row) for row in rows]
        sizes = in_threads(lambda index: self._size_of(paths[index]), range(len(rows)), "measuring images")
        for row, path, size in zip(rows, paths, sizes, strict=True):
            if size[0] < self.size[0] or size[1] < self.size[1]:
                raise InputError(
                    f"{path}: {size[1]} x {size[0]} pixels, a tile has {self.size[1]} x {self.size[0]}: set `size` "
                    "smaller, or `tiles`=false",
                    "data",
                )
            for top, above in _tiled(size[0], self.size[0]):
                for left, before in _tiled(size[1], self.size[1]):
                    self.windows.append((top, left, above, before))
                    repeated.append(row)
                    ids.append(f"{row.id}_y{top}_x{left}")
        return repeated, ids

    def read(self, index: int) -> Sample:
        row, (top, left, above, before) = self.rows[index], self.windows[index]
        whole = self._wholes.get(row.id)
        if whole is None:
            whole = self._wholes[row.id] = self.layout.sample(row)
            for old in list(self._wholes)[:-4]:
                self._wholes.pop(old, None)
        cut = {name: whole[name][..., top : top + self.size[0], left : left + self.size[1]] for name in whole}
        tile = {name: value.clone() for name, value in cut.items()}
        if not above and not before and whole["target"] is whole["regions"]:
            return {**tile, "target": tile["regions"]}
        tile["target"][:above] = VOID
        tile["target"][:, :before] = VOID
        return tile

    def _size_of(self, path: Path) -> tuple[int, int]:
        return size_of(path) if self.layout.bands is None else self.layout.bands.look(path).size

    def look(self, index: int) -> list[Header]:
        """Of an image once, with its first tile."""
        return super().look(index) if self.windows[index][:2] == (0, 0) else []


def _tiled(length: int, tile: int) -> list[tuple[int, int]]:
    """Where tiles begin that cover a length, and how much of each is covered by the one before.

    >>> _tiled(10, 4)
    [(0, 0), (4, 0), (6, 2)]
    """
    starts = [*range(0, length - tile + 1, tile)]
    if starts[-1] + tile < length:
        starts.append(length - tile)
    return [(start, max(0, before + tile - start)) for before, start in zip([-tile, *starts], starts, strict=False)]


class LayoutData(LabelledData):
    """The splits of a layout.

    Args:
        layout: of the images.
        size: height and width all images are resized to.
        tiles: cut images in tiles of `size` and resize none, see `TiledImages`.
        loading: see `LabelledData`.

    Raises:
        InputError: tiles of images whose labels are no masks.
    """

    def __init__(self, layout: Layout, size: tuple[int, int], tiles: bool = False, **loading: Unpack[Loading]) -> None:
        super().__init__(**loading)
        self.layout, self.tiles = layout, tiles
        if tiles and layout.kind != "masks":
            raise InputError(f"`tiles`=true cuts masks; labels that are {layout.kind} are of whole images", "data")
        layout.classes  # noqa: B018  # all rows have labels: said now, not when the first batch is read
        self.size = (int(size[0]), int(size[1]))

    def has(self, split: str) -> bool:
        return bool(self.layout.rows(split))

    def images(self, split: str, flip: bool) -> LabelledImages:
        if not self.has(split):
            raise InputError(self.layout.empty(split))
        kind = TiledImages if self.tiles else LayoutImages
        images = kind(self.layout, split, self.size, flip, self.cache_gib)
        boxes = split == "train" and images.kind == "boxes"
        if boxes and not any(len(self.layout.boxes(row).boxes) for row in images.rows):
            raise InputError(f"{self.layout.boxes_path(images.rows[0])}: no training image has a box: add some")
        return images

    @property
    def told(self) -> list[str]:
        return self.layout.told


def _bands(channels: Sequence[int] | None, value_range: Sequence[float] | None, convert: bool) -> Bands | None:
    """What `data.channels` and `data.value_range` ask for, if anything.

    Raises:
        InputError: `convert` as well, which makes 8-bit RGB in another way.
    """
    if channels is None and value_range is None:
        return None
    if convert:
        raise InputError("`convert`=true and `channels` or `value_range` both make 8-bit RGB: set one of them", "data")
    return Bands(channels, value_range)


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
