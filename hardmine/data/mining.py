"""Mining around any DataModule: candidates are made on the device, right after the batch has arrived there."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hardmine.candidates import KEY, Candidates
from hardmine.conversions import ColorTransfer, Conversion
from hardmine.data.replay import Batch, Replayed, ReplayLoader
from hardmine.data.sampler import MiningSampler
from hardmine.data.wrapped import Wrapped
from hardmine.errors import InputError
from hardmine.memory.buffer import RecipeBuffer
from hardmine.memory.stopping import Stopping
from hardmine.miner import Miner
from hardmine.neighbourhood import Neighbourhood
from hardmine.records import Recipe
from hardmine.rng import global_state_kept
from hardmine.scenes import Scenes
from hardmine.store import ParameterStore
from hardmine.update import Pending, Update


class MiningDataModule(Wrapped):
    """The user's DataModule with rows of pieces mixed into its training batches, and candidates made beside them.

    Its training data set yields dicts; after collation `image` is (B, 3, H, W) uint8 sRGB and `regions` (B, H, W)
    uint8. Random augmentation inside the data set is replayed from the recipe's view. What the user's own
    `on_after_batch_transfer` does to a batch (scaling, say) is done to the candidates too. Validation and test
    batches pass through untouched.

    Args:
        datamodule: the user's own.
        store: parameters, matched to the areas by name where `areas` is given; None where nothing is mined.
        neighbourhood: policy; None trains without mining, on the same clean batches.
        areas: names of the areas in label order; None takes the store's.
        first: draws first parameters.
        conversion: makes candidates.
        buffer: the online-update buffer.
        update: when the model is updated.
        stopping: when the search is over.
        mined: rows of each batch that are pieces, as a share of those that are not targets.
        candidates: K, candidates per row.
        search_every: optimiser steps for each search; in those between, pieces are trained on and nothing is scored.
        start: optimiser steps of plain training before mining starts; a model that knows nothing finds all hard.
        fresh_sources: replay a piece's parameter on the next clean source in place of its own.
        seed: of everything drawn here.
        targets: rows of each batch that are labelled target images, as they are, as a share of the batch size.
        target_sources: how many samples at the end of the training data set are such images.
        convert_targets: replay pieces on such images too, see `MiningSampler`.
        hardest: see `Miner`.
        judged: False trains on every first parameter once and scores nothing: plain augmentation.

    Raises:
        InputError: no area in common, a number out of its range, or training data that cannot be mined.
    """

    def __init__(
        self,
        datamodule: L.LightningDataModule,
        store: ParameterStore | None,
        neighbourhood: Neighbourhood | None = None,
        areas: tuple[str, ...] | None = None,
        first: Neighbourhood | None = None,
        conversion: Conversion | None = None,
        buffer: RecipeBuffer | None = None,
        update: Update | None = None,
        stopping: Stopping | None = None,
        mined: float = 0.5,
        candidates: int = 1,
        start: int = 0,
        fresh_sources: bool = True,
        seed: int = 0,
        targets: float = 0.0,
        target_sources: int = 0,
        judged: bool = True,
        hardest: float = 0.1,
        convert_targets: bool = True,
        search_every: int = 1,
    ) -> None:
        super().__init__(datamodule)
        if not 0 <= mined <= 1:
            raise InputError(f"mining.mined must be a share from 0 to 1, got {mined}")
        if not 0 <= targets <= 1:
            raise InputError(f"mining.targets must be a share from 0 to 1, got {targets}")
        if targets and target_sources < 1:
            raise InputError(
                "mining.targets needs labelled target images at the end of the training data: give their number as "
                "target_sources"
            )
        if candidates < 1:
            raise InputError(f"mining.candidates must be >= 1, got {candidates}")
        if search_every < 1:
            raise InputError(f"mining.search_every must be >= 1 optimiser step, got {search_every}")
        if not 0 < hardest <= 1:
            raise InputError(f"mining.hardest must be a share in (0, 1], got {hardest}")
        if not judged and (candidates > 1 or (update or Update()).every):
            raise InputError("mining.judged=false makes one image per row in every step: set candidates and update so")
        if neighbourhood is not None and store is None:
            raise InputError("mining needs a parameter store: give one, or set neighbourhood=none")
        self.store = store.aligned(areas) if store is not None and areas is not None else store
        self.neighbourhood, self.first = neighbourhood, first
        self.conversion: Conversion = conversion or ColorTransfer()
        self.buffer = RecipeBuffer() if buffer is None else buffer
        self.update, self.stopping = update or Update(), stopping
        self._fresh = deepcopy((self.buffer, self.stopping))
        self.mined, self.candidates, self.start, self.seed = mined, candidates, start, seed
        self.search_every, self.fresh_sources = search_every, fresh_sources
        self.targets, self.target_sources = targets, target_sources
        self.judged, self.hardest, self.convert_targets = judged, hardest, convert_targets
        self.miner: Miner | None = None
        self.sampler: MiningSampler | None = None
        self.judge: Callable[[Candidates], Recipe] | None = None  # the HardMining callback puts itself here
        self.pending = Pending()
        self._update_rows: Recipe | None = None  # of the update batch on its way to the device
        self._searching = False
        self._searched: Candidates | None = None  # the latest, judged: what an update batch shows to the callbacks
        self._tries = 0  # batches searched since the last update
        self._offered_at = -1  # optimiser steps made when candidates were last offered
        self._saved: dict[str, Any] | None = None

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":  # what is found belongs to the fit; a checkpoint is read after this
            self.buffer, self.stopping = deepcopy(self._fresh)
            self.miner, self.sampler, self._saved = None, None, None
            self.pending, self._tries, self._offered_at = Pending(), 0, -1

    def train_dataloader(self) -> DataLoader[Batch]:
        """The user's loader with its sampler replaced; the number of batches per epoch stays fixed."""
        loader = self.inner.train_dataloader()
        if not isinstance(loader, DataLoader) or loader.batch_size is None:
            raise InputError("train_dataloader must return one torch DataLoader with a batch_size: mining replaces it")
        samples, batch_size = len(loader.dataset), loader.batch_size  # type: ignore[arg-type]
        sources = samples - self.target_sources
        if sources < batch_size:
            raise InputError(f"{sources} training images are fewer than data.batch_size={batch_size}: lower it")
        target_rows = round(self.targets * batch_size)
        mined = round(self.mined * (batch_size - target_rows))
        if self.targets and not target_rows:
            raise InputError(f"mining.targets={self.targets} is no row of data.batch_size={batch_size}: raise it")
        if self.sampler is None:  # a loader that is made anew goes on in the order of its fit
            self._begin(sources, samples, batch_size, mined, target_rows)
        assert self.sampler is not None
        replayed = Replayed(loader.dataset, loader.collate_fn)
        made = ReplayLoader(
            replayed,
            sampler=self.sampler,
            batch_size=None,
            num_workers=loader.num_workers,
            pin_memory=loader.pin_memory,
            persistent_workers=loader.persistent_workers,
        )
        if self.miner is not None and self.update.every:
            made.feed = lambda loaded: self._updates(loaded, replayed)
        return made

    def _begin(self, sources: int, samples: int, batch_size: int, mined: int, target_rows: int) -> None:
        """The search and the order of one fit."""
        if self.neighbourhood is not None and self.store is not None:
            self.miner = Miner(
                self.store,
                samples,
                self.neighbourhood,
                self.first,
                self.conversion,
                self.buffer,
                self.stopping,
                self.candidates,
                self.seed,
                self.hardest,
            )
            if self.update.every and self.update.stored and self.update.every >= batch_size - target_rows:
                less = f" less {target_rows} rows of mining.targets" if target_rows else ""
                raise InputError(
                    f"update.every must be under data.batch_size={batch_size}{less} where stored rows join in"
                )
        self.sampler = MiningSampler(
            sources,
            batch_size,
            mined,
            self.store.regions if self.store is not None else 1,
            len(self.conversion.space),
            self.buffer if self.miner is not None else None,
            self.fresh_sources,
            self.seed,
            self.target_sources,
            target_rows,
            self.convert_targets,
        )
        self.sampler.rank, self.sampler.ranks = self.trainer.global_rank, self.trainer.world_size  # type: ignore[union-attr]
        if self._saved is not None:
            self._restore(self._saved)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """In training: rows of pieces are converted, candidates are made and ride along under the key `hardmine`."""
        trainer, sampler = self.trainer, self.sampler
        if trainer is None or not trainer.training or sampler is None:
            return self.inner.on_after_batch_transfer(batch, dataloader_idx)
        updating, rows = self._update_rows is not None, self._update_rows
        if rows is None:
            rows = sampler.in_flight.popleft()
        self._update_rows = None
        sampler.step = trainer.global_step
        if self.miner is None or trainer.global_step < self.start:
            return self.inner.on_after_batch_transfer(batch, dataloader_idx)
        scenes = Scenes.of_batch(batch, len(self.miner.store.areas))
        if self._searching:
            return {KEY: self._candidates(batch, scenes, rows, dataloader_idx)}
        if not self.judged:
            rows = self.miner.augment(rows, sampler.stand_ins, trainer.global_step)
            batch = self._converted(batch, scenes, sampler.part(rows))
            return self.inner.on_after_batch_transfer(batch, dataloader_idx)
        trained = self._converted(batch, scenes, sampler.part(rows))
        offered = self._searched if updating else None
        # the last step of each period, so that what logs every so many steps finds something
        due = (trainer.global_step + 1) % self.search_every == 0 and trainer.global_step != self._offered_at
        if not updating and due and self.miner.stopping.reason is None:
            offered = self._candidates(batch, scenes, rows, dataloader_idx)
            self._offered_at = trainer.global_step
        trained = self.inner.on_after_batch_transfer(trained, dataloader_idx)
        return trained if offered is None else {**trained, KEY: offered}

    def _converted(self, batch: Batch, scenes: Scenes, mine: Recipe) -> Batch:
        """The batch with its pieces made, which stand in its last rows."""
        assert self.miner is not None
        pieces = mine.chosen.any(1).nonzero().flatten()
        if not len(pieces):
            return batch
        clean = int(pieces[0])
        part = scenes[slice(clean, None)]
        made, _ = self.miner.conversion(part, mine[slice(clean, None)])
        changed = {"image": made.image}
        if made.regions is not part.regions:  # an object was moved, and with it its labels
            changed.update(regions=made.regions, **made.labels)
        return {**batch, **{name: torch.cat([batch[name][:clean], value]) for name, value in changed.items()}}

    def _candidates(self, batch: Batch, scenes: Scenes, rows: Recipe, dataloader_idx: int) -> Candidates:
        """K neighbours or first parameters for each row, converted; labels are repeated with their sources (R26)."""
        assert self.miner is not None and self.trainer is not None and self.sampler is not None
        proposed = self.miner.propose(rows, self.trainer.global_step)
        mine, repeated = self.sampler.part(proposed), scenes
        if self.candidates > 1:
            n = len(scenes)
            index = torch.arange(n).repeat_interleave(self.candidates)
            repeated = scenes[index]
            batch = {k: v[index] if isinstance(v, Tensor) and v.ndim and len(v) == n else v for k, v in batch.items()}
        made, capped = self.miner.conversion(repeated, mine)
        with global_state_kept():
            offered = self.inner.on_after_batch_transfer(
                {**batch, "image": made.image, "regions": made.regions, **made.labels}, dataloader_idx
            )
        return Candidates(offered, proposed, mine, self.miner, scenes, made, capped)

    def _updates(self, loaded: Iterator[Batch], replayed: Replayed) -> Iterator[Batch]:
        """Update batches alone: in between, batches are searched until enough pieces have been found (R42)."""
        assert self.miner is not None and self.trainer is not None and self.sampler is not None
        trainer, needed = self.trainer, self.update.every * self.sampler.ranks
        if self.judge is None:
            raise InputError("update.every needs the HardMining callback: add it to the trainer's callbacks")
        while True:
            if len(self.pending) >= needed:
                self._tries = 0
                rows = self.sampler.joined(self.pending.take(needed), stored=self.update.stored)
                self._update_rows = rows
                yield replayed[self.sampler.part(rows)]
                continue
            if (self.miner.stopping.reason or self._tries >= self.update.tries) and trainer.global_step >= self.start:
                self.miner.stopping.reason = self.miner.stopping.reason or f"nothing hard in {self._tries} batches"
                trainer.should_stop = True
                return
            batch = next(loaded, None)
            if batch is None:
                return
            if trainer.global_step < self.start:
                yield batch
                continue
            self._searching, self._tries = True, self._tries + 1
            try:
                searched = trainer.strategy.batch_to_device(batch, trainer.strategy.root_device)
            finally:
                self._searching = False
            self._searched = searched[KEY]
            self.pending.put(self.judge(searched[KEY]))

    def state_dict(self) -> dict[str, Any]:
        if self.sampler is None:
            return {}
        return {
            "sampler": self.sampler.state_dict(),
            "miner": self.miner.state_dict() if self.miner is not None else {},
            "pending": self.pending.state_dict(),
            "tries": self._tries,
            "inner": self.inner.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict or None  # sampler and miner are made later, with the loader
        self.inner.load_state_dict(state_dict.get("inner", {}))

    def _restore(self, saved: dict[str, Any]) -> None:
        assert self.sampler is not None
        self.sampler.load_state_dict(saved["sampler"])
        self.pending.load_state_dict(saved["pending"])
        self._tries = saved["tries"]
        if self.miner is not None and saved["miner"]:
            self.miner.load_state_dict(saved["miner"])
        self._saved = None
