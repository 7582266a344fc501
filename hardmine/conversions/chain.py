"""Several conversions, one after the other."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hardmine.conversions.base import Conversion
from hardmine.conversions.color_transfer import ColorTransfer
from hardmine.errors import InputError
from hardmine.records import Recipe
from hardmine.scenes import Colors, Scenes
from hardmine.space import Space


class Chain:
    """Applies conversions in the order given, each with its own axes of the parameter, to the same chosen regions.

    A part has done its areas and the whole image before the next one begins.

    Args:
        parts: conversions whose axes have different names, at most one of them with colours of a target; by name where
            it is easier to say which one is meant.

    Raises:
        InputError: two parts with colours.
        ValueError: no part, or two axes of one name.
    """

    def __init__(self, parts: Sequence[Conversion] | Mapping[str, Conversion]) -> None:
        if isinstance(parts, Mapping):
            parts = list(parts.values())
        if not parts:
            raise ValueError("a chain needs at least one conversion, got none")
        colored = [part for part in parts if part.colors is not None]
        if len(colored) > 1:
            names = " and ".join(type(part).__name__ for part in colored)
            raise InputError(f"parts: {names} both take a target's colours: keep one of them")
        self.parts = tuple(parts)
        self.colors: Colors | None = colored[0].colors if colored else None
        self.space = Space([axis for part in parts for axis in part.space.axes])

    def __call__(self, scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None = None) -> tuple[Scenes, Tensor]:
        """See `Conversion`; the share is the largest of the parts' shares."""
        share = torch.full((len(recipe),), torch.nan, device=scenes.image.device)
        points = recipe.parameter.split([len(part.space) for part in self.parts], dim=-1)  # type: ignore[no-untyped-call]
        for part, point in zip(self.parts, points, strict=True):
            scenes, of_part = part(scenes, recipe.replace(parameter=point), source_of_row)
            source_of_row = None  # the first part has made N rows
            share = torch.fmax(share, of_part)  # NaN where no part has chosen anything
        return scenes, share


def suited(conversion: Conversion, space: Space) -> Conversion:
    """The conversion for the axes of a store, see `ColorTransfer.suited`; itself where nothing of it changes."""
    if isinstance(conversion, Chain):
        parts = [suited(part, space) for part in conversion.parts]
        same = all(one is other for one, other in zip(parts, conversion.parts, strict=True))
        return conversion if same else Chain(parts)
    return conversion.suited(space) if isinstance(conversion, ColorTransfer) else conversion


def colors_alone(conversion: Conversion) -> Conversion:
    """The part that takes a target's colours; the whole conversion where none does."""
    parts = conversion.parts if isinstance(conversion, Chain) else ()
    return next((colors_alone(part) for part in parts if part.colors is not None), conversion)


def unlearnt(conversion: Conversion) -> list[ColorTransfer]:
    """The parts of a conversion that have yet to be told what is usual, see `ColorTransfer.learn`."""
    if isinstance(conversion, Chain):
        return [found for part in conversion.parts for found in unlearnt(part)]
    if isinstance(conversion, ColorTransfer) and conversion.individual and conversion.usual is None:
        return [conversion]
    return []
