"""Colour transfer, area by area and of the whole image."""

from copy import copy
from math import inf

import torch
from torch import Tensor

from hardmine import kernels
from hardmine.arguments import look_at_number
from hardmine.conversions.base import inside, taken
from hardmine.errors import InputError
from hardmine.kernels import transfer
from hardmine.kernels.transfer import Table
from hardmine.records import Distribution, Recipe
from hardmine.scenes import Colors, Scenes
from hardmine.space import COLORS, LAB, LUMINANCE, Space
from hardmine.store.store import ParameterStore


class ColorTransfer:
    """Makes the colours of each chosen area those of its target (R11-R17), then those of the whole image (R19).

    Args:
        colors: `lab`, as people see (R13), or `rgb` without conversion (R16).
        min_std: floor of the source's standard deviation, Lab units (of RGB: hundredths of the range).
        max_gain: cap of t_std / s_std.
        individual: an area keeps what sets it apart from those of other sources (see `transfer.affine`), which
            `compare_with` or `learn` must have been told of. Otherwise every road takes the very same mean, and what
            tells a road from the pavement beside it is that mean alone.

    Raises:
        ValueError: other colours, or a number out of its range.
    """

    def __init__(
        self, colors: Colors = "lab", min_std: float = 1.0, max_gain: float = 4.0, individual: bool = False
    ) -> None:
        if colors not in COLORS:
            raise ValueError(f"colors must be lab or rgb, got {colors!r}")
        look_at_number("min_std", min_std, 0, inf, "Lab units")
        look_at_number("max_gain", max_gain, 0, inf, "times", above=True)
        if not isinstance(individual, bool):
            raise InputError(f"individual must be true or false, got {individual!r:.60}")
        self.colors: Colors = colors
        self.space = COLORS[colors]
        self.min_std = min_std * self.space.axes[0].unit
        self.max_gain, self.individual = max_gain, individual
        self.usual: Distribution | None = None  # 1 row for each kind of source
        self.ends = torch.empty(0, dtype=torch.int64)  # of each kind, in the order that `Recipe.source` counts in

    def suited(self, space: Space) -> "ColorTransfer":
        """The same transfer for a store with these axes: where they have luminance alone, so has it.

        L* moves then, and a* and b* stay as the source has them (R6, the simple case).
        """
        colors = {*space.names} & {*LAB.names}
        if self.space.axes != LAB.axes or colors != {*LUMINANCE.names}:
            return self
        of_luminance = copy(self)
        of_luminance.space = LUMINANCE
        return of_luminance

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
            if kind.space.axes != COLORS[self.colors].axes:
                raise ValueError(f"sources must be measured in {self.colors}, they have {', '.join(kind.space.names)}")
        self.usual = Distribution.cat([kind.pooled() for kind in kinds])
        self.ends = torch.tensor([len(kind) for kind in kinds]).cumsum(0)

    def learn(self, usual: Distribution) -> None:
        """Take what is usual as it was found elsewhere, for instance in the first batches of a run.

        Args:
            usual: 1 row of R regions, in `colors`.

        Raises:
            ValueError: another number of rows.
        """
        if len(usual) != 1:
            raise ValueError(f"usual must be 1 row, got {len(usual)}")
        self.usual = Distribution(**{name: value.detach().cpu().clone() for name, value in usual.tensors().items()})
        self.ends = torch.empty(0, dtype=torch.int64)

    def unchanged(self, scenes: Scenes, source: Tensor) -> Tensor:
        """(B, R, D) float32 on the CPU: the parameters that leave each region as it is, up to rounding.

        Args:
            scenes: B of them.
            source: (B,) int64, their numbers, as `Recipe.source` has them.
        """
        measured = scenes.measured(self.colors).to(torch.device("cpu"))
        mean, std = measured.mean, measured.std.clamp(min=self.min_std)
        if self.individual:
            usual = self._usual(source)
            apart = (mean - usual.mean) / usual.std.clamp(min=self.min_std)
            mean = mean - std * torch.where(usual.count[..., None] > 0, apart, 0.0)
        names = COLORS[self.colors].names
        return torch.cat([mean, std], dim=-1)[..., [names.index(name) for name in self.space.names]]

    def __call__(self, scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None = None) -> tuple[Scenes, Tensor]:
        """See `Conversion`. The whole image is measured after its areas have been converted.

        Raises:
            InputError: RGB of scenes that have one channel.
            ValueError: what is usual is not known.
        """
        if scenes.grey and self.colors != "lab":
            raise InputError(f'one grey channel moves in L* alone: give colors="lab", got "{self.colors}"')
        return inside(scenes, recipe, source_of_row, self._convert)

    def _convert(self, scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None) -> tuple[Scenes, Tensor]:
        areas, whole = recipe.chosen[:, :-1].any(1), recipe.chosen[:, -1]
        first = recipe.chosen.clone()
        first[areas, -1] = False
        converted, share = self._moved(scenes, recipe.replace(chosen=first), source_of_row)
        both = (areas & whole).nonzero().flatten()
        if len(both):
            last = torch.zeros_like(first[both])
            last[:, -1] = True
            after, of_whole = self._moved(converted[both], recipe[both].replace(chosen=last), None)
            rows = both.to(share.device, non_blocking=True)
            converted = converted.replace(converted.image.index_copy(0, rows, after.image))
            share = share.index_copy(0, rows, torch.maximum(share[rows].nan_to_num(0), of_whole))
        return converted, share

    def _moved(self, scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None) -> tuple[Scenes, Tensor]:
        """Rows in which either areas or the whole image are chosen."""
        usual = self._usual(recipe.source) if self.individual else None
        measured = scenes.measured(self.colors)
        device = scenes.image.device
        recipe = recipe.to(device)
        if source_of_row is None:
            source = torch.arange(len(scenes), device=device)
        else:
            source = source_of_row.to(device, non_blocking=True)
            measured = measured[source]
        gain, offset, capped = transfer.affine(
            measured,
            recipe,
            min_std=self.min_std,
            max_gain=self.max_gain,
            usual=None if usual is None else usual.to(device),
            grey=scenes.grey,
        )
        share = capped.sum(1) / (recipe.chosen & (measured.count > 0)).sum(1)
        whole = recipe.chosen[:, -1:]  # one map for every labelled pixel
        gain, offset = (torch.where(whole[..., None], values[:, -1:], values) for values in (gain, offset))
        table = Table(recipe.chosen | whole, gain, offset, source)
        image = kernels.convert(scenes.image, scenes.regions, table, self.colors)
        if scenes.grey:  # one level, whatever each channel was rounded to; green is nearest to lightness
            image = image[:, 1:2].repeat(1, 3, 1, 1)
        return taken(scenes, source_of_row).replace(image), share

    def _usual(self, source: Tensor) -> Distribution:
        """What is usual of the areas among the like of each of N sources; 1 row where they are all of one kind."""
        if self.usual is None:
            raise ValueError(
                "individual=True needs the colours of the source images: call compare_with first (or learn)"
            )
        count = self.usual.count.clone()
        count[:, -1] = 0  # the whole image has nothing that sets it apart
        usual = Distribution(self.usual.mean, self.usual.std, count)
        return usual if len(usual) == 1 else usual[torch.bucketize(source, self.ends, right=True)]
