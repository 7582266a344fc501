"""Parameters that were made and found hard: what the cells of the environment table grow by (R29; D51)."""

from typing import Any

import torch
from torch import Tensor

from hardmine.memory.used import Used
from hardmine.records import Recipe, Verdict, state
from hardmine.store.store import ParameterStore

_MOST = 256  # parameters kept, the first ones; every candidate is compared with all of them


class Grown:
    """A parameter that no target has is kept when it becomes a piece, once.

    Args:
        store: the targets, none of which is kept here.

    Attributes:
        recipe: K pieces, as they were found.
        used: on which sources their parameters were tried, by the row of `recipe` in place of a target.
    """

    def __init__(self, store: ParameterStore) -> None:
        nothing = torch.empty(0, dtype=torch.int64)
        self.recipe = Recipe.clean(nothing, nothing, store.regions, len(store.space))
        self.used = Used(_MOST, store.regions)

    @property
    def made(self) -> Tensor:
        """(K, R) bool: the regions that each has a parameter of its own for."""
        return made(self.recipe)

    def same(self, recipe: Recipe) -> Tensor:
        """(N, K, R) bool: regions in which rows have the very parameter that is kept."""
        equal = (recipe.parameter[:, None] == self.recipe.parameter).all(-1)
        return equal & made(recipe)[:, None] & self.made

    def update(self, recipe: Recipe, verdict: Verdict) -> None:
        """Keep the new ones among N candidates, and mark all that were tried."""
        new = verdict.piece & (made(recipe) & recipe.present).any(1) & ~self.same(recipe).flatten(1).any(1)
        self.recipe = Recipe.cat([self.recipe, recipe[new]])[:_MOST]
        row, kept, region = (self.same(recipe) & recipe.present[:, None]).nonzero(as_tuple=True)
        self.used.add(recipe.source[row], kept, region)

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors."""
        return {"recipe": state(self.recipe), "used": self.used.state()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.recipe = Recipe.from_tensors(saved["recipe"])
        self.used.load(saved["used"])


def made(recipe: Recipe) -> Tensor:
    """(N, R) bool: chosen regions whose parameter is no target's."""
    return recipe.chosen & (recipe.target < 0)
