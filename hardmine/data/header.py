"""What image files are, before any of them is trained on: formats, sizes, labels, and whether the files are whole."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from hardmine.data.images import Void, kind_of, look_at_mode, opened, read_labels
from hardmine.errors import InputError
from hardmine.records import VOID

_EXIF_OF_PNG = {"exif", "Raw profile type exif", "XML:com.adobe.xmp"}


@dataclass(frozen=True)
class Header:
    """What is known of an image file without its pixels.

    Attributes:
        path: the file.
        size: height and width of the image as it is read, pixels.
        turned: whether its EXIF orientation turns or mirrors it.
        converted: what it is, where 8-bit RGB is made of it.
        labels: of an index image, those that are in it.
    """

    path: Path
    size: tuple[int, int]
    turned: bool = False
    converted: str | None = None
    labels: frozenset[int] = frozenset()


def look_at_image(path: Path, convert: bool = False) -> Header:
    """Open an image without decoding it, and see that its file is whole.

    Of a PNG all checksums are compared, of a JPEG the end must be there; images of other formats are decoded.

    Args:
        path, convert: see `read_image`.

    Raises:
        InputError: see `read_image`.
    """
    with opened(path, "image") as image:
        look_at_mode(path, image, convert)
        converted = kind_of(image) if convert else None
        orientation = _orientation(image)
        size = (image.height, image.width)
        if orientation > 4 and image.format != "TIFF":  # of which Pillow tells the turned size
            size = size[::-1]
        _look_at_whole(path, image)
    return Header(path, size, orientation > 1, None if converted == "an RGB image" else converted)


def look_at_regions(path: Path, areas: int, void: Void = VOID) -> Header:
    """Decode an index image, which costs little, and see what labels it has.

    Args:
        path, areas, void: see `read_regions`.

    Raises:
        InputError: see `read_regions`.
    """
    with opened(path, "index image") as image:
        turned = _orientation(image) > 1
        labels = read_labels(path, image, areas, void)
    there = np.bincount(labels.ravel(), minlength=1).nonzero()[0]
    return Header(path, (labels.shape[0], labels.shape[1]), turned, labels=frozenset(there.tolist()))


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
    drawn = [header for header in headers if header.labels]
    labels = frozenset().union(*(header.labels for header in drawn))
    if drawn and areas > 1 and len(labels - {VOID}) < 2:
        of_void = f" and {VOID}, which is void: set data.void=null if {VOID} is a class" if VOID in labels else ""
        only = ", ".join(map(str, sorted(labels - {VOID}))) or "none"
        lines.append(f"{drawn[0].path.parent}: the only label of all index images is {only}{of_void}")
    return lines


def _orientation(image: Image.Image) -> int:
    """1 upright, 2 to 4 mirrored or upside down, 5 to 8 with height and width exchanged."""
    if image.format == "PNG" and not _EXIF_OF_PNG & image.info.keys():
        return 1  # Pillow would decode all of it to look behind the pixels
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def _look_at_whole(path: Path, image: Image.Image) -> None:
    if image.format == "PNG":
        image.verify()
    elif image.format not in ("JPEG", "MPO"):
        image.load()
    elif not _ends(path.read_bytes()):
        raise InputError(f"{path}: this image cannot be read (it is cut off): replace the file")


def _ends(content: bytes) -> bool:
    """Whether a JPEG has the mark of its end after its first scan; a thumbnail before that has marks of its own."""
    place = 2
    while content[place : place + 1] == b"\xff" and content[place + 1 : place + 2] != b"\xda":
        fill = content[place + 1 : place + 2] == b"\xff"
        place += 1 if fill else 2 + int.from_bytes(content[place + 2 : place + 4])
    return content.find(b"\xff\xd9", place) >= 0
