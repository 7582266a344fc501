"""Images of more than eight bits or three channels (`data.channels`, `data.value_range`)."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from hardmine.data import FolderData
from hardmine.data.bands import Bands
from hardmine.errors import InputError

SIZE = (32, 40)  # H, W


def values(channels: int, top: int = 4096, kind: Any = np.uint16) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, top, (*SIZE, channels)).astype(kind)


def as_levels(picked: np.ndarray, low: float, high: float) -> torch.Tensor:
    """By torch, pixel by pixel."""
    scaled = (torch.from_numpy(picked.astype(np.float64)) - low) / (high - low) * 255
    return scaled.round().clamp(0, 255).byte().permute(2, 0, 1)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("channels", [None, [4, 2, 0]])
def test_colors_of_a_tiff(channels: list[int] | None, planar: str, tmp_path: Path) -> None:
    there = values(3 if channels is None else 5)
    stored = there if planar == "contig" else np.moveaxis(there, 2, 0)
    photometric = "rgb" if channels is None else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric, planarconfig=planar, compression="zlib")
    image, own = Bands(channels, [100, 4000]).read(tmp_path / "a.tif")
    assert own == SIZE and image.dtype == torch.uint8
    assert torch.equal(image, as_levels(there[:, :, channels or [0, 1, 2]], 100, 4000))
    assert Bands(channels, [0, 4095]).read(tmp_path / "a.tif", (16, 20))[0].shape == (3, 16, 20)


def test_sixteen_bits_of_grey(tmp_path: Path) -> None:
    grey = values(1)[:, :, 0]
    Image.fromarray(grey).save(tmp_path / "a.png")
    image, _ = Bands(None, [0, 4095]).read(tmp_path / "a.png")
    assert torch.equal(image, as_levels(grey[:, :, None].repeat(3, 2), 0, 4095))


def test_what_is_clipped_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in (folder / "images").iterdir():
        tifffile.imwrite(path.with_suffix(".tif"), values(4), photometric="minisblack", planarconfig="contig")
        path.unlink()
    data = FolderData(str(folder), size=SIZE, channels=[2, 1, 0], value_range=[0, 2047], flip=False)
    data.look()
    assert "13 images have values outside of data.value_range" not in caplog.text  # targets are not trained on
    assert "10 images have values outside of data.value_range, which are clipped" in caplog.text
    assert torch.equal(data.split("train")[0]["image"], as_levels(values(4)[:, :, [2, 1, 0]], 0, 2047))


@pytest.mark.parametrize(
    ("there", "more", "line"),
    [
        (values(5), {"value_range": [0, 1]}, "5 channels: set channels=[0,1,2] to those that are red"),
        (values(5), {"channels": [0, 1, 5], "value_range": [0, 1]}, "5 channels, channels wants 5 (from 0)"),
        (values(3), {"channels": [0, 1, 2]}, "set value_range to the values of black and white"),
        (values(3), {"channels": [0, 1]}, "channels are red, green and blue, three numbers from 0, got [0, 1]"),
        (values(3), {"value_range": [9, 1]}, "value_range is of black and white"),
        (values(3), {"value_range": [0, 1], "convert": True}, "both make 8-bit RGB: set one of them"),
        (values(3).astype(np.float32) * np.inf, {"value_range": [0, 1]}, "NaN or infinite"),
        (values(3)[None].repeat(2, 0), {"value_range": [0, 1]}, "is no image of channels"),
        (None, {"value_range": [0, 1]}, "this image cannot be read"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    there: np.ndarray | None, more: dict[str, Any], line: str, folder: Path
) -> None:
    (folder / "images/p00.png").unlink()
    if there is None:
        (folder / "images/p00.tif").write_bytes(b"II*\0 and no more")
    else:
        tifffile.imwrite(folder / "images/p00.tif", there, photometric="minisblack", planarconfig="contig")
    with pytest.raises(InputError, match=re.escape(line)):
        FolderData(str(folder), **more).look()


def test_channels_are_not_dropped_in_silence(folder: Path) -> None:
    path = folder / "images/p00.tif"
    (folder / "images/p00.png").unlink()
    eight = values(4, 256, np.uint8)
    tifffile.imwrite(path, eight, photometric="rgb", extrasamples=["unspecified"])
    with pytest.raises(InputError, match=r"p00\.tif: an RGB image with 4 channels: .* by data\.channels"):
        FolderData(str(folder)).look()
    image = FolderData(str(folder), convert=True, size=SIZE, flip=False).split("train")[0]["image"]
    assert torch.equal(image, torch.from_numpy(eight[:, :, :3]).permute(2, 0, 1))
    with tifffile.TiffWriter(path) as file:
        for kind in (0, 1):  # the second one is a small copy
            small = eight[:: 1 + kind, :: 1 + kind, :3]
            file.write(np.ascontiguousarray(small), photometric="rgb", subfiletype=kind)
    FolderData(str(folder), channels=[0, 1, 2]).look()
    with tifffile.TiffWriter(path) as file:
        for _ in range(2):
            file.write(eight[:, :, :3], photometric="rgb")
    with pytest.raises(InputError, match=r"p00\.tif: this TIFF has 2 pictures: save one"):
        FolderData(str(folder), channels=[0, 1, 2]).look()


def test_a_tiff_that_needs_more_said_names_the_keys(folder: Path) -> None:
    (folder / "images/p00.png").unlink()
    tifffile.imwrite(folder / "images/p00.tif", values(4), photometric="minisblack", planarconfig="contig")
    with pytest.raises(InputError, match=r"no TIFF of 8-bit RGB.* by data\.value_range and data\.channels"):
        FolderData(str(folder)).look()
