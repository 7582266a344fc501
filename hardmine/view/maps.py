"""Label maps and classes in every form, and back."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from hardmine.errors import InputError
from hardmine.records import VOID
from hardmine.view.container import plain_tensor, typed_like

_WIDTHS = (torch.uint8, torch.int16, torch.int32, torch.int64)  # that torch computes with and that hold 255


def is_map(label: Any, images: Any) -> bool:
    first = label[0] if len(label) else label
    return isinstance(first, Tensor) and first.ndim >= 2 and first.shape[-2:] == images[0].shape[-2:]


def stacked_maps(label: Any, size: Sequence[int], void: int = VOID) -> Tensor:
    """(B, H, W) integers of label maps in any form; padding has the void label."""
    if isinstance(label, Tensor):
        return _map(plain_tensor(label.detach()), void)
    maps = [_map(plain_tensor(each.detach())[None], void)[0] for each in label]
    if len({each.shape for each in maps}) == 1:
        return torch.stack(maps)
    dtype = torch.int64 if void < 0 else maps[0].dtype
    height, width = size
    return torch.stack(
        [pad(each.to(dtype), (0, width - each.shape[1], 0, height - each.shape[0]), value=void) for each in maps]
    )


def _map(label: Tensor, void: int) -> Tensor:
    """(B, H, W) integers."""
    if label.ndim == 4 and label.shape[1] == 1:
        label = label[:, 0]
    if label.ndim == 4:
        there = label.sum(1)
        if not bool(((label == 0) | (label == 1)).all()) or bool((there > 1).any()):
            raise InputError("view: soft masks or several labels in a pixel are not mined: give label maps")
        return torch.where(there > 0, label.byte().argmax(1), void)
    if label.ndim != 3:
        raise InputError(f"view: label maps must be (B, H, W), got {tuple(label.shape)}")
    if label.dtype == torch.bool:
        return label.byte()
    if label.is_floating_point():
        if not bool((label == label.round()).all()):
            raise InputError("view: soft masks are not mined: give whole numbers")
        return label.long()
    if label.dtype == torch.int8 and void == VOID:
        raise InputError(f"view: int8 label maps cannot hold {VOID}: say what is not learnt, View(ignore_index=...)")
    return label if label.dtype in _WIDTHS else label.long()


def map_like(old: Any, before: Tensor, after: Tensor, void: int) -> Any:
    """Maps in the form of the user's, with the new labels where they differ from the old ones."""
    if not isinstance(old, Tensor):
        parts = []
        for row, each in enumerate(old):
            inside = row, slice(each.shape[-2]), slice(each.shape[-1])
            parts.append(map_like(each[None], before[inside][None], after[inside][None], void)[0])
        return type(old)(typed_like(was, part) for was, part in zip(old, parts, strict=True))
    plain = plain_tensor(old)
    changed, new = before != after, after
    if plain.ndim == 4 and plain.shape[1] > 1:
        hot = new[:, None].long() == torch.arange(plain.shape[1], device=plain.device)[:, None, None]
        return typed_like(old, torch.where(changed[:, None], hot.to(plain.dtype), plain))
    if void != VOID:
        new = torch.where(new == VOID, void, new.long())
    new = new.to(plain.dtype)
    if plain.ndim == 4:
        changed, new = changed[:, None], new[:, None]
    return typed_like(old, torch.where(changed, new, plain))


def classes_of(label: Any, count: int) -> Tensor:
    """(B,) int64 classes."""
    if not isinstance(label, Tensor):
        label = torch.as_tensor(label)
    label = plain_tensor(label.detach())
    if label.ndim == 2 and label.shape[1] == 1:
        label = label[:, 0]
    if label.ndim == 2 and len(label) == count:
        if not bool(((label == 0) | (label == 1)).all()) or not bool((label.sum(1) == 1).all()):
            raise InputError("view: soft labels and several labels for one image are not mined: give one class each")
        best: Tensor = label.argmax(1)
        return best
    if label.shape != (count,):
        raise InputError(f"view: labels {tuple(label.shape)} are neither classes (B,) nor maps of the images' size")
    if label.is_floating_point() and not bool((label == label.round()).all()):
        raise InputError("view: soft labels are not mined: give one class for each image")
    classes: Tensor = label.long()
    return classes


def padding(sizes: list[Any], like: Tensor) -> Tensor:
    """(B, H, W) bool: pixels beyond each image; one value where there are none."""
    height, width = like.shape[1:]
    if all(tuple(size) == (height, width) for size in sizes):
        return torch.zeros((), dtype=torch.bool, device=like.device)
    size = torch.tensor([tuple(each) for each in sizes], device=like.device)
    row = torch.arange(height, device=like.device)[:, None]
    column = torch.arange(width, device=like.device)
    return (row >= size[:, :1, None]) | (column >= size[:, 1:, None])
