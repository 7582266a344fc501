"""Augmentation of colours: drawn from torch's generator alone, replayed by a recipe's view, blind to labels."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import make_images
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import default_collate

from hardmine.cli.build import build_data
from hardmine.data import PhotometricTrivialAugment, RiversideData
from hardmine.data.replay import Replayed
from hardmine.errors import InputError
from hardmine.records import Recipe

Configured = Callable[..., DictConfig]
OPTIONS = ["color_jitter", "trivial_augment"]
IMAGE = make_images(1)[0][0]


def built(configured: Configured, option: str) -> Callable[[Tensor], Tensor]:
    augment: Callable[[Tensor], Tensor] = instantiate(configured(f"augment={option}").augment, _convert_="all")
    return augment


def drawn(augment: Callable[[Tensor], Tensor], image: Tensor = IMAGE, times: int = 200) -> list[Tensor]:
    made = []
    for seed in range(times):
        torch.manual_seed(seed)
        made.append(augment(image))
    return made


@pytest.mark.parametrize("option", OPTIONS)
def test_about_half_of_the_images_change(option: str, configured: Configured) -> None:
    image = IMAGE.clone()
    made = drawn(built(configured, option), image)
    assert torch.equal(image, IMAGE)
    assert all(one.dtype == torch.uint8 and one.shape == IMAGE.shape for one in made)
    changed = sum(not torch.equal(one, IMAGE) for one in made)
    assert 70 < changed < 130  # identity is one of nine operations of trivial_augment


@pytest.mark.parametrize("option", OPTIONS)
def test_chance_is_torchs_alone(option: str, configured: Configured) -> None:
    augment = built(configured, option)
    one = drawn(augment, times=40)
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002  # the global generator is what is looked at
    python, numpy = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    assert all(map(torch.equal, one, drawn(augment, times=40)))
    assert random.getstate() == python
    assert repr(np.random.get_state()) == numpy  # noqa: NPY002


def test_every_operation_stays_in_its_place() -> None:
    """A pixel's new colour follows from the colours around it: what is uniform stays so, but for sharpened edges."""
    image = torch.tensor([30, 90, 150], dtype=torch.uint8)[:, None, None].repeat(1, 24, 24)
    image[:, 8:16, 4:12] = torch.tensor([200, 120, 40], dtype=torch.uint8)[:, None, None]
    seen = set()
    for made in drawn(PhotometricTrivialAugment(), image):
        inner, outer = made[:, 9:15, 5:11].flatten(1), torch.cat([made[:, :7].flatten(1), made[:, 17:].flatten(1)], 1)
        assert (inner == inner[:, :1]).all() and (outer == outer[:, :1]).all()
        seen.add((tuple(inner[:, 0].tolist()), tuple(outer[:, 0].tolist())))
    assert len(seen) > 50
    assert len(PhotometricTrivialAugment._AUGMENTATION_SPACE) == 9


@pytest.mark.parametrize("option", OPTIONS)
def test_a_recipe_gives_the_same_bits_again(option: str, configured: Configured) -> None:
    data = build_data(configured(f"augment={option}"))
    images = data.split("train")
    replayed = Replayed(images, default_collate)
    recipe = Recipe.clean(torch.arange(12), torch.arange(100, 112), 5, 6)
    one = replayed[recipe]
    torch.rand(5)  # chance of the rest of the run
    two = replayed[recipe]
    assert all(torch.equal(one[name], two[name]) for name in one)
    alone = replayed[recipe[7:8]]
    assert torch.equal(alone["image"][0], one["image"][7])
    plain = Replayed(build_data(configured()).split("train"), default_collate)[recipe]
    assert torch.equal(one["regions"], plain["regions"])
    same = (one["image"] == plain["image"]).flatten(1).all(1)
    assert same.any() and not same.all()  # mirrored alike, some changed


def test_training_images_alone_are_changed(configured: Configured) -> None:
    data = build_data(configured("augment=color_jitter"))
    assert data.split("train").augment is not None
    assert all(data.split(name).augment is None for name in ("val", "test", "target"))
    assert build_data(configured()).split("train").augment is None


def test_what_is_kept_in_memory_stays() -> None:
    images = RiversideData(size=(32, 32), counts={"train": 2}, flip=False, augment=lambda image: 255 - image).split(
        "train"
    )
    image = images.pixels(1)[0].clone()
    assert torch.equal(images[1]["image"], 255 - image)
    assert torch.equal(images.pixels(1)[0], image)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda image: image / 255, "it made .3, 32, 40. torch.float32"),
        (lambda image: image[:, 1:], "it made .3, 31, 40. torch.uint8"),
    ],
)
def test_an_augmentation_that_is_not_of_colours(augment: Callable[[Tensor], Tensor], message: str) -> None:
    data = RiversideData(size=(32, 40), counts={"train": 2}, augment=augment)
    with pytest.raises(InputError, match=rf"augment must keep an image .3, 32, 40. uint8, {message}"):
        data.split("train")[0]
