"""Pieces as a data set on the disk that any program can train on (R26, R27; D14, D64)."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from hardmine.conversions import Conversion
from hardmine.data.annotations import write_coco
from hardmine.data.labelled import LabelledImages
from hardmine.data.metadata import SOURCE, UNKNOWN
from hardmine.errors import InputError
from hardmine.files import write_atomically
from hardmine.neighbourhood.cells import environments
from hardmine.numbered import Numbered
from hardmine.records import Recipe
from hardmine.store import ParameterStore
from hardmine.view import View

_PIECES = ("id", "piece", "source", "targets", "parent", "depth")  # columns of pieces.csv


class Export:
    """Writes a folder in hardmine's layout, with COCO boxes for detection.

        images/<id>.png, regions/<id>.png, classes.csv, metadata.csv, annotations.json
        pieces.csv     of each piece its number, source, targets, parent and depth

    In metadata.csv a piece has the environment that it was converted to, see `environments`, and in columns
    `source.<component>` that of its source; conversions without a target's colours leave it in that of its source. What
    neither store nor images tell is `unknown`.

    The tables come last: a folder that is not whole has no metadata.csv, and no reader takes it for a data set.

    Args:
        out: the folder.
        conversion: that made the pieces.
        store: of which they came.
    """

    def __init__(self, out: Path, conversion: Conversion, store: ParameterStore) -> None:
        self.out, self.conversion, self.store = out, conversion, store
        self._rows: list[dict[str, str]] = []  # of metadata.csv
        self._sizes: list[tuple[str, int, int]] = []  # file name, height, width
        self._boxes: list[tuple[Tensor, Tensor]] = []
        self._pieces: list[Sequence[str | int]] = []

    def pieces(self, images: LabelledImages, pieces: Recipe, batch_size: int = 8) -> Iterator[str]:
        """Make the pieces again and write them; yields the id of each.

        Args:
            images: the sources.
            pieces: recipes, at least one region chosen in each.
            batch_size: pieces made at a time.
        """
        if bool((pieces.source < 0).any()):
            raise InputError("the pieces do not say of which image they are: wrap the data set in hardmine.Numbered")
        numbered = Numbered(images)
        view = View(image="image", label=None if images.kind == "boxes" else "target", regions="regions")
        for start in range(0, len(pieces), batch_size):
            recipe = pieces[start : start + batch_size]
            places = zip(recipe.source.tolist(), recipe.draw.tolist(), strict=True)
            batch = torch.utils.data.default_collate([numbered[place] for place in places])
            scenes = view.read(batch, images.areas)
            made, _ = self.conversion(scenes, recipe)
            reached = environments(recipe, self.store)
            for row in range(len(recipe)):
                source = int(recipe.source[row])
                name = f"{file_name(images.ids[source])}_piece{int(recipe.piece[row]):06d}"
                labels = {key: value[row] for key, value in {**batch, **made.labels}.items()}
                environment = self._environment(images.environment[source], reached[row])
                self._write(images, name, "train", environment, made.image[row], made.regions[row], labels)
                self._pieces.append(self._entry(name, images.ids[source], recipe[row : row + 1]))
                yield name

    def originals(self, images: LabelledImages, split: str) -> Iterator[str]:
        """Write the images of a split as they are; yields the id of each."""
        for index, name in enumerate(map(file_name, images.ids)):
            sample = images.kept(index)
            environment = images.environment[index]
            self._write(images, name, split, environment, sample["image"], sample["regions"], sample)
            yield name

    def finish(self, images: LabelledImages) -> None:
        """Write the tables."""
        if images.kind == "boxes":
            boxes, labels = zip(*self._boxes, strict=True)
            write_coco(self.out / "annotations.json", self._sizes, boxes, labels, images.classes)
        names = images.classes if images.kind == "masks" else images.areas
        _write_table(self.out / "classes.csv", ("index", "name"), list(enumerate(names)))
        _write_table(self.out / "pieces.csv", _PIECES, self._pieces)
        # pieces may have components that originals lack, and the other way round
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        columns.sort(key=lambda name: name.startswith(SOURCE))  # the others first, in their order
        empty = {name: "" if name.startswith(SOURCE) else UNKNOWN for name in columns}
        table = [list({**empty, **row}.values()) for row in self._rows]
        _write_table(self.out / "metadata.csv", columns, table)

    def _environment(self, source: dict[str, str], reached: dict[str, str]) -> dict[str, str]:
        """Of a piece: where it was converted to, and where it came from."""
        if self.conversion.colors is None:
            reached = source
        unknown = dict.fromkeys(source, UNKNOWN)
        return {**unknown, **reached, **{f"{SOURCE}{component}": value for component, value in source.items()}}

    def _write(
        self,
        images: LabelledImages,
        name: str,
        split: str,
        environment: Mapping[str, str],
        image: Tensor,
        regions: Tensor,
        labels: dict[str, Tensor],
    ) -> None:
        if images.kind == "masks":
            regions = labels["target"].byte()
        _write_png(self.out / "images" / f"{name}.png", image.permute(1, 2, 0))
        _write_png(self.out / "regions" / f"{name}.png", regions)
        row = {"id": name, "split": split}
        if images.kind == "classes":
            row["label"] = images.classes[int(labels["target"])]
        if images.kind == "boxes":
            there = labels["labels"] >= 0
            self._boxes.append((labels["boxes"][there], labels["labels"][there]))
            self._sizes.append((f"{name}.png", image.shape[-2], image.shape[-1]))
        self._rows.append({**row, **environment})

    def _entry(self, name: str, source: str, recipe: Recipe) -> Sequence[str | int]:
        stored = dict.fromkeys(int(row) for row in recipe.target[0] if row >= 0)
        targets = " ".join(self.store.ids[row] for row in stored) or "generated"
        return name, int(recipe.piece), source, targets, int(recipe.parent), int(recipe.depth)


def file_name(image: str) -> str:
    """An image's id without folders: `cat/01` becomes `cat_01`."""
    return image.replace("/", "_")


def _write_png(path: Path, pixels: Tensor) -> None:
    picture = Image.fromarray(pixels.contiguous().numpy())
    write_atomically(path, lambda file: picture.save(file, "PNG"))


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str | int]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))
