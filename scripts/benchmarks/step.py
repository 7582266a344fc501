"""The training step with mining (one candidate per row) against the same step without, alternated in one run.

ratio_c1           step with mining / step without, median of neighbouring pairs
ratio_c1_auto      the same with candidates scored at half size, as score_size=auto does from 192 pixels on
rank_correlation_auto  of the scores of the first 128 candidates at both sizes, after --plain steps of plain training
share_conversion   conversion and bookkeeping (what mining adds before a batch's hooks, and the admission) as a share
                   of the scoring forward pass
share_scores       turning logits into scores, likewise
peak_memory_ratio  peak memory with mining / without: of the process on a CPU (a process each), of the device on a GPU
share_data_wait    share of the step with mining spent waiting for the loader
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from math import isnan
from typing import Any, Literal

import lightning as L
import torch
from measuring import here, parser, quartiles, ratios, show
from segmentation_models_pytorch import Unet

from hardmine import Blend, Chain, ColorTransfer, HardMining, Mining, Mix, Numbered, ParameterStore, Reframe, View
from hardmine.cli.train import quieten
from hardmine.data import RiversideData
from hardmine.tasks import SegmentationTask
from hardmine.tasks.precision import auto_precision

WARM_UP = 4  # pairs of steps not counted
Step = tuple[str, float, dict[str, float]]  # mode, seconds, and seconds of parts


class Clock:
    """Seconds spent per part and step; on a GPU the queue is emptied around each part."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(list)

    def now(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            started = self.now()
            result = function(*args, **kwargs)
            self.spent[part].append(self.now() - started)
            return result

        return run


class TimedTask(SegmentationTask):
    """Times its forward passes outside training, with the judge's tensors too."""

    clock: Clock

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        forward = super().forward if self.training else self.clock.timed("forward", super().forward)
        logits: torch.Tensor = forward(image)
        return logits


class Alternate(L.Callback):
    """Mining in every second step; `modes` fixes what is run instead.

    Without the callback that judges, a trainer's batches are not mined either.
    """

    def __init__(self, mining: HardMining, clock: Clock, modes: tuple[str, ...]) -> None:
        self.mining, self.clock, self.modes = mining, clock, modes
        self.steps: list[Step] = []
        self.peaks: dict[str, int] = defaultdict(int)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._next(trainer)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        parts = {part: sum(spent) for part, spent in self.clock.spent.items()}
        self.steps.append((self.mode, self.clock.now() - self.started, parts))
        if torch.cuda.is_available():
            self.peaks[self.mode] = max(self.peaks[self.mode], torch.cuda.max_memory_allocated())
        self._next(trainer)

    def _next(self, trainer: L.Trainer) -> None:
        self.mode = self.modes[len(self.steps) % len(self.modes)]
        # a new list, as Lightning is going through the old one
        trainer.callbacks = [self.mining, self] if self.mode == "mining" else [self]  # type: ignore[attr-defined]
        self.clock.spent.clear()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self.started = self.clock.now()


def run(
    size: tuple[int, int],
    batch: int,
    steps: int,
    modes: tuple[str, ...],
    score_size: Literal["auto"] | float = 1.0,
    start: int = 0,
) -> Alternate:
    """Train for a number of steps through Lightning and return what was measured."""
    quieten()
    L.seed_everything(0, verbose=False)
    source = RiversideData(size, {"train": 8 * batch, "val": 1, "target": 32}, batch_size=batch)
    mining = Mining(
        ParameterStore.from_images(source.targets(), source.areas),
        Blend(),
        conversion=Chain([ColorTransfer(), Reframe(0.7)]),
        threshold="auto" if score_size == "auto" else 1.1,
        start=start,
        mix=Mix(score_size=score_size),
        view=View(image="image", label="target", regions="regions"),
        areas=source.areas,
        ledger=tempfile.mkdtemp(),
        hardest=1.0,
    )
    TimedTask.clock = clock = Clock()
    task = TimedTask(Unet("resnet18", encoder_weights=None, classes=4), source.areas)
    data, judging = mining.around(source), HardMining(mining)
    alternate = Alternate(judging, clock, modes)
    for owner, method, name in (
        (data, "on_before_batch_transfer", "transfer"),
        (judging, "on_train_batch_start", "score"),
        (judging, "on_train_batch_end", "admit"),
        (Numbered, "__getitems__", "wait"),
    ):
        setattr(owner, method, clock.timed(name, getattr(owner, method)))
    trainer = L.Trainer(
        max_steps=steps,
        precision=auto_precision(),
        devices=1,
        callbacks=[judging, alternate],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
    )
    loader = source.train_dataloader

    def waiting() -> Any:
        made = loader()
        made.collate_fn = clock.timed("wait", made.collate_fn)
        return made

    source.train_dataloader = waiting  # type: ignore[method-assign]
    trainer.fit(task, data)
    return alternate


def peak_memory(arguments: argparse.Namespace, mode: str) -> int:
    """Peak resident memory of a process that runs one mode alone, KiB."""
    size = [str(value) for value in arguments.size]
    command = [sys.executable, __file__, "--peak", mode, "--size", *size, "--batch", str(arguments.batch)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def pairs(done: Alternate) -> tuple[list[Step], list[Step]]:
    """Neighbouring steps without and with mining."""
    steps = done.steps[2 * WARM_UP :]
    return steps[::2], steps[1::2]


def seconds(steps: list[Step]) -> list[float]:
    return [step[1] for step in steps]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--plain", type=int, default=100, help="steps before the ranks are compared; 0 does not")
    options.add_argument("--pairs", type=int, default=20, help="pairs of steps measured")
    options.add_argument("--size", type=int, nargs=2, default=(192, 256), metavar=("H", "W"), help="pixels")
    options.add_argument("--batch", type=int, default=8, help="rows per step")
    options.add_argument("--peak", choices=("mining", "plain"), help=argparse.SUPPRESS)
    arguments = options.parse_args()
    size = (arguments.size[0], arguments.size[1])
    if arguments.peak:
        run(size, arguments.batch, 6, (arguments.peak,))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    done = run(size, arguments.batch, 2 * (arguments.pairs + WARM_UP), ("plain", "mining"))
    plain, mining = pairs(done)
    half = pairs(run(size, arguments.batch, 2 * (arguments.pairs + WARM_UP), ("plain", "mining"), 0.5))

    def part(rows: list[Step], name: str) -> float:
        return statistics.median(row[2].get(name, 0.0) for row in rows)

    forward = part(mining, "forward")
    added = sum(part(mining, name) - part(plain, name) for name in ("transfer", "admit"))
    if done.peaks:
        memory = done.peaks["mining"] / done.peaks["plain"]
    else:
        memory = peak_memory(arguments, "mining") / peak_memory(arguments, "plain")
    result = {
        "ratio_c1": quartiles(ratios(seconds(mining), seconds(plain))),
        "ratio_c1_auto": quartiles(ratios(seconds(half[1]), seconds(half[0]))),
        "share_conversion": round(added / forward, 3),
        "share_scores": round((part(mining, "score") - part(plain, "score") - forward) / forward, 3),
        "peak_memory_ratio": round(memory, 3),
        "share_data_wait": round(part(mining, "wait") / statistics.median(row[1] for row in mining), 4),
        "plain_step_ms": round(statistics.median(row[1] for row in plain) * 1e3, 1),
        "mining_step_ms": round(statistics.median(row[1] for row in mining) * 1e3, 1),
        "scoring_forward_ms": round(forward * 1e3, 1),
        "pairs": arguments.pairs,
        "batch": arguments.batch,
        "size": list(size),
        "precision": auto_precision(),
        **here(),
    }
    if arguments.plain:
        found = run(size, arguments.batch, arguments.plain + 20, ("mining",), "auto", arguments.plain)
        correlation = found.mining.mining.judging.size.correlation
        result["rank_correlation_auto"] = None if isnan(correlation) else round(correlation, 3)  # images too small
    if torch.cuda.is_available():
        result["device"] = torch.cuda.get_device_name()
    show(result, arguments.json)


if __name__ == "__main__":
    main()
