"""What a run was given, told so that it shows when it goes on with something else."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hardmine.data.labelled import LabelledImages, in_threads
from hardmine.data.module import LabelledData
from hardmine.files import write_atomically
from hardmine.store import ParameterStore

_DIGESTS = {"store": "the store holds others", "predictor": "the predictor has other weights"}
_COLUMNS = ("split", "id", "image", "labels")


class Inventory:
    """A row for each image of some splits, in their order, and names and digests beside them.

    `image` and `labels` are digests with what is cheaply known first, so that the shorter of two can be compared: sizes
    of files always, their content as far as there is memory for the images of a split (`cache_gib`).

    Args:
        splits: that were looked at, with images or without.
        rows: split, id, image and labels of each image.
        names: what belongs to no single image: areas, classes, the digests of a store and a predictor that were given.
    """

    def __init__(self, splits: Sequence[str], rows: Sequence[tuple[str, str, str, str]], names: dict[str, str]) -> None:
        self.splits, self.rows, self.names = tuple(splits), list(rows), names

    @classmethod
    def of(
        cls,
        data: LabelledData,
        splits: Sequence[str],
        store: ParameterStore | None = None,
        predictor: Path | None = None,
    ) -> "Inventory":
        """Look at data.

        Args:
            data: whose images are there.
            splits: of it that count.
            store: one that was read from a table; one that is measured follows from the images.
            predictor: a checkpoint that tells the areas of images without index images.
        """
        names = {"areas": ", ".join(data.areas), "classes": ", ".join(data.classes)}
        if store is not None:
            said = repr((store.ids, store.environment)).encode()
            names["store"] = _digest(said + store.parameters.numpy().tobytes() + store.count.numpy().tobytes())
        if predictor is not None:
            with predictor.open("rb") as file:
                names["predictor"] = hashlib.file_digest(file, "blake2b").hexdigest()
        rows = [
            (split, *row)
            for split in splits
            if data.has(split)
            for row in _rows(data.split(split), int(data.cache_gib * 2**30))
        ]
        return cls(splits, rows, names)

    def save(self, path: Path) -> None:
        columns = dict(zip(_COLUMNS, map(list, zip(*self.rows, strict=True)), strict=True))
        table = pa.table(columns).replace_schema_metadata({"hardmine": json.dumps([self.splits, self.names])})
        write_atomically(path, lambda file: pq.write_table(table, file))

    @classmethod
    def load(cls, path: Path) -> "Inventory":
        table = pq.read_table(path)
        splits, names = json.loads(table.schema.metadata[b"hardmine"])
        return cls(splits, list(zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True)), names)

    def change(self, now: "Inventory") -> str | None:
        """What is otherwise now, as far as both tell of it; None where nothing is."""
        for what, then in self.names.items():
            if now.names.get(what, then) != then:
                return _DIGESTS.get(what, f"the {what} are {now.names[what]}, not {then}")
        for split in self.splits:
            if split in now.splits and (why := _change(self._of(split), now._of(split))):
                return f"{why} in the split {split}"
        return None

    def _of(self, split: str) -> dict[str, tuple[str, str]]:
        return {name: (image, labels) for of, name, image, labels in self.rows if of == split}


def _change(then: dict[str, tuple[str, str]], now: dict[str, tuple[str, str]]) -> str | None:
    both = [name for name in then if name in now]
    found = {
        "is gone": [name for name in then if name not in now],
        "is new": [name for name in now if name not in then],
        "stands in another place": [name for name, other in zip(then, now, strict=False) if name != other],
        "has other pixels": [name for name in both if not _alike(then[name][0], now[name][0])],
        "has other labels": [name for name in both if not _alike(then[name][1], now[name][1])],
    }
    for what, names in found.items():
        if names:
            return f"{names[0]} {what}" + (f", and so on ({len(names)} images)" if len(names) > 1 else "")
    return None


def _alike(one: str, other: str) -> bool:
    return all(here == there for here, there in zip(one.split(), other.split(), strict=False))


def _rows(images: LabelledImages, room: int) -> list[tuple[str, str, str]]:
    """Id, image and labels of each image; so many bytes of files are read."""
    numbers = range(len(images))
    sizes = in_threads(
        lambda index: [path.stat().st_size for path in images.read_from(index)], numbers, "counting images"
    )
    read, total = [], 0
    for each in sizes:
        total += sum(each)
        read.append(total <= room)

    def row(index: int) -> tuple[str, str, str]:
        files = [
            f"{size} {_digest(path.read_bytes())}" if read[index] else f"{size}"
            for path, size in zip(images.read_from(index), sizes[index], strict=True)
        ]
        said = _digest(images.said(index).encode())
        return images.ids[index], files[0] if files else said, " ".join([said, *files[1:]])

    return in_threads(row, numbers, "comparing images")


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
