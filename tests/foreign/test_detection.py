"""torchvision's detectors: lists of images of different sizes, tuple(zip(*batch)) as collate function."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import FCOS, FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign
from torchvision.tv_tensors import BoundingBoxes, Image, Mask

from foreign.conftest import check_areas, loader, measured, mine, pictures

AREAS = ("background", "car", "person")
Target = dict[str, Any]
SIZES = [(48, 64), (64, 40), (56, 56), (40, 48)]


class Crossings(Dataset[tuple[Tensor, Target]]):
    """Images of different sizes with two boxes each, targets as torchvision's tutorial has them."""

    def __init__(self) -> None:
        self.images = [pictures(1, SIZES[n % 4], seed=n)[0][0] for n in range(8)]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        image = Image(self.images[index].float() / 255)
        height, width = image.shape[-2:]
        boxes = torch.tensor([[4.0, 6.0, 24.0, 30.0], [20.0, 16.0, width - 2.0, height - 4.0]])
        return image, {
            "boxes": BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width)),
            "labels": torch.tensor([1, 2]),
            "image_id": index,
            "area": (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 2] - boxes[:, 0]),
            "iscrowd": torch.zeros(2, dtype=torch.int64),
        }


class CrossingsWithMasks(Crossings):
    """The same with a mask of each object, which no box can tell the place of."""

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        image, target = super().__getitem__(index)
        masks = torch.zeros(2, *image.shape[-2:], dtype=torch.uint8)
        for mask, (left, top, right, bottom) in zip(masks, target["boxes"].int().tolist(), strict=True):
            mask[top:bottom, left:right] = 1
        return image, {**target, "masks": Mask(masks)}


def collate_fn(batch: Sequence[tuple[Tensor, Target]]) -> tuple[Any, ...]:
    return tuple(zip(*batch, strict=True))


def backbone() -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(8, 32, 3, stride=2, padding=1), nn.ReLU()
    )
    net.out_channels = 32  # type: ignore[assignment]  # what torchvision's detectors ask a backbone for
    return net


def fcos() -> nn.Module:
    anchors = AnchorGenerator(sizes=((16,),), aspect_ratios=((1.0,),))
    model: nn.Module = FCOS(backbone(), num_classes=3, min_size=48, max_size=64, anchor_generator=anchors)
    return model


def faster_rcnn() -> nn.Module:
    model: nn.Module = FasterRCNN(
        backbone(),
        num_classes=3,
        min_size=48,
        max_size=64,
        rpn_anchor_generator=AnchorGenerator(sizes=((16, 32),), aspect_ratios=((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(featmap_names=["0"], output_size=3, sampling_ratio=2),
        rpn_pre_nms_top_n_train=50,
        rpn_post_nms_top_n_train=20,
        rpn_pre_nms_top_n_test=50,
        rpn_post_nms_top_n_test=20,
    )
    return model


class Detector(L.LightningModule):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> Any:
        return self.model(images, targets)

    def training_step(self, batch: tuple[Sequence[Tensor], Sequence[Target]], batch_idx: int) -> Tensor:
        images, targets = batch
        losses = self(images, targets)
        self.log_dict(losses, batch_size=len(images))
        return torch.stack(list(losses.values())).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)


def project(model: Callable[[], nn.Module], dataset: type[Crossings] = Crossings) -> tuple[Detector, DataLoader[Any]]:
    return Detector(model()), loader(dataset(), collate_fn=collate_fn)


def look(batch: tuple[Sequence[Tensor], Sequence[Target]]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The images, and where the boxes are: 1 in cars, 2 in persons, the smaller box on top."""
    images, targets = batch
    maps = [torch.zeros(image.shape[-2:], dtype=torch.uint8) for image in images]
    for where, target in zip(maps, targets, strict=True):
        size = target["area"].argsort(descending=True).tolist()
        for n in size:
            left, top, right, bottom = target["boxes"][n].int().tolist()
            where[top:bottom, left:right] = int(target["labels"][n])
    return images, maps


@pytest.mark.parametrize("model", [fcos, faster_rcnn])
def test_it_is_mined(model: Callable[[], nn.Module]) -> None:
    mine(measured(AREAS), *project(model), areas=AREAS)


def test_masks_of_objects_come_along() -> None:
    mine(measured(AREAS), *project(faster_rcnn, CrossingsWithMasks), areas=AREAS)


@pytest.mark.parametrize("model", [fcos, faster_rcnn])
def test_other_areas_stay(model: Callable[[], nn.Module]) -> None:
    check_areas(measured(AREAS), lambda: project(model), look, area="car", label=1, areas=AREAS)
