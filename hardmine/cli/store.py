"""`hardmine store`: measure targets beforehand, and look at a store."""

import logging
from pathlib import Path
from typing import Any

from hardmine.cli.config import key_of, plain_arguments
from hardmine.cli.paths import look_at_output
from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.records import VOID

FACTS = b"hardmine.store"  # metadata of the schema of a store


def command(arguments: list[str]) -> None:
    """Measure a folder's targets, or show the store of a run; either way its environment table is printed."""
    from rich.console import Console

    from hardmine.report.environments import environment_cells, read_graph
    from hardmine.report.table import print_table
    from hardmine.store import ParameterStore

    of_data = [argument for argument in arguments if key_of(argument).split(".")[0] == "data"]
    others = [argument for argument in arguments if argument not in of_data]
    given = plain_arguments("store", others, ("root", "out", "split", "colors", "convert", "void", "run"))
    if of_data:
        _measure_data(of_data, given)
        return
    if given.keys() >= {"root", "out"} and "run" not in given:
        colors = _colors(given)
        for key, choices in (("convert", ("true", "false")), ("void", ("255", "null"))):
            if given.get(key, choices[0]) not in choices:
                raise InputError(f"store: {key}={given[key]} is unknown: take {' or '.join(choices)}")
        if "://" not in given["out"]:
            _look_at_file(given["out"])
        store = ParameterStore.from_folder(
            given["root"],
            given.get("split", "target"),
            convert=given.get("convert") == "true",
            void=None if given.get("void") == "null" else VOID,
            colors=colors,
        )
        store.save(given["out"])
        print_table(Console(), environment_cells(store, None))
        print(_summary(given["out"], store))
    elif given.keys() == {"run"}:
        run = Path(given["run"])
        for path, folder in ((run, True), (run / "store.parquet", False)):
            if why := trouble(path, folder=folder):
                raise InputError(f"run: {path}: {why}: name the folder of a run")
        store = ParameterStore.load(run / "store.parquet")
        print_table(Console(), environment_cells(store, read_graph(run / "graph.parquet")))
    else:
        raise InputError(
            "store: use hardmine store root=PATH out=FILE.parquet, hardmine store data=NAME data.KEY=VALUE ... "
            "out=FILE.parquet, or hardmine store run=RUN_FOLDER"
        )


def _measure_data(arguments: list[str], given: dict[str, str]) -> None:
    """Measure the targets of `data=...`, wherever they lie."""
    from rich.console import Console

    from hardmine.cli.data import data_of, tiled
    from hardmine.data.layout import LayoutData
    from hardmine.report.environments import environment_cells
    from hardmine.report.table import print_table
    from hardmine.store import ParameterStore

    if "out" not in given or given.keys() - {"out", "split", "colors"}:
        raise InputError(
            "store: with data=... use hardmine store data=NAME data.KEY=VALUE ... out=FILE.parquet [split=]"
        )
    colors = _colors(given)
    if "://" not in given["out"]:
        _look_at_file(given["out"])
    data = data_of(arguments)
    if not isinstance(data, LayoutData):
        raise InputError(
            "store: data: a file is made of data=folder, pairs, coco, yolo or cityscapes; targets of other data are "
            "measured when training begins (store=targets)"
        )
    if tiled(arguments):
        logging.getLogger("hardmine").warning("hardmine: data.tiles=true: whole images are measured, not tiles")
    store = ParameterStore.from_layout(data.layout, given.get("split", "target"), colors=colors)
    store.save(given["out"])
    print_table(Console(), environment_cells(store, None))
    print(_summary(given["out"], store))


def _colors(given: dict[str, str]) -> str:
    colors = given.get("colors", "lab")
    if colors not in ("lab", "rgb"):
        raise InputError(f"store: colors={colors} is unknown: take lab or rgb")
    return colors


def _summary(out: str, store: Any) -> str:
    components = ", ".join(store.environment) or "no environment columns"
    return f"{out}: {len(store)} targets, {len(store.areas)} areas, {components}"


def _look_at_file(value: str) -> None:
    """See that a store can be written to a file, before anything is measured.

    Raises:
        InputError: it cannot, or would take the place of something else.
    """
    import pyarrow.parquet as pq

    path = Path(value)
    if not value or path.name in ("", ".."):
        raise InputError(f"out: {value!r} names no file: set out=FILE.parquet")
    look_at_output("out", str(path.parent))
    if not path.exists() and not path.is_symlink():
        return
    if why := trouble(path):
        raise InputError(f"out: {path}: {why}: name another file")
    try:
        ours = FACTS in (pq.read_schema(path).metadata or {})
    except (OSError, ValueError):  # of pyarrow, for what is not Parquet
        ours = False
    if not ours:
        raise InputError(f"out: {path}: is there already and is no store of hardmine's: name another file")
    logging.getLogger("hardmine").warning("hardmine: %s: the store that is there is replaced", path)
