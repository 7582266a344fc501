"""What image files are, before any of them is trained on: formats, sizes, labels, and whether the files are whole."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from hardmine.data.coding import Coding
from hardmine.data.images import kind_of, look_at_mode, opened, orientation_of, turned_size
from hardmine.records import VOID


@dataclass(frozen=True)
class Header:
    """What is known of an image file without its pixels.

    Attributes:
        path: the file.
        size: height and width of the image as it is read, pixels.
        turned: whether its EXIF orientation turns or mirrors it.
        converted: what it is, where 8-bit RGB is made of it.
        colors: name of its colour profile, where that is not sRGB.
        clipped: share of the values outside of `data.value_range`, where that is many.
        labels: of an index image, the pixels of each label in it.
    """

    path: Path
    size: tuple[int, int]
    turned: bool = False
    converted: str | None = None
    colors: str | None = None
    clipped: float = 0.0
    labels: Mapping[int, int] = field(default_factory=dict)


def look_at_image(path: Path, convert: bool = False) -> Header:
    """Open an image, and see that its file is whole.

    Of a PNG all checksums are compared, a JPEG is decoded at an eighth of its size, and other formats as they are.

    Args:
        path, convert: see `read_image`.

    Raises:
        InputError: see `read_image`.
    """
    with opened(path, "image") as image:
        look_at_mode(path, image, convert)
        converted = kind_of(image) if convert else None
        orientation, size = orientation_of(image), turned_size(image)
        colors = _other_colors(image.info.get("icc_profile"))
        _look_at_whole(image)
    return Header(path, size, orientation > 1, None if converted == "an RGB image" else converted, colors)


def size_of(path: Path) -> tuple[int, int]:
    """Height and width of an image as it is read, by its header alone.

    Raises:
        InputError: missing or unreadable.
    """
    with opened(path, "image") as image:
        return turned_size(image)


def look_at_regions(path: Path, coding: Coding) -> Header:
    """Decode an index image, which costs little, and see what labels it has.

    Args:
        path, coding: see `read_regions`.

    Raises:
        InputError: see `read_regions`.
    """
    with opened(path, "index image") as image:
        labels = coding.labels(path, image)
    pixels = np.bincount(labels.ravel(), minlength=1)
    there = {label: int(pixels[label]) for label in pixels.nonzero()[0].tolist()}
    return Header(path, (labels.shape[0], labels.shape[1]), labels=there)


def summary(headers: Iterable[Header], areas: int) -> list[str]:
    """Lines on what is taken otherwise than it may have been meant.

    Args:
        headers: of all files.
        areas: number of areas that index images may have.
    """
    headers, lines = list(headers), []
    if turned := [header for header in headers if header.turned]:
        lines.append(
            f"{len(turned)} images are turned as their EXIF orientation says ({turned[0].path}): index images and "
            "boxes must fit the turned ones"
        )
    converted = Counter(header.converted for header in headers if header.converted)
    if converted:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in converted.items())
        lines.append(f"data.convert=true: made 8-bit RGB of {kinds}")
    if others := Counter(header.colors for header in headers if header.colors):
        first = next(header.path for header in headers if header.colors)
        lines.append(
            f"{others.total()} images have a colour profile that is not sRGB ({first}: {next(iter(others))}), and are "
            "taken as sRGB: convert them, if these colours count"
        )
    if clipped := [header for header in headers if header.clipped]:
        worst = max(clipped, key=lambda header: header.clipped)
        lines.append(
            f"{len(clipped)} images have values outside of data.value_range, which are clipped ({worst.path}: "
            f"{worst.clipped:.0%} of them)"
        )
    drawn = [header for header in headers if header.labels]
    labels = frozenset[int]().union(*(header.labels for header in drawn))
    if drawn and areas > 1 and len(labels - {VOID}) < 2:
        of_void = f" and {VOID}, which is void: set data.void=null if {VOID} is a class" if VOID in labels else ""
        only = ", ".join(map(str, sorted(labels - {VOID}))) or "none"
        lines.append(f"{drawn[0].path.parent}: the only label of all index images is {only}{of_void}")
    return lines


@cache
def _other_colors(profile: bytes | None) -> str | None:
    """The name of an embedded colour profile; None of sRGB, whatever program wrote it, and where there is none."""
    if not profile:
        return None
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError, ValueError):
        return "not readable"
    return None if "srgb" in name.casefold() or "iec61966-2" in name.casefold() else name


def _look_at_whole(image: Image.Image) -> None:
    if image.format == "PNG":
        image.verify()
        return
    image.draft(None, (1, 1))  # of a JPEG an eighth of the pixels, which needs all of its data
    image.load()
