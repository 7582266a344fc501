"""Select an unused stored point near the one that was hard (R35-R38; D55-D60)."""

from torch import Tensor

from hardmine.neighbourhood.reach import Channels, Reach
from hardmine.neighbourhood.stored import Stored
from hardmine.records import Recipe
from hardmine.store.store import ParameterStore


class Select(Stored):
    """A stored point inside the second threshold: Expr. 3 with `radius`, Expr. 4 with `mean_radius` and `std_radius`.

    Where all areas take the same target, differences are root mean squares over the areas the two have in common.

    Args:
        radius, mean_radius, std_radius, channels: see `Reach`.
        independent: see `Stored`.
    """

    def __init__(
        self,
        radius: float | None = None,
        mean_radius: float | None = None,
        std_radius: float | None = None,
        channels: Channels = "luminance",
        independent: bool = False,
    ) -> None:
        super().__init__(independent)
        self.reach = Reach(radius, mean_radius, std_radius, channels)

    def near(self, rows: Recipe, store: ParameterStore) -> Tensor:
        """See `Stored`."""
        squares = self.reach.squares(rows.parameter[:, None], store.parameters, store.space)  # (N, M, R, d)
        if self.independent:
            return self.reach.holds(squares, store.space)
        shared = (rows.counted[:, None] & store.valid)[..., None]
        squares = (squares * shared).sum(2) / shared.sum(2)  # NaN, and so not near, where nothing is shared
        return self.reach.holds(squares, store.space)[..., None]
