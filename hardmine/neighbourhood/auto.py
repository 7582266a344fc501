"""Select while there is something to select, else generate (R40; D61, D62)."""

import torch
from torch import Tensor

from hardmine.memory.graph import Graph
from hardmine.neighbourhood.generate import Generate
from hardmine.neighbourhood.reach import Channels
from hardmine.neighbourhood.select import Select
from hardmine.neighbourhood.stored import Used
from hardmine.records import Recipe
from hardmine.store.store import ParameterStore


class Auto:
    """`Select` first; where it finds no unused stored parameter, `Generate`, for each area where they are independent.

    Args:
        radius, mean_radius, std_radius, channels, independent: see `Select`; `Generate` takes the same.
        margin: see `Generate`.
        used: see `Select`.
    """

    def __init__(
        self,
        radius: float | None = None,
        mean_radius: float | None = None,
        std_radius: float | None = None,
        channels: Channels = "luminance",
        independent: bool = False,
        margin: float = 5.0,
        used: Used = "graph",
    ) -> None:
        self.select = Select(radius, mean_radius, std_radius, channels, independent, used)
        self.generate = Generate(radius, mean_radius, std_radius, channels, independent, margin)
        self.independent = independent

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """See `Neighbourhood`."""
        selected, stored = self.select(rows, store, graph, generator)
        generated, possible = self.generate(rows, store, graph, generator)
        if not self.independent:
            return selected.where(stored, generated), stored | possible
        took = stored[:, None] & (selected.target != rows.target)  # a stored neighbour is unused, so another target
        return selected.replace(
            parameter=torch.where(took[..., None], selected.parameter, generated.parameter),
            target=torch.where(took, selected.target, generated.target),
        ), stored | possible
