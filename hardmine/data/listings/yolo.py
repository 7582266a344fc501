"""YOLO's layout: images/ and labels/, or a YAML file that says where they are."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import torch
import yaml

from hardmine.data.annotations import ImageBoxes
from hardmine.data.globs import files_below, in_words
from hardmine.data.images import SUFFIXES, not_read
from hardmine.data.layout import SHARES, look_at_choice
from hardmine.data.listings.coco import Regions
from hardmine.data.listings.described import facts_in, within
from hardmine.data.listings.listing import Listed, ListedData, ListedKeys
from hardmine.data.listings.splits import Facts
from hardmine.data.metadata import misspelt
from hardmine.errors import InputError
from hardmine.files import read_text, trouble
from hardmine.names import look_at_names, unified

_OVER = 0.01  # share of an image that a box may reach over its edge before that is told
_SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test", "target": "target"}


class YoloData(ListedData):
    """`data=yolo data.root=PATH`: a text file of boxes for each image, `class x y width height` in its shares.

    A YAML file (`names`, `path`, `train`, `val`, `test`, `target`) says the classes and the folders or lists of images;
    labels lie where `images` in a path is `labels`. An image without a file of labels has no box. Outlines, as of
    segmentation, are taken as the boxes around them; key points (`kpt_shape`) are not read.

    Args:
        root: the folder of the YAML file, or the file.
        pattern: see `PairsData`.
        size: height and width all images are resized to.
        regions, more: see `Description`, `Layout` and `LabelledData`.
    """

    def __init__(
        self,
        root: str,
        pattern: str | None = None,
        size: tuple[int, int] = (256, 256),
        regions: Regions = "boxes",
        **more: Unpack[ListedKeys],
    ) -> None:
        look_at_choice("regions", regions, Regions)
        file = _file(Path(root).expanduser())
        said: Any = _yaml(file)
        classes = _names(file, said)
        folder = file.parent / str(said.get("path") or ".")
        if trouble(folder, folder=True):  # of the machine that it was written on
            folder = file.parent
        images: dict[str, Path] = {}
        facts: dict[str, Facts] = {}
        beside: list[Path] = []
        for name, split in _SPLITS.items():
            for each in _images(file, folder, said[name], beside) if said.get(name) else ():
                path = Path(os.path.normpath(each))
                known = within(Path(os.path.normpath(folder)), path)
                if images.setdefault(known, path) is path:
                    facts[known] = {"split": split, **facts_in(pattern, known)}
                elif split != facts[known]["split"]:
                    raise InputError(f"{file}: {path} is in two splits: take it out of one")
        if not images:
            raise InputError(f"{file}: names no images: set train and val there to folders of images")
        found: Counter[str] = Counter()
        rows: dict[Path, Listed] = {}  # by the file of their labels
        for name, path in images.items():
            labels = _labels_path(path)
            if labels in rows:
                raise InputError(f"{path} and {rows[labels].image.name} have one file of labels: keep one of them")
            boxes = _read(labels, len(classes), found, points="kpt_shape" in said)
            rows[labels] = Listed(str(Path(name).with_suffix("")), image=path, labels=labels, boxes=boxes)
        told = [f"{file}: {count} {what}" for what, count in found.items()]
        alone = [labels for labels in rows if trouble(labels) == "no such file"]
        if len(alone) == len(rows):
            raise InputError(f"{file}: no image has a file of labels: the first would be {alone[0]}: put them there")
        if alone:
            told.append(f"{len(alone)} images have no file of labels, and so no box ({rows[alone[0]].image})")
        told += _spare(rows) + not_read(beside)
        super().__init__(folder, list(rows.values()), facts, file, classes, None, told, regions, size, **more)


def _file(root: Path) -> Path:
    """The YAML file of a folder."""
    if root.suffix.lower() in (".yaml", ".yml") and root.is_file():
        return root
    if why := trouble(root, folder=True):
        raise InputError(f"{root}: {why}: set `root` to a folder with data.yaml, or to that file", "data")
    found = sorted(path for path in root.iterdir() if path.suffix.lower() in (".yaml", ".yml"))
    if len(found) > 1:  # settings of training lie beside it
        found = [path for path in found if re.search("^[\"']?names[\"']? *:", read_text(path), re.MULTILINE)] or found
    if len(found) != 1:
        many = f"several YAML files ({', '.join(path.name for path in found)})" if found else "no YAML file"
        raise InputError(f"{root}: has {many}: set `root` to the one with names, train and val", "data")
    return found[0]


def _yaml(file: Path) -> dict[str, Any]:
    try:
        said: Any = yaml.safe_load(read_text(file))
    except yaml.YAMLError as error:
        raise InputError(f"{file}: cannot be read as YAML ({' '.join(str(error).split())[:120]}): mend it") from None
    if not isinstance(said, dict):
        raise InputError(f"{file}: must have the keys names, train and val: write them there")
    for key in map(str, said):
        if key not in _SPLITS and (meant := misspelt(key)):
            raise InputError(f"{file}: {key} is no split: did you mean `{meant}`? If not, call it less alike")
    return {str(key): value for key, value in said.items()}


def _names(file: Path, said: Mapping[str, Any]) -> tuple[str, ...]:
    names = said.get("names")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise InputError(f"{file}: the numbers of names must run 0, 1, 2, ...: correct them")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise InputError(f"{file}: names must list the classes: write names: [NAME, ...] there")
    if said.get("nc", len(names)) != len(names):
        raise InputError(f"{file}: nc is {said['nc']!r:.40}, and names has {len(names)}: correct one of them")
    look_at_names(file, "name", [(f"names, entry {number}", str(name)) for number, name in enumerate(names)])
    return tuple(map(str, names))


def _images(file: Path, folder: Path, said: Any, beside: list[Path]) -> list[Path]:
    """The images that a split's entry names: folders, lists of paths, or several of them.

    Args:
        file: YAML.
        folder: that its paths are relative to.
        said: the entry.
        beside: gets all files of the folders.
    """
    found: list[Path] = []
    for each in said if isinstance(said, list) else [said]:
        written = Path(unified(str(each)))
        inside = Path(*written.parts[written.parts[:1] == ("..",) :])  # as one program writes it, from elsewhere
        places = [folder / written, file.parent / written, file.parent / inside]
        place = next((place for place in places if place.exists()), None)
        if place is None:
            raise InputError(
                f"{file}: {folder / written} is not there: {folder} has {in_words(folder)}: correct the path"
            )
        if place.is_dir():
            there = sorted(files_below(place))
            found += [path for path in there if path.suffix.lower() in SUFFIXES]
            beside += there
        else:
            found += _in_list(place, folder)
    return found


def _in_list(path: Path, folder: Path) -> list[Path]:
    """The images of a list, whose paths begin in the folder of the data or in that of the list.

    Raises:
        InputError: a line that is no file in either.
    """
    found = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if name := unified(line.strip()):
            image = next((place / name for place in (folder, path.parent) if (place / name).is_file()), None)
            if image is None:
                raise InputError(f"{path}: line {number}: {folder / name} is not there: correct the path")
            found.append(image)
    return found


def _labels_path(image: Path) -> Path:
    """Of images/a/b.jpg it is labels/a/b.txt: the last `images` counts; without one it lies beside the image."""
    parts = list(image.with_suffix(".txt").parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def _spare(labels: Mapping[Path, Listed]) -> list[str]:
    """A line on files of labels that lie beside those of the images and belong to none."""
    folders = sorted({path.parent for path in labels if path.parent.is_dir()})
    beside = [path for folder in folders for path in sorted(folder.glob("*.txt")) if path not in labels]
    others = [path for path in beside if re.match(r"\d+(\s+[-+.\de]+){4,}\s*$", _first_line(path))]
    return [f"{len(others)} files of labels have no image, and are not read ({others[0]})"] if others else []


def _first_line(path: Path) -> str:
    with path.open(errors="replace") as file:
        return file.readline(1000)


def _read(path: Path, classes: int, found: Counter[str], points: bool = False) -> ImageBoxes:
    """The boxes of a file.

    Args:
        path: of the file; without it there is no box.
        classes: how many there are.
        found: counts what is taken otherwise than it may have been meant.
        points: what follows the box in a line are key points.
    """
    boxes: dict[tuple[float, ...], None] = {}  # class and corners
    lines = read_text(path).splitlines() if trouble(path) != "no such file" else []
    for number, line in enumerate(lines, 1):
        where = f"{path}: line {number}"
        cells = line.split()
        if not cells:
            continue
        if not re.fullmatch(r"\d+", cells[0]) or int(cells[0]) >= classes:
            raise InputError(f"{where}: the class must be 0 to {classes - 1}, got {cells[0]!r:.40}: correct it")
        try:
            values = [float(cell) for cell in cells[1:]]
        except ValueError:
            values = []
        if points and len(values) > 4:
            found["boxes have key points, which are not read"] += 1
            values = values[:4]
        count, shares = len(values), all(-1 <= value <= 2 for value in values)
        if not shares or count % 2 or (count != 4 and count < 6):
            raise InputError(
                f"{where}: must be a class and x, y, width, height as shares, got {line!r:.60}: correct it"
            )
        if len(values) == 4:
            x, y, width, height = values
            corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        else:
            found["outlines are taken as the boxes around them"] += 1
            corners = [min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])]
        if min(corners) < -_OVER or max(corners) > 1 + _OVER:
            found["boxes reach over the edge of their image and are cut off there"] += 1
        corners = [min(max(value, 0.0), 1.0) for value in corners]
        if corners[0] >= corners[2] or corners[1] >= corners[3]:
            raise InputError(f"{where}: the box has no pixel in the image: correct or drop it")
        one = (int(cells[0]), *corners)
        if one in boxes:
            found["boxes that are twice there are taken once"] += 1
        boxes[one] = None
    made = torch.tensor([corners for _, *corners in boxes], dtype=torch.float32).view(-1, 4)
    return ImageBoxes(SHARES, made, torch.tensor([int(label) for label, *_ in boxes], dtype=torch.int64))
