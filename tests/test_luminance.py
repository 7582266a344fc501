"""The simple case of R6: a table with the mean and deviation of L* alone moves L*, and a* and b* stay."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import make_images, make_recipe, make_store
from omegaconf import DictConfig
from torch import nn

from hardmine.cli import main
from hardmine.cli.build import build_data, build_mining
from hardmine.cli.train import train
from hardmine.conversions import Chain, ColorTransfer, Conversion, Reframe, Smooth, suited
from hardmine.errors import InputError
from hardmine.kernels.transfer import affine
from hardmine.mining import Mining
from hardmine.neighbourhood import AdjacentCell, Auto, Blend, Generate, SameCell, Select
from hardmine.plan import Mix
from hardmine.scenes import Scenes
from hardmine.space import LAB, LUMINANCE, RGB, Space
from hardmine.store import ParameterStore

AREAS = ("area0", "area1", "area2")
LINE = "hardmine: the store has luminance alone: a* and b* stay as they are"
ENVIRONMENT = {"time": ["night", "night", "night", "day", "day", "day"]}


def luminance(path: Path, areas: tuple[str, ...] = AREAS) -> ParameterStore:
    """As a table made elsewhere gives it."""
    known = make_store(environment=ENVIRONMENT)
    rows = [(target, area) for target in known.ids for area in (*areas, "(whole image)")]
    points = known.parameters.flatten(0, 1)
    columns = {"target": [t for t, _ in rows], "area": [a for _, a in rows], "mean_L": points[:, 0].numpy()}
    times = [ENVIRONMENT["time"][known.ids.index(target)] for target, _ in rows]
    pq.write_table(pa.table({**columns, "std_L": points[:, 3].numpy(), "environment.time": times}), path)
    return ParameterStore.load(path)


@pytest.fixture
def store(tmp_path: Path) -> ParameterStore:
    return luminance(tmp_path / "light.parquet")


class Dark(nn.Module):
    """Recognises bright pixels alone."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        level = image.float().mean(1) / 255 * self.weight
        return torch.stack([-(level - center).abs() for center in (0.2, 0.5, 0.8)], dim=1)


def test_a_table_of_luminance_alone_loads(store: ParameterStore, tmp_path: Path) -> None:
    wanted = make_store()
    assert store.space.axes == LUMINANCE.axes and LUMINANCE.names == ("mean_L", "std_L")
    assert torch.equal(store.parameters, wanted.parameters[..., [0, 3]])
    further = Chain([ColorTransfer(), Smooth()])
    for_lab = ParameterStore.load(tmp_path / "light.parquet", space=further.space)
    assert for_lab.space.axes == LUMINANCE.axes and torch.equal(for_lab.parameters, store.parameters)
    store.save(tmp_path / "again.parquet")
    again = ParameterStore.load(tmp_path / "again.parquet")
    assert again.space.axes == LUMINANCE.axes and again.mark == store.mark
    assert store.whole().parameters.shape == (6, 2, 2)
    assert store.aligned(("area2", "lake")).parameters.shape == (6, 3, 2)
    assert store.fitted(suited(further, store.space).space).space.names == ("mean_L", "std_L", "smooth")


def test_only_luminance_alone_makes_a_conversion_of_luminance(store: ParameterStore) -> None:
    lab, rgb, smooth = ColorTransfer(), ColorTransfer("rgb"), Smooth()
    assert suited(lab, store.space).space is LUMINANCE and lab.space is LAB
    for conversion, space in ((lab, LAB), (lab, RGB), (rgb, store.space), (smooth, store.space)):
        assert suited(conversion, space) is conversion
    chain = Chain([lab, Reframe(0.7, 0.5)])
    assert suited(chain, LAB) is chain
    changed = suited(chain, Space([*store.space.axes, *smooth.space.axes]))
    assert isinstance(changed, Chain) and changed.space.names == LUMINANCE.names and changed.parts[1] is chain.parts[1]
    assert suited(changed, store.space) is changed
    with pytest.raises(InputError, match="no mean_R, which the conversion needs \\(it has mean_L, std_L\\)"):
        store.fitted(rgb.space)


@pytest.mark.parametrize("individual", [False, True])
def test_lightness_becomes_the_targets_and_colours_stay(individual: bool) -> None:
    image, regions = make_images(size=(64, 64))
    regions[regions == 255] = 1
    scenes, convert = Scenes(image, regions, 3), ColorTransfer(max_gain=100.0, individual=individual)
    named: list[Any] = [(f"s{row}", image[row], regions[row], {}) for row in range(3)]
    usual = ParameterStore.from_images(named, AREAS).pooled()
    if individual:
        convert.learn(usual)
    point = torch.tensor([55.0, 3.0])
    recipe = make_recipe(3, make_store()).replace(parameter=point.expand(3, 4, 2))
    made, _ = suited(convert, LUMINANCE)(scenes, recipe)
    before, after = (each.measured("lab") for each in (scenes, made))
    there = before.count[:, :3] > 0
    wanted = torch.full_like(before.mean[..., 0], 55.0)
    if individual:
        wanted += 3.0 * ((before.mean - usual.mean) / usual.std.clamp(min=1.0))[..., 0]
    assert torch.allclose(after.mean[:, :3, 0][there], wanted[:, :3][there], atol=0.3)
    assert torch.allclose(after.std[:, :3, 0][there], torch.tensor(3.0), atol=0.3)
    for what in ("mean", "std"):
        kept, found = (getattr(each, what)[:, :3, 1:][there] for each in (before, after))
        assert torch.allclose(kept, found, atol=0.5)


