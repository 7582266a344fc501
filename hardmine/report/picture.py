"""Pictures as arrays, and as files."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hardmine.files import write_atomically

Picture = NDArray[np.uint8]
"""(height, width, 3) sRGB."""


def write_picture(path: Path, picture: Picture) -> None:
    """As PNG, whole or not at all."""
    write_atomically(path, lambda file: Image.fromarray(picture).save(file, "PNG"))
