"""The rivals that ask no model: colours changed at random, and first parameters of a store as plain augmentation."""

import random
from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from conftest import make_images, make_store
from hydra.utils import instantiate
from omegaconf import DictConfig
from quality.rivals import Augmentation, PhotometricTrivialAugment, PlainAugmentation
from quality.runs import CONFIGS
from test_tasks import trainer_of
from torch import Tensor, nn

from hardmine import ColorTransfer, InputError, Mix, Random, RecipeBuffer, Update, View
from hardmine.cli.build import build_data
from hardmine.cli.train import train
from hardmine.data import LabelledData
from hardmine.rng import global_state_kept, seed_globally

Configured = Callable[..., DictConfig]
OPTIONS = ["color_jitter", "trivial_augment"]
IMAGE = make_images(1)[0][0]
DRAWS = torch.arange(200) + 2**40


def rival(configured: Configured, method: str, *overrides: str) -> DictConfig:
    return configured(f"hydra.searchpath=['file://{CONFIGS}']", f"+method={method}", *overrides)


def built(configured: Configured, option: str) -> Augmentation:
    augmentation: Augmentation = instantiate(rival(configured, option).callbacks.augment)
    return augmentation


def changed(augmentation: Augmentation, draws: Tensor = DRAWS) -> Tensor:
    """The same image under each draw."""
    batch: Any = {"image": IMAGE.repeat(len(draws), 1, 1, 1) / 255, "draw": draws}
    given, before = batch["image"], batch["image"].clone()
    augmentation.on_train_batch_start(trainer_of(), L.LightningModule(), batch, 0)
    assert torch.equal(given, before)
    made: Tensor = batch["image"]
    assert made.shape == given.shape and made.dtype == given.dtype and made.min() >= 0 and made.max() <= 1
    return made


# colours at random


@pytest.mark.parametrize("option", OPTIONS)
def test_about_half_of_the_images_change(option: str, configured: Configured) -> None:
    differs = (changed(built(configured, option)) != IMAGE / 255).flatten(1).any(1)
    assert 70 < differs.sum() < 130  # identity is one of nine operations of trivial_augment
    with global_state_kept():
        mirrored = []
        for draw in DRAWS.tolist():  # as a data set does, under the same draw
            seed_globally(draw)
            mirrored.append(bool(torch.rand(()) < 0.5))
    assert 30 < (differs & torch.tensor(mirrored)).sum() < 70


