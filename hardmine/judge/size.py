"""At which size candidates are scored: half of it costs a quarter and ranks them nearly alike."""

from collections.abc import Callable
from math import inf, nan
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from hardmine.candidates import Candidates, Hooks, Maker
from hardmine.errors import InputError
from hardmine.records import Recipe
from hardmine.scenes import Scenes

Wanted = Literal["auto"] | float
Made = TypeVar("Made")
_SHORTEST = 192  # pixels of the shorter side, from which on half of it is tried: below, 0.77 was measured
_TRIAL = 128  # candidates that are scored at both sizes
_BAR = 0.85  # rank correlation of both, from which on half the size is taken; so few tell no finer


def look_at_size(value: Any, name: str = "score_size") -> None:
    """See that a score size is one.

    Raises:
        InputError: it is not.
    """
    if isinstance(value, bool) or value not in ("auto", 1, 0.5):
        raise InputError(f"{name} must be auto, 1.0 or 0.5, got {value!r:.60}")


class ScoreSize:
    """Decides once for a run, and alike on all ranks, whether candidates are made and scored at half size.

    `auto` begins at half size where images are large enough, scores the first candidates at both sizes, and goes back
    where these do not rank them alike. Where the model, or what a batch goes through before it, refuses the smaller
    images, they are scored at full size.

    Args:
        wanted: `auto`, 0.5 or 1.0.

    Attributes:
        half: what was decided; None while both sizes are scored.
        shift: by how much scores rise, since they are those of full size again.
        correlation: of the ranks at both sizes; NaN before they were compared.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.half: bool | None = False if wanted == 1 else None
        self.shift, self.correlation = 0.0, nan
        self._pairs = torch.empty(0, 2)  # scores at half and at full size
        self._why = ""  # full size is taken, for people

    @property
    def columns(self) -> int:
        """What a rank tells of a candidate beside a score for each region."""
        return 3 if self.half is None else 2

    def made(self, maker: Maker, batch: Any, scenes: Scenes, tries: Recipe, of: Tensor, hooks: Hooks) -> Candidates:
        """Candidates at the size that was decided on, or at half of it with `full` beside them; see `Maker`."""
        half = self._suited(scenes) if self.half is None else self.half
        small = self._small(lambda: maker.halved(batch, scenes, tries, of, hooks)) if half else None
        if small is not None and self.half:
            return small
        full = maker(batch, scenes, tries, of, hooks)
        if small is None:
            return full
        small.full = full
        return small

    def judged(self, judge: Callable[[Candidates], Tensor], candidates: Candidates) -> tuple[Candidates, Tensor]:
        """Scores of candidates.

        Args:
            judge: gives (N, R + 2).
            candidates: of `made`.

        Returns:
            The candidates that are scored, and (N, R + `columns`): their scores and, while both sizes are scored, the
            score at full size; infinite where there is none at half size.
        """
        full, candidates.full = candidates.full or candidates, None
        if self.half is not None:
            candidates = candidates if self.half else full
            return candidates, judge(candidates)
        scores = judge(full)
        if full is not candidates:
            small = self._small(lambda: judge(candidates))
            if small is not None:
                at_full = scores[:, :1].nan_to_num(nan, nan, nan)
                return candidates, torch.cat([small, at_full], dim=1)
        return full, torch.cat([scores, torch.full_like(scores[:, :1], inf)], dim=1)

    def _suited(self, scenes: Scenes) -> bool:
        boxes = "boxes" in scenes.labels
        if boxes or not scenes.movable:
            if self.wanted == 0.5:
                self._why = "an object of half the size is another one for a detector"
                if not boxes:
                    self._why = "not everything is known that has a place in the image"
            return False
        return self.wanted == 0.5 or scenes.shorter_side >= _SHORTEST

    def _small(self, make: Callable[[], Made]) -> Made | None:
        """None where smaller images are refused."""
        try:
            return make()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a stranger's model and hooks raise
            why = " ".join(str(error).split())[:120]
            if self.half:
                raise InputError(
                    f"score_size: at half size candidates of this batch cannot be scored ({why}): set score_size=1.0"
                ) from error
            self._why = f"the model refuses smaller images ({why})"
            return None

    def split(self, told: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, R + 2) of what all ranks told, and pairs (N, 2) of scores at half and at full size."""
        if self.half is not None:
            return told, told.new_empty(0, 2)
        return told[:, :-1], told[:, [0, -1]]

    def look(self, pairs: Tensor) -> list[str]:
        """Decide, once there are enough pairs; `shift` is of this call.

        Args:
            pairs: of `split`.

        Returns:
            Lines to tell.
        """
        self.shift = 0.0
        if self.half is not None or not len(pairs):
            return []
        if bool(pairs.isposinf().any()):
            self.half, self._pairs = False, pairs[:0]
            return [f"candidates are scored at full size: {self._why}"] if self._why else []
        self._pairs = torch.cat([self._pairs, pairs[~pairs.isnan().any(1)]])
        if len(self._pairs) < (_TRIAL if self.wanted == "auto" else 1):
            return []
        at_half, at_full = self._pairs.T
        self.correlation, tried = rank_correlation(at_half, at_full), len(at_half)
        self.half = self.wanted == 0.5 or self.correlation >= _BAR
        self._pairs = pairs[:0]
        if self.wanted == 0.5:
            return []
        found = f"the rank correlation of the first {tried} scores at half and at full size is {self.correlation:.2f}"
        if self.half:
            return [f"candidates are scored at half size: {found}; score_size=1.0 scores them at full size"]
        self.shift = float((at_full - at_half).mean())
        return [f"candidates are scored at full size from now on: {found}"]

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers."""
        return {"half": -1 if self.half is None else int(self.half), "pairs": self._pairs.clone()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on; a search that knew of no size scored at full size."""
        if self.wanted == 1 or not saved:
            self.half = False
        else:
            self.half = None if saved["half"] < 0 else bool(saved["half"])
            self._pairs = saved["pairs"].clone()


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's, equal values sharing their mean rank; NaN where one of them does not vary."""
    return float(torch.corrcoef(torch.stack([_ranks(one), _ranks(other)]))[0, 1])


def _ranks(values: Tensor) -> Tensor:
    _, place, count = torch.unique(values, return_inverse=True, return_counts=True)
    rank: Tensor = count.cumsum(0) - (count - 1) / 2
    return rank.double()[place]
