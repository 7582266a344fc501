"""Semantic segmentation."""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassJaccardIndex

from hardmine.records import VOID

_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, which pretrained encoders expect
_STD = (0.229, 0.224, 0.225)


class SegmentationTask(L.LightningModule):
    """Cross-entropy training of a network that maps images to logits; mIoU per environment.

    Args:
        net: (B, 3, H, W) normalised float -> (B, classes, H, W) logits.
        classes: number of classes.
        val_environments, test_environments: names, in the order of the batches' `environment` index.
        lr: learning rate of AdamW.
        weight_decay: of AdamW.
        channels_last: memory format in which convolutions run fastest on CPUs and on GPUs with tensor cores.
    """

    def __init__(
        self,
        net: nn.Module,
        classes: int,
        val_environments: Sequence[str] = (),
        test_environments: Sequence[str] = (),
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last) if channels_last else net
        self.lr, self.weight_decay = lr, weight_decay
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)
        self.val_miou = _MeanIoU(classes, val_environments)
        self.test_miou = _MeanIoU(classes, test_environments)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, classes, H, W) of images (B, 3, H, W) float in [0, 1], sRGB."""
        logits: Tensor = self.net((image - self.mean) / self.std)  # type: ignore[operator]
        return logits

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        logits = self(batch["image"])
        loss = nn.functional.cross_entropy(logits.float(), batch["target"].long(), ignore_index=VOID)
        self.log("loss", loss.detach(), prog_bar=True, batch_size=len(logits))
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.val_miou.update(self(batch["image"]), batch["target"].long(), batch["environment"])

    def on_validation_epoch_end(self) -> None:
        self._report("val/miou", self.val_miou)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.test_miou.update(self(batch["image"]), batch["target"].long(), batch["environment"])

    def on_test_epoch_end(self) -> None:
        self._report("test/miou", self.test_miou)

    def _report(self, name: str, metric: "_MeanIoU") -> None:
        for environment, value in metric.compute().items():
            whole = environment == _MeanIoU.ALL
            self.log(name if whole else f"{name}/{environment}", value, prog_bar=whole and name.startswith("val"))
        metric.reset()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)


class _MeanIoU(nn.Module):
    """mIoU (classes absent from prediction and truth left out) of all images and of each environment."""

    ALL = ""

    def __init__(self, classes: int, environments: Sequence[str]) -> None:
        super().__init__()
        self.names = [self.ALL, *environments]
        self.metrics = nn.ModuleList(
            MulticlassJaccardIndex(classes, ignore_index=VOID, validate_args=False) for _ in self.names
        )

    def update(self, logits: Tensor, target: Tensor, environment: Tensor) -> None:
        prediction = logits.argmax(dim=1)
        self._metric(0).update(prediction, target)
        for index in set(environment.tolist()):
            rows = environment == index
            self._metric(1 + index).update(prediction[rows], target[rows])

    def compute(self) -> dict[str, Tensor]:
        return {name: self._metric(i).compute() for i, name in enumerate(self.names) if self._metric(i).update_called}

    def reset(self) -> None:
        for index in range(len(self.names)):
            self._metric(index).reset()

    def _metric(self, index: int) -> Metric:
        metric = self.metrics[index]
        assert isinstance(metric, Metric)
        return metric
