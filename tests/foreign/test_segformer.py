"""Hugging Face transformers: the processor makes `pixel_values` and `labels`, the model computes its own loss."""

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

import hardmine
from foreign.conftest import AREAS, check_areas, loader, mine, pictures


class Scenes(Dataset[dict[str, Tensor]]):
    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.image, self.labels = pictures()

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        encoded = self.processor(self.image[index], self.labels[index], return_tensors="pt")
        return {name: value.squeeze(0) for name, value in encoded.items()}


class SegformerFinetuner(L.LightningModule):
    def __init__(self, id2label: dict[int, str]) -> None:
        super().__init__()
        config = SegformerConfig(
            depths=[1, 1, 1, 1],
            hidden_sizes=[8, 16, 16, 16],
            num_attention_heads=[1, 1, 2, 2],
            decoder_hidden_size=16,
            id2label=id2label,
            label2id={name: index for index, name in id2label.items()},
        )
        self.model = SegformerForSemanticSegmentation(config)

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Any:
        return self.model(pixel_values=pixel_values, labels=labels)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        outputs = self(**batch)
        self.log("loss", outputs.loss)
        loss: Tensor = outputs.loss
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=6e-5)


PROCESSOR = SegformerImageProcessor(do_resize=True, size={"height": 32, "width": 32}, do_reduce_labels=False)
VIEW: dict[str, Any] = {"mean": PROCESSOR.image_mean, "std": PROCESSOR.image_std}


def project() -> tuple[SegformerFinetuner, DataLoader[Any]]:
    return SegformerFinetuner(dict(enumerate(AREAS))), loader(Scenes(PROCESSOR))


def predict(module: Any, batch: dict[str, Tensor]) -> Tensor:
    logits: Tensor = module.model(pixel_values=batch["pixel_values"]).logits
    return logits


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), view=hardmine.View(**VIEW), areas=AREAS, predict=predict)


def test_it_is_mined_by_its_forward(store: hardmine.ParameterStore) -> None:
    """Its output has `.logits`, at a quarter of the size."""
    mine(store, *project(), view=hardmine.View(**VIEW), areas=AREAS)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(
        store,
        project,
        lambda batch: (batch["pixel_values"], batch["labels"]),
        view=hardmine.View(**VIEW),
        areas=AREAS,
        predict=predict,
    )
