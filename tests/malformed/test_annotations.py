"""annotations.json."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hardmine.data import FolderData
from malformed.ground import IDS, SIZE, Case, Spoil, coco, refused, rng, write_coco_file, write_folder

Change = Callable[[dict[str, Any]], object]
BOXES = len(coco()["annotations"])
NUMBERS: tuple[Any, ...] = (None, "x", [], {}, True, 1.5)  # in place of a whole number


def changed(change: Change) -> Spoil:
    def spoil(root: Path) -> None:
        content = coco()
        change(content)
        write_coco_file(root, content)

    return spoil


def text(change: Callable[[str], str]) -> Spoil:
    return lambda root: write_coco_file(root, change(json.dumps(coco())))


def entry(table: str, key: str, value: Any, index: int = 0) -> Spoil:
    return changed(lambda content: content[table][index].__setitem__(key, value))


def in_corners(content: dict[str, Any]) -> None:
    for box in content["annotations"]:
        x, y, width, height = box["bbox"]
        box["bbox"] = [x, y, x + width, y + height]


def cases() -> Iterator[tuple[str, Case]]:
    for name, value in (("nothing", ""), ("a list", "[]"), ("a word", '"boxes"'), ("null", "null"), ("a number", "3")):
        yield (
            f"file of {name}",
            (lambda root, v=value: write_coco_file(root, v), r"(not readable as JSON|one JSON object)"),
        )  # type: ignore[misc]
    for share in (0.1, 0.5, 0.9, 0.999):
        yield (
            f"cut off at {share}",
            (text(lambda content, s=share: content[: int(len(content) * s)]), r"not readable as JSON"),
        )  # type: ignore[misc]
    yield "single quotes", (text(lambda content: content.replace('"', "'")), r"not readable as JSON")
    yield "a comma at the end", (text(lambda content: content.replace("]", ",]")), r"not readable as JSON")
    yield "two objects", (text(lambda content: content + content), r"not readable as JSON")
    yield "too deep", (text(lambda _: "[" * 100_000), r"not readable as JSON")
    yield (
        "a number of 5000 digits",
        (text(lambda c: c.replace('"width": 16', f'"width": {"9" * 5000}')), r"not readable as JSON"),
    )
    for key in ("images", "annotations", "categories", "bbox", "file_name", "name"):
        yield (
            f"key {key} twice",
            (
                text(lambda content, k=key: content.replace(f'"{k}":', f'"{k}": [], "{k}":', 1)),
                rf"the key '{key}' is twice",  # type: ignore[misc]
            ),
        )
    for name in ("images", "annotations", "categories"):
        wrong: tuple[Any, ...] = ({}, None, "x", 3)
        for value in wrong:
            yield (
                f"{name} of {value}",
                (
                    changed(lambda content, n=name, v=value: content.__setitem__(n, v)),
                    rf"the list '{name}' is missing",  # type: ignore[misc]
                ),
            )
        index = rng(name).randrange(2)
        for value in (None, [], "x", 3):
            yield (
                f"{name} with an entry {value}",
                (
                    changed(lambda content, n=name, k=index, v=value: content[n].__setitem__(k, v)),  # type: ignore[misc]
                    rf"{name}\[{index}\] is no object",
                ),
            )
    for table, keys in (
        ("images", ("id", "file_name", "width", "height")),
        ("annotations", ("image_id", "category_id", "bbox")),
        ("categories", ("id", "name")),
    ):
        for key in keys:
            index = rng(table, key).randrange(2)
            where = rf"{table}\[{index}\]"
            yield (
                f"{table} without {key}",
                (
                    changed(lambda content, t=table, k=key, i=index: content[t][i].pop(k)),
                    rf"{where} has no '{key}'",  # type: ignore[misc]
                ),
            )
            for value in NUMBERS:
                if not isinstance(
                    value,
                    str
                    if key in ("id", "file_name", "name", "image_id", "category_id")
                    else list
                    if key == "bbox"
                    else tuple,
                ):
                    yield f"{table} with {key} {value}", (entry(table, key, value, index), rf"{where}: {key} must be")
    index = rng("bbox").randrange(BOXES)
    where = rf"annotations\[{index}\]"
    for value in (
        *([4, 4, size, 3] for size in (0, -1, -0.5)),
        *([4, 4, 3, size] for size in (0, -2)),
        [16, 4, 3, 3],
        [4, 12, 3, 3],
        [-9, 4, 3, 3],
        [4, -3, 3, 3],
        [1e6, 4, 3, 3],
        [4, 4, 1e-12, 3],
        [float("nan"), 4, 3, 3],
        [4, 4, float("inf"), 3],
        [4, 4, 3, float("-inf")],
        [1e300, 4, 3, 3],
        [],
        [4, 4, 3],
        [4, 4, 3, 3, 1],
        ["4", 4, 3, 3],
        [None, 4, 3, 3],
        [True, 4, 3, 3],
        [[4], 4, 3, 3],
    ):
        yield f"bbox {value}", (entry("annotations", "bbox", value, index), rf"{where}: bbox .*(correct|drop)")
    for key, listed, wrong in (
        ("image_id", "images", (0, -1, 99, "100", 10**9)),
        ("category_id", "categories", (0, 1, 2, "7", -3)),
    ):
        for value in wrong:
            yield (
                f"{key} {value!r}",
                (entry("annotations", key, value, index), rf"{where}: {key} .* is not among {listed}"),
            )
    for value in (2, -1, "1", None, [], 0.5):
        yield f"iscrowd {value!r}", (entry("annotations", "iscrowd", value, index), rf"{where}: iscrowd must be 0 or 1")
    for key in ("width", "height"):
        for value in (0, -5):
            yield f"{key} {value}", (entry("images", key, value), r"image 100 has width or height below 1")
        yield f"another {key}", (entry("images", key, 40, 7), r"p07\.png: 16 x 12 pixels, annotations\.json says")
    yield "image id twice", (entry("images", "id", 101), r"id 101 is twice in images")
    yield "file name twice", (entry("images", "file_name", "x/p01.png"), r"file_name .* names one image twice")
    yield "file name empty", (entry("images", "file_name", ""), r"file_name '' is empty")
    for value in ("q00.png", "p00 .png", "P00.png"):
        yield f"file name {value}", (entry("images", "file_name", value), r"no image has the file name of 'p00'")
    yield (
        "an image missing",
        (
            changed(
                lambda c: (
                    c["images"].pop(4),
                    c.update(annotations=[b for b in c["annotations"] if b["image_id"] != 104]),
                )
            ),
            r"no image has the file name of 'p04'",
        ),
    )
    yield "category id twice", (entry("categories", "id", 3), r"id 3 is twice in categories")
    for value in ("", "person", "Person", "per son", "car ", " car", "car\n", "c\u200bar", "\ud800", "rest"):
        yield f"category {value!r}", (entry("categories", "name", value), r"annotations\.json: .*(name|rest)")
    yield "no categories", (changed(lambda c: c.update(categories=[])), r"at least one entry")
    yield "no boxes", (changed(lambda c: c.update(annotations=[])), r"have no box: add some")
    yield (
        "all crowds",
        (changed(lambda c: [b.update(iscrowd=1) for b in c["annotations"]]), rf"no box but {BOXES} of crowds"),
    )
    yield (
        "boxes of other images alone",
        (
            changed(
                lambda c: (
                    c["images"].append({"id": 1, "file_name": "q.png", "width": 9, "height": 9}),
                    [b.update(image_id=1, bbox=[1, 1, 2, 2]) for b in c["annotations"]],
                )
            ),
            r"have no box: add some",
        ),
    )
    yield "corners for sizes", (changed(in_corners), r"boxes reach over the edge .* write bbox as x, y, width, height")


CASES = {name: (spoil, found) for name, (spoil, found) in cases()}


@pytest.mark.parametrize("case", CASES)
def test_malformed_annotations(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, found = CASES[case]
    (root := write_folder(tmp_path / "photos")).joinpath("regions").rename(root / "unused")
    spoil(root)
    said = refused(capsys, tmp_path, "store", f"root={root}", f"out={tmp_path / 'new/s.parquet'}")
    assert re.search(found, said), said
    assert str(root) in said


ACCEPTED: dict[str, tuple[Spoil, str, str]] = {
    "ids with gaps": (changed(lambda _: None), "COCO's own have them", "a class is its place among them"),
    "over the edge": (
        entry("annotations", "bbox", [1, 1, 40, 3], 1), "annotators draw over it", "1 boxes reach over the edge"
    ),
    "some crowds": (entry("annotations", "iscrowd", 1), "COCO's own evaluation leaves them out", "1 boxes of crowds"),
    "iscrowd left out": (changed(lambda c: c["annotations"][0].pop("iscrowd")), "many programs write none", ""),
    "a box twice": (
        changed(lambda c: c["annotations"].append(c["annotations"][0])), "two annotators may agree",
        "1 boxes that are twice there are taken once",
    ),
    "an image without boxes": (
        changed(lambda c: c.update(annotations=[b for b in c["annotations"] if b["image_id"] != 100])),
        "nothing is on it", "",
    ),
    "images that are not used": (
        changed(lambda c: c["images"].append({"id": "q", "file_name": "q.png", "width": 9, "height": 9})),
        "a folder may be a part of what the file is of", "",
    ),
    "ids that are texts": (
        changed(lambda c: [e.update(id=str(e["id"])) for e in c["categories"]]
                + [b.update(category_id=str(b["category_id"])) for b in c["annotations"]]),
        "they only refer to each other", "not 1, 2, 3",
    ),
    "further keys": (changed(lambda c: c.update(licenses=[], info=None)), "COCO's own files have them", ""),
    "slashes of Windows": (entry("images", "file_name", "x\\p00.png"), "it says the same as x/p00.png", ""),
    "byte order mark": (text(lambda content: "\ufeff" + content), "it says nothing else", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted_annotations(case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spoil, _, told = ACCEPTED[case]
    (root := write_folder(tmp_path / "photos")).joinpath("regions").rename(root / "unused")
    spoil(root)
    data = FolderData(str(root), size=SIZE, batch_size=2)
    data.look()
    data.look()
    assert data.classes == ("car", "person") and len(data.layout.all_rows) == len(IDS)
    assert sum("a class is its place" in line for line in caplog.messages) == 1
    assert len(caplog.messages) == 1 + ("boxes" in told)
    assert told in " ".join(caplog.messages)
