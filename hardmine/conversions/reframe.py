"""Another distance and direction of the camera: a part of the image, enlarged, with its labels (R20)."""

import torch
from torch import Tensor

from hardmine.arguments import look_at_number
from hardmine.conversions.base import inside, taken
from hardmine.kernels import warp
from hardmine.records import Recipe
from hardmine.rng import chances, keyed
from hardmine.scenes import Colors, Scenes
from hardmine.space import Space

_VISIBLE = 0.25  # share of a box that must lie inside, or it is no object any more


class Reframe:
    """Enlarges a random part of each converted image to the whole size.

    A piece is made from an image the model was trained on, and may know by heart; from another frame it has to
    recognise it. The frame is drawn from the recipe's draw: a piece keeps it, a light on another source has another.
    There is nothing to search for in it, so that it adds no axis; rows where no region is chosen stay as they are, and
    so do all where not everything is known that has a place in the image (`Scenes.movable`).

    Args:
        smallest: least share of height and width that is kept, in (0, 1]; the share is uniform from there to 1.
        share: of the converted images that are seen from another frame, in [0, 1]. Enlarged images are less sharp, and
            a network that saw no others would lose small objects.
    """

    colors: Colors | None = None

    def __init__(self, smallest: float = 0.5, share: float = 1.0) -> None:
        look_at_number("smallest", smallest, 0, 1, "a share of the image's side", above=True)
        look_at_number("share", share, 0, 1, "a share of the images")
        self.smallest, self.share = smallest, share
        self.space = Space([])

    def __call__(self, scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None = None) -> tuple[Scenes, Tensor]:
        """See `Conversion`; no limit cuts anything short."""
        return inside(scenes, recipe, source_of_row, self._convert)

    def _convert(self, scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None) -> tuple[Scenes, Tensor]:
        scenes = taken(scenes, source_of_row)
        chosen = recipe.chosen.any(1)
        share = torch.where(chosen, 0.0, torch.nan).to(scenes.image.device, non_blocking=True)
        framed = chosen & (chances("frame", recipe.draw) < self.share)
        rows = framed.nonzero().flatten()
        if not len(rows) or self.smallest == 1 or not scenes.movable:
            return scenes, share
        device, (height, width) = scenes.image.device, scenes.image.shape[2:]
        frame = self._frames(recipe.draw[rows])
        side, corner = frame[:, :1], frame[:, 1:]
        origin = torch.zeros(len(rows), 2, 3)
        origin[:, 0, 0] = origin[:, 1, 1] = side[:, 0]
        # the edge of the first pixel, half a pixel before its centre, comes from the corner of the frame
        origin[..., 2] = corner * torch.tensor([width, height]) + (side - 1) / 2
        there, origin = rows.to(device, non_blocking=True), origin.to(device, non_blocking=True)
        maps = [scenes.regions, *scenes.maps.values()]
        pixels, labels = warp(
            scenes.image[there].float(), torch.stack([one[there].float() for one in maps], dim=1), origin, "border"
        )
        placed = (one.index_copy(0, there, new.to(one.dtype)) for one, new in zip(maps, labels.unbind(1), strict=True))
        regions = next(placed)
        moved = dict(zip(scenes.maps, placed, strict=True))
        if "boxes" in scenes.labels:
            boxes, of = scenes.labels["boxes"], scenes.labels["labels"]
            seen, its = _cropped(boxes[there], of[there], frame.to(device, non_blocking=True), (height, width))
            moved["boxes"], moved["labels"] = boxes.index_copy(0, there, seen), of.index_copy(0, there, its)
        image = scenes.image.index_copy(0, there, pixels.round_().byte())
        return scenes.replace(image, regions, {**scenes.labels, **moved}), share

    def _frames(self, draw: Tensor) -> Tensor:
        """(N, 3): share of the side that is kept, and left and top edge as shares of width and height."""
        drawn = torch.stack([torch.rand(3, generator=keyed("reframe", int(each))) for each in draw])
        side = self.smallest + (1 - self.smallest) * drawn[:, :1]
        return torch.cat([side, drawn[:, 1:] * (1 - side)], dim=1)


def _cropped(boxes: Tensor, labels: Tensor, frame: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes (N, G, 4) of the whole image as the frame shows them; what it cuts off becomes padding."""
    height, width = size
    side, corner = frame[:, :1], frame[:, 1:]
    edges = boxes.new_tensor([width, height, width, height])
    moved = (boxes - corner.repeat(1, 2)[:, None] * edges) / side[:, None]
    clipped = moved.clamp(min=0).minimum(edges)
    area, shown = (
        (moved[..., 2:] - moved[..., :2]).prod(-1),
        (clipped[..., 2:] - clipped[..., :2]).clamp(min=0).prod(-1),
    )
    kept = (labels >= 0) & (shown >= _VISIBLE * area) & (shown > 0)
    return torch.where(kept[..., None], clipped, 0.0), torch.where(kept, labels, -1)
