"""What every neighbourhood policy does."""

from typing import Protocol

import torch
from torch import Tensor

from hardmine.memory.graph import Graph
from hardmine.records import Recipe
from hardmine.store.store import ParameterStore


class Neighbourhood(Protocol):
    """Turns parameters into the next ones: those that were hard into their neighbours (R28)."""

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """One proposal per row, for the same source and draw.

        Args:
            rows: N pieces; rows where no region is chosen have no neighbour.
            store: the stored parameters.
            graph: which of them are used.
            generator: the only source of chance.

        Returns:
            N proposals, and (N,) bool: whether the row has a neighbour at all. Where it has none, the proposal is
            the row itself.
        """
        ...
