"""Stores and tables of statistics made elsewhere: Parquet files and tables of databases."""

import json
import math
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardmine.errors import InputError
from hardmine.space import LAB, RGB
from hardmine.store import ParameterStore
from malformed.ground import Spoil, refused, rng

Columns = dict[str, Any]
WHOLE = "(whole image)"
TARGETS, AREAS = ("x", "y", "z"), ("sky", "road", WHOLE)
ROWS = [(target, area) for target in TARGETS for area in AREAS]
TIME = {"x": "day", "y": "night", "z": "night"}
FACTS: dict[str, Any] = {"version": 1, "areas": ["sky", "road"], "axes": [vars(axis) for axis in LAB.axes]}

Case = tuple[Spoil, str]


def statistics(names: tuple[str, ...] = LAB.names) -> Columns:
    """Three targets of two areas, with numbers that colours of photographs may have."""
    generator = rng("statistics")
    lowest = {"mean_L": 40.0, "mean_a": -6.0, "mean_b": -9.0, "mean_R": 90.0, "mean_G": 80.0, "mean_B": 70.0}
    columns: Columns = {"target": [target for target, _ in ROWS], "area": [area for _, area in ROWS]}
    columns["pixels"] = [generator.randint(50, 200) for _ in ROWS]
    for name in names:
        columns[name] = [round(lowest.get(name, 5.0) + generator.uniform(0, 12), 3) for _ in ROWS]
    columns["environment.time"] = [TIME[target] for target, _ in ROWS]
    return columns


def write(path: Path, columns: Columns, facts: str | bytes | None = None) -> None:
    table = pa.table({name: values for name, values in columns.items() if values is not None})
    if facts is not None:
        table = table.replace_schema_metadata({"hardmine.store": facts})
    pq.write_table(table, path)


def store(root: Path) -> Path:
    """A run folder as `hardmine store run=` takes it, with a good store."""
    root.mkdir()
    write(root / "store.parquet", statistics())
    return root


def of(**changed: Any) -> Spoil:
    """Columns replaced, or left out where they are None."""
    return lambda root: write(root / "store.parquet", {**statistics(), **changed})


def at(row: int, column: str, value: Any) -> Spoil:
    values = list(statistics()[column])
    values[row] = value
    return of(**{column: values})


def each(change: Callable[[str, float], float], names: tuple[str, ...] = LAB.names) -> Spoil:
    columns = statistics(names)
    return lambda root: write(
        root / "store.parquet",
        {**columns, **{name: [change(name, value) for value in columns[name]] for name in names}},
    )


def rows(keep: Callable[[str, str], bool]) -> Spoil:
    kept = [keep(*row) for row in ROWS]
    return lambda root: write(
        root / "store.parquet",
        {name: [v for v, there in zip(values, kept, strict=True) if there] for name, values in statistics().items()},
    )


def twice(*copied: int) -> Spoil:
    return lambda root: write(
        root / "store.parquet",
        {name: values + [values[row] for row in copied] for name, values in statistics().items()},
    )


def renamed(**names: str) -> Spoil:
    """Columns of other names."""
    return lambda root: write(
        root / "store.parquet", {names.get(name, name): values for name, values in statistics().items()}
    )


def facts(text: str | bytes) -> Spoil:
    return lambda root: write(root / "store.parquet", statistics(), text)


def fact(**changed: Any) -> Spoil:
    return facts(json.dumps({name: value for name, value in {**FACTS, **changed}.items() if value is not ...}))


def axes(**changed: Any) -> Spoil:
    return fact(axes=[{**axis, **changed} for axis in FACTS["axes"]])


