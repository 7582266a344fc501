"""What every neighbourhood policy does."""

from typing import Literal, Protocol

import torch
from torch import Tensor

from hardmine.graph import Graph
from hardmine.records import Recipe
from hardmine.store import ParameterStore

Channels = Literal["luminance", "lab"]


class Neighbourhood(Protocol):
    """Turns parameters that were hard into their neighbours."""

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """One proposal per row, for the same source and view.

        Args:
            rows: N pieces; rows where no region is chosen have no neighbour.
            store: the stored points.
            graph: which of them are used.
            generator: the only source of chance.

        Returns:
            N proposals, and (N,) bool: whether the row has a neighbour at all. Where it has none, the proposal is
            the row itself.
        """
        ...


def coordinates(mean: Tensor, std: Tensor, channels: Channels) -> Tensor:
    """(..., 2) or (..., 6): the point of a distribution in the graph, luminance alone (D54) or all of Lab."""
    last = 1 if channels == "luminance" else 3
    return torch.cat([mean[..., :last], std[..., :last]], dim=-1)


def check_radius(radius: float) -> float:
    if not radius > 0:
        raise ValueError(f"radius (Rth2) must be > 0 Lab units, got {radius}")
    return radius
