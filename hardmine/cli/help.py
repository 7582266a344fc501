"""`hardmine COMMAND --help [WHAT ...]`, and completion in a shell."""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from hardmine.cli import COMMANDS, COMPOSED, CONFIGURED, config_folder
from hardmine.cli.keys import ConfigFile, Key, defaults, groups, own_keys, read
from hardmine.errors import InputError

# what each command is for, and examples of it with what they do
ABOUT: dict[str, tuple[str, dict[str, str]]] = {
    "train": (
        "finds the colour environments a model fails in while it is trained, and trains on them.",
        {
            "hardmine train": "generated scenes; needs no data",
            "hardmine train data.root=PATH": "your own images",
            "hardmine train data.root=PATH trainer.max_steps=2000 data.size=[384,512]": "longer, and larger",
            "hardmine train data.root=PATH task=detection model=fcos scoring=mean_reliability": "boxes",
            "hardmine train data.root=PATH store=file store.path=night.parquet": "colours measured elsewhere",
            "hardmine train resume=RUN_FOLDER": "go on with a run that was stopped",
            "hardmine train -m seed=0,1,2 neighbourhood=blend,none": "every combination, one after the other",
        },
    ),
    "mine": (
        "searches with a frozen model and writes what it fails on as a data set.",
        {
            "hardmine mine ckpt=FILE data.root=PATH out=FOLDER": "the same again goes on where it was stopped",
            "hardmine mine ckpt=FILE data.root=PATH out=FOLDER mining.threshold=auto": "the hardest tenth",
            "hardmine mine experiment=first_embodiment ckpt=FILE out=FOLDER": "the patent's method to the letter",
        },
    ),
    "evaluate": (
        "shows in which environments and areas a model fails; trains nothing.",
        {
            "hardmine evaluate ckpt=FILE": "on the data of the run it is of",
            "hardmine evaluate ckpt=FILE data.root=PATH store=file store.path=night.parquet": "on other data",
            "hardmine evaluate ckpt=FILE fail_under=0.6": "exit code 1 where an environment is recognised worse",
        },
    ),
    "explore": (
        "serves a page on this machine: light by hand, the model's accuracy, neighbours, recipes.",
        {
            "hardmine explore RUN_FOLDER": "its data and its last checkpoint; Ctrl-C ends it",
            "hardmine explore ckpt=FILE data.root=PATH out=recipes": "of any checkpoint, on other data",
            "hardmine explore RUN_FOLDER open=false port=8765": "no window, for ssh -L 8765:localhost:8765",
            "hardmine evaluate ckpt=FILE store=file store.path=RUN_FOLDER/recipes/NAME.parquet": "all images in the "
            "light of a recipe that was kept",
        },
    ),
    "sweep": (
        "searches for the settings that train best, by Optuna.",
        {
            'hardmine sweep out=FOLDER "task.lr=tag(log,interval(1e-4,1e-2))"': "between two values",
            'hardmine sweep out=FOLDER trials=30 "seeds=[0,1]" "mining.hardest=choice(0.05,0.1)"': "of several",
            "hardmine sweep sweeper=mining out=FOLDER": "a search kept in a file",
            "hardmine sweep report FOLDER [metric=NAME] [direction=maximize|minimize]": "the table of a sweep again, "
            "also of hardmine train -m",
        },
    ),
    "export": (
        "writes the pieces of a training run as a data set.",
        {
            "hardmine export run=RUN_FOLDER out=FOLDER": "with the source images, val, test and target",
            "hardmine export run=RUN_FOLDER out=FOLDER sources=false": "the pieces alone",
            "hardmine export run=RUN_FOLDER out=FOLDER format=coco": "for other programs; also yolo, webdataset",
            "hardmine export model ckpt=RUN_FOLDER/checkpoints/last.ckpt out=net.pt2": "the network; also net.onnx",
            "hardmine export run=RUN_FOLDER out=FOLDER allow=[PACKAGE]": "of a run with classes of a package of yours",
        },
    ),
    "data": (
        "says what is in a folder: splits, environments, classes, sizes, and what is odd.",
        {
            "hardmine data PATH": "in the layout that it has; data.png shows some of the images",
            "hardmine data PATH data.images=images/*.png data.labels=regions/*.png data.val=0.1": "by two patterns",
            "hardmine data PATH sheet=null": "no picture",
        },
    ),
    "store": (
        "measures the colours of labelled targets, or shows those of a run.",
        {
            "hardmine store root=PATH out=night.parquet": "of the split `target`; for store=file store.path=...",
            "hardmine store root=PATH out=night.parquet split=train colors=rgb": "of another split; in RGB, not Lab",
            "hardmine store root=PATH out=night.parquet convert=true": "of grey and 16-bit images too; also void=null, "
            "as data.void",
            'hardmine store root=PATH "out=sqlite:///night.db?table=colors"': "into a table of a database",
            "hardmine store data=folder data.root=PATH out=night.parquet": "of any data=... that has files",
            "hardmine store run=RUN_FOLDER": "the environment table: what was used, how well it was recognised",
        },
    ),
    "report": (
        "writes one page that shows a run, a search, an evaluation or a sweep.",
        {
            "hardmine report RUN_FOLDER": "report.html in it, which needs no network",
            "hardmine report RUN_FOLDER ANOTHER": "two side by side",
            "hardmine report SWEEP_FOLDER": "its points side by side",
        },
    ),
    "runs": (
        "lists every run, search, evaluation and sweep below a folder.",
        {
            "hardmine runs": "below outputs/, or where you are",
            "hardmine runs FOLDER sort=-test/miou": "sorted, largest first",
            'hardmine runs FOLDER "where=state=finished,task.lr<0.01"': "by columns, metrics and keys of the config",
            "hardmine runs FOLDER json=true": "for programs",
            "hardmine runs RUN_FOLDER ANOTHER": "metrics side by side, and the settings that differ",
        },
    ),
}
# commands with keys of their own beside those of another one
_BESIDE = {"sweep": "train", "explore": "evaluate"}
_HYDRA = {
    "-m": "every combination of KEY=A,B",
    "--cfg job": "print the settings that come of the arguments, and run nothing",
    "--config-dir FOLDER": "a folder with options of your own, FOLDER/GROUP/OPTION.yaml",
    "-sc install=bash": 'completion, by eval "$(hardmine -sc install=bash)"; also zsh, fish',
}