def content(change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(root: Path) -> None:
        path = root / "store.parquet"
        path.write_bytes(change(path.read_bytes()))

    return spoil


def as_csv(delimiter: str = ",", before: str = "") -> Spoil:
    columns = statistics()
    lines = [delimiter.join(map(str, line)) for line in (columns, *zip(*columns.values(), strict=True))]
    return content(lambda _: (before + "\n".join(lines)).encode())


def place(make: Callable[[Path], object]) -> Spoil:
    def spoil(root: Path) -> None:
        (root / "store.parquet").unlink()
        make(root / "store.parquet")

    return spoil


def column_twice(name: str) -> Spoil:
    def spoil(root: Path) -> None:
        table = pa.table(statistics())
        pq.write_table(table.append_column(name, table[name]), root / "store.parquet")

    return spoil


def no_rows(root: Path) -> None:
    pq.write_table(pa.table(statistics()).slice(0, 0), root / "store.parquet")


def opencv(name: str, value: float) -> float:
    return value * 2.55 if name.endswith("L") else value + 128 if name.startswith("mean") else value


NO_NUMBERS: dict[str, Any] = {
    "texts": ["60"] * 9,
    "truths": [True] * 9,
    "lists": [[1.0]] * 9,
    "times": pa.array([0] * 9, pa.timestamp("s")),
    "bytes": [b"60"] * 9,
    "structs": [{"L": 60.0}] * 9,
}

WRONG_AXES: dict[str, tuple[Any, ...]] = {
    "low": (None, "0", math.nan, []),
    "high": (None, "inf", math.nan),
    "unit": (0, -1, None, "1"),
    "spread": (1, "no", None),
    "graph": ("yes", 0),
    "name": (3, None, []),
    "further": (1,),
}


def cases() -> Iterator[tuple[str, Case]]:
    for name in LAB.names:
        high = 128 if name == "mean_b" else 101
        wrong = [math.nan, math.inf, -math.inf, None, 1e6, -1e6, 1e300, *([-0.5] if name.startswith("std") else [-140])]
        for value in (*wrong, *([500.0, float(high)] if name == "mean_L" else [200.0])):
            row = rng(name, value).randrange(len(ROWS))
            where = rf"row {row} \({', '.join(map(re.escape, ROWS[row]))}\)"
            yield f"{name} {value}", (at(row, name, value), rf"{where} is no distribution, {name}=.* mend or drop")
        for what, values in NO_NUMBERS.items():
            yield f"{name} of {what}", (of(**{name: values}), rf"column '{name}' holds no numbers: write it as numbers")
        yield f"no {name}", (of(**{name: None}), rf"column '{name}' is missing: add it")
        for form in (name.upper(), name.replace("_", " "), name.replace("_", ""), f"{name}1"):
            yield (
                f"{name} as {form}",
                (renamed(**{name: form}), rf"column '{name}' is missing: add it.*did you mean `{form}`\?"),
            )
        yield f"{name} twice", (column_twice(name), rf"column '{name}' is twice there: leave one out")
    for name in LAB.names[3:]:
        variance = name.replace("std", "var")
        yield f"{variance} beside {name}", (of(**{variance: [4.0] * 9}), rf"'{name}' and '{variance}' say the same")
        yield (
            f"{variance} below 0",
            (of(**{name: None, variance: [4.0] * 5 + [-4.0] * 4}), rf"row 5 has a negative variance {variance}=-4"),
        )
    for column in ("target", "area"):
        yield f"no {column}", (of(**{column: None}), rf"column '{column}' is missing: add it")
        for form in (column.title(), f"{column}s", f"{column} "):
            yield (
                f"{column} as {form}",
                (renamed(**{column: form}), rf"column '{column}' is missing: add it.*did you mean `{form}`\?"),
            )
        numbers = [TARGETS.index(one) if column == "target" else AREAS.index(other) for one, other in ROWS]
        for what, values in {
            "whole numbers": numbers,
            "numbers": [float(number) for number in numbers],
            "bytes": [name.encode() for name in statistics()[column]],
            "lists": [[name] for name in statistics()[column]],
            "truths": [number > 0 for number in numbers],
        }.items():
            yield f"{column} of {what}", (of(**{column: values}), rf"column '{column}' holds no texts.*: write")
        for value in (None, ""):
            row = rng(column, value).randrange(len(ROWS))
            yield f"{column} {value!r}", (at(row, column, value), rf"row {row} has no {column}: fill it in or drop")
        yield f"all {column}s null", (of(**{column: [None] * 9}), rf"row 0 has no {column}: fill it in or drop")
        for form in ("{} ", " {}", "{}\t", "{}\u200b", "{}\n", "{}\0"):
            row = rng(column, form).randrange(len(ROWS))
            value = form.format(ROWS[row][column == "area"])
            yield f"{column} {form!r}", (at(row, column, value), rf"row {row}: {column} .* has a .*: remove it")
    yield "target Y", (at(2, "target", "Y"), r"target .* differs from .* in blanks or case alone")
    yield "area Sky", (at(3, "area", "Sky"), r"area 'Sky' differs from 'sky' \(row 0\) in blanks or case alone")
    yield "area r oad", (at(4, "area", "r oad"), r"area 'r oad' differs from 'road' \(row 1\) in blanks or case alone")
    for copied in ((0,), (4,), (8,), (0, 1, 2), tuple(range(9))):
        yield f"rows {copied} twice", (twice(*copied), r"two rows are of target .* and area .*: drop one")
    yield "no rows", (no_rows, r"the table has no rows: add one for each")
    yield (
        "no columns",
        (lambda root: pq.write_table(pa.table({}), root / "store.parquet"), r"column 'mean_L' is missing"),
    )
    yield (
        "whole images alone",
        (rows(lambda _, area: area == WHOLE), r"no area .* has 20 pixels or more: lower store\.min"),
    )
    for name in ("whole image", "(Whole image)", "(whole_image)", "( whole image )", "(whole images)"):
        areas = [name if area == WHOLE else area for _, area in ROWS]
        yield (
            f"whole images called {name}",
            (of(area=areas), r"rows of whole images are called '\(whole image\)': rename"),
        )
    for value in (-1, 1.5, math.inf, 1e300, -math.inf):
        row = rng("pixels", value).randrange(len(ROWS))
        numbers_of_pixels = [float(number) for number in statistics()["pixels"]]
        numbers_of_pixels[row] = value
        yield f"pixels {value}", (of(pixels=numbers_of_pixels), rf"row {row}: pixels .* is no number of pixels: mend")
    for value in (0, 3, 19):
        yield f"{value} pixels everywhere", (of(pixels=[value] * 9), r"20 pixels or more: lower store\.min_pixels")
    for what in ("texts", "truths", "lists"):
        yield f"pixels of {what}", (of(pixels=NO_NUMBERS[what]), r"column 'pixels' holds no numbers")
    for value in ("dusk", "nights", "day night"):
        row = rng("two", value).randrange(1, 3)
        yield (
            f"two environments, {value}",
            (at(row, "environment.time", value), rf"row {row}: target 'x' has environment\.time '{value}', and 'day'"),
        )
    for value in ("Day", "DAY", "d ay"):
        times = [value if target == "z" else TIME[target] for target, _ in ROWS]
        yield f"environment {value}", (of(**{"environment.time": times}), r"environment\.time .* blanks or case alone")
    yield "environment null", (of(**{"environment.time": [None] * 9}), r"row 0 has no environment\.time: fill it in")
    yield "environment of lists", (of(**{"environment.time": [["day"]] * 9}), r"'environment\.time' holds no texts")
    yield "environment without a name", (of(**{"environment.": ["x"] * 9}), r"environment\.: the column is empty")
    yield "environment.Time", (of(**{"environment.Time": ["x"] * 9}), r"column .* differs .* in blanks or case alone")
    for column in ("image", "index_image"):
        yield f"{column} of numbers", (of(**{column: [1] * 9}), rf"column '{column}' holds no texts")
        paths = [f"{number}.png" for number in range(9)]
        yield f"two of {column}", (of(**{column: paths}), rf"row 1: target 'x' has {column} '1\.png', and '0\.png'")
    yield "Lab of OpenCV", (each(opencv), r"its Lab is OpenCV's in 8 bits .*: write mean_L \* 100 / 255")
    yield (
        "Lab of OpenCV by night",
        (each(lambda name, value: opencv(name, value) * (0.2 if name.endswith("L") else 1)), r"is OpenCV's in 8 bits"),
    )
    yield (
        "Lab of OpenCV, L* set right",
        (each(lambda name, value: value if name.endswith("L") else opencv(name, value)), r"is OpenCV's in 8 bits"),
    )
    yield "L* from 0 to 255", (
        each(lambda name, value: value * 2.55 if name.endswith("L") else value), r"mean_L=.* is not"
    )  # fmt: skip
    yield "Lab from 0 to 1", (each(lambda _, value: value / 128), r"its colours run from 0 to 1: multiply .* by 100")
    yield "RGB from 0 to 1", (each(lambda _, value: value / 255, RGB.names), r"run from 0 to 1: multiply .* by 255")
    yield "RGB of 16 bits", (each(lambda _, value: value * 257, RGB.names), r"is no distribution, mean_R=.* is not")
    yield "facts of other bytes", (facts(b"\xff\xfe"), BROKEN)
    for text in ("", "{", "[]", "null", "3", '"x"', "{}", '{"version": 1}', "[" * 100_000, '{"version": NaN}'):
        yield f"facts {text[:20]!r}", (facts(text), BROKEN)
    for key in FACTS:
        yield f"facts without {key}", (fact(**{key: ...}), BROKEN)
    for value in (0, -1, "1", 1.5, None, True, [], {}):
        yield f"version {value!r}", (fact(version=value), BROKEN)
    for value in (2, 3, 10, 999):
        yield (
            f"version {value}",
            (fact(version=value), rf"a store of version {value}, from a later hardmine.*: update it"),
        )
    for value in ([], [1, 2], "sky", None, {}, ["sky", "road", WHOLE], ["sky", None]):
        yield f"areas {value!r}", (fact(areas=value), BROKEN)
    for names in (["sky", "road", "road"], ["sky", "Sky", "road"], ["sky", "road "], ["sky", ""], ["sky", "ro\nad"]):
        yield (
            f"areas {names!r}",
            (fact(areas=names), r"areas\[\d\] of the metadata.*: .*: ?|areas\[\d\] of the metadata"),
        )
    yield (
        "areas without road",
        (fact(areas=["sky", "tree"]), r"row 1 \(x, road\): the areas in the metadata are sky, tree"),
    )
    yield "axes none", (fact(axes=[]), r"store\.parquet: .*: ")
    for value in (None, "x", [{}], [1], {}, [[]], FACTS["axes"] * 2):
        yield f"axes {value!r:.40}", (fact(axes=value), r"store\.parquet: .*: ")
    for key, wrong_values in WRONG_AXES.items():
        for value in wrong_values:
            yield f"axes with {key} {value!r}", (axes(**{key: value}), BROKEN)
    yield "axes of bounds crossed", (axes(low=200, high=0), r"is no distribution")
    for delimiter, name in ((",", "commas"), (";", "semicolons"), ("\t", "tabs")):
        yield f"CSV with {name}", (as_csv(delimiter), r"not a Parquet file \(it begins with b'target.*: give one")
        yield (
            f"CSV with {name} and a mark",
            (as_csv(delimiter, "\ufeff"), r"not a Parquet file \(it begins with b'\\xef.*"),
        )
    for text in (
        b"",
        b"PAR",
        b"PK\x03\x04",
        b"ARROW1\0\0",
        b"\x80\x04K\x01.",
        b"SQLite format 3\0",
        b'{"a": 1}',
        bytes(99),
    ):
        yield f"content {text[:8]!r}", (content(lambda _, t=text: t), r"not a Parquet file \(it (begins with|is empty)")  # type: ignore[misc]
    for share in (0.01, 0.2, 0.5, 0.8, 0.99):
        yield (
            f"cut off at {share}",
            (
                content(lambda good, s=share: good[: int(len(good) * s)]),
                r"the Parquet file is damaged \(.*\): write it",
            ),  # type: ignore[misc]
        )
    yield "two files in one", (content(lambda good: good + good[:50]), r"the Parquet file is damaged")
    for name, make, said in (
        ("folder", Path.mkdir, "a folder and no file"),
        ("pipe", os.mkfifo, "a pipe, a socket or a device and no file"),
        ("link to itself", lambda path: path.symlink_to(path), "too many levels"),
        ("link to nothing", lambda path: path.symlink_to("gone"), "a link that leads nowhere"),
        ("device", lambda path: path.symlink_to("/dev/zero"), "a pipe, a socket or a device"),
        ("gap", lambda path: None, "no such file"),
    ):
        yield f"a {name}", (place(make), rf"run: .*store\.parquet: {said}.*: name the folder of a run")  # type: ignore[arg-type]


BROKEN = r"the metadata `hardmine\.store` of its schema is broken \(.*\): save the store again, or drop"
CASES = dict(cases())


@pytest.mark.parametrize("case", CASES)
def test_malformed_store(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, found = CASES[case]
    spoil(root := store(tmp_path / "run"))
    said = refused(capsys, tmp_path, "store", f"run={root}")
    assert re.search(found, said), said
    assert f"{root}/store.parquet" in said or "store.min_pixels" in said


@pytest.mark.parametrize("seed", range(40))
def test_malformed_bytes_of_a_saved_store_are_seen(seed: int, tmp_path: Path) -> None:
    """One that hardmine wrote has a checksum for every page, though none for the description at its end."""
    good = ParameterStore.load(store(tmp_path / "run") / "store.parquet")
    good.save(path := tmp_path / "saved.parquet")
    scratched, generator = bytearray(path.read_bytes()), rng("scratch", seed)
    pages = len(scratched) - 8 - int.from_bytes(scratched[-8:-4], "little")
    for _ in range(1 + seed % 3):
        scratched[generator.randrange(pages)] ^= 1 << generator.randrange(8)
    path.write_bytes(scratched)
    try:
        assert ParameterStore.load(path).mark == good.mark
    except InputError as error:
        said = str(error)
        if not said.startswith(f"{path}: ") or "\n" in said:
            raise


# Databases

SQL_COLUMNS = "target TEXT, area TEXT, " + ", ".join(f"{name} REAL" for name in LAB.names)
TABLE = f"CREATE TABLE t ({SQL_COLUMNS});" + "".join(
    f"INSERT INTO t VALUES ('x', '{area}', 50, 1, 2, 5, 6, 7);" for area in ("sky", "road")
)
DATABASES: dict[str, tuple[str, str, str]] = {
    "no table": ("", "t", r"no table 't': the database has none, name another"),
    "another table": ("CREATE TABLE u (a)", "t", r"no table 't': take one of u"),
    "table misspelt": ("CREATE TABLE colors (a)", "colours", r"take one of colors \(did you mean `colors`\?\)"),
    "table in another case": ("CREATE TABLE Colors (a)", "colors", r"take one of Colors \(did you mean `Colors`\?\)"),
    "no rows": (f"CREATE TABLE t ({SQL_COLUMNS})", "t", r"the table has no rows"),
    "other columns": ("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 2)", "t", r"column 'mean_L' is missing: add it"),
    "target misspelt": (TABLE + "ALTER TABLE t RENAME target TO Target", "t", r"did you mean `Target`"),
    "a row twice": (TABLE + "INSERT INTO t SELECT * FROM t", "t", r"two rows are of target 'x' and area 'sky'"),
    "NULL": (TABLE + "UPDATE t SET std_a = NULL", "t", r"row 0 \(x, sky\) is no distribution"),
    "NULL for a name": (TABLE + "UPDATE t SET area = NULL", "t", r"row 0 has no area"),
    "a blob for a number": (TABLE + "UPDATE t SET mean_L = x'00ff'", "t", r"column 'mean_L' holds no numbers"),
    "a blob for a name": (TABLE + "UPDATE t SET target = x'00ff'", "t", r"column 'target' holds no texts"),
    "a text for a number": (TABLE + "UPDATE t SET mean_L = 'dark'", "t", r"column 'mean_L' holds no numbers"),
    "one text for a number": (
        TABLE + "UPDATE t SET mean_L = 'dark' WHERE area = 'sky'",
        "t",
        r"column 'mean_L' holds values of several types",
    ),
    "no UTF-8": (TABLE + "UPDATE t SET target = CAST(x'ff' AS TEXT)", "t", r"sqlite says .*UTF-8"),
    "NUL": (TABLE + "UPDATE t SET target = 'x' || char(0)", "t", r"has a character that does not show \(U\+0000\)"),
    "a deviation below 0": (TABLE + "UPDATE t SET std_b = -1", "t", r"is no distribution, std_b=-1 is not 0 to"),
    "infinity": (TABLE + "UPDATE t SET mean_L = 9e999", "t", r"is no distribution, mean_L=inf is not"),
    "Lab of OpenCV": (TABLE + "UPDATE t SET mean_a = 129, mean_b = 130", "t", r"its Lab is OpenCV's in 8 bits"),
    "a view of nothing": (TABLE + "CREATE VIEW v AS SELECT * FROM t; DROP TABLE t", "v", r"sqlite says 'no such table"),
}  # fmt: skip


@pytest.mark.parametrize("case", DATABASES)
def test_malformed_database(case: str, tmp_path: Path) -> None:
    script, name, found = DATABASES[case]
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.executescript(script)
        connection.commit()
    url = f"sqlite:///{tmp_path}/a.db?table={name}"
    before = (tmp_path / "a.db").read_bytes()
    with pytest.raises(InputError, match=found) as caught:
        ParameterStore.load(url)
    assert str(caught.value).startswith(f"{url}: ") and "\n" not in str(caught.value)
    assert (tmp_path / "a.db").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"text\n" * 300, b"SQLite format 3\0" + bytes(50), bytes(5000), b"PAR1"])
