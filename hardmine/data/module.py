"""The plain DataModule of labelled images: it knows nothing of mining."""

from collections.abc import Iterable
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hardmine.data.labelled import Augment, Joined, Kind, LabelledImages, Sample
from hardmine.errors import InputError


class LabelledData(L.LightningDataModule):
    """Splits `train`, `val`, `test`, and `target`, of which a parameter store can be built; a subclass says of what.

    Without images in `val` or `test` there is no validation or no test; everything else goes its way.

    Args:
        batch_size: B, rows per batch and rank.
        num_workers: loader processes. 0 suits images that fit in memory: handing over a batch then costs no copy.
        flip: mirror training images left and right with probability 1/2.
        cache_gib: memory for decoded images, GiB per split.
        augment: changes the colours of training images, see `LabelledImages`.

    Attributes:
        with_targets: the images of `target` follow those of `train` as training data, augmented alike.
    """

    def __init__(
        self, batch_size: int, num_workers: int, flip: bool, cache_gib: float, augment: Augment | None = None
    ) -> None:
        super().__init__()
        self.batch_size, self.num_workers, self.flip, self.cache_gib = batch_size, num_workers, flip, cache_gib
        self.augment, self.with_targets = augment, False
        self._splits: dict[str, LabelledImages] = {}

    def images(self, split: str, flip: bool) -> LabelledImages:
        """The images of a split, not yet read."""
        raise TypeError(f"{type(self).__name__} must say where its images are")

    def has(self, split: str) -> bool:
        """Whether a split has images; a subclass whose splits may be empty says so."""
        return True

    def split(self, name: str) -> LabelledImages:
        """The images of a split, made once."""
        if name not in self._splits:
            images = self.images(name, flip=self.flip and name == "train")
            images.augment = self.augment if name == "train" else None
            self._splits[name] = images
        return self._splits[name]

    @property
    def training(self) -> LabelledImages:
        """What is trained on, in the order that the `source` of a recipe counts in."""
        sources = self.split("train")
        if not self.with_targets:
            return sources
        joined = Joined(sources, self.split("target"), self.flip)
        joined.augment = self.augment
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
        images = self.split("target")
        for index in range(len(images)):
            yield (images.ids[index], *images.pixels(index), images.environment[index])
        if not sources:
            return
        taken, images = set(images.ids), self.split("train")
        if not 0 < sources <= len(images):
            raise InputError(f"store.sources must be 0 to the {len(images)} training images, got {sources}")
        for index in torch.linspace(0, len(images) - 1, sources).round().long().tolist():
            name = images.ids[index]
            # ids are unique in their split alone where each has folders of its own
            yield (f"train/{name}" if name in taken else name, *images.pixels(index), images.environment[index])

    def setup(self, stage: str) -> None:
        fit = ("train", "target", "val") if self.with_targets else ("train", "val")
        for name in {"fit": fit, "validate": ("val",), "test": ("test",)}.get(stage, ()):
            if name == "train" or self.has(name):  # training images there must be
                self.split(name).preload()

    def train_dataloader(self) -> DataLoader[Sample]:
        return self._loader(self.training, shuffle=True)

    def val_dataloader(self) -> DataLoader[Sample] | list[DataLoader[Sample]]:
        return self._loader(self.split("val"), shuffle=False) if self.has("val") else []

    def test_dataloader(self) -> DataLoader[Sample] | list[DataLoader[Sample]]:
        return self._loader(self.split("test"), shuffle=False) if self.has("test") else []

    def _loader(self, images: LabelledImages, shuffle: bool) -> DataLoader[Sample]:
        return DataLoader(
            images,
            batch_size=self.batch_size,
            shuffle=shuffle,
            drop_last=shuffle,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """8-bit levels to float32 in [0, 1], channels last, on the device."""
        image = batch["image"].to(torch.float32, memory_format=torch.channels_last, copy=True)
        return {**batch, "image": image.div_(255)}
