"""Numbers of the config that no run can work with, told by their key before anything is built."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from math import inf, isinf, isnan
from numbers import Real
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from hardmine.arguments import look_at_number
from hardmine.errors import InputError
from hardmine.judge.size import look_at_size


class Range(NamedTuple):
    """What `look_at_number` takes. Whether a number may be a fraction is said by the hint of its argument."""

    least: float
    most: float
    unit: str
    above: bool = False


SHARE = Range(0, 1, "a share")
SOME = Range(0, 1, "a share", above=True)

# by the pattern of the key; the first one that fits counts
RANGES: dict[str, Range] = {
    "seed": Range(0, 2**32 - 1, "a whole number"),
    "timeout": Range(0, 1e7, "seconds", above=True),
    "keep_every": Range(1, inf, "rounds"),
    "budget": Range(1, inf, "candidates"),
    "rows": Range(1, inf, "candidates"),
    "pictures": Range(0, inf, "candidates"),
    "fail_under": Range(0, 1, "a recognition accuracy"),
    "port": Range(1, 65535, "a port"),
    "data.size": Range(1, 16384, "pixels"),
    "data.counts.train": Range(1, inf, "scenes"),
    "data.counts.*": Range(0, inf, "scenes"),
    "data.scene_seed": Range(0, inf, "the scenes"),
    "data.seed": Range(0, inf, "the draws"),
    "data.batch_size": Range(1, 65536, "rows"),
    "data.num_workers": Range(0, 1024, "loader processes"),
    "data.targets": SHARE,
    "data.channels": Range(0, 1023, "channels"),
    "data.val": SHARE,
    "data.test": SHARE,
    "data.target": SHARE,
    "data.colors.*": Range(0, 255, "levels"),
    "data.cache_gib": Range(0, inf, "GiB"),
    "data.superpixels": Range(1, 255, "areas"),
    "store.sources": Range(0, inf, "training images"),
    "store.min_pixels": Range(0, inf, "pixels"),
    "store.points": Range(1, inf, "parameters"),
    "conversion*.min_std": Range(0, inf, "Lab units"),
    "conversion*.max_gain": Range(0, inf, "times", above=True),
    "conversion.parts.frame.smallest": Range(0, 1, "a share of the image's side", above=True),
    "conversion*.share": Range(0, 1, "a share of the images"),
    "conversion*.angle": Range(0, 180, "degrees", above=True),
    "conversion*.sigma": Range(0, inf, "pixels", above=True),
    "conversion*.smallest": Range(0, inf, "times", above=True),
    "conversion*.largest": Range(0, inf, "times", above=True),
    "conversion*.highest": Range(0, inf, "its unit", above=True),
    "neighbourhood.*radius": Range(0, inf, "Lab units", above=True),
    "neighbourhood.margin": Range(0, inf, "Lab units"),
    "neighbourhood.targets": Range(1, inf, "stored parameters"),
    "scoring.iou": SHARE,
    "scoring.score": SHARE,
    "gate.*.max_share": SHARE,
    "gate.*.min_score": SHARE,
    "gate.*.decay": SHARE,
    "model.score_threshold": SHARE,
    "model.channels": Range(1, inf, "channels"),
    "model.convolutions": Range(1, inf, "layers"),
    "model.candidates": Range(1, inf, "detections"),
    "model.detections": Range(1, inf, "detections"),
    "task.lr": Range(0, inf, "AdamW's learning rate"),
    "task.weight_decay": Range(0, inf, "AdamW's weight decay"),
    "task.warmup": Range(0, inf, "optimiser steps"),
    "task.ema": SHARE,
    "task.class_weights": Range(0, inf, "weights"),
    "task.label_smoothing": SHARE,
    "callbacks.before.step": Range(0, inf, "optimiser steps"),
    "callbacks.checkpoint.every_n_train_steps": Range(1, inf, "optimiser steps"),
    "callbacks.*.save_top_k": Range(-1, inf, "checkpoints, -1 for all"),
    "callbacks.*.patience": Range(1, inf, "validations"),
    "callbacks.*.min_delta": Range(0, inf, "the figure"),
    "callbacks.pictures.rows": Range(1, inf, "candidates"),
    "callbacks.*.every": Range(1, inf, "optimiser steps"),
    "mining.threshold": Range(0, 2, '"auto" or a recognition accuracy (above 1: all)'),
    "mining.hardest": SOME,
    "mining.start": Range(0, inf, "optimiser steps"),
    "mining.candidates": Range(1, inf, "candidates per row"),
    "mining.mined": SHARE,
    "mining.stand_ins": SHARE,
    "mining.decay": SHARE,
    "buffer.capacity": Range(1, inf, "pieces"),
    "buffer.max_replays": Range(1, inf, "times"),
    "buffer.max_age": Range(1, inf, "optimiser steps"),
    "stopping.max_pieces": Range(1, inf, "pieces"),
    "stopping.min_hit_rate": SHARE,
    "stopping.patience": Range(1, inf, "checks"),
    "stopping.window": Range(1, inf, "candidates"),
    "update.every": Range(0, inf, "pieces"),
    "update.tries": Range(1, inf, "rounds of the search"),
    "*search.depth": Range(0, inf, "neighbours of neighbours"),
    "*search.retries": Range(0, inf, "parameters"),
    "search.rows": Range(1, inf, "searches side by side"),
    "search.searches": Range(1, inf, "first parameters of each source"),
    "trainer.max_steps": Range(-1, inf, "optimiser steps, -1 for no limit"),
    "trainer.max_epochs": Range(-1, inf, "epochs, -1 for no limit"),
    "trainer.min_*": Range(0, inf, "them"),
    "trainer.devices": Range(-1, inf, "devices, -1 for all"),
    "trainer.patience_nonfinite": Range(1, inf, "steps"),
    "trainer.num_nodes": Range(1, inf, "nodes"),
    "trainer.val_check_interval": Range(0, inf, "training batches, or the share of an epoch", above=True),
    "trainer.check_val_every_n_epoch": Range(1, inf, "epochs"),
    "trainer.num_sanity_val_steps": Range(-1, inf, "validation batches, -1 for all"),
    "trainer.log_every_n_steps": Range(0, inf, "optimiser steps"),
    "trainer.accumulate_grad_batches": Range(1, inf, "batches"),
    "trainer.limit_*": Range(0, inf, "batches, or a share of them"),
    "trainer.gradient_clip_val": Range(0, inf, "the gradient's norm", above=True),
}

WHOLE, FRACTION = 2**53, 1e30  # larger numbers leave int64 and float32 as soon as something is done with them
ENDLESS = ("conversion*.max_gain", "data.cache_gib")  # where infinity says that there is no limit


def look_at_ranges(cfg: Any) -> None:
    """See that each number of the config lies in its range, and that training has an end.

    Raises:
        InputError: the first one that does not; NaN, infinity where it says nothing, and what no tensor can hold.
    """
    for key, value in _numbers(OmegaConf.to_container(cfg, resolve=False), ""):
        if isnan(value) or (isinf(value) and not _matches(key, ENDLESS)):
            raise InputError(f"{key} must be a finite number, got {value!r}")
        end = WHOLE if isinstance(value, int) else FRACTION
        if abs(value) > end and not isinf(value):
            raise InputError(f"{key} must be a number from {-end:g} to {end:g}, got {value!r:.60}")
        found = next((found for pattern, found in RANGES.items() if fnmatchcase(key, pattern)), None)
        if found is not None:
            look_at_number(key, value, found.least, found.most, found.unit, above=found.above)
    look_at_size(cfg.get("mining", {}).get("score_size", "auto"), "mining.score_size")
    _look_at_end(cfg.get("trainer", {}))


def _look_at_end(trainer: Any) -> None:
    steps, epochs = trainer.get("max_steps", -1), trainer.get("max_epochs")
    by_steps, by_epochs = steps != -1, epochs not in (None, -1)
    if not by_steps and not by_epochs and not trainer.get("max_time"):
        raise InputError("trainer.max_steps=-1 has no end: set a number of optimiser steps, or trainer.max_epochs")
    if by_steps and by_epochs:
        raise InputError(
            f"trainer.max_epochs={epochs}: trainer.max_steps={steps} is set as well: keep one, and set the other to -1"
        )


def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def _numbers(value: Any, key: str) -> Iterator[tuple[str, float]]:
    """Every number with its key; those of a list have the list's. What refers to another key is told by that."""
    if isinstance(value, dict):
        for name, inside in value.items():
            yield from _numbers(inside, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for inside in value:
            yield from _numbers(inside, key)
    elif isinstance(value, Real) and not isinstance(value, bool):
        yield key, float(value) if isinstance(value, float) else value  # type: ignore[misc]
