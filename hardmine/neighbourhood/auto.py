"""Select while there is something to select, else generate (R40; D61, D62)."""

import torch
from torch import Tensor

from hardmine.graph import Graph
from hardmine.neighbourhood.base import Channels
from hardmine.neighbourhood.generate import Generate
from hardmine.neighbourhood.select import Select
from hardmine.records import Recipe
from hardmine.store import ParameterStore


class Auto:
    """`Select` first; where it finds no unused stored point, `Generate`.

    Args:
        radius, channels, independent: see `Select`; `Generate` takes the same.
        margin, min_std: see `Generate`.
    """

    def __init__(
        self,
        radius: float = 10.0,
        channels: Channels = "luminance",
        independent: bool = False,
        margin: float = 5.0,
        min_std: float = 0.5,
    ) -> None:
        self.select = Select(radius, channels, independent)
        self.generate = Generate(radius, channels, independent, margin, min_std)

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        selected, stored = self.select(rows, store, graph, generator)
        generated, possible = self.generate(rows, store, graph, generator)
        return selected.where(stored, generated), stored | possible
