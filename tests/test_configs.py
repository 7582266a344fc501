"""Every config file composes and builds what it names."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig

from hardmine.cli import config_folder

GROUPS = sorted(path.relative_to(config_folder()) for path in config_folder().glob("*/*.yaml"))
PARTS = [path for path in GROUPS if path.parts[0] not in ("experiment", "callbacks", "mining", "store")]


@pytest.mark.parametrize("path", PARTS, ids=str)
def test_every_option_builds(path: Path, configured: Callable[..., DictConfig], folder: Path) -> None:
    group = path.parts[0]
    more = [f"data.root={folder}"] if path.stem == "folder" else []
    config = configured(f"{group}={path.stem}", *more)
    part = config[group]
    if part["_target_"] is None:
        return
    needed = {
        "model": {"classes": 3},
        "task": {"net": instantiate(config.model, classes=3), "classes": 3},
        "trainer": {"precision": "32-true", "logger": False},
    }
    assert instantiate(part, _convert_="all", **needed.get(group, {})) is not None


def test_every_callback_builds(configured: Callable[..., DictConfig]) -> None:
    assert all(instantiate(callback) for callback in configured().callbacks.values())


def test_experiments_win_over_the_primary_config(configured: Callable[..., DictConfig]) -> None:
    """`_self_` before `experiment` in the defaults list."""
    config = configured("experiment=camvid_dusk", "data.root=x")
    assert config.data._target_ == "hardmine.data.FolderData"
    assert config.mining.start == 0  # and the command line over both
