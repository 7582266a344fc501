"""No neighbourhood: a plain threshold filter over random parameters (R46; D83)."""

import torch
from torch import Tensor

from hardmine.memory.graph import Graph
from hardmine.records import Recipe
from hardmine.store.store import ParameterStore


class Random:
    """Knows no neighbours, so that every candidate starts from a first parameter."""

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        return rows, torch.zeros(len(rows), dtype=torch.bool)
