"""`hardmine export`: the pieces of a training run as a data set."""

from pathlib import Path
from typing import Any

from hardmine.cli.config import plain_arguments
from hardmine.cli.paths import look_at_output
from hardmine.errors import InputError
from hardmine.runs import RunFolder


def command(arguments: list[str]) -> None:
    """Make every piece in the run's ledger again and write it."""
    from hardmine.cli.build import build_conversion, build_data
    from hardmine.conversions import suited
    from hardmine.data.inventory import Inventory
    from hardmine.memory.ledger import Ledger
    from hardmine.store import ParameterStore

    given = plain_arguments("export", arguments, ("run", "out", "sources", "allow"))
    if not given.keys() >= {"run", "out"}:
        raise InputError("export: use hardmine export run=RUN_FOLDER out=FOLDER [sources=false]")
    run, out = RunFolder(given["run"]), look_at_output("out", given["out"])
    for folder in (out, *out.resolve().parents):
        RunFolder(folder).look_unused("out", own=None if folder == out else "metadata.csv")
    cfg = run.config([name for name in given.get("allow", "").strip("[]").split(",") if name])
    data = build_data(cfg)
    run.look_at_data(Inventory.of(data, ("train", *(["target"] if data.with_targets else []))))
    if not run.store.is_file():
        raise InputError(
            f"{run.path}: the run has no pieces to export: it was not mined (neighbourhood=none), or stopped"
        )
    store = ParameterStore.load(run.store)
    conversion = suited(build_conversion(cfg, data), store.space)
    pieces = Ledger(run.ledger).pieces()
    write_pieces(out, data, conversion, store, pieces, given.get("sources", "true") != "false")
    print(f"{len(pieces)} pieces\n{what_next(out, data.kind)}")


def what_next(out: Path, kind: str) -> str:
    """What a person does with the folder."""
    same = "" if kind == "masks" else ", with the task, model and scoring it was made with"
    return f"data set: {out}\ntrain on it: hardmine train data.root={out}{same}"


def write_pieces(out: Path, data: Any, conversion: Any, store: Any, pieces: Any, sources: bool) -> None:
    """The pieces, and where `sources` the images of every split, so that the folder stands on its own."""
    from rich.console import Console
    from rich.progress import track

    from hardmine.data.export import Export
    from hardmine.data.metadata import UNKNOWN

    images = data.training
    export = Export(out, conversion, store)
    console = Console(stderr=True)
    unknown = [name for name in images.environment[0] if name not in store.environment]
    if unknown and conversion.colors is not None:
        console.print(
            f"the store does not say the {', '.join(unknown)} of its targets: {UNKNOWN} in the metadata.csv of pieces",
            soft_wrap=True,
        )

    def shown(rows: Any, total: int, what: str) -> None:
        hidden = not console.is_terminal
        for _ in track(rows, f"writing {what}", total, console=console, disable=hidden, transient=True):
            pass

    shown(export.pieces(images, pieces), len(pieces), "pieces")
    for split in ("train", "val", "test", "target") if sources else ():
        if data.has(split):
            shown(export.originals(data.split(split), split), len(data.split(split)), split)
    export.finish(images)
