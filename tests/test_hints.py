"""Config values of another type than their argument: one line, before anything is built."""

from collections.abc import Callable

import pytest
from omegaconf import DictConfig, OmegaConf
from test_configs import GROUPS as ALL

from hardmine.cli.hints import look_at_types
from hardmine.cli.ranges import look_at_ranges
from hardmine.data import RiversideData
from hardmine.errors import InputError

GROUPS = [path for path in ALL if path.parts[0] != "sweeper"]  # of another command


@pytest.mark.parametrize("path", GROUPS, ids=str)
def test_every_option_fits(path: object, configured: Callable[..., DictConfig]) -> None:
    group, option = str(path).removesuffix(".yaml").split("/")
    more = ["data.root=images"] if group in ("data", "experiment") and option != "riverside" else []
    more += ["data=folder"] if group == "experiment" else []
    look_at_types(configured(f"{group}={option}", *more))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stopping.patience=x", "stopping.patience must be a whole number, got 'x'"),
        ("mining.start=2.5", "mining.start must be a whole number, got 2.5"),
        ("mining.start=true", "mining.start must be a whole number, got True"),
        ("mining.hardest=much", "mining.hardest must be a number or null, got 'much'"),
        ("seed=a", "seed must be a whole number, got 'a'"),
        ("update.stored=3", "update.stored must be true or false, got 3"),
        ("update.every={a: 1}", "update.every must be a whole number, got {'a': 1}"),
        ("trainer.max_steps=x", "trainer.max_steps must be a whole number, got 'x'"),
        ("data.size=[a,b]", "data.size must be a list of 2 (a whole number each), got ['a', 'b']"),
        ("conversion.parts.frame.smallest=x", "conversion.parts.frame.smallest must be a number, got 'x'"),
        ("task.lr=fast", "task.lr must be a number, got 'fast'"),
        ("model.encoder_name=3", "model.encoder_name must be a text, got 3"),
        ("data.size=[8]", "data.size must be a list of 2 (a whole number each), got [8]"),
        ("data.counts=3", "data.counts must be names with values or null, got 3"),
        ("neighbourhood.channels=blue", "neighbourhood.channels must be luminance or lab, got 'blue'"),
    ],
)
def test_a_value_of_another_type(override: str, message: str, configured: Callable[..., DictConfig]) -> None:
    with pytest.raises(InputError) as refused:
        look_at_types(configured("data=riverside", override))
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "override", ["task.lr=1", "mining.threshold=0.7", "mining.hardest=null", "trainer.devices=[0,1]", "ckpt=null"]
)
def test_what_fits(override: str, configured: Callable[..., DictConfig]) -> None:
    look_at_types(configured("data=riverside", override))


@pytest.mark.parametrize(
    "override",
    [
        "task.lr=1e300",
        "conversion.parts.color.min_std=1e300",
        "neighbourhood.radius=1e300",
        f"buffer.capacity={10**20}",
    ],
)
def test_what_no_tensor_can_hold(override: str, configured: Callable[..., DictConfig]) -> None:
    key = override.split("=")[0]
    with pytest.raises(InputError, match=rf"^{key} must be a number from \S+ to \S+, got "):
        look_at_ranges(configured("data=riverside", override))


def test_scenes_have_a_least_size() -> None:
    with pytest.raises(InputError) as refused:
        RiversideData(size=(3, 64))
    assert refused.value.keyed == "data.size must be 32 pixels or more of each side, got [3, 64]"


def placed(names: tuple[str, int], counts: tuple[int, ...] = (), unknown: "nowhere.Type" = None) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Its hints cannot be told."""


def shaped(names: tuple[str, int], counts: tuple[int, ...] = (), **more: int) -> None:
    """Its hints can."""


def test_hints_of_other_code() -> None:
    look_at_types(OmegaConf.create({"part": {"_target_": "test_hints.placed", "names": 3}}))
    look_at_types(OmegaConf.create({"part": {"_target_": "nowhere.at_all", "names": 3}}))
    good = {"_target_": "test_hints.shaped", "names": ["a", 1], "counts": [1, 2], "other": "x"}
    look_at_types(OmegaConf.create({"part": good}))
    with pytest.raises(InputError, match=r"part\.counts must be a list \(a whole number each\), got \[1, 'b'\]"):
        look_at_types(OmegaConf.create({"part": {**good, "counts": [1, "b"]}}))


@pytest.mark.parametrize("layout", ["folder", "image_folder", "pairs", "coco", "yolo", "cityscapes"])
def test_keys_that_data_modules_have_in_common(layout: str, configured: Callable[..., DictConfig]) -> None:
    """They are hinted by a `TypedDict`, which a key must be in that is no argument."""
    more = [f"data={layout}", "data.root=x"]
    for override, message in (
        ("data.batch_size=many", "data.batch_size must be a whole number, got 'many'"),
        ("data.superpixels=true", "data.superpixels must be a whole number, got True"),
    ):
        with pytest.raises(InputError) as refused:
            look_at_types(configured(*more, override))
        assert str(refused.value) == message
    with pytest.raises(InputError, match=r"data\.sise: no such config key: data takes .*batch_size, .*flip, .*targets"):
        look_at_types(configured(*more, "+data.sise=[8,8]"))
