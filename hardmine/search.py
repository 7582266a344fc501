"""The first embodiment: a frozen model, and chains of neighbours of what it fails on (R44; D65-D70, D80)."""

from collections.abc import Callable
from typing import Any

import torch

from hardmine.errors import InputError
from hardmine.miner import Miner
from hardmine.records import Recipe, Verdict, state
from hardmine.rng import key

Admit = Callable[[Recipe], tuple[Recipe, Verdict]]


class Search:
    """Goes through the sources, several at a time, one search for each row.

    A search begins with a first parameter. Easy: another one is tried (R25). Hard: it is output, and the next
    candidate is its neighbour (R28), whose neighbour follows if that is hard too.

    Args:
        miner: proposes and remembers, with one candidate per row.
        sources: S.
        rows: searches that run side by side.
        depth: neighbours of neighbours followed at most; 0 is a plain threshold filter.
        retries: further parameters tried in place of an easy one.
        searches: first parameters that each source is begun with; None begins them again and again.
    """

    def __init__(
        self, miner: Miner, sources: int, rows: int, depth: int = 4, retries: int = 3, searches: int | None = 1
    ) -> None:
        if min(rows, 1 if searches is None else searches) < 1 or min(depth, retries) < 0:
            raise InputError(
                f"search: rows and searches must be >= 1, depth and retries >= 0, got {rows=}, {depth=}, {retries=} "
                f"and {searches=}"
            )
        if miner.candidates > 1:
            raise InputError(f"candidates must be 1 where each search tries one at a time, got {miner.candidates}")
        self.miner = miner
        self.sources, self.depth, self.retries, self.searches = sources, depth, retries, searches
        self.begun = 0  # searches begun; search i is the (i // S)th on source i % S
        self.rows = self._begin(rows)
        self.tried = torch.zeros(len(self.rows), dtype=torch.int64)  # easy candidates in a row, of each search

    @property
    def done(self) -> bool:
        """Whether every search has ended, or `Miner.stopping` ended all."""
        return not len(self.rows) or self.miner.stopping.reason is not None

    @property
    def progress(self) -> float:
        """Share of the searches that have ended."""
        return (self.begun - len(self.rows)) / (self.sources * self.searches) if self.searches is not None else 0.0

    def step(self, admit: Admit, step: int, most: int | None = None) -> tuple[Recipe, Verdict]:
        """One candidate for each running search.

        Args:
            admit: judges proposals and tells what came of them, in their order, as `Miner.admit` does.
            step: of the verdicts: rounds with a frozen model, updates of one that learns.
            most: only so many of the searches, the oldest; None takes all.

        Returns:
            What `admit` does.
        """
        n = len(self.rows) if most is None else min(most, len(self.rows))
        candidates, verdict = admit(self.miner.propose(self.rows[:n], step))
        hard = verdict.piece
        tried = torch.where(hard, 0, self.tried[:n] + 1)
        rows = candidates.where(hard, self.rows[:n])
        ended = (hard & (candidates.depth >= self.depth)) | (tried > self.retries)
        fresh = self._begin(int(ended.sum()))
        self.rows = Recipe.cat([rows[~ended], self.rows[n:], fresh])
        new = torch.zeros(len(fresh), dtype=torch.int64)
        self.tried = torch.cat([tried[~ended], self.tried[n:], new])
        return candidates, verdict

    def _begin(self, n: int) -> Recipe:
        last = self.begun + n if self.searches is None else min(self.begun + n, self.sources * self.searches)
        source = torch.arange(self.begun, last) % self.sources
        self.begun = last
        view = torch.tensor([key(self.miner.seed, "view", int(one)) for one in source], dtype=torch.int64)
        return Recipe.clean(source, view, self.miner.store.regions, len(self.miner.store.space))

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers, without the miner's."""
        return {"rows": state(self.rows), "tried": self.tried.clone(), "begun": self.begun}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.rows, self.tried = Recipe.from_tensors(saved["rows"]), saved["tried"].clone()
        self.begun = saved["begun"]
