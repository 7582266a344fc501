"""Every config file composes and builds what it names."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig

from hardmine.cli import config_folder
from hardmine.cli.build import build_conversion, build_data, build_gates

GROUPS = sorted(path.relative_to(config_folder()) for path in config_folder().glob("*/*.yaml"))
PLAIN = ("experiment", "method", "callbacks", "mining", "store", "gate", "environment")  # no constructor of their own
PARTS = [path for path in GROUPS if path.parts[0] not in PLAIN]


@pytest.mark.parametrize("path", PARTS, ids=str)
def test_every_option_builds(path: Path, configured: Callable[..., DictConfig], folder: Path) -> None:
    group = path.parts[0]
    more = [f"data.root={folder}"] if path.stem in ("folder", "image_folder") else []
    config = configured(f"{group}={path.stem}", "classes=3", *more)
    part = config[group]
    if part["_target_"] is None:
        return
    needed = {
        "task": {"net": instantiate(config.model), "classes": ("sky", "road", "tree")},
        "trainer": {"precision": "32-true", "logger": False},
    }
    assert instantiate(part, _convert_="all", **needed.get(group, {})) is not None


@pytest.mark.parametrize("option", ["none", "limits", "teacher", "all"])
def test_every_gate_builds(option: str, configured: Callable[..., DictConfig]) -> None:
    gates = build_gates(configured(f"gate={option}"))
    assert len(gates) == {"none": 0, "limits": 2, "teacher": 1, "all": 3}[option]


CONVERSIONS = [path.stem for path in GROUPS if path.parts[0] == "conversion"]


@pytest.mark.parametrize("option", CONVERSIONS)
def test_every_conversion_builds(option: str, configured: Callable[..., DictConfig]) -> None:
    config = configured(f"conversion={option}")
    assert len(build_conversion(config, build_data(config)).space)


METHODS = [path.stem for path in GROUPS if path.parts[0] == "method"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("experiment", ["camvid", "blood_cells", "street_boxes"])
def test_every_method_composes_with_every_protocol(
    method: str, experiment: str, configured: Callable[..., DictConfig]
) -> None:
    config = configured(f"experiment=quality_{experiment}", f"method={method}", "data.root=x", "classes=3")
    assert all(instantiate(callback) for callback in config.callbacks.values())
    assert instantiate(config.first) is not None


EXPERIMENTS = [path.stem for path in GROUPS if path.parts[0] == "experiment"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_builds(experiment: str, configured: Callable[..., DictConfig]) -> None:
    config = configured(f"experiment={experiment}", "data.root=x", "classes=3")
    net = instantiate(config.model)
    assert instantiate(config.task, net=net, classes=("a", "b", "c")).net is not None
    assert instantiate(config.scoring) is not None


def test_every_callback_builds(configured: Callable[..., DictConfig]) -> None:
    assert all(instantiate(callback) for callback in configured().callbacks.values())


def test_experiments_win_over_the_primary_config(configured: Callable[..., DictConfig]) -> None:
    """`_self_` before `experiment` in the defaults list."""
    config = configured("experiment=camvid_dusk", "data.root=x")
    assert config.data._target_ == "hardmine.data.FolderData"
    assert config.mining.start == 0  # and the command line over both
