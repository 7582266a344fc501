"""Images and label maps at half their size."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from hardmine.view.container import plain_tensor, typed_like

_MULTIPLE = 32  # pixels, by which networks divide their images


def half(side: int) -> int:
    """Half of a side in pixels, to the nearest multiple of 32, which most networks ask for; never more than it is."""
    return min(side, max(1, int(side / 2 / _MULTIPLE + 0.5)) * _MULTIPLE)


def halved_images(images: Any) -> Any:
    """Images (B, C, H, W), or a list of (C, H, W), each pixel the mean of what it covers.

    Args:
        images: of any type; whole numbers stay whole.
    """
    if not isinstance(images, Tensor):
        return type(images)(typed_like(image, halved_images(plain_tensor(image)[None])[0]) for image in images)
    plain = plain_tensor(images.detach())
    size = [half(side) for side in plain.shape[-2:]]
    value = interpolate(plain.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
    if not plain.is_floating_point():
        value = value.round_()
    return typed_like(images, value.to(plain.dtype))


def halved_maps(maps: Any) -> Any:
    """Label maps (..., H, W), or a list of them, with the label that lies at the centre of each pixel."""
    if not isinstance(maps, Tensor):
        return type(maps)(map(halved_maps, maps))
    plain = plain_tensor(maps.detach())
    for dim in (-2, -1):
        side = plain.shape[dim]
        place = (torch.arange(half(side), device=plain.device) + 0.5) * (side / half(side))
        plain = plain.index_select(dim, place.long())
    return typed_like(maps, plain)
