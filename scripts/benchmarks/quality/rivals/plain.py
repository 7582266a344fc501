"""The rival that converts without asking the model: augmentation by the parameters of a store."""

from math import floor
from typing import Any

import torch

from hardmine.errors import InputError
from hardmine.mining import Mining
from hardmine.plan import Plan
from hardmine.records import Recipe
from hardmine.rng import keyed
from hardmine.scenes import Scenes
from hardmine.store import ParameterStore


class PlainAugmentation(Mining):
    """Converts rows drawn by chance to first parameters of their own, each trained on once.

    Nothing is judged and the buffer stays empty; every row that is converted counts as a candidate and a piece.

    Args:
        store: stored parameters.
        settings: of `Mining`; `mix.mined` is the share of the rows of each batch that are converted.

    Raises:
        InputError: more than one candidate for each row, or updates that wait for pieces.
    """

    def __init__(self, store: ParameterStore, **settings: Any) -> None:
        super().__init__(store, **settings)
        if self.mix.candidates > 1 or self.update.every:
            raise InputError(
                "PlainAugmentation makes one image per row in every step: set candidates=1, update.every=0"
            )

    def plan(self, scenes: Scenes, rows: Recipe | None = None) -> Plan:
        """Which rows of the batch are converted, and to which first parameters; see `Mining.plan`."""
        number, ranks = self.number, self.ranks
        clean = super().plan(scenes, rows).rows  # of an empty buffer
        if self.step < self.start or not self.usual.known:
            return Plan(clean)
        chance = torch.rand((), generator=keyed(self.seed, "rows", number), dtype=torch.float64)
        wanted = floor(self.mix.mined * len(clean) + float(chance))  # as many on every rank, which all count them
        if not wanted:
            return Plan(clean)
        place = torch.randperm(len(clean), generator=keyed(self.seed, "places", number, ranks.rank))[:wanted]
        miner = self._opened
        made = miner.propose(clean[place], self.step, ranks.rank, ranks.count)
        miner.tally.candidates += wanted * ranks.count
        miner.tally.pieces += wanted * ranks.count
        order = torch.arange(len(clean))
        order[place] = len(clean) + torch.arange(wanted)
        return Plan(Recipe.cat([clean, made])[order])

    def propose(self, plan: Plan) -> Recipe:
        """Nothing is tried that is not trained on."""
        return plan.rows[:0]
