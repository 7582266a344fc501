"""What a training run came to: measured, written down and shown."""

import json
from collections.abc import Mapping
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from hardmine.runs import RunFolder


def found(mining: Any) -> dict[str, Any]:
    """What the search came to."""
    from hardmine.memory.tally import Tally

    tally = mining.tally if mining is not None else Tally()
    found = {"pieces": tally.pieces, "candidates": tally.candidates, "hit_rate": tally.hit_rate}
    found.update(unscored=tally.unscored, nothing_mined=mining is not None and not tally.pieces)
    stopped = mining.miner.stopping.reason if mining is not None and mining.miner is not None else None
    return {**found, "refused": tally.refused, **({"stopped": stopped} if stopped else {})}


def decided(best: Any, early: Any) -> dict[str, Any]:
    """What validation decided on: which checkpoint is measured, and why training ended early.

    Args:
        best: the callback that keeps the best checkpoint; None where there is none, or another one.
        early: the callback that ends training; likewise.
    """
    summary: dict[str, Any] = {}
    if (path := getattr(best, "best", None)) is not None:
        summary.update(measured=path.name, best_score=float(best.best_model_score))
    if line := getattr(early, "line", None):
        summary.update(stopped_early=line, early_patience=early.patience)
    return summary


def measured(
    trainer: Any, task: Any, data: Any, checkpoint: Path | None = None, before: bool = False
) -> dict[str, float]:
    """Metrics on `val` and `test`, where there are any, of the present weights or of a checkpoint's."""
    loggers = trainer.loggers
    if before:  # these are not the figures of the run
        trainer.loggers = []
    at = {"ckpt_path": None if checkpoint is None else str(checkpoint), "weights_only": True, "verbose": False}
    measured = []
    if data.has("val"):
        measured += trainer.validate(task, data, **at)
    if data.has("test"):
        measured += trainer.test(task, data, **at)
    trainer.loggers = loggers
    return {name: value for metrics in measured for name, value in metrics.items()}


def show(folder: RunFolder, metric: str, mining: Any, before: Any, after: Any, summary: dict[str, Any]) -> None:
    """Files and the table at the end of a run."""
    from rich.console import Console

    from hardmine.files import write_atomically
    from hardmine.report.graph import write_graph
    from hardmine.report.table import environment_table, print_table

    if mining is not None and mining.miner is not None:
        write_graph(folder.path, mining.miner.store, mining.miner.graph, mining.threshold)
    # JSON knows neither NaN nor infinity
    plain = {name: None if isinstance(each, float) and not isfinite(each) else each for name, each in summary.items()}
    text = json.dumps(plain, indent=2, sort_keys=True) + "\n"
    write_atomically(folder.summary, lambda file: file.write(text.encode()))
    console = Console()
    if after:
        print_table(console, environment_table(before, after, metric))
    lines = [] if after else ["nothing was measured: no image of val or test was seen"]
    for split in ("val", "test"):
        if (key := f"{split}/{metric}") in after and isnan(after[key]):
            lines.append(f"{key} is not known: nothing in the images of {split} is labelled")
    if "measured" in summary:
        score = summary["best_score"]
        how = f"which validated best ({score:.3g})" if isfinite(score) else "the first, as no validation had a figure"
        lines.append(f"measured: {summary['measured']}, {how}")
    if "stopped_early" in summary:
        lines.append(f"training ended early: {summary['stopped_early']}")
    if "stopped" in summary:
        lines.append(f"the search was over before the end: {summary['stopped']}")
    if summary["nonfinite_steps"]:
        lines.append(f"the loss was NaN or infinite in {summary['nonfinite_steps']} steps")
    if summary["unscored"]:
        why = "nothing in them is labelled, or the model gave NaN"
        lines.append(f"{summary['unscored']} candidates could not be scored: {why}")
    if summary["nothing_mined"]:
        lines.append(f"nothing was mined: {_why(summary, mining)}")
    lines.append(
        f"{summary['pieces']} pieces from {summary['candidates']} candidates (hit rate {summary['hit_rate']:.0%}), "
        f"{summary['steps']} steps in {summary['seconds']:.0f} s"
    )
    for line in (*lines, f"run folder: {folder.path}"):
        console.print(line, soft_wrap=True, markup=False)


def _why(summary: dict[str, Any], mining: Any) -> str:
    """What to try where a run ends without a piece."""
    if not summary["candidates"] and summary["steps"] <= mining.start:
        return (
            f"training ended after {summary['steps']} steps, and mining begins after {mining.start}: set "
            "mining.start lower, or trainer.max_steps higher"
        )
    if not summary["candidates"]:
        return (
            "no image that was trained on has an area that a target of the store has: look at the labels, take targets "
            "with such areas, or set store.missing=whole"
        )
    if said := unfit(summary):
        return said
    if mining.threshold is None:
        return (
            "no candidate was harder than the others: take targets that are further from the images, set "
            "mining.hardest to a larger share, or train for longer"
        )
    return "no candidate was hard: set mining.threshold=auto, or a higher one, or train for longer"


def unfit(found: Mapping[str, Any]) -> str | None:
    """What kept all candidates from becoming pieces, other than their being easy; None where nothing did.

    Args:
        found: `candidates`, and how many of them were `unscored` and `refused`.
    """
    if found["unscored"] == found["candidates"]:
        return "no candidate could be scored: look at the loss and the labels"
    if found["refused"]:
        return "gates refused whatever was hard: make them less strict, or set gate=none"
    return None
