"""What hardmine must do, one row for each requirement R1 to R47 and for each of the eight decisions.

Every check runs the thing it is about. A number without a check fails.
"""

import csv
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skimage.color
import torch
from conftest import TINY, UNET, Known, is_in, make_images, make_recipe, make_store
from omegaconf import DictConfig
from PIL import Image
from torch import nn

import hardmine as hm
from hardmine.callbacks.pictures import Pictures
from hardmine.cli import main
from hardmine.cli.build import build_data, build_mining, build_task
from hardmine.cli.train import train
from hardmine.data.folder import Folder, FolderData
from hardmine.first.enumeration import Enumeration
from hardmine.kernels import transfer
from hardmine.memory.buffer import RecipeBuffer
from hardmine.memory.graph import Graph
from hardmine.memory.hardness import is_hard
from hardmine.neighbourhood import Reach
from hardmine.plan import Plan
from hardmine.records import Distribution, Recipe, Verdict
from hardmine.report.prediction import paint
from hardmine.report.sheet import COLUMNS, choice, show
from hardmine.scenes import Scenes


@dataclass
class Ground:
    """What a check may use."""

    folder: Path  # of images
    tmp: Path  # empty
    configured: Callable[..., DictConfig]


Check = Callable[[Ground], None]
REQUIREMENTS: dict[int, Check] = {}
DECISIONS: dict[int, Check] = {}


def shows(*numbers: int) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        REQUIREMENTS.update(dict.fromkeys(numbers, check))
        return check

    return register


def decides(number: int) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        DECISIONS[number] = check
        return check

    return register


@pytest.fixture
def ground(folder: Path, tmp_path: Path, configured: Callable[..., DictConfig]) -> Ground:
    return Ground(folder, tmp_path, configured)


@pytest.mark.parametrize("number", range(1, 48), ids=lambda number: f"R{number}")
def test_requirement(number: int, ground: Ground) -> None:
    assert number in REQUIREMENTS, f"nothing shows R{number}"
    REQUIREMENTS[number](ground)


@pytest.mark.parametrize("number", range(1, 9))
def test_decision(number: int, ground: Ground) -> None:
    assert number in DECISIONS, f"nothing shows decision {number}"
    DECISIONS[number](ground)


# Small things that several checks need


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def chosen(recipe: Recipe, *regions: int) -> Recipe:
    mask = torch.zeros_like(recipe.chosen)
    mask[:, list(regions)] = True
    return recipe.replace(chosen=mask)


def draw(policy: Any, recipe: Recipe, store: hm.ParameterStore, graph: Graph | None = None, seed: int = 0) -> Recipe:
    proposal, _ = policy(recipe, store, graph or Graph(store), torch.Generator().manual_seed(seed))
    return proposal  # type: ignore[no-any-return]


def clean(n: int, store: hm.ParameterStore) -> Recipe:
    return Recipe.clean(torch.arange(n), torch.arange(n), store.regions, len(store.space))


def judged(score: list[float], recipe: Recipe) -> Verdict:
    values, none = torch.tensor(score), torch.full((len(score),), -1)
    return Verdict(values, values[:, None].expand(-1, recipe.chosen.shape[1]), values < 0.5, none, none + 1, -values)


