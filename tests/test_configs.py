"""Every config file composes and builds what it names."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import make_store
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from quality.runs import CONFIGS, present

from hardmine.cli import config_folder
from hardmine.cli.blocks import IN_CALLBACKS
from hardmine.cli.build import (
    build_callbacks,
    build_conversion,
    build_data,
    build_gates,
    build_task,
    mining_settings,
    task_of,
)
from hardmine.cli.config import look_at
from hardmine.cli.train import lightnings
from hardmine.mining import Mining

GROUPS = sorted(path.relative_to(config_folder()) for path in config_folder().glob("*/*.yaml"))
LAYOUTS = ("cityscapes", "coco", "yolo")  # of other folders: tests/test_layouts.py has them
PLAIN = ("experiment", "callbacks", "store", "gate", "sweeper", *IN_CALLBACKS)  # no constructor of their own
PARTS = [path for path in GROUPS if path.parts[0] not in PLAIN]
BENCHMARK = f"hydra.searchpath=['file://{CONFIGS}']"


def mining_of(config: DictConfig) -> Mining:
    kind, settings = mining_settings(config)
    return kind(make_store(), **settings)


@pytest.mark.parametrize("path", PARTS, ids=str)
def test_every_option_builds(path: Path, configured: Callable[..., DictConfig], folder: Path) -> None:
    group = path.parts[0]
    more = [f"data.root={folder}"] if path.stem in ("folder", "image_folder", "pairs") else []
    more += ["data.images=images/*.png", "data.labels=regions/*.png", "data.val=0.2"] if path.stem == "pairs" else []
    more += ["data.root=x"] if path.stem in LAYOUTS else []
    config = configured(f"{group}={path.stem}", "classes=3", *more)
    part = config[group]
    look_at(config)
    if part["_target_"] is None or path.stem in LAYOUTS:
        return
    if path.stem in ("wandb", "mlflow"):
        pytest.importorskip(path.stem, reason=f"not installed: pip install 'hardmine[{path.stem}]'")
    needed = {"net": instantiate(config.model), "classes": ("sky", "road", "tree")} if group == "task" else {}
    if group == "task":
        assert task_of(part, **needed).optimisation.lr == 1e-3
        return
    assert instantiate(part, _convert_="all") is not None


def test_every_block_builds(configured: Callable[..., DictConfig]) -> None:
    config = configured()
    assert instantiate(lightnings(config.trainer), precision="32-true", logger=False).max_steps == 6
    assert len(instantiate(config.buffer)) == 0
    assert instantiate(config.stopping).reason is None
    assert mining_of(config).threshold is None and mining_of(configured("mining.threshold=0.7")).threshold == 0.7


@pytest.mark.parametrize("option", ["none", "limits", "teacher", "all"])
def test_every_gate_builds(option: str, configured: Callable[..., DictConfig]) -> None:
    gates = build_gates(configured(f"gate={option}"))
    assert len(gates) == {"none": 0, "limits": 2, "teacher": 1, "all": 3}[option]


CONVERSIONS = [path.stem for path in GROUPS if path.parts[0] == "conversion"]


@pytest.mark.parametrize("option", CONVERSIONS)
def test_every_conversion_builds(option: str, configured: Callable[..., DictConfig]) -> None:
    config = configured(f"conversion={option}")
    assert len(build_conversion(config, build_data(config)).space)


METHODS = sorted(path.stem for path in CONFIGS.glob("method/*.yaml"))
PROTOCOLS = ["camvid", "blood_cells", "street_boxes", "nuclei", "street"]


def test_the_benchmark_has_a_file_for_each_method() -> None:
    told = OmegaConf.load(CONFIGS.parent / "quality.yaml")
    assert sorted(present(told.methods, told.past)) == METHODS
    assert set(told.past) <= set(told.methods) and set(told.protocols) == set(PROTOCOLS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_method_composes_with_every_protocol(
    method: str, protocol: str, configured: Callable[..., DictConfig]
) -> None:
    config = configured(BENCHMARK, f"experiment=quality_{protocol}", f"+method={method}", "data.root=x", "classes=3")
    assert next(iter(config.callbacks)) == "curve" and config.task.ema == 0.98
    assert all(instantiate(callback) for callback in config.callbacks.values())
    assert instantiate(config.first) is not None
    assert mining_of(config) is not None


EXPERIMENTS = [path.stem for path in GROUPS if path.parts[0] == "experiment"]
EXPERIMENTS += [f"quality_{protocol}" for protocol in PROTOCOLS]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_builds(experiment: str, configured: Callable[..., DictConfig]) -> None:
    config = configured(BENCHMARK, f"experiment={experiment}", "data=folder", "data.root=x", "classes=3")
    net = instantiate(config.model)
    assert task_of(config.task, net=net, classes=("a", "b", "c")).net is not None
    assert instantiate(config.scoring) is not None


CALLBACKS = {("last", "none"): {"checkpoint"}, ("best", "validation"): {"checkpoint", "best", "early_stopping"}}


@pytest.mark.parametrize(("checkpoint", "early_stopping"), [*CALLBACKS, ("none", "none")])
def test_every_callback_builds(checkpoint: str, early_stopping: str, configured: Callable[..., DictConfig]) -> None:
    config = configured(f"checkpoint={checkpoint}", f"early_stopping={early_stopping}")
    data = build_data(config)
    callbacks = build_callbacks(config, build_task(config, data), data)
    wanted = CALLBACKS.get((checkpoint, early_stopping), set())
    assert callbacks.keys() == {"before", "pictures", "progress"} | wanted
    assert all(getattr(callbacks[name], "monitor", None) == "val/miou" for name in wanted - {"checkpoint"})
    assert "checkpoint" not in callbacks or list(callbacks)[-1] == "checkpoint"  # it knows what the others remember


def test_experiments_win_over_the_primary_config(configured: Callable[..., DictConfig]) -> None:
    """`_self_` before `experiment` in the defaults list."""
    config = configured("experiment=camvid_dusk", "data.root=x")
    assert config.data._target_ == "hardmine.data.FolderData"
    assert config.mining.start == 0  # and the command line over both
