"""Runs of the command line, each made once, and what they left in their folders."""

import csv
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from conformance import world
from hardmine.cli import main
from hardmine.cli.export import write_pieces

Array = np.ndarray
NETWORK = ("~model", "+model={_target_: conformance.world.Pixels, classes: ${classes}}")
PLAIN = ("data.flip=false", "logger=none", "trainer.accelerator=cpu", "trainer.precision=32-true")
WHOLE = 3  # number of the last region


class Stored:
    """The table of a parameter store, as a reader of Parquet finds it."""

    def __init__(self, table: pa.Table) -> None:
        rows = table.to_pylist()
        self.ids = list(dict.fromkeys(row["target"] for row in rows))
        self.areas = list(dict.fromkeys(row["area"] for row in rows))  # the whole image last
        shape = (len(self.ids), len(self.areas))
        self.axes = [name for name in table.column_names if name.startswith(("mean_", "std_"))]
        self.parameters = np.stack([np.array(table[name], np.float32) for name in self.axes], axis=-1)
        self.parameters = self.parameters.reshape(*shape, -1)
        self.pixels = np.array(table["pixels"]).reshape(shape) if "pixels" in table.column_names else None
        self.environment = {
            name.removeprefix("environment."): table[name].to_pylist()[:: shape[1]]
            for name in table.column_names
            if name.startswith("environment.")
        }

    def cells(self) -> list[tuple[str, ...]]:
        """The environment of each target."""
        return list(zip(*self.environment.values(), strict=True))


class Ledger:
    """Every verdict of a run, oldest first: the columns of its ledger as arrays of N rows."""

    def __init__(self, folder: Path) -> None:
        table = pq.read_table(folder)
        for name in table.column_names:
            column = table[name].combine_chunks()
            if pa.types.is_fixed_size_list(column.type):
                value = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
            else:
                value = column.to_numpy(zero_copy_only=False)
            setattr(self, name, value)
        self.parameter = self.parameter.reshape(*self.chosen.shape, -1)
        self.counted = self.chosen & self.present  # regions that were converted in fact

    source: Array
    draw: Array
    chosen: Array
    present: Array
    parameter: Array
    target: Array
    piece: Array
    parent: Array
    depth: Array
    score: Array
    area_score: Array
    step: Array

    def __len__(self) -> int:
        return len(self.source)

    @property
    def row_of_piece(self) -> dict[int, int]:
        return {int(piece): row for row, piece in enumerate(self.piece) if piece >= 0}


class Run:
    """A folder that a command left.

    Args:
        path: of the run.
        photos: the images that it read.
        write: writes its pieces, and says where.
        said: on the screen.
    """

    def __init__(self, path: Path, photos: Path, write: Callable[[], Path], said: str) -> None:
        self.path, self.photos, self.write, self.said = path, photos, write, said

    @cached_property
    def out(self) -> Path:
        """The folder of its pieces, written when somebody looks at them."""
        return self.write()

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.path / "ledger")

    @cached_property
    def store(self) -> Stored:
        return Stored(pq.read_table(self.path / "store.parquet"))

    @cached_property
    def graph(self) -> dict[str, Array]:
        """uses and accuracy (M, R) of the distribution graph."""
        table = pq.read_table(self.path / "graph.parquet")
        shape = self.store.parameters.shape[:2]
        names = ("uses", "accuracy", "mean_L", "std_L")
        return {name: np.array(table[name]).reshape(shape) for name in names if name in table.column_names}

    @cached_property
    def trace(self) -> list[dict[str, str]]:
        return rows_of(self.path / "trace.csv")

    @cached_property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "summary.json").read_text()))

    @cached_property
    def pieces(self) -> list[dict[str, str]]:
        """Rows of pieces.csv, by number."""
        return sorted(rows_of(self.out / "pieces.csv"), key=lambda row: int(row["piece"]))

    def image(self, row: dict[str, str]) -> Array:
        """(H, W, 3) uint8 of a piece."""
        return pixels(self.out / f"images/{row['id']}.png")

    def regions(self, row: dict[str, str]) -> Array:
        """(H, W) uint8, the index image of a piece."""
        return pixels(self.out / f"regions/{row['id']}.png")

    def source(self, row: dict[str, str]) -> tuple[Array, Array]:
        """Image and index image that a piece was made of."""
        return pixels(self.photos / f"images/{row['source']}.png"), pixels(self.photos / f"regions/{row['source']}.png")


