"""hardmine's folder layout: images/, regions/, classes.csv, annotations.json, metadata.csv."""

import shlex
from functools import cached_property
from pathlib import Path
from typing import Literal, Unpack

from hardmine.arguments import parted
from hardmine.data.annotations import Annotations, ImageBoxes, read_coco
from hardmine.data.coding import Coding, Indices
from hardmine.data.images import LABEL_SUFFIXES, SUFFIXES, Void, not_read
from hardmine.data.labelled import Kind
from hardmine.data.layout import Asked, Layout, LayoutData, LayoutKeys, Reading, look_at_choice
from hardmine.data.metadata import Row, read_classes, read_labels, read_metadata
from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.names import did_you_mean, near, unified
from hardmine.records import VOID

Labels = Literal["auto", "masks", "classes", "boxes"]


class Folder(Layout):
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
        void: label of regions/ that is no area; None where all are, see `Indices`.
        reading: see `Layout`.

    Attributes:
        kind, areas, classes: what `LabelledImages` has under these names.

    Raises:
        InputError: it or one of its tables is missing or malformed.
    """

    def __init__(
        self,
        root: str | Path,
        labels: Labels = "auto",
        regions: Asked = "auto",
        void: Void = VOID,
        **reading: Unpack[Reading],
    ) -> None:
        if void not in (VOID, None):
            raise InputError(f"`void` must be {VOID} or null, got {void!r}", "data")
        look_at_choice("labels", labels, Labels)
        look_at_choice("regions", regions, Asked)
        self.root, self.void = Path(root).expanduser(), void
        if why := trouble(self.root, folder=True):
            raise InputError(f"{self.root}: {why}: set `root` to one with images/, regions/, metadata.csv", "data")
        self.listed = self.root / "metadata.csv"
        if trouble(self.listed) == "no such file":
            raise InputError(
                f"{self.listed}: no such file: it must have the columns id, split; what is there instead is told "
                f"by hardmine data {shlex.quote(str(root))}"
            )
        self.all_rows = read_metadata(self.listed)
        self.kind: Kind = self._kind() if labels == "auto" else labels
        if regions == "auto":
            there = trouble(self.root / "regions", folder=True) != "no such folder"
            regions = "labels" if there else "boxes" if self.kind == "boxes" else "whole"
        super().__init__(self.root, regions, **reading)
        self.areas  # noqa: B018  # what is wrong with their names shows now

    def _kind(self) -> Kind:
        if trouble(self.root / "annotations.json") != "no such file":
            return "boxes"
        return "classes" if self.all_rows and self.all_rows[0].label is not None else "masks"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes to recognise. Asking for them checks that all rows have a label."""
        if self.kind == "boxes":
            return self.annotations.classes
        if self.kind == "masks":
            return self.drawn
        return read_labels(self.root / "metadata.csv", self.all_rows)

    @cached_property
    def annotations(self) -> Annotations:
        """The boxes; every row of metadata.csv is among their images, and some have a box."""
        path = self.root / "annotations.json"
        if trouble(path) == "no such file":
            raise InputError(f"{path}: no such file: add COCO boxes, or set `labels` to masks or classes", "data")
        annotations = read_coco(path)
        for row in self.all_rows:
            if row.id not in annotations.images:
                raise InputError(f"{path}: no image has the file name of {row.id!r} in metadata.csv: list it in images")
        if not any(len(annotations.images[row.id].boxes) for row in self.all_rows):
            why = f" but {annotations.crowds} of crowds, which are skipped (iscrowd)" if annotations.crowds else ""
            raise InputError(f"{path}: the images of metadata.csv have no box{why}: add some")
        return annotations

    @property
    def boxed(self) -> tuple[str, ...]:
        return self.annotations.classes

    def boxes(self, row: Row) -> ImageBoxes:
        return self.annotations.images[row.id]

    def boxes_path(self, row: Row) -> Path:
        return self.root / "annotations.json"

    @cached_property
    def drawn(self) -> tuple[str, ...]:
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

    @cached_property
    def coding(self) -> Coding:
        return Indices(len(self.drawn), self.void)

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
        told = super().told
        if self.regions == "whole" and self._so_called:
            told.append(f"{self.root}: no folder is called regions, each image is one area{self._so_called}")
        named = {row.id for row in self.all_rows}
        others = [path for name, paths in self._images.items() if name not in named for path in paths]
        told += not_read(others)
        if spare := [path for path in others if path.suffix.lower() in SUFFIXES and path.name[0] != "."]:
            told.append(f"{len(spare)} images have no row in metadata.csv, and are not read ({spare[0]})")
        return told + (list(self.annotations.told) if "annotations" in vars(self) else [])


class FolderData(LayoutData):
    """`data=folder data.root=PATH`: the splits of a folder.

    Args:
        root, labels, regions, void: see `Folder`.
        size, tiles: see `LayoutData`.
        more: see `Layout` and `LabelledData`.
    """

    def __init__(
        self,
        root: str,
        size: tuple[int, int] = (192, 256),
        tiles: bool = False,
        labels: Labels = "auto",
        regions: Asked = "auto",
        void: Void = VOID,
        **more: Unpack[LayoutKeys],
    ) -> None:
        reading, loading = parted(more, Reading)
        folder = Folder(root, labels, regions, void, **reading)
        super().__init__(folder, size, tiles, **loading)


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """The files of a folder by their names without ending.

    Raises:
        InputError: there is no such folder.
    """
    if why := trouble(folder, folder=True):
        raise InputError(f"{folder}: {why}: put the files of metadata.csv there")
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        files.setdefault(unified(path.stem), []).append(path)
    return files
