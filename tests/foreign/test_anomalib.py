"""anomalib's Folder: batches are a dataclass of its own, with empty fields, paths and torchvision's tensor types."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from anomalib.data import Folder, ImageBatch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2 import Resize

import hardmine
from foreign.conftest import check_areas, measured, mine, pictures

AREAS = ("normal", "defect")


class SmallNet(L.LightningModule):
    """Tells defects pixel by pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.model(image)
        return logits

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        loss = nn.functional.binary_cross_entropy_with_logits(self(batch.image)[:, 0], batch.gt_mask.float())
        self.log("train_loss", loss, batch_size=batch.batch_size)
        return loss

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        right = (self(batch.image)[:, 0] > 0) == batch.gt_mask
        self.log("val_accuracy", right.float().mean(), batch_size=batch.batch_size)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    image, labels = pictures(16, size=(40, 40), areas=2)
    for folder in ("good", "crack", "mask"):
        (tmp_path / folder).mkdir()
    for index in range(8):
        Image.fromarray(image[index].permute(1, 2, 0).numpy()).save(tmp_path / "good" / f"{index:03d}.png")
        Image.fromarray(image[index + 8].permute(1, 2, 0).numpy()).save(tmp_path / "crack" / f"{index:03d}.png")
        Image.fromarray(labels[index + 8].numpy() * 255).save(tmp_path / "mask" / f"{index:03d}.png")
    return tmp_path


def folder(root: Path) -> Folder:
    return Folder(
        name="parts",
        root=root,
        normal_dir="good",
        abnormal_dir="crack",
        mask_dir="mask",
        augmentations=Resize((32, 32), antialias=True),
        train_batch_size=4,
        eval_batch_size=4,
        num_workers=0,
        val_split_mode="same_as_test",
    )


def test_it_is_mined(root: Path) -> None:
    """It trains on normal images alone."""
    mine(measured(AREAS), SmallNet(), folder(root), view=hardmine.View(label="gt_mask"), areas=AREAS)


def test_other_areas_stay(root: Path) -> None:
    """A small net learns the defects from the part of the folder that has masks."""

    def project() -> tuple[SmallNet, Any, Any]:
        data = folder(root)
        data.setup("fit")
        return SmallNet(), data.test_dataloader(), data.val_dataloader()

    check_areas(
        measured(AREAS),
        project,
        lambda batch: (batch.image, batch.gt_mask),
        area="defect",
        label=1,
        view=hardmine.View(label="gt_mask"),
        areas=AREAS,
    )
