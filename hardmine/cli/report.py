"""`hardmine report`: one page that shows a run, a search, an evaluation or a sweep."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hardmine.errors import InputError
from hardmine.runs import RunFolder

_log = logging.getLogger("hardmine")
_OWN = ("run_dir", "out", "classes")  # keys that say nothing of the choice


def command(arguments: list[str]) -> None:
    """Write the page of a folder, beside another one where it is named."""
    if not 1 <= len(arguments) <= 2 or any("=" in argument for argument in arguments):
        raise InputError("report: use hardmine report FOLDER, or hardmine report FOLDER ANOTHER to compare two")
    print(write_report(*map(Path, arguments)))


def write_report(folder: Path, against: Path | None = None) -> Path:
    """The page of a folder, in it.

    Args:
        folder: of a run, a search, an evaluation or a sweep.
        against: another one, to stand beside it.

    Returns:
        Where the page is.
    """
    from hardmine.report.page import NAME, write_page

    folders = [folder.expanduser(), *([] if against is None else [against.expanduser()])]
    subjects = [_subject(each) for each in folders]
    for subject, name in zip(subjects, told_apart(folders), strict=True):
        subject.name = name
    path = folders[0] / (NAME if against is None else f"report_against_{folders[1].resolve().name}.html")
    write_page(path, subjects, _about())
    return path


def told_apart(folders: Sequence[Path]) -> list[str]:
    """Names of folders: their last parts, as many as differ; runs of a sweep are called alike."""
    parts = [folder.resolve().parts for folder in folders]
    longest = max(map(len, parts))
    needed = next((last for last in range(1, longest) if len({each[-last:] for each in parts}) == len(parts)), 1)
    return ["/".join(each[-needed:]) for each in parts]


def report_of(folder: Path, wanted: bool) -> None:
    """The page at the end of a command, where it is wanted; without it the command has done its work all the same."""
    if not wanted:
        return
    try:
        print(f"report: {write_report(folder)}")
    except Exception as error:  # hours of work are not lost over a page
        why = " ".join(str(error).split())[:200]
        _log.warning("hardmine: no report was written (%s): try hardmine report %s", why, folder)


def _subject(folder: Path) -> Any:
    from hardmine.report.subject import read_subject
    from hardmine.report.sweep_subject import is_sweep, sweep_subject

    if is_sweep(folder):
        return sweep_subject(folder)
    settings = RunFolder(folder).settings()
    subject = read_subject(folder, settings.get("neighbourhood"), [*map(str, settings.get("gate", ()))])
    if settings:
        subject.settings, subject.frozen = changes(settings), True
    return subject


def changes(settings: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Key, default and value of each setting that is another than the default."""
    from omegaconf import OmegaConf

    from hardmine.cli.config import composed
    from hardmine.frozen import flat, written

    name = "mine" if "search" in settings else "evaluate" if "budget" in settings else "train"
    default: Any = OmegaConf.to_container(composed(name), resolve=False)
    usual = dict(flat(default))
    return [
        (key, written(usual.get(key)) if key in usual else "", written(value))
        for key, value in flat(settings)
        if key not in _OWN and (key not in usual or usual[key] != value)
    ]


def _about() -> Sequence[tuple[str, str]]:
    from hardmine import __version__

    return [("page made by hardmine", __version__)]
