"""A small good folder of each kind, and what it means that a command refuses a bad one."""

import csv
import json
import os
import random
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hardmine.cli import main

SEED = 20260
SIZE = (12, 16)  # H, W of the images
SPLITS = ("train", "train", "train", "val", "val", "test", "test", "target", "target")
IDS = tuple(f"p{index:02d}" for index in range(len(SPLITS)))
CLASSES = ("sky", "road", "tree")

Spoil = Callable[[Path], object]
Case = tuple[Spoil, str]
"""What spoils a folder, and what the line says: the file or key, and a word of what is wrong."""


def rng(*name: object) -> random.Random:
    """Chance of one case; the same in every process."""
    return random.Random(f"{SEED} {name}")


def write_rows(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def metadata() -> list[list[str]]:
    kinds = ("rose", "daisy")
    header = ["id", "split", "time", "label"]
    return [header, *([name, SPLITS[k], "day", kinds[k % 2]] for k, name in enumerate(IDS))]


def coco() -> dict[str, Any]:
    """Two boxes on each image, inside it."""
    generator = rng("coco")
    boxes: list[dict[str, Any]] = []
    for index in range(len(IDS)):
        for _ in range(2):
            x, y = generator.randint(4, 8), generator.randint(4, 7)
            box = {"image_id": 100 + index, "bbox": [x, y, generator.randint(2, 4), generator.randint(2, 4)]}
            boxes.append({**box, "category_id": generator.choice((7, 3)), "iscrowd": 0})
    files = [
        {"id": 100 + k, "file_name": f"{name}.png", "width": SIZE[1], "height": SIZE[0]} for k, name in enumerate(IDS)
    ]
    names = [{"id": 7, "name": "car"}, {"id": 3, "name": "person"}]
    return {"images": files, "annotations": boxes, "categories": names}


def write_folder(root: Path) -> Path:
    """Images, index images, labels and metadata; boxes are added by those that try them."""
    generator = np.random.default_rng(SEED)
    (root / "images").mkdir(parents=True)
    (root / "regions").mkdir()
    for name in IDS:
        pixels = generator.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        labels = generator.integers(0, len(CLASSES), SIZE).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"images/{name}.png")
        Image.fromarray(labels).save(root / f"regions/{name}.png")
    write_rows(root / "metadata.csv", metadata())
    write_rows(root / "classes.csv", [["index", "name"], *([str(k), name] for k, name in enumerate(CLASSES))])
    return root


def write_coco_file(root: Path, content: Any) -> None:
    (root / "annotations.json").write_text(content if isinstance(content, str) else json.dumps(content))


def tree(folder: Path) -> set[str]:
    """Everything below a folder; links are not followed."""
    return {os.path.join(at, name) for at, folders, files in os.walk(folder) for name in (*folders, *files)}


@contextmanager
def soon(seconds: int = 10) -> Iterator[None]:
    """Whoever opens a pipe waits for ever: that is a failure and no hang."""

    def late(*_: object) -> None:
        raise TimeoutError(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """The one line with which a command refuses; `folder` is as it was."""
    before = tree(folder)
    with soon(), pytest.raises(SystemExit) as caught:
        main(arguments)
    shown = capsys.readouterr()
    assert caught.value.code == 2, shown
    lines = shown.err.splitlines()
    assert len(lines) == 1 and "Traceback" not in shown.out, shown
    assert re.match("hardmine: error: .+(: | must be ).+", lines[0])
    assert tree(folder) == before
    return lines[0]
