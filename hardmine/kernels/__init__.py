"""Pixels in bulk: statistics of regions, the affine map of each region's colours, and the places of pixels.

One contract with two ways behind it: `fused`, one pass over the pixels of a CPU, and `reference`, kornia's formulas,
which every other device runs. Colours differ by one level at most, and in fewer than one value of 10,000; what is moved
is the same. Pixels that are not chosen leave both as they came, and the same row gives the same bits in any batch.
"""

from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.kernels.color import Colors, exactly
from hardmine.kernels.extent import by_size
from hardmine.kernels.transfer import Table
from hardmine.records import Distribution

Beyond = Literal["border", "zeros"]
"""What lies outside an image: its outermost pixels again, or nothing."""


Kernel = Literal["auto", "fused", "reference"]
_taken: Kernel = "auto"


class Way(Protocol):
    """What `fused` and `reference` both offer."""

    def measure(self, image: Tensor, regions: Tensor, areas: int, colors: Colors, /) -> Distribution:
        """See `hardmine.kernels.measure`; the images fill their frame."""

    def convert(self, image: Tensor, regions: Tensor, table: Table, colors: Colors, /) -> Tensor:
        """See `hardmine.kernels.convert`."""

    def warp(self, pixels: Tensor, labels: Tensor, origin: Tensor, beyond: Beyond, /) -> tuple[Tensor, Tensor]:
        """See `hardmine.kernels.warp`."""


def take(kernel: Kernel) -> None:
    """Choose the way of this process: `auto` takes `fused` on a CPU and `reference` elsewhere.

    Raises:
        InputError: another name.
    """
    global _taken
    if kernel not in get_args(Kernel):
        raise InputError(f"kernel must be one of {', '.join(get_args(Kernel))}, got {kernel!r:.60}")
    _taken = kernel


def _way(device: torch.device) -> Way:
    """The way of a device. They are imported when they are needed: Numba takes half a second."""
    if _taken == "reference" or (_taken == "auto" and device.type != "cpu"):
        from hardmine.kernels import reference

        return reference
    if device.type != "cpu":
        raise InputError(f"kernel=fused runs on a CPU, and the images lie on {device.type}: take kernel=auto")
    from hardmine.kernels import fused

    return fused


def measure(image: Tensor, regions: Tensor, areas: int, colors: Colors, extent: Tensor | None = None) -> Distribution:
    """Distribution of the colours of each region (R6, R7, R13; D38).

    Args:
        image: (S, 3, H, W) uint8 sRGB.
        regions: (S, H, W) uint8 labels in [0, A) or 255.
        areas: A.
        colors: L*a*b*, or RGB as it is.
        extent: (S, 2), see `by_size`; padding is no part of the whole image. None where there is none.

    Returns:
        S rows of R regions, float32, in L*a*b* or in levels.
    """
    if extent is None:
        with exactly(image.device):
            return _way(image.device).measure(image, regions, areas, colors)
    every, parts = [], []
    for rows, height, width in by_size(extent, *image.shape[2:]):
        parts.append(measure(image[rows, :, :height, :width], regions[rows, :height, :width], areas, colors))
        every.append(rows)
    return Distribution.cat(parts)[torch.cat(every).argsort()]


def convert(image: Tensor, regions: Tensor, table: Table, colors: Colors) -> Tensor:
    """The affine map of each pixel's area. No source is repeated as a float image for all of its rows at once.

    Args:
        image: (S, 3, H, W) uint8 sRGB sources.
        regions: (S, H, W) uint8 labels in [0, A) or 255.
        table: N rows, each made of one of the sources.
        colors: the colour space of the table.

    Returns:
        (N, 3, H, W) uint8; areas that are not chosen, and void, are bit-equal to their source.
    """
    with exactly(image.device):
        return _way(image.device).convert(image, regions, table, colors)


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
