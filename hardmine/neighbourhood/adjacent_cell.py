"""A parameter of a neighbouring cell of the environment table (R31; D52, D53)."""

from torch import Tensor

from hardmine.neighbourhood.cells import Cells
from hardmine.store.environment import EnvironmentTable


class AdjacentCell(Cells):
    """River, night, sunny: the river of a sunny day, or of a night with other weather."""

    def linked(self, table: EnvironmentTable) -> Tensor:
        """See `Cells`."""
        return table.adjacent
