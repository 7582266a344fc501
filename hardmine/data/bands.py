"""Images of more than eight bits or three channels: which are colours, and which range they have."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hardmine.data.header import Header
from hardmine.data.images import TIFF, kind_of, opened, orientation_of
from hardmine.errors import InputError
from hardmine.files import trouble

_CLIPPED = 0.01  # share of values outside of the range that is told


@dataclass(frozen=True)
class Bands:
    """Makes 8-bit RGB of images with other values or channels. Networks are trained on 8 bits of three channels.

    Attributes:
        channels: which are red, green and blue, from 0; None takes three as they are, and one as grey.
        range: values that become 0 and 255, in a line; what lies outside is clipped. None takes 8-bit values as they
            are.
    """

    channels: Sequence[int] | None
    range: Sequence[float] | None

    def __post_init__(self) -> None:
        if self.channels is not None and (len(self.channels) != 3 or min(self.channels) < 0):
            raise InputError(
                f"`channels` are red, green and blue, three numbers from 0, got {list(self.channels)}: networks get "
                "these; for more, see View(channels=...) in your own Lightning project",
                "data",
            )
        if self.range is not None and not (len(self.range) == 2 and self.range[0] < self.range[1]):
            raise InputError(f"`value_range` is of black and white, [0,65535], got {list(self.range)}", "data")

    def look(self, path: Path) -> Header:
        """Decode an image, and see what of it is clipped.

        Raises:
            InputError: see `read`.
        """
        values = self._picked(path)
        low, high = self.range or (0, 255)
        outside = float(((values < low) | (values > high)).mean())
        return Header(path, (values.shape[0], values.shape[1]), clipped=outside if outside > _CLIPPED else 0.0)

    def read(self, path: Path, size: tuple[int, int] | None = None) -> tuple[Tensor, tuple[int, int]]:
        """An image as 8-bit RGB, see `read_image`.

        Raises:
            InputError: missing, unreadable, or channels or values of which nothing is said.
        """
        values = self._picked(path)
        if self.range is not None:
            low, high = self.range
            values = ((values.astype(np.float64) - low) * (255 / (high - low))).round().clip(0, 255)
        pixels = np.ascontiguousarray(values.astype(np.uint8))
        own = (pixels.shape[0], pixels.shape[1])
        if size is not None and size != own:
            pixels = np.array(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), own

    def _picked(self, path: Path) -> np.ndarray:
        """(H, W, 3) values of the colours."""
        values = _tiff(path) if path.suffix.lower() in TIFF else _other(path)
        if values.dtype != np.uint8 and self.range is None:
            found = f"{values.dtype} from {values.min()} to {values.max()}"
            raise InputError(
                f"{path}: {found}: set `value_range` to the values of black and white, the same for all images",
                "data",
            )
        if not np.isfinite(values).all():
            raise InputError(f"{path}: it has values that are NaN or infinite: replace them")
        there = values.shape[2]
        if self.channels is None:
            if there not in (1, 3):
                raise InputError(
                    f"{path}: {there} channels: set `channels`=[0,1,2] to those that are red, green and blue", "data"
                )
            return values.repeat(3, axis=2) if there == 1 else values
        if max(self.channels) >= there:
            raise InputError(f"{path}: {there} channels, `channels` wants {max(self.channels)} (from 0)", "data")
        picked: np.ndarray = values[:, :, list(self.channels)]
        return picked


def _tiff(path: Path) -> np.ndarray:
    """(H, W, C) of a TIFF, whose channels may be samples, planes or pages."""
    import tifffile

    if why := trouble(path):
        raise InputError(f"{path}: this image cannot be read ({why}): add or replace the file")
    try:
        with tifffile.TiffFile(path) as file:
            series = [each for each in file.series if not (each.keyframe.is_reduced or each.keyframe.is_mask)]
            if len(series) < 2:
                values, axes = series[0].asarray(), series[0].axes
    except Exception as error:  # of a damaged file any of a dozen kinds, and of compressions that need another package
        raise InputError(
            f"{path}: this image cannot be read ({' '.join(str(error).split())[:100]}): save it anew, without "
            "compression or with deflate"
        ) from None
    if len(series) > 1:
        raise InputError(f"{path}: this TIFF has {len(series)} pictures: save one, with all of its channels")
    if axes.count("Y") != 1 or axes.count("X") != 1 or values.ndim > 3:
        raise InputError(f"{path}: a TIFF of {values.shape} values ({axes}) is no image of channels: save it as one")
    values = np.moveaxis(values, (axes.index("Y"), axes.index("X")), (0, 1))
    return values[:, :, None] if values.ndim == 2 else values


def _other(path: Path) -> np.ndarray:
    """(H, W, C) of what Pillow reads in full: grey of 16 bits, else 8 bits."""
    with opened(path, "image") as image:
        if orientation_of(image) > 1:
            raise InputError(f"{path}: its EXIF orientation would turn it: save it without, or as TIFF")
        if (image.mode == "RGB" and "16" in kind_of(image)) or image.mode in ("P", "PA", "1", "CMYK"):
            raise InputError(f"{path}: {kind_of(image)}: of these all channels are read of TIFF alone: save it as one")
        values = np.array(image)
    return values[:, :, None] if values.ndim == 2 else values
