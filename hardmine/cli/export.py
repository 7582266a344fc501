"""`hardmine export`: the pieces of a training run as a data set; `hardmine export model` is beside it."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hardmine.cli.config import plain_arguments
from hardmine.cli.paths import look_at_output
from hardmine.errors import InputError
from hardmine.runs import LOCK, RunFolder

FACTS = "export.json"  # what a data set in a layout of others was made of


def command(arguments: list[str]) -> None:
    """Make every piece in the run's ledger again and write it; or write a network."""
    if arguments[:1] == ["model"]:
        from hardmine.cli.export_model import command as of_model

        of_model(arguments[1:])
        return
    from hardmine.cli.build import build_conversion, build_data
    from hardmine.conversions import suited
    from hardmine.data.inventory import Inventory
    from hardmine.memory.ledger import Ledger
    from hardmine.store import ParameterStore

    given = plain_arguments("export", arguments, ("run", "out", "format", "sources", "allow"))
    if not given.keys() >= {"run", "out"}:
        raise InputError(
            "export: use hardmine export run=RUN_FOLDER out=FOLDER [format=folder|coco|yolo|webdataset] "
            "[sources=false], or hardmine export model ckpt=FILE out=FILE.onnx|FILE.pt2"
        )
    if given.setdefault("sources", "true") not in ("true", "false"):
        raise InputError(f"export: sources={given['sources']} is unknown: take true or false")
    layout = given.get("format", "folder")
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
    pieces, sources = Ledger(run.ledger).pieces(), given["sources"] == "true"
    if layout == "folder":
        write_pieces(out, data, conversion, store, pieces, sources)
        print(f"{len(pieces)} pieces\n{what_next(out, cfg.data.get('size'))}")
        return
    with _made_whole(out) as folder:
        left = write_pieces(folder, data, conversion, store, pieces, sources, layout)
        _say_what(folder, layout, run.path, len(pieces), left)
    for line in left:
        print(f"left out: {line}")
    print(f"{len(pieces)} pieces\ndata set: {out} ({layout})")


def what_next(out: Path, size: Sequence[int] | None) -> str:
    """What a person does with the folder.

    Args:
        out: the data set.
        size: height and width that its images were made in, pixels; other data are resized to another by default.
    """
    from hardmine.cli.data import data_of, train_on

    arguments = [f"data.root={out}", *([] if size is None else [f"data.size=[{size[0]},{size[1]}]"])]
    try:
        then = train_on(arguments, data_of(arguments))
    except InputError as error:
        then = f"nothing can be trained on it as it is: {error.keyed}"
    return f"data set: {out}\n{then}"


def write_pieces(
    out: Path, data: Any, conversion: Any, store: Any, pieces: Any, sources: bool, layout: str = "folder"
) -> list[str]:
    """The pieces, and where `sources` the images of every split, so that the folder stands on its own.

    Returns:
        Lines on what the layout has no place for.
    """
    from rich.console import Console
    from rich.progress import track

    from hardmine.data.export import Export
    from hardmine.data.layouts import layout_of
    from hardmine.data.metadata import UNKNOWN

    images = data.training
    export, written = Export(conversion, store), layout_of(layout, out, images)
    console = Console(stderr=True)
    unknown = [name for name in images.environment[0] if name not in store.environment]
    if unknown and conversion.colors is not None:
        table = "metadata.csv" if layout == "folder" else "environments"
        console.print(
            f"the store does not say the {', '.join(unknown)} of its targets: {UNKNOWN} in the {table} of pieces",
            soft_wrap=True,
        )

    def shown(examples: Any, total: int, what: str) -> None:
        hidden = not console.is_terminal
        for example in track(examples, f"writing {what}", total, console=console, disable=hidden, transient=True):
            written.add(example)

    shown(export.pieces(images, pieces), len(pieces), "pieces")
    for split in ("train", "val", "test", "target") if sources else ():
        if data.has(split):
            shown(export.originals(data.split(split), split), len(data.split(split)), split)
    return written.finish()


@contextmanager
def _made_whole(out: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of `out` when all is written; nothing is left of it otherwise.

    Raises:
        InputError: something is in `out`, or another process writes there.
    """
    if out.exists() and any(out.iterdir()):
        raise InputError(f"out: {out}: is not empty: name another folder")
    out = out.resolve()
    folder = out.with_name(f".{out.name}.hardmine-export")
    RunFolder(folder).claim()
    for path in folder.iterdir():  # of a process that was killed
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    try:
        yield folder
        (folder / LOCK).unlink()
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _say_what(folder: Path, layout: str, run: Path, pieces: int, left: list[str]) -> None:
    from hardmine import __version__
    from hardmine.files import write_atomically

    facts = {"format": layout, "hardmine": __version__, "run": str(run), "pieces": pieces, "left_out": left}
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / FACTS, lambda file: file.write(text.encode()))
