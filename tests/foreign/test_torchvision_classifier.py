"""torchvision with transforms v2: (x, y) of normalised floats, in a DataModule with a validation loader."""

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models import shufflenet_v2_x0_5
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import to_pil_image

import hardmine
from foreign.conftest import check_rows, loader, mine, pictures

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
VIEW: dict[str, Any] = {"mean": MEAN, "std": STD, "regions": "whole"}


class Pictures(Dataset[tuple[Tensor, int]]):
    """PIL images and a class, through the user's transform."""

    def __init__(self, transform: v2.Transform) -> None:
        self.images, self.transform = [to_pil_image(image) for image in pictures()[0]], transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), index % 3


class PicturesData(L.LightningDataModule):
    def __init__(self, augment: bool, batch_size: int = 4) -> None:
        super().__init__()
        self.augment, self.batch_size = augment, batch_size

    def setup(self, stage: str) -> None:
        augment = [v2.RandomResizedCrop(32, antialias=True), v2.RandomHorizontalFlip(p=0.5)] if self.augment else []
        scale = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean=MEAN, std=STD)]
        self.train = Pictures(v2.Compose([v2.ToImage(), *augment, *scale]))
        self.val = Pictures(v2.Compose([v2.ToImage(), *scale]))

    def train_dataloader(self) -> DataLoader[Any]:
        return loader(self.train, shuffle=self.augment)

    def val_dataloader(self) -> DataLoader[Any]:
        return loader(self.val)


class Classifier(L.LightningModule):
    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = shufflenet_v2_x0_5(weights=None, num_classes=num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self(x), y)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, y = batch
        self.log("val_acc", (self(x).argmax(1) == y).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


def test_it_is_mined(whole_store: hardmine.ParameterStore) -> None:
    mine(whole_store, Classifier(), PicturesData(augment=True), view=hardmine.View(**VIEW))


def test_other_rows_stay(whole_store: hardmine.ParameterStore) -> None:
    check_rows(
        whole_store,
        lambda: (Classifier(), PicturesData(augment=False)),
        lambda batch: batch,
        view=hardmine.View(**VIEW),
    )
