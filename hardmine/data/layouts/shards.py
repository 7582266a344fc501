"""WebDataset: tar files that are read from the first byte to the last."""

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from hardmine.data.export import Example
from hardmine.data.labelled import LabelledImages
from hardmine.data.layouts.base import Layout, png

_LARGEST = 256 << 20  # bytes of a shard, which the last image may go beyond


class ShardsLayout(Layout):
    """Shards `<split>-000000.tar`; the same examples give the same bytes.

        <number>.png            the image
        <number>.mask.png       class of each pixel, where masks are recognised
        <number>.cls            number of the class, where there is one for each image
        <number>.regions.png    area of each pixel, where the labels are others
        <number>.json           id, split, environment, of a piece of what it was made, and `boxes` (x1, y1, x2, y2 in
                                pixels) with their `labels`

    `classes.json` beside the shards has the names of the classes and areas.
    """

    def __init__(self, out: Path, images: LabelledImages, largest: int = _LARGEST) -> None:
        super().__init__(out, images)
        self._largest = largest
        self._open: tuple[str, tarfile.TarFile] | None = None  # split and its shard
        self._shards: dict[str, int] = {}
        self._number = 0

    def add(self, example: Example) -> None:
        if self._open is None or self._open[0] != example.split or self._open[1].offset >= self._largest:
            self._next(example.split)
        assert self._open is not None
        labels, told = example.labels, {"id": example.name, "split": example.split}
        facts: dict[str, Any] = {**told, "environment": dict(example.environment)}
        if example.piece:
            facts["piece"] = dict(example.piece)
        files = {"png": png(example.image)}
        files["mask.png" if self.kind == "masks" else "regions.png"] = png(example.regions)
        if self.kind == "classes":
            files["cls"] = str(int(labels["target"])).encode()
            facts["label"] = self.classes[int(labels["target"])]
        if self.kind == "boxes":
            there = labels["labels"] >= 0
            facts["boxes"], facts["labels"] = labels["boxes"][there].tolist(), labels["labels"][there].tolist()
        files["json"] = json.dumps(facts, ensure_ascii=False).encode()
        for ending, content in files.items():
            # an id may have dots, and WebDataset takes what follows the first one for the ending
            entry = tarfile.TarInfo(f"{self._number:08d}.{ending}")  # without a time and an owner
            entry.size = len(content)
            self._open[1].addfile(entry, io.BytesIO(content))
        self._number += 1

    def _next(self, split: str) -> None:
        self._close()
        number = self._shards[split] = self._shards.get(split, -1) + 1
        path = self.out / f"{split}-{number:06d}.tar"
        self._open = split, tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  # filled by `add`

    def _close(self) -> None:
        if self._open is not None:
            shard = self._open[1]
            shard.close()
            with open(shard.name, "rb") as file:  # type: ignore[arg-type]
                os.fsync(file.fileno())
        self._open = None

    def finish(self) -> list[str]:
        self._close()
        names = {"classes": list(self.classes), "areas": list(self.areas)}
        (self.out / "classes.json").write_text(json.dumps(names, ensure_ascii=False) + "\n")
        return []