def show_help(command: str, asked: Sequence[str]) -> None:
    """Print what a command does; or groups, options, blocks and keys that are asked for.

    Args:
        command: one of `COMMANDS`.
        asked: `neighbourhood`, `neighbourhood=blend`, `mining`, `mining.start`, ...

    Raises:
        InputError: nothing has this name.
    """
    if command not in COMPOSED:
        print("\n".join(_opening(command)))
    elif not asked:
        print("\n".join([*_opening(command), *_overview(command)]))
    else:
        print("\n\n".join(part for name in asked for part in _found(command, name)))


def _opening(command: str) -> Iterator[str]:
    about, examples = ABOUT[command]
    yield f"hardmine {command} {about}"
    yield "\nexamples"
    for line, what in examples.items():
        yield f"  {line}"
        yield f"      {what}"


def _overview(command: str) -> Iterator[str]:
    """Groups with what each option is for, then blocks and keys."""
    if command in _BESIDE:
        yield f"\nkeys, beside those of hardmine {_BESIDE[command]} --help"
        yield from _keys(command)
        return
    lists, options = defaults("common", command), groups()
    yield f"\ngroups: GROUP=OPTION takes another part; hardmine {command} --help GROUP shows the keys of its options"
    for group, default in lists.items():
        yield from _entry(group, default.purpose, 2)
        for file in options[group]:
            name = file.path.stem
            yield from _entry(f"{name} *" if name == default.option else name, _first(file.about), 4)
    yield "  * the default"
    yield f"\nkeys of no group: KEY=VALUE; hardmine {command} --help BLOCK shows those of a block"
    for path in ("common", command):
        yield from _keys(path)
    yield "\noptions"
    for name, what in _HYDRA.items():
        yield from _entry(name, what, 2)


def _keys(path: str) -> Iterator[str]:
    """Keys of a primary file; of a block the names of what is in it."""
    keys = own_keys(path)
    for key in keys:
        if key.value and "." not in key.name:
            yield from _entry(f"{key.name}={key.value}", key.comment, 2)
        elif not key.value:
            block = f"{key.name}."
            inside = [other.name.removeprefix(block) for other in keys if other.name.startswith(block)]
            yield from _entry(block, f"{key.comment} {', '.join(each for each in inside if each != '_target_')}", 2)


