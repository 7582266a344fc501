"""Size and inclination of an object, with its labels (R20, D85)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hardmine.conversions.base import inside, taken
from hardmine.errors import InputError
from hardmine.kernels import warp
from hardmine.records import VOID, Recipe
from hardmine.scenes import Colors, Scenes
from hardmine.space import Axis, Space

_LABELS = 8  # whose surroundings are weighed at a time; bounds the memory


class AffineObject:
    """Makes the object of each chosen area larger or smaller and turns it about its centre.

    The object of an area is the largest of the boxes with its label, as far as the index image shows the area there;
    in scenes without boxes, the largest connected piece of the area. Its centre is that of its bounding rectangle.
    It comes to lie in front of all but void pixels, and its hole is filled from what surrounds it, in the image and in
    every label map. Areas are treated in label order, each finding what the one before has left. The whole image is no
    object: that it is chosen changes nothing.

    Axes: `scale`, a factor, and `angle`, degrees, counter-clockwise as displayed; 1 and 0 change no bit.

    Args:
        smallest, largest: bounds of `scale`.
        angle: bound of `angle` to both sides, degrees.
    """

    colors: Colors | None = None

    def __init__(self, smallest: float = 0.5, largest: float = 1.5, angle: float = 45.0) -> None:
        if not 0 < smallest < largest:
            raise ValueError(f"smallest and largest must be scales, 0 < smallest < largest, got {smallest}, {largest}")
        if not 0 < angle <= 180:
            raise ValueError(f"angle must be in (0, 180] degrees, got {angle}")
        # both axes are 100 units long, as L* is
        self.space = Space(
            [
                Axis("scale", smallest, largest, unit=(largest - smallest) / 100),
                Axis("angle", -angle, angle, unit=angle / 50),
            ]
        )

    def __call__(self, scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None = None) -> tuple[Scenes, Tensor]:
        """See `Conversion`; no limit cuts a parameter short.

        Raises:
            InputError: not everything is known that has a place in the image.
        """
        if not scenes.movable:
            raise InputError(
                "an object cannot be moved where a field with a place in the image is not known: name the label maps "
                "in View(maps=...), or leave AffineObject out"
            )
        return inside(scenes, recipe, source_of_row, self._convert)

    def _convert(self, scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None) -> tuple[Scenes, Tensor]:
        scenes = taken(scenes, source_of_row)
        device = scenes.image.device
        moving = recipe.chosen[:, :-1] & (recipe.parameter[:, :-1] != torch.tensor([1.0, 0.0])).any(-1)
        for area in range(scenes.areas):
            rows = moving[:, area].nonzero().flatten()
            if len(rows):
                there = rows.to(device, non_blocking=True)
                scenes = _with_rows(scenes, there, _moved(scenes[rows], area, recipe.parameter[rows, area]))
        share = torch.where(recipe.chosen[:, :-1].any(1), 0.0, torch.nan)
        return scenes, share.to(device, non_blocking=True)


def _linear(point: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of parameters (N, 2) on the CPU: what size and inclination do to x and y, and what undoes it, (N, 2, 2) each."""
    from kornia.geometry import get_rotation_matrix2d  # kornia takes long to import

    scale, angle = point.double().unbind(1)  # in full precision, and on the CPU alike for every device
    origin = scale.new_zeros(len(scale), 2)
    there = get_rotation_matrix2d(origin, angle, torch.stack([scale, scale], dim=1))
    back = get_rotation_matrix2d(origin, -angle, torch.stack([1 / scale, 1 / scale], dim=1))
    both: Tensor = torch.stack([there, back])[..., :2].float()
    turned, undone = both.to(device, non_blocking=True).unbind()
    return turned, undone


def _rectangles(boxes: Tensor, turned: Tensor, height: int, width: int) -> Tensor:
    """(N, 4): bounding rectangles of boxes (N, 4) turned (N, 2, 2) about their centres, clipped to the image."""
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    reach = (turned.abs() * half[:, None]).sum(2)
    edges = torch.cat([center - reach, center + reach], dim=1)
    return edges.clamp(min=0).minimum(edges.new_tensor([width, height, width, height]))


def _with_rows(scenes: Scenes, rows: Tensor, part: Scenes) -> Scenes:
    labels = {name: value.index_copy(0, rows, part.labels[name]) for name, value in scenes.labels.items()}
    image, regions = scenes.image.index_copy(0, rows, part.image), scenes.regions.index_copy(0, rows, part.regions)
    return scenes.replace(image, regions, labels)


def _moved(part: Scenes, area: int, point: Tensor) -> Scenes:
    """N scenes with the object of an area transformed by `point` (N, 2)."""
    labels = dict(part.labels)
    inside = part.regions == area
    turned, undone = _linear(point, inside.device)
    if "boxes" in labels:
        boxes, found = labels["boxes"], labels["labels"] == area
        size = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
        largest = size.masked_fill(~found, -1).argmax(1, keepdim=True)
        box = boxes.gather(1, largest[..., None].expand(-1, -1, 4))[:, 0]
        inside = inside & _rectangle(box, *inside.shape[1:]) & found.any(1)[:, None, None]
        center = (box[:, :2] + box[:, 2:]) / 2
        moved = _rectangles(box, turned, *inside.shape[1:])
        left = (moved[:, 2:] > moved[:, :2]).all(1)
        seen = inside.flatten(1).any(1)  # an object that does not show stays, and so does its box
        moved = torch.where(seen[:, None], torch.where(left[:, None], moved, 0.0), box)
        kept = torch.where(seen & ~left, -1, labels["labels"].gather(1, largest)[:, 0])
        labels["boxes"] = boxes.scatter(1, largest[..., None].expand(-1, -1, 4), moved[:, None])
        labels["labels"] = labels["labels"].scatter(1, largest, kept[:, None])
    else:
        inside = _largest_piece(inside)
        center = _center(inside)
    center = center - 0.5  # the centres of pixels being whole numbers
    shift = center - (undone * center[:, None]).sum(2)  # so that the centre comes from where it is
    return _warped(part, labels, inside, torch.cat([undone, shift[..., None]], dim=2))


