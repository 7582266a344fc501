"""The CPU's way: tables in place of powers, few passes over the pixels, a few rows at a time."""

import torch
import torch.nn.functional as F
from torch import Tensor

from hardmine.kernels.color import Colors, lab_to_srgb, srgb_to_lab
from hardmine.kernels.places import places
from hardmine.kernels.statistics import region_statistics as statistics
from hardmine.kernels.transfer import Table, apply

__all__ = ["convert", "pixels", "statistics", "warp"]

_VECTOR = 16  # values that a processor takes in one go; what is left over at an end may round in another way
_VALUES = 1 << 15  # from which on torch divides an operation among threads, and so makes more ends


def pixels(image: Tensor, colors: Colors) -> Tensor:
    """See `hardmine.kernels.Way`."""
    flat = image.flatten(2)
    if colors == "rgb":
        return flat.float()
    lab = torch.empty(flat.shape)
    for start in range(0, len(flat), _at_once(flat)):
        rows = slice(start, start + _at_once(flat))
        lab[rows] = srgb_to_lab(flat[rows])
    return lab


def convert(image: Tensor, regions: Tensor, table: Table, colors: Colors, measured: Tensor | None = None) -> Tensor:
    """See `hardmine.kernels.convert`; rows without a chosen region are not computed at all."""
    flat, label = image.flatten(2), regions.flatten(1)
    made = flat.index_select(0, table.source)
    busy = table.chosen.any(1).nonzero().flatten()
    for start in range(0, len(busy), _at_once(flat)):
        rows = busy[start : start + _at_once(flat)]
        part = table[rows]
        if measured is None:
            known = pixels(image.index_select(0, part.source), colors)
        else:
            known = measured.index_select(0, part.source)
        moved = apply(known, label.index_select(0, part.source), part.chosen, part.gain, part.offset)
        # no mask is needed: each of the 2^24 colours comes back from Lab as it went in
        new = lab_to_srgb(moved) if colors == "lab" else moved.round_().clamp_(0, 255).byte()
        for row, one in zip(rows.tolist(), new, strict=True):  # copies at once where index_copy goes byte by byte
            made[row] = one
    return made.view(-1, *image.shape[1:])


def warp(pixels: Tensor, labels: Tensor, origin: Tensor, beyond: str) -> tuple[Tensor, Tensor]:
    """See `hardmine.kernels.warp`; one grid for both."""
    grid = torch.stack(places(origin, *pixels.shape[2:]), dim=-1)
    moved = F.grid_sample(pixels, grid, "bilinear", beyond, align_corners=False)
    return moved, F.grid_sample(labels, grid, "nearest", beyond, align_corners=False)


def _at_once(flat: Tensor) -> int:
    """Rows that are computed together, so that none sees the others: a row has the same bits in any batch."""
    values = flat.shape[1] * flat.shape[2]
    return 1 if values % _VECTOR else max((_VALUES - 1) // values, 1)
