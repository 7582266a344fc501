"""What a model gives, in the one form that scorings take."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from hardmine.errors import InputError

_MANY = 64  # outputs of one channel that do not all lie in [0, 1] by chance
_SMALL = 1024  # of several channels, where the logits of a model that has hardly learnt may do so for a while
_LOGITS = ("logits", "out", "pred", "prediction")


def canonical(prediction: Any, labels: Mapping[str, Tensor], probabilities: bool = False) -> Any:
    """Logits (N, C) or (N, C, H, W), or detections, of whatever a forward gives.

    Args:
        prediction: a tensor; an output with `.logits`; a dict with `logits` or `out`; a tuple of them, where one alone
            fits the labels or all that fit are of the same classes, the first then; or, for boxes, a list of dicts.
            One logit is binary: the second class against the first. Logits of label maps that are smaller than these
            are enlarged.
        labels: what is scored, `target` or `boxes`.
        probabilities: the model gives these in place of logits. A batch in which one lies outside [0, 1] shows that
            they are logits after all, and is taken so.

    Raises:
        InputError: something else.
    """
    if "boxes" in labels:
        if isinstance(prediction, tuple) and prediction and isinstance(prediction[-1], Sequence):
            prediction = prediction[-1]  # scripted detectors give losses too
        if not isinstance(prediction, Sequence) or not all(
            isinstance(each, Mapping) and {"boxes", "scores", "labels"} <= each.keys() for each in prediction
        ):
            raise InputError(
                "predict: for boxes the model must give, in eval mode, a dict of boxes, scores and labels for each "
                "image"
            )
        return prediction
    target = labels["target"]
    logits = _logits(prediction, target)
    if probabilities:
        logits = _logits_of(logits, one_channel(logits, target))
    if logits.ndim == target.ndim and (logits.ndim == 3 or (logits.ndim == 1 and len(logits) == len(target))):
        logits = logits[:, None]  # (N, H, W) or (N,), one logit
    if logits.ndim != target.ndim + 1 or len(logits) != len(target):
        raise InputError(
            f"predict: the model gives {tuple(logits.shape)} where labels are {tuple(target.shape)}: give "
            "predict=lambda module, batch: logits"
        )
    if logits.ndim == 4 and logits.shape[2:] != target.shape[1:] == logits.shape[1:3]:
        raise InputError(
            f"predict: the model gives {tuple(logits.shape)}, classes come second: give predict=lambda module, batch: "
            "logits"
        )
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    if logits.ndim == 4 and logits.shape[2:] != target.shape[1:]:
        size = [int(side) for side in target.shape[1:]]
        logits = interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
    return logits


def one_channel(logits: Tensor, target: Tensor) -> bool:
    """Whether a model has one output for each image, or pixel."""
    return logits.ndim == target.ndim or logits.shape[1] == 1


def are_probabilities(prediction: Any, labels: Mapping[str, Tensor], seen: int) -> bool | None:
    """Whether a model gives probabilities in place of logits, as far as its first predictions tell; waits for them.

    Classes sum to 1, or none of very many values leaves [0, 1], as logits would.

    Args:
        prediction: of one batch.
        labels: of it.
        seen: values of batches before that cannot tell; all lay in [0, 1].

    Returns:
        None where more must be seen.
    """
    if "boxes" in labels:
        return False
    values = _logits(prediction, labels["target"]).detach().float()
    if not bool(((values >= 0) & (values <= 1)).all()):
        return False
    several = not one_channel(values, labels["target"])
    if several and bool(((values.sum(1) - 1).abs() < 1e-2).all()):
        return True
    return True if seen + values.numel() >= (_SMALL if several else _MANY) else None


def values_in(prediction: Any, labels: Mapping[str, Tensor]) -> int:
    """Values that a model gives for a batch."""
    return 0 if "boxes" in labels else _logits(prediction, labels["target"]).numel()


def _logits_of(values: Tensor, one: bool) -> Tensor:
    least = torch.finfo(values.dtype).eps
    inside = values.clamp(least, 1 - least)
    fits = ((values >= 0) & (values <= 1)).all()
    return torch.where(fits, inside.logit() if one else inside.log(), values)


def _fits(value: Tensor, target: Tensor) -> bool:
    """Whether a tensor may be the logits of these labels."""
    return value.ndim in (target.ndim, target.ndim + 1) and len(value) == len(target)


def _logits(prediction: Any, target: Tensor) -> Tensor:
    if isinstance(prediction, Tensor):
        return prediction
    if isinstance(prediction, Mapping):
        for name in _LOGITS:
            if name in prediction:
                return _logits(prediction[name], target)
    for name in _LOGITS[:1]:
        if hasattr(prediction, name):
            return _logits(getattr(prediction, name), target)
    if isinstance(prediction, list | tuple) and prediction:
        fit = [each for each in prediction if isinstance(each, Tensor) and _fits(each, target)]
        if len({each.shape[1:2] for each in fit}) > 1:
            shapes = ", ".join(str(tuple(each.shape)) for each in fit)
            raise InputError(
                f"predict: the model gives several tensors that may be the logits ({shapes}): give "
                "predict=lambda module, batch: logits"
            )
        return fit[0] if fit else _logits(prediction[0], target)
    raise InputError(
        f"predict: no logits found in what the model gives ({type(prediction).__name__}): give "
        "predict=lambda module, batch: logits"
    )
