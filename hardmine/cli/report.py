"""`hardmine report`: one page that shows a run, a search or an evaluation."""

import logging
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hardmine.cli import config_folder
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
        folder: of a run, a search or an evaluation.
        against: another one, to stand beside it.

    Returns:
        Where the page is.
    """
    from hardmine.report.page import NAME, write_page

    folders = [folder.expanduser(), *([] if against is None else [against.expanduser()])]
    subjects = [_subject(each) for each in folders]
    path = folders[0] / (NAME if against is None else f"report_against_{folders[1].resolve().name}.html")
    write_page(path, subjects, _about())
    return path


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
    from omegaconf import OmegaConf

    from hardmine.report.subject import read_subject

    frozen = RunFolder(folder).frozen
    settings: Any = OmegaConf.to_container(OmegaConf.load(frozen), resolve=False) if frozen.is_file() else {}
    policy = settings.get("neighbourhood") or {}
    subject = read_subject(folder, policy, [*(settings.get("gate") or {})])
    if settings:
        subject.settings = changes(settings)
    return subject


def changes(settings: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Key, default and value of each setting that is another than the default."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    from hardmine.report.subject import flat

    name = "mine" if "search" in settings else "evaluate" if "budget" in settings else "train"
    running = GlobalHydra.instance().hydra  # a command, at the end of which the page is written
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
            default: Any = OmegaConf.to_container(compose(name), resolve=False)
    finally:
        GlobalHydra.instance().hydra = running
    usual = dict(flat(default))
    return [
        (key, _written(usual.get(key)) if key in usual else "", _written(value))
        for key, value in flat(settings)
        if key not in _OWN and (key not in usual or usual[key] != value)
    ]


def _written(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _about() -> Sequence[tuple[str, str]]:
    import torch

    from hardmine import __version__

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{_processor()}, {cores} cores"
    return [
        ("page made by hardmine", __version__),
        ("torch", torch.__version__),
        ("Python", platform.python_version()),
        ("on", device),
    ]


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.is_file() else ""
    models = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
