"""What `resume=` stands for: arguments that go on with a run as it was begun."""

import re
from pathlib import Path

from omegaconf import DictConfig

from hardmine.cli.blocks import options
from hardmine.cli.config import allowed, key_of
from hardmine.cli.launch import is_first
from hardmine.cli.paths import look_at_output, path_of, quoted
from hardmine.errors import InputError
from hardmine.runs import RunFolder


def prepared(arguments: list[str]) -> tuple[list[str], Path | None]:
    """What `resume=` stands for.

    Returns:
        Arguments for Hydra, and the config that the run froze, where there is one to go on with.

    Raises:
        InputError: nothing to go on with, or a new run in the folder of another.
    """
    folders = [path_of(argument) for argument in arguments if key_of(argument) == "resume"]
    many = bool({"-m", "--multirun"} & set(arguments))
    if not many and "hydra.run.dir" not in map(key_of, arguments):
        # Hydra's files and the run's lie in one folder
        arguments = [re.sub("^run_dir=", "hydra.run.dir=", argument) for argument in arguments]
    if folders and folders[-1] == "auto" and not many:
        arguments, folders = _auto(arguments)
        if not folders:
            return arguments, None
    if folders and folders[-1] not in ("null", "auto"):
        folder = RunFolder(folders[-1])
        if many:
            raise InputError(
                f"resume={folder.path}: is one run: a sweep goes on with resume=auto hydra.sweep.dir=FOLDER and the "
                "arguments that it had"
            )
        return _resumed(folder, arguments), folder.frozen
    for argument in [one for one in arguments if key_of(one) == "hydra.run.dir"][-1:]:
        look_at_output("hydra.run.dir", path_of(argument))
    return arguments, None


def _auto(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What `resume=auto` means: the run of the folder, with its own settings, or where it has no checkpoint a new one.

    Returns:
        Arguments, and the run folder to go on with, if any.

    Raises:
        InputError: no folder is named, which a job that starts again would find.
    """
    given = [path_of(argument) for argument in arguments if key_of(argument) == "hydra.run.dir"]
    if not given:
        raise InputError("resume=auto: name the folder of the run as well: hydra.run.dir=FOLDER")
    folder = RunFolder(given[-1])
    if folder.begun:
        return [f"resume={quoted(str(folder.path))}"], [str(folder.path)]
    if is_first():
        folder.forget()
    return [argument for argument in arguments if key_of(argument) != "resume"], []


def _resumed(folder: RunFolder, arguments: list[str]) -> list[str]:
    """Arguments for the config that the run froze.

    Raises:
        InputError: nothing to go on with, or another choice of a group.
    """
    allow = allowed(arguments)
    frozen = folder.config(allow)
    folder.look_at_places(allow)
    folder.resumable()
    for argument in arguments:
        if key_of(argument) == "hydra.run.dir" and Path(path_of(argument)).resolve() != folder.path.resolve():
            raise InputError(f"{argument}: a resumed run stays in its folder, {folder.path}: leave it out")
        added = argument.startswith("+") and "." not in key_of(argument)
        if added or options(key_of(argument)) or isinstance(frozen.get(key_of(argument)), DictConfig):
            raise InputError(f"{argument}: a resumed run keeps its {key_of(argument)}: change single keys of it alone")
    look_at_output("resume", str(folder.path))
    path = quoted(str(folder.path))
    hydra = (f"hydra.run.dir={path}", "hydra.job.name=hardmine", "hydra.output_subdir=null")
    kept = [argument for argument in arguments if key_of(argument) != "allow"]
    return [*kept, f"++allow=[{','.join(map(quoted, allow))}]", f"run_dir={path}", *hydra]
