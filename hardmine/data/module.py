"""The plain DataModule of labelled images: it knows nothing of mining."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any, TypedDict

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hardmine.data.header import summary
from hardmine.data.labelled import Joined, Kind, LabelledImages, Sample
from hardmine.data.order import Order, OrderedLoader
from hardmine.errors import InputError
from hardmine.numbered import Numbered

_log = logging.getLogger("hardmine")


class Loading(TypedDict, total=False):
    """How images become batches: arguments of `LabelledData` that all its subclasses hand on to it."""

    batch_size: int
    num_workers: int
    flip: bool
    cache_gib: float
    targets: float
    seed: int


class LabelledData(L.LightningDataModule):
    """Splits `train`, `val`, `test`, and `target`, of which a parameter store can be built; a subclass says of what.

    Without images in `val` or `test` there is no validation or no test; everything else goes its way.

    Training batches follow an `Order`, whose place belongs to the fit and is kept in its checkpoints: a resumed run
    goes on with the very next batch.

    Args:
        batch_size: B, rows per batch and rank.
        num_workers: loader processes. 0 suits images that fit in memory: handing over a batch then costs no copy.
        flip: mirror training images left and right with probability 1/2.
        cache_gib: memory for decoded images, GiB per split.
        targets: share of each batch, its last rows, that is labelled images of `target`, augmented alike.
        seed: of the order and the augmentation of training images.

    Raises:
        InputError: a share that is none, or no row; in use, one of a split that is empty, or fewer training images
            than a batch has rows.
    """

    def __init__(
        self,
        batch_size: int = 8,
        num_workers: int = 0,
        flip: bool = True,
        cache_gib: float = 4.0,
        targets: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= targets <= 1:
            raise InputError(f"`targets` must be a share from 0 to 1, got {targets}", "data")
        self.batch_size, self.num_workers, self.flip, self.cache_gib = batch_size, num_workers, flip, cache_gib
        self.target_share, self.seed = targets, seed
        self._target_rows()
        self._splits: dict[str, LabelledImages] = {}
        self._looked = False
        self._place = 0, 0  # sources and targets delivered before `_order`
        self._order: Order | None = None

    def images(self, split: str, flip: bool) -> LabelledImages:
        """The images of a split, not yet read."""
        raise TypeError(f"{type(self).__name__} must say where its images are")

    def has(self, split: str) -> bool:
        """Whether a split has images; a subclass whose splits may be empty says so."""
        return True

    @property
    def told(self) -> list[str]:
        """Lines on what is taken otherwise than it may have been meant, beside what the images themselves are."""
        return []

    @property
    def of_one_class(self) -> list[str]:
        """A line where there is nothing to tell apart; of boxes one class is told from what lies around them."""
        if self.kind == "boxes" or len(self.classes) > 1:
            return []
        return [f"there is one class, {self.classes[0]}, so that whatever a model says is right: name two or more"]

    def look(self) -> None:
        """Open the files of all splits, once; what is wrong in one that is read last shows before training.

        Targets are left out where they are not trained on: a store that is measured reads them, another needs no
        pixels of them. What is read otherwise than it may have been meant is told in a line.

        Raises:
            InputError: a file that is missing or damaged, or one that does not fit the others.
        """
        if self._looked:
            return
        names = ("train", "val", "test", *(["target"] if self.with_targets else []))
        headers = [header for name in names if self.has(name) for header in self.split(name).look_at_all()]
        for line in [*self.told, *self.of_one_class, *summary(headers, len(self.drawn))]:
            _log.warning("hardmine: %s", line)
        self._looked = True

    def split(self, name: str) -> LabelledImages:
        """The images of a split, made once."""
        if name not in self._splits:
            images = self.images(name, flip=self.flip and name == "train")
            self._splits[name] = images
        return self._splits[name]

    @property
    def with_targets(self) -> bool:
        """Whether the images of `target` follow those of `train` as training data.

        Raises:
            InputError: they shall, and there are none.
        """
        if self.target_share and not self.has("target"):
            raise InputError(
                "`targets`: the data has no images in the split target: add some or set `targets`=0", "data"
            )
        return self.target_share > 0

    @property
    def training(self) -> LabelledImages:
        """What is trained on, in the order that the `source` of a recipe counts in."""
        sources = self.split("train")
        if not self.with_targets:
            return sources
        joined = Joined(sources, self.split("target"), self.flip)
        return joined

    @property
    def areas(self) -> tuple[str, ...]:
        """Names of the areas, in label order."""
        return self._any.areas

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes to recognise, in label order."""
        return self._any.classes

    @property
    def drawn(self) -> tuple[str, ...]:
        """Names of what index images on the disk may hold."""
        return self.classes if self.kind == "masks" else self.areas

    @property
    def kind(self) -> Kind:
        """What the labels are, see `LabelledImages`."""
        return self._any.kind

    @property
    def _any(self) -> LabelledImages:
        """A split that has images; names and kind are the same in all."""
        return self.split(next(filter(self.has, ("train", "val", "test", "target")), "train"))

    def targets(self, sources: int = 0) -> Iterable[tuple[str, Tensor, Tensor, dict[str, str]]]:
        """Id, image, index image and environment of each target, as `ParameterStore.from_images` takes them.

        Args:
            sources: so many training images, evenly spaced, come after them.

        Raises:
            InputError: `sources` is not 0 to the number of training images.
        """
        for name, images, index in self._targets(sources):
            yield (name, *images.pixels(index), images.environment[index])

    def target_paths(self, sources: int = 0) -> dict[str, list[str | None]]:
        """Where the `images` and `index_images` of `targets` are, as `ParameterStore` takes them."""
        paths = [images.paths(index) for _, images, index in self._targets(sources)]
        return {"images": [image for image, _ in paths], "index_images": [regions for _, regions in paths]}

    def _targets(self, sources: int) -> Iterator[tuple[str, LabelledImages, int]]:
        """Name, split and place in it of each of `targets`."""
        try:
            images = self.split("target")
        except InputError as error:
            if self.has("target"):
                raise
            raise InputError(
                f"{error}, take a stored file (store=file), or mine nothing (neighbourhood=none)"
            ) from None
        for index, name in enumerate(images.ids):
            yield name, images, index
        if not sources:
            return
        taken, images = set(images.ids), self.split("train")
        if not 0 < sources <= len(images):
            raise InputError(f"store.sources must be 0 to the {len(images)} training images, got {sources}")
        for index in torch.linspace(0, len(images) - 1, sources).round().long().tolist():
            name = images.ids[index]
            # ids are unique in their split alone where each has folders of its own
            yield f"train/{name}" if name in taken else name, images, index

    def setup(self, stage: str) -> None:
        if stage == "fit":  # a checkpoint is read after this
            self.look()
            self._place, self._order = (0, 0), None
        fit = ("train", "target", "val") if self.with_targets else ("train", "val")
        for name in {"fit": fit, "validate": ("val",), "test": ("test",)}.get(stage, ()):
            if name == "train" or self.has(name):  # training images there must be
                self.split(name).preload()

    def train_dataloader(self) -> DataLoader[Any]:
        """Numbered samples in order; to overfit a few batches, the first ones as they come."""
        images, trainer = Numbered(self.training), self.trainer
        if trainer is not None and trainer.overfit_batches > 0:  # type: ignore[attr-defined]
            return self._loader(images)
        ranks = 1 if trainer is None else trainer.world_size
        sources, rows = len(self.split("train")), self.batch_size * ranks
        if sources < rows:
            less = f" on each of {ranks} ranks" if ranks > 1 else ""
            raise InputError(
                f"{sources} training images are fewer than `batch_size`={self.batch_size}{less}: lower it", "data"
            )
        order = Order(sources, self.batch_size, self.seed, len(images) - sources, self._target_rows())
        order.rank, order.ranks = 0 if trainer is None else trainer.global_rank, ranks
        order.cursor, order.target_cursor = self._reached  # a loader made anew goes on in the order of its fit
        self._order = order
        return OrderedLoader(
            images,
            batch_sampler=order,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def _target_rows(self) -> int:
        rows = round(self.target_share * self.batch_size)
        if self.target_share and not rows:
            raise InputError(
                f"`targets`={self.target_share} is no row of `batch_size`={self.batch_size}: raise it", "data"
            )
        return rows

    @property
    def _reached(self) -> tuple[int, int]:
        """Sources and targets delivered in this fit so far, over all ranks."""
        return self._place if self._order is None else (self._order.cursor, self._order.target_cursor)

    def state_dict(self) -> dict[str, Any]:
        cursor, target_cursor = self._reached
        return {"cursor": cursor, "target_cursor": target_cursor}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._place = state_dict["cursor"], state_dict["target_cursor"]
        if self._order is not None:
            self._order.cursor, self._order.target_cursor = self._place

    def val_dataloader(self) -> DataLoader[Sample] | list[DataLoader[Sample]]:
        return self._loader(self.split("val")) if self.has("val") else []

    def test_dataloader(self) -> DataLoader[Sample] | list[DataLoader[Sample]]:
        return self._loader(self.split("test")) if self.has("test") else []

    def _loader(self, images: Dataset[Any]) -> DataLoader[Any]:
        return DataLoader(
            images,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """8-bit levels to float32 in [0, 1], channels last, on the device."""
        image = batch["image"].to(torch.float32, memory_format=torch.channels_last, copy=True)
        return {**batch, "image": image.div_(255)}
