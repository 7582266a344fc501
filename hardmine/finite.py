"""Weights that are no numbers."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hardmine.errors import InputError


def nan_weight(weights: Mapping[str, Any]) -> str | None:
    """The name of the first tensor that has a NaN; infinity may be meant, in a mask."""
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    return next((name for name, value in tensors.items() if bool(value.isnan().any())), None)


def look_at_weights(path: str, weights: Mapping[str, Any]) -> None:
    """See that weights which were read can be used.

    Raises:
        InputError: one of them is NaN.
    """
    if name := nan_weight(weights):
        raise InputError(f"{path}: weights are NaN ({name}): take a checkpoint from before the loss became NaN")
