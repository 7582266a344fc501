"""The folder of a run: its frozen config, checkpoints, ledger and store."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardmine.errors import InputError
from hardmine.files import write_atomically

FORMAT = 1  # of a run folder
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
    def ledger(self) -> Path:
        return self.path / "ledger"

    @property
    def store(self) -> Path:
        return self.path / "store.parquet"

    @property
    def frozen(self) -> Path:
        """The config that Hydra wrote."""
        return self.path / ".hydra/config.yaml"

    def begin(self, cfg: Any) -> None:
        """Say what made the folder, and freeze the config of the run."""
        from hardmine import __version__

        text = json.dumps({"format": FORMAT, "hardmine": __version__}, indent=2) + "\n"
        write_atomically(self.path / "run.json", lambda file: file.write(text.encode()))
        self.freeze(cfg)

    def freeze(self, cfg: Any) -> None:
        """Keep a config in place of the one that was kept before."""
        from omegaconf import OmegaConf

        text = OmegaConf.to_yaml(cfg)
        write_atomically(self.frozen, lambda file: file.write(text.encode()))

    def config(self) -> Any:
        """The config of the run.

        Raises:
            InputError: no run folder, or one of a version that this one does not know.
        """
        from omegaconf import OmegaConf

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
        cfg = OmegaConf.load(self.frozen)
        cfg.run_dir = str(self.path)
        return cfg

    def lend(self, cfg: Any, blocks: Sequence[str], changes: Mapping[str, Any]) -> None:
        """Put blocks of this run's config into another.

        Args:
            cfg: changed in place.
            blocks: names of them.
            changes: of single keys in these blocks.

        Raises:
            InputError: a key that a block does not have.
        """
        from omegaconf import OmegaConf

        frozen = self.config()
        for block in blocks:
            if block in frozen:
                OmegaConf.update(cfg, block, frozen[block], merge=False)
        for key, value in changes.items():
            block, _, inside = key.partition(".")
            if OmegaConf.select(cfg[block], inside, throw_on_missing=False, default=_NOTHING) is _NOTHING:
                raise InputError(f"{key}: the run {self.path} has no such key in its {block}")
            OmegaConf.update(cfg, key, value)
