"""A detector of torchvision for labels that count from 0 and images in the size they have."""

from typing import Any
from urllib.error import URLError

from torch import Tensor, nn
from torch.nn.functional import softplus
from torchvision.models import get_model
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from hardmine.errors import InputError
from hardmine.tasks.normalise import MEAN, STD

_STRIDES = (8, 16, 32, 64)  # pixels between the places of each level of the pyramid


def fcos(
    num_classes: int,
    backbone: str = "resnet18",
    weights_backbone: str | None = None,
    channels: int = 128,
    convolutions: int = 2,
    score_threshold: float = 0.1,
    candidates: int = 200,
    detections: int = 100,
) -> nn.Module:
    """FCOS (Tian et al. 2019) on a residual network's pyramid of strides 8 to 64, for objects from 10 pixels on.

    Args:
        num_classes: classes, without a background.
        backbone: torchvision's name of a residual network.
        weights_backbone: torchvision's name of its pretrained weights, which are downloaded; null starts from scratch.
        channels: of the pyramid and the head, a multiple of 32; torchvision's own FCOS has 256.
        convolutions: layers of each branch of the head; torchvision's own has 4.
        score_threshold: confidence in [0, 1] below which nothing is detected.
        candidates: detections per level kept before overlapping ones are merged.
        detections: the most confident kept per image.
    """
    net = FCOS(
        _pyramid(backbone, weights_backbone, channels),
        num_classes,
        anchor_generator=AnchorGenerator(tuple((stride,) for stride in _STRIDES), ((1.0,),) * len(_STRIDES)),
        head=FCOSHead(channels, 1, num_classes, convolutions),
        score_thresh=score_threshold,
        topk_candidates=candidates,
        detections_per_img=detections,
    )
    net.transform = _AsTheyAre()
    net.head.regression_head.bbox_reg.register_forward_hook(_above_zero)
    net.head.register_forward_hook(_in_float32)
    detector: nn.Module = net
    return detector


def _pyramid(backbone: str, weights: str | None, channels: int) -> nn.Module:
    """Feature maps of the strides `_STRIDES`; every layer and BatchNorm is trained, as is needed from scratch."""
    try:
        body = get_model(backbone, weights=weights, norm_layer=nn.BatchNorm2d)
    except URLError as error:
        raise InputError(
            f"weights_backbone={weights}: cannot be downloaded ({error.reason}): set it to null to start from scratch"
        ) from None
    width = body.inplanes // 8  # channels of layer1
    pyramid: nn.Module = BackboneWithFPN(
        body,
        {"layer2": "0", "layer3": "1", "layer4": "2"},
        [width * 2, width * 4, width * 8],
        channels,
        extra_blocks=LastLevelMaxPool(),
    )
    return pyramid


class _AsTheyAre(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision ships no types
    """Normalises and batches; resizes nothing, so that boxes stay where they are and no random number is drawn."""

    def __init__(self) -> None:
        super().__init__(0, 0, list(MEAN), list(STD))

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Any, Any]:
        return image, target


def _above_zero(module: nn.Module, inputs: Any, distances: Tensor) -> Tensor:
    """Distances to the sides of a box, before torchvision's ReLU, which has no gradient where all of them are negative:
    from scratch, training often ends there in its first steps, with boxes of no size, and never comes back."""
    return softplus(distances.float())


def _in_float32(module: nn.Module, inputs: Any, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Under autocast the convolutions run in bfloat16, but its 8 bits are too few for coordinates and losses."""
    return {name: value.float() for name, value in outputs.items()}
