"""Object detection."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hardmine.judge.scoring.objects import is_object
from hardmine.tasks.base import Task
from hardmine.tasks.metrics import MeanAveragePrecision50
from hardmine.tasks.optimisation import Optimisation


class DetectionTask(Task):
    """Training of a detector in torchvision's manner; mAP at an overlap of 0.5 per environment.

    Batches hold `image` (B, 3, H, W) float in [0, 1], `boxes` (B, G, 4) float32 x1, y1, x2, y2 in pixels, `labels`
    (B, G) int64 with -1 for padding, `environment` (B,). Boxes without width or height are no objects.

    Args:
        net: in training a list of images and a list of targets -> losses by name, else a list of images -> detections
            (`boxes`, `scores`, `labels`) of each. Labels count from 0, as those of `hardmine.tasks.detectors` do;
            images are in [0, 1], for torchvision's detectors normalise what they are given.
        classes: names of the classes, in the order of the labels.
        val_environments, test_environments: names, in the order of the batches' `environment` index.
        optimisation: how the weights are moved; None takes the defaults.
        channels_last: memory format in which convolutions run fastest on CPUs and on GPUs with tensor cores.
    """

    def __init__(
        self,
        net: nn.Module,
        classes: Sequence[str],
        val_environments: Sequence[str] = (),
        test_environments: Sequence[str] = (),
        optimisation: Optimisation | None = None,
        channels_last: bool = True,
    ) -> None:
        super().__init__(
            net,
            classes,
            {"map50": MeanAveragePrecision50},
            val_environments,
            test_environments,
            optimisation,
            channels_last,
        )

    def forward(self, image: Tensor) -> list[dict[str, Tensor]]:
        """Detections in images (N, 3, H, W) float in [0, 1], sRGB; in eval mode only.

        Returns:
            For each image `boxes` (n, 4) float32 in pixels, `scores` (n,) float32, `labels` (n,) int64 from 0.
        """
        detections: list[dict[str, Tensor]] = self.net(list(image))
        return detections

    def loss(self, batch: dict[str, Any]) -> Tensor:
        """Sum of the detector's losses, scalar float32, in eval mode too: layers keep the mode they are in."""
        with _giving_losses(self.net):
            losses: dict[str, Tensor] = self.net(list(batch["image"]), _truth(batch))
        return torch.stack([part.float() for part in losses.values()]).sum()

    def measured(self, batch: dict[str, Any]) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
        return self(batch["image"]), _truth(batch)


@contextmanager
def _giving_losses(net: nn.Module) -> Iterator[None]:
    """torchvision's detectors give losses in training mode alone; layers such as BatchNorm hold no others and stay."""
    flags = {module: module.training for module in net.modules() if any(True for _ in module.children())}
    try:
        for module in flags:
            module.training = True
        yield
    finally:
        for module, training in flags.items():
            module.training = training


def _truth(batch: dict[str, Any]) -> list[dict[str, Tensor]]:
    """The padded boxes as torchvision and torchmetrics take them: a list for each image, possibly empty."""
    there = is_object(batch["boxes"], batch["labels"])
    return [
        {"boxes": boxes[rows], "labels": labels[rows]}
        for boxes, labels, rows in zip(batch["boxes"], batch["labels"], there, strict=True)
    ]
