"""When the search is over: a budget is spent, or little is hard any more."""

from math import inf
from typing import Any

from hardmine.arguments import look_at_number


class Stopping:
    """A budget of pieces, or a hit rate that stays under a floor.

    Args:
        max_pieces: pieces after which the search ends; None has no budget.
        min_hit_rate: share of candidates that became pieces, in [0, 1]; 0 never stops.
        patience: checks in a row that must lie under it.
        window: candidates between checks.

    Raises:
        InputError: a number out of its range.
    """

    def __init__(
        self, max_pieces: int | None = None, min_hit_rate: float = 0.0, patience: int = 3, window: int = 200
    ) -> None:
        if max_pieces is not None:
            look_at_number("stopping.max_pieces", max_pieces, 1, inf, "pieces", whole=True)
        look_at_number("stopping.min_hit_rate", min_hit_rate, 0, 1, "a share")
        look_at_number("stopping.patience", patience, 1, inf, "checks", whole=True)
        look_at_number("stopping.window", window, 1, inf, "candidates", whole=True)
        self.max_pieces, self.min_hit_rate, self.patience, self.window = max_pieces, min_hit_rate, patience, window
        self.reason: str | None = None  # once the search is over
        self._checked = (0, 0)  # candidates and pieces at the last check
        self._low = 0  # checks in a row under the floor

    def update(self, candidates: int, pieces: int) -> None:
        """Look at the counts of the whole run."""
        if self.reason is None and self.max_pieces is not None and pieces >= self.max_pieces:
            self.reason = f"the budget of {self.max_pieces} pieces is spent"
        tried, found = candidates - self._checked[0], pieces - self._checked[1]
        if tried < self.window:
            return
        self._checked = (candidates, pieces)
        self._low = self._low + 1 if found / tried < self.min_hit_rate else 0
        if self.reason is None and self._low >= self.patience:
            self.reason = f"the hit rate was under {self.min_hit_rate:.1%} in {self.patience} checks in a row"

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return {"reason": self.reason or "", "checked": list(self._checked), "low": self._low}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.reason, self._low = saved["reason"] or None, saved["low"]
        self._checked = (saved["checked"][0], saved["checked"][1])
