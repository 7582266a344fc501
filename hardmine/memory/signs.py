"""Signs that a search does not work, each told once in one line."""

from typing import Any

import torch
from torch import Tensor

from hardmine.memory.tally import Tally

_SEARCHES = 5
_NONE = 20  # searches in a row without a score that are no chance
_CANDIDATES, _PIECES = 500, 5
_SHARE = 0.02  # of the candidates, of pieces that are few at the end
_FIRST = 100  # latest candidates that show whether the search gets easier


class Signs:
    """Looks at the scores of all ranks and says what is strange about them.

    Args:
        hardest: share of the candidates that become pieces.
        learns: whether what judges changes as the model is trained.
    """

    def __init__(self, hardest: float = 1.0, learns: bool = True) -> None:
        self.hardest, self.learns = hardest, learns
        self.searches = 0
        self._early = torch.empty(0)  # scores of the first searches
        self._latest = torch.empty(0)
        self._latest_first = torch.empty(0)  # of first parameters: neighbours are harder, and more and more
        self._unscored = 0  # searches in a row without a score
        self._said_few = self._said_hard = self._said_nan = False

    def look(self, score: Tensor, neighbour: Tensor, threshold: float | None, tally: Tally) -> list[str]:
        """Lines to tell.

        Args:
            score: (N,) of one search; NaN where nothing could be scored.
            neighbour: (N,) bool, whether a candidate is the neighbour of a piece.
            threshold: Th1; None where there is none.
            tally: of the run so far.
        """
        if not len(score):
            return []
        self.searches += 1
        known = ~score.isnan()
        self._unscored = 0 if known.any() else self._unscored + 1
        self._latest = torch.cat([self._latest, score[known]])[-_CANDIDATES:]
        self._latest_first = torch.cat([self._latest_first, score[known & ~neighbour]])[-_FIRST:]
        lines = []
        if self.searches <= _SEARCHES:
            self._early = torch.cat([self._early, score])
            if self.searches == _SEARCHES:
                lines = self._begun(threshold)
        elif self._unscored >= _NONE and len(self._latest) and not self._said_nan:
            self._said_nan = True
            lines = [
                f"no candidate of the latest {_NONE} searches could be scored: look whether the model gives NaN "
                "(the loss does then), or nothing in them is labelled"
            ]
        return [*lines, *self._wrong(threshold, tally, _PIECES)] if tally.candidates >= _CANDIDATES else lines

    def end(self, threshold: float | None, tally: Tally) -> list[str]:
        """The same after the last search; nothing where enough was found or the reason has been told.

        Args:
            threshold, tally: see `look`.
        """
        if not self.searches:
            return []
        if not len(self._latest):
            return [f"none of {tally.candidates} candidates could be scored: look at the labels and ignore_index"]
        begun = self._begun(threshold) if self.searches < _SEARCHES else []
        return [*begun, *self._wrong(threshold, tally, _SHARE * tally.candidates)]

    def _wrong(self, threshold: float | None, tally: Tally, least: float) -> list[str]:
        lines = []
        if tally.pieces < least and not self._said_few and len(self._latest):
            self._said_few = True
            lines.append(self._few(threshold, tally))
        early = self._early[~self._early.isnan()]
        late = tally.candidates >= 2 * (_FIRST + len(self._early))
        enough = len(early) and len(self._latest_first) == _FIRST and late
        if self.learns and enough and not self._said_hard and _below(self._latest_first, early):
            self._said_hard = True
            lines.append(
                f"what is searched does not get easier: the first scores were {float(early.mean()):.3g} on average, "
                f"the latest ones of first parameters are {float(self._latest_first.mean()):.3g}: set a lower learning "
                "rate or train longer, keep out what nobody recognises (gates), or take a store nearer to the images"
            )
        return lines

    def _few(self, threshold: float | None, tally: Tally) -> str:
        found = f"{tally.candidates} candidates brought {tally.pieces} pieces: the median score of the latest is "
        found += f"{float(self._latest.median()):.3g}"
        if tally.refused > tally.pieces:
            return f"{found}, and gates refused {tally.refused} hard ones: make the gates less strict"
        if threshold is None and bool((self._latest == self._latest[0]).all()):
            return f"{found}, as that of all others: {_alike(float(self._latest[0]))}"
        if threshold is None:
            return f"{found}: set hardest to a larger share"
        below = float((self._latest < threshold).float().mean())
        few = below < 0.5 or self.hardest == 1
        remedy = 'set threshold above the median, or to "auto"' if few else "set hardest to a larger share"
        return f"{found}, and {below:.0%} lie below Th1, {threshold:g}: {remedy}"

    def _begun(self, threshold: float | None) -> list[str]:
        scored = self._early[~self._early.isnan()]
        th1 = "there is no Th1" if threshold is None else f"Th1 is {threshold:g}"
        if not len(scored):
            return [
                f"no candidate of the first {self.searches} searches could be scored (nothing labelled in them; "
                f"{th1}): look at the labels and ignore_index"
            ]
        if len(scored) > 1 and bool((scored == scored[0]).all()):
            return [
                f"all candidates of the first {self.searches} searches have the same score, so the median is "
                f"{float(scored[0]):.3g} ({th1}): {_alike(float(scored[0]))}"
            ]
        pieces = (
            f"the {self.hardest * 100:g}% of candidates whose parameters lower the score most, on average over images, "
            "become pieces"
        )
        if threshold is not None:
            below = f"Th1 is {threshold:g} and hardest {self.hardest:g}: of what is scored below Th1, "
            return [f"{below}{pieces}"] if self.hardest < 1 else []
        return [
            f"no threshold is set: the first {len(scored)} scores lie between {float(scored.min()):.3g} and "
            f"{float(scored.max()):.3g} (median {float(scored.median()):.3g}), so "
            + (pieces if self.hardest < 1 else "all candidates become pieces")
        ]

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers."""
        return {
            "searches": self.searches,
            "early": self._early.clone(),
            "latest": self._latest.clone(),
            "latest_first": self._latest_first.clone(),
            "unscored": self._unscored,
            "said": [self._said_few, self._said_hard, self._said_nan],
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.searches, self._unscored = saved["searches"], saved["unscored"]
        self._said_few, self._said_hard, self._said_nan = saved["said"]
        self._early, self._latest = saved["early"].clone(), saved["latest"].clone()
        self._latest_first = saved["latest_first"].clone()


def _below(one: Tensor, other: Tensor) -> bool:
    """Whether the mean of one is below that of the other, by more than its standard error."""
    error = (one.var() / len(one) + other.var() / len(other)).sqrt()
    return bool(other.mean() - one.mean() > error)


def _alike(score: float) -> str:
    """What to try where all candidates have one score."""
    if score == 1:
        return "the model recognises everything, so take a store that is further from the images, or mine nothing"
    return "look at predict and scoring, or set start higher"
