"""Per-area colour transfer of a batch on its device."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hardmine import transfer
from hardmine.color import full_precision, lab_to_srgb, srgb_to_lab
from hardmine.records import Distribution, Recipe, Rows
from hardmine.regions import region_statistics


@dataclass(frozen=True)
class Source(Rows):
    """Source images measured once, converted any number of times.

    Attributes:
        image: (B, 3, H, W) uint8 sRGB.
        regions: (B, H, W) uint8 labels in [0, A) or 255.
        lab: (B, 3, P) float32.
        mean, std, count: their `Distribution`.
    """

    image: Tensor
    regions: Tensor
    lab: Tensor
    mean: Tensor
    std: Tensor
    count: Tensor


class ColorTransfer:
    """Makes the colours of each chosen area those of its target (R11-R17).

    Args:
        min_std: floor of the source's standard deviation, Lab units.
        max_gain: cap of t_std / s_std.
    """

    def __init__(self, min_std: float = 1.0, max_gain: float = 4.0) -> None:
        self.min_std = min_std
        self.max_gain = max_gain

    @full_precision()
    def measure(self, image: Tensor, regions: Tensor, areas: int) -> Source:
        """Lab and statistics of source images.

        Args:
            image: (B, 3, H, W) uint8 sRGB.
            regions: (B, H, W) uint8 labels in [0, A) or 255.
            areas: A.

        Raises:
            ValueError: another shape or dtype.
        """
        if image.dtype != torch.uint8 or image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"image must be (B, 3, H, W) uint8, got {tuple(image.shape)} {image.dtype}")
        if regions.dtype != torch.uint8 or regions.shape != (len(image), *image.shape[2:]):
            raise ValueError(
                f"regions must be (B, H, W) uint8 like image {tuple(image.shape)}, got "
                f"{tuple(regions.shape)} {regions.dtype}"
            )
        lab = srgb_to_lab(image.flatten(2))
        statistics = region_statistics(lab, regions.flatten(1), areas)
        return Source(image, regions, lab, statistics.mean, statistics.std, statistics.count)

    @full_precision()
    def __call__(self, source: Source, recipe: Recipe) -> tuple[Tensor, Tensor]:
        """Converted images, one per row.

        Returns:
            (N, 3, H, W) uint8 sRGB, bit-equal to the source where no region is chosen, and the share of chosen
            areas whose gain was capped (a scalar, NaN where none was chosen).
        """
        statistics = Distribution(source.mean, source.std, source.count)
        gain, offset, capped = transfer.affine(statistics, recipe, min_std=self.min_std, max_gain=self.max_gain)
        lab = transfer.apply(source.lab, source.regions.flatten(1), recipe.chosen, gain, offset)
        present = (recipe.chosen & (source.count > 0)).sum()
        # no mask is needed: each of the 2^24 colours comes back from Lab as it went in
        return lab_to_srgb(lab).view(source.image.shape), capped.sum() / present
