"""Boxes in every form, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from hardmine.errors import InputError
from hardmine.scenes import Scenes
from hardmine.view.container import NUMBERS, Path, get, plain_tensor, put, put_all, typed_like


def look_at_boxes(boxes: Tensor, labels: Tensor) -> None:
    """See that boxes are x1, y1, x2, y2 in pixels, as far as they tell.

    Args:
        boxes, labels: (B, G, 4) and (B, G), -1 for padding.

    Raises:
        InputError: another form.
    """
    boxes = boxes[labels >= 0]
    if not len(boxes):
        return
    if bool((boxes[:, 2:] < boxes[:, :2]).any()):
        raise InputError("view: boxes must be x1, y1, x2, y2, some end before they begin: convert them")
    if bool((boxes <= 1).all()):
        raise InputError("view: boxes must be in pixels, they lie in [0, 1]: multiply them by width and height")


def _checked(boxes: Any) -> Tensor:
    if not isinstance(boxes, Tensor):
        raise InputError(f"view: boxes must be a tensor (G, 4), got {type(boxes).__name__}: convert them")
    kind = getattr(boxes, "format", None)
    kind = getattr(kind, "value", kind)
    if kind not in (None, "XYXY"):
        raise InputError(f"view: boxes must be x1, y1, x2, y2, they are {kind}: convert them")
    plain = plain_tensor(boxes.detach())
    return plain if plain.is_floating_point() else plain.float()


def _classes(labels: Any) -> Tensor:
    """Integers, one for each box."""
    if not isinstance(labels, Tensor):
        raise InputError(f"view: labels of boxes must be a tensor (G,), got {type(labels).__name__}: convert them")
    return plain_tensor(labels.detach()).long()


def padded_objects(label: Any) -> dict[str, Tensor]:
    boxes, labels = get(label, ("boxes",)), get(label, ("labels",))
    if isinstance(boxes, Tensor):
        return {"boxes": _checked(boxes), "labels": _classes(labels)}
    return objects_of([{"boxes": b, "labels": k} for b, k in zip(boxes, labels, strict=True)])


def objects_of(targets: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Boxes (B, G, 4) and labels (B, G) of a list of dicts, -1 for padding."""
    most = max(1, *(len(target["labels"]) for target in targets))
    boxes, labels = [], []
    for target in targets:
        box, label = _checked(target["boxes"]).reshape(-1, 4), _classes(target["labels"])
        if len(box) != len(label):
            raise InputError(f"view: an image has {len(box)} boxes and {len(label)} labels")
        boxes.append(pad(box, (0, 0, 0, most - len(box))))
        labels.append(pad(label, (0, most - len(label)), value=-1))
    return {"boxes": torch.stack(boxes), "labels": torch.stack(labels)}


def boxes_as_areas(boxes: Tensor, labels: Tensor, shape: tuple[int, ...], count: int) -> Tensor:
    """(B, H, W) uint8: the class of the smallest box over each pixel; the last area where there is none."""
    regions = torch.full(shape, count - 1, dtype=torch.uint8, device=boxes.device)
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
    order = size.argsort(dim=1, descending=True, stable=True)
    boxes = boxes.gather(1, order[..., None].expand_as(boxes)).trunc()
    labels = labels.gather(1, order)
    row = torch.arange(shape[1], device=boxes.device)[:, None]
    column = torch.arange(shape[2], device=boxes.device)
    for place in range(boxes.shape[1]):
        left, top, right, bottom = boxes[:, place, :, None, None].unbind(1)
        label = labels[:, place, None, None]
        inside = (column >= left) & (column < right) & (row >= top) & (row < bottom)
        inside &= (label >= 0) & (label < count - 1)
        regions = torch.where(inside, label.to(torch.uint8), regions)
    return regions


def put_objects(batch: Any, path: Path, listed: bool, scenes: Scenes, made: Scenes) -> Any:
    """Boxes that moved; those that the frame cut off are gone, with all that belongs to them."""
    boxes, labels = made.labels["boxes"], made.labels["labels"]
    if not listed:
        label = get(batch, path)
        old_boxes, old_labels = get(label, ("boxes",)), get(label, ("labels",))
        if isinstance(old_boxes, Tensor):
            batch = put(batch, (*path, "boxes"), typed_like(old_boxes, boxes.to(old_boxes.dtype)))
            return put(batch, (*path, "labels"), typed_like(old_labels, labels.to(old_labels.dtype)))
        shown = [mine >= 0 for mine in labels]
        there = [len(each) for each in old_labels]
        cut = [typed_like(o, b[: len(o)][k[: len(o)]]) for o, b, k in zip(old_boxes, boxes, shown, strict=True)]
        rest = [o[k[:n]] for o, k, n in zip(old_labels, shown, there, strict=True)]
        batch = put(batch, (*path, "boxes"), type(old_boxes)(cut))
        return put(batch, (*path, "labels"), type(old_labels)(rest))
    targets = get(batch, path)
    changed_targets: list[Any] = []
    for row, target in enumerate(targets):
        count = len(target["labels"])
        box, kept = boxes[row, :count], labels[row, :count] >= 0
        if torch.equal(box, scenes.labels["boxes"][row, :count]):
            changed_targets.append(target)
            continue
        changed = dict(target)
        for name, value in target.items():
            if name in ("boxes", "image_id", *NUMBERS):
                continue
            if isinstance(value, Tensor) and value.ndim and len(value) == count:
                changed[name] = value[kept]
        box = box[kept]
        changed["boxes"] = typed_like(target["boxes"], box.to(target["boxes"].dtype))
        if "area" in changed:
            changed["area"] = (box[:, 2:] - box[:, :2]).prod(1).to(changed["area"].dtype)
        changed_targets.append(changed if type(target) is dict else put_all(target, changed))
    return put(batch, path, type(targets)(changed_targets))