def _warped(part: Scenes, labels: dict[str, Tensor], inside: Tensor, back: Tensor) -> Scenes:
    """Fill the hole `inside` (N, H, W), then lay the object over it that comes from there by `back` (N, 2, 3)."""
    height, width = inside.shape[1:]
    mask, image = inside[:, None].float(), part.image.float().contiguous()  # in channels_last, bits may differ
    # where the label of a pixel comes from, counted from 1; exact in float32 up to 2^24 pixels
    pixels = torch.arange(1, height * width + 1, dtype=torch.float32, device=mask.device).view(height, width)
    cut, origin = warp(torch.cat([image * mask, mask], dim=1), pixels * mask, back, "zeros")
    origin = origin.flatten(1).long()
    free = part.regions != VOID
    arrived = (origin > 0).view_as(free) & free

    around = 1 - mask
    known = around.flatten(1).any(1)[:, None, None]  # an object that fills the image has no surroundings
    ground = torch.where((inside & known)[:, None], _filled(image, around), image)
    over = cut[:, :3] + (1 - cut[:, 3:]) * ground
    new = over.round_().clamp_(0, 255).byte()

    def relabelled(labels: Tensor) -> Tensor:
        carried = labels.flatten(1).gather(1, (origin - 1).clamp(min=0)).view_as(labels)
        return torch.where(arrived, carried, torch.where(inside & known, _most_around(labels, around), labels))

    regions = relabelled(part.regions)
    maps = {  # what is to be recognised often is the index image itself
        name: regions.to(value.dtype) if torch.equal(value, part.regions) else relabelled(value)
        for name, value in part.maps.items()
    }
    return part.replace(torch.where(free[:, None], new, part.image), regions, {**labels, **maps})


def _filled(values: Tensor, known: Tensor) -> Tensor:
    """Normalised convolution (Knutsson and Westin 1993) with Gaussians that grow until they reach known pixels.

    Args:
        values: (N, C, H, W) float32.
        known: (N, 1, H, W) float32, 1 or 0.

    Returns:
        (N, C, H, W): `values` where known; elsewhere weighted means of known values, of the nearer the more.
    """
    from kornia.filters import gaussian_blur2d  # kornia takes long to import

    levels = [torch.cat([values * known, known], dim=1)]
    while min(levels[-1].shape[2:]) > 1:  # half the size each time, so that the same kernel reaches twice as far
        half = [(side + 1) // 2 for side in levels[-1].shape[2:]]
        smaller = F.interpolate(levels[-1], size=half, mode="area")
        levels.append(gaussian_blur2d(smaller, 5, (1.0, 1.0), border_type="replicate"))
    total = levels[-1].sum((2, 3), keepdim=True)
    filled = total[:, :-1] / total[:, -1:].clamp(min=1e-12)
    for level in reversed(levels):
        filled = F.interpolate(filled, size=level.shape[2:], mode="bilinear", align_corners=False)
        filled = level[:, :-1] + (1 - level[:, -1:]) * filled
    return filled


def _most_around(labels: Tensor, known: Tensor) -> Tensor:
    """(N, H, W): at each unknown pixel, the label that surrounds it most (`known` as in `_filled`)."""
    best, most = torch.full(labels.shape, -1.0, device=labels.device), labels
    there = torch.unique(labels)  # the one value that is read from the device
    for some in there.split(_LABELS):
        here = (labels[:, None] == some.view(-1, 1, 1)).float()
        # as rows of one channel: how PyTorch enlarges several channels, to the last bit, depends on their number
        weights = _filled(here.flatten(0, 1)[:, None], known.repeat_interleave(len(some), 0)).view_as(here)
        weight, index = weights.max(1)
        most = torch.where(weight > best, some[index], most)
        best = torch.maximum(weight, best)
    return most


def _largest_piece(inside: Tensor) -> Tensor:
    """(N, H, W) bool: the largest 8-connected piece of each mask."""
    from kornia.contrib import connected_components_union_find  # kornia takes long to import

    blocks = math.prod(-(-side // 2) for side in inside.shape[1:])  # kornia numbers blocks of 2 x 2 through the batch
    piece = (connected_components_union_find(inside[:, None]).flatten(1) - 1) % blocks
    sizes = torch.zeros_like(piece).scatter_add_(1, piece, inside.flatten(1).long())
    return inside & (piece == sizes.argmax(1, keepdim=True)).view_as(inside)


def _center(inside: Tensor) -> Tensor:
    """(N, 2): middle of the bounding rectangle of each mask (N, H, W), x and y."""

    def middle(hit: Tensor) -> Tensor:
        first, behind = hit.int().argmax(1), hit.shape[1] - hit.flip(1).int().argmax(1)
        return (first + behind) / 2

    return torch.stack([middle(inside.any(1)), middle(inside.any(2))], dim=1)


def _rectangle(box: Tensor, height: int, width: int) -> Tensor:
    """(N, H, W) bool: pixels whose centre lies in boxes (N, 4)."""
    left, top, right, bottom = box[..., None, None].unbind(1)
    x = torch.arange(width, device=box.device) + 0.5
    y = torch.arange(height, device=box.device)[:, None] + 0.5
    return (left <= x) & (x < right) & (top <= y) & (y < bottom)
