"""YOLO, as Ultralytics reads it: a text file beside each image, or a folder for each class."""

import json
from pathlib import Path
from typing import ClassVar

from hardmine.data.export import Example
from hardmine.data.labelled import Kind, LabelledImages
from hardmine.data.layouts.base import PIECES, Layout, png, write, write_environments, write_table
from hardmine.errors import InputError


class YoloLayout(Layout):
    """Boxes in text files; one class of each image by folders, which torchvision's `ImageFolder` reads as well.

        boxes      images/<split>/<name>.png, labels/<split>/<name>.txt, data.yaml
        classes    <split>/<class>/<name>.png
        tables     images.csv: split and environment of each image; pieces.csv: of what each piece was made

    A line of a text file is a class and the box's centre, width and height as shares of the image.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("boxes", "classes")
    lacks: ClassVar[str] = "YOLO has polygons for masks, which have no holes"

    def __init__(self, out: Path, images: LabelledImages) -> None:
        super().__init__(out, images)
        if images.kind == "classes":
            for name in images.classes:
                if name in (".", "..") or "/" in name or "\\" in name:
                    raise InputError(f"format=yolo: the class {name!r} is no name of a folder: rename it")
        self._rows: list[dict[str, str]] = []
        self._pieces: list[list[str | int]] = []
        self._splits: dict[str, None] = {}

    def add(self, example: Example) -> None:
        name, split, labels = example.name, example.split, example.labels
        if self.kind == "classes":
            write(self.out / split / self.classes[int(labels["target"])] / f"{name}.png", png(example.image))
        else:
            write(self.out / f"images/{split}/{name}.png", png(example.image))
            write(self.out / f"labels/{split}/{name}.txt", _lines(example))
        self._splits[split] = None
        self._rows.append({"id": name, "split": split, **example.environment})
        if example.piece:
            self._pieces.append([name, *example.piece.values()])

    def finish(self) -> list[str]:
        write_environments(self.out / "images.csv", self._rows)
        write_table(self.out / "pieces.csv", PIECES, self._pieces)
        left = ["the index images of the areas: YOLO has no place for them"]
        if self.kind == "boxes":
            folders = [f"{split}: images/{split}" for split in self._splits]
            # a text in JSON is one in YAML
            names = [f"  {number}: {json.dumps(name)}" for number, name in enumerate(self.classes)]
            write(self.out / "data.yaml", "\n".join([*folders, "names:", *names, ""]))
        if "val" not in self._splits:
            left.append("the split val, which Ultralytics asks for: the data has none, or sources=false")
        return left


def _lines(example: Example) -> str:
    """The text file of an image; empty where it has no box."""
    height, width = example.image.shape[-2:]
    lines = []
    for (x1, y1, x2, y2), label in zip(
        example.labels["boxes"].double().tolist(), example.labels["labels"].tolist(), strict=True
    ):
        if label >= 0:  # others are padding
            shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            lines.append(" ".join([str(label), *(f"{share:.9f}" for share in shares)]) + "\n")
    return "".join(lines)
