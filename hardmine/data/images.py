"""Reading images strictly: what is no 8-bit RGB or no index image is refused, or converted where that is asked for."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from hardmine.errors import InputError
from hardmine.files import trouble

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")  # of images, in any case
LABEL_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # of index images: formats that keep each number as it is
TIFF = (".tif", ".tiff")
_NOT_READ = (".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".tga", ".dds", ".exr", ".hdr", ".pfm")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")  # a JPEG with a second one in it, as of a phone, is an MPO

Void = Literal[255] | None  # label of no area; None: every label is one

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
_SIXTEEN = "a 16-bit image"
_SAMPLES = 277  # tag of a TIFF: how many channels it has; Pillow hands out the first three
_CONVERTIBLE = ("RGB", "L", "LA", "RGBA", "P", "PA", "1", "CMYK")
_EXIF_OF_PNG = {"exif", "Raw profile type exif", "XML:com.adobe.xmp"}

# what Pillow warns of is large and no error, or damage, which is told in a line of ours
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\..*ImagePlugin")


def read_image(
    path: Path, size: tuple[int, int] | None = None, convert: bool = False, exact: bool = True
) -> tuple[Tensor, tuple[int, int]]:
    """An 8-bit sRGB image, turned as its EXIF orientation says.

    Args:
        path: the file.
        size: height and width to resize to (antialiased, bilinear); None keeps the image's own.
        convert: make 8-bit RGB of grey, palette, CMYK and 16-bit images (their upper 8 bits), and drop alpha channels.
        exact: decode all pixels before resizing. Otherwise a JPEG that is at least twice too large on both sides is
            decoded at a half, a quarter or an eighth of its size, which takes half of the time; values differ by less
            than one level on average.

    Returns:
        (3, H, W) uint8, and the height and width of the turned image before it is resized.

    Raises:
        InputError: missing, unreadable, or not 8-bit RGB and not to be converted.
    """
    with opened(path, "image") as image:
        look_at_mode(path, image, convert)
        own = turned_size(image)
        if size is not None and not exact and image.format == "JPEG":
            image.draft(image.mode, size if orientation_of(image) > 4 else (size[1], size[0]))
        image = rgb(ImageOps.exif_transpose(image))
        if size is not None and size != (image.height, image.width):
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image))
    return pixels.permute(2, 0, 1).contiguous(), own


def not_read(paths: Iterable[Path]) -> list[str]:
    """A line on the images among files whose format is none of those that are read."""
    others = sorted(path for path in paths if path.suffix.lower() in _NOT_READ and not path.name.startswith("."))
    counted = f"{len(others)} images are of a format that is not read"
    return [f"{counted} ({others[0]}): convert them to PNG"] if others else []


def look_at_mode(path: Path, image: Image.Image, convert: bool) -> None:
    """See that an open image is 8-bit RGB, or can be made so where it is to be.

    Raises:
        InputError: it is not.
    """
    kind = kind_of(image)
    if image.mode not in _CONVERTIBLE and kind != _SIXTEEN:
        raise InputError(f"{path}: {kind}, whose range is not known: convert it to 8-bit RGB")
    if not convert and kind != _KINDS["RGB"]:
        said = ", or say which are its colours by data.channels (not of image_folder)" if "channels" in kind else ""
        raise InputError(f"{path}: {kind}: convert it to 8-bit RGB, or set `convert`=true{said}", "data")


def rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of whatever `look_at_mode` lets pass."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # transparent colours of a palette stay what they are
    return image if image.mode == "RGB" else image.convert("RGB")


def kind_of(image: Image.Image) -> str:
    """What an open image is, in words; before its pixels are decoded."""
    stored = stored_as(image)
    if ";16" in stored and stored[0] != "B" and stored[-1] != "S":  # BGR;16 is 16 bits of a pixel; S has a sign
        return _SIXTEEN
    if image.format == "TIFF" and image.mode == "RGB" and (count := image.tag_v2.get(_SAMPLES, 3)) > 3:  # type: ignore[attr-defined]
        return f"an RGB image with {count} channels"
    if image.mode == "L" and stored != "L":
        return f"a grey image that is stored as {stored}"
    return _KINDS.get(image.mode, f"an image of mode {image.mode}")


def stored_as(image: Image.Image) -> str:
    """How the file of an open image has its pixels, in Pillow's words: `RGB;16B`, `L;4` of four bits, `L;I` inverted.

    Pillow hands all of these out as plain `RGB` and `L`.
    """
    if not image.tile:  # type: ignore[attr-defined]  # of WebP, which knows nothing but 8 bits
        return image.mode
    decoder, _, _, told = image.tile[0]  # type: ignore[attr-defined]
    stored: str = told if isinstance(told, str) else told[0]
    return f"{stored};16" if decoder.startswith("ppm") and told[1] > 255 else stored


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation: 1 upright, 2 to 4 mirrored or upside down, 5 to 8 with height and width exchanged."""
    if image.format == "PNG" and not _EXIF_OF_PNG & image.info.keys():
        return 1  # Pillow would decode all of it to look behind the pixels
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def turned_size(image: Image.Image) -> tuple[int, int]:
    """Height and width of an image once it is turned, by its header alone."""
    turned = orientation_of(image) > 4 and image.format != "TIFF"  # of which Pillow tells the turned size
    return (image.width, image.height) if turned else (image.height, image.width)


@contextmanager
def opened(path: Path, what: str) -> Iterator[Image.Image]:
    """An image file whose header has been read.

    Args:
        path: the file.
        what: it is, for the message.

    Raises:
        InputError: no file, none of the known formats, several pictures in one, or (while it is open) damage.
    """
    why = trouble(path)
    if why == "no such file":
        raise InputError(f"{path}: this {what} is missing: add the file, or take it out of the list of images")
    if why:
        raise InputError(f"{path}: this {what} cannot be read ({why}): replace it")
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise InputError(f"{path}: this {what} has {image.n_frames} frames or pages: save one")  # type: ignore[attr-defined]
            yield image
    except InputError:
        raise
    except Exception as error:  # what Pillow's decoders raise of a damaged file is any of a dozen kinds
        unknown = isinstance(error, UnidentifiedImageError)
        if unknown and what == "image" and path.suffix.lower() in TIFF:
            raise InputError(
                f"{path}: this image cannot be read (no TIFF of 8-bit RGB): replace the file, or say its "
                "values and channels by data.value_range and data.channels (not of image_folder)"
            ) from None
        reason = f"none of {', '.join(_FORMATS)}" if unknown else next(iter(str(error).splitlines()), "")
        raise InputError(
            f"{path}: this {what} cannot be read ({reason or type(error).__name__}): replace the file"
        ) from None
