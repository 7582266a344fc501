"""Pixels in bulk: statistics of regions, the affine map of each region's colours, and the places of pixels.

One contract with two ways behind it: `cpu`, few passes over the pixels, and `reference`, kornia's formulas, which every
other device runs. Colours differ by one level at most, and in fewer than one value of 10,000; what is moved is the
same. Pixels that are not chosen leave both as they came, and the same row gives the same bits in any batch.
"""

from typing import Literal, Protocol

import torch
from torch import Tensor

from hardmine.kernels import cpu, reference
from hardmine.kernels.color import Colors, exactly
from hardmine.kernels.extent import by_size
from hardmine.kernels.transfer import Table
from hardmine.records import Distribution

Beyond = Literal["border", "zeros"]
"""What lies outside an image: its outermost pixels again, or nothing."""


class Way(Protocol):
    """What `cpu` and `reference` both offer."""

    def pixels(self, image: Tensor, colors: Colors, /) -> Tensor:
        """(S, 3, P) float32: images (S, 3, H, W) uint8 in L*a*b*, or RGB in [0, 255]."""

    def statistics(self, pixels: Tensor, regions: Tensor, areas: int, /) -> Distribution:
        """Distribution of `pixels` in each region of (S, P) uint8, see `statistics.region_statistics`."""

    def convert(self, image: Tensor, regions: Tensor, table: Table, colors: Colors, pixels: Tensor | None, /) -> Tensor:
        """See `hardmine.kernels.convert`."""

    def warp(self, pixels: Tensor, labels: Tensor, origin: Tensor, beyond: Beyond, /) -> tuple[Tensor, Tensor]:
        """See `hardmine.kernels.warp`."""


def _way(device: torch.device) -> Way:
    """The way of a device."""
    if device.type == "cpu":
        return cpu
    return reference


def measure(
    image: Tensor, regions: Tensor, areas: int, colors: Colors, extent: Tensor | None = None
) -> tuple[Tensor, Distribution]:
    """Colours of all pixels, and their distribution in each region.

    Args:
        image: (S, 3, H, W) uint8 sRGB.
        regions: (S, H, W) uint8 labels in [0, A) or 255.
        areas: A.
        colors: L*a*b*, or RGB as it is.
        extent: (S, 2), see `by_size`; padding is no part of the whole image, and its pixels are 0. None where there is
            none.

    Returns:
        (S, 3, P) float32 in L*a*b* or in [0, 255], which `convert` need not compute again; and S rows of R regions.
    """
    way = _way(image.device)
    if extent is None:
        with exactly(image.device):
            pixels = way.pixels(image, colors)
            return pixels, way.statistics(pixels, regions.flatten(1), areas)
    every, parts, pixels = [], [], torch.zeros(image.shape, device=image.device)
    for rows, height, width in by_size(extent, *image.shape[2:]):
        part, label = image[rows, :, :height, :width], regions[rows, :height, :width]
        found, distribution = measure(part, label, areas, colors)
        pixels[rows, :, :height, :width] = found.view(part.shape)
        parts.append(distribution)
        every.append(rows)
    return pixels.flatten(2), Distribution.cat(parts)[torch.cat(every).argsort()]


def convert(image: Tensor, regions: Tensor, table: Table, colors: Colors, pixels: Tensor | None = None) -> Tensor:
    """The affine map of each pixel's area. No source is repeated as a float image for all of its rows at once.

    Args:
        image: (S, 3, H, W) uint8 sRGB sources.
        regions: (S, H, W) uint8 labels in [0, A) or 255.
        table: N rows, each made of one of the sources.
        colors: the colour space of the table.
        pixels: of all sources as `measure` gives them; None computes them.

    Returns:
        (N, 3, H, W) uint8; areas that are not chosen, and void, are bit-equal to their source.
    """
    with exactly(image.device):
        return _way(image.device).convert(image, regions, table, colors, pixels)


def warp(pixels: Tensor, labels: Tensor, origin: Tensor, beyond: Beyond) -> tuple[Tensor, Tensor]:
    """Images and what belongs to their pixels, moved alike.

    Args:
        pixels: (N, C, H, W) float32, which are interpolated bilinearly.
        labels: (N, K, H, W) float32 whole numbers up to 2^24, of which the nearest one is taken.
        origin: (N, 2, 3) float32, affine maps from the x and y of a pixel to where its content comes from; in pixels,
            whose centres are whole numbers.
        beyond: what lies outside.

    Returns:
        Both, moved; a row has the same bits in any batch.
    """
    # contiguous: in channels_last, bits may differ
    return _way(pixels.device).warp(pixels.contiguous(), labels.contiguous(), origin, beyond)
