"""The conversion in kornia's formulas: what a GPU runs, and differentiable up to the last rounding."""

import torch
from kornia.color import lab_to_rgb, rgb_to_lab, rgb_to_linear_rgb
from kornia.geometry.transform import remap
from torch import Tensor

from hardmine.kernels.color import Colors, exactly, linear_to_srgb
from hardmine.kernels.places import places
from hardmine.kernels.statistics import region_statistics
from hardmine.kernels.transfer import Table
from hardmine.records import Distribution

_PIXELS = 1 << 21  # of rows that are computed together: bounds the memory of what lies between


def pixels(image: Tensor, colors: Colors) -> Tensor:
    """(S, 3, P) float32: images (S, 3, H, W) uint8 in L*a*b*, or RGB in [0, 255].

    Differentiable where `image` is float, levels in [0, 255].
    """
    if colors == "rgb":
        return image.flatten(2).float()
    with exactly(image.device):
        return torch.cat([rgb_to_lab(image[rows].float() / 255) for rows in _parts(len(image), image)]).flatten(2)


def measure(image: Tensor, regions: Tensor, areas: int, colors: Colors) -> Distribution:
    """See `hardmine.kernels.Way`. Image by image: how a GPU adds depends on the shape of what it is given."""
    rows = [slice(row, row + 1) for row in range(len(image))]
    return Distribution.cat(
        [region_statistics(pixels(image[row], colors), regions[row].flatten(1), areas) for row in rows]
    )


def levels(image: Tensor, regions: Tensor, table: Table, colors: Colors) -> Tensor:
    """`hardmine.kernels.convert` without the last rounding.

    Args:
        image: (S, 3, H, W) uint8 or float levels in [0, 255].
        regions, table, colors: see there.

    Returns:
        (N, 3, H, W) float32 in [0, 255], clipped to the gamut; differentiable in the table, and in `image` where it is
        float. Areas that are not chosen, and void, have the value of `image`.
    """
    parts = [_moved(image, regions, table[rows], colors) for rows in _parts(len(table), image)]
    return torch.cat(parts)


@torch.no_grad()
def convert(image: Tensor, regions: Tensor, table: Table, colors: Colors) -> Tensor:
    """See `hardmine.kernels.convert`."""
    parts = (_moved(image, regions, table[rows], colors) for rows in _parts(len(table), image))
    return torch.cat([_rounded(part, colors) for part in parts])


def warp(pixels: Tensor, labels: Tensor, origin: Tensor, beyond: str) -> tuple[Tensor, Tensor]:
    """See `hardmine.kernels.warp`.

    By `remap`: `warp_affine` multiplies the matrices of a batch, and how a GPU does that depends on their number.
    """
    x, y = places(origin, *pixels.shape[2:])

    def moved(values: Tensor, mode: str) -> Tensor:
        found: Tensor = remap(values, x, y, mode, beyond, align_corners=False, normalized_coordinates=True)
        return found

    return moved(pixels, "bilinear"), moved(labels, "nearest")


def _parts(rows: int, image: Tensor) -> list[slice]:
    """Some rows at a time; without rows, none of them once."""
    step = max(_PIXELS // (image.shape[2] * image.shape[3]), 1)
    return [slice(start, start + step) for start in range(0, max(rows, 1), step)]


def _moved(image: Tensor, regions: Tensor, part: Table, colors: Colors) -> Tensor:
    source = image[part.source]
    known = pixels(source, colors)
    n, areas = part.chosen[:, :-1].shape
    label = regions[part.source].flatten(1).long()
    row = torch.arange(n, device=label.device)[:, None]
    # labels beyond the areas, void among them, find what moves nothing
    gain, offset = (known.new_full((n, 256, 3), value) for value in (1.0, 0.0))
    gain[:, :areas], offset[:, :areas] = part.gain[:, :-1], part.offset[:, :-1]
    chosen = torch.zeros(n, 256, dtype=torch.bool, device=label.device)
    chosen[:, :areas] = part.chosen[:, :-1]
    moved = known * gain[row, label].transpose(1, 2) + offset[row, label].transpose(1, 2)
    moved = moved.reshape(source.shape)
    if colors == "lab":
        with exactly(image.device):
            moved = lab_to_rgb(moved) * 255
    return torch.where(chosen[row, label].view(n, 1, *source.shape[2:]), moved.clamp(0, 255), source.float())


def _rounded(levels: Tensor, colors: Colors) -> Tensor:
    """(N, 3, H, W) uint8; in L*a*b* by the same table as on a CPU, so that both round alike."""
    if colors == "rgb":
        return levels.round().byte()
    return linear_to_srgb(rgb_to_linear_rgb(levels / 255))
