"""Images on one device, with all that belongs to their pixels: what a conversion takes and gives."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hardmine.kernels import measure
from hardmine.kernels.color import Colors as Colors
from hardmine.records import Distribution


class Scenes:
    """B images, their index images, and their labels.

    Args:
        image: (B, 3, H, W) uint8 sRGB; images of different sizes lie in the upper left corner, the rest is padding.
        regions: (B, H, W) uint8 labels in [0, A) or 255; padding is void.
        areas: A.
        labels: `target`, label maps (B, H, W) or classes (B,) of any integer type, 255 void; or `boxes` (B, G, 4) float
            xyxy in pixels with their `labels` (B, G), -1 where there is none. Any other name: label maps (B, H, W) that
            move when an object moves.
        source: (B,) int64 on the CPU, number of each image in its data set; None where the batch does not say.
        draw: (B,) int64 on the CPU, the seed of each image's random augmentation; None likewise.
        extent: (B, 2) float32 in (0, 1], share of height and width that each image fills; None where all fill it.
        grey: red, green and blue are one channel of the user's, so that lightness alone may move.
        movable: everything that has a place in the image is known, so that geometry may be changed.

    Raises:
        ValueError: another shape or dtype.
    """

    def __init__(
        self,
        image: Tensor,
        regions: Tensor,
        areas: int,
        labels: Mapping[str, Tensor] | None = None,
        source: Tensor | None = None,
        draw: Tensor | None = None,
        extent: Tensor | None = None,
        grey: bool = False,
        movable: bool = True,
    ) -> None:
        if image.dtype != torch.uint8 or image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"image must be (B, 3, H, W) uint8, got {tuple(image.shape)} {image.dtype}")
        if regions.dtype != torch.uint8 or regions.shape != (len(image), *image.shape[2:]):
            raise ValueError(
                f"regions must be (B, H, W) uint8 like image {tuple(image.shape)}, got "
                f"{tuple(regions.shape)} {regions.dtype}"
            )
        self.image, self.regions, self.areas = image, regions, areas
        self.labels = dict(labels or {})
        self.source, self.draw, self.extent = source, draw, extent
        self.grey, self.movable = grey, movable
        self._measured: dict[Colors, Distribution] = {}

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

    @property
    def maps(self) -> dict[str, Tensor]:
        """The labels that are maps (B, H, W)."""
        return {name: value for name, value in self.labels.items() if value.ndim == 3 and name != "boxes"}

    def __len__(self) -> int:
        return len(self.image)

    @property
    def present(self) -> Tensor:
        """(B, R) bool on the CPU: the areas that each image has; last, whether it has any."""
        labels = self.regions.flatten(1).long()
        seen = torch.zeros(len(labels), 256, dtype=torch.bool, device=labels.device).scatter_(1, labels, True)
        areas = seen[:, : self.areas]
        return torch.cat([areas, areas.any(1, keepdim=True)], dim=1).cpu()

    def __getitem__(self, rows: Tensor | slice) -> "Scenes":
        """The rows picked by a slice, a bool mask or an int64 index; what was measured comes along."""

        def picked(value: Tensor | None) -> Tensor | None:
            if value is None:
                return None
            return value[rows.to(value.device) if isinstance(rows, Tensor) else rows]

        part = Scenes(
            self.image[rows],
            self.regions[rows],
            self.areas,
            {name: value[rows] for name, value in self.labels.items()},
            picked(self.source),
            picked(self.draw),
            picked(self.extent),
            self.grey,
            self.movable,
        )
        part._measured = {colors: found[rows] for colors, found in self._measured.items()}
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
            self.source,
            self.draw,
            self.extent,
            self.grey,
            self.movable,
        )

    @property
    def shorter_side(self) -> int:
        """Of the smallest image, in pixels."""
        height, width = self.image.shape[2:]
        if self.extent is None:
            return min(height, width)
        return int((self.extent.double() * torch.tensor([height, width])).amin().round())

    def know(self, scenes: "Scenes") -> None:
        """Take over numbers, draws and colours of the same images in another size."""
        self.source, self.draw, self._measured = scenes.source, scenes.draw, dict(scenes._measured)

    def measured(self, colors: Colors) -> Distribution:
        """Colours of each region, B rows, in L*a*b* or in RGB levels; measured once.

        Padding is no part of the whole image.
        """
        if colors not in self._measured:
            self._measured[colors] = measure(self.image, self.regions, self.areas, colors, self.extent)
        return self._measured[colors]
