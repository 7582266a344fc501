"""Colour transfer, area by area and of the whole image."""

import torch
from torch import Tensor

from hardmine.kernels import transfer
from hardmine.kernels.color import full_precision, lab_to_srgb
from hardmine.records import Distribution, Recipe
from hardmine.scenes import Colors, Scenes
from hardmine.space import COLORS
from hardmine.store.store import ParameterStore


class ColorTransfer:
    """Makes the colours of each chosen area those of its target (R11-R17), then those of the whole image (R19).

    Args:
        colors: `lab`, as people see (R13), or `rgb` without conversion (R16).
        min_std: floor of the source's standard deviation, Lab units (of RGB: hundredths of the range).
        max_gain: cap of t_std / s_std.
        individual: an area keeps what sets it apart from those of other sources (see `transfer.affine`), which
            `compare_with` must have been told of. Otherwise every road takes the very same mean, and what tells a road
            from the pavement beside it is that mean alone.
    """

    def __init__(
        self, colors: Colors = "lab", min_std: float = 1.0, max_gain: float = 4.0, individual: bool = False
    ) -> None:
        if colors not in COLORS:
            raise ValueError(f"colors must be lab or rgb, got {colors!r}")
        self.colors: Colors = colors
        self.space = COLORS[colors]
        self.min_std = min_std * self.space.axes[0].unit
        self.max_gain, self.individual = max_gain, individual
        self.usual: Distribution | None = None  # 1 row for each kind of source
        self.ends = torch.empty(0, dtype=torch.int64)  # of each kind, in the order that `Recipe.source` counts in

    def compare_with(self, *kinds: ParameterStore) -> None:
        """Learn from the areas of all source images what is usual.

        Args:
            kinds: the source images, and after them any others that are converted (labelled targets, say), which are
                compared with their like alone. Each has a row for every image, in the order that `Recipe.source` counts
                in; a kind that stands alone may have fewer.

        Raises:
            ValueError: measured in other colours.
        """
        for kind in kinds:
            if kind.space != self.space:
                raise ValueError(f"sources must be measured in {self.colors}, they have {', '.join(kind.space.names)}")
        self.usual = Distribution.cat([kind.pooled() for kind in kinds])
        self.ends = torch.tensor([len(kind) for kind in kinds]).cumsum(0)

    def __call__(self, scenes: Scenes, recipe: Recipe) -> tuple[Scenes, Tensor]:
        """See `Conversion`. The whole image is measured after its areas have been converted."""
        whole = recipe.chosen[:, -1].nonzero().flatten()
        if len(whole) == len(recipe) and not recipe.chosen[:, :-1].any():
            return self._convert(scenes, recipe, whole=True)
        converted, capped = self._convert(scenes, recipe, whole=False)
        if len(whole):
            rows = whole.to(scenes.image.device, non_blocking=True)
            last, also = self._convert(converted[rows], recipe[whole], whole=True)
            converted = converted.replace(converted.image.index_copy(0, rows, last.image))
            capped = capped.index_copy(0, rows, torch.maximum(capped[rows].nan_to_num(0), also))
        return converted, capped

    @full_precision()
    def _convert(self, scenes: Scenes, recipe: Recipe, whole: bool) -> tuple[Scenes, Tensor]:
        pixels, measured = scenes.measured(self.colors)
        usual = self._usual(recipe.source).to(pixels.device) if self.individual and not whole else None
        recipe = recipe.to(pixels.device)
        gain, offset, capped = transfer.affine(
            measured, recipe, min_std=self.min_std, max_gain=self.max_gain, usual=usual
        )
        part = slice(-1, None) if whole else slice(None, -1)
        share = capped[:, part].sum(1) / (recipe.chosen & (measured.count > 0))[:, part].sum(1)
        chosen = recipe.chosen
        if whole:  # one map for every labelled pixel
            gain, offset, chosen = (x[:, -1:].expand_as(x) for x in (gain, offset, chosen))
        moved = transfer.apply(pixels, scenes.regions.flatten(1), chosen, gain, offset)
        # no mask is needed: each of the 2^24 colours comes back from Lab as it went in
        image = lab_to_srgb(moved) if self.colors == "lab" else moved.round_().clamp_(0, 255).byte()
        return scenes.replace(image.view(scenes.image.shape)), share

    def _usual(self, source: Tensor) -> Distribution:
        """What is usual among the like of each of N sources; 1 row where they are all of one kind."""
        if self.usual is None:
            raise ValueError("individual=True needs the colours of the source images: call compare_with first")
        return self.usual if len(self.usual) == 1 else self.usual[torch.bucketize(source, self.ends, right=True)]
