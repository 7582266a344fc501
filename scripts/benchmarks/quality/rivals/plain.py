"""The rival that converts without asking the model: augmentation by the parameters of a store."""

from dataclasses import replace
from typing import Any

from hardmine.errors import InputError
from hardmine.mining import Mining
from hardmine.plan import Mix, Plan
from hardmine.records import Recipe
from hardmine.scenes import Scenes
from hardmine.store import ParameterStore
from hardmine.update import Update


class PlainAugmentation(Mining):
    """Converts rows drawn by chance to first parameters of their own, each trained on once.

    Nothing is judged and the buffer stays empty, so that all of them are stand-ins; every row that is converted counts
    as a candidate and a piece.

    Args:
        store: stored parameters.
        settings: of `Mining`; `mix.mined` is the share of the rows of each batch that are converted.

    Raises:
        InputError: more than one candidate for each row, or updates that wait for pieces.
    """

    def __init__(self, store: ParameterStore, **settings: Any) -> None:
        mix, update = settings.get("mix") or Mix(), settings.get("update") or Update()
        if mix.candidates > 1 or update.every:
            raise InputError(
                "PlainAugmentation makes one image per row in every step: set candidates=1, update.every=0"
            )
        super().__init__(store, **{**settings, "mix": replace(mix, stand_ins=1.0)})

    def plan(self, scenes: Scenes, rows: Recipe | None = None) -> Plan:
        """See `Mining.plan`; each rank counts its own rows for all of them, exact where `mined` is whole rows."""
        plan = super().plan(scenes, rows)
        made = len(plan.pieces) * self.ranks.count
        self._opened.tally.candidates += made
        self._opened.tally.pieces += made
        return plan

    def propose(self, plan: Plan) -> Recipe:
        """Nothing is tried that is not trained on."""
        return plan.rows[:0]