def _found(command: str, name: str) -> Iterator[str]:
    """The files, blocks or keys of a name, as they are written."""
    name, equals, option = name.lstrip("+~").partition("=")
    options = groups()
    primary = [read(path) for path in dict.fromkeys(("common", _BESIDE.get(command, command), command))]
    if name in options:
        there = [file.path.stem for file in options[name]]
        if equals and option not in there:
            raise InputError(f"{name}={option}: no such option: take one of {', '.join(there)}")
        chosen = defaults()[name].option
        for file in options[name]:
            if not equals or option == file.path.stem:
                yield _titled(f"{name}={file.path.stem}{' (default)' if file.path.stem == chosen else ''}", file)
        return
    blocks = [text for file in primary if (text := file.block(name))]
    if blocks and "." not in name:
        yield from blocks
        return
    found: dict[str, list[str]] = {}  # said once where several options have the same
    for file in (*primary, *_parts(options)):
        for key in file.keys:
            if key.value and not key.name.endswith("_target_") and f"{key.name}.".startswith(f"{name}."):
                found.setdefault(_key(key), []).append(f"{file.path.parent}={file.path.stem}")
    if not found:
        raise InputError(
            f"{name}: no such group, block or config key{_meant(name, primary, options)}: see hardmine {command} --help"
        )
    differ = len({text.split("=")[0] for text in found}) < len(found)
    yield "\n".join(f"{text}\n    of {', '.join(of)}" if differ else text for text, of in found.items())


def _meant(name: str, primary: Sequence[ConfigFile], options: Mapping[str, Sequence[ConfigFile]]) -> str:
    """The key that a name is like, by itself or without its block."""
    known = [*options, *(key.name for file in primary for key in file.keys)]
    known += [key.name for file in _parts(options) for key in file.keys]
    last = {each.split(".")[-1]: each for each in reversed(known)}
    near = get_close_matches(name, known, 1, 0.75)
    near = near or [last[each] for each in get_close_matches(name.split(".")[-1], last, 1, 0.75)]
    return f" (did you mean `{near[0]}`?)" if near else ""


def _parts(options: Mapping[str, Sequence[ConfigFile]]) -> Iterator[ConfigFile]:
    """The options of all groups but of those that set keys of others."""
    for group, files in options.items():
        yield from () if group in ("experiment", "sweeper") else files


def _titled(title: str, file: ConfigFile) -> str:
    return "\n".join([title, *(f"  {line}" for line in file.text.splitlines())])


def _key(key: Key) -> str:
    return f"{key.name}={key.value}" + "".join(f"\n    {line}" for line in textwrap.wrap(key.comment, _width() - 4))


def _entry(name: str, what: str, indent: int) -> Iterator[str]:
    """A name and, in a column of its own, what it is for."""
    column = 26
    head = " " * indent + name
    text = textwrap.wrap(what, _width() - column) or [""]
    if len(head) + 2 > column:
        yield head
        head = ""
    yield f"{head:<{column}}{text[0]}".rstrip()
    yield from (" " * column + line for line in text[1:])


def _first(text: str) -> str:
    """The first sentence."""
    return re.split(r"(?<!Expr)(?<!FIG)\. ", text)[0].rstrip(".")


def _width() -> int:
    return max(min(shutil.get_terminal_size().columns, 120), 60)


def complete(arguments: Sequence[str]) -> None:
    """`-sc install=bash` prints what the shell runs, `-sc query=bash` what may follow the line that is being typed.

    Hydra does both, for a program that is one command: the line is handed on without the program's name, so that Hydra
    takes our command for it.
    """
    import hydra

    what = next((argument for argument in arguments if "=" in argument), "install=bash")
    line = os.environ.get("COMP_LINE", "")
    rest = line.lstrip().partition(" ")[2]
    command = rest.split(" ")[0]
    if what.startswith("query="):
        if " " not in rest:
            print("\n".join(name for name in COMMANDS if name.startswith(command)))
            return
        if command not in COMPOSED:
            return  # the shell's own: folders
        os.environ["COMP_LINE"] = rest
    sys.argv = ["hardmine", "-sc", what]
    named = command if command in (*CONFIGURED, "explore") else "train"
    hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=named)(print)()
