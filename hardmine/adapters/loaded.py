"""A batch on its way from the loader to the step, closed to all that would convert it on the way."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory

from hardmine.records import Recipe


class Loaded:
    """No container that Lightning or torch look into: a precision plugin would round the images.

    Attributes:
        batch: as the user's collate function made it.
        index, draw: (B,) int64 of samples that carry them beside their content; None where they do not.
        rows: what the batch is to train on, where that has been decided; None leaves it to the plan.
    """

    def __init__(
        self, batch: Any, index: Tensor | None = None, draw: Tensor | None = None, rows: Recipe | None = None
    ) -> None:
        self.batch, self.index, self.draw, self.rows = batch, index, draw, rows

    def pin_memory(self, device: Any = None) -> "Loaded":
        """What torch calls where memory is pinned."""
        pinned = pin_memory(self.batch, device)  # type: ignore[no-untyped-call]
        return Loaded(pinned, self.index, self.draw, self.rows)


class Collate:
    """The user's collate function, and the numbers of the samples beside what it gives.

    Args:
        function: the user's own.
    """

    def __init__(self, function: Callable[[list[Any]], Any]) -> None:
        self.function = function

    def __call__(self, samples: Any) -> Loaded:
        numbers = _numbers(samples) if isinstance(samples, Sequence) else (None, None)
        return Loaded(self.function(samples), *numbers)


def _numbers(samples: Sequence[Any]) -> tuple[Tensor | None, Tensor | None]:
    if not samples or not all(hasattr(sample, "index") and hasattr(sample, "draw") for sample in samples):
        return None, None
    if not all(isinstance(sample.draw, int) for sample in samples):
        return None, None
    return tuple(torch.tensor([getattr(sample, name) for sample in samples]) for name in ("index", "draw"))  # type: ignore[return-value]


def wrapped(loaders: Any) -> Any:
    """Copies of the loaders, whose batches come closed; the user's own stay as they are.

    What is no DataLoader gives its batches open, and so does one that works on them as it hands them over.
    """
    from lightning.pytorch.utilities.combined_loader import CombinedLoader

    if isinstance(loaders, CombinedLoader):
        combined = copy.copy(loaders)
        combined.flattened = [wrapped(loader) for loader in loaders.flattened]
        return combined
    if isinstance(loaders, DataLoader):
        plain = type(loaders).__iter__ is DataLoader.__iter__ or hasattr(loaders.batch_sampler, "delivered")
        if not plain or isinstance(loaders.collate_fn, Collate):
            return loaders
        closed = copy.copy(loaders)
        closed.collate_fn = Collate(loaders.collate_fn)
        return closed
    if type(loaders) is dict:
        return {name: wrapped(loader) for name, loader in loaders.items()}
    if type(loaders) in (list, tuple):
        return type(loaders)(map(wrapped, loaders))
    return loaders


def opened(batch: Any) -> tuple[Any, list[tuple[tuple[Any, ...], Loaded]]]:
    """The batch as the user's loaders gave it, and what was closed in it with its place."""
    found: list[tuple[tuple[Any, ...], Loaded]] = []

    def inside(value: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(value, Loaded):
            found.append((path, value))
            return value.batch
        if type(value) is dict:
            parts = {name: inside(each, (*path, name)) for name, each in value.items()}
            return parts if any(parts[name] is not value[name] for name in parts) else value
        if type(value) in (list, tuple):
            made = [inside(each, (*path, place)) for place, each in enumerate(value)]
            return type(value)(made) if any(a is not b for a, b in zip(made, value, strict=True)) else value
        return value

    return inside(batch, ()), found
