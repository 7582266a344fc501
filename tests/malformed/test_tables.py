"""metadata.csv and classes.csv."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hardmine.data import FolderData
from hardmine.errors import InputError
from malformed.ground import CLASSES, IDS, Case, Spoil, metadata, refused, rng, write_folder, write_rows

Rows = list[list[str]]
COLUMNS = {"id": 0, "split": 1, "time": 2, "label": 3}


def table(change: Callable[[Rows], object], name: str = "metadata.csv") -> Spoil:
    """A table with its rows changed."""

    def spoil(root: Path) -> None:
        rows = [line.split(",") for line in (root / name).read_text().splitlines()]
        change(rows)
        write_rows(root / name, rows)

    return spoil


def text(change: Callable[[str], str | bytes], name: str = "metadata.csv") -> Spoil:
    """A table with its text changed, whatever a CSV writer would make of it."""

    def spoil(root: Path) -> None:
        changed = change((root / name).read_text())
        (root / name).write_bytes(changed if isinstance(changed, bytes) else changed.encode())

    return spoil


def cell(line: int, column: str, value: str) -> Spoil:
    return table(lambda rows: rows[line].__setitem__(COLUMNS[column], value))


def line(number: int, change: Callable[[str], str], name: str = "metadata.csv") -> Spoil:
    def changed(content: str) -> str:
        lines = content.split("\n")
        lines[number] = change(lines[number])
        return "\n".join(lines)

    return text(changed, name)


MISSPELT = {
    "train": ("Train", "TRAIN", "tran", "trian", "training", "traing", "trains"),
    "val": ("valid", "Val", "vall", "validation", "vla", "dev", "eval"),
    "test": ("tets", "Test", "tes", "testing", "tests", "tset"),
    "target": ("Target", "targets", "taget", "tagret", "targt"),
}
HIDDEN = {
    "a blank": "{} ",
    "a tab": "{}\t",
    "a no-break space": "{}\u00a0",
    "a blank before": " {}",
    "a zero-width": "{}\u200b",
}


def cases() -> Iterator[tuple[str, Case]]:
    """By name: what spoils the folder, and what the line says."""
    for meant, words in MISSPELT.items():
        for word in words:
            number = rng(word).randrange(1, len(IDS) + 1)
            found = rf"metadata\.csv: line {number + 1}: {IDS[number - 1]} .*did you mean `{meant}`\?"
            yield f"split {word}", (cell(number, "split", word), found)
    for column in COLUMNS:
        for name, form in HIDDEN.items():
            number = rng(column, name).randrange(1, len(IDS) + 1)
            value = metadata()[number][COLUMNS[column]]
            found = rf"metadata\.csv: line {number + 1}: {column} .* has a "
            yield f"{column} with {name}", (cell(number, column, form.format(value)), found)
        name = f"column {column} with a blank"
        yield (
            name,
            (table(lambda rows, c=column: rows[0].__setitem__(COLUMNS[c], f"{c} ")), r"metadata\.csv: line 1.* blank"),
        )  # type: ignore[misc]
    for column in ("id", "split"):
        for value in (column.upper(), f"{column}s", "x"):
            yield (
                f"column {column} as {value}",
                (
                    table(lambda rows, c=column, v=value: rows[0].__setitem__(COLUMNS[c], v)),  # type: ignore[misc]
                    rf"metadata\.csv: column '{column}' is missing: add it"
                    + ("" if value == "x" else ".*did you mean"),
                ),
            )
    for value in ("lable", "Label", "labels"):
        yield (
            f"column label as {value}",
            (
                table(lambda rows, v=value: rows[0].__setitem__(3, v)),  # type: ignore[misc]
                rf"metadata\.csv: column '{value}' .* did you mean `label`\?",
            ),
        )
    for value in ("", "time", "TIME", "id"):
        yield (
            f"a column called {value or 'nothing'} at the end",
            (
                table(lambda rows, v=value: [row.append(v if k == 0 else "x") for k, row in enumerate(rows)]),  # type: ignore[misc]
                r"metadata\.csv: line 1.*(has no name|twice|case alone)",
            ),
        )
    for value in ("../p00", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "a" * 300, "\u00e9" * 150, IDS[0]):
        number = rng("id", value).randrange(2, len(IDS) + 1)
        found = rf"metadata\.csv: line {number + 1}: id .*(is no file name|is empty|too long|is twice there)"
        yield f"id {value[:20] or 'empty'}", (cell(number, "id", value), found)
    yield (
        "id with an ending",
        (cell(2, "id", "p01.png"), r"metadata\.csv: line 3: id 'p01\.png' has an ending: write p01"),
    )
    for column in ("split", "label"):
        yield f"an empty {column}", (cell(4, column, ""), rf"metadata\.csv: line 5.* has no {column}")
    for column, value in (("label", "Rose"), ("label", "ROSE"), ("label", "ro se"), ("time", "Day"), ("time", "d ay")):
        yield f"{column} {value}", (cell(5, column, value), rf"metadata\.csv: line .*{column} .* blanks or case alone")
    for number in (1, 4, 9):
        yield (
            f"a quote opened in line {number}",
            (
                line(number, lambda row: row.replace(",", ',"', 1)),
                rf"metadata\.csv: line {number + 1} has a quote that is not",
            ),
        )
        yield (
            f"a quote inside line {number}",
            (line(number, lambda row: row.replace("day", 'd"ay')), rf"metadata\.csv: line {number + 1} has a quote"),
        )
        yield (
            f"quotes with more behind them in line {number}",
            (line(number, lambda row: row.replace("day", '"d"ay')), rf"metadata\.csv: line {number + 1} is no row"),
        )
        yield (
            f"a cell too many in line {number}",
            (
                line(number, lambda row: row + ","),
                rf"metadata\.csv: line {number + 1} has another number of cells .*5, not 4",
            ),
        )
        yield (
            f"a cell too few in line {number}",
            (
                line(number, lambda row: row.rsplit(",", 1)[0]),
                rf"metadata\.csv: line {number + 1} has another number of cells",
            ),
        )
        yield (
            f"one cell in line {number}",
            (line(number, lambda _: "x"), rf"metadata\.csv: line {number + 1} has another"),
        )
        yield (
            f"NUL in line {number}",
            (line(number, lambda row: row + "\0"), rf"metadata\.csv: line {number + 1} .*NUL"),
        )
    yield (
        "a quoted line break",
        (line(3, lambda row: row.replace("day", '"d\nay"')), r"metadata\.csv: line 4 has a quote"),
    )
    for name in ("metadata.csv", "classes.csv"):
        file = re.escape(name)
        for delimiter, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            yield (
                f"{name} with {word}",
                (
                    text(lambda content, d=delimiter: content.replace(",", d), name),
                    rf"{file}: its cells are separated by {word}",  # type: ignore[misc]
                ),
            )
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
            yield (
                f"{name} in {encoding}",
                (
                    text(lambda content, e=encoding: content.encode(e), name),
                    rf"{file}: .*(UTF-16|UTF-8)",  # type: ignore[misc]
                ),
            )
        yield (
            f"{name} in Latin-1",
            (
                text(lambda content: content.replace("r", "\u00e9").encode("latin-1"), name),
                rf"{file}: line \d+ .*is not UTF-8",
            ),
        )
        yield f"{name} empty", (text(lambda _: "", name), rf"{file}: it is empty")
        yield f"{name} with line ends alone", (text(lambda _: "\n\n", name), rf"{file}: it is empty")
        yield f"{name} without rows", (text(lambda content: content.split("\n")[0], name), rf"{file}: there is no row")
        yield f"{name} of random bytes", (text(lambda _: rng("bytes").randbytes(500), name), rf"{file}: ")
        yield f"no {name}", (lambda root, n=name: (root / n).unlink(), rf"{file}: no such file")  # type: ignore[misc]
        yield (
            f"{name} a folder",
            (
                lambda root, n=name: ((root / n).unlink(), (root / n).mkdir()),
                rf"{file}: a folder and no file",  # type: ignore[misc]
            ),
        )
        yield f"{name} a pipe", (lambda root, n=name: pipe(root / n), rf"{file}: a pipe")  # type: ignore[misc]
        yield f"{name} a link to itself", (lambda root, n=name: loop(root / n), rf"{file}: too many levels")  # type: ignore[misc]
        yield (
            f"{name} a link to nothing",
            (lambda root, n=name: nowhere(root / n), rf"{file}: a link that leads nowhere"),
        )  # type: ignore[misc]
    for value in ("1", "3", "02", "2.0", "x", "", "-1"):
        yield (
            f"index {value or 'empty'}",
            (
                table(lambda rows, v=value: rows[3].__setitem__(0, v), "classes.csv"),
                r"classes\.csv: line 4: the indices must run",  # type: ignore[misc]
            ),
        )
    for value in ("", "road", "Road", "ro ad", "road ", "\u200broad"):
        yield (
            f"name {value!r}",
            (
                table(lambda rows, v=value: rows[3].__setitem__(1, v), "classes.csv"),
                r"classes\.csv: line [34].*name",  # type: ignore[misc]
            ),
        )
    yield (
        "256 names",
        (
            lambda root: write_rows(
                root / "classes.csv", [["index", "name"], *([str(k), f"n{k}"] for k in range(256))]
            ),
            r"classes\.csv: at most 255 areas, got 256",
        ),
    )
    yield (
        "names misspelt",
        (text(lambda content: content.replace("name", "Name"), "classes.csv"), r"did you mean `Name`"),
    )


def pipe(path: Path) -> None:
    import os

    path.unlink()
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "gone")


CASES = dict(cases())


@pytest.mark.parametrize("case", CASES)
def test_malformed_table(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, found = CASES[case]
    spoil(write_folder(tmp_path / "photos"))
    if "label" in case:  # of which measuring colours knows nothing
        with pytest.raises(InputError) as caught:
            FolderData(str(tmp_path / "photos"), labels="classes")
        said = caught.value.keyed
        assert "\n" not in said
    else:
        split = f"split={'train' if 'ending' in case else 'target'}"
        said = refused(
            capsys, tmp_path, "store", f"root={tmp_path / 'photos'}", f"out={tmp_path / 'new/s.parquet'}", split
        )
    assert re.search(found, said), said


ACCEPTED: dict[str, tuple[Spoil, str]] = {
    "byte order mark": (text(lambda content: "\ufeff" + content), "spreadsheets write it, and it says nothing else"),
    "line ends of Windows": (text(lambda content: content.replace("\n", "\r\n")), "only the line ends differ"),
    "line ends of old Macs": (text(lambda content: content.replace("\n", "\r")), "only the line ends differ"),
    "empty lines": (text(lambda content: content.replace("\n", "\n\n")), "no row can be meant by one"),
    "cells in quotes": (text(lambda content: content.replace("day", '"day"')), "any CSV writer may do so"),
    "a comma in quotes": (text(lambda content: content.replace("day", '"day, late"')), "any CSV writer may do so"),
    "no value of the environment": (cell(2, "time", ""), "of some images nobody knows it"),
    "another split": (
        cell(2, "split", "spare"),
        "hardmine store split=spare reads it; training tells that it does not",
    ),
    "ids beyond ASCII": (
        lambda root: [
            cell(2, "id", "zeb\u0159e")(root),
            *((root / part / "p01.png").rename(root / part / "zeb\u0159e.png") for part in ("images", "regions")),
        ],
        "file systems take them",
    ),
    "columns in another order": (table(lambda rows: [row.reverse() for row in rows]), "columns have names"),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted_table(case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_folder(tmp_path / "photos")
    ACCEPTED[case][0](root)
    data = FolderData(str(root), size=(12, 16), batch_size=2)
    data.look()
    assert len(data.layout.all_rows) == len(IDS) and data.classes == ("daisy", "rose") and data.areas == CLASSES
    assert [line for line in caplog.messages if "spare" in line] == [
        line for line in caplog.messages if case == "another split"
    ]
    assert len(caplog.messages) == (case == "another split")
