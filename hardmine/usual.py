"""What is usual of an area among the sources of a run."""

from typing import Any

import torch

from hardmine.conversions import Conversion, unlearnt
from hardmine.ranks import Ranks, pooled
from hardmine.records import Distribution, state
from hardmine.scenes import Scenes

_BATCHES = 64  # that are learnt from


class Usual:
    """Learnt from the unconverted rows of the first batches, then frozen, so that one recipe gives the same bits.

    Args:
        conversion: whose parts are told; those that know it already are left alone.
    """

    def __init__(self, conversion: Conversion) -> None:
        self._parts = unlearnt(conversion)
        self._seen: list[Distribution] = []

    @property
    def known(self) -> bool:
        """Whether nothing is left to be learnt."""
        return all(part.usual is not None for part in self._parts)

    @property
    def found(self) -> Distribution | None:
        """One row; None where it is not known yet, or was known beforehand."""
        return next((part.usual for part in self._parts), None)

    def forget(self) -> None:
        self._seen = []
        for part in self._parts:
            part.usual = None

    def look(self, scenes: Scenes, ranks: Ranks, last: bool) -> None:
        """Learn from a batch.

        Args:
            scenes: as they came.
            ranks: whose batches count too.
            last: freeze what has been learnt.
        """
        if self.known:
            return
        for part in self._parts:
            if len(self._seen) < _BATCHES:
                self._seen.append(pooled([scenes.measured(part.colors)]))
            if last:
                part.learn(ranks.total(pooled(self._seen).to(torch.device("cpu")), scenes.image.device))
        if last:
            self._seen = []

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors."""
        return {"found": {} if self.found is None else state(self.found), "seen": [state(part) for part in self._seen]}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self._seen = [Distribution.from_tensors(part) for part in saved["seen"]]
        if saved["found"]:
            for part in self._parts:
                part.learn(Distribution.from_tensors(saved["found"]))
