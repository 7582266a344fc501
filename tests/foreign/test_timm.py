"""timm: an ImageFolder with the transform that belongs to the model, batches (x, y) of normalised floats."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import timm
from PIL import Image
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import hardmine
from foreign.conftest import check_rows, loader, mine, pictures

CONFIG = {**timm.data.resolve_data_config({}, model="resnet18"), "input_size": (3, 32, 32), "crop_pct": 1.0}
VIEW: dict[str, Any] = {"mean": CONFIG["mean"], "std": CONFIG["std"], "regions": "whole"}


class Classifier(L.LightningModule):
    def __init__(self, name: str, num_classes: int) -> None:
        super().__init__()
        self.model = timm.create_model(name, pretrained=False, num_classes=num_classes)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss: Tensor = self.criterion(self(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return create_optimizer_v2(self, opt="adamw", lr=1e-4)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    image, _ = pictures(8)
    for index, pixels in enumerate(image):
        folder = tmp_path / ("cat", "dog")[index % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / f"{index}.png")
    return tmp_path


def project(root: Path, augment: bool = False) -> tuple[Classifier, DataLoader[Any]]:
    transform = timm.data.create_transform(**CONFIG, is_training=augment)
    return Classifier("mobilenetv3_small_050", num_classes=2), loader(ImageFolder(root, transform), shuffle=True)


def test_it_is_mined(root: Path, whole_store: hardmine.ParameterStore) -> None:
    mine(whole_store, *project(root, augment=True), view=hardmine.View(**VIEW))


def test_other_rows_stay(root: Path, whole_store: hardmine.ParameterStore) -> None:
    check_rows(
        whole_store,
        lambda: project(root),
        lambda batch: batch,
        view=hardmine.View(**VIEW),
    )
