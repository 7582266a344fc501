"""Classification: reliability of the recognised object (R23a; D46)."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.judge.scoring.base import in_areas


class Confidence:
    """Probability that the model gives to a class.

    Args:
        of: the `labelled` class, so that being sure of a wrong one is hard, or the `recognised` one, whichever it is,
            as the text has it.

    Raises:
        InputError: `of` is neither.
    """

    def __init__(self, of: Literal["labelled", "recognised"] = "labelled") -> None:
        if of not in ("labelled", "recognised"):
            raise InputError(f"scoring.of must be labelled or recognised, got {of!r:.60}")
        self.of = of

    @torch.no_grad()
    def __call__(
        self, prediction: Tensor, batch: Mapping[str, Any], areas: int, chosen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score of each image.

        Args:
            prediction: (N, C) logits, floating point.
            batch: `target` (N,) integer in [0, C), anything else is not scored; `regions` (N, H, W) uint8 in [0, A) or
                255.
            areas: A.
            chosen: not looked at: a class belongs to the whole image.

        Returns:
            (N,) and (N, R) float32 in [0, 1]; every area of an image has its score, NaN where the area is absent.
        """
        probability = prediction.float().softmax(dim=1)
        target = batch["target"].long()
        known = (target >= 0) & (target < prediction.shape[1])
        wanted = target.where(known, 0) if self.of == "labelled" else probability.argmax(1)
        score = probability.gather(1, wanted[:, None])[:, 0]
        score = score.masked_fill(~known, torch.nan)
        return score, in_areas(score, batch["regions"], areas)
