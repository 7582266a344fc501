"""A parameter between the one that was hard and stored ones near it."""

import torch
from torch import Tensor

from hardmine.memory.graph import Graph
from hardmine.neighbourhood.generate import Generate
from hardmine.neighbourhood.reach import Channels
from hardmine.neighbourhood.select import Select
from hardmine.neighbourhood.stored import Stored, taken
from hardmine.records import Recipe
from hardmine.store.store import ParameterStore


class Blend:
    """A convex combination of the hard parameter and stored ones inside the second threshold (R39).

    It lies inside too, and unlike a shift by chance it changes areas and channels together as real light does. Weights
    come from a flat Dirichlet distribution over the parameter and those of up to `targets` random targets near it, the
    same for all areas; an area that a target lacks counts there as the parameter's own. Where no target is near,
    `Generate` gives the neighbour.

    Args:
        radius, mean_radius, std_radius, channels: see `Reach`.
        targets: stored parameters at most.
        margin: see `Generate`.
        independent: every area has targets and weights of its own.
    """

    def __init__(
        self,
        radius: float | None = None,
        mean_radius: float | None = None,
        std_radius: float | None = None,
        channels: Channels = "luminance",
        targets: int = 2,
        margin: float = 5.0,
        independent: bool = False,
    ) -> None:
        if targets < 1:
            raise ValueError(f"targets must be >= 1, got {targets}")
        self.select: Stored = Select(radius, mean_radius, std_radius, channels, independent)
        self.generate = Generate(radius, mean_radius, std_radius, channels, independent, margin)
        self.targets, self.independent = targets, independent

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """See `Neighbourhood`."""
        between, moved = self.between(rows, store, generator)
        generated, possible = self.generate(rows, store, graph, generator)
        moved = moved & possible[:, None]
        return generated.replace(
            parameter=torch.where(moved[..., None], between.parameter, generated.parameter),
            target=generated.target.masked_fill(moved, -1),
        ), possible

    def between(self, rows: Recipe, store: ParameterStore, generator: torch.Generator) -> tuple[Recipe, Tensor]:
        """The combinations, and (N, R) bool: which regions have one; the others keep their parameter."""
        other = self.select.near(rows, store, self.targets, generator, taken(rows, store))  # (N, C) or (N, R, C)
        other = other.transpose(1, 2) if self.independent else other[..., None]  # (N, C, R or 1)
        near = other >= 0  # fewer may be
        drawn = torch.rand(len(rows), 1 + self.targets, other.shape[2], generator=generator)
        weight = drawn.clamp(min=1e-9).log().neg()
        weight[:, 1:] *= near
        weight = weight[:, 1:] / weight.sum(1, keepdim=True)
        moving = rows.counted if self.independent else rows.chosen
        moves, parameters, _ = store.of_targets(other.expand(-1, -1, store.regions), moving[:, None])
        shift = torch.where(moves[..., None], parameters - rows.parameter[:, None], 0.0)
        moved = near.any(1) & moving
        proposal = rows.replace(
            parameter=rows.parameter + (weight[..., None] * shift).sum(1),
            target=rows.target.masked_fill(moved, -1),
        )
        return proposal.where(moved.any(1), rows), moved
