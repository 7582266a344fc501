"""hardmine's folder layout: images/, regions/, classes.csv, annotations.json, metadata.csv."""

from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from hardmine.data.annotations import Annotations, ImageBoxes, read_coco
from hardmine.data.header import Header, look_at_image, look_at_regions
from hardmine.data.images import LABEL_SUFFIXES, SUFFIXES, Void, read_image, read_regions
from hardmine.data.index_images import Predictor, from_image, regions_of_boxes
from hardmine.data.labelled import Kind, LabelledImages, Sample
from hardmine.data.metadata import Row, read_classes, read_labels, read_metadata, unread
from hardmine.data.module import LabelledData
from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.names import did_you_mean, near
from hardmine.records import VOID

Labels = Literal["auto", "masks", "classes", "boxes"]
Regions = Literal["auto", "labels", "boxes", "superpixels", "whole", "predicted"]

_REST = "rest"  # area of the pixels outside all boxes


class Folder:
    """Reader of the layout. Only what is used need be there; labels that are never asked for are never looked at.

        images/<id>.jpg|png     8-bit RGB; also bmp, tif, webp, ppm, in small letters or capitals
        regions/<id>.png        index image: one area label per pixel, 255 void; also bmp, tif
        classes.csv             index,name of the areas of regions/
        annotations.json        COCO boxes
        metadata.csv            id,split, one column per environment component (time, weather, ...), perhaps `label`;
                                columns `source.<...>` are not read: of what image a piece was made, see `Export`

    Args:
        root: the folder.
        labels: masks (regions/), classes (column `label`), boxes (annotations.json); auto takes boxes where there is
            annotations.json, else classes where there is a column `label`, else masks.
        regions: labels (regions/), boxes (the classes of the boxes and the rest; small boxes lie on large ones),
            superpixels, whole (one area), predicted (by `predictor`); auto takes labels where there is a folder
            regions/, else boxes where the labels are boxes, else whole.
        superpixels: number of areas of `superpixels`.
        predictor: of `predicted`.
        convert: make 8-bit RGB of grey, palette, CMYK and 16-bit images, and drop alpha channels; otherwise
            they are refused.
        void: label of regions/ that is no area; None where all are, see `read_regions`.
        exact_resize: see `exact` of `read_image`.

    Attributes:
        kind, areas, classes: what `LabelledImages` has under these names.

    Raises:
        InputError: it or one of its tables is missing or malformed.
    """

    def __init__(
        self,
        root: str | Path,
        labels: Labels = "auto",
        regions: Regions = "auto",
        superpixels: int = 32,
        predictor: Predictor | None = None,
        convert: bool = False,
        void: Void = VOID,
        exact_resize: bool = True,
    ) -> None:
        if void not in (VOID, None):
            raise InputError(f"`void` must be {VOID} or null, got {void!r}", "data")
        self.convert, self.void, self.exact_resize = convert, void, exact_resize
        _check_choice("labels", labels, get_args(Labels))
        _check_choice("regions", regions, get_args(Regions))
        self.root = Path(root).expanduser()
        if why := trouble(self.root, folder=True):
            raise InputError(f"{self.root}: {why}: set `root` to one with images/, regions/, metadata.csv", "data")
        self.all_rows = read_metadata(self.root / "metadata.csv")
        self.kind: Kind = self._kind() if labels == "auto" else labels
        if regions == "auto":
            drawn = trouble(self.root / "regions", folder=True) != "no such folder"
            regions = "labels" if drawn else "boxes" if self.kind == "boxes" else "whole"
        self.regions = regions
        self._maker: Predictor | None = None
        if regions != "labels" and regions != "boxes":
            self._maker = from_image(regions, superpixels, predictor)
        self.areas = self._areas()

    def _kind(self) -> Kind:
        if trouble(self.root / "annotations.json") != "no such file":
            return "boxes"
        return "classes" if self.all_rows and self.all_rows[0].label is not None else "masks"

    def _areas(self) -> tuple[str, ...]:
        if self._maker is not None:
            return tuple(self._maker.areas)
        if self.regions == "labels":
            return self._drawn
        classes = self.annotations.classes
        if _REST in classes or len(classes) >= VOID:
            path = self.root / "annotations.json"
            raise InputError(f"{path}: at most {VOID - 1} categories, none called {_REST!r}: rename or join categories")
        return (*classes, _REST)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes to recognise. Asking for them checks that all rows have a label."""
        if self.kind == "boxes":
            return self.annotations.classes
        if self.kind == "masks":
            return self._drawn
        return read_labels(self.root / "metadata.csv", self.all_rows)

    @cached_property
    def annotations(self) -> Annotations:
        """The boxes; every row of metadata.csv is among their images, and some have a box."""
        path = self.root / "annotations.json"
        annotations = read_coco(path)
        for row in self.all_rows:
            if row.id not in annotations.images:
                raise InputError(f"{path}: no image has the file name of {row.id!r} in metadata.csv: list it in images")
        if not any(len(annotations.images[row.id].boxes) for row in self.all_rows):
            why = f" but {annotations.crowds} of crowds, which are skipped (iscrowd)" if annotations.crowds else ""
            raise InputError(f"{path}: the images of metadata.csv have no box{why}: add some")
        return annotations

    @cached_property
    def _most_boxes(self) -> int:
        return max([1, *(len(self.annotations.images[row.id].boxes) for row in self.all_rows)])

    @cached_property
    def _drawn(self) -> tuple[str, ...]:
        """Names of the labels in regions/."""
        if why := trouble(self.root / "regions", folder=True):
            raise InputError(
                f"{self.root / 'regions'}: {why}: add an index image for each image there{self._so_called}, "
                "or give other labels (annotations.json, or a column 'label' in metadata.csv)"
            )
        return read_classes(self.root / "classes.csv")

    @property
    def _so_called(self) -> str:
        """A question about a folder that may be meant as regions/, where there is one."""
        return did_you_mean("regions", (path.name for path in self.root.iterdir() if path.is_dir()))

    def rows(self, split: str | None) -> list[Row]:
        """The images of a split; None takes all."""
        return [row for row in self.all_rows if split is None or row.split == split]

    def image_path(self, row: Row) -> Path:
        """The image, whatever its ending.

        Raises:
            InputError: no file, two of one name, or one with an ending that is not read.
        """
        return self._found(row, self._images, "image", SUFFIXES)

    def regions_path(self, row: Row) -> Path:
        """The index image, see `image_path`."""
        return self._found(row, self._index_images, "index image", LABEL_SUFFIXES)

    @cached_property
    def _images(self) -> dict[str, list[Path]]:
        return _by_stem(self.root / "images")

    @cached_property
    def _index_images(self) -> dict[str, list[Path]]:
        return _by_stem(self.root / "regions")

    def _found(self, row: Row, files: dict[str, list[Path]], what: str, suffixes: tuple[str, ...]) -> Path:
        there = files.get(row.id, [])
        known = [path for path in there if path.suffix.lower() in suffixes]
        if len(known) > 1:
            raise InputError(f"{known[0]} and {known[1].name} have one name: keep the one that {row.id} is")
        if known:
            return known[0]
        if there:
            raise InputError(f"{there[0]}: its ending is none of {', '.join(suffixes)}: convert it")
        written = Path(row.id)
        if written.suffix.lower() in suffixes and written.stem in files:
            path = self.root / "metadata.csv"
            raise InputError(f"{path}: line {row.line}: id {row.id!r} has an ending: write {written.stem}")
        others = files.keys() - {other.id for other in self.all_rows}
        meant = near(row.id, sorted(others)) or next((name for name in sorted(others) if row.id in name), None)
        asked = f" (did you mean `{files[meant][0].name}`?)" if meant else ""
        path = self.root / ("images" if what == "image" else "regions") / f"{row.id}.png"
        raise InputError(f"{path}: this {what} is missing: add the file or drop its row from metadata.csv{asked}")

    @property
    def told(self) -> list[str]:
        """Lines on rows that no split has, and on boxes that are not taken as they are."""
        told = unread((row.split for row in self.all_rows), f"{self.root / 'metadata.csv'}: rows with splits")
        if self.regions == "whole" and self._so_called:
            told.append(f"{self.root}: no folder is called regions, each image is one area{self._so_called}")
        return told + (list(self.annotations.told) if "annotations" in vars(self) else [])

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
        drawn = look_at_regions(self.regions_path(row), len(self._drawn), self.void)
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
        boxes = self.annotations.images[row.id] if boxed else None
        return repr((row.environment, row.label, boxes and (boxes.boxes.tolist(), boxes.labels.tolist())))

    def read(self, row: Row, size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        """Image (3, H, W) and index image (H, W), both uint8, at `size` or their own."""
        image, own = read_image(self.image_path(row), size, self.convert, self.exact_resize)
        return image, self._read_regions(row, image, own)

    def sample(self, row: Row, size: tuple[int, int] | None = None) -> Sample:
        """`image`, `regions` and the labels, as `LabelledImages` describes them."""
        image, own = read_image(self.image_path(row), size, self.convert, self.exact_resize)
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
        regions, drawn = read_regions(path, len(self._drawn), size, self.void)
        _check_sizes(path, drawn, own)
        return regions

    def _checked_boxes(self, row: Row, own: tuple[int, int], turned: str = "") -> ImageBoxes:
        boxes = self.annotations.images[row.id]
        if own != boxes.size:
            raise InputError(
                f"{self.image_path(row)}: {own[1]} x {own[0]} pixels{turned}, annotations.json says "
                f"{boxes.size[1]} x {boxes.size[0]}: correct its width and height and the boxes there"
            )
        return boxes


class FolderImages(LabelledImages):
    """The images of one split of a folder."""

    def __init__(self, folder: Folder, split: str, size: tuple[int, int], flip: bool, cache_gib: float) -> None:
        self.folder, self.size = folder, size
        self.rows = folder.rows(split)
        super().__init__(
            ids=[row.id for row in self.rows],
            areas=folder.areas,
            classes=folder.classes,
            kind=folder.kind,
            environment=[row.environment for row in self.rows],
            flip=flip,
            cache_gib=cache_gib,
        )

    def read(self, index: int) -> Sample:
        return self.folder.sample(self.rows[index], self.size)

    def look(self, index: int) -> list[Header]:
        return self.folder.look(self.rows[index])

    def paths(self, index: int) -> tuple[str | None, str | None]:
        return self.folder.paths(self.rows[index])

    def read_from(self, index: int) -> list[Path]:
        return self.folder.read_from(self.rows[index])

    def said(self, index: int) -> str:
        return self.folder.said(self.rows[index])


class FolderData(LabelledData):
    """`data=folder data.root=PATH`: the splits of a folder.

    Args:
        root, labels, regions, superpixels, predictor, convert, void, exact_resize: see `Folder`.
        size: height and width all images are resized to.
        batch_size, num_workers, flip, cache_gib, targets, seed: see `LabelledData`.
    """

    def __init__(
        self,
        root: str,
        size: tuple[int, int] = (192, 256),
        batch_size: int = 8,
        num_workers: int = 0,
        flip: bool = True,
        cache_gib: float = 4.0,
        labels: Labels = "auto",
        regions: Regions = "auto",
        superpixels: int = 32,
        predictor: Predictor | None = None,
        targets: float = 0.0,
        seed: int = 0,
        convert: bool = False,
        void: Void = VOID,
        exact_resize: bool = True,
    ) -> None:
        super().__init__(batch_size, num_workers, flip, cache_gib, targets, seed)
        self.folder = Folder(root, labels, regions, superpixels, predictor, convert, void, exact_resize)
        self.folder.classes  # noqa: B018  # all rows have labels: said now, not when the first batch is read
        self.size = (int(size[0]), int(size[1]))

    def has(self, split: str) -> bool:
        return bool(self.folder.rows(split))

    def images(self, split: str, flip: bool) -> LabelledImages:
        images = FolderImages(self.folder, split, self.size, flip, self.cache_gib)
        if not len(images):
            raise InputError(f"{self.folder.root / 'metadata.csv'}: no row has split {split!r}: add some")
        if split == "train" and images.kind == "boxes":
            boxes = self.folder.annotations.images
            if not any(len(boxes[name].boxes) for name in images.ids):
                raise InputError(f"{self.folder.root / 'annotations.json'}: no training image has a box: add some")
        return images

    @property
    def told(self) -> list[str]:
        return self.folder.told


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"`{key}` must be one of {', '.join(choices)}, got {value!r}", "data")


def _check_sizes(path: Path, drawn: tuple[int, int], image: tuple[int, int], turned: str = "") -> None:
    if drawn != image:
        raise InputError(
            f"{path}: {drawn[1]} x {drawn[0]} pixels, its image has {image[1]} x {image[0]}{turned}: make both the "
            "same size"
        )


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """The files of a folder by their names without ending.

    Raises:
        InputError: there is no such folder.
    """
    if why := trouble(folder, folder=True):
        raise InputError(f"{folder}: {why}: put the files of metadata.csv there")
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        files.setdefault(path.stem, []).append(path)
    return files
