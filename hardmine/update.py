"""When the model is updated with what was found (R41-R43; D77)."""

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Any

from hardmine.arguments import look_at_number
from hardmine.errors import InputError
from hardmine.miner import Miner
from hardmine.records import Recipe, state
from hardmine.search import Process, Search, Steps


@dataclass(frozen=True)
class Update:
    """Every step, or as soon as k pieces have been found.

    Attributes:
        every: k, pieces of all ranks per update, 1 for every piece; in between, the model stands still and sources are
            searched. 0 updates with every batch, whether or not something was found.
        stored: rows of stored training data beside the new pieces (batch learning); otherwise pieces alone.
        tries: rounds of the search without an update after which nothing is left to be learnt and training ends.
        search: how each source is searched.

    Raises:
        InputError: a number out of its range.
    """

    every: int = 0
    stored: bool = True
    tries: int = 100
    search: Steps = field(default_factory=Steps)

    def __post_init__(self) -> None:
        look_at_number("update.every", self.every, 0, inf, "pieces", whole=True)
        if not isinstance(self.stored, bool):
            raise InputError(f"update.stored must be true or false, got {self.stored!r:.60}")
        look_at_number("update.tries", self.tries, 1, inf, "rounds of the search", whole=True)
        if not isinstance(self.search, Steps):
            raise InputError(f"update.search must be hardmine.Steps, got {self.search!r:.60}")


class Pending:
    """The pieces that the model has not been updated with yet, oldest first."""

    def __init__(self) -> None:
        self._pieces: deque[Recipe] = deque()

    def __len__(self) -> int:
        return len(self._pieces)

    def put(self, recipe: Recipe) -> None:
        """Take in the rows that are pieces."""
        pieces = recipe[recipe.piece >= 0]
        self._pieces.extend(pieces[row : row + 1] for row in range(len(pieces)))

    def take(self, n: int) -> Recipe:
        """The n oldest."""
        return Recipe.cat([self._pieces.popleft() for _ in range(n)])

    def state_dict(self) -> dict[str, Any]:
        return state(Recipe.cat(list(self._pieces))) if self._pieces else {}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self._pieces.clear()
        if saved:
            self.put(Recipe.from_tensors(saved))


class Rounds:
    """The search between two updates: k pieces, then the model learns them, then on.

    Args:
        miner: proposes and remembers.
        update: k, and when to give up.
        sources: S.
    """

    def __init__(self, miner: Miner, update: Update, sources: int) -> None:
        self.update, self.miner = update, miner
        rows = min(update.every, sources)
        self.search = Search(miner, sources, rows, update.search, searches=None, learns=True)
        self.pending = Pending()
        self.given: Recipe | None = None  # what the model is updated with before the next search
        self.tries = 0  # rounds since the last update

    def pieces(self, process: Process, step: int) -> Recipe | None:
        """The next k pieces; None where the search is over.

        Args:
            process: see `Search.step`.
            step: updates made so far.
        """
        every = self.update.every
        if self.given is not None:
            self.search.updated(process, step, self.given)
            self.given = None
        while len(self.pending) < every:
            if self.miner.stopping.reason is None and self.tries >= self.update.tries:
                self.miner.stopping.reason = (
                    f"nothing hard in {self.tries} rounds: give more targets, or set threshold or hardest higher"
                )
            if self.miner.stopping.reason is not None:
                return None
            self.tries += 1
            # no more than are missing, so that none waits while the model changes
            candidates, verdict = self.search.step(process, step, most=every - len(self.pending))
            left = every - len(self.pending) - int(verdict.piece.sum())
            self.search.output(process, candidates, verdict, most=left or every, updates=not left)
            self.pending.put(candidates)
        self.tries = 0
        self.given = self.pending.take(every)
        return self.given

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers."""
        return {
            "search": self.search.state_dict(),
            "pending": self.pending.state_dict(),
            "tries": self.tries,
            "given": {} if self.given is None else state(self.given),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.search.load_state_dict(saved["search"])
        self.pending.load_state_dict(saved["pending"])
        self.tries = saved["tries"]
        self.given = Recipe.from_tensors(saved["given"]) if saved["given"] else None
