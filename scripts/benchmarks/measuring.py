"""What the benchmarks share: ways that take turns in one run, their ratios, and the result at the end."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Of a benchmark that says in its first lines what it measures."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="one line of JSON")
    return made


def taking_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of CPU of each way in each round; the first round, for compilers and caches, is not among them."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            started = time.process_time()
            way()
            if turn:
                spent[name].append(time.process_time() - started)
    return spent


def ratios(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Of values that belong together."""
    return [a / b for a, b in zip(one, other, strict=True)]


def quartiles(values: Sequence[float], digits: int = 3) -> list[float]:
    """Median, and first and third quartile."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return [round(value, digits) for value in (middle, low, high)]


def here() -> dict[str, Any]:
    """What a result says of the machine."""
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def show(result: Mapping[str, Any], as_json: bool) -> None:
    """The last line is one object, or a table for people."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:24} {value}")
