"""Samples that say which they are, and come again bit for bit."""

import copy
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from operator import index as as_int
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset

from hardmine.errors import InputError
from hardmine.rng import global_state_kept, seed_globally

_INSIDE = ("dataset", "datasets", "transform", "transforms")  # where wrappers keep what they wrap


class NumberedTuple(tuple[Any, ...]):
    """A sample as a plain tuple, which torch collates like any other, with its numbers beside it.

    What a library makes of one by its type alone has no numbers: `index` is then the method of a tuple.

    Attributes:
        index: number of the sample in its data set.
        draw: seed under which it was made.
    """

    index: int  # type: ignore[assignment]  # the method of this name has no use in a sample
    draw: int

    def __new__(cls, values: Iterable[Any], index: int | None = None, draw: int | None = None) -> "NumberedTuple":
        made = super().__new__(cls, values)
        if index is not None and draw is not None:
            made.index, made.draw = index, draw
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        numbers = vars(self)
        return type(self), (tuple(self), numbers.get("index"), numbers.get("draw"))


class Numbered(Dataset[Any]):
    """A map-style data set whose samples carry `index`, their number, and `draw`, the seed of their augmentation.

    `numbered[index]` draws `draw` from torch's global generator, `numbered[index, draw]` is told it. The same two
    numbers give the same sample, if its augmentation draws from the global generators of Python, NumPy or torch, or
    from one of its own that `set_random_seed` sets, as albumentations' Compose does. The global generators are
    afterwards as before.

    Samples that are mappings have both numbers as int64 scalars under these keys, tuples and lists become a
    `NumberedTuple`.

    Args:
        dataset: the user's own.

    Raises:
        InputError: a data set without numbers or length; in use, samples that cannot carry numbers.
    """

    def __init__(self, dataset: Any) -> None:
        countable = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
        if isinstance(dataset, IterableDataset) or not countable:
            raise InputError(
                f"Numbered: {type(dataset).__name__} has no samples to ask for by number: give a map-style data set"
            )
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: Any) -> Any:
        """The sample of a number, or of a number and a draw.

        Raises:
            IndexError: there is none of this number.
            InputError: it cannot carry numbers.
        """
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[Any]) -> list[Any]:
        """Several samples, as torch's loaders ask for them: the global generators are put back once."""
        numbers = [self._number(place) for place in places]
        samples = []
        with global_state_kept():
            for index, draw in numbers:
                for part in _seedable(self.dataset):
                    part.set_random_seed(draw % 2**32)
                seed_globally(draw)
                samples.append(_with_numbers(self.dataset[index], index, draw))
        return samples

    def _number(self, place: Any) -> tuple[int, int]:
        if isinstance(place, tuple):
            index, draw = map(as_int, place)
        else:
            index, draw = as_int(place), int(torch.randint(2**62, ()))
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return index % len(self), draw


def _with_numbers(sample: Any, index: int, draw: int) -> Any:
    if isinstance(sample, Mapping):
        numbered = copy.copy(sample) if isinstance(sample, MutableMapping) else dict(sample)
        for name, number in (("index", index), ("draw", draw)):
            if name not in sample:
                numbered[name] = torch.tensor(number)
            elif not _is_number(sample[name], number):
                raise InputError(f"Numbered: samples have another {name!r} already: rename that key")
        return numbered
    if isinstance(sample, list | tuple) and not hasattr(sample, "_fields"):
        return NumberedTuple(sample, index, draw)
    kind = "namedtuple" if isinstance(sample, tuple) else type(sample).__name__
    raise InputError(f"Numbered: a sample that is a {kind} cannot carry numbers: make it a dict or a plain tuple")


def _is_number(value: Any, number: int) -> bool:
    try:
        return as_int(value) == number
    except (TypeError, ValueError, RuntimeError):  # no number, or more than one
        return False


def _seedable(dataset: Any) -> Iterator[Any]:
    """What has a generator of its own, in a data set, its transforms, and the data sets inside it."""
    seen: set[int] = set()

    def walk(value: Any) -> Iterator[Any]:
        if value is None or id(value) in seen:
            return
        seen.add(id(value))
        if callable(getattr(value, "set_random_seed", None)):
            yield value  # and hands the seed on to its parts
        elif isinstance(value, list | tuple):
            for each in value:
                yield from walk(each)
        elif isinstance(value, dict):
            for each in value.values():
                yield from walk(each)
        else:
            found = {name: getattr(value, name, None) for name in _INSIDE} | getattr(value, "__dict__", {})
            for name, each in found.items():
                if name in _INSIDE or isinstance(each, Dataset) or hasattr(each, "set_random_seed"):
                    yield from walk(each)

    return walk(dataset)