@pytest.mark.parametrize("option", OPTIONS)
def test_a_draw_gives_the_same_bits_again(option: str, configured: Configured) -> None:
    augmentation = built(configured, option)
    states = random.getstate(), repr(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    one = changed(augmentation)
    assert random.getstate() == states[0] and repr(np.random.get_state()) == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    torch.rand(5)  # chance of the rest of the run
    assert torch.equal(changed(augmentation, DRAWS[40:80]), one[40:80])
    assert len(torch.unique(one.flatten(1), dim=0)) > 40  # each on its own


def test_every_operation_stays_in_its_place() -> None:
    """A pixel's new colour follows from the colours around it: what is uniform stays so, but for sharpened edges."""
    image = torch.tensor([30, 90, 150], dtype=torch.uint8)[:, None, None].repeat(1, 24, 24)
    image[:, 8:16, 4:12] = torch.tensor([200, 120, 40], dtype=torch.uint8)[:, None, None]
    seen = set()
    for seed in range(200):
        torch.manual_seed(seed)
        made = PhotometricTrivialAugment()(image)
        inner, outer = made[:, 9:15, 5:11].flatten(1), torch.cat([made[:, :7].flatten(1), made[:, 17:].flatten(1)], 1)
        assert (inner == inner[:, :1]).all() and (outer == outer[:, :1]).all()
        seen.add((tuple(inner[:, 0].tolist()), tuple(outer[:, 0].tolist())))
    assert len(seen) > 50
    assert len(PhotometricTrivialAugment._AUGMENTATION_SPACE) == 9


class Seen(L.LightningModule):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.batches: dict[str, list[dict[str, Tensor]]] = {"train": [], "val": []}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.batches["train"].append(dict(batch))
        return self.weight * 1

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.batches["val"].append(dict(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def seen(data: LabelledData, *callbacks: L.Callback) -> dict[str, dict[str, Tensor]]:
    module = Seen()
    settings: dict[str, Any] = {"max_steps": 3, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    trainer_of(callbacks=list(callbacks), use_distributed_sampler=False, **settings).fit(module, data)
    return {
        split: {name: torch.cat([batch[name] for batch in batches]) for name in ("image", "target", "index")}
        for split, batches in module.batches.items()
    }


def test_training_images_alone_are_changed(configured: Configured) -> None:
    plain = seen(build_data(configured()))
    one, two = (seen(build_data(configured()), built(configured, "color_jitter")) for _ in range(2))
    for name in ("target", "index"):
        assert torch.equal(one["train"][name], plain["train"][name])
    same = (one["train"]["image"] == plain["train"]["image"]).flatten(1).all(1)
    assert same.any() and not same.all()
    assert torch.equal(one["val"]["image"], plain["val"]["image"])
    assert torch.equal(one["train"]["image"], two["train"]["image"])


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda image: image / 255, r"it made \(3, 24, 32\) torch.float32"),
        (lambda image: image[:, 1:], r"it made \(3, 23, 32\) torch.uint8"),
    ],
)
def test_an_augmentation_that_is_not_of_colours(transform: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(InputError, match=rf"augment must keep an image \(3, 24, 32\) uint8, {message}"):
        changed(Augmentation(transform, 1.0))


def test_what_an_augmentation_needs() -> None:
    with pytest.raises(InputError, match="p must be a chance from 0 to 1, got 2"):
        Augmentation(nn.Identity(), 2)
    for batch in ({"image": IMAGE[None] / 255}, {"image": IMAGE[None], "draw": DRAWS[:1]}, [IMAGE]):
        with pytest.raises(InputError, match="float `image`"):
            Augmentation(nn.Identity()).on_train_batch_start(trainer_of(), L.LightningModule(), batch, 0)


# first parameters of a store


def plain(**settings: Any) -> PlainAugmentation:
    view = View(image="image", label="target", regions="regions")
    return PlainAugmentation(
        make_store(),
        **{
            "neighbourhood": Random(),
            "conversion": ColorTransfer(),
            "areas": ("area0", "area1", "area2"),
            "view": view,
            "start": 0,
            **settings,
        },
    )


def batch_of(rows: int = 6) -> dict[str, Tensor]:
    image, regions = make_images(rows)
    numbers = {"index": torch.arange(rows), "draw": torch.arange(rows) + 7}
    return {"image": image, "regions": regions, "target": regions.clone(), **numbers}


def stepped(mining: PlainAugmentation, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """One step; which rows were planned as pieces, which of them look otherwise, and their parameters."""
    scenes = mining.read(batch)
    plan = mining.plan(scenes)
    made = mining.make(scenes, plan)
    tries = mining.propose(plan)
    assert not len(tries) and torch.equal(plan.rows.source, batch["index"]) and (plan.rows.piece == -1).all()
    mining.offer(scenes, tries)
    mining.judge(nn.Identity())
    assert mining.settle() is None and mining.offered is None and not len(mining.buffer)
    differs = (made.image != scenes.image).flatten(1).any(1).nonzero().flatten()
    return plan.pieces, differs, plan.rows.parameter[plan.pieces]


def test_rows_drawn_by_chance_are_trained_on_once() -> None:
    mining, batch = plain(mix=Mix(mined=0.4), start=2), batch_of()
    assert not any(len(stepped(mining, batch)[0]) for _ in range(2))
    assert mining.tally.candidates == 0
    found = [stepped(mining, batch) for _ in range(40)]
    for rows, differs, _ in found:
        assert torch.equal(rows, differs) and len(rows) in (2, 3)
    total = sum(len(rows) for rows, _, _ in found)
    assert 85 < total < 107  # 2.4 rows of each batch
    assert mining.tally.candidates == mining.tally.pieces == total and mining.tally.neighbours == 0
    assert set(torch.cat([rows for rows, _, _ in found]).tolist()) == set(range(6))
    stored = mining.store.parameters[:, 0]
    distance = (torch.cat([parameter for _, _, parameter in found])[:, None, 0] - stored).abs().amax(-1)
    assert (distance.amin(1) == 0).all() and set(distance.argmin(1).tolist()) == set(range(len(stored)))


@pytest.mark.parametrize(("mined", "rows"), [(0.0, 0), (1.0, 6)])
def test_none_or_all(mined: float, rows: int) -> None:
    assert len(stepped(plain(mix=Mix(mined=mined)), batch_of())[0]) == rows


def test_it_goes_on_where_it_was_kept() -> None:
    mining, batch = plain(seed=3), batch_of()
    stepped(mining, batch)
    saved = mining.state_dict()
    one = [stepped(mining, batch) for _ in range(3)]
    other = plain(seed=3)
    other.load_state_dict(saved)
    two = [stepped(other, batch) for _ in range(3)]
    for first, second in zip(one, two, strict=True):
        assert all(map(torch.equal, first, second))
    assert vars(mining.tally) == vars(other.tally)


@pytest.mark.parametrize("settings", [{"mix": Mix(candidates=2)}, {"update": Update(every=4)}])
def test_one_image_per_row_in_every_step(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="one image per row in every step"):
        plain(buffer=RecipeBuffer(), **settings)


@pytest.mark.parametrize(("method", "overrides"), [("random", ["data.targets=0.25"]), ("mixture", ["mining.start=2"])])
def test_a_run_counts_what_it_converted(method: str, overrides: list[str], configured: Configured) -> None:
    summary = train(rival(configured, method, "mining.mined=0.5", *overrides))
    steps = 6 if method == "random" else 4
    assert summary["pieces"] == summary["candidates"] == 2 * steps and summary["hit_rate"] == 1
