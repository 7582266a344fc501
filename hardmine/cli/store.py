"""`hardmine store`: measure targets beforehand, and look at a store."""

from pathlib import Path

from hardmine.cli.config import plain_arguments
from hardmine.cli.paths import look_at_output
from hardmine.errors import InputError
from hardmine.records import VOID


def command(arguments: list[str]) -> None:
    """Measure a folder's targets, or show the store of a run; either way its environment table is printed."""
    from rich.console import Console

    from hardmine.report.environments import environment_cells, read_graph
    from hardmine.store import ParameterStore

    given = plain_arguments("store", arguments, ("root", "out", "split", "colors", "convert", "void", "run"))
    if given.keys() >= {"root", "out"} and "run" not in given:
        colors = given.get("colors", "lab")
        if colors not in ("lab", "rgb"):
            raise InputError(f"store: colors={colors} is unknown: take lab or rgb")
        for key, choices in (("convert", ("true", "false")), ("void", ("255", "null"))):
            if given.get(key, choices[0]) not in choices:
                raise InputError(f"store: {key}={given[key]} is unknown: take {' or '.join(choices)}")
        if "://" not in given["out"]:
            look_at_output("out", str(Path(given["out"]).parent))
        store = ParameterStore.from_folder(
            given["root"],
            given.get("split", "target"),
            convert=given.get("convert") == "true",
            void=None if given.get("void") == "null" else VOID,
            colors=colors,
        )
        store.save(given["out"])
        Console().print(environment_cells(store, None))
        components = ", ".join(store.environment) or "no environment columns"
        print(f"{given['out']}: {len(store)} targets, {len(store.areas)} areas, {components}")
    elif given.keys() == {"run"}:
        run = Path(given["run"])
        store = ParameterStore.load(run / "store.parquet")
        Console().print(environment_cells(store, read_graph(run / "graph.parquet")))
    else:
        raise InputError("store: use hardmine store root=PATH out=FILE.parquet, or hardmine store run=RUN_FOLDER")