def test_lightness_moves_as_with_all_six_numbers() -> None:
    """The same bits as the first channel of a table of all three."""
    scenes, recipe = Scenes(*make_images(), 3), make_recipe(3, make_store())
    measured = scenes.measured("lab")
    all_six = affine(measured, recipe, grey=True)
    alone = affine(measured, recipe.replace(parameter=recipe.parameter[..., [0, 3]]))
    assert all(torch.equal(one, other) for one, other in zip(alone, all_six, strict=True))
    gain, offset, _ = alone
    assert (gain[..., 1:] == 1).all() and (offset[..., 1:] == 0).all() and (gain[..., 0] != 1).any()


@pytest.mark.parametrize("channels", ["luminance", "lab"])
@pytest.mark.parametrize("policy", [Blend, Select, Generate, Auto])
def test_every_reach_is_the_same_for_all_channels(store: ParameterStore, policy: Any, channels: Any) -> None:
    mining = searched(store, policy(radius=40.0, channels=channels), ColorTransfer())
    other = searched(store, policy(radius=40.0), ColorTransfer())
    assert mining.miner is not None and other.miner is not None
    assert mining.tally.neighbour_pieces and mining.tally == other.tally
    pieces, same = mining.miner.buffer.recipe, other.miner.buffer.recipe
    assert pieces is not None and same is not None and torch.equal(pieces.parameter, same.parameter)
    moved = pieces.parameter[pieces.chosen]
    assert moved.shape[1] == 2 and (moved >= LUMINANCE.low).all() and (moved <= LUMINANCE.high).all()


def searched(store: ParameterStore, policy: Any, conversion: Conversion | None) -> Mining:
    """Some steps in a loop by hand."""
    image, regions = make_images(4)
    batch = {"image": image, "regions": regions, "target": regions.long(), "index": torch.arange(4)}
    everything: dict[str, Any] = {"threshold": 1.1, "start": 0, "decay": 0, "mix": Mix(mined=0.5, stand_ins=0.0)}
    mining, model = Mining(store, policy, conversion=conversion, areas=AREAS, **everything), Dark()
    for _ in range(6):
        scenes = mining.read(batch)
        plan = mining.plan(scenes)
        mining.make(scenes, plan)
        mining.offer(scenes, mining.propose(plan))
        mining.judge(model)
        mining.settle()
    return mining


@pytest.mark.parametrize("policy", [SameCell, AdjacentCell])
@pytest.mark.parametrize(
    "conversion", [None, ColorTransfer(), Chain([Smooth(), ColorTransfer()])], ids=["default", "colors", "filters"]
)
def test_it_is_mined_and_told_in_one_line(
    store: ParameterStore, policy: Any, conversion: Conversion | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="hardmine")
    mining = searched(store, policy(), conversion)
    assert mining.tally.pieces == mining.tally.candidates > 0 and mining.tally.neighbour_pieces
    assert caplog.messages.count(LINE) == 1
    assert mining.offered is not None and not torch.equal(mining.offered.converted.image, mining.offered.source.image)


def test_of_other_stores_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    searched(make_store(), Select(), None)
    assert LINE not in caplog.messages


def test_a_run_trains_resumes_and_exports(
    folder: Path, configured: Callable[..., DictConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command line's config to a data set, with the default conversion."""
    luminance(tmp_path / "light.parquet", ("sky", "road", "tree"))
    options = ["data=folder", f"data.root={folder}", "data.size=[32,32]", "data.batch_size=4", "mining.threshold=1.1"]
    options += ["store=file", f"store.path={tmp_path / 'light.parquet'}"]
    train(configured(*options, "trainer.max_steps=4", run="whole"))
    train(configured(*options, "trainer.max_steps=2", run="parts"))
    train(configured(*options, "trainer.max_steps=4", f"resume={tmp_path / 'parts'}", run="parts"))
    ends = [torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True) for run in ("whole", "parts")]
    for name, value in ends[0]["state_dict"].items():
        assert torch.equal(value, ends[1]["state_dict"][name]), name
    capsys.readouterr()
    main(["store", f"run={tmp_path / 'whole'}"])
    assert "night" in capsys.readouterr().out
    main(["export", f"run={tmp_path / 'whole'}", f"out={tmp_path / 'hard'}"])
    assert "pieces" in capsys.readouterr().out
    assert list((tmp_path / "hard/images").glob("*_piece*.png"))


def test_a_conversion_that_was_told_what_is_usual_knows_it_still(
    configured: Callable[..., DictConfig], tmp_path: Path
) -> None:
    luminance(tmp_path / "light.parquet", ("grass", "pole", "river"))
    cfg = configured("store=file", f"store.path={tmp_path / 'light.parquet'}")
    mining = build_mining(cfg, build_data(cfg))
    assert mining is not None and isinstance(mining.conversion, Chain)
    color = mining.conversion.parts[0]
    assert isinstance(color, ColorTransfer) and color.space is LUMINANCE
    assert color.usual is not None and color.usual.mean.shape[2] == 3 and mining.usual.known
