"""A loader that gives update batches alone: in between, sources are searched until enough pieces are found (R42)."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from hardmine.adapters.loaded import Collate, Loaded
from hardmine.errors import InputError
from hardmine.numbered import Numbered
from hardmine.records import Recipe
from hardmine.search import Process

if TYPE_CHECKING:
    from hardmine.mining import Mining

Processes = Callable[[Callable[[Recipe], Any]], Process]


class Updates:
    """As long as the user's loader; it has a length, since Lightning fetches a batch ahead of one that has none.

    Args:
        mining: the search.
        loader: the user's, over numbered samples.
        process: what the search has done for it, given what loads the closed batch of the sources of rows.
        end: called once nothing is left to be learnt.

    Raises:
        InputError: a loader whose samples cannot be asked for by number.
    """

    def __init__(self, mining: "Mining", loader: Any, process: Processes, end: Callable[[], None]) -> None:
        if not isinstance(loader, DataLoader) or not isinstance(loader.dataset, Numbered) or not loader.batch_sampler:
            raise InputError(
                "update.every converts the same sources again and again: give one DataLoader with a batch size over "
                "hardmine.Numbered(dataset)"
            )
        self.mining, self.loader, self.process, self.end = mining, loader, process, end
        collate = loader.collate_fn
        self.collate = collate if isinstance(collate, Collate) else Collate(collate)
        self.dataset, self.order = loader.dataset, loader.batch_sampler
        size = getattr(self.order, "batch_size", None)
        every = mining.update.every
        if mining.update.stored and size is not None and every >= size * mining.ranks.count:
            raise InputError(
                f"update.every={every} pieces leave no row of a batch of {size * mining.ranks.count} for stored data: "
                "lower it, or set update.stored=false"
            )
        for name in ("state_dict", "load_state_dict"):
            if hasattr(loader, name):  # it goes on in mid-epoch
                setattr(self, name, getattr(loader, name))

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Loaded]:
        mining, ranks = self.mining, self.mining.ranks
        shared = hasattr(self.order, "delivered")  # hardmine's own order shares its rows out among ranks
        chosen: Iterator[Any] = iter(self.order)
        if not shared:
            chosen = islice(chosen, ranks.rank, None, ranks.count)
        for samples in chosen:
            if mining.miner is None and mining.step >= mining.start:
                mining.read(self._loaded([self.dataset[samples[0]]]).batch)
            if mining.step < mining.start or not mining.usual.known:
                self._count()
                yield self._loaded([self.dataset[sample] for sample in samples])
                continue
            rounds = mining.between(self._sources)
            pieces = rounds.pieces(self.process(self.load), mining.step)
            if pieces is None:
                self.end()
                return
            mine = pieces[ranks.rank :: ranks.count]
            kept = [self.dataset[sample] for sample in samples[len(mine) :]] if mining.update.stored else []
            self._count()
            yield self._joined(kept, mine)

    @property
    def _sources(self) -> int:
        """Samples that are searched: with hardmine's own order the source images, not the targets after them."""
        return int(getattr(self.order, "sources", len(self.dataset)))

    def _count(self) -> None:
        if hasattr(self.order, "delivered"):
            self.order.delivered()

    def load(self, rows: Recipe) -> Loaded:
        """The sources of rows, as they were drawn."""
        return self._loaded(self._samples(rows), rows)

    def _samples(self, rows: Recipe) -> list[Any]:
        return [self.dataset[place] for place in zip(rows.source.tolist(), rows.draw.tolist(), strict=True)]

    def _loaded(self, samples: list[Any], rows: Recipe | None = None) -> Loaded:
        loaded = self.collate(samples)
        loaded.rows = rows
        return loaded

    def _joined(self, kept: list[Any], pieces: Recipe) -> Loaded:
        """Stored training data as it is, and pieces after it."""
        loaded = self.collate([*kept, *self._samples(pieces)])
        if not kept:
            loaded.rows = pieces
            return loaded
        index, draw = numbers_of(kept)
        loaded.rows = Recipe.cat([Recipe.clean(index, draw, *pieces.parameter.shape[1:]), pieces])
        return loaded


def numbers_of(samples: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Index and draw, (N,) int64, of numbered samples."""
    pairs = [
        (int(sample["index"]), int(sample["draw"])) if isinstance(sample, Mapping) else (sample.index, sample.draw)
        for sample in samples
    ]
    index, draw = torch.tensor(pairs, dtype=torch.int64).T
    return index, draw
