"""Image classification."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from hardmine.tasks.base import Task
from hardmine.tasks.losses import ClassLoss, Loss, Weights
from hardmine.tasks.metrics import BalancedAccuracy, ClassAccuracy
from hardmine.tasks.normalise import Normalise
from hardmine.tasks.optimisation import Optimisation


class ClassificationTask(Task):
    """Training of a network that maps images to a class; balanced accuracy per environment.

    The accuracy of each class, over all images, is `test/class_accuracy/<class>`.

    Batches hold `image` (B, 3, H, W) float in [0, 1], `target` (B,) int64, `environment` (B,).

    Args:
        net: (B, 3, H, W) normalised float -> (B, C) logits.
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
        loss: ClassLoss = "cross_entropy",
        class_weights: Weights = None,
        label_smoothing: float = 0.0,
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
            optimisation,
            channels_last,
            {"class_accuracy": partial(ClassAccuracy, len(classes))},
        )
        self.normalise = Normalise()
        self.criterion = Loss(loss, len(classes), class_weights, label_smoothing)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, C) of images (N, 3, H, W) float in [0, 1], sRGB."""
        logits: Tensor = self.net(self.normalise(image))
        return logits

    def loss(self, batch: dict[str, Any]) -> Tensor:
        """Scalar float32."""
        value: Tensor = self.criterion(self(batch["image"]), batch["target"].long())
        return value

    def measured(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        return self(batch["image"]).argmax(dim=1), batch["target"].long()
