"""In which order samples are trained on: known beforehand, shared out among ranks, and gone on with after a resume."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from hardmine.rng import key, keyed

Place = tuple[int, int]  # index and draw, as `Numbered` takes them


class Order(Sampler[list[Place]]):
    """Batches of one rank: B - t sources, then t labelled targets, each sample as its index and draw.

    Both follow endless shuffled passes of their own, in which every sample has another draw each time. A pass over
    the loader goes on where the cursors stand and leaves them there, as loader processes draw ahead; `delivered` moves
    them. Row i of the sources, or targets, of all ranks goes to rank i modulo the number of ranks.

    Args:
        sources: S, number of source images, samples 0 to S - 1 of the training data.
        batch_size: B, rows per rank.
        seed: of order and draws.
        targets: T, number of labelled target images, samples S to S + T - 1.
        target_rows: t, rows of each batch that are targets.

    Attributes:
        rank, ranks: this rank's number, and how many there are.
        cursor: sources delivered so far, over all ranks.
        target_cursor: targets likewise.

    Raises:
        ValueError: rows that do not fit.
    """

    def __init__(self, sources: int, batch_size: int, seed: int, targets: int = 0, target_rows: int = 0) -> None:
        if not 0 <= target_rows <= batch_size:
            raise ValueError(f"target rows must be 0 to the batch size {batch_size}, got {target_rows}")
        if target_rows and targets < 1:
            raise ValueError(f"{target_rows} target rows need target images, got {targets}")
        self.sources, self.batch_size, self.seed = sources, batch_size, seed
        self.targets, self.target_rows = targets, target_rows
        self.rank, self.ranks = 0, 1
        self.cursor, self.target_cursor = 0, 0

    def __len__(self) -> int:
        """Batches of an epoch: as many as the sources fill."""
        return self.sources // (max(self.batch_size - self.target_rows, 1) * self.ranks)

    def __iter__(self) -> Iterator[list[Place]]:
        rows = self.batch_size - self.target_rows
        of_sources = self._passes(range(self.sources), "", self.cursor)
        of_targets = self._passes(range(self.sources, self.sources + self.targets), "target ", self.target_cursor)
        for _ in range(len(self)):
            batch = [next(of_sources) for _ in range(rows)]
            yield batch + [next(of_targets) for _ in range(self.target_rows)]

    def delivered(self) -> None:
        """One batch of every rank has been handed over."""
        self.cursor += (self.batch_size - self.target_rows) * self.ranks
        self.target_cursor += self.target_rows * self.ranks

    def _passes(self, samples: range, name: str, cursor: int) -> Iterator[Place]:
        """This rank's part of what follows the cursor; `name` sets one stream apart from another."""
        number, order, shuffled = cursor + self.rank, -1, torch.empty(0)
        while True:
            epoch, place = divmod(number, len(samples))
            if epoch != order:
                order = epoch
                shuffled = torch.randperm(len(samples), generator=keyed(self.seed, f"{name}order", epoch))
            yield samples[int(shuffled[place])], key(self.seed, f"{name}view", number)
            number += self.ranks


class OrderedLoader(DataLoader[Any]):
    """Loads `Numbered` samples in an `Order`, its batch sampler.

    The place of the order is kept by the DataModule. Lightning asks for a state nevertheless, and otherwise warns that
    a resumed epoch begins anew.
    """

    @property
    def order(self) -> Order:
        assert isinstance(self.batch_sampler, Order)
        return self.batch_sampler

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            self.order.delivered()  # before the step, so that a checkpoint written in it counts this batch
            yield batch

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass
