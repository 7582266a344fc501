"""What every conversion does, and what several share."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from hardmine.kernels.extent import by_size
from hardmine.records import Recipe
from hardmine.scenes import Colors, Scenes
from hardmine.space import Space

Convert = Callable[[Scenes, Recipe, Tensor | None], tuple[Scenes, Tensor]]


class Conversion(Protocol):
    """Makes new images of sources; all its chance lies in the recipe.

    Attributes:
        space: the axes of its parameters, whose bounds and units every neighbourhood policy works on.
    """

    space: Space

    @property
    def colors(self) -> Colors | None:
        """The colour space whose stored statistics are among the axes; None where no target image is needed."""
        ...

    def __call__(self, scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None = None) -> tuple[Scenes, Tensor]:
        """One converted image per row.

        Args:
            scenes: B sources on any device.
            recipe: N rows on the CPU; `parameter` has the axes of `space`.
            source_of_row: (N,) int64 on the CPU, the source that each row is made of; None where row n is made of
                source n.

        Returns:
            N converted scenes, a row where no region is chosen bit-equal to its source, and (N,) float32: the share
            of the chosen areas in which a limit cut the parameter short, NaN where none was chosen.
        """
        ...


def taken(scenes: Scenes, source_of_row: Tensor | None) -> Scenes:
    """The source of each row."""
    return scenes if source_of_row is None else scenes[source_of_row]


def inside(scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None, convert: Convert) -> tuple[Scenes, Tensor]:
    """Convert each image within its own extent, as if it stood alone; padding stays as it was.

    Args:
        scenes, recipe, source_of_row: see `Conversion`.
        convert: a conversion of scenes that fill their frame.
    """
    if scenes.extent is None:
        return convert(scenes, recipe, source_of_row)
    made = taken(scenes, source_of_row)
    image, regions, moved = made.image.clone(), made.regions.clone(), source_of_row is not None
    labels = {name: value.clone() for name, value in made.labels.items()}
    share = torch.full((len(recipe),), torch.nan, device=image.device)
    for sources, height, width in by_size(scenes.extent, *image.shape[2:]):
        rows, of_row = sources, None
        if source_of_row is not None:
            place = torch.full((len(scenes),), -1).index_copy(0, sources, torch.arange(len(sources)))[source_of_row]
            rows = (place >= 0).nonzero().flatten()
            of_row = place[rows]
        if not len(rows):
            continue
        part = _cut(scenes[sources], height, width)
        new, its_share = convert(part, recipe[rows], of_row)
        there = rows.to(image.device, non_blocking=True)
        share[there], image[there, :, :height, :width] = its_share, new.image
        if new.regions is not part.regions:
            moved, regions[there, :height, :width] = True, new.regions
            for name, value in new.labels.items():
                labels[name][(there, slice(height), slice(width)) if name in new.maps else there] = value
    return made.replace(image, regions, labels) if moved else scenes.replace(image), share


def _cut(scenes: Scenes, height: int, width: int) -> Scenes:
    """The upper left corner, as scenes that fill their frame."""
    maps = {name: value[:, :height, :width].contiguous() for name, value in scenes.maps.items()}
    return Scenes(
        scenes.image[..., :height, :width].contiguous(),
        scenes.regions[:, :height, :width].contiguous(),
        scenes.areas,
        {**scenes.labels, **maps},
        scenes.source,
        scenes.draw,
        grey=scenes.grey,
        movable=scenes.movable,
    )
