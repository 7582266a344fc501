"""hardmine in somebody else's Lightning project: no Hydra, their module, their data set."""

import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import make_images, make_store
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import hardmine


class TheirImages(Dataset[dict[str, Tensor]]):
    def __init__(self) -> None:
        self.image, self.regions = make_images(batch=8, size=(32, 32))

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        shift = int(torch.randint(0, 8, ()))  # an augmentation of their own
        image, regions = self.image[index].roll(shift, -1), self.regions[index].roll(shift, -1)
        return {"image": image, "regions": regions, "target": regions.long()}


class TheirData(L.LightningDataModule):
    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return DataLoader(TheirImages(), batch_size=4, shuffle=True)

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        return {**batch, "image": batch["image"].float() / 127.5 - 1}


class TheirModule(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, 3, 3, padding=1)
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        assert image.dtype == torch.float32
        assert image.min() >= -1 and image.max() > -0.5  # the hook has been called, once
        logits: Tensor = self.net(image)
        return logits

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.seen.append(batch["image"])
        return nn.functional.cross_entropy(self(batch["image"]), batch["target"], ignore_index=255)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


AREAS = ("area0", "area1", "area2")


def search(**settings: Any) -> hardmine.Mining:
    """All is hard, from the first step on."""
    told = {"conversion": hardmine.ColorTransfer(), "threshold": 1.1, "hardest": 1.0, "start": 0, "areas": AREAS}
    return hardmine.Mining(make_store(), hardmine.Select(radius=10), **{**told, **settings})


def fit(mining: hardmine.Mining, module: L.LightningModule, data: Any = None, **options: Any) -> L.Trainer:
    """A run of a few steps with the two lines that mine it."""
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_steps": 6, "enable_checkpointing": False, "callbacks": [mining.callback()], **options},
    )
    L.seed_everything(0, verbose=False)
    trainer.fit(module, mining.around(TheirData() if data is None else data))
    return trainer


@pytest.mark.parametrize("candidates", [1, 3])
def test_a_few_lines_add_mining(candidates: int) -> None:
    mining, module = search(mix=hardmine.Mix(candidates=candidates)), TheirModule()
    fit(mining, module)
    assert mining.tally.pieces == 24 * candidates
    assert len(module.seen) == 6
    assert all(image.shape == (4, 3, 32, 32) for image in module.seen)


def test_what_nobody_says_is_found_out() -> None:
    """Conversion, neighbourhood, scoring and gates of the library itself."""
    mining = hardmine.Mining(make_store(), start=1, areas=AREAS)
    fit(mining, TheirModule())
    assert mining.tally.candidates == 5 * 4
    assert 0 < mining.tally.pieces < 5 * 4  # the hardest tenth


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core
def test_loader_processes_draw_ahead() -> None:
    data, mining, module = TheirData(), search(), TheirModule()
    data.train_dataloader = lambda: DataLoader(  # type: ignore[method-assign]
        TheirImages(), batch_size=4, shuffle=True, num_workers=2, multiprocessing_context="fork"
    )
    fit(mining, module, data)
    assert mining.tally.candidates == 24
    assert len(module.seen) == 6


class NoRegions(TheirImages):
    def __getitem__(self, index: int) -> dict[str, Tensor]:
        sample = super().__getitem__(index)
        return {"image": sample["image"], "target": sample["target"]}


def test_label_maps_are_the_areas_of_a_user_without_regions() -> None:
    data, mining = TheirData(), search()
    data.train_dataloader = lambda: DataLoader(NoRegions(), batch_size=4)  # type: ignore[method-assign]
    fit(mining, TheirModule(), data)
    assert mining.tally.pieces == 24
    assert mining.offered is not None
    scenes = mining.offered.source
    assert torch.equal(scenes.regions, scenes.labels["target"].byte())


def test_a_user_who_names_no_areas_is_told() -> None:
    with pytest.raises(hardmine.InputError, match="areas: without names the labels cannot be matched with"):
        fit(search(areas=None), TheirModule())


def test_all_public_names_exist() -> None:
    """And a type checker is told of the very same ones."""
    names: list[str] = vars(hardmine)["__all__"]
    assert all(hasattr(hardmine, name) for name in names)
    assert hardmine.__file__ is not None
    told = re.findall(r"\b(\w+) as \1\b", Path(hardmine.__file__).read_text())
    assert sorted(told) == names
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(hardmine, "nothing")  # noqa: B009  (a type checker knows that it is not there)


def test_a_store_in_one_line(folder: Path) -> None:
    assert len(hardmine.ParameterStore.from_folder(folder)) == 3
