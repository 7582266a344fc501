"""The first embodiment: a frozen model, and chains of neighbours of what it fails on (R44; D65-D70, D80)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hardmine.miner import Miner
from hardmine.records import Recipe, Verdict, state
from hardmine.rng import key

Judged = tuple[Tensor, Tensor, Tensor]


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
        searches: first parameters that each source is begun with.
    """

    def __init__(
        self, miner: Miner, sources: int, rows: int, depth: int = 4, retries: int = 3, searches: int = 1
    ) -> None:
        if min(rows, searches) < 1 or min(depth, retries) < 0:
            raise ValueError(f"limits of a search must be possible, got {rows=}, {depth=}, {retries=} and {searches=}")
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
        return (self.begun - len(self.rows)) / (self.sources * self.searches)

    def step(self, judge: Callable[[Recipe], Judged], threshold: float) -> tuple[Recipe, Verdict]:
        """One candidate for each running search.

        Args:
            judge: score (N,), score per region (N, R) and gate (N,) of candidates.
            threshold: Th1.

        Returns:
            What `Miner.admit` does.
        """
        proposed = self.miner.propose(self.rows, self.miner.rounds)
        candidates, verdict = self.miner.admit(proposed, *judge(proposed), threshold)
        hard = verdict.piece
        self.tried = torch.where(hard, 0, self.tried + 1)
        self.rows = candidates.where(hard, self.rows)
        ended = (hard & (candidates.depth >= self.depth)) | (self.tried > self.retries)
        if ended.any():
            fresh = self._begin(int(ended.sum()))
            self.rows = Recipe.cat([self.rows[~ended], fresh])
            self.tried = torch.cat([self.tried[~ended], torch.zeros(len(fresh), dtype=torch.int64)])
        return candidates, verdict

    def _begin(self, n: int) -> Recipe:
        last = min(self.begun + n, self.sources * self.searches)
        source = torch.arange(self.begun, last) % self.sources
        self.begun = last
        view = torch.tensor([key(self.miner.seed, "view", int(one)) for one in source], dtype=torch.int64)
        return Recipe.clean(source, view, self.miner.store.regions, len(self.miner.store.space))

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers, with the miner's."""
        rows = {"rows": state(self.rows), "tried": self.tried.clone(), "begun": self.begun}
        return {**rows, "miner": self.miner.state_dict()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.rows, self.tried = Recipe.from_tensors(saved["rows"]), saved["tried"].clone()
        self.begun = saved["begun"]
        self.miner.load_state_dict(saved["miner"])
