"""Select an unused stored parameter near the one that was hard (R35-R38; D55-D60)."""

import torch
from torch import Tensor

from hardmine.neighbourhood.reach import Channels, Reach
from hardmine.neighbourhood.stored import Stored, Used
from hardmine.records import Recipe
from hardmine.store.draw import Taken
from hardmine.store.near import near
from hardmine.store.store import ParameterStore


class Select(Stored):
    """A stored parameter inside the second threshold: Expr. 3 with `radius`, Expr. 4 with `mean_` and `std_radius`.

    Where all areas take the same target, it must lie inside for every area that would move.

    Args:
        radius, mean_radius, std_radius, channels: see `Reach`.
        independent, used: see `Stored`.
    """

    def __init__(
        self,
        radius: float | None = None,
        mean_radius: float | None = None,
        std_radius: float | None = None,
        channels: Channels = "luminance",
        independent: bool = False,
        used: Used = "graph",
    ) -> None:
        super().__init__(independent, used)
        self.reach = Reach(radius, mean_radius, std_radius, channels)

    def near(
        self, rows: Recipe, store: ParameterStore, most: int, generator: torch.Generator, taken: Taken | None = None
    ) -> Tensor:
        """See `Stored`."""
        return near(rows, store, self.reach, most, generator, self.independent, taken)
