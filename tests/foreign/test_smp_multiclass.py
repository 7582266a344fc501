"""segmentation-models-pytorch, several classes: a tuple from the data set, statistics in the module's buffers."""

from typing import Any

import lightning as L
import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import hardmine
from foreign.conftest import AREAS, check_areas, loader, mine, pictures


class Streets(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Images (3, H, W) uint8 and label maps (H, W) uint8 with 255 where nothing is labelled, as NumPy arrays."""

    def __init__(self) -> None:
        image, labels = pictures()
        labels[:, :2] = 255
        self.images, self.masks = image.permute(0, 2, 3, 1).numpy(), labels.numpy()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.images[index].transpose(2, 0, 1), self.masks[index]


class StreetModel(L.LightningModule):
    mean: Tensor
    std: Tensor

    def __init__(self, arch: str, encoder_name: str, in_channels: int, out_classes: int, **kwargs: Any) -> None:
        super().__init__()
        self.model = smp.create_model(
            arch,
            encoder_name=encoder_name,
            encoder_weights=None,
            in_channels=in_channels,
            classes=out_classes,
            **kwargs,
        )
        params = smp.encoders.get_preprocessing_params(encoder_name)
        self.number_of_classes = out_classes
        self.register_buffer("std", torch.tensor(params["std"]).view(1, 3, 1, 1))
        self.register_buffer("mean", torch.tensor(params["mean"]).view(1, 3, 1, 1))
        self.loss_fn = smp.losses.DiceLoss(smp.losses.MULTICLASS_MODE, from_logits=True, ignore_index=255)
        self.step_outputs: dict[str, list[dict[str, Tensor]]] = {"train": [], "valid": []}

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.model((image - self.mean) / self.std)
        return logits

    def shared_step(self, batch: tuple[Tensor, Tensor], stage: str) -> dict[str, Tensor]:
        image, mask = batch
        assert image.ndim == 4
        mask = mask.long()
        assert mask.ndim == 3
        logits = self(image).contiguous()
        assert logits.shape[1] == self.number_of_classes
        loss = self.loss_fn(logits, mask)
        predicted = logits.softmax(dim=1).argmax(dim=1)
        tp, fp, fn, tn = smp.metrics.get_stats(
            predicted, mask, mode="multiclass", num_classes=self.number_of_classes, ignore_index=255
        )
        output = {"loss": loss, "tp": tp, "fp": fp, "fn": fn, "tn": tn}
        self.step_outputs[stage].append(output)
        return output

    def shared_epoch_end(self, stage: str) -> None:
        outputs = self.step_outputs[stage]
        tp, fp, fn, tn = (torch.cat([output[name] for output in outputs]) for name in ("tp", "fp", "fn", "tn"))
        self.log_dict(
            {
                f"{stage}_per_image_iou": smp.metrics.iou_score(tp, fp, fn, tn, reduction="micro-imagewise"),
                f"{stage}_dataset_iou": smp.metrics.iou_score(tp, fp, fn, tn, reduction="micro"),
            }
        )
        outputs.clear()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self.shared_step(batch, "train")

    def on_train_epoch_end(self) -> None:
        self.shared_epoch_end("train")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self.shared_step(batch, "valid")

    def on_validation_epoch_end(self) -> None:
        self.shared_epoch_end("valid")

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=2e-4)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=1e-5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step", "frequency": 1}}


def project() -> tuple[StreetModel, DataLoader[Any], DataLoader[Any]]:
    model = StreetModel(
        "unet", "tu-mobilenetv3_small_050", in_channels=3, out_classes=3, decoder_channels=(16, 8, 8, 8, 8)
    )
    return model, loader(Streets()), loader(Streets())


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), areas=AREAS)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(store, project, lambda batch: batch, areas=AREAS)
