"""Semantic segmentation."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torchmetrics.classification import MulticlassJaccardIndex

from hardmine.records import VOID
from hardmine.tasks.base import Task
from hardmine.tasks.losses import Loss, PixelLoss, Weights
from hardmine.tasks.normalise import Normalise
from hardmine.tasks.optimisation import Optimisation


class SegmentationTask(Task):
    """Training of a network that maps images to a class for each pixel; mIoU per environment.

    The IoU of each class, over all images, is `test/iou/<class>`.

    Batches hold `image` (B, 3, H, W) float in [0, 1], `target` (B, H, W) integer with 255 void, `environment` (B,).

    Args:
        net: (B, 3, H, W) normalised float -> (B, C, H, W) logits.
        classes: names of the C classes, in the order of the labels.
        val_environments, test_environments: names, in the order of the batches' `environment` index.
        optimisation: how the weights are moved; None takes the defaults.
        channels_last: memory format in which convolutions run fastest on CPUs and on GPUs with tensor cores.
        loss, class_weights, label_smoothing: see `hardmine.tasks.losses.Loss`.
    """

    def __init__(
        self,
        net: nn.Module,
        classes: Sequence[str],
        val_environments: Sequence[str] = (),
        test_environments: Sequence[str] = (),
        optimisation: Optimisation | None = None,
        channels_last: bool = True,
        loss: PixelLoss = "cross_entropy",
        class_weights: Weights = None,
        label_smoothing: float = 0.0,
    ) -> None:
        # classes absent from prediction and truth are left out of the mean
        miou = partial(MulticlassJaccardIndex, len(classes), ignore_index=VOID, validate_args=False)
        iou = partial(miou, average="none", zero_division=float("nan"))
        super().__init__(
            net,
            classes,
            {"miou": miou},
            val_environments,
            test_environments,
            optimisation,
            channels_last,
            {"iou": iou},
        )
        self.normalise = Normalise()
        self.criterion = Loss(loss, len(classes), class_weights, label_smoothing, VOID)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, C, H, W) of images (N, 3, H, W) float in [0, 1], sRGB."""
        logits: Tensor = self.net(self.normalise(image))
        return logits

    def loss(self, batch: dict[str, Any]) -> Tensor:
        """Loss over the pixels that are not void, scalar float32."""
        value: Tensor = self.criterion(self(batch["image"]), batch["target"].long())
        return value

    def measured(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        # the same as argmax(dim=1), in a fifth of its time on a CPU
        return self(batch["image"]).max(dim=1).indices, batch["target"].long()
