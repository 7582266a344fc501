"""A store in a database, by URL (R9)."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest
import torch
from conftest import make_store
from omegaconf import DictConfig

from hardmine.cli import main
from hardmine.cli.build import build_data, build_store
from hardmine.cli.config import values_of
from hardmine.cli.paths import with_paths
from hardmine.conversions import ColorTransfer
from hardmine.errors import InputError
from hardmine.store import ParameterStore
from hardmine.store.database import Address, write_table

KINDS = ["sqlite", "duckdb"]
COLUMNS = ["mean_L", "mean_a", "mean_b", "std_L", "std_a", "std_b"]


@contextmanager
def opened(kind: str, path: Path) -> Iterator[Any]:
    """A connection of whichever library, without hardmine."""
    library: Any = sqlite3 if kind == "sqlite" else pytest.importorskip("duckdb")
    with closing(library.connect(str(path))) as connection:
        yield connection
        connection.commit()


def statistics(kind: str, path: Path, name: str = "statistics", columns: str = "") -> None:
    """A table as others make it: two targets of two areas."""
    numbers = ", ".join(f"{column} DOUBLE" for column in COLUMNS)
    quoted = '"' + name.replace('"', '""') + '"'
    with opened(kind, path) as connection:
        connection.execute(f"CREATE TABLE {quoted} (target TEXT, area TEXT, {numbers}{columns})")
        for target, area in (("x", "road"), ("x", "sky"), ("y", "road")):
            values = ", ".join(str(10 + place) for place in range(6 + columns.count(",")))
            connection.execute(f"INSERT INTO {quoted} VALUES ('{target}', '{area}', {values})")


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_made_elsewhere_loads(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statistics(kind, tmp_path / "some file.db", columns=", pixels INTEGER")
    absolute = f"{kind}:///{tmp_path}/some%20file.db?table=statistics"
    monkeypatch.chdir(tmp_path)
    for url in (absolute, f"{kind}:///some%20file.db?table=statistics", f"{kind}:///./some file.db?table=statistics"):
        store = ParameterStore.load(url, min_pixels=5)
        assert (store.ids, store.areas) == (("x", "y"), ("road", "sky"))
        assert store.parameters[1, 0].tolist() == [10, 11, 12, 13, 14, 15]
        assert store.count.tolist() == [[16, 16, 0], [16, 0, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_to_the_same_bits(kind: str, tmp_path: Path) -> None:
    if kind == "duckdb":
        pytest.importorskip("duckdb")
    store = make_store(environment={"time": ["night"] * 3 + ["day"] * 3})
    store = store.with_(images=[f"/photos/{name}.png" for name in store.ids[:-1]] + [None])
    url = f"{kind}:///{tmp_path}/new/store.db?table=night"
    store.save(url)
    again = ParameterStore.load(url)
    assert again.mark == store.mark and torch.equal(again.count, store.count)
    assert (again.environment, again.images, again.index_images) == (store.environment, store.images, (None,) * 6)
    with pytest.raises(InputError, match="the table is there already: name another, or drop it first"):
        make_store(targets=2).save(url.replace("night", "NIGHT"))
    assert ParameterStore.load(url).mark == store.mark
    make_store(targets=2).save(url.replace("night", "day"))
    assert len(ParameterStore.load(url.replace("night", "day"))) == 2 and len(ParameterStore.load(url)) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_in_the_middle_leaves_no_table(kind: str, tmp_path: Path) -> None:
    with opened(kind, tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE other (one INTEGER)")
    url = f"{kind}:///{tmp_path}/a.db?table=night"
    with pytest.raises(InputError, match=f"{kind} says"):
        write_table(Address.of(url), pa.table({"target": ["x", "y"], "number": [None, [1.0]]}))  # a list is no number
    with pytest.raises(InputError, match="no table 'night': take one of other"):
        ParameterStore.load(url)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ['a"; DROP TABLE statistics; --', "two words", "select", "ünï'x", "semi;colon", "a=b&c"]
)
def test_any_name_of_a_table_is_a_name(kind: str, name: str, tmp_path: Path) -> None:
    statistics(kind, tmp_path / "a.db")
    url = f"{kind}:///{tmp_path}/a.db?table={quote(name)}"
    with pytest.raises(InputError, match=r"no table .*: take one of statistics"):
        ParameterStore.load(url)
    statistics(kind, tmp_path / "a.db", name)
    assert ParameterStore.load(url).ids == ("x", "y")
    other = url + "2"
    make_store().save(other)
    assert len(ParameterStore.load(other)) == 6
    assert ParameterStore.load(f"{kind}:///{tmp_path}/a.db?table=statistics").ids == ("x", "y")


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_is_a_table_and_reading_changes_nothing(kind: str, tmp_path: Path) -> None:
    statistics(kind, tmp_path / "a.db")
    with opened(kind, tmp_path / "a.db") as connection:
        connection.execute("CREATE VIEW roads AS SELECT * FROM statistics WHERE area = 'road'")
    before = (tmp_path / "a.db").read_bytes()
    (tmp_path / "a.db").chmod(0o400)
    assert ParameterStore.load(f"{kind}:///{tmp_path}/a.db?table=roads").areas == ("road",)
    assert (tmp_path / "a.db").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://host/base?table=t", r"mysql:// is unknown: write sqlite:///FILE\?table=NAME or duckdb"),
        ("https://host/night.parquet", "https:// is unknown"),
        ("sqlite://night.db?table=t", "the file begins after three slashes"),
        ("sqlite:///?table=t", "the file begins after three slashes"),
        ("sqlite:///night.db", "one table must be named, and nothing else"),
        ("sqlite:///night.db?table=", "one table must be named"),
        ("sqlite:///night.db?tabel=t", "one table must be named"),
        ("sqlite:///night.db?table=t&mode=rw", "one table must be named"),
        ("sqlite:///night.db?table=t&table=u", "one table must be named"),
        ("sqlite:///nowhere.db?table=t", "no such file: nowhere.db: name another"),
    ],
)
@pytest.mark.parametrize("does", ["load", "save"])
def test_bad_urls_are_told_in_one_line(url: str, message: str, does: str) -> None:
    if does == "save" and "nowhere" in url:
        return  # saving makes it
    with pytest.raises(InputError, match=message) as caught:
        ParameterStore.load(url) if does == "load" else make_store().save(url)
    assert str(caught.value).startswith(f"{url}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_with_a_database_is_told_in_one_line(kind: str, tmp_path: Path) -> None:
    def told(file: str, table: str = "t") -> str:
        with pytest.raises(InputError) as caught:
            ParameterStore.load(f"{kind}:///{tmp_path}/{file}?table={table}")
        assert str(caught.value).startswith(f"{kind}:///{tmp_path}/{file}") and "\n" not in str(caught.value)
        return str(caught.value)

    (tmp_path / "text.db").write_text("no database " * 200)
    with opened(kind, tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE t (target TEXT, mean_L DOUBLE, std_L DOUBLE)")
        connection.execute("CREATE TABLE empty (target TEXT, area TEXT, mean_L DOUBLE, std_L DOUBLE)")
        connection.execute("CREATE TABLE holes (target TEXT, area TEXT, mean_L DOUBLE, std_L DOUBLE)")
        connection.execute("INSERT INTO holes VALUES ('x', 'road', NULL, 1)")
        connection.execute("CREATE TABLE nameless (target TEXT, area TEXT, mean_L DOUBLE, std_L DOUBLE)")
        connection.execute("INSERT INTO nameless VALUES ('x', 'road', 1, 1), ('x', NULL, 1, 1)")
        connection.execute("CREATE TABLE twice (target TEXT, area TEXT, mean_L DOUBLE, std_L DOUBLE)")
        connection.execute("INSERT INTO twice VALUES ('x', 'road', 1, 1), ('x', 'road', 2, 1)")
    assert f"{kind} says " in told("text.db")
    assert "no table 'u': take one of " in told("a.db", "u")
    assert "column 'area' is missing: add it" in told("a.db")
    assert "the table has no rows" in told("a.db", "empty")
    assert "row 0 (x, road) is no distribution" in told("a.db", "holes")
    assert "row 1 has no area" in told("a.db", "nameless")
    assert "two rows are of target 'x' and area 'road'" in told("a.db", "twice")


def test_a_relative_path_that_was_meant_absolute(tmp_path: Path) -> None:
    statistics("sqlite", tmp_path / "a.db")
    with pytest.raises(InputError, match=rf"four slashes begin an absolute path \({tmp_path}/a.db is there\)"):
        ParameterStore.load(f"sqlite://{tmp_path}/a.db?table=statistics")


def test_sqlite_columns_of_several_types(tmp_path: Path) -> None:
    statistics("sqlite", tmp_path / "a.db")
    with opened("sqlite", tmp_path / "a.db") as connection:
        connection.execute("UPDATE statistics SET mean_L = 'dark' WHERE area = 'sky'")
    with pytest.raises(InputError, match="column 'mean_L' holds values of several types"):
        ParameterStore.load(f"sqlite:///{tmp_path}/a.db?table=statistics")


def test_without_the_package_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.db").touch()
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(InputError, match=r"DuckDB is not installed: pip install 'hardmine\[duckdb\]'"):
        ParameterStore.load(f"duckdb:///{tmp_path}/a.db?table=t")


def test_from_the_command_line(
    folder: Path, tmp_path: Path, configured: Callable[..., DictConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/night.db?table=colors"
    main(["store", f"root={folder}", f"out={url}"])
    assert f"{url}: 3 targets, 3 areas, time" in capsys.readouterr().out
    cfg = configured(
        "data=folder", f"data.root={folder}", *with_paths(["store=file", f"store.path={url}"], sweep=False)
    )
    found = build_store(cfg, build_data(cfg), ColorTransfer())
    assert torch.equal(found.parameters, ParameterStore.from_folder(folder).parameters)
    small = ["data.size=[32,32]", "data.batch_size=4", "trainer.max_steps=1", "mining.start=0", "logger=none"]
    run = [f"data.root={folder}", *small, f"hydra.run.dir={tmp_path / 'run'}", "store=file", f"store.path={url}"]
    main(["train", *run, "mining.threshold=1.1"])
    assert "4 pieces from 4 candidates" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["train", *run[:-1], f"store.path={url}s", f"hydra.run.dir={tmp_path / 'other'}"])
    assert f"hardmine: error: {url}s: no table 'colorss': take one of colors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("store.path=sqlite:///a.db?table=t", "sqlite:///a.db?table=t"),
        ("store.path=sqlite:///a b.db?table=t", "sqlite:///a b.db?table=t"),
        ("store.path='sqlite:///a.db?table=t'", "sqlite:///a.db?table=t"),
        ('store.path="duckdb:////a/b?table=t"', "duckdb:////a/b?table=t"),
        ("store.path=night.parquet", "night.parquet"),
    ],
)
def test_hydra_takes_a_url_as_it_is(argument: str, value: str) -> None:
    assert values_of(with_paths([argument], sweep=False)) == {"store.path": value}
