"""Boxes in COCO's format (annotations.json): read strictly, written atomically."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.files import read_text, write_atomically
from hardmine.names import look_at_names, unified

_TYPES: dict[str, tuple[type, ...]] = {
    "id": (int, str),
    "image_id": (int, str),
    "category_id": (int, str),
    "file_name": (str,),
    "name": (str,),
    "width": (int,),
    "height": (int,),
    "bbox": (list,),
}


@dataclass(frozen=True)
class ImageBoxes:
    """The boxes of one image.

    Attributes:
        size: height and width of the image, pixels.
        boxes: (n, 4) float32, x1, y1, x2, y2 in pixels, inside the image.
        labels: (n,) int64, class of each box.
    """

    size: tuple[int, int]
    boxes: Tensor
    labels: Tensor

    def scaled(self, size: tuple[int, int]) -> "ImageBoxes":
        """The same for the image resized to height and width `size`."""
        if size == self.size:
            return self
        y, x = size[0] / self.size[0], size[1] / self.size[1]
        return ImageBoxes(size, self.boxes * torch.tensor([x, y, x, y]), self.labels)

    def padded(self, length: int) -> tuple[Tensor, Tensor]:
        """Boxes (length, 4), padded with zeros, and labels (length,), padded with -1."""
        boxes, labels = torch.zeros(length, 4), torch.full((length,), -1)
        boxes[: len(self.boxes)], labels[: len(self.labels)] = self.boxes, self.labels
        return boxes, labels


@dataclass(frozen=True)
class Annotations:
    """What a file says.

    Attributes:
        classes: their names.
        images: the boxes of each image by the stem of its file name, or all of it.
        crowds: boxes that were skipped.
        told: lines on what was taken otherwise than it may have been meant.
    """

    classes: tuple[str, ...]
    images: dict[str, ImageBoxes]
    crowds: int = 0
    told: tuple[str, ...] = ()


def read_coco(path: Path, paths: bool = False) -> Annotations:
    """Boxes of a COCO file. A class is its place in `categories`, whatever its id; crowds (iscrowd = 1) are skipped.

    Boxes partly outside their image are clipped, as annotators draw over the edge; those that are twice there are one.

    Args:
        path: of the file.
        paths: images are called by their whole file name, with folders and ending.

    Raises:
        InputError: missing, not JSON, an entry that is malformed or refers to nothing, or corners in place of sizes.
    """
    content = _load(path)
    categories = _keyed(path, content, "categories", ("id", "name"))
    classes = tuple(category["name"] for category in categories.values())
    if not classes:
        raise InputError(f"{path}: categories must have at least one entry: add the classes there")
    look_at_names(path, "name", [(f"categories[{index}]", name) for index, name in enumerate(classes)])
    label = {key: index for index, key in enumerate(categories)}
    images = _keyed(path, content, "images", ("id", "file_name", "width", "height"))
    stems: dict[str, Any] = {}
    for key, image in images.items():
        if image["width"] < 1 or image["height"] < 1:
            raise InputError(f"{path}: image {key!r} has width or height below 1 pixel: correct it")
        stem = unified(image["file_name"])
        stem = stem if paths else PurePosixPath(stem).stem
        if not stem or stems.setdefault(stem, key) != key:
            raise InputError(f"{path}: file_name {image['file_name']!r} is empty or names one image twice: rename it")
    found: dict[Any, list[tuple[list[float], int]]] = {key: [] for key in images}
    written: list[tuple[list[float], dict[str, Any]]] = []  # boxes as they are in the file, with their image
    seen: set[tuple[Any, ...]] = set()
    crowds = twice = 0
    for number, entry in enumerate(_entries(path, content, "annotations", ("image_id", "category_id", "bbox"))):
        where = f"{path}: annotations[{number}]"
        for name, known, listed in (("image_id", images, "images"), ("category_id", categories, "categories")):
            if entry[name] not in known:
                raise InputError(f"{where}: {name} {entry[name]!r} is not among {listed}: add it there or drop the box")
        if entry.get("iscrowd", 0) not in (0, 1):
            raise InputError(f"{where}: iscrowd must be 0 or 1, got {entry['iscrowd']!r}: correct it")
        if entry.get("iscrowd", 0):
            crowds += 1
            continue
        box = _corners(where, entry["bbox"], images[entry["image_id"]])
        if (one := (entry["image_id"], entry["category_id"], *box)) in seen:
            twice += 1
            continue
        seen.add(one)
        found[entry["image_id"]].append((box, label[entry["category_id"]]))
        written.append((entry["bbox"], images[entry["image_id"]]))
    boxes = {stem: _image_boxes(images[key], found[key]) for stem, key in stems.items()}
    told = [*_gaps(path, list(categories)), *_cut(path, written)]
    told += [f"{path}: {crowds} boxes of crowds (iscrowd) are skipped"] if crowds else []
    told += [f"{path}: {twice} boxes that are twice there are taken once"] if twice else []
    return Annotations(classes, boxes, crowds, tuple(told))


def write_coco(
    path: Path,
    images: Sequence[tuple[str, int, int]],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    classes: Sequence[str],
) -> None:
    """Write boxes as a COCO file; its ids run 1, 2, 3, ... in the order given.

    Args:
        path: the file to make or replace.
        images: file name, height and width (pixels) of each image.
        boxes: for each image (n, 4) float32, x1, y1, x2, y2 in pixels.
        labels: for each image (n,) int64, class of each box; rows with a negative label are padding and left out.
        classes: names of the classes.

    Raises:
        ValueError: boxes or labels that are not one for each image, or a label beyond the classes.
    """
    annotations: list[dict[str, Any]] = []
    for image_id, (image, of_image, of_box) in enumerate(zip(images, boxes, labels, strict=True), start=1):
        first = len(annotations) + 1  # never 0: pycocotools takes that for `no match`
        found = annotations_of(of_image, of_box, len(classes), image[0])
        annotations += [{"id": first + place, "image_id": image_id, **each} for place, each in enumerate(found)]
    listed = [
        {"id": number, "file_name": name, "width": width, "height": height}
        for number, (name, height, width) in enumerate(images, start=1)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    content = json.dumps({"images": listed, "annotations": annotations, "categories": categories}, ensure_ascii=False)
    write_atomically(Path(path), lambda file: file.write(content.encode()))


def annotations_of(boxes: Tensor, labels: Tensor, classes: int, image: str) -> list[dict[str, Any]]:
    """The entries of one image without their ids; see `write_coco`."""
    found: list[dict[str, Any]] = []
    for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels.tolist(), strict=True):
        if label >= classes:
            raise ValueError(f"label {label} of {image} is beyond the {classes} classes")
        if label >= 0:
            place = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            found.append({"category_id": label + 1, **place})
    return found


def _gaps(path: Path, ids: list[Any]) -> list[str]:
    """COCO's own ids have gaps; who reads a label as an id should know that it is none."""
    if ids in ([*range(len(ids))], [*range(1, len(ids) + 1)]):
        return []
    return [f"{path}: the ids of categories are not 1, 2, 3, ...: a class is its place among them, not its id"]


