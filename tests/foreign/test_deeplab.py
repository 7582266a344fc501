"""torchvision's DeepLab: the output is a dict of `out` and `aux`."""

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large

import hardmine
from foreign.conftest import AREAS, Segmented, check_areas, loader, mine


class DeepLab(L.LightningModule):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.model = deeplabv3_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=True
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        output: dict[str, Tensor] = self.model(image)
        return output

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        image, target = batch
        output = self(image)
        losses = {name: nn.functional.cross_entropy(x, target, ignore_index=255) for name, x in output.items()}
        return losses["out"] + 0.5 * losses["aux"]

    def configure_optimizers(self) -> Any:
        backbone = [parameter for parameter in self.model.backbone.parameters() if parameter.requires_grad]
        head = [*self.model.classifier.parameters(), *self.model.aux_classifier.parameters()]
        groups: list[dict[str, Any]] = [{"params": backbone}, {"params": head, "lr": 0.02}]
        optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=100, power=0.9)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def project() -> tuple[DeepLab, DataLoader[Any]]:
    return DeepLab(num_classes=3), loader(Segmented())


def test_it_is_mined(store: hardmine.ParameterStore) -> None:
    mine(store, *project(), areas=AREAS)


def test_other_areas_stay(store: hardmine.ParameterStore) -> None:
    check_areas(store, project, lambda batch: batch, areas=AREAS)
