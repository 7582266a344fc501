"""Another parameter of the same cell of the environment table (R30; D52, D53)."""

import torch
from torch import Tensor

from hardmine.neighbourhood.cells import Cells
from hardmine.store.environment import EnvironmentTable


class SameCell(Cells):
    """River, night, sunny: another river of a sunny night."""

    def linked(self, table: EnvironmentTable) -> Tensor:
        """See `Cells`."""
        return torch.eye(len(table.cells), dtype=torch.bool)