def _cut(path: Path, written: list[tuple[list[float], dict[str, Any]]]) -> list[str]:
    """A line on boxes that reach over the edge of their image by more than a pixel.

    Raises:
        InputError: all boxes are possible as two corners, and many are not as a corner and a size.
    """
    over = sum(x + w > image["width"] + 1 or y + h > image["height"] + 1 for (x, y, w, h), image in written)
    corners = all(x < w <= image["width"] and y < h <= image["height"] for (x, y, w, h), image in written)
    if over and corners and over >= len(written) / 10:
        raise InputError(
            f"{path}: {over} of {len(written)} boxes reach over the edge of their image, and all could be two corners: "
            "write bbox as x, y, width, height"
        )
    over += sum(x < -1 or y < -1 for (x, y, *_), _ in written)
    return [f"{path}: {over} boxes reach over the edge of their image and are cut off there"] if over else []


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is twice in one object")
    return made


def _load(path: Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        content = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({str(error).splitlines()[0]}): save it as COCO JSON") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: the file must be one JSON object with images, annotations, categories: rewrite it")
    return content


def _entries(path: Path, content: dict[str, Any], table: str, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """The list `table`, each entry an object with `keys` of the right type."""
    entries = content.get(table)
    if not isinstance(entries, list):
        raise InputError(f"{path}: the list {table!r} is missing: add it")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise InputError(f"{path}: {table}[{number}] is no object: correct it")
        for key in keys:
            if key not in entry:
                raise InputError(f"{path}: {table}[{number}] has no {key!r}: add it")
            if not isinstance(entry[key], _TYPES[key]) or isinstance(entry[key], bool):
                wanted = " or ".join(kind.__name__ for kind in _TYPES[key])
                raise InputError(f"{path}: {table}[{number}]: {key} must be {wanted}, got {entry[key]!r}: correct it")
    return entries


def _keyed(path: Path, content: dict[str, Any], table: str, keys: tuple[str, ...]) -> dict[Any, dict[str, Any]]:
    """The list `table` by id, in its order."""
    entries = _entries(path, content, table, keys)
    keyed: dict[Any, dict[str, Any]] = {}
    for entry in entries:
        if entry["id"] in keyed:
            raise InputError(f"{path}: id {entry['id']!r} is twice in {table}: give each its own")
        keyed[entry["id"]] = entry
    return keyed


def _corners(where: str, bbox: list[Any], image: dict[str, Any]) -> list[float]:
    """x1, y1, x2, y2 inside the image, from x, y, width, height."""
    if len(bbox) != 4 or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in bbox):
        raise InputError(f"{where}: bbox must be four numbers x, y, width, height, got {bbox!r}: correct it")
    if not all(abs(value) < 1e9 for value in bbox):  # false for NaN, too
        raise InputError(f"{where}: bbox {bbox!r} is no place in an image: correct or drop it")
    x, y, width, height = bbox
    if width <= 0 or height <= 0:
        raise InputError(f"{where}: bbox {bbox!r} must have width and height above 0: correct or drop it")
    right, bottom = image["width"], image["height"]
    corners = [max(x, 0), max(y, 0), min(x + width, right), min(y + height, bottom)]
    left, top, end, low = torch.tensor(corners, dtype=torch.float32).tolist()  # as it will be kept
    if left >= end or top >= low:
        raise InputError(f"{where}: bbox {bbox!r} is outside its image ({right} x {bottom}): correct or drop it")
    return [left, top, end, low]


def _image_boxes(image: dict[str, Any], found: list[tuple[list[float], int]]) -> ImageBoxes:
    boxes = torch.tensor([box for box, _ in found], dtype=torch.float32).view(-1, 4)
    labels = torch.tensor([label for _, label in found], dtype=torch.int64)
    return ImageBoxes((image["height"], image["width"]), boxes, labels)