def test_malformed_file_of_a_database(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(content)
    with pytest.raises(
        InputError, match=r"a\.db\?table=t: (sqlite says .*: look at the file|no table 't': the database)"
    ):
        ParameterStore.load(f"sqlite:///{tmp_path}/a.db?table=t")


# Areas that the images do not have

IMAGES = ("sky", "road", "tree")


@pytest.mark.parametrize("area", ["Sky", "SKY", "s ky", "Tree", "TREE"])
def test_malformed_area_that_differs_in_case_from_those_of_the_images(area: str, tmp_path: Path) -> None:
    plain = "sky" if area.lower().replace(" ", "") == "sky" else "road"
    of(area=[area if name == plain else name for _, name in ROWS])(tmp_path)
    loaded = ParameterStore.load(tmp_path / "store.parquet")
    meant = area.lower().replace(" ", "")
    with pytest.raises(InputError, match=rf"area '{area}' differs from '{meant}' of the images in blanks or case"):
        loaded.aligned(IMAGES)


@pytest.mark.parametrize(
    ("area", "said"),
    [("roads", "roads (did you mean `road`?)"), ("pavement", "pavement"), ("trees", "trees (did you mean `tree`?)")],
)
def test_areas_that_the_images_do_not_have_are_told_of(
    area: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    of(area=[area if name == "road" else name for _, name in ROWS])(tmp_path)
    aligned = ParameterStore.load(tmp_path / "store.parquet").aligned(IMAGES)
    assert aligned.areas == IMAGES and aligned.lacking == ["road", "tree"]
    assert caplog.messages == [
        f"hardmine: areas of the parameter store that the images do not have are left out: {said}"
    ]


def test_no_area_in_common(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no area in common \(store: sky, road; images: car, bus\): take a store of"):
        ParameterStore.load(store(tmp_path / "run") / "store.parquet").aligned(("car", "bus"))


# What is accepted

ACCEPTED: dict[str, tuple[Spoil, str, str]] = {
    "whole numbers": (each(lambda _, value: int(value)), "they are numbers", ""),
    "float16": (of(mean_L=pa.array([60.0] * 9, pa.float32()).cast(pa.float16())), "they are numbers", ""),
    "decimals": (of(mean_L=pa.array([60.0] * 9).cast(pa.decimal128(8, 2))), "they are numbers", ""),
    "categories": (of(target=pa.array(statistics()["target"]).dictionary_encode()), "pandas writes them", ""),
    "long texts": (of(target=pa.array(statistics()["target"], pa.large_string())), "polars writes them", ""),
    "hours": (of(**{"environment.time": [8] * 3 + [22] * 6}), "the number of an hour names an environment", ""),
    "an environment that nobody knows": (
        of(**{"environment.time": [""] * 3 + ["night"] * 6}),
        "of some targets nobody knows it",
        "",
    ),
    "no pixels": (of(pixels=None), "a table of statistics may not say on how many they were measured", ""),
    "pixels of some rows": (of(pixels=[None, *statistics()["pixels"][1:]]), "likewise", ""),
    "targets that lack areas": (rows(lambda target, area: target != "x" or area != "sky"), "not all have all", ""),
    "no whole images": (rows(lambda _, area: area != WHOLE), "most tables have none", ""),
    "an area of one colour": (at(0, "std_L", 0.0), "a mask may lie on a plain wall", ""),
    "black": (at(0, "mean_L", 0.0), "by night there is", ""),
    "a rounded white": (at(0, "mean_L", 100.004), "float32 and rounding to two digits do so", ""),
    "the most there is of a deviation": (at(0, "std_L", 50.0), "half black, half white", ""),
    "what is not measured may be anything": (
        of(pixels=[0, *statistics()["pixels"][1:]], mean_L=[-1e6, *statistics()["mean_L"][1:]]),
        "0 pixels say that it is none",
        "",
    ),
    "luminance alone": (
        of(**{name: None for name in LAB.names if not name.endswith("L")}),
        "the simple case of the text",
        "",
    ),
    "further columns": (
        of(camera=["left"] * 9),
        "a table may hold more; it is told",
        "camera; those of an environment",
    ),
    "Pixels": (of(Pixels=[3] * 9), "likewise", "Pixels (did you mean `pixels`?)"),
    "Environment.time": (
        of(**{"Environment.time": ["day"] * 9, "environment.time": None}),
        "likewise",
        "Environment.time (did you mean `environment.time`?)",
    ),
    "an index of pandas": (of(__index_level_0__=list(range(9))), "pandas writes it unasked", ""),
    "facts that say more": (fact(further=1), "a later version may, that this one can read", ""),
    "an area without rows": (fact(areas=["sky", "road", "pole"]), "no target has it", ""),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted_store(case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spoil, _, told = ACCEPTED[case]
    spoil(root := store(tmp_path / "run"))
    loaded = ParameterStore.load(root / "store.parquet")
    assert loaded.ids == TARGETS and set(loaded.areas) >= {"sky", "road"}
    assert loaded.parameters[loaded.valid].isfinite().all() and loaded.valid[:, :2].sum() >= 5
    assert [told in line for line in caplog.messages] == ([True] if told else [])
    if told:
        assert caplog.messages[0].startswith(f"hardmine: {root}/store.parquet: columns that are not read: ")


def test_the_folder_of_a_store_is_no_part_of_it(tmp_path: Path) -> None:
    """As it is where Parquet files are read as a data set: time=night/store.parquet has a column `time`."""
    root = store(tmp_path / "environment.weather=rainy")
    assert ParameterStore.load(root / "store.parquet").environment.keys() == {"time"}
