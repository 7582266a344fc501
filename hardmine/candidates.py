"""Converted images of one rank, on their way to a verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hardmine.conversions import Conversion
from hardmine.conversions.base import taken
from hardmine.records import Recipe
from hardmine.scenes import Scenes
from hardmine.view import View
from hardmine.view.container import copied

Hooks = Callable[[Any], Any]


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
        full: the same at full size, where these are smaller and both are scored.
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
        self.full: Candidates | None = None
        self.prediction: Any = None
        self.score: Tensor | None = None


@dataclass(frozen=True)
class Maker:
    """Makes candidates of a batch.

    Attributes:
        conversion: of its images.
        view: that has read it.
        areas: names of the areas in label order.
    """

    conversion: Conversion
    view: View
    areas: Sequence[str] | None

    def __call__(self, batch: Any, scenes: Scenes, tries: Recipe, of: Tensor, hooks: Hooks) -> Candidates:
        """At the size of the scenes.

        Args:
            batch: what the scenes were read from.
            scenes: B of them.
            tries: N rows.
            of: (N,) int64 on the CPU, the source that each row is made of.
            hooks: what a batch goes through before a model takes it.
        """
        alone = torch.equal(of, torch.arange(len(scenes)))
        made, capped = self.conversion(scenes, tries, None if alone else of)
        before = scenes
        if not alone:
            batch, before = self.view.take(batch, of), taken(scenes, of)
        batch = hooks(copied(self.view.write(batch, before, made)))  # hooks may work in place
        return Candidates(tries, scenes, made, capped, of, batch, self.view.scored(batch, made, self.areas))

    def halved(self, batch: Any, scenes: Scenes, tries: Recipe, of: Tensor, hooks: Hooks) -> Candidates:
        """At half of it, with the colours that were measured at full size: a recipe means the same light in both."""
        if self.conversion.colors is not None:
            scenes.measured(self.conversion.colors)
        batch = self.view.halved(batch)
        small = self.view.read(batch, self.areas)
        small.know(scenes)
        return self(batch, small, tries, of, hooks)
