"""Hugging Face transformers, an image classifier: `pixel_values` and `labels`, `.logits` of an output object."""

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2.functional import to_pil_image
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

import hardmine
from foreign.conftest import check_rows, loader, mine, pictures

PROCESSOR = ViTImageProcessor(size={"height": 32, "width": 32})
VIEW: dict[str, Any] = {"mean": PROCESSOR.image_mean, "std": PROCESSOR.image_std, "regions": "whole"}


class Animals(Dataset[dict[str, Any]]):
    def __init__(self) -> None:
        self.images = [to_pil_image(image) for image in pictures()[0]]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pixels = PROCESSOR(self.images[index], return_tensors="pt")["pixel_values"][0]
        return {"pixel_values": pixels, "label": index % 2}


def collate_fn(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
    pixels = torch.stack([example["pixel_values"] for example in examples])
    return {"pixel_values": pixels, "labels": torch.tensor([example["label"] for example in examples])}


class ViTModule(L.LightningModule):
    def __init__(self, num_labels: int = 2) -> None:
        super().__init__()
        config = ViTConfig(
            image_size=32,
            patch_size=8,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            num_labels=num_labels,
        )
        self.vit = ViTForImageClassification(config)

    def forward(self, pixel_values: Tensor) -> Any:
        return self.vit(pixel_values=pixel_values)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        logits = self(batch["pixel_values"]).logits
        return torch.nn.functional.cross_entropy(logits, batch["labels"])

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=5e-5)


def project() -> tuple[ViTModule, DataLoader[Any]]:
    return ViTModule(), loader(Animals(), collate_fn=collate_fn)


def test_it_is_mined(whole_store: hardmine.ParameterStore) -> None:
    mine(whole_store, *project(), view=hardmine.View(**VIEW))


def test_other_rows_stay(whole_store: hardmine.ParameterStore) -> None:
    check_rows(whole_store, project, lambda batch: (batch["pixel_values"], batch["labels"]), view=hardmine.View(**VIEW))
