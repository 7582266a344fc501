"""When the model is updated with what was found (R41-R43; D77)."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from hardmine.records import Recipe, state


@dataclass(frozen=True)
class Update:
    """Every step, or as soon as k pieces have been found.

    Attributes:
        every: pieces per update and rank, 1 for every piece; in between, batches are only searched. 0 updates with
            every batch, whether or not something was found: clean rows and pieces of the buffer, drawn again and again.
        stored: rows of stored training data beside the new pieces (batch learning); otherwise pieces alone.
        tries: searched batches without an update after which nothing is left to be learnt and training ends.
    """

    every: int = 0
    stored: bool = True
    tries: int = 100

    def __post_init__(self) -> None:
        if self.every < 0 or self.tries < 1:
            raise ValueError(f"update.every must be >= 0 and update.tries >= 1, got {self.every} and {self.tries}")


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
