"""The folder of a run: its frozen config, checkpoints, ledger and store."""

import errno
import fcntl
import json
import logging
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardmine.errors import InputError
from hardmine.files import read_text, remove_parts, trouble, write_atomically
from hardmine.frozen import look_at_frozen, look_at_places, read_frozen, read_yaml

if TYPE_CHECKING:
    import torch

    from hardmine.data.inventory import Inventory
    from hardmine.machine import Machine

FORMAT = 1  # of a run folder
LOCK = "run.lock"
_RUN = "a run"
# files by which a folder is known
_HELD = {
    "run.json": _RUN,
    **dict.fromkeys(("multirun.yaml", "sweep.json"), "a sweep"),
    **dict.fromkeys(("evaluation.json", "plan.json"), "an evaluation"),
    "search.pt": "a search",
    **dict.fromkeys(("metadata.csv", "export.json"), "a data set"),
}
_log = logging.getLogger("hardmine")
_WRITTEN = (".", ".hydra", "checkpoints", "ledger", "pictures", "images", "regions")  # folders that commands write to
_claimed: dict[int, int] = {}  # locks that this process holds, by their inode: a folder may be moved
_NOTHING = object()


class RunFolder:
    """A run, read back from the config that it froze; today's defaults change nothing in it.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoints/last.ckpt"

    @property
    def before(self) -> Path:
        """The weights when mining started."""
        return self.path / "checkpoints/before.ckpt"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger"

    @property
    def store(self) -> Path:
        return self.path / "store.parquet"

    @property
    def data(self) -> Path:
        """What the run began with, see `Inventory`."""
        return self.path / "data.parquet"

    @property
    def summary(self) -> Path:
        """What a run that came to its end measured."""
        return self.path / "summary.json"

    @property
    def frozen(self) -> Path:
        """The config that Hydra wrote."""
        return self.path / ".hydra/config.yaml"

    @property
    def overrides(self) -> list[str]:
        """What was set when the run was started, as Hydra kept it.

        Raises:
            InputError: the file is damaged.
        """
        kept = self.frozen.with_name("overrides.yaml")
        given = (read_yaml(kept) if kept.is_file() else None) or []
        if not isinstance(given, list):
            raise InputError(f"{kept}: cannot be read: it must be a list: name another run folder")
        return [str(one) for one in given]

    def claim(self) -> None:
        """Keep the folder to this process until it ends, however it ends; what a killed one left half written goes.

        Raises:
            InputError: another process has it.
        """
        if not self.claimed:
            self._lock()
        for name in _WRITTEN:
            remove_parts(self.path / name)

    def _lock(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        try:  # a plain number: it is held to the very end
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise InputError(f"{self.path / LOCK}: is a link, which hardmine makes none of: delete it") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 200).decode().strip() or "another process"
            os.close(lock)
            raise InputError(f"{self.path}: {holder} is at work in this folder: wait for it, or name another") from None
        os.ftruncate(lock, 0)
        os.write(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        _claimed[os.fstat(lock).st_ino] = lock

    @property
    def claimed(self) -> bool:
        """Whether this process keeps the folder to itself."""
        lock = self.path / LOCK
        return lock.is_file() and lock.stat().st_ino in _claimed

    @property
    def busy(self) -> bool:
        """Whether a process, this one or another, keeps the folder to itself."""
        if not (self.path / LOCK).is_file():
            return False
        lock = os.open(self.path / LOCK, os.O_RDONLY)  # whoever may only read may look, and many at a time
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def held(self, own: str | None = None) -> str | None:
        """What the folder holds, of all that hardmine writes; None where that is nothing.

        Args:
            own: a file that does not count.
        """
        return next((what for name, what in _HELD.items() if name != own and (self.path / name).is_file()), None)

    def look_unused(self, key: str = "hydra.run.dir", own: str | None = None) -> None:
        """See that nothing is here that would be written over.

        Args:
            key: that names the folder.
            own: file of what may be gone on with.

        Raises:
            InputError: something is.
        """
        what = self.held(own)
        if what == _RUN and key == "hydra.run.dir":
            raise InputError(
                f"{self.path}: holds a run already: go on with it by resume={self.path}, or name another folder with "
                "hydra.run.dir=FOLDER"
            )
        if what:
            raise InputError(f"{self.path}: already holds {what}: set {key}= to another folder")

    @property
    def begun(self) -> bool:
        """Whether a run has written a checkpoint here, whole or not."""
        return any(path.is_file() for path in self._kept)

    @property
    def _kept(self) -> tuple[Path, Path]:
        from hardmine.callbacks.checkpoint import before

        return self.checkpoint, before(self.checkpoint)

    def forget(self) -> None:
        """Make room for a run that begins anew, where one ended before its first checkpoint."""
        if not (self.path / "run.json").is_file():
            return
        self.claim()
        _log.warning("hardmine: %s: the run that was here had no checkpoint yet: it begins anew", self.path)
        shutil.rmtree(self.ledger, ignore_errors=True)
        for best in self.checkpoint.parent.glob("best*.ckpt"):
            best.unlink()
        (self.path / "run.json").unlink()

    def resumable(self) -> Path:
        """The latest checkpoint that is whole.

        Raises:
            InputError: there is none.
        """
        from hardmine.callbacks.checkpoint import is_whole

        kept = [path for path in self._kept if path.is_file()]
        if not kept:
            raise InputError(
                f"{self.checkpoint}: no such file: resume takes the folder of a run that wrote a checkpoint; with "
                f"resume=auto hydra.run.dir={self.path} the run begins anew"
            )
        whole = [path for path in kept if is_whole(path)]
        if not whole:
            raise InputError(f"{self.checkpoint}: is damaged, and there is no whole one beside it: start the run anew")
        if whole[0] != self.checkpoint:
            _tell_damaged(self.checkpoint)
        return whole[0]

    def keep_weights(self) -> None:
        """Drop what a run that has come to its end needs no more: all of its last checkpoint but the weights, the one
        before it, and the weights from when mining started.

        A U-Net's optimizer, averages and weights before the average take four times its weights.
        """
        import torch

        from hardmine.callbacks.checkpoint import before, weights_alone

        for path in (before(self.checkpoint), self.before):
            path.unlink(missing_ok=True)  # first, which makes room
        if self.checkpoint.is_file():
            held = torch.load(self.checkpoint, map_location="cpu", mmap=True, weights_only=True)
            if kept := weights_alone(held):
                write_atomically(self.checkpoint, lambda file: torch.save(kept, file))

    def weights_before(self, module: "torch.nn.Module") -> dict[str, Any] | None:
        """Weights to compare the last ones with, if there are any; it is told where they are damaged or another's.

        Args:
            module: that they are for.
        """
        from hardmine.callbacks.checkpoint import fitting_weights, is_whole

        if not self.before.is_file():
            return None
        whole = is_whole(self.before)
        weights = fitting_weights(self.before, module) if whole else None
        if weights is None:
            what = "of another model" if whole else "damaged"
            _log.warning("hardmine: %s is %s: the table at the end shows nothing before", self.before, what)
        return weights

    def finished(self, steps: int, patience: int | None = None) -> dict[str, Any] | None:
        """The summary of a run that is at its end and has its last checkpoint; None where it is not.

        Args:
            steps: that it shall make.
            patience: with which it may have ended early.
        """
        from hardmine.callbacks.checkpoint import is_whole

        if not self.summary.is_file() or not is_whole(self.checkpoint):
            return None
        try:
            summary: dict[str, Any] = json.loads(self.summary.read_text())
            early = patience is not None and patience <= summary.get("early_patience", 0)
            return summary if early or 0 <= steps <= summary["steps"] else None
        except (ValueError, KeyError, TypeError):  # it is written anew
            return None

    def look_at_data(self, now: "Inventory") -> None:
        """See that a run finds the data that it began with.

        Raises:
            InputError: it is other data.
        """
        from hardmine.data.inventory import Inventory

        if not self.data.is_file():
            _log.warning("hardmine: %s is missing: nobody looks whether the data is still the same", self.data)
            return
        try:
            then = Inventory.load(self.data)
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{self.data}: is damaged: delete it to go on without comparing the data") from None
        if change := then.change(now):
            raise InputError(
                f"data: not the data that {self.path} began with: {change}: put it back, or begin in another folder"
            )

    def begin(self, cfg: Any, data: "Inventory | None" = None, machine: "Machine | None" = None) -> None:
        """Say what made the folder, where and what of, and freeze the config of the run.

        What was measured at an earlier end is no longer true of the weights that come.
        """
        from hardmine import __version__

        self.summary.unlink(missing_ok=True)
        if data is not None and not (cfg.resume and self.data.is_file()):
            data.save(self.data)

        starts = [*(self.starts if cfg.resume else ()), *([] if machine is None else [asdict(machine)])]
        text = json.dumps({"format": FORMAT, "hardmine": __version__, "starts": starts}, indent=2) + "\n"
        write_atomically(self.path / "run.json", lambda file: file.write(text.encode()))
        self.freeze(cfg)

    @property
    def starts(self) -> list[dict[str, Any]]:
        """When the run began and was gone on with, and on what, see `Machine`; empty where that is not recorded."""
        try:
            kept = json.loads(read_text(self.path / "run.json"))["starts"]
        except (InputError, ValueError, KeyError, TypeError, RecursionError):
            return []
        return [each for each in kept if isinstance(each, dict)] if isinstance(kept, list) else []

    def settings(self) -> dict[str, Any]:
        """The frozen config to look at: nothing is resolved, and nothing made of it; empty where there is none.

        Raises:
            InputError: it is damaged.
        """
        return read_frozen(self.frozen) if self.frozen.is_file() else {}

    def freeze(self, cfg: Any) -> None:
        """Keep a config in place of the one that was kept before."""
        from omegaconf import OmegaConf

        text = OmegaConf.to_yaml(cfg)
        write_atomically(self.frozen, lambda file: file.write(text.encode()))

    def config(self, allow: Sequence[str] = ()) -> Any:
        """The config of the run.

        Args:
            allow: packages that it may make objects of beside those that are known, see `look_at_frozen`.

        Raises:
            InputError: no run folder, one of a version that this one does not know, or one whose config would call
                what it should not.
        """
        from omegaconf import OmegaConf

        if why := trouble(self.path, folder=True):
            raise InputError(f"{self.path}: {why}: name the folder of a run")
        if not self.frozen.is_file():
            raise InputError(f"{self.frozen}: no such file: name the folder of a run")
        about = self.path / "run.json"
        if not about.is_file():
            raise InputError(
                f"{about}: no such file: the run was made by a version before 0.2, which has no format number"
            )
        try:
            made = json.loads(about.read_text())
            kind, version = int(made["format"]), str(made["hardmine"])
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{about}: cannot be read: it must hold format and hardmine") from None
        if kind != FORMAT:
            raise InputError(f"{about}: format {kind} of hardmine {version}; this version reads format {FORMAT}")
        plain = read_frozen(self.frozen)
        look_at_frozen(plain, self.frozen, allow)
        cfg = OmegaConf.create(plain)
        cfg.run_dir, cfg.allow = str(self.path), list(allow)  # whatever the folder itself would allow
        return cfg

    def look_at_places(self, allow: Sequence[str] = ()) -> None:
        """See that going on with the run writes into its folder and nowhere else.

        Args:
            allow: folders that may be written to as well.

        Raises:
            InputError: its config names another place, or a folder in it is a link to one.
        """
        look_at_places(read_frozen(self.frozen), self.frozen, allow)
        inside = [folder.expanduser().resolve() for folder in [self.path, *map(Path, allow)]]
        for name in _WRITTEN:
            place = (self.path / name).resolve()
            if not any(place.is_relative_to(folder) for folder in inside):
                raise InputError(
                    f"{self.path / name}: is a link to {place}, outside of the run's folder: set allow=[{place}] where "
                    "you trust the folder"
                )

    def lend(self, cfg: Any, blocks: Sequence[str], changes: Mapping[str, Any], allow: Sequence[str] = ()) -> None:
        """Put blocks of this run's config into another.

        Args:
            cfg: changed in place.
            blocks: names of them.
            changes: of single keys in these blocks.
            allow: see `config`.

        Raises:
            InputError: a key that a block does not have.
        """
        from omegaconf import OmegaConf

        frozen = self.config(allow)
        for block in blocks:
            if block in frozen:
                OmegaConf.update(cfg, block, frozen[block], merge=False)
        for key, value in changes.items():
            block, _, inside = key.partition(".")
            if OmegaConf.select(cfg[block], inside, throw_on_missing=False, default=_NOTHING) is _NOTHING:
                raise InputError(f"{key}: the run {self.path} has no such key in its {block}")
            OmegaConf.update(cfg, key, value)


@cache
def _tell_damaged(checkpoint: Path) -> None:
    """Once, however often it is looked at."""
    _log.warning("hardmine: %s is damaged: the run goes on from the one before it", checkpoint)
