"""hardmine in somebody else's Lightning project: no Hydra, their module, their data set."""

from pathlib import Path

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
        assert image.min() >= -1
        logits: Tensor = self.net(image)
        return logits

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.seen.append(batch["image"])
        return nn.functional.cross_entropy(self(batch["image"]), batch["target"], ignore_index=255)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(workers: int = 0, candidates: int = 1) -> tuple[hardmine.MiningDataModule, TheirModule]:
    module, data = TheirModule(), TheirData()
    if workers:
        data.train_dataloader = lambda: DataLoader(  # type: ignore[method-assign]
            TheirImages(), batch_size=4, shuffle=True, num_workers=workers, multiprocessing_context="fork"
        )
    mining = hardmine.MiningDataModule(
        data, make_store(), neighbourhood=hardmine.Select(radius=10), candidates=candidates, hardest=1.0
    )
    trainer = L.Trainer(
        callbacks=[hardmine.HardMining(threshold=1.1)],
        max_steps=6,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    torch.manual_seed(0)
    trainer.fit(module, mining)
    return mining, module


@pytest.mark.parametrize("candidates", [1, 3])
def test_a_few_lines_add_mining(candidates: int) -> None:
    mining, module = fit(candidates=candidates)
    assert mining.miner is not None
    assert mining.miner.tally.pieces == 24 * candidates
    assert len(module.seen) == 6
    assert all(image.shape == (4, 3, 32, 32) for image in module.seen)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core
def test_loader_processes_draw_ahead() -> None:
    mining, module = fit(workers=2)
    assert mining.miner is not None
    assert mining.miner.tally.candidates == 24
    assert len(module.seen) == 6


def test_a_user_without_regions_is_told() -> None:
    class NoRegions(TheirImages):
        def __getitem__(self, index: int) -> dict[str, Tensor]:
            sample = super().__getitem__(index)
            return {"image": sample["image"], "target": sample["target"]}

    data = TheirData()
    data.train_dataloader = lambda: DataLoader(NoRegions(), batch_size=4)  # type: ignore[method-assign]
    trainer = L.Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(hardmine.InputError, match="must yield dicts with `image` and `regions`"):
        trainer.fit(TheirModule(), hardmine.MiningDataModule(data, make_store(), hardmine.Random()))


def test_all_public_names_exist() -> None:
    assert all(hasattr(hardmine, name) for name in hardmine.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = hardmine.nothing


def test_a_store_in_one_line(folder: Path) -> None:
    assert len(hardmine.ParameterStore.from_folder(folder)) == 3
