"""Sharpening, smoothing and outline extraction, area by area and of the whole image (R20, D85)."""

from abc import ABC, abstractmethod
from math import ceil

import torch
from torch import Tensor

from hardmine.conversions.base import inside, taken
from hardmine.records import Recipe
from hardmine.scenes import Colors, Scenes
from hardmine.space import Axis, Space

_STEPS = 100  # units between the bounds of an axis, as many as L* has: radii mean about the same everywhere


class Filter(ABC):
    """A filter with one strength, of each chosen area and then of the whole image.

    An area is filtered as a part of the photograph: its edge sees the pixels beyond. Areas do not see each other's
    result, the whole image sees that of its areas.

    Args:
        name: of the axis.
        highest: strength at the upper bound; the lower one is 0, which changes nothing.
    """

    colors: Colors | None = None

    def __init__(self, name: str, highest: float) -> None:
        if not highest > 0:
            raise ValueError(f"{name}: highest must be > 0, got {highest}")
        self.space = Space([Axis(name, 0.0, highest, unit=highest / _STEPS)])

    @abstractmethod
    def filtered(self, pixels: Tensor, strength: Tensor) -> Tensor:
        """The images at these strengths.

        Args:
            pixels: (N, 3, H, W) float32 sRGB in [0, 255], contiguous.
            strength: (N,) float32 on the CPU.

        Returns:
            (N, 3, H, W) float32; rounded and clipped by the caller.
        """

    def __call__(self, scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None = None) -> tuple[Scenes, Tensor]:
        """See `Conversion`; no limit cuts a strength short."""
        return inside(scenes, recipe, source_of_row, self._convert)

    def _convert(self, scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None) -> tuple[Scenes, Tensor]:
        scenes = taken(scenes, source_of_row)
        chosen, strength = recipe.chosen, recipe.parameter[..., 0]
        image = self._areas(scenes.image, scenes.regions, chosen[:, :-1], strength[:, :-1])
        every = chosen[:, :-1].shape
        image = self._areas(image, scenes.regions, chosen[:, -1:].expand(every), strength[:, -1:].expand(every))
        share = torch.where(chosen.any(1), 0.0, torch.nan)
        return scenes.replace(image), share.to(image.device, non_blocking=True)

    def _areas(self, source: Tensor, regions: Tensor, left: Tensor, strength: Tensor) -> Tensor:
        """Filter the areas `left` (N, A) of each row; those with the same strength in one go, so usually all."""
        image = source
        while left.any():
            wanted = strength.gather(1, left.int().argmax(1, keepdim=True))
            same = left & (strength == wanted)
            left = left & ~same
            rows = same.any(1).nonzero().flatten()
            table = torch.zeros(len(rows), 256, dtype=torch.bool)
            table[:, : same.shape[1]] = same[rows]
            there = rows.to(image.device, non_blocking=True)
            # contiguous: kornia blurs channels_last memory another way, and bits may differ
            new = self.filtered(source[there].float().contiguous(), wanted[rows, 0]).round_().clamp_(0, 255).byte()
            label = regions[there].flatten(1).long()
            inside = table.to(image.device, non_blocking=True).gather(1, label).view(len(rows), 1, *image.shape[2:])
            image = image.index_copy(0, there, torch.where(inside, new, image[there]))
        return image


class Smooth(Filter):
    """Gaussian smoothing.

    Args:
        highest: sigma at the upper bound, pixels. The axis `smooth` is sigma; below 0.2 pixels nothing is to be seen.
    """

    def __init__(self, highest: float = 5.0) -> None:
        super().__init__("smooth", highest)
        self.taps = _taps(highest)  # one width for all, so that a row has the same bits in any batch

    def filtered(self, pixels: Tensor, strength: Tensor) -> Tensor:
        """See `Filter`."""
        sigma = strength.clamp(min=1e-3)  # kornia wants > 0; this one leaves every bit as it is
        return _blurred(pixels, self.taps, sigma)


class Sharpen(Filter):
    """Unsharp masking: the image and `sharpen` times what Gaussian smoothing takes away from it.

    Args:
        highest: amount at the upper bound. The axis `sharpen` is the amount.
        sigma: of the smoothing, pixels: finer detail is sharpened.
    """

    def __init__(self, highest: float = 4.0, sigma: float = 1.0) -> None:
        super().__init__("sharpen", highest)
        if not sigma > 0:
            raise ValueError(f"sharpen: sigma must be > 0 pixels, got {sigma}")
        self.sigma, self.taps = sigma, _taps(sigma)

    def filtered(self, pixels: Tensor, strength: Tensor) -> Tensor:
        """See `Filter`."""
        detail = pixels - _blurred(pixels, self.taps, torch.full_like(strength, self.sigma))
        return pixels + _column(strength, pixels) * detail


class Outline(Filter):
    """Outline extraction: the image fades into the Sobel magnitude of each channel, light lines on black.

    Args:
        highest: share of the outlines at the upper bound, at most 1. The axis `outline` is the share.
    """

    def __init__(self, highest: float = 1.0) -> None:
        super().__init__("outline", highest)
        if highest > 1:
            raise ValueError(f"outline: highest must be a share in (0, 1], got {highest}")

    def filtered(self, pixels: Tensor, strength: Tensor) -> Tensor:
        """See `Filter`."""
        from kornia.filters import sobel  # kornia takes long to import

        lines = 2 * sobel(pixels)  # kornia's is half the height of a step; now a line is as bright as the step is high
        return torch.lerp(pixels, lines, _column(strength, pixels))


def _taps(sigma: float) -> int:
    """Width of a kernel that holds 3 sigma on both sides."""
    return 2 * ceil(3 * sigma) + 1


def _blurred(pixels: Tensor, taps: int, sigma: Tensor) -> Tensor:
    from kornia.filters import gaussian_blur2d  # kornia takes long to import

    # replicate: reflecting needs images larger than the kernel
    return gaussian_blur2d(pixels, taps, sigma[:, None].expand(-1, 2), border_type="replicate")


def _column(strength: Tensor, pixels: Tensor) -> Tensor:
    return strength.to(pixels.device, non_blocking=True).view(-1, 1, 1, 1)
