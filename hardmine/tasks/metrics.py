"""What validation and test measure, of all images and of each environment."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.detection import MeanAveragePrecision


class PerEnvironment(nn.Module):
    """One metric for all images and one for each environment.

    Ranks see different environments, and torchmetrics waits for ever when one rank alone asks for a metric or holds
    another number of boxes. So the ranks hand each other what they have in one exchange, which each takes part in.

    Args:
        factory: makes the metric; its states are sums or lists.
        environments: names, in the order of the batches' `environment` index.
    """

    ALL = ""

    def __init__(self, factory: Callable[[], Metric], environments: Sequence[str]) -> None:
        super().__init__()
        self.factory = factory
        # where nothing is told of the images, their one environment is all of them
        self.names = [self.ALL] if list(environments) == ["all"] else [self.ALL, *environments]
        self.metrics = nn.ModuleList(factory() for _ in self.names)

    def anew(self, environments: Sequence[str]) -> "PerEnvironment":
        """The same for other environments, with nothing counted."""
        return PerEnvironment(self.factory, environments)

    def update(self, prediction: Any, target: Any, environment: Tensor) -> None:
        """Count a batch.

        Args:
            prediction, target: tensors or lists of N rows, as the metric takes them.
            environment: (N,) int64 index of each row's environment.
        """
        self._metric(0).update(prediction, target)
        of_row = environment.tolist() if len(self.names) > 1 else []
        for index in sorted(set(of_row)):
            rows = [row for row, its in enumerate(of_row) if its == index]
            self._metric(1 + index).update(_pick(prediction, rows), _pick(target, rows))

    def compute(self) -> dict[str, Tensor]:
        """Value of all images, under `ALL`, and of each environment that any rank has met and can be measured in."""
        values = {}
        for index, (name, states) in enumerate(zip(self.names, self._gathered(), strict=True)):
            if states:
                value = self._value(states).to(self._metric(index).device)
                if name == self.ALL or not value.isnan():
                    values[name] = value
        return values

    def reset(self) -> None:
        for index in range(len(self.names)):
            self._metric(index).reset()

    def _gathered(self) -> list[list[dict[str, Any]]]:
        """For each metric the states of the ranks that have updated it."""
        mine = [_state(self._metric(i)) if self._metric(i).update_called else None for i in range(len(self.names))]
        ranks = [mine]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            ranks = [[] for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(ranks, mine)
        return [[state for state in states if state is not None] for states in zip(*ranks, strict=True)]

    def _value(self, states: list[dict[str, Any]]) -> Tensor:
        metric = self.factory()
        for state in states:
            for name, value in state.items():
                setattr(metric, name, getattr(metric, name) + value)
        value = type(metric).compute(metric)  # not metric.compute(), which would ask the other ranks once more
        assert isinstance(value, Tensor)
        return value

    def _metric(self, index: int) -> Metric:
        metric = self.metrics[index]
        assert isinstance(metric, Metric)
        return metric


class PerClass(PerEnvironment):
    """One metric of all images that has a value for each class; the ranks exchange as in `PerEnvironment`.

    Args:
        factory: makes the metric, whose value is (C,) float; its states are sums or lists.
        classes: names of the C classes.
    """

    def __init__(self, factory: Callable[[], Metric], classes: Sequence[str]) -> None:
        super().__init__(factory, ())
        self.classes = tuple(classes)

    def anew(self, environments: Sequence[str]) -> "PerClass":
        return PerClass(self.factory, self.classes)

    def update(self, prediction: Any, target: Any, environment: Tensor) -> None:
        """Count a batch, as `PerEnvironment.update` does; the environments do not matter."""
        self._metric(0).update(prediction, target)

    def compute(self) -> dict[str, Tensor]:
        """Value of each class; NaN for one that does not occur. Empty where no rank has counted anything."""
        values = super().compute()
        return dict(zip(self.classes, values[self.ALL], strict=True)) if values else {}


def _state(metric: Metric) -> dict[str, Any]:
    return {
        name: [item.cpu() for item in value] if isinstance(value, list) else value.cpu()
        for name, value in metric.metric_state.items()
    }


def _pick(values: Any, rows: list[int]) -> Any:
    return values[torch.tensor(rows, device=values.device)] if isinstance(values, Tensor) else [values[i] for i in rows]


class BalancedAccuracy(Metric):
    """Mean over the classes that occur in the truth of the share recognised.

    torchmetrics' macro average also counts, as 0, a class that was predicted and does not occur.

    Args:
        classes: number of classes.
    """

    full_state_update = False
    right: Tensor
    total: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.add_state("right", torch.zeros(classes), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(classes), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count (N,) int64 predicted and true classes."""
        self.right += torch.bincount(target[prediction == target], minlength=len(self.total))
        self.total += torch.bincount(target, minlength=len(self.total))

    def compute(self) -> Tensor:
        """Scalar float32 in [0, 1]; NaN where nothing was counted."""
        return (self.right / self.total).nanmean()


class ClassAccuracy(BalancedAccuracy):
    """Share recognised of each class."""

    def compute(self) -> Tensor:
        """(C,) float32 in [0, 1]; NaN for classes that do not occur in the truth."""
        return self.right / self.total


class MeanAveragePrecision50(MeanAveragePrecision):
    """Mean over the classes of the area under the precision-recall curve, at an overlap of 0.5."""

    warn_on_many_detections = False  # those beyond the 100 most confident of an image do not count, as in COCO

    def __init__(self) -> None:
        super().__init__(box_format="xyxy", iou_type="bbox", iou_thresholds=[0.5])

    def compute(self) -> Tensor:  # type: ignore[override]
        """Scalar float32 in [0, 1]; NaN where no object was labelled."""
        value: Tensor = super().compute()["map_50"]
        return torch.where(value < 0, torch.nan, value)
