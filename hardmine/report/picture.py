"""Pictures as arrays, and as files."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hardmine.files import write_atomically

_QUALITY = 90  # at which captions and edges of areas stay sharp
Picture = NDArray[np.uint8]
"""(height, width, 3) sRGB."""


def write_picture(path: Path, picture: Picture) -> None:
    """As PNG, whole or not at all."""
    write_atomically(path, lambda file: Image.fromarray(picture).save(file, "PNG"))


def jpeg(picture: Picture) -> bytes:
    """For those who take no PNG of this size."""
    kept = io.BytesIO()
    Image.fromarray(picture).save(kept, "JPEG", quality=_QUALITY - 20)
    return kept.getvalue()
