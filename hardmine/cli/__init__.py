"""The command line. Only this package reads the config; only `build.py` wires the objects."""

import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

from hardmine import __version__
from hardmine.ending import heeded
from hardmine.errors import InputError
from hardmine.files import unwritten

__all__ = ["config_folder", "failed", "main"]

USAGE = """\
usage: hardmine COMMAND [KEY=VALUE ...]

  hardmine train                             mine and train; the embedded default needs no data
  hardmine train data.root=PATH              ... on your own images
  hardmine train resume=RUN_FOLDER           go on with a run that was stopped
  hardmine mine ckpt=FILE data.root=PATH out=FOLDER
                                             search with a frozen model and write what it fails on as a data set;
                                             the same command again goes on where it was stopped
  hardmine evaluate ckpt=FILE data.root=PATH [fail_under=0.6]
                                             measure a model on every split, and its images in other light; exit code 1
                                             where an environment is recognised worse
  hardmine explore RUN_FOLDER|ckpt=FILE [port=8765] [open=false]
                                             a page on this machine: put images into other light by hand, see what the
                                             model makes of them, keep recipes; pip install 'hardmine[explore]'
  hardmine export run=RUN_FOLDER out=FOLDER [format=folder|coco|yolo|webdataset] [sources=false]
                                             write the pieces of a training run as a data set
  hardmine export model ckpt=FILE out=FILE.onnx|FILE.pt2 [weights=model|judge]
                                             write the network for other programs, and check that outputs agree
  hardmine data PATH, hardmine data data=pairs KEY=VALUE ... [sheet=FILE.png]
                                             say what is in a folder: splits, environments, classes, sizes, what is odd
  hardmine store root=PATH out=FILE.parquet [split=target] [colors=lab]
                                             measure labelled targets, for store=file store.path=FILE.parquet;
                                             in place of FILE.parquet also "sqlite:///FILE.db?table=NAME"
  hardmine store data=NAME data.KEY=VALUE ... out=FILE.parquet
                                             the same of images in another layout
  hardmine store run=RUN_FOLDER              the environment table of a run: what was used, how well it was recognised
  hardmine report FOLDER [ANOTHER]           one page of a run, search, evaluation or sweep, or of two side by side
  hardmine runs [FOLDER] [sort=KEY] [where="KEY<VALUE"] [json=true]
                                             every run, search, evaluation and sweep below a folder, as a table
  hardmine runs RUN ANOTHER                  their metrics side by side, and the settings that differ
  hardmine sweep KEY=RANGE ... [out=FOLDER] [trials=20] [seeds=[0,1,2]] [metric=NAME]
                                             search for the settings that train best, by Optuna
  hardmine sweep report FOLDER               the table of a sweep, also of hardmine train -m
  hardmine COMMAND --help                    examples, every config group and key
  hardmine train --help mining               one group, option, block or key with its comments
  hardmine --version
"""

CONFIGURED = ("train", "mine", "evaluate")  # their arguments are Hydra's
COMPOSED = (*CONFIGURED, "sweep", "explore")  # they take groups and keys of the config
COMMANDS = (*CONFIGURED, "explore", "report", "runs", "data", "export", "store", "sweep")


def config_folder() -> Path:
    """Where the configs are: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def failed(message: str, code: int = 2) -> SystemExit:
    """Print the one line that says what is wrong; exit code 2, or 1 where no input is to blame."""
    line = "\\n".join(message.splitlines())  # the name of a file may have line breaks
    print(f"hardmine: error: {line}", file=sys.stderr)
    return SystemExit(code)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. Bad input prints one line to standard error and exits with 2."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    named = next((argument for argument in arguments if argument in CONFIGURED), None)
    if named and arguments[0].startswith("-"):  # hardmine -m train ...
        arguments.remove(named)
        arguments.insert(0, named)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return
    if arguments[0] == "--version":
        print(f"hardmine {__version__}")
        return
    try:
        if {"-sc", "--shell-completion"} & set(arguments):
            from hardmine.cli.help import complete

            complete(arguments)
            return
        if arguments[0] not in COMMANDS:
            raise InputError(f"{arguments[0]}: no such command: use one of {', '.join(COMMANDS)}")
        if {"-h", "--help"} & set(arguments):
            from hardmine.cli.help import show_help

            show_help(arguments[0], [each for each in arguments[1:] if not each.startswith("-")])
            return
        if argv is None and arguments[0] in CONFIGURED:
            gc.disable()  # until `look_at` is done: what is imported stays, and looking through it takes a second
        # what takes seconds to import comes when signals are heeded
        with heeded(_speaks) if arguments[0] == "train" else nullcontext():
            _run(arguments[0], arguments[1:])
    except InputError as error:
        raise failed(error.keyed) from None
    except KeyboardInterrupt:  # before training or after it; in between the step is finished
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        raise SystemExit(1) from None
    except Exception as error:
        if line := unwritten(error):
            raise failed(line, 1) from None
        raise


def _run(name: str, arguments: list[str]) -> None:
    from hardmine.cli.flags import parted
    from hardmine.cli.paths import with_paths

    command: Callable[[list[str]], None] = import_module(f"hardmine.cli.{name}").command
    if name in CONFIGURED:
        given = parted(arguments)
        arguments = [*given.flags, *with_paths(given.values, given.sweep)]
    command(arguments)


def _speaks() -> bool:
    from hardmine.cli.launch import is_first

    return is_first()
