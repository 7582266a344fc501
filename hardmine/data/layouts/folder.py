"""hardmine's own layout, which `data=folder` reads."""

from pathlib import Path

from torch import Tensor

from hardmine.data.annotations import write_coco
from hardmine.data.export import Example
from hardmine.data.labelled import LabelledImages
from hardmine.data.layouts.base import PIECES, Layout, png, write, write_environments, write_table


class FolderLayout(Layout):
    """A folder that stands on its own.

        images/<name>.png, regions/<name>.png, classes.csv, metadata.csv, annotations.json (COCO, where there are boxes)
        pieces.csv     of each piece its number, source, targets, parent and depth

    The tables come last: a folder that is not whole has no metadata.csv, and no reader takes it for a data set.
    """

    def __init__(self, out: Path, images: LabelledImages) -> None:
        super().__init__(out, images)
        self._rows: list[dict[str, str]] = []  # of metadata.csv
        self._sizes: list[tuple[str, int, int]] = []  # file name, height, width
        self._boxes: list[tuple[Tensor, Tensor]] = []
        self._pieces: list[list[str | int]] = []

    def add(self, example: Example) -> None:
        name, image, labels = example.name, example.image, example.labels
        write(self.out / f"images/{name}.png", png(image))
        write(self.out / f"regions/{name}.png", png(example.regions))
        row = {"id": name, "split": example.split}
        if self.kind == "classes":
            row["label"] = self.classes[int(labels["target"])]
        if self.kind == "boxes":
            self._boxes.append((labels["boxes"], labels["labels"]))
            self._sizes.append((f"{name}.png", image.shape[-2], image.shape[-1]))
        self._rows.append({**row, **example.environment})
        if example.piece:
            self._pieces.append([name, *example.piece.values()])

    def finish(self) -> list[str]:
        if self.kind == "boxes":
            boxes, labels = zip(*self._boxes, strict=True)
            write_coco(self.out / "annotations.json", self._sizes, boxes, labels, self.classes)
        names = self.classes if self.kind == "masks" else self.areas
        write_table(self.out / "classes.csv", ("index", "name"), enumerate(names))
        write_table(self.out / "pieces.csv", PIECES, self._pieces)
        write_environments(self.out / "metadata.csv", self._rows)
        return []
