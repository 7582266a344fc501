"""Images on one device, with all that belongs to their pixels: what a conversion takes and gives."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from hardmine.kernels.color import full_precision, srgb_to_lab
from hardmine.kernels.statistics import region_statistics
from hardmine.records import Distribution

Colors = Literal["lab", "rgb"]


class Scenes:
    """B images, their index images, and the labels that move when an object moves.

    Args:
        image: (B, 3, H, W) uint8 sRGB.
        regions: (B, H, W) uint8 labels in [0, A) or 255.
        areas: A.
        labels: by the name they have in a batch: label maps (B, H, W) of any integer type, `boxes` (B, G, 4) float
            xyxy in pixels with their `labels` (B, G), -1 where there is none.

    Raises:
        ValueError: another shape or dtype.
    """

    def __init__(self, image: Tensor, regions: Tensor, areas: int, labels: Mapping[str, Tensor] | None = None) -> None:
        if image.dtype != torch.uint8 or image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"image must be (B, 3, H, W) uint8, got {tuple(image.shape)} {image.dtype}")
        if regions.dtype != torch.uint8 or regions.shape != (len(image), *image.shape[2:]):
            raise ValueError(
                f"regions must be (B, H, W) uint8 like image {tuple(image.shape)}, got "
                f"{tuple(regions.shape)} {regions.dtype}"
            )
        self.image, self.regions, self.areas = image, regions, areas
        self.labels = dict(labels or {})
        self._measured: dict[Colors, tuple[Tensor, Distribution]] = {}

    @classmethod
    def of_batch(cls, batch: Mapping[str, Any], areas: int) -> "Scenes":
        """The images of a batch as the data set yields it, with what of it has a place in the image."""
        shape = batch["regions"].shape

        def has_place(name: str, value: Any) -> bool:
            if name in ("image", "regions") or not isinstance(value, Tensor):
                return False
            return name in ("boxes", "labels") or (value.shape == shape and not value.is_floating_point())

        labels = {name: value for name, value in batch.items() if has_place(name, value)}
        return cls(batch["image"], batch["regions"], areas, labels)

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: Tensor | slice) -> "Scenes":
        """The rows picked by a slice, a bool mask or an int64 index; what was measured comes along."""
        part = Scenes(
            self.image[rows], self.regions[rows], self.areas, {name: value[rows] for name, value in self.labels.items()}
        )
        part._measured = {colors: (pixels[rows], found[rows]) for colors, (pixels, found) in self._measured.items()}
        return part

    def replace(
        self, image: Tensor, regions: Tensor | None = None, labels: Mapping[str, Tensor] | None = None
    ) -> "Scenes":
        """The same scenes with other pixels; what is not given stays."""
        return Scenes(
            image,
            self.regions if regions is None else regions,
            self.areas,
            self.labels if labels is None else labels,
        )

    @full_precision()
    def measured(self, colors: Colors) -> tuple[Tensor, Distribution]:
        """Pixels (B, 3, P) float32 in L*a*b*, or RGB in [0, 255], and their `Distribution`; measured once."""
        if colors not in self._measured:
            flat = self.image.flatten(2)
            pixels = srgb_to_lab(flat) if colors == "lab" else flat.float()
            self._measured[colors] = pixels, region_statistics(pixels, self.regions.flatten(1), self.areas)
        return self._measured[colors]