class Brightness(nn.Module):
    """Calls a pixel class 0, 1 or 2 by how bright it is."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        level = image.mean(1)
        return torch.stack([-(level - center).abs() for center in (0.2, 0.5, 0.8)], dim=1)


def offered(recipe: Recipe) -> hm.Mining:
    """Candidates of small images, which `Brightness` has judged."""
    image, regions = make_images(len(recipe))
    areas = ("area0", "area1", "area2")
    mining = hm.Mining(make_store(), hm.Auto(), conversion=hm.ColorTransfer(), start=0, decay=0, areas=areas)
    scenes = mining.read({"image": image, "regions": regions, "target": regions})
    mining.offer(scenes, recipe, lambda batch: {**batch, "image": batch["image"].float() / 255})
    mining.judge(Brightness())
    mining.settle()
    assert mining.offered is not None
    return mining


def environments() -> hm.ParameterStore:
    """Two targets of each kind: sunny and cloudy, by day and by night."""
    time, weather = ["day", "day", "night", "night"] * 2, ["sunny", "cloudy"] * 4
    return make_store(targets=8, environment={"time": time, "weather": weather})


# Acquisition and storage


@shows(1)
def images_are_acquired(ground: Ground) -> None:
    small = [f"data.root={ground.folder}", "data.size=[32,40]", "data.batch_size=2", *TINY, *UNET]
    main(["train", *small, "trainer.max_steps=1", "mining.threshold=1.1", f"hydra.run.dir={ground.tmp / 'run'}"])
    data = FolderData(str(ground.folder), size=(32, 40))
    assert np.array_equal(data.split("train").pixels(0)[0].permute(1, 2, 0), pixels(ground.folder / "images/p00.png"))
    assert json.loads((ground.tmp / "run/summary.json").read_text())["candidates"] == 2


@shows(2)
def index_images_are_acquired_or_done_without(ground: Ground) -> None:
    _, regions = Folder(ground.folder).read(Folder(ground.folder).rows("train")[0])
    assert np.array_equal(regions, pixels(ground.folder / "regions/p00.png"))
    for mode, areas in (("whole", 1), ("superpixels", 8)):
        folder = Folder(ground.folder, regions=mode, superpixels=8)  # type: ignore[arg-type]
        _, made = folder.read(folder.rows("train")[0])
        assert len(folder.areas) == areas
        assert len(set(made.flatten().tolist())) > areas / 3


@shows(3)
def areas_are_a_matter_of_the_scene(ground: Ground) -> None:
    names = ["vehicle", "roadway", "sidewalk", "sign", "building", "pedestrian"]
    rows = "".join(f"{index},{name}\n" for index, name in enumerate(names))
    (ground.folder / "classes.csv").write_text("index,name\n" + rows)
    store = hm.ParameterStore.from_folder(ground.folder)
    assert store.areas == tuple(names)
    assert draw(hm.First(areas=["sidewalk"]), clean(3, store), store).chosen.nonzero()[:, 1].tolist() == [2, 2, 2]


@shows(7)
def the_store_keeps_targets_with_their_distributions(ground: Ground) -> None:
    """Mean and standard deviation of each area and channel, and of the whole image, by another library."""
    store = hm.ParameterStore.from_folder(ground.folder)
    assert store.ids == ("p08", "p09", "p10")
    for row, name in enumerate(store.ids):
        assert store.images[row] == str(ground.folder / f"images/{name}.png")
        assert store.index_images[row] == str(ground.folder / f"regions/{name}.png")
        lab = skimage.color.rgb2lab(pixels(ground.folder / f"images/{name}.png"))
        regions = pixels(ground.folder / f"regions/{name}.png")
        for region in range(4):
            inside = lab[regions == region] if region < 3 else lab.reshape(-1, 3)
            assert int(store.count[row, region]) == len(inside)
            if len(inside):
                expected = np.concatenate([inside.mean(0), inside.std(0)])
                assert np.allclose(store.parameters[row, region], expected, atol=0.02)


@shows(4)
def a_target_is_shown_where_its_file_can_be_read(ground: Ground) -> None:
    the_store_keeps_targets_with_their_distributions(ground)
    mining = offered(make_recipe(3, make_store()))
    assert mining.offered is not None
    sheets, path = [], ground.tmp / "t0.png"
    Image.fromarray(np.full((24, 32, 3), 55, np.uint8)).save(path)
    for images in ([None] * 6, [str(path)] + [None] * 5, [str(ground.tmp / "gone.png")] + [None] * 5):
        mining.store.images = tuple(images)
        sheets.append(Pictures("", mining=mining).sheet(mining.offered))
    shown = np.full((24, 32, 3), 55, np.uint8)
    assert is_in(sheets[1], shown) and not is_in(sheets[0], shown)
    assert np.array_equal(sheets[0], sheets[2]) and (sheets[0] != sheets[1]).any()


@shows(6)
def variances_or_luminance_alone_do_too(ground: Ground) -> None:
    the_store_keeps_targets_with_their_distributions(ground)
    hm.ParameterStore.from_folder(ground.folder).save(ground.tmp / "lab.parquet")
    lab = pq.read_table(ground.tmp / "lab.parquet")
    light = lab.select(["target", "area", "mean_L"])
    light = light.append_column("var_L", pa.array(np.square(lab["std_L"].to_numpy().astype(np.float64))))
    pq.write_table(light, ground.tmp / "light.parquet")
    store = hm.ParameterStore.load(ground.tmp / "light.parquet")
    assert store.space.names == ("mean_L", "std_L")
    mining = hm.Mining(store, areas=["sky", "road", "tree"])
    image, regions = make_images()
    scenes = mining.read({"image": image, "regions": regions, "target": regions})
    recipe = chosen(make_recipe(3, mining.store), 0)
    made, _ = hm.ColorTransfer(max_gain=100).suited(store.space)(scenes, recipe)
    before, after = (each.measured("lab").mean[:, 0] for each in (scenes, made))
    assert (after[:, 0] - store.parameters[0, 0, 0]).abs().max() < 1 and (after - before)[:, 1:].abs().max() < 1


@shows(5)
def a_target_may_show_something_else_elsewhere(ground: Ground) -> None:
    """Only the labels mean the same: another size, another order of areas, one area more."""
    store = make_store(areas=4)
    other = store.aligned(["area2", "area0", "here alone"])
    assert torch.equal(other.parameters[:, 0], store.parameters[:, 2])
    image, regions = make_images(size=(40, 56))
    recipe = chosen(make_recipe(3, other), 0)
    made, _ = hm.ColorTransfer(max_gain=100)(hm.Scenes(image, regions, 3), recipe)
    mean = made.measured("lab").mean[:, 0, 0]
    assert (mean - store.parameters[0, 2, 0]).abs().max() < 2


@shows(8, 9)
def the_store_is_a_table_without_pixels(ground: Ground) -> None:
    store = hm.ParameterStore.from_folder(ground.folder)
    store.save(ground.tmp / "night.parquet")
    for path in (ground.folder / "images").iterdir():
        path.unlink()
    again = hm.ParameterStore.load(ground.tmp / "night.parquet")
    assert torch.equal(again.parameters, store.parameters)
    found = pq.read_table(
        ground.tmp / "night.parquet", filters=[("environment.time", "=", "night"), ("area", "=", "sky")]
    )
    assert sorted(found["target"].to_pylist()) == ["p08", "p09", "p10"]
    url = f"sqlite:///{ground.tmp}/night.db?table=colors"
    store.save(url)
    assert torch.equal(hm.ParameterStore.load(url).parameters, store.parameters)
    with sqlite3.connect(ground.tmp / "night.db") as connection:
        assert connection.execute("SELECT count(*) FROM colors WHERE area = 'sky'").fetchall() == [(3,)]
    connection.close()


@shows(10)
def a_person_sees_the_four_images(ground: Ground) -> None:
    mining = offered(make_recipe(3, make_store()))
    shown, target = mining.offered, torch.full((3, 24, 32), 77, dtype=torch.uint8)
    assert shown is not None
    pictures = Pictures("", targets=[("t0", target, None, None)], mining=mining)
    for row in choice(shown, 3):  # in the order of the sheet
        seen = dict(zip(COLUMNS, show(shown, row, mining.store, pictures._target).pictures, strict=True))
        enlarged = {name: picture[::5, ::5] for name, picture in seen.items()}  # 32 pixels are shown as 160
        assert np.array_equal(enlarged["source"], shown.source.image[row].permute(1, 2, 0))
        assert np.array_equal(enlarged["index image"], paint(shown.source.regions[row]))
        assert (seen["target"] == 77).all()
        assert np.array_equal(enlarged["converted"], shown.converted.image[row].permute(1, 2, 0))
        assert np.array_equal(enlarged["prediction"], paint(shown.prediction[row].argmax(0)))
        assert all(is_in(pictures.sheet(shown), picture) for picture in seen.values())


# Conversion


@shows(11, 14, 15)
def shades_become_those_of_the_target(ground: Ground) -> None:
    """Expr. 1, `(source - s_mean) / s_std`, and Expr. 2, `s_normed * t_std + t_mean`, as they are written."""
    image, regions = make_images()
    source, recipe = hm.Scenes(image, regions, 3), make_recipe(3, make_store())
    lab = torch.from_numpy(skimage.color.rgb2lab(image.permute(0, 2, 3, 1).numpy())).flatten(1, 2).transpose(1, 2)
    gain, offset, _ = transfer.affine(source.measured("lab"), recipe, min_std=1e-6, max_gain=1e6)
    label = regions.flatten(1).long().clamp(max=2)
    at = torch.arange(3)[:, None]
    moved = lab * gain[at, label].transpose(1, 2) + offset[at, label].transpose(1, 2)
    for row in range(3):
        for area in range(3):
            inside = regions[row].flatten() == area
            s_mean, s_std = lab[row][:, inside].mean(1), lab[row][:, inside].std(1, correction=0)
            s_normed = (lab[row][:, inside] - s_mean[:, None]) / s_std[:, None]
            expected = s_normed * recipe.parameter[row, area, 3:, None] + recipe.parameter[row, area, :3, None]
            assert torch.allclose(moved[row][:, inside], expected, atol=5e-2)


@shows(12)
def the_first_parameter_is_of_the_wanted_environment(ground: Ground) -> None:
    store = environments()
    for wanted in ("sunny night", {"time": "night", "weather": "sunny"}):
        drawn = draw(hm.First(environment=wanted), clean(40, store), store).target[:, 0]
        assert set(drawn.tolist()) == {2, 6}  # both, at random


@shows(13)
def rgb_becomes_lab_as_the_standard_says(ground: Ground) -> None:
    image, _ = make_images(1)
    expected = skimage.color.rgb2lab(image[0].permute(1, 2, 0).numpy()).reshape(-1, 3)
    single = torch.arange(24, dtype=torch.uint8).view(1, 24, 1).expand(1, 24, 32)
    found = hm.Scenes(image[:, :, :, :1].expand(-1, -1, -1, 32).contiguous(), single.contiguous(), 24).measured("lab")
    assert np.allclose(found.mean[0, :24], expected.reshape(24, 32, 3)[:, 0], atol=0.01)


@shows(16)
def rgb_without_lab(ground: Ground) -> None:
    image, regions = make_images(size=(48, 64))
    source = hm.Scenes(image, regions, 3)
    point = torch.tensor([120.0, 100.0, 90.0, 10.0, 10.0, 10.0]).expand(3, 4, 6)
    made, _ = hm.ColorTransfer("rgb", max_gain=100)(source, make_recipe(3, make_store()).replace(parameter=point))
    for row in range(3):
        inside = made.image[row][:, regions[row] == 0].float()
        if inside.shape[1]:
            assert torch.allclose(inside.mean(1), point[0, 0, :3], atol=1.0)
            assert torch.allclose(inside.std(1, correction=0), point[0, 0, 3:], atol=1.0)


@shows(17)
def which_areas_are_converted_is_a_choice(ground: Ground) -> None:
    image, regions = make_images()
    for areas in ((1,), (0, 2), (0, 1, 2)):
        made, _ = hm.ColorTransfer()(hm.Scenes(image, regions, 3), chosen(make_recipe(3, make_store()), *areas))
        changed = (made.image != image).any(1)
        assert not changed[~torch.isin(regions, torch.tensor(areas))].any()
        assert all(changed[regions == area].any() for area in areas)


@shows(18)
def four_areas_and_two_targets_give_thirty_images(ground: Ground) -> None:
    store = make_store(targets=2, areas=4)
    image, regions = make_images(1, areas=4, size=(48, 64), seed=3)
    assert set(regions.flatten().tolist()) >= {0, 1, 2, 3}
    assert Enumeration(4, 2).count == 30
    graph, images = Graph(store), set()
    for _ in range(30):
        recipe = draw(hm.Exhaustive(), clean(1, store), store, graph)
        made, _ = hm.ColorTransfer()(hm.Scenes(image, regions, 4), recipe)
        images.add(made.image.numpy().tobytes())
        graph.update(recipe, judged([1.0], recipe))
    assert len(images) == 30
    assert Enumeration(200, 9).count == (2**200 - 1) * 9


@shows(19)
def the_whole_image_alone_or_after_its_areas(ground: Ground) -> None:
    image, regions = make_images()
    store = make_store()
    source, convert = hm.Scenes(image, regions, 3), hm.ColorTransfer()
    both = draw(hm.First(whole=True), clean(3, store), store)
    whole = draw(hm.First(areas=[], whole=True), clean(3, store), store)
    assert whole.chosen.tolist() == [[False, False, False, True]] * 3
    areas, _ = convert(source, both.replace(chosen=both.chosen & torch.tensor([True, True, True, False])))
    last, _ = convert(areas, both.replace(chosen=both.chosen & torch.tensor([False, False, False, True])))
    made, _ = convert(source, both)
    assert torch.equal(made.image, last.image)
    assert not torch.equal(made.image, areas.image)
    assert not torch.equal(convert(source, whole)[0].image, image)


@shows(20)
def other_conversions(ground: Ground) -> None:
    """Sharpening stretches and smoothing flattens edges, outlines show them, and an object moves with its label."""
    image, regions = make_images(1)
    regions[:] = 0
    source = hm.Scenes(image, regions, 1)

    def made(conversion: Any, *values: float, area: int = 0, scenes: hm.Scenes = source) -> hm.Scenes:
        store = hm.ParameterStore.from_space(conversion.space, [f"a{i}" for i in range(scenes.areas)], 2)
        recipe = chosen(make_recipe(1, store), area)
        given = recipe.replace(parameter=torch.tensor(values).expand_as(recipe.parameter))
        converted: hm.Scenes = conversion(scenes, given)[0]
        return converted

    def edges(scenes: hm.Scenes) -> float:
        return float(scenes.image.float().diff(dim=-1).abs().mean())

    assert edges(made(hm.Sharpen(), 2.0)) > 1.2 * edges(source)
    assert edges(made(hm.Smooth(), 2.0)) < 0.8 * edges(source)
    square, labels = torch.full((1, 3, 32, 32), 40, dtype=torch.uint8), torch.zeros(1, 32, 32, dtype=torch.uint8)
    square[..., 8:24, 8:24], labels[..., 8:24, 8:24] = 200, 1
    scenes = hm.Scenes(square, labels, 2, {"target": labels.clone()})
    outline = made(hm.Outline(), 1.0, scenes=scenes).image.float().mean(1)[0]
    assert outline[16, 1] < outline[16, 7]
    half = made(hm.AffineObject(), 0.5, 0.0, area=1, scenes=scenes)
    assert int((half.regions == 1).sum()) == 64
    assert torch.equal(half.labels["target"], half.regions)
    assert (half.image[0, :, 9, 9] == 40).all()


@shows(21)
def parameters_are_determined_for_each_area(ground: Ground) -> None:
    store = make_store(targets=30)
    drawn = draw(hm.First(independent=True), clean(20, store), store)
    assert (drawn.target[:, 0] != drawn.target[:, 1]).any()
    moved = draw(hm.Generate(radius=3.0, independent=True), drawn, store).parameter - drawn.parameter
    assert (moved[:, 0] != moved[:, 1]).any()


# Scoring and output


@shows(22, 23)
def recognition_accuracy_of_every_candidate(ground: Ground) -> None:
    shown = offered(make_recipe(3, make_store())).offered  # (c) pixels
    assert shown is not None and shown.score is not None
    for row in range(3):
        target = shown.batch["target"][row]
        right = (shown.batch["image"][row].mean(0)[None] - torch.tensor([0.2, 0.5, 0.8])[:, None, None]).abs().argmin(0)
        assert float(shown.score[row]) == pytest.approx(float((right == target)[target != 255].float().mean()))
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0]])  # (a) confidence of the labelled class
    regions, none = torch.zeros(2, 4, 4, dtype=torch.uint8), torch.ones(2, 2, dtype=torch.bool)
    batch: dict[str, torch.Tensor] = {"target": torch.tensor([1, 1]), "regions": regions}
    assert torch.allclose(hm.Confidence()(logits, batch, 1, none)[0], torch.tensor([0.7311, 0.1192]), atol=1e-4)
    box, other = [0.0, 0.0, 2.0, 2.0], [2.0, 2.0, 4.0, 4.0]  # (b) two objects, one found with 0.8, one with 0.4
    found = {"boxes": torch.tensor([box, other]), "scores": torch.tensor([0.8, 0.4]), "labels": torch.tensor([0, 0])}
    objects = {"boxes": torch.tensor([[box, other]]), "labels": torch.tensor([[0, 0]]), "regions": regions[:1]}
    assert hm.Reliability()([found], objects, 2, none[:1])[0].tolist() == pytest.approx([0.6])
    assert hm.CorrectRate(score=0.5)([found], objects, 2, none[:1])[0].tolist() == [0.5]


@shows(24)
def output_iff_strictly_below_the_threshold(ground: Ground) -> None:
    assert ground.configured().mining.threshold == "auto"  # decision 7 (i): Th1 is the run's, unless it is set
    assert ground.configured("mining.threshold=0.70").mining.threshold == 0.70
    score = torch.tensor([0.0, 0.69, 0.70, 0.71, 1.0, torch.nan])
    assert is_hard(score, 0.70).tolist() == [True, True, False, False, False, False]
    miner = hm.Miner(make_store(), hm.Auto(), threshold=0.7)
    recipe = miner.propose(clean(6, miner.store), 0)
    made, _ = miner.admit(recipe, score, score[:, None].expand(-1, 4), torch.full((6,), -1))
    assert (made.piece >= 0).tolist() == [True, True, False, False, False, False]


@shows(25)
def an_easy_candidate_is_not_output_and_another_parameter_is_tried(ground: Ground) -> None:
    miner = hm.Miner(make_store(targets=5), hm.Random(), threshold=0.7)
    search = hm.Search(miner, 1, rows=1, steps=hm.Steps(retries=4))
    easy = Known(miner, lambda tries: torch.ones(1))
    tried = [int(search.step(easy, step)[0].target[0, 0]) for step in range(5)]
    assert sorted(tried) == [0, 1, 2, 3, 4]
    assert search.done
    assert miner.tally.pieces == 0


@shows(26, 27)
def pieces_are_a_data_set_with_the_labels_of_their_sources(ground: Ground) -> None:
    small = [f"data.root={ground.folder}", "data.size=[32,40]", "data.batch_size=2", *TINY, *UNET]
    run, out = ground.tmp / "run", ground.tmp / "pieces"
    main(
        [
            "train",
            *small,
            "data.flip=false",
            "mining.threshold=1.1",
            "conversion=color_transfer",
            f"hydra.run.dir={run}",
        ]
    )
    main(["export", f"run={run}", f"out={out}", "sources=false"])
    pieces = table(out / "pieces.csv")
    assert len(pieces) == 12
    for row in pieces:
        assert np.array_equal(
            pixels(out / f"regions/{row['id']}.png"), pixels(ground.folder / f"regions/{row['source']}.png")
        )
        assert pixels(out / f"images/{row['id']}.png").shape == (32, 40, 3)
    for row in table(out / "metadata.csv"):  # of which environment they are
        assert (row["time"], row["source.time"]) == ("night", "day")


# Neighbourhood


@shows(28)
def the_next_parameter_comes_from_the_one_that_was_hard(ground: Ground) -> None:
    miner = hm.Miner(make_store(), hm.Generate(radius=2.0), threshold=0.7)
    first = miner.propose(clean(4, miner.store), 0)
    score = torch.tensor([0.1, 0.9, 0.1, 0.9])
    hard, _ = miner.admit(first, score, score[:, None].expand(-1, 4), torch.full((4,), -1))
    following = miner.propose(hard, 1)
    assert torch.equal(following.source, first.source)
    assert following.parent.tolist() == [0, -1, 1, -1]
    moved = (following.parameter - first.parameter)[:, :3][..., [0, 3]].norm(dim=-1)
    assert (moved[[0, 2]] < 2.0).all()


@shows(29)
def the_environment_table_has_any_components(ground: Ground) -> None:
    store = make_store(targets=4, environment={"stain": ["white", "white", "yellow", "yellow"], "camera": list("abab")})
    cells = hm.EnvironmentTable(store)
    assert len(cells.cells) == 4
    assert cells.groups[:, :3].tolist() == [[1, 1, 1]] * 4
    # on request a group grows by what was used in it: here the second source gets what the first was hard with
    store = make_store(targets=2, environment={"stain": ["white", "white"]})
    policy = hm.SameCell(grows=True)
    miner = hm.Miner(store, policy, hm.First(), hm.ColorTransfer())
    for recipe in (make_recipe(2, store, 0), make_recipe(2, store, 1)):
        miner.graph.update(recipe, judged([0.1, 0.1], recipe))
    made = draw(policy, make_recipe(1, store), store, miner.graph)
    miner.graph.update(made, judged([0.1], made))
    again = draw(policy, make_recipe(2, store), store, miner.graph)
    assert torch.equal(again.parameter[1], made.parameter[0]) and (again.target == -1).all()


@shows(30)
def another_parameter_of_the_same_cell(ground: Ground) -> None:
    store = environments()
    assert draw(hm.SameCell(), make_recipe(9, store, target=2), store).target[:, 0].tolist() == [6] * 9


@shows(31)
def a_parameter_of_a_neighbouring_cell(ground: Ground) -> None:
    store = environments()
    found = {int(draw(hm.AdjacentCell(), make_recipe(1, store, 2), store, seed=i).target[0, 0]) for i in range(60)}
    assert found == {0, 4, 3, 7}  # sunny day and cloudy night, not cloudy day


@shows(32)
def a_parameter_of_an_associated_cell(ground: Ground) -> None:
    store = environments()
    policy = hm.AssociatedCell(associations={"sunny night": ["cloudy day"]})
    found = {int(draw(policy, make_recipe(1, store, 2), store, seed=i).target[0, 0]) for i in range(60)}
    assert found == {1, 5}


def figure_8() -> tuple[hm.ParameterStore, Graph, Recipe, Verdict]:
    """P1 20 %, P2 30 % and P3 90 % with a white point beside each."""
    luminance = torch.tensor([[30.0, 10], [50, 20], [70, 10], [32, 11], [51, 22], [72, 11]])
    points = torch.zeros(6, 2, 6)
    points[..., 0], points[..., 3] = luminance[:, :1], luminance[:, 1:]
    names = ["P1", "P2", "P3", "P1'", "P2'", "P3'"]
    store = hm.ParameterStore(points, torch.full((6, 2), 99), ["river"], names)
    recipe = Recipe.cat([make_recipe(1, store, target) for target in range(3)])
    return store, Graph(store), recipe, judged([0.2, 0.3, 0.9], recipe)


@shows(33, 34)
def the_graph_knows_what_was_used_and_how_well_it_was_recognised(ground: Ground) -> None:
    store, graph, recipe, verdict = figure_8()
    here = torch.arange(6).expand(4, -1)  # sources 0 to 3
    assert not graph.used.holds(torch.arange(4), here, 0).any()
    graph.update(recipe, verdict)
    assert graph.used.holds(torch.arange(4), here, 0).tolist() == [[True] * 3 + [False] * 3] + [[False] * 6] * 3
    assert graph.uses[:, 0].tolist() == [1, 1, 1, 0, 0, 0]
    assert graph.accuracy[:3, 0].tolist() == pytest.approx([0.2, 0.3, 0.9])
    graph.update(recipe[:1], judged([0.6], recipe[:1]))
    assert float(graph.accuracy[0, 0]) == pytest.approx(0.6)
    graph.save(ground.tmp / "graph.parquet", store)
    assert {"mean_L", "std_L", "accuracy"} <= set(pq.read_table(ground.tmp / "graph.parquet").column_names)


@shows(35, 36)
def unused_stored_points_near_what_was_hard(ground: Ground) -> None:
    store, graph, recipe, verdict = figure_8()
    graph.update(recipe, verdict)
    near = draw(hm.Select(radius=5.0), recipe[verdict.hard], store, graph)
    assert [store.ids[int(row)] for row in near.target[:, 0]] == ["P1'", "P2'"]


@shows(37)
def expression_3(ground: Ground) -> None:
    reach, space = Reach(radius=5.0), make_store().space
    here = torch.tensor([50.0, 0, 0, 10, 0, 0])
    there = torch.tensor([[53.0, 9, 9, 13.9, 9, 9], [53, 0, 0, 14, 0, 0], [53, 0, 0, 14.1, 0, 0]])
    assert reach.holds(reach.squares(here, there, space), space).tolist() == [True, False, False]


@shows(38)
def expression_4(ground: Ground) -> None:
    reach, space = Reach(mean_radius=4.0, std_radius=2.0), make_store().space
    here = torch.tensor([50.0, 0, 0, 10, 0, 0])
    there = torch.tensor(
        [[53.9, 9, 9, 11.9, 9, 9], [46.1, 0, 0, 8.1, 0, 0], [54, 0, 0, 10, 0, 0], [50, 0, 0, 12, 0, 0]]
    )
    assert reach.holds(reach.squares(here, there, space), space).tolist() == [True, True, False, False]


@shows(39)
def parameters_are_generated_where_few_are_stored(ground: Ground) -> None:
    store = make_store(targets=1)
    recipe = make_recipe(200, store)
    limits = hm.Generate(mean_radius=4.0, std_radius=1.0, margin=50.0)
    for policy in (hm.Generate(4.0, margin=50.0), limits):
        made = draw(policy, recipe, store)
        shift = (made.parameter - recipe.parameter)[:, 0, [0, 3]]
        assert len({tuple(row) for row in shift.tolist()}) > 150
        inside = shift.norm(dim=1) < 4 if policy is not limits else (shift.abs() < torch.tensor([4.0, 1.0])).all(1)
        assert inside.all()


@shows(40)
def auto_selects_and_then_generates(ground: Ground) -> None:
    store, graph, recipe, verdict = figure_8()
    graph.update(recipe, verdict)
    stored = draw(hm.Auto(radius=5.0), recipe[:1], store, graph)
    assert store.ids[int(stored.target[0, 0])] == "P1'"
    graph.update(stored, judged([0.1], stored))
    assert draw(hm.Auto(radius=5.0), recipe[:1], store, graph).target[0, 0] == -1
    areas = make_store(targets=2, areas=2)  # for each area by itself
    points = areas.parameters.clone()
    points[1, 0], points[1, 1] = points[0, 0] + 1, points[0, 1] + 40
    areas = areas.with_(parameters=points)
    mixed = draw(hm.Auto(radius=5.0, independent=True), make_recipe(1, areas), areas, Graph(areas))
    assert mixed.target[0, :2].tolist() == [1, -1]


# Online update


LEARNS = ("mining.threshold=1.1", "mining.start=1", "data.size=[64,64]")  # after one plain step all is hard


@shows(41)
def the_next_scoring_uses_the_updated_model(ground: Ground) -> None:
    """A plain update and three pieces; what is tried then has, to the last bit, the score of the weights after four."""
    options = ("update=every_piece", *LEARNS, "trainer.precision=32-true", "trainer.max_steps=5")
    config = ground.configured(*options, "callbacks.before.step=4")
    train(config)
    ledger = pq.read_table(ground.tmp / "run/ledger")
    assert ledger["step"].to_pylist() == [1, 2, 3, 4]
    late = hm.Ledger(ground.tmp / "run/ledger").pieces()[3:]
    for name, same in (("before", True), ("last", False)):
        config.ckpt = str(ground.tmp / f"run/checkpoints/{name}.ckpt")
        assert (scores(config, late) == ledger["score"].to_pylist()[3:]) == same


def scores(config: DictConfig, recipe: Recipe) -> list[float]:
    """What a network gives to candidates that are made again."""
    data = build_data(config)
    task, mining = build_task(config, data), build_mining(config, data)
    assert mining is not None
    mining.decay = 0.0  # the network itself judges
    mining.begin()
    numbered = hm.Numbered(data.split("train"))
    places = zip(recipe.source.tolist(), recipe.draw.tolist(), strict=True)
    batch = torch.utils.data.default_collate([numbered[place] for place in places])
    mining.offer(mining.read(batch), recipe, lambda made: data.on_after_batch_transfer(made, 0))
    mining.judge(task)
    mining.settle()
    assert mining.offered is not None and mining.offered.score is not None
    found: list[float] = mining.offered.score.tolist()
    return found


@shows(42)
def an_update_for_every_piece_or_every_ten(ground: Ground) -> None:
    """Beside the plain step."""
    each = train(ground.configured("update=every_piece", *LEARNS, "stopping.max_pieces=4", run="each"))
    assert (each["steps"], each["pieces"]) == (1 + 4, 4)
    ten = train(ground.configured("update=every_ten", *LEARNS, "stopping.max_pieces=20", run="ten"))
    assert (ten["steps"], ten["pieces"]) == (1 + 2, 20)


@shows(43)
def batch_learning_joins_stored_data_and_new_output(ground: Ground) -> None:
    config = ground.configured("update=batch", "update.every=2", *LEARNS, "trainer.max_steps=2")
    planned: list[Recipe] = []
    plan = hm.Mining.plan

    def spy(self: hm.Mining, scenes: Scenes, rows: Recipe | None = None) -> Plan:
        made: Plan = plan(self, scenes, rows)
        assert scenes.source is not None and torch.equal(scenes.source, made.rows.source)
        planned.append(made.rows)
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hm.Mining, "plan", spy)
        train(config)
    assert [rows.piece.tolist() for rows in planned] == [[-1] * 4, [-1, -1, 0, 1]]
    assert planned[1].chosen.any(1).tolist() == [False, False, True, True]


@shows(44)
def a_frozen_model_collects_pieces(ground: Ground) -> None:
    config = ground.configured("neighbourhood=none", "trainer.max_steps=1", "trainer.precision=32-true", run="source")
    train(config)
    weights = ground.tmp / "source/checkpoints/last.ckpt"
    before = weights.read_bytes()
    counts = "data.counts={train: 12, val: 4, target: 8, test: 6}"
    exact = ["trainer.precision=32-true", "trainer.accelerator=cpu"]
    search = ["mining.threshold=1.1", "search.depth=1", f"out={ground.tmp / 'out'}"]
    main(["mine", f"ckpt={weights}", "data.size=[32,32]", counts, *UNET, *search, *exact])
    assert weights.read_bytes() == before
    config = ground.configured("trainer.precision=32-true", f"ckpt={weights}", "data.flip=false")
    ledger = hm.Ledger(ground.tmp / "out/ledger")
    assert len(ledger.pieces()) == 24
    found = dict(zip(ledger.read()["piece"].to_pylist(), ledger.read()["score"].to_pylist(), strict=True))
    assert scores(config, ledger.pieces()) == pytest.approx([found[piece] for piece in range(24)], abs=0.005)


@shows(45)
def what_it_brings_is_measured(ground: Ground) -> None:
    """Pieces, time and every environment before and after; and an updated model needs fewer pieces (D81)."""
    summary = train(ground.configured("mining.threshold=1.1"))
    assert summary["pieces"] == 24
    assert summary["seconds"] > 0
    for environment in ("night_rainy", "dusk_sunny"):
        assert {f"test/miou/{environment}", f"before/test/miou/{environment}"} <= summary.keys()

    def pieces(learns: bool) -> int:
        """The model fails on luminance it has not met within 5 units."""
        miner, known = hm.Miner(make_store(), hm.Random(), threshold=0.7), torch.empty(0)
        search = hm.Search(miner, 40, rows=1, steps=hm.Steps(depth=0, retries=0))

        def score(tries: Recipe) -> torch.Tensor:
            met = ((known - tries.parameter[:, 0, 0]).abs() < 5).any()
            return torch.where(met, 1.0, 0.0)[None]

        while not search.done:
            made, verdict = search.step(Known(miner, score), 0)
            if learns:
                known = torch.cat([known, made.parameter[verdict.piece, 0, 0]])
        found: int = miner.tally.pieces
        return found

    assert pieces(learns=False) == 40
    assert pieces(learns=True) <= 6


@shows(46)
def steps_may_be_left_out(ground: Ground) -> None:
    """Without a neighbourhood it is a plain threshold filter; without mining, plain training."""
    train(ground.configured("neighbourhood=random", "mining.threshold=1.1", run="filter"))
    assert set(pq.read_table(ground.tmp / "filter/ledger")["parent"].to_pylist()) == {-1}
    assert train(ground.configured("neighbourhood=none", run="none"))["candidates"] == 0


@shows(47)
def a_library_a_command_line_and_a_config(ground: Ground) -> None:
    run = ground.tmp / "cli"
    counts = "data.counts={train: 12, val: 4, target: 8, test: 6}"
    same = ["data.size=[32,32]", counts, "data.batch_size=4", "mining.threshold=1.1"]
    main(["train", *TINY, *UNET, *same, f"hydra.run.dir={run}"])
    assert "mining.threshold=1.1" in (run / ".hydra/overrides.yaml").read_text()
    called = train(ground.configured("mining.threshold=1.1", run="library"))
    written = json.loads((run / "summary.json").read_text())
    assert {**written, "seconds": 0} == {**called, "seconds": 0}


# What the text leaves open


@decides(1)
def flat_areas_are_floored_and_gains_capped(ground: Ground) -> None:
    mean, one = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    flat = Distribution(mean, one * 0.001, torch.full((1, 2), 50))
    store = make_store(areas=1)
    recipe = chosen(make_recipe(1, store), 0).replace(parameter=torch.cat([mean, one * 3], dim=-1))
    gain, _, capped = transfer.affine(flat, recipe)
    assert gain[0, 0].tolist() == [3, 3, 3]  # a floor of 1 Lab unit
    gain, _, capped = transfer.affine(flat, recipe.replace(parameter=recipe.parameter * 2))
    assert gain[0, 0].tolist() == [4, 4, 4]
    assert capped.tolist() == [[True, False]]


@decides(2)
def an_area_that_the_target_lacks(ground: Ground) -> None:
    store = make_store()
    count = store.count.clone()
    count[0, 1] = 19
    kept = make_recipe(1, store.with_(count=count))
    assert kept.chosen.tolist() == [[True, False, True, False]]
    whole = make_recipe(1, store.with_(count=count, missing="whole"))
    assert torch.equal(whole.parameter[0, 1], store.parameters[0, 3])


@decides(3)
def what_is_generated_can_be_a_photograph(ground: Ground) -> None:
    store = make_store(targets=1)
    store = store.with_(
        parameters=store.parameters * torch.tensor([0.0, 1, 1, 0.1, 1, 1]) + torch.tensor([1.0, 0, 0, 0, 0, 0])
    )
    made = draw(hm.Generate(radius=30.0), make_recipe(300, store), store).parameter[:, :3]
    assert (made[..., 3] > 0).all()
    assert (made[..., 0] >= 0).all()
    assert (made[..., 0] <= float(store.highest[0, 0]) + 5).all()


@decides(4)
def an_exhausted_neighbourhood(ground: Ground) -> None:
    store = make_store()
    graph, recipe = Graph(store), make_recipe(1, store)
    target, region = torch.cartesian_prod(torch.arange(len(store)), torch.arange(store.regions)).T
    graph.used.add(torch.zeros_like(target), target, region)
    graph.uses += 1
    _, found = hm.Select(radius=1e6)(recipe, store, graph, torch.Generator())
    assert not found.any()
    generated, found = hm.Auto(radius=5.0)(recipe, store, graph, torch.Generator())
    assert found.all()
    assert generated.target[0, 0] == -1


@decides(5)
def what_is_hard_for_ever_leaves(ground: Ground) -> None:
    store = make_store()
    recipe = make_recipe(3, store)
    buffer = RecipeBuffer(capacity=2, max_replays=1, max_age=10)
    buffer.admit(recipe, judged([0.1, 0.1, 0.1], recipe))
    for step in range(2):
        drawn = buffer.draw(1, step, torch.Generator())
        assert drawn is not None
        buffer.replayed(drawn.piece)
    assert buffer.draw(9, 2, torch.Generator()) is None
    assert buffer.left == {"replayed": 2, "aged": 0, "evicted": 1}
    buffer.admit(recipe[:1], judged([0.1], recipe[:1]))
    assert buffer.draw(9, 10, torch.Generator()) is not None
    assert buffer.draw(9, 11, torch.Generator()) is None
    assert buffer.left["aged"] == 1
    teacher = hm.Teacher(min_score=0.5)
    teacher.start(Brightness())
    image, regions = make_images(2)
    scenes = hm.Scenes(image, regions, 3)
    assert teacher(scenes, scenes, torch.zeros(2), lambda average: torch.tensor([0.1, 0.9])).tolist() == [False, True]
    gated = train(ground.configured("gate=teacher", "gate.teacher.min_score=1", "mining.threshold=1.1"))
    assert (gated["pieces"], gated["refused"]) == (0, 24)


@decides(6)
def luminance_and_coherent_light_by_default(ground: Ground) -> None:
    store = make_store(targets=40)
    drawn = draw(hm.First(), clean(20, store), store)
    assert (drawn.target[:, :3] == drawn.target[:, :1]).all()
    moved = draw(hm.Generate(radius=3.0), drawn, store).parameter - drawn.parameter
    assert (moved[..., [1, 2, 4, 5]] == 0).all()
    lab = draw(hm.Generate(radius=3.0, channels="lab"), drawn, store).parameter - drawn.parameter
    assert (lab[:, :3, [1, 2, 4, 5]] != 0).any()


@decides(7)
def when_to_stop(ground: Ground) -> None:
    budget = train(ground.configured("mining.threshold=1.1", "stopping.max_pieces=8", run="budget"))
    assert (budget["pieces"], budget["steps"]) == (8, 6)
    rate = ("mining.threshold=0", "stopping.min_hit_rate=0.1", "stopping.window=4", "stopping.patience=2")
    low = train(ground.configured(*rate, run="rate"))
    assert low["candidates"] == 8
    assert "hit rate was under 10.0%" in low["stopped"]


@decides(8)
def void_is_never_converted_and_an_absent_area_never_hard(ground: Ground) -> None:
    image, regions = make_images()
    store = make_store()
    regions[regions == 2] = 255
    recipe = draw(hm.First(whole=True), clean(3, store), store)
    made, _ = hm.ColorTransfer()(hm.Scenes(image, regions, 3), recipe)
    void = (regions == 255)[:, None].expand_as(image)
    assert torch.equal(made.image[void], image[void])
    batch = {"target": regions, "regions": regions}
    logits = torch.zeros(3, 3, *regions.shape[1:])
    score, area_score = hm.PixelRate()(logits, batch, 3, recipe.chosen)
    assert area_score[:, 2].isnan().all()
    assert not is_hard(area_score[:, 2], 2.0).any()
    known = (regions != 255).flatten(1).sum(1)
    assert torch.allclose(score, (regions == 0).flatten(1).sum(1) / known)