def pixels(path: Path) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class Runs:
    """Makes runs in a folder of its own; the same command line is run once.

    Args:
        folder: empty.
        photos: of `world.write_world`.
        capture: reads what a command printed.
    """

    def __init__(self, folder: Path, photos: Path, capture: Callable[[], str] = lambda: "") -> None:
        self.folder, self.photos, self.capture = folder, photos, capture
        self.made: dict[tuple[str, ...], Run] = {}
        self.weights = folder / "weights.pt"
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(world.by_brightness(), self.weights)

    def of_mean(self) -> Path:
        """Weights of `world.Mean`."""
        path = self.folder / "mean.pt"
        torch.save(
            {f"pixels.{name}": value for name, value in world.by_brightness(sharp=20.0 * world.SOFT).items()}, path
        )
        return path

    def of_boxes(self) -> Path:
        """Weights of `world.Boxes`."""
        path = self.folder / "boxes.pt"
        torch.save(world.Boxes(2).state_dict(), path)
        return path

    def place(self, name: str) -> Path:
        """A path that nothing has yet."""
        return self.folder / f"{len(list(self.folder.iterdir()))}_{name}"

    @property
    def data(self) -> tuple[str, ...]:
        return "data=folder", f"data.root={self.photos}", f"data.size=[{world.HEIGHT},{world.WIDTH}]", *PLAIN

    def few(self, *sources: str) -> str:
        """A data root with some of the source images alone."""
        root = self.folder / "_".join(sources)
        if not root.exists():
            root.mkdir()
            for path in self.photos.iterdir():
                if path.name != "metadata.csv":
                    (root / path.name).symlink_to(path)
            rows = rows_of(self.photos / "metadata.csv")
            world.write_rows(root / "metadata.csv", [r for r in rows if r["split"] != "train" or r["id"] in sources])
        return f"data.root={root}"

    def search(self, *overrides: str, experiment: str | None = "first_embodiment", pictures: bool = False) -> Run:
        """`hardmine mine experiment=first_embodiment`, by a network that knows brightness alone."""
        chosen = [] if experiment is None else [f"experiment={experiment}"]
        model = () if any(one.startswith("+model") for one in overrides) else (*NETWORK, f"ckpt={self.weights}")
        return self._once("mine", (*chosen, *self.data, *model, *overrides), pictures)

    def learn(self, *overrides: str) -> Run:
        """`hardmine train experiment=second_embodiment` of the same network, which learns fast."""
        ways = ("mining.start=0", "data.batch_size=4", "task.lr=0.05", f"ckpt={self.weights}")
        return self._once(
            "train", ("keep=all", "experiment=second_embodiment", *self.data, *NETWORK, *ways, *overrides), False
        )

    def train(self, *overrides: str, pictures: bool = False) -> Run:
        """`hardmine train`, the default."""
        ways = ("mining.start=0", "data.batch_size=4", "task.lr=0.05", f"ckpt={self.weights}")
        return self._once("train", ("keep=all", *self.data, *NETWORK, *ways, *overrides), pictures)

    def _once(self, command: str, arguments: tuple[str, ...], pictures: bool) -> Run:
        key = (command, *arguments, str(pictures))
        if key not in self.made:
            self.made[key] = self._run(command, arguments, pictures)
        return self.made[key]

    def _run(self, command: str, arguments: tuple[str, ...], pictures: bool) -> Run:
        path = self.place(command)
        self.capture()
        with pytest.MonkeyPatch.context() as patch:
            if not pictures:  # nobody looks at them
                patch.setattr("hardmine.report.graph.draw_graph", lambda *_: None)
                patch.setattr("hardmine.report.gallery.Gallery.look", lambda *_: None)
                patch.setattr("hardmine.report.gallery.Gallery.write", lambda *_: None)
                patch.setattr("hardmine.callbacks.Pictures.on_train_batch_end", lambda *_: None)
            exports: list[tuple[Any, ...]] = []
            if not pictures:
                patch.setattr("hardmine.cli.export.write_pieces", lambda *given: exports.append(given))
            if command == "mine":
                main([command, *arguments, f"out={path}"])
            else:
                main([command, *arguments, f"hydra.run.dir={path}"])
        pieces = self.place("pieces")

        def write() -> Path:
            if command == "train":
                main(["export", f"run={path}", f"out={pieces}", "sources=false", "allow=[conformance]"])
                return pieces
            for given in exports:
                write_pieces(*given)
            return path

        return Run(path, self.photos, write, self.capture())
