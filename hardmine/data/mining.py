"""Mining around any DataModule: candidates are made on the device, right after the batch has arrived there."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hardmine.buffer import RecipeBuffer
from hardmine.conversions import ColorTransfer
from hardmine.data.sampler import MiningSampler
from hardmine.errors import InputError
from hardmine.miner import Miner
from hardmine.neighbourhood import First, Neighbourhood
from hardmine.records import Recipe
from hardmine.rng import global_state_kept, seed_globally
from hardmine.store import ParameterStore

KEY = "hardmine"  # under which a batch carries its `Candidates`

Batch = dict[str, Any]


class Candidates:
    """What one training batch offers to the scoring callback. No dataclass: Lightning looks for batch sizes in those.

    Attributes:
        batch: the batch of candidates as the model takes it, B * K rows.
        recipe: candidates of all ranks, on the CPU.
        miner: who judges them.
        source, image: (B, 3, H, W) and (B * K, 3, H, W) uint8 sRGB before and after the conversion.
        regions: (B, H, W) uint8.
        capped: share of areas whose gain met the cap (scalar tensor).
    """

    def __init__(
        self, batch: Batch, recipe: Recipe, miner: Miner, source: Tensor, image: Tensor, regions: Tensor, capped: Tensor
    ) -> None:
        self.batch, self.recipe, self.miner = batch, recipe, miner
        self.source, self.image, self.regions, self.capped = source, image, regions, capped
        self.prediction: Tensor | None = None  # (B * K, H, W) once scored
        self.score: Tensor | None = None  # (B * K,) once judged, of this rank's candidates


class MiningDataModule(L.LightningDataModule):
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
        mined: rows of each batch that are pieces, as a share of the batch size.
        candidates: K, candidates per row.
        start: optimiser steps of plain training before mining starts; a model that knows nothing finds all hard.
        fresh_sources: replay a piece's parameter on the next clean source in place of its own.
        seed: of everything drawn here.

    Raises:
        InputError: no area in common, a number out of its range, or training data that cannot be mined.
    """

    def __init__(
        self,
        datamodule: L.LightningDataModule,
        store: ParameterStore | None,
        neighbourhood: Neighbourhood | None = None,
        areas: tuple[str, ...] | None = None,
        first: First | None = None,
        conversion: ColorTransfer | None = None,
        buffer: RecipeBuffer | None = None,
        mined: float = 0.5,
        candidates: int = 1,
        start: int = 0,
        fresh_sources: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.inner = datamodule
        if not 0 <= mined <= 1:
            raise InputError(f"mining.mined must be a share from 0 to 1, got {mined}")
        if candidates < 1:
            raise InputError(f"mining.candidates must be >= 1, got {candidates}")
        if neighbourhood is not None and store is None:
            raise InputError("mining needs a parameter store: give one, or set neighbourhood=none")
        self.store = store.aligned(areas) if store is not None and areas is not None else store
        self.neighbourhood, self.first, self.conversion = neighbourhood, first, conversion
        self.buffer = RecipeBuffer() if buffer is None else buffer
        self.mined, self.candidates, self.start, self.seed = mined, candidates, start, seed
        self.fresh_sources = fresh_sources
        self.miner: Miner | None = None
        self.sampler: MiningSampler | None = None
        self._saved: dict[str, Any] | None = None
        for name in ("val_dataloader", "test_dataloader", "predict_dataloader"):
            if getattr(type(datamodule), name) is not getattr(L.LightningDataModule, name):
                setattr(self, name, getattr(datamodule, name))  # only where there is one: Lightning asks

    # What is handed on to the user's DataModule

    def prepare_data(self) -> None:
        self.inner.prepare_data()

    def setup(self, stage: str) -> None:
        self.inner.trainer = self.trainer
        self.inner.setup(stage)

    def teardown(self, stage: str) -> None:
        self.inner.teardown(stage)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return self.inner.on_before_batch_transfer(batch, dataloader_idx)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return self.inner.transfer_batch_to_device(batch, device, dataloader_idx)

    # What is added

    def train_dataloader(self) -> DataLoader[Batch]:
        """The user's loader with its sampler replaced; the number of batches per epoch stays fixed."""
        loader = self.inner.train_dataloader()
        if not isinstance(loader, DataLoader) or loader.batch_size is None:
            raise InputError("train_dataloader must return one torch DataLoader with a batch_size: mining replaces it")
        sources, batch_size = len(loader.dataset), loader.batch_size  # type: ignore[arg-type]
        if sources < batch_size:
            raise InputError(f"{sources} training images are fewer than data.batch_size={batch_size}: lower it")
        if self.neighbourhood is not None and self.store is not None:
            self.miner = Miner(
                self.store,
                sources,
                self.neighbourhood,
                self.first,
                self.conversion,
                self.buffer,
                self.candidates,
                self.seed,
            )
        self.sampler = MiningSampler(
            sources,
            batch_size,
            round(self.mined * batch_size),
            self.store.regions if self.store is not None else 1,
            self.buffer if self.miner is not None else None,
            self.fresh_sources,
            self.seed,
        )
        self.sampler.rank, self.sampler.ranks = self.trainer.global_rank, self.trainer.world_size  # type: ignore[union-attr]
        if self._saved is not None:
            self._restore(self._saved)
        return _ResumableLoader(
            _Replayed(loader.dataset, loader.collate_fn),
            sampler=self.sampler,
            batch_size=None,
            num_workers=loader.num_workers,
            pin_memory=loader.pin_memory,
            persistent_workers=loader.persistent_workers,
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """In training: rows of pieces are converted, candidates are made and ride along under the key `hardmine`."""
        trainer, sampler = self.trainer, self.sampler
        if trainer is None or not trainer.training or sampler is None:
            return self.inner.on_after_batch_transfer(batch, dataloader_idx)
        rows = sampler.in_flight.popleft()
        sampler.step = trainer.global_step
        if self.miner is None or trainer.global_step < self.start:
            return self.inner.on_after_batch_transfer(batch, dataloader_idx)
        device = batch["image"].device
        source = self.miner.conversion.measure(batch["image"], batch["regions"], len(self.miner.store.areas))
        mine = sampler.part(rows)
        if rows.chosen.any():
            first = sampler.batch_size - sampler.mined  # pieces stand in the last rows only
            converted, _ = self.miner.conversion(source[slice(first, None)], mine[slice(first, None)].to(device))
            image = torch.cat([batch["image"][:first], converted])
        else:
            image = batch["image"]
        proposed = self.miner.propose(rows, trainer.global_step)
        repeated = (
            source if self.candidates == 1 else source[torch.arange(len(mine)).repeat_interleave(self.candidates)]
        )
        tried, capped = self.miner.conversion(repeated, sampler.part(proposed).to(device))
        offered = self._offer({**batch, "image": tried, "regions": repeated.regions}, dataloader_idx)
        trained = self.inner.on_after_batch_transfer({**batch, "image": image}, dataloader_idx)
        trained[KEY] = Candidates(offered, proposed, self.miner, batch["image"], tried, batch["regions"], capped)
        return trained

    def _offer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """The batch of candidates as the model takes it; labels are repeated with their sources (R26)."""
        if self.candidates > 1:
            made, rows = len(batch["image"]), torch.arange(len(batch["image"]) // self.candidates)
            rows = rows.repeat_interleave(self.candidates)
            batch = {k: v[rows] if isinstance(v, Tensor) and len(v) != made else v for k, v in batch.items()}
        with global_state_kept():
            offered: Batch = self.inner.on_after_batch_transfer(batch, dataloader_idx)
        return offered

    def state_dict(self) -> dict[str, Any]:
        if self.sampler is None:
            return {}
        mining = self.miner.state_dict() if self.miner is not None else {}
        return {"sampler": self.sampler.state_dict(), "miner": mining, "inner": self.inner.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict or None  # sampler and miner are made later, with the loader
        self.inner.load_state_dict(state_dict.get("inner", {}))

    def _restore(self, saved: dict[str, Any]) -> None:
        assert self.sampler is not None
        self.sampler.load_state_dict(saved["sampler"])
        if self.miner is not None and saved["miner"]:
            self.miner.load_state_dict(saved["miner"])
        self._saved = None


class _ResumableLoader(DataLoader[Batch]):
    """Goes on in the middle of an epoch. Its place is the sampler's, kept with the miner; Lightning asks for these."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass


class _Replayed(Dataset[Batch]):
    """A data set indexed by a recipe of B rows: each row's augmentation is replayed under the recipe's view."""

    def __init__(self, dataset: Dataset[Any], collate: Callable[[list[Any]], Any]) -> None:
        self.dataset, self.collate = dataset, collate

    def __getitem__(self, recipe: Recipe) -> Batch:
        samples = []
        with global_state_kept():
            for source, view in zip(recipe.source.tolist(), recipe.view.tolist(), strict=True):
                seed_globally(view)
                samples.append(self.dataset[source])
        batch = self.collate(samples)
        if not isinstance(batch, dict) or not {"image", "regions"} <= batch.keys():
            raise InputError("the training data set must yield dicts with `image` and `regions`: wrap its samples")
        return batch
