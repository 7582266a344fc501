"""Pieces, and the images that they were made of, as examples of a data set that any program can train on (R26, R27)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hardmine.conversions import Conversion
from hardmine.data.labelled import LabelledImages
from hardmine.data.metadata import SOURCE, UNKNOWN
from hardmine.errors import InputError
from hardmine.neighbourhood.cells import environments
from hardmine.numbered import Numbered
from hardmine.records import Recipe
from hardmine.store import ParameterStore
from hardmine.view import View


@dataclass(frozen=True)
class Example:
    """One image of a data set that is written.

    Attributes:
        name: of its files, without an ending; no other example has it.
        split: that it belongs to.
        image: (3, H, W) uint8 sRGB.
        regions: (H, W) uint8, area of each pixel, 255 void; where masks are recognised, the class of each pixel.
        labels: as a sample of `LabelledImages` has them.
        environment: its value of each component; of a piece the one that it was converted to, see `environments`, and
            under `source.<component>` that of its source. Conversions without a target's colours leave it in that of
            its source. What neither store nor images tell is `unknown`.
        piece: of a piece its number, source, targets, parent and depth; empty for an image as it is.
    """

    name: str
    split: str
    image: Tensor
    regions: Tensor
    labels: Mapping[str, Tensor]
    environment: Mapping[str, str]
    piece: Mapping[str, str | int] = field(default_factory=dict)


class Export:
    """Makes the examples of a data set, each under a name of its own.

    Args:
        conversion: that made the pieces.
        store: of which they came.
    """

    def __init__(self, conversion: Conversion, store: ParameterStore) -> None:
        self.conversion, self.store = conversion, store
        self._names: set[str] = set()

    def pieces(self, images: LabelledImages, pieces: Recipe, batch_size: int = 8) -> Iterator[Example]:
        """Make the pieces again.

        Args:
            images: the sources.
            pieces: recipes, at least one region chosen in each.
            batch_size: pieces made at a time.

        Raises:
            InputError: the recipes do not say of which image they are.
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
                labels = {key: value[row] for key, value in {**batch, **made.labels}.items()}
                yield Example(
                    self._named(f"{file_name(images.ids[source])}_piece{int(recipe.piece[row]):06d}", "train"),
                    "train",
                    made.image[row],
                    labels["target"].byte() if images.kind == "masks" else made.regions[row],
                    labels,
                    self._environment(images.environment[source], reached[row]),
                    self._entry(images.ids[source], recipe[row : row + 1]),
                )

    def originals(self, images: LabelledImages, split: str) -> Iterator[Example]:
        """The images of a split as they are."""
        for index, name in enumerate(images.ids):
            sample = images.kept(index)
            regions = sample["target"].byte() if images.kind == "masks" else sample["regions"]
            named = self._named(file_name(name), split)
            yield Example(named, split, sample["image"], regions, sample, images.environment[index])

    def _named(self, name: str, split: str) -> str:
        """The name, or one like it where another image has it: ids are unique in their split alone."""
        named, number = name, 1
        while named in self._names:
            named = f"{split}_{name}" if number == 1 else f"{split}_{name}_{number}"
            number += 1
        self._names.add(named)
        return named

    def _environment(self, source: dict[str, str], reached: dict[str, str]) -> dict[str, str]:
        """Of a piece: where it was converted to, and where it came from."""
        if self.conversion.colors is None:
            reached = source
        unknown = dict.fromkeys(source, UNKNOWN)
        return {**unknown, **reached, **{f"{SOURCE}{component}": value for component, value in source.items()}}

    def _entry(self, source: str, recipe: Recipe) -> dict[str, str | int]:
        stored = dict.fromkeys(int(row) for row in recipe.target[0] if row >= 0)
        targets = " ".join(self.store.ids[row] for row in stored) or "generated"
        numbers = {"parent": int(recipe.parent), "depth": int(recipe.depth)}
        return {"piece": int(recipe.piece), "source": source, "targets": targets, **numbers}


def file_name(image: str) -> str:
    """An image's id without folders: `cat/01` becomes `cat_01`."""
    return image.replace("/", "_")
