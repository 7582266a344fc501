"""Per-region sums and statistics of a batch, in one pass over its pixels."""

import torch
from torch import Tensor

from hardmine.records import Distribution


def region_sums(values: Tensor, regions: Tensor, areas: int) -> Tensor:
    """Sums of pixel values over each region.

    Args:
        values: (B, C, P) floating point.
        regions: (B, P) uint8 labels in [0, A) or 255.
        areas: A.

    Returns:
        (B, C, R) of `values`' dtype. The last region is the whole image with its void pixels.
    """
    label = regions.clamp(max=areas).long()
    if values.is_cuda:  # scatter_add adds in any order there: the same image would not give the same bits
        sums = values @ torch.nn.functional.one_hot(label, areas + 1).to(values.dtype)
    else:
        sums = values.new_zeros(*values.shape[:2], areas + 1)
        sums.scatter_add_(2, label[:, None].expand_as(values), values)
    sums[..., -1] = sums.sum(-1)
    return sums


def region_statistics(lab: Tensor, regions: Tensor, areas: int) -> Distribution:
    """Colour distribution of every region (R6, R7, R13; D38).

    The sums run over differences from the image's (roughly taken) mean, which keeps float32 exact enough (variance
    error < 1e-3) without a second pass over the pixels.

    Args:
        lab: (B, 3, P) float32 or float64, CIE L*a*b*.
        regions: (B, P) uint8 labels in [0, A) or 255.
        areas: A.

    Returns:
        B rows of R regions; mean and std of `lab`'s dtype.
    """
    center = lab[..., ::16].mean(dim=2, keepdim=True)
    values = lab.new_ones(len(lab), 7, lab.shape[2])
    shifted = torch.sub(lab, center, out=values[:, :3])
    torch.mul(shifted, shifted, out=values[:, 3:6])
    sums = region_sums(values, regions, areas).transpose(1, 2)
    count = sums[..., 6:]
    share = 1 / count.clamp(min=1)
    mean = sums[..., :3] * share
    variance = (sums[..., 3:6] * share - mean * mean).clamp(min=0)
    return Distribution(
        mean=torch.where(count > 0, mean + center.transpose(1, 2), 0),
        std=variance.sqrt(),
        count=count[..., 0].long(),
    )
