"""What every conversion does."""

from typing import Protocol

from torch import Tensor

from hardmine.records import Recipe
from hardmine.scenes import Colors, Scenes
from hardmine.space import Space


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

    def __call__(self, scenes: Scenes, recipe: Recipe) -> tuple[Scenes, Tensor]:
        """One converted image per row.

        Args:
            scenes: N sources on any device.
            recipe: N rows on the CPU; `point` has the axes of `space`.

        Returns:
            The converted scenes, a row where no region is chosen bit-equal to its source, and (N,) float32: the share
            of the chosen areas in which a limit cut the parameter short, NaN where none was chosen.
        """
        ...
