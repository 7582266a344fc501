"""Signs that a search does not work, each told once in one line."""

from typing import Any

import torch
from torch import Tensor

_SEARCHES = 5
_CANDIDATES, _PIECES = 500, 5
_SHARE = 0.02  # of the candidates, of pieces that are few at the end


class Signs:
    """Looks at the scores of all ranks and says what is strange about them."""

    def __init__(self) -> None:
        self.searches = 0
        self._early = torch.empty(0)  # scores of the first searches
        self._latest = torch.empty(0)
        self._said_few = False

    def look(self, score: Tensor, threshold: float, candidates: int, pieces: int) -> str | None:
        """A line to tell, or None.

        Args:
            score: (N,) of one search; NaN where nothing could be scored.
            threshold: Th1.
            candidates, pieces: of the run so far.
        """
        if not len(score):
            return None
        self.searches += 1
        self._latest = torch.cat([self._latest, score[~score.isnan()]])[-_CANDIDATES:]
        if self.searches <= _SEARCHES:
            self._early = torch.cat([self._early, score])
            if self.searches == _SEARCHES:
                return self._strange(threshold)
        if candidates >= _CANDIDATES and pieces < _PIECES and not self._said_few and len(self._latest):
            self._said_few = True
            return self._few(threshold, candidates, pieces)
        return None

    def end(self, threshold: float, candidates: int, pieces: int) -> str | None:
        """The same after the last search; None where enough was found or the reason has been told.

        Args:
            threshold, candidates, pieces: see `look`.
        """
        if pieces >= _SHARE * candidates or self._said_few:
            return None
        if not len(self._latest):
            return f"none of {candidates} candidates could be scored: look at the labels and ignore_index"
        return self._few(threshold, candidates, pieces)

    def _few(self, threshold: float, candidates: int, pieces: int) -> str:
        below = float((self._latest < threshold).float().mean())
        remedy = "set threshold above the median" if below < 0.5 else "set hardest to a larger share, or look at gates"
        return (
            f"{candidates} candidates brought {pieces} pieces: the median score of the latest is "
            f"{float(self._latest.median()):.3g}, and {below:.0%} lie below Th1, {threshold:g}: {remedy}"
        )

    def _strange(self, threshold: float) -> str | None:
        scored = self._early[~self._early.isnan()]
        if not len(scored):
            return (
                f"no candidate of the first {_SEARCHES} searches could be scored (nothing labelled in them; Th1 is "
                f"{threshold:g}): look at the labels and ignore_index"
            )
        if len(scored) > 1 and bool((scored == scored[0]).all()):
            return (
                f"all candidates of the first {_SEARCHES} searches have the same score, so the median is "
                f"{float(scored[0]):.3g} (Th1 is {threshold:g}): look at predict and scoring, or set start higher"
            )
        return None

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers."""
        return {
            "searches": self.searches,
            "early": self._early.clone(),
            "latest": self._latest.clone(),
            "said_few": self._said_few,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.searches, self._said_few = saved["searches"], saved["said_few"]
        self._early, self._latest = saved["early"].clone(), saved["latest"].clone()
