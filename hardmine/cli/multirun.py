"""`-m`: what a sweep of Hydra's launchers is told before it starts, and what is shown at its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback

from hardmine.cli.launch import launched
from hardmine.errors import InputError
from hardmine.runs import RunFolder


class Multirun(Callback):
    """Hydra calls it; the folder of the sweep that is running is kept for whoever started Hydra."""

    folder: ClassVar[Path | None] = None

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        """Refuse what would mix up runs; Hydra swallows exceptions here, so that the process is left at once."""
        from hardmine.cli import failed

        launch = launched()
        if launch is not None and launch.ranks > 1:
            raise failed(
                f"-m: each of the {launch.ranks} processes that {launch.by} has started would run the whole sweep: "
                "search with hardmine sweep, or let hydra/launcher=submitit_slurm start the processes of each run"
            )
        folder = Path(config.hydra.sweep.dir).resolve()
        try:
            RunFolder(folder).look_unused("hydra.sweep.dir", own="multirun.yaml")
        except InputError as error:
            raise failed(error.keyed) from None
        if line := _used(folder, list(config.hydra.overrides.task)):
            raise failed(line)
        Multirun.folder = folder


def _used(folder: Path, now: list[str]) -> str | None:
    """Why no sweep may run in a folder."""
    from omegaconf import OmegaConf

    if not (folder / "multirun.yaml").is_file():
        return None
    before = [str(one) for one in OmegaConf.load(folder / "multirun.yaml").hydra.overrides.task]
    auto = "resume=auto"
    if auto in now and set(before) - {auto} == set(now) - {auto}:
        return None
    return (
        f"{folder}: holds a sweep already: go on with it by the same arguments and {auto}, or name another folder "
        "with hydra.sweep.dir=FOLDER"
    )


@contextmanager
def told() -> Iterator[None]:
    """Show the table of the sweep that runs inside, whatever its launcher, and also where the launcher fails.

    Raises:
        SystemExit: not all went well; 1 where a run crashed or did not end, 2 where one was refused.
    """
    from hardmine.cli import failed
    from hardmine.errors import InputError

    Multirun.folder = None
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if Multirun.folder is None:
            raise
        failed(f"{Multirun.folder}: the launcher failed: {' '.join(f'{type(error).__name__}: {error}'.split())[:300]}")
        show(Multirun.folder)
        raise SystemExit(1) from None
    if Multirun.folder is not None:
        code = show(Multirun.folder)
        if code:
            raise SystemExit(code)


def show(folder: Path, metric: str | None = None, direction: str | None = None) -> int:
    """The table of a sweep, on the screen and as files.

    Args:
        folder: of the sweep.
        metric: what to compare the runs by; None: as the sweep did.
        direction: None: as the metric is known to be better.

    Returns:
        The exit code that its runs come to.
    """
    from rich.console import Console

    from hardmine.report.sweep import read_sweep, sweep_table, write_sweep
    from hardmine.report.table import print_table

    sweep = read_sweep(folder, metric, direction)
    write_sweep(folder, sweep)
    console = Console()
    print_table(console, sweep_table(sweep))
    for point in sweep.points:
        for line in dict.fromkeys(point.lines):
            console.print(f"{point.name}: {line}", soft_wrap=True, markup=False)
    console.print(f"sweep folder: {folder}", soft_wrap=True, markup=False)
    statuses = {status for point in sweep.points for status in point.statuses}
    return 1 if statuses & {"crashed", "unfinished"} else 2 if "refused" in statuses else 0
