"""Labelled images, decoded once and kept in memory."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

from hardmine.data.header import Header

Made = TypeVar("Made")
Sample = dict[str, Tensor]
Kind = Literal["masks", "classes", "boxes"]


class LabelledImages(Dataset[Sample]):
    """Images with their index images and labels; a subclass says how one is read.

    A sample is a dict of `image` (3, H, W) uint8 sRGB, `regions` (H, W) uint8 (area of each pixel, 255 void), `index`
    and `environment` int64 scalars, and the labels, by `kind`:

        masks      `target` (H, W) uint8, class of each pixel, 255 void
        classes    `target` int64 scalar
        boxes      `boxes` (G, 4) float32, x1, y1, x2, y2 in pixels of the image, and `labels` (G,) int64; G is the
                   same for all images, and the rest is padding: zeros, with label -1

    What was read is kept up to `cache_gib`, so that the second epoch costs no decoding. Augmentation draws from torch's
    global generator, as is usual.

    Args:
        ids: a name for each image.
        areas: names of the areas, in label order.
        classes: names of the classes to recognise, in label order.
        kind: what the labels are.
        environment: for each image its value of each component (time, weather, ...).
        flip: mirror left and right with probability 1/2.
        cache_gib: memory for decoded images, GiB.
    """

    def __init__(
        self,
        ids: Sequence[str],
        areas: Sequence[str],
        classes: Sequence[str],
        kind: Kind,
        environment: Sequence[Mapping[str, str]],
        flip: bool = False,
        cache_gib: float = 4.0,
    ) -> None:
        self.ids = tuple(ids)
        self.areas, self.classes, self.kind = tuple(areas), tuple(classes), kind
        self.environment = tuple(dict(values) for values in environment)
        self.flip = flip
        self._names = [environment_name(values) for values in self.environment]
        self.environments = tuple(dict.fromkeys(self._names))  # distinct, in order of appearance
        self._room = int(cache_gib * 2**30)
        self._cache: dict[int, Sample] = {}

    def read(self, index: int) -> Sample:
        """`image`, `regions` and the labels, as a sample has them."""
        raise TypeError(f"{type(self).__name__} must say how an image is read")

    def paths(self, index: int) -> tuple[str | None, str | None]:
        """Paths of the image and of its index image; None where there is no such file."""
        return None, None

    def read_from(self, index: int) -> list[Path]:
        """The files that an image and its labels are read from, the image first; none where it is made."""
        return [Path(path) for path in self.paths(index) if path is not None]

    def said(self, index: int) -> str:
        """What is known of an image without its files: what tables say, or what it is made of."""
        return repr(self.environment[index])

    def labels(self, index: int) -> Sample:
        """The labels of a sample; where they are known without its image, that is not read."""
        return self.kept(index)

    def look(self, index: int) -> list[Header]:
        """What the files of an image are; nothing of them is kept. No files where there are none."""
        return []

    def look_at_all(self) -> list[Header]:
        """`look` at each image, so that a file which cannot be read shows before any is trained on."""
        return [
            header for headers in in_threads(self.look, range(len(self)), "looking at images") for header in headers
        ]

    def kept(self, index: int) -> Sample:
        """`read`, from memory where it has been read before."""
        if index in self._cache:
            return self._cache[index]
        entries = self.read(index)
        size = _nbytes(entries)
        if size <= self._room:
            self._room -= size
            self._cache[index] = entries
        return entries

    def pixels(self, index: int) -> tuple[Tensor, Tensor]:
        """Image (3, H, W) and index image (H, W), both uint8."""
        entries = self.kept(index)
        return entries["image"], entries["regions"]

    def preload(self, workers: int = 4) -> None:
        """Read as many images as memory is set aside for; what cannot be read shows now, not in the middle of a run."""
        if not len(self):
            return
        first = self.kept(0)
        fit = 1 + int(self._room // _nbytes(first))
        wanted = range(1, min(fit, len(self)))
        in_threads(lambda index: _nbytes(self.kept(index)), wanted, "reading images", workers)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        entries = self.kept(index)
        if self.flip and torch.rand(()) < 0.5:
            entries = mirrored(entries)
        return {
            **entries,
            "index": torch.tensor(index),
            "environment": torch.tensor(self.environments.index(self._names[index])),
        }


class Joined(LabelledImages):
    """The images of two splits as one data set, the second's after the first's; read and kept by these.

    Environments are numbered on: those of the first have the numbers they have there.

    Args:
        first, second: with the same areas, classes and kind.
        flip: see `LabelledImages`.
    """

    def __init__(self, first: LabelledImages, second: LabelledImages, flip: bool) -> None:
        super().__init__(
            first.ids + second.ids,
            first.areas,
            first.classes,
            first.kind,
            first.environment + second.environment,
            flip,
            cache_gib=0.0,
        )
        self.first, self.second = first, second

    def read(self, index: int) -> Sample:
        if index < len(self.first):
            return self.first.kept(index)
        return self.second.kept(index - len(self.first))


def mirrored(entries: Sample) -> Sample:
    """A sample's image, regions and labels with left and right exchanged.

    >>> mirrored({"image": torch.zeros(3, 1, 2), "regions": torch.tensor([[1, 2]])})["regions"]
    tensor([[2, 1]])
    """
    flipped = {name: entries[name].flip(-1) for name in ("image", "regions")}
    target, boxes = entries.get("target"), entries.get("boxes")
    if target is not None and target.ndim == 2:
        flipped["target"] = flipped["regions"] if target is entries["regions"] else target.flip(-1)
    if boxes is not None:
        left, top, right, bottom = boxes.unbind(1)
        width = entries["image"].shape[-1]
        moved = torch.stack([width - right, top, width - left, bottom], dim=1)
        flipped["boxes"] = torch.where(entries["labels"][:, None] >= 0, moved, boxes)  # padding stays zero
    return {**entries, **flipped}


def environment_name(values: Mapping[str, str]) -> str:
    """One word for an environment, as in `test/miou/night_rainy`."""
    return "_".join(values.values()) or "all"


def _nbytes(entries: Sample) -> int:
    return sum({id(value): value.nbytes for value in entries.values()}.values())  # one tensor may stand under two names


def in_threads(each: Callable[[int], Made], numbers: range, what: str, workers: int = 4) -> list[Made]:
    """`each` of the numbers, with a progress bar on a terminal."""
    console = Console(stderr=True)
    shown = {"total": len(numbers), "console": console, "transient": True, "disable": not console.is_terminal}
    with ThreadPoolExecutor(workers) as pool:
        return list(track(pool.map(each, numbers), what, **shown))  # type: ignore[arg-type]
