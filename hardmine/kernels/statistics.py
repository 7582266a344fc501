"""Per-region sums and statistics of a batch, in one pass over its pixels."""

import torch
from torch import Tensor

from hardmine.kernels.color import exactly
from hardmine.records import Distribution

_MEMBERS = 1 << 20  # entries of the pixel-in-area table made at a time for each image; bounds its memory at 4 MiB


def region_counts(regions: Tensor, areas: int, marked: Tensor) -> Tensor:
    """How many marked pixels each region has, at the cost of the pixels and not of the regions.

    Sums of ones have no rounding, and so the same bits in whatever order a GPU adds.

    Args:
        regions: (B, P) uint8 labels in [0, A) or 255.
        areas: A.
        marked: (B, C, P) bool.

    Returns:
        (B, C, R) float32. The last region is the whole image with its void pixels.
    """
    label = regions.long().clamp_(max=areas)[:, None].expand(marked.shape)
    counts = torch.zeros(*marked.shape[:2], areas + 1, device=regions.device).scatter_add_(2, label, marked.float())
    counts[..., -1] = marked.sum(-1)
    return counts


def region_sums(regions: Tensor, areas: int, *values: Tensor) -> tuple[Tensor, ...]:
    """Sums of pixel values over each region.

    A matrix product with the table of which pixel lies in which area: on a GPU the sums have an order, which adding
    atomically has not, and on a CPU neighbouring pixels of one area do not wait for each other's addition.

    Args:
        regions: (B, P) uint8 labels in [0, A) or 255.
        areas: A.
        values: any number of (B, C, P) floating point of one dtype.

    Returns:
        For each of them (B, C, R). The last region is the whole image with its void pixels.
    """
    area = torch.arange(areas, dtype=torch.uint8, device=regions.device)[:, None]
    sums = tuple(value.new_zeros(*value.shape[:2], areas + 1) for value in values)
    chunk = max(_MEMBERS // areas, 1)
    with exactly(regions.device):
        for start in range(0, regions.shape[1], chunk):
            part = slice(start, start + chunk)
            inside = (regions[:, None, part] == area).to(values[0].dtype).transpose(1, 2)
            for total, value in zip(sums, values, strict=True):
                total[..., :-1] += value[..., part] @ inside
    for total, value in zip(sums, values, strict=True):
        total[..., -1] = value.sum(-1)
    return sums


def region_statistics(lab: Tensor, regions: Tensor, areas: int) -> Distribution:
    """Colour distribution of every region (R6, R7, R13; D38).

    The sums run over differences from the mean of the image's middle rows, which keeps float32 exact enough (variance
    error < 1e-3) without a second pass over the pixels.

    Args:
        lab: (B, 3, P) float32 or float64, CIE L*a*b*.
        regions: (B, P) uint8 labels in [0, A) or 255.
        areas: A.

    Returns:
        B rows of R regions; mean and std of `lab`'s dtype.
    """
    middle = lab.shape[2] // 2
    center = lab[..., middle : middle + max(middle // 8, 1)].mean(dim=2, keepdim=True)
    shifted = lab - center
    ones = lab.new_ones(len(lab), 1, lab.shape[2])
    count, first, second = region_sums(regions, areas, ones, shifted, shifted * shifted)
    mean = first / count.clamp(min=1)
    variance = (second / count.clamp(min=1) - mean * mean).transpose(1, 2)
    varied = variance > 0  # the slope of a root has no end at 0
    return Distribution(
        mean=torch.where(count > 0, mean + center, 0).transpose(1, 2).contiguous(),
        std=torch.where(varied, torch.where(varied, variance, 1).sqrt(), 0).contiguous(),
        count=count[:, 0].long(),
    )
