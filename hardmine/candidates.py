"""Converted images of one rank, on their way to a verdict."""

from typing import Any

from torch import Tensor

from hardmine.records import Recipe
from hardmine.scenes import Scenes


class Candidates:
    """N converted images that the model has yet to judge.

    Attributes:
        recipe: N rows.
        source: B scenes before the conversion.
        converted: N scenes after it.
        capped: (N,) share of areas whose parameter met a limit.
        of: (N,) int64 on the CPU, which of the sources each was made of.
        batch: the candidates as the model takes them.
        labels: of the candidates, as a scoring takes them, with `regions`.
        prediction: of the model, once scored.
        score: (N,) on the CPU, once judged.
    """

    def __init__(
        self,
        recipe: Recipe,
        source: Scenes,
        converted: Scenes,
        capped: Tensor,
        of: Tensor,
        batch: Any,
        labels: dict[str, Tensor],
    ) -> None:
        self.recipe, self.source, self.converted, self.capped, self.of = recipe, source, converted, capped, of
        self.batch, self.labels = batch, labels
        self.prediction: Any = None
        self.score: Tensor | None = None
