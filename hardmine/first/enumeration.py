"""Every choice of areas with every target: (2^N - 1) * M images of one input (R18; D45)."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate
from operator import index as whole

import torch
from torch import Tensor


class Enumeration:
    """All pairs of a non-empty set of areas and a target, by number and without a list of them.

    Args:
        areas: A, or which of the A areas may be converted: (A,) bool, or (T, A) bool for each of the T targets.
        targets: M, or T rows of the store.

    Example:
        >>> every = Enumeration(areas=4, targets=2)
        >>> every.count
        30
        >>> every[16]
        (tensor([False,  True, False, False]), 1)
        >>> every.index(*every[16])
        16
        >>> Enumeration(areas=255, targets=1).count == 2**255 - 1
        True
    """

    def __init__(self, areas: int | Tensor, targets: int | Sequence[int]) -> None:
        self.targets = range(targets) if isinstance(targets, int) else tuple(targets)
        mask = torch.ones(areas, dtype=torch.bool) if isinstance(areas, int) else areas
        if mask.dtype != torch.bool or mask.ndim not in (1, 2) or (mask.ndim == 2 and len(mask) != len(self.targets)):
            wanted = f"(A,) or ({len(self.targets)}, A) bool"
            raise ValueError(f"areas must be a number or {wanted}, got {tuple(mask.shape)} {mask.dtype}")
        self.mask = mask.expand(len(self.targets), -1)  # (T, A)
        self._ends = list(accumulate(2**size - 1 for size in self.mask.sum(1).tolist()))
        self._place = {target: place for place, target in enumerate(self.targets)}

    @property
    def count(self) -> int:
        """Number of members, however large; `len` only goes up to `sys.maxsize`."""
        return self._ends[-1] if self._ends else 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        """The areas (A,) bool and the target of a member.

        Raises:
            IndexError: there is no such number.
        """
        asked, number = number, whole(number)
        number += self.count if number < 0 else 0
        if not 0 <= number < self.count:
            raise IndexError(f"an enumeration of {self.count} members has no number {asked}")
        place = bisect_right(self._ends, number)
        bits = number - self._start(place) + 1  # 0 would be no area at all
        subset = self.mask[place].clone()
        subset[self.mask[place]] = torch.tensor([bool(bits >> bit & 1) for bit in range(int(subset.sum()))])
        return subset, self.targets[place]

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return (self[number] for number in range(self.count))

    def index(self, subset: Tensor, target: int) -> int:
        """The number of a member.

        Raises:
            ValueError: it is no member.
        """
        place = self._place.get(target)
        if place is None or not subset.any() or (subset & ~self.mask[place]).any():
            raise ValueError(f"areas {subset.nonzero().flatten().tolist()} with target {target} is no member")
        bits = sum(1 << bit for bit, chosen in enumerate(subset[self.mask[place]].tolist()) if chosen)
        return self._start(place) + bits - 1

    def _start(self, place: int) -> int:
        return self._ends[place - 1] if place else 0


def shuffled(number: int, count: int, *key: int | str) -> int:
    """Where `number` stands in an order of 0 to count - 1 that looks random and is never written down.

    A Feistel network of four rounds permutes the numbers of an even count of bits (Luby and Rackoff 1988); a result
    that is too large goes through it again until it fits, so that 0 to count - 1 are permuted among themselves.

    Args:
        number: 0 <= number < count.
        count: of any size up to 2^1024.
        key: what the order depends on.
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = number >> half, number & mask
        for turn in range(4):
            digest = blake2b(repr((*key, turn, right)).encode()).digest()
            left, right = right, left ^ (int.from_bytes(digest, "little") & mask)
        number = left << half | right
        if number < count:
            return number
