"""What gives first parameters."""

from typing import Protocol

import torch
from torch import Tensor

from hardmine.memory.graph import Graph
from hardmine.records import Recipe
from hardmine.store.store import ParameterStore


class FirstParameter(Protocol):
    """Gives each row the parameter that a search begins with, whatever the row had before."""

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """One first parameter per row, for the same source and draw.

        Args:
            rows: N rows, pieces or clean ones.
            store: the stored parameters.
            graph: which of them are used, and how many each source has had.
            generator: the only source of chance.

        Returns:
            N proposals without a parent, and (N,) bool: whether anything of the row is converted.
        """
        ...
