"""Image classification."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from hardmine.tasks.base import Task
from hardmine.tasks.metrics import BalancedAccuracy, ClassAccuracy
from hardmine.tasks.normalise import Normalise


class ClassificationTask(Task):
    """Cross-entropy training of a network that maps images to a class; balanced accuracy per environment.

    The accuracy of each class, over all images, is `test/class_accuracy/<class>`.

    Batches hold `image` (B, 3, H, W) float in [0, 1], `target` (B,) int64, `environment` (B,).

    Args:
        net: (B, 3, H, W) normalised float -> (B, C) logits.
        classes: names of the C classes, in the order of the labels.
        val_environments, test_environments: names, in the order of the batches' `environment` index.
        lr: learning rate of AdamW.
        weight_decay: of AdamW.
        channels_last: memory format in which convolutions run fastest on CPUs and on GPUs with tensor cores.
    """

    def __init__(
        self,
        net: nn.Module,
        classes: Sequence[str],
        val_environments: Sequence[str] = (),
        test_environments: Sequence[str] = (),
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        channels_last: bool = True,
    ) -> None:
        metrics: dict[str, Callable[[], Metric]] = {
            "balanced_accuracy": partial(BalancedAccuracy, len(classes)),
            "accuracy": partial(MulticlassAccuracy, len(classes), average="micro", validate_args=False),
        }
        super().__init__(
            net,
            classes,
            metrics,
            val_environments,
            test_environments,
            lr,
            weight_decay,
            channels_last,
            {"class_accuracy": partial(ClassAccuracy, len(classes))},
        )
        self.normalise = Normalise()

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, C) of images (N, 3, H, W) float in [0, 1], sRGB."""
        logits: Tensor = self.net(self.normalise(image))
        return logits

    def loss(self, batch: dict[str, Any]) -> Tensor:
        """Cross-entropy, scalar float32."""
        return nn.functional.cross_entropy(self(batch["image"]).float(), batch["target"].long())

    def measured(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return self(batch["image"]).argmax(dim=1), batch["target"].long()
