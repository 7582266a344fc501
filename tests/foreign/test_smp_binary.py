"""segmentation-models-pytorch, one class: dicts, one logit, masks (1, H, W) of floats, a map more than is needed."""

from typing import Any

import lightning as L
import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from foreign.conftest import check_areas, loader, measured, mine, pictures

AREAS = ("background", "pet")


class Pets(Dataset[dict[str, np.ndarray]]):
    """`image` (3, H, W) uint8, `mask` and `trimap` (1, H, W), the first of 0.0 and 1.0, the second of 1, 2 and 3."""

    def __init__(self) -> None:
        image, trimap = pictures()
        self.images, self.trimaps = image.permute(0, 2, 3, 1).numpy(), trimap.numpy() + 1

    def __len__(self) -> int:
        return len(self.images)

    @staticmethod
    def _preprocess_mask(trimap: np.ndarray) -> np.ndarray:
        mask = trimap.astype(np.float32)
        mask[mask == 2.0] = 0.0
        mask[(mask == 1.0) | (mask == 3.0)] = 1.0
        return mask

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        trimap = self.trimaps[index]
        return {
            "image": np.moveaxis(self.images[index], -1, 0),
            "mask": np.expand_dims(self._preprocess_mask(trimap), 0),
            "trimap": np.expand_dims(trimap, 0),
        }


class PetModel(L.LightningModule):
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
        self.register_buffer("std", torch.tensor(params["std"]).view(1, 3, 1, 1))
        self.register_buffer("mean", torch.tensor(params["mean"]).view(1, 3, 1, 1))
        self.loss_fn = smp.losses.DiceLoss(smp.losses.BINARY_MODE, from_logits=True)
        self.training_step_outputs: list[dict[str, Tensor]] = []

    def forward(self, image: Tensor) -> Tensor:
        mask: Tensor = self.model((image - self.mean) / self.std)
        return mask

    def shared_step(self, batch: dict[str, Tensor], stage: str) -> dict[str, Tensor]:
        image, mask = batch["image"], batch["mask"]
        assert image.ndim == mask.ndim == 4
        assert mask.max() <= 1.0 and mask.min() >= 0
        logits = self(image)
        loss = self.loss_fn(logits, mask)
        predicted = (logits.sigmoid() > 0.5).long()
        tp, fp, fn, tn = smp.metrics.get_stats(predicted, mask.long(), mode="binary")
        return {"loss": loss, "tp": tp, "fp": fp, "fn": fn, "tn": tn}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        output = self.shared_step(batch, "train")
        self.training_step_outputs.append(output)
        return output

    def on_train_epoch_end(self) -> None:
        outputs = self.training_step_outputs
        tp, fp, fn, tn = (torch.cat([output[name] for output in outputs]) for name in ("tp", "fp", "fn", "tn"))
        self.log("train_dataset_iou", smp.metrics.iou_score(tp, fp, fn, tn, reduction="micro"), prog_bar=True)
        outputs.clear()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=2e-4)


def project() -> tuple[PetModel, DataLoader[Any]]:
    model = PetModel("FPN", "tu-mobilenetv3_small_050", in_channels=3, out_classes=1)
    return model, loader(Pets())


def test_it_is_mined() -> None:
    mine(measured(AREAS), *project(), areas=AREAS)


def test_other_areas_stay() -> None:
    check_areas(
        measured(AREAS),
        project,
        lambda batch: (batch["image"], batch["mask"][:, 0]),
        area="pet",
        label=1,
        areas=AREAS,
    )
