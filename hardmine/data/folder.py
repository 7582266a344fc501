"""hardmine's folder layout: images/, regions/, classes.csv, metadata.csv."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from hardmine.data.images import read_image, read_regions
from hardmine.data.labelled import LabelledImages
from hardmine.data.module import LabelledData
from hardmine.errors import InputError

_SUFFIXES = (".png", ".jpg", ".jpeg")
_NO_COMPONENT = {"id", "split", "label"}  # every other column of metadata.csv is an environment component


@dataclass(frozen=True)
class Row:
    """One image of the folder."""

    id: str
    split: str
    environment: dict[str, str] = field(default_factory=dict)


class Folder:
    """Reader of the layout.

        images/<id>.jpg|png     8-bit RGB
        regions/<id>.png        index image: one area label per pixel, 255 void
        classes.csv             index,name of the areas
        metadata.csv            id,split and one column per environment component (time, weather, ...)

    Args:
        root: the folder.

    Raises:
        InputError: it or one of its tables is missing or malformed.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder: set data.root to one with images/, regions/, metadata.csv")
        self.areas = self._read_classes()
        self.all_rows = self._read_metadata()

    def rows(self, split: str | None) -> list[Row]:
        """The images of a split; None takes all."""
        return [row for row in self.all_rows if split is None or row.split == split]

    def image_path(self, row: Row) -> Path:
        paths = [path for suffix in _SUFFIXES if (path := self.root / "images" / (row.id + suffix)).is_file()]
        return paths[0] if paths else self.root / "images" / (row.id + ".png")

    def regions_path(self, row: Row) -> Path:
        return self.root / "regions" / f"{row.id}.png"

    def read(self, row: Row, size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        """Image (3, H, W) and index image (H, W), both uint8, at `size` or their own."""
        image, image_size = read_image(self.image_path(row), size)
        regions, regions_size = read_regions(self.regions_path(row), len(self.areas), size)
        if image_size != regions_size:
            raise InputError(
                f"{self.regions_path(row)}: {regions_size[1]} x {regions_size[0]} pixels, its image has "
                f"{image_size[1]} x {image_size[0]}: make both the same size"
            )
        return image, regions

    def _read_classes(self) -> tuple[str, ...]:
        path = self.root / "classes.csv"
        entries = _read_table(path, ("index", "name"))
        names = tuple(entry["name"] for entry in entries)
        if [entry["index"] for entry in entries] != [str(index) for index in range(len(names))] or not names:
            raise InputError(f"{path}: the indices must run 0, 1, 2, ... in order: renumber them")
        if len(names) > 255 or len(set(names)) < len(names):
            raise InputError(f"{path}: at most 255 areas, each with a name of its own: rename or join areas")
        return names

    def _read_metadata(self) -> list[Row]:
        path = self.root / "metadata.csv"
        entries = _read_table(path, ("id", "split"))
        components = [name for name in (entries[0] if entries else {}) if name not in _NO_COMPONENT]
        rows = [Row(e["id"], e["split"], {name: e[name] for name in components}) for e in entries]
        seen: set[str] = set()
        for row in rows:
            if not row.id or row.id in seen or Path(row.id).name != row.id:
                raise InputError(f"{path}: id {row.id!r} is empty, twice there or no file name: give each row its own")
            seen.add(row.id)
        return rows


class FolderImages(LabelledImages):
    """The images of one split of a folder."""

    def __init__(self, folder: Folder, split: str, size: tuple[int, int], flip: bool, cache_gib: float) -> None:
        self.folder, self.size = folder, size
        self.rows = folder.rows(split)
        super().__init__(
            ids=[row.id for row in self.rows],
            areas=folder.areas,
            environment=[row.environment for row in self.rows],
            flip=flip,
            cache_gib=cache_gib,
        )

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        return self.folder.read(self.rows[index], self.size)


class FolderData(LabelledData):
    """`data=folder data.root=PATH`: the splits of a folder.

    Args:
        root: the folder, see `Folder`.
        size: height and width all images are resized to.
        batch_size, num_workers, flip, cache_gib: see `LabelledData`.
    """

    def __init__(
        self,
        root: str,
        size: tuple[int, int] = (192, 256),
        batch_size: int = 8,
        num_workers: int = 0,
        flip: bool = True,
        cache_gib: float = 4.0,
    ) -> None:
        super().__init__(batch_size, num_workers, flip, cache_gib)
        self.folder = Folder(root)
        self.size = (int(size[0]), int(size[1]))

    def images(self, split: str, flip: bool) -> LabelledImages:
        images = FolderImages(self.folder, split, self.size, flip, self.cache_gib)
        if not len(images):
            raise InputError(f"{self.folder.root / 'metadata.csv'}: no row has split {split!r}: add some")
        return images


def _read_table(path: Path, required: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            lacking = set(required) - set(reader.fieldnames or ())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: it must have the columns {', '.join(required)}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a UTF-8 table ({error}): save it as CSV") from None
    if lacking:
        raise InputError(f"{path}: column {sorted(lacking)[0]!r} is missing: add it")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError(f"{path}: line {number} has another number of cells than the header: mend that line")
    return rows
