"""Pictures as arrays, and as files."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hardmine.files import write_atomically

_QUALITY = 90  # at which captions and edges of areas stay sharp
Picture = NDArray[np.uint8]
"""(height, width, 3) sRGB."""


def write_picture(path: Path, picture: Picture) -> None:
    """As PNG, or where the name ends in `.webp` as WebP, a quarter of its size; whole or not at all."""
    kind: dict[str, Any] = (
        {"format": "WEBP", "quality": _QUALITY, "method": 6} if path.suffix == ".webp" else {"format": "PNG"}
    )
    write_atomically(path, lambda file: Image.fromarray(picture).save(file, **kind))


def jpeg(picture: Picture) -> bytes:
    """For those who take no WebP."""
    kept = io.BytesIO()
    Image.fromarray(picture).save(kept, "JPEG", quality=_QUALITY - 20)
    return kept.getvalue()
