"""A table in a database, named by a URL (R9; D20): sqlite:///night.db?table=colors, or duckdb:///night.duckdb?table=...

As SQLAlchemy has it, three slashes begin a relative path and four an absolute one.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pyarrow as pa

from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.names import did_you_mean

_TABLES = {  # how each database is asked for the names of its tables and views
    "sqlite": "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')",
    "duckdb": "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main'",
}
_FORM = "write sqlite:///FILE?table=NAME or duckdb:///FILE?table=NAME"


@dataclass(frozen=True)
class Address:
    """Where a table is.

    Attributes:
        url: as it was given.
        kind: sqlite or duckdb.
        file: of the database.
        table: its name.
    """

    url: str
    kind: str
    file: Path
    table: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """Take a URL apart.

        Raises:
            InputError: another kind of database, no file, no table, or anything besides.
        """
        parts = urlsplit(url, allow_fragments=False)
        if parts.scheme not in _TABLES:
            raise InputError(f"{url}: {parts.scheme}:// is unknown: {_FORM}, or the path of a Parquet file")
        if parts.netloc or len(parts.path) < 2:
            raise InputError(f"{url}: the file begins after three slashes: {_FORM}")
        wanted = parse_qsl(parts.query, keep_blank_values=True)
        if [name for name, _ in wanted] != ["table"] or not wanted[0][1]:
            raise InputError(f"{url}: one table must be named, and nothing else: {_FORM}")
        return cls(url, parts.scheme, Path(unquote(parts.path[1:])).expanduser(), wanted[0][1])


def is_url(path: str | Path) -> bool:
    """Whether it names no file by its path."""
    return "://" in str(path)


def read_table(address: Address) -> pa.Table:
    """All of a table or view; the database is opened for reading alone.

    Raises:
        InputError: no such file or table, no database, or a column of several types.
    """
    if why := trouble(address.file):
        absolute = Path("/") / address.file
        there = not trouble(absolute)
        remedy = f"four slashes begin an absolute path ({absolute} is there)" if there else "name another"
        raise InputError(f"{address.url}: {why}: {address.file}: {remedy}")
    with _connected(address, write=False) as connection:
        tables = _tables(connection, address)
        if address.table not in tables:
            others = f"take one of {', '.join(tables)}" if tables else "the database has none, name another"
            meant = did_you_mean(address.table, tables)
            raise InputError(f"{address.url}: no table {address.table!r}: {others}{meant}")
        cursor = connection.execute(f"SELECT * FROM {_quoted(address.table)}")
        names = [entry[0] for entry in cursor.description]
        rows = cursor.fetchall()
    columns = {}
    for place, name in enumerate(names):
        try:
            columns[name] = pa.array([row[place] for row in rows])
        except (pa.ArrowException, OverflowError):
            raise InputError(f"{address.url}: column {name!r} holds values of several types: write one type") from None
    return pa.table(columns)


def write_table(address: Address, table: pa.Table) -> None:
    """Make a table of texts and numbers, with its database where there is none; all of it or nothing.

    Raises:
        InputError: the table is there already, or the file is no database.
    """
    address.file.parent.mkdir(parents=True, exist_ok=True)
    with _connected(address, write=True) as connection:
        if address.table.lower() in map(str.lower, _tables(connection, address)):
            raise InputError(f"{address.url}: the table is there already: name another, or drop it first")
        columns = ", ".join(f"{_quoted(field.name)} {_type(field.type)}" for field in table.schema)
        places = ", ".join("?" * table.num_columns)
        connection.execute("BEGIN TRANSACTION")  # undone where the connection closes before it is committed
        connection.execute(f"CREATE TABLE {_quoted(address.table)} ({columns})")
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        connection.executemany(f"INSERT INTO {_quoted(address.table)} VALUES ({places})", list(rows))
        connection.execute("COMMIT")


def _quoted(name: str) -> str:
    """A name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _type(kind: pa.DataType) -> str:
    return "TEXT" if pa.types.is_string(kind) else "BIGINT" if pa.types.is_integer(kind) else "DOUBLE"


def _tables(connection: Any, address: Address) -> list[str]:
    return [name for (name,) in connection.execute(_TABLES[address.kind]).fetchall()]


@contextmanager
def _connected(address: Address, write: bool) -> Iterator[Any]:
    """A connection, of Python's database interface."""
    library: Any = sqlite3
    if address.kind == "duckdb":
        try:
            library = import_module("duckdb")
        except ImportError:
            raise InputError(f"{address.url}: DuckDB is not installed: pip install 'hardmine[duckdb]'") from None
    try:
        with closing(_opened(library, address, write)) as connection:
            yield connection
    except library.Error as error:
        why = str(error).splitlines()[0]
        raise InputError(f"{address.url}: {address.kind} says {why!r}: look at the file and its table") from None


def _opened(library: Any, address: Address, write: bool) -> Any:
    if address.kind == "duckdb":
        return library.connect(str(address.file), read_only=not write)
    mode = "rwc" if write else "ro"
    return library.connect(f"file:{quote(str(address.file))}?mode={mode}", uri=True, isolation_level=None)
