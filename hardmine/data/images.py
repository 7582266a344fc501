"""Reading images strictly: what is not 8-bit RGB or a plain index image is refused, never guessed at."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from hardmine.errors import InputError
from hardmine.records import VOID

_KINDS = {
    "L": "a grey image",
    "LA": "a grey image with an alpha channel",
    "RGBA": "an image with an alpha channel (RGBA)",
    "P": "a palette image",
    "PA": "a palette image with an alpha channel",
    "1": "a black-and-white image",
    "CMYK": "a CMYK image",
    "I": "a 32-bit image",
    "F": "a floating-point image",
    "RGB": "an RGB image",
}


def read_image(path: Path, size: tuple[int, int] | None = None) -> tuple[Tensor, tuple[int, int]]:
    """An 8-bit sRGB image.

    Args:
        path: the file.
        size: height and width to resize to (antialiased, bilinear); None keeps the image's own.

    Returns:
        (3, H, W) uint8, and the height and width in the file.

    Raises:
        InputError: missing, unreadable, or not 8-bit RGB.
    """
    with _opened(path, "image") as image:
        if image.mode != "RGB":
            raise InputError(f"{path}: {_kind(image)}: convert it to 8-bit RGB")
        own = (image.height, image.width)
        if size is not None and size != own:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image))
    return pixels.permute(2, 0, 1).contiguous(), own


def read_regions(path: Path, areas: int, size: tuple[int, int] | None = None) -> tuple[Tensor, tuple[int, int]]:
    """An index image: one area label per pixel, 255 void. Of a palette image the indices are the labels.

    Args:
        path: the file.
        areas: number of areas; labels are 0 to areas - 1.
        size: height and width to resize to (nearest pixel); None keeps the image's own.

    Returns:
        (H, W) uint8, and the height and width in the file.

    Raises:
        InputError: missing, unreadable, not 8-bit with one channel, or a label out of range.
    """
    with _opened(path, "index image") as image:
        if image.mode not in ("L", "P"):
            raise InputError(f"{path}: {_kind(image)}: an index image has one 8-bit channel of labels")
        own = (image.height, image.width)
        labels = np.array(image)
        if size is not None and size != own:
            image = Image.fromarray(labels).resize((size[1], size[0]), Image.Resampling.NEAREST)
        pixels = torch.from_numpy(np.array(image))
    strange = (labels >= areas) & (labels != VOID)
    if strange.any():
        raise InputError(
            f"{path}: label {labels[strange][0]} is out of range: classes.csv names 0 to {areas - 1}, {VOID} is void"
        )
    return pixels, own


def _kind(image: Image.Image) -> str:
    return (
        "a 16-bit image" if image.mode.startswith("I;16") else _KINDS.get(image.mode, f"an image of mode {image.mode}")
    )


@contextmanager
def _opened(path: Path, what: str) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            if image.format == "PNG" and _png_depth(path) == b"\x10":  # Pillow shows 16-bit RGB as plain RGB
                raise InputError(f"{path}: a 16-bit image: convert it to 8 bits per channel")
            yield image
    except FileNotFoundError:
        raise InputError(f"{path}: this {what} is missing: add the file or drop its row from metadata.csv") from None
    except InputError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: this {what} cannot be read ({reason}): replace the file") from None


def _png_depth(path: Path) -> bytes:
    """Bit depth from the IHDR chunk."""
    with path.open("rb") as file:
        return file.read(25)[24:25]
