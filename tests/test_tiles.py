"""Images larger than the network, cut in tiles (`data.tiles`)."""

import re
from pathlib import Path

import pytest
import torch

from hardmine.data import FolderData
from hardmine.data.inventory import Inventory
from hardmine.errors import InputError


@pytest.mark.parametrize("size", [(32, 40), (16, 20), (20, 16), (31, 9)])
def test_each_pixel_is_in_one_target(size: tuple[int, int], folder: Path) -> None:
    tiled = FolderData(str(folder), size=size, flip=False, tiles=True)
    whole = FolderData(str(folder), size=(32, 40), flip=False)
    tiled.look()
    tiles, images = tiled.split("test"), whole.split("test")
    for number, name in enumerate(images.ids):
        image, counted = images[number], torch.zeros(32, 40)
        for index, tile in enumerate(tiles.ids):
            if not tile.startswith(f"{name}_y"):
                continue
            top, left = map(int, re.findall(r"\d+", tile.removeprefix(name)))
            rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
            sample = tiles[index]
            assert torch.equal(sample["image"], image["image"][:, rows, columns])
            assert torch.equal(sample["regions"], image["regions"][rows, columns])
            mine = sample["target"] != 255
            assert torch.equal(sample["target"][mine], image["target"][rows, columns][mine])
            counted[rows, columns] += mine
        assert torch.equal(counted, (image["target"] != 255).float())
    assert tiles.environment[0] == images.environment[0] and len(set(tiles.ids)) == len(tiles)


def test_tiles_go_everywhere_that_images_go(folder: Path) -> None:
    data = FolderData(str(folder), size=(16, 20), tiles=True, batch_size=4)
    assert len(data.split("train")) == 24
    assert len(list(data.targets())) == 12
    assert len(Inventory.of(data, ("train",)).rows) == 24


def test_what_cannot_be_cut_is_one_line(folder: Path) -> None:
    data = FolderData(str(folder), size=(48, 40), tiles=True)
    with pytest.raises(InputError, match="40 x 32 pixels, a tile has 40 x 48: set size smaller, or tiles=false"):
        data.look()
    text = (folder / "metadata.csv").read_text().splitlines()
    (folder / "metadata.csv").write_text("\n".join([f"{text[0]},label", *(f"{line},x" for line in text[1:])]))
    with pytest.raises(InputError, match="tiles=true cuts masks; labels that are classes are of whole images"):
        FolderData(str(folder), tiles=True)
