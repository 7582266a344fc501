"""The figure by which runs of a sweep are compared, and which way it is better."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from hardmine.errors import InputError

Direction = Literal["maximize", "minimize"]
_UP = r"miou|iou|dice|f1|accuracy|acc|precision|recall|map|mar|auroc|hit_rate|pieces"
_DOWN = r"loss|error|seconds|nll|ece|brier|refused"


def main_metric(summary: Mapping[str, Any]) -> str | None:
    """The task's main figure, on `val` where there is val, else on `test`: what a search is led by is not tested on."""
    whole = [name for name in summary if name.count("/") == 1]
    return next((name for split in ("val/", "test/") for name in whole if name.startswith(split)), None)


def direction_of(metric: str | None) -> Direction:
    """Which way a figure is better; that of a task, None here, is better where it is larger.

    Raises:
        InputError: a figure that is not known.
    """
    if metric is None or _named(_UP, metric):
        return "maximize"
    if _named(_DOWN, metric):
        return "minimize"
    raise InputError(f"metric={metric}: is it better large or small?: say direction=maximize or direction=minimize")


def _named(names: str, metric: str) -> bool:
    """Whether a name or a part of it is one of these: `val/balanced_accuracy`, `test/miou/night`, `map50`."""
    return re.search(rf"(^|[/_])({names})(\d|[/_]|$)", metric) is not None
