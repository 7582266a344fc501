"""The folder that a command writes to, looked at before Hydra writes there, and left as it was by what is refused."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback

from hardmine.errors import InputError
from hardmine.runs import LOCK, RunFolder


class Place(Callback):
    """Hydra calls it before it makes the folder of a run.

    Args:
        key: that names the folder.
        own: file of what the command itself goes on with.
    """

    before: ClassVar[tuple[Path, frozenset[str] | None] | None] = None  # a folder, and what was in it; None: no folder

    def __init__(self, key: str, own: str | None = None) -> None:
        self.key, self.own = key, own

    def on_run_start(self, config: Any, **kwargs: Any) -> None:
        """Refuse what would mix up runs; Hydra swallows exceptions here, so that the process is left at once."""
        from hardmine.cli import failed
        from hardmine.cli.launch import is_first
        from hardmine.cli.paths import look_at_output

        Place.before = None
        if not is_first():
            return
        try:
            for folder in {str(config.hydra.run.dir), str(config.get("out") or config.hydra.run.dir)}:
                RunFolder(look_at_output(self.key, folder)).look_unused(self.key, self.own)
        except InputError as error:
            raise failed(error.keyed) from None
        place = Path(config.hydra.run.dir).absolute()
        Place.before = place, frozenset(path.name for path in place.iterdir()) if place.is_dir() else None

    @classmethod
    def restore(cls, names: set[str]) -> None:
        """Leave the folder as it was, where nothing has begun in it and no other process is at work.

        Args:
            names: of files that are the command's, whatever else was in the folder.
        """
        if cls.before is None:
            return
        folder, before = cls.before
        run = RunFolder(folder)
        if run.held() or ((folder / LOCK).exists() and not run.claimed):
            return
        with suppress(OSError):
            for path in list(folder.iterdir()):
                if path.name not in (before or ()) and (not before or path.name in names):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            if before is None:
                folder.rmdir()
                for parent in folder.parents:  # those of the date, which Hydra made
                    if not parent.is_relative_to(Path.cwd() / "outputs"):
                        break
                    parent.rmdir()
