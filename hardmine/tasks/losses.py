"""What training makes small, of logits and labels; the losses of regions are those of segmentation-models-pytorch."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from hardmine.errors import InputError

ClassLoss = Literal["cross_entropy", "focal"]
PixelLoss = Literal["cross_entropy", "focal", "dice", "jaccard", "lovasz", "cross_entropy_dice"]
Weights = Sequence[float] | None


class Loss(nn.Module):
    """A loss by its name. Nothing of it is in a state dict.

    Args:
        name: cross_entropy; focal (Lin et al. 2017, one class against the others, exponent 2); dice, jaccard (one minus
            the overlap of each class that a batch has); lovasz (Berman et al. 2018); cross_entropy_dice, the sum.
        classes: number of classes C.
        weights: of each class; None weighs all alike.
        smoothing: share of each label that is spread over all classes, in the cross-entropy.
        ignore: label that nothing is learned of.

    Raises:
        InputError: another name, weights or a smoothing that do not go with it.
    """

    weights: Tensor | None

    def __init__(
        self, name: PixelLoss, classes: int, weights: Weights = None, smoothing: float = 0.0, ignore: int = -100
    ) -> None:
        super().__init__()
        if name not in get_args(PixelLoss):
            raise InputError(f"`loss` must be one of {', '.join(get_args(PixelLoss))}, got {name!r}", "task")
        if weights is not None and (len(weights) != classes or min(weights) < 0 or not any(weights)):
            raise InputError(
                f"`class_weights` must be {classes} numbers of 0 or more, one for each class, got {[*weights]!r:.60}",
                "task",
            )
        if weights is not None and name == "lovasz":
            raise InputError("`class_weights` do not go with `loss`=lovasz: set one of them to another value", "task")
        if smoothing and not name.startswith("cross_entropy"):
            raise InputError(f"`label_smoothing` does not go with `loss`={name}: set it to 0", "task")
        self.name, self.smoothing, self.ignore = name, smoothing, ignore
        self.register_buffer("weights", None if weights is None else torch.tensor(list(weights)).float(), False)
        overlap = name.removeprefix("cross_entropy").removeprefix("_")
        self.overlap = _of_smp(overlap, weights, ignore) if overlap else None

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar float32 of logits (B, C, ...) and labels (B, ...) int64."""
        logits = logits.float()
        parts = []
        if self.name.startswith("cross_entropy"):
            smoothed: dict[str, Any] = {"ignore_index": self.ignore, "label_smoothing": self.smoothing}
            parts.append(nn.functional.cross_entropy(logits, target, self.weights, **smoothed))
        if self.overlap is not None:
            parts.append(self.overlap(logits, target))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _of_smp(name: str, weights: Weights, ignore: int) -> nn.Module:
    from segmentation_models_pytorch import losses  # seconds, which other runs do without

    kind = {"focal": losses.FocalLoss, "dice": losses.DiceLoss, "jaccard": losses.JaccardLoss}.get(name)
    if kind is None:
        of_softmax: nn.Module = losses.LovaszLoss("multiclass", ignore_index=ignore)
        return of_softmax
    weighed = {} if weights is None else {"class_weights": list(weights)}
    made: nn.Module = kind("multiclass", ignore_index=ignore, **weighed)
    return made


def balanced(count: Tensor) -> list[float]:
    """Weights that make all classes count alike: all labels / (classes x labels of the class); 0 where there are none.

    Args:
        count: (C,) labels of each class.
    """
    count = count.double()
    there = count > 0
    weights = torch.where(there, count.sum() / (there.sum() * count.clamp(min=1)), 0.0)
    return [round(weight, 4) for weight in weights.tolist()]
