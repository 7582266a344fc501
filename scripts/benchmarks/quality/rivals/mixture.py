"""First parameters between the stored ones."""

import torch
from torch import Tensor

from hardmine.memory.graph import Graph
from hardmine.records import Recipe
from hardmine.store.environment import Wanted, matching
from hardmine.store.store import ParameterStore


class Mixture:
    """Draws a convex combination of stored targets for all areas of an image, as style mixing does (SHADE, 2022).

    Weights come from a flat Dirichlet distribution over `targets` random targets; an area is mixed of those that have
    it, and stays as it is where none has.

    Args:
        targets: how many are mixed.
        environment: take targets of this environment only, see `First`.
    """

    def __init__(self, targets: int = 3, environment: Wanted | None = None) -> None:
        if targets < 1:
            raise ValueError(f"targets must be >= 1, got {targets}")
        self.targets, self.environment = targets, environment

    def __call__(
        self, rows: Recipe, store: ParameterStore, graph: Graph, generator: torch.Generator
    ) -> tuple[Recipe, Tensor]:
        """`rows` with first parameters, and which rows have one; see `Neighbourhood`."""
        n, of = len(rows), matching(store, self.environment).nonzero().flatten()
        mixed = of[torch.rand(n, len(of), generator=generator).argsort(1)[:, : self.targets]]  # (N, K) different ones
        weight = -torch.rand(mixed.shape, generator=generator).clamp(min=1e-9).log()  # exponential: Dirichlet(1, ...)
        weight = weight[..., None] * store.valid[mixed]  # (N, K, R)
        total = weight.sum(1)
        point = (weight[..., None] * store.parameters[mixed]).sum(1) / total.clamp(min=1e-9)[..., None]
        chosen = total > 0
        chosen[:, -1] = False
        first = rows.replace(
            chosen=chosen,
            parameter=torch.where(chosen[..., None], point, 0.0),
            target=torch.full_like(rows.target, -1),
            parent=torch.full((n,), -1),
            depth=torch.zeros(n, dtype=torch.int64),
        )
        return first, chosen.any(1)
