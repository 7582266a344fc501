"""Labelled images, decoded once and kept in memory."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import Dataset

Sample = dict[str, Tensor]


class LabelledImages(Dataset[Sample]):
    """Images with their index images; a subclass says how one is read.

    A sample is a dict of `image` (3, H, W) uint8 sRGB, `regions` (H, W) uint8, `target` (H, W) uint8 (the class of
    each pixel: here the area), `index` and `environment` int64 scalars. What was read is kept up to `cache_gib`, so
    that the second epoch costs no decoding. Augmentation draws from torch's global generator, as is usual.

    Args:
        ids: a name for each image.
        areas: names of the areas, in label order.
        environment: for each image its value of each component (time, weather, ...).
        flip: mirror left and right with probability 1/2.
        cache_gib: memory for decoded images, GiB.
    """

    def __init__(
        self,
        ids: Sequence[str],
        areas: Sequence[str],
        environment: Sequence[Mapping[str, str]],
        flip: bool = False,
        cache_gib: float = 4.0,
    ) -> None:
        self.ids = tuple(ids)
        self.areas = tuple(areas)
        self.environment = tuple(dict(values) for values in environment)
        self.flip = flip
        self._names = [environment_name(values) for values in self.environment]
        self.environments = tuple(dict.fromkeys(self._names))  # distinct, in order of appearance
        self._room = int(cache_gib * 2**30)
        self._cache: dict[int, tuple[Tensor, Tensor]] = {}

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Image (3, H, W) and index image (H, W), both uint8."""
        raise TypeError(f"{type(self).__name__} must say how an image is read")

    def pixels(self, index: int) -> tuple[Tensor, Tensor]:
        """`read`, from memory where it has been read before."""
        if index in self._cache:
            return self._cache[index]
        image, regions = self.read(index)
        size = image.nbytes + regions.nbytes
        if size <= self._room:
            self._room -= size
            self._cache[index] = (image, regions)
        return image, regions

    def preload(self, workers: int = 4) -> None:
        """Read as many images as memory is set aside for; what cannot be read shows now, not in the middle of a run."""
        if not len(self):
            return
        first = self.pixels(0)
        fit = 1 + int(self._room // (first[0].nbytes + first[1].nbytes))
        wanted = range(1, min(fit, len(self)))
        console = Console(stderr=True)
        with ThreadPoolExecutor(workers) as pool:
            reading = pool.map(self.pixels, wanted)
            shown = {"total": len(wanted), "console": console, "transient": True, "disable": not console.is_terminal}
            for _ in track(reading, "reading images", **shown):  # type: ignore[arg-type]
                pass

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        image, regions = self.pixels(index)
        if self.flip and torch.rand(()) < 0.5:
            image, regions = image.flip(-1), regions.flip(-1)
        return {
            "image": image,
            "regions": regions,
            "target": regions,
            "index": torch.tensor(index),
            "environment": torch.tensor(self.environments.index(self._names[index])),
        }


def environment_name(values: Mapping[str, str]) -> str:
    """One word for an environment, as in `test/miou/night_rainy`."""
    return "_".join(values.values()) or "all"
