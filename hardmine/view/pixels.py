"""Values of images as 8-bit levels, and back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.view.container import plain_tensor, typed_like

_LIGHT = 16.0  # a level that something in a batch of 255 levels reaches
_SLACK = 0.02  # of the range: what rounding to half precision and back may leave
_OVERSHOOT = 0.5  # of the range: what resampling and noise may add


class Pixels:
    """Which channels are colours, what white is, and what the images were normalised with.

    Args:
        mean, std: of each channel, or one for all, in the units of `scale`.
        scale: the value of white before the normalisation; None finds 1 or 255.
        channels: red, green and blue, or one of lightness; None takes three as they are, or the only one.

    Raises:
        InputError: numbers that cannot be.
    """

    def __init__(
        self,
        mean: Sequence[float] | float | None,
        std: Sequence[float] | float | None,
        scale: float | None,
        channels: Sequence[int] | int | None,
    ) -> None:
        if (mean is None) != (std is None):
            raise InputError("view: mean and std go together: give both")
        self.mean, self.std = _numbers(mean), _numbers(std)
        if self.std is not None and not all(value > 0 for value in self.std):
            raise InputError(f"view: std must be > 0 in every channel, got {list(self.std)}")
        if scale is not None and not isinstance(scale, int | float):
            raise InputError(f"view: scale is the value of white, a number, got {scale!r}")
        if scale is not None and not scale > 0:
            raise InputError(f"view: scale is the value of white and must be > 0, got {scale}")
        self.channels = (channels,) if isinstance(channels, int) else None if channels is None else tuple(channels)
        if self.channels is not None and len(self.channels) not in (1, 3):
            raise InputError(f"view: channels are red, green and blue, or one of lightness, got {self.channels}")
        self.given, self.scale = scale, scale
        self._within = False  # whether a batch has kept to the range
        self._checks = 8  # batches on a device that are still looked at: that waits for the device

    @property
    def normalised(self) -> bool:
        return self.mean is not None

    @property
    def grey(self) -> bool:
        """Whether one channel is all there is of colour."""
        return len(self.channels or ()) == 1

    def look(self, images: Any) -> None:
        """Find what was not given in the first batch, and see that every batch keeps to it.

        Raises:
            InputError: channels or values that cannot be told, or that lie outside the range that was taken.
        """
        if self.channels is None:
            self.channels = _channels(int(images[0].shape[0]), int(images[0].shape[-1]))
        there = int(images[0].shape[0])
        if not all(-there <= channel < there for channel in self.channels):
            raise InputError(f"view: channels {self.channels} are not among the images' {there}")
        dtype = images[0].dtype
        if dtype == torch.bool:
            raise InputError("view: bool images have no colours: give them as numbers")
        if dtype == torch.uint8 and not self.normalised:
            if self.given not in (None, 255):
                raise InputError(f"view: white of 8-bit images is 255, got scale={self.given:g}")
            self.scale = 255.0
            return
        if images[0].device.type != "cpu":
            if not self._checks:
                return
            self._checks -= 1
        low, high = self._range(images)
        if self.scale is None:
            self.scale = self._found(low, high, dtype)
        self._check(low, high, self.scale)

    def _range(self, images: Any) -> tuple[float, float]:
        ends = [torch.stack(value.aminmax()) for value in self._values(images)]
        low, high = torch.stack([torch.stack(ends)[:, 0].amin(), torch.stack(ends)[:, 1].amax()]).tolist()
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            raise InputError("view: the images hold NaN or infinite values")
        return low, high

    def _found(self, low: float, high: float, dtype: torch.dtype) -> float:
        if not dtype.is_floating_point:
            if high > 255:
                raise InputError(f"view: {dtype} images up to {high:g}: say what white is, View(scale=65535)")
            if high <= 1:
                raise InputError(f"view: {dtype} images up to {high:g}: say what white is, View(scale=...)")
            return 255.0
        if not self.normalised and low >= 0 and high <= 1 / 255:
            raise InputError("view: the first batch is black: say what white is, View(scale=1) or View(scale=255)")
        return 255.0 if high > _LIGHT else 1.0  # between that and black of 255 levels lies what has been normalised

    def _check(self, low: float, high: float, scale: float) -> None:
        if low >= -_SLACK * scale and high <= scale * (1 + _SLACK):
            self._within = True
            return
        near = low >= -_OVERSHOOT * scale and high <= scale * (1 + _OVERSHOOT)
        if near and (self.given is not None or (self._within and not self.normalised)):
            return  # what overshoots is cut off where it is converted
        if self.normalised:
            raise InputError(
                f"view: undoing mean and std gives values from {low:.3g} to {high:.3g} outside [0, {scale:g}]: give "
                "those that the images were normalised with, the same for all samples, or scale too where white is "
                "known and values overshoot"
            )
        if low < -_SLACK:
            raise InputError(
                f"view: images from {low:.3g} to {high:.3g}: give View(mean=..., std=...) where they were normalised, "
                "or View(scale=1) where white is 1 and values overshoot; what differs from sample to sample cannot be "
                "undone"
            )
        raise InputError(f"view: images up to {high:g} where white is {scale:g}: say what it is, View(scale=...)")

    def _values(self, images: Any) -> Iterator[Tensor]:
        for image in [images] if isinstance(images, Tensor) else images:
            yield self._denormalised(plain_tensor(image.detach()))

    def _statistics(self, image: Tensor) -> tuple[Tensor, Tensor] | None:
        """mean and std of the picked channels, (C, 1, 1)."""
        if self.mean is None or self.std is None:
            return None
        there = image.shape[-3]
        if not {len(self.mean), len(self.std)} <= {1, there}:
            raise InputError(
                f"view: mean and std have {len(self.mean)} and {len(self.std)} values and the images {there} channels"
            )
        both = torch.stack([torch.tensor(values).expand(there) for values in (self.mean, self.std)])
        both = both[:, list(self.channels or ())]
        mean, std = both.to(image.device, non_blocking=True)[..., None, None]
        return mean, std

    def _denormalised(self, image: Tensor) -> Tensor:
        """(..., C, H, W) float32, or uint8 as it is, of the picked channels in [0, scale]."""
        channels = self.channels or ()
        picked = image if channels == tuple(range(image.shape[-3])) else image[..., list(channels), :, :]
        statistics = self._statistics(image)
        if statistics is None:
            return picked if picked.dtype == torch.uint8 else picked.float()
        return picked.float() * statistics[1] + statistics[0]

    def levels(self, image: Tensor) -> Tensor:
        """(..., 3, H, W) uint8 of an image or a batch (..., C, H, W)."""
        value = self._denormalised(plain_tensor(image.detach()))
        if value.dtype != torch.uint8:
            value = (value * (255 / (self.scale or 255))).round_().clamp_(0, 255).byte()
        return value.expand(*value.shape[:-3], 3, *value.shape[-2:])

    def written(self, image: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """The image with other levels; where a level is as before, the original value stays.

        Args:
            image: (..., C, H, W), as the user has it.
            before, after: (..., 3, H, W) uint8.
        """
        channels = list(self.channels or ())
        old, levels = before[..., : len(channels), :, :], after[..., : len(channels), :, :]
        plain = plain_tensor(image)
        value: Tensor = levels
        if image.dtype != torch.uint8 or self.normalised:
            value = levels.float() * ((self.scale or 255) / 255)
            statistics = self._statistics(plain)
            if statistics is not None:
                value = (value - statistics[0]) / statistics[1]
            if not image.dtype.is_floating_point:
                value = value.round()
        value = value.to(image.dtype)
        if channels == list(range(image.shape[-3])):
            return typed_like(image, torch.where(levels == old, plain, value))
        new = plain.clone()
        new[..., channels, :, :] = torch.where(levels == old, plain[..., channels, :, :], value)
        return typed_like(image, new)


def size_of(images: Any, name: str) -> tuple[int, int]:
    """Height and width of the first image.

    Raises:
        InputError: no images.
    """
    good = isinstance(images, Tensor) and images.ndim == 4
    if not good and isinstance(images, Sequence) and images:
        good = all(isinstance(image, Tensor) and image.ndim == 3 for image in images)
    if not good:
        inside = images[0] if isinstance(images, Sequence) and images else images
        batches = isinstance(inside, Tensor) and inside is not images and inside.ndim == 4
        if batches or isinstance(images, Mapping) or isinstance(inside, Sequence | Mapping):
            raise InputError(
                f"view: {name} holds no images but a container: say which part of the batch is mined, View(part=...), "
                "or where the images are, View(image=...)"
            )
        shape = f"{tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise InputError(f"view: {name} must be images (B, C, H, W) or a list of (C, H, W), got {shape}")
    return int(images[0].shape[-2]), int(images[0].shape[-1])


def _channels(there: int, last: int) -> tuple[int, ...]:
    if there == 1:
        return (0,)
    if there != 3:
        if last in (1, 3):
            raise InputError(f"view: the images have {there} channels: channels come first, (B, C, H, W)")
        raise InputError(
            f"view: the images have {there} channels: say which are red, green and blue, View(channels=(0, 1, 2)), or "
            "which one is lightness, View(channels=0)"
        )
    return (0, 1, 2)


def _numbers(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(torch.as_tensor(values, dtype=torch.float64).flatten().tolist())
