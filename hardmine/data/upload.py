"""An image that a person hands over: bounded, and read by what reads the data of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from hardmine.data.coding import Coding, Indices, read_regions
from hardmine.data.header import size_of
from hardmine.data.images import read_image
from hardmine.data.index_images import Predictor
from hardmine.data.labelled import Sample
from hardmine.data.layout import LayoutData
from hardmine.data.module import LabelledData
from hardmine.errors import InputError
from hardmine.records import VOID

MOST_BYTES = 32 * 2**20
MOST_PIXELS = 50_000_000  # decoded, some 200 MB


@dataclass(frozen=True)
class Uploaded:
    """A file that was read.

    Attributes:
        name: as the person calls it.
        pixels: image (3, H, W) or index image (H, W), uint8, at the size that the network takes.
        own: height and width before.
    """

    name: str
    pixels: Tensor
    own: tuple[int, int]


class Uploads:
    """Makes samples of uploaded files, as if they were of the data of a run.

    Args:
        data: of the run.

    Attributes:
        needs_index: an image alone is no sample; its index image must come too.
        takes_index: an index image may come with it.
    """

    def __init__(self, data: LabelledData) -> None:
        self.data, self._layout = data, data.layout if isinstance(data, LayoutData) else None
        regions = "labels" if self._layout is None else self._layout.regions
        self._maker: Predictor | None = None if self._layout is None else self._layout.maker
        self.needs_index = data.kind == "masks" or regions == "labels"
        self.takes_index = self.needs_index or regions == "boxes"
        self._drawn_areas = regions in ("labels", "boxes")  # the index image tells the areas, not just the classes

    def look(self) -> None:
        """See that images can be uploaded for this data at all.

        Raises:
            InputError: it is read in a way that uploads are not.
        """
        if self._layout is not None and self._layout.bands is not None:
            raise InputError("uploads are 8-bit RGB, and data.channels or data.value_range says otherwise here")

    def image(self, name: str, content: bytes) -> Uploaded:
        """An image file.

        Raises:
            InputError: too large, damaged, or not what the run reads.
        """
        self.look()
        convert = self._layout is not None and self._layout.convert
        exact = self._layout is None or self._layout.exact_resize
        with _on_disk(name, content, "image") as path:
            pixels, own = read_image(path, self._size, convert, exact)
        if getattr(self.data, "tiles", False) and own != self._size:
            height, width = self._size
            raise InputError(
                f"{name}: {own[1]} x {own[0]} pixels, with data.tiles=true an image is a tile of {width} x {height}: "
                "cut one out"
            )
        return Uploaded(name, pixels, own)

    def index(self, name: str, content: bytes) -> Uploaded:
        """An index image file; see `image`."""
        with _on_disk(name, content, "index image") as path:
            pixels, own = read_regions(path, self._coding, self._size)
        return Uploaded(name, pixels, own)

    def sample(self, image: Uploaded, index: Uploaded | None, label: int | None = None) -> Sample:
        """Both as the data set would yield them.

        Args:
            image: that was uploaded.
            index: its index image, where one was.
            label: its class, where images have one.

        Raises:
            InputError: the index image is missing, or of another size.
        """
        if index is None and self.needs_index:
            raise InputError(f"{image.name}: its index image is missing: upload it as well")
        if index is not None and index.own != image.own:
            (high, wide), (height, width) = index.own, image.own
            raise InputError(
                f"{index.name}: {wide} x {high} pixels, its image has {width} x {height}: make both the same size"
            )
        drawn = None if index is None else index.pixels
        if self._drawn_areas:
            rest = len(self.data.areas) - 1
            regions = torch.full(self._size, rest, dtype=torch.uint8) if drawn is None else drawn
        else:
            assert self._maker is not None
            regions = self._maker(image.pixels)
        sample = {"image": image.pixels, "regions": regions, "index": torch.tensor(0), "environment": torch.tensor(0)}
        if self.data.kind == "masks":
            void = torch.full(self._size, VOID, dtype=torch.uint8)
            return {**sample, "target": void if drawn is None else drawn}
        if self.data.kind == "classes":
            return {**sample, "target": torch.tensor(-1 if label is None else label)}
        return {**sample, "boxes": torch.zeros(1, 4), "labels": torch.full((1,), -1)}

    @property
    def _size(self) -> tuple[int, int]:
        """Height and width that the network takes."""
        first = next(filter(self.data.has, ("train", "val", "test", "target")))
        height, width = self.data.split(first).pixels(0)[1].shape
        return height, width

    @property
    def _coding(self) -> Coding:
        if self._layout is None or self._layout.regions == "boxes":
            return Indices(len(self.data.areas), source="the run")
        return self._layout.coding


@contextmanager
def _on_disk(name: str, content: bytes, what: str) -> Iterator[Path]:
    """The file in a folder of its own, which goes at the end; messages have its name alone.

    Raises:
        InputError: too many bytes or pixels, or what is raised inside.
    """
    if len(content) > MOST_BYTES:
        raise InputError(f"{name}: {len(content) / 2**20:.0f} MB: at most {MOST_BYTES >> 20} MB can be uploaded")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        try:
            path.write_bytes(content)
            height, width = size_of(path)
            if height * width > MOST_PIXELS:
                raise InputError(
                    f"{path}: {width} x {height} pixels: at most {MOST_PIXELS // 10**6} million can be uploaded"
                )
            yield path
        except InputError as error:
            raise InputError(error.keyed.replace(str(path), name)) from None
