from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import make_images, make_recipe, make_store
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from hardmine.cli.build import build_data, build_store
from hardmine.conversions import Chain, ColorTransfer, Sharpen
from hardmine.conversions.base import taken
from hardmine.data.images import read_image
from hardmine.errors import InputError
from hardmine.kernels import reference
from hardmine.records import Recipe
from hardmine.scenes import Colors, Scenes
from hardmine.space import LAB, LUMINANCE, RGB, Axis, Space
from hardmine.store import ParameterStore
from hardmine.view import View


def rows(n: int, regions: int) -> Recipe:
    return Recipe.clean(torch.arange(n), torch.arange(n), regions, 6)


def test_holds_the_statistics_of_its_images_with_their_environment() -> None:
    image, regions = make_images(batch=2)
    environments = [{"time": "night", "weather": "sunny"}, {"time": "dusk", "weather": "rainy"}]
    images = [(f"t{i}", image[i], regions[i], environments[i]) for i in range(2)]
    store = ParameterStore.from_images(images, ("a", "b", "c"))
    measured = reference.measure(image, regions, 3, "lab")
    assert torch.allclose(store.parameters, torch.cat([measured.mean, measured.std], dim=-1), atol=1e-3)
    assert torch.equal(store.count, measured.count)
    assert store.environment == {"time": ("night", "dusk"), "weather": ("sunny", "rainy")}


def test_is_told_in_a_line() -> None:
    image, regions = make_images(1)
    images = [(f"t{i}", image[0], regions[0], {"time": "night" if i else "dusk"}) for i in range(3)]
    told = repr(ParameterStore.from_images(images, ("a", "b", "c")))
    assert told.startswith("ParameterStore(3 targets, 3 areas: a, b, c; 2 environments; mean_L, ")


@pytest.mark.parametrize("color", [(0, 0, 0), (2, 2, 2), (255, 0, 0)])
def test_a_saved_store_of_one_extreme_color_is_read_back(color: tuple[int, int, int], tmp_path: Path) -> None:
    """Statistics that a table from elsewhere would be refused for, as of another scale."""
    image = torch.tensor(color, dtype=torch.uint8)[:, None, None].expand(3, 8, 8)
    store = ParameterStore.from_images([("night", image, torch.zeros(8, 8, dtype=torch.uint8), {})], ["sky"])
    store.save(tmp_path / "store.parquet")
    assert torch.equal(ParameterStore.load(tmp_path / "store.parquet").parameters, store.parameters)


def test_saved_and_loaded_without_pixels(tmp_path: Path) -> None:
    image, regions = make_images(1)
    store = ParameterStore.from_images([("n1", image[0], regions[0], {"time": "night"})], ("a", "b", "c"), min_pixels=5)
    store.save(tmp_path / "night.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["night.parquet"]
    loaded = ParameterStore.load(tmp_path / "night.parquet", min_pixels=5)
    assert torch.equal(loaded.parameters, store.parameters)
    assert torch.equal(loaded.count, store.count)
    assert (loaded.areas, loaded.ids, loaded.environment) == (store.areas, store.ids, store.environment)


def test_a_table_of_statistics_made_elsewhere(tmp_path: Path) -> None:
    columns = {f"{what}_{c}": [10.0, 20.0, 30.0] for what in ("mean", "std") for c in "Lab"}
    table = pa.table({"target": ["x", "x", "y"], "area": ["road", "sky", "road"], **columns})
    pq.write_table(table, tmp_path / "table.parquet")
    store = ParameterStore.load(tmp_path / "table.parquet")
    assert store.ids == ("x", "y")
    assert store.valid.tolist() == [[True, True, False], [True, False, False]]
    assert store.parameters[1, 0].tolist() == [30.0] * 6


def table(path: Path, **columns: Any) -> Path:
    """Two areas of x and one of y; what is None is left out, other columns are numbers 1, 2, 3."""
    names = {"target": ["x", "x", "y"], "area": ["road", "sky", "road"], **columns}
    pq.write_table(pa.table({name: value for name, value in names.items() if value is not None}), path)
    return path


def numbers(*names: str) -> dict[str, Any]:
    return {name: [1.0, 2.0, 3.0] for name in names}


@pytest.mark.parametrize("space", [LAB, RGB], ids=["lab", "rgb"])
def test_variances_are_squares_of_deviations(space: Space, tmp_path: Path) -> None:
    """All of them, or some."""
    wanted = ParameterStore.load(table(tmp_path / "std.parquet", **numbers(*space.names)))
    assert wanted.space.axes == space.axes
    for spread in (space.names[3:], space.names[4:5]):
        columns = numbers(*(name for name in space.names if name not in spread))
        columns |= {name.replace("std", "var"): [1.0, 4.0, 9.0] for name in spread}
        found = ParameterStore.load(table(tmp_path / "var.parquet", **columns))
        assert found.space.axes == space.axes and torch.equal(found.parameters, wanted.parameters)
    found.save(tmp_path / "saved.parquet")
    assert set(space.names) < set(pq.read_table(tmp_path / "saved.parquet").column_names)


def test_a_variance_of_luminance_alone(tmp_path: Path) -> None:
    store = ParameterStore.load(table(tmp_path / "light.parquet", **numbers("mean_L", "var_L")))
    assert store.space.axes == LUMINANCE.axes
    assert torch.allclose(store.parameters[:, 0, 1].square(), torch.tensor([1.0, 3.0]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"var_a": [1.0] * 3}, "columns 'std_a' and 'var_a' say the same: leave one out"),
        ({"std_a": None, "var_a": [1.0, -2.0, 1.0]}, "row 1 has a negative variance var_a=-2: mend that row"),
        ({"std_a": None, "var_a": [1.0, None, 1.0]}, r"row 1 \(x, sky\) is no distribution"),
        ({"std_a": None, "var_a": ["x"] * 3}, "column 'var_a' holds no numbers"),
        ({"std_a": None}, "column 'std_a' is missing: add it to the table of statistics; mean_L and std_L alone do"),
        ({"mean_a": None, "mean_b": None, "std_a": None}, "column 'mean_a' is missing"),
        ({"mean_L": None, "mean_a": None, "mean_b": None}, "column 'mean_L' is missing"),
        ({"target": ["x", None, "y"]}, "row 1 has no target: fill it in or drop that row"),
        ({"area": ["road", "road", "road"]}, "two rows are of target 'x' and area 'road': drop one"),
        ({"image": [[1], [2], [3]]}, "column 'image' holds no texts"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_in_one_line(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = table(tmp_path / "bad.parquet", **{**numbers(*LAB.names), **columns})
    with pytest.raises(InputError, match=message) as caught:
        ParameterStore.load(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_columns_that_no_axis_asks_for_are_left_alone(tmp_path: Path) -> None:
    columns = {**numbers(*LAB.names), "var_notes": ["windy"] * 3, "var_R": [-1.0] * 3}
    assert ParameterStore.load(table(tmp_path / "more.parquet", **columns)).space.axes == LAB.axes


class Median:
    """A conversion of its own making, of a distribution that is neither Lab's nor RGB's."""

    colors: Colors | None = None

    def __init__(self) -> None:
        spread = Axis("mad_L", 0.0, float("inf"), spread=True)
        self.space = Space([Axis("median_L", 0.0, 100.0), spread, Axis("std_texture", 0.0, float("inf"), spread=True)])

    def __call__(self, scenes: Scenes, recipe: Recipe, source_of_row: Tensor | None = None) -> tuple[Scenes, Tensor]:
        return taken(scenes, source_of_row), torch.zeros(len(recipe))


def test_any_distribution_that_a_conversion_names(configured: Callable[..., DictConfig], tmp_path: Path) -> None:
    """In the library and by store=file; what cannot be drawn must be in the table."""
    conversion, areas = Median(), {"area": ["grass", "pole", "grass"]}
    path = table(tmp_path / "a.parquet", **areas, **numbers("median_L", "mad_L", "var_texture"), mean_L=[7.0] * 3)
    store = ParameterStore.load(path, space=conversion.space)
    assert store.space.names == ("median_L", "mad_L", "std_texture")
    assert torch.allclose(store.parameters[1, 0], torch.tensor([3.0, 3.0, 3.0**0.5]))
    assert torch.equal(store.fitted(conversion.space).parameters, store.parameters)
    cfg = configured("store=file", f"store.path={path}")
    data = build_data(cfg)
    built = build_store(cfg, data, conversion)
    assert built.areas == data.areas and torch.equal(built.parameters[:, 0], store.parameters[:, 0])
    lacking = table(tmp_path / "b.parquet", **areas, **numbers("median_L", "mad_L"))
    with pytest.raises(InputError, match=r"b\.parquet: column 'std_texture' is missing: add it"):
        build_store(configured("store=file", f"store.path={lacking}"), data, conversion)
    with pytest.raises(InputError, match="no std_texture, which the conversion needs"):
        ParameterStore.load(lacking, space=Space(conversion.space.axes[:2])).fitted(conversion.space)
    with pytest.raises(InputError, match=r"mad_L of the conversion cannot be drawn, .* \(store=file\)"):
        build_store(configured(), data, conversion)


def test_a_table_that_was_named_is_read_whatever_is_converted(
    configured: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """Never dropped for parameters that are drawn."""
    area = {"area": ["grass", "pole", "grass"]}
    with_strength = table(tmp_path / "a.parquet", **area, **numbers(*LAB.names, "sharpen"))
    cfg = configured("store=file", f"store.path={with_strength}")
    data, sharpen = build_data(cfg), Sharpen()
    assert build_store(cfg, data, sharpen).parameters[:, 0, 0].tolist() == [1.0, 3.0]
    without = table(tmp_path / "b.parquet", **area, **numbers(*LAB.names))
    with pytest.raises(InputError, match="the conversion takes sharpen, and no column is called so"):
        build_store(configured("store=file", f"store.path={without}"), data, sharpen)
    assert len(build_store(configured("store.points=5"), data, sharpen)) == 5
    both = build_store(configured("store=file", f"store.path={without}"), data, Chain([ColorTransfer(), sharpen]))
    assert both.space.names == LAB.names  # the strength has bounds to be drawn in


# Where the targets' images are (R4)


def test_a_folder_says_where_its_images_are(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(folder.parent)
    store = ParameterStore.from_folder(folder.name)
    assert store.images == tuple(str(folder / f"images/{name}.png") for name in store.ids)
    assert store.index_images == tuple(str(folder / f"regions/{name}.png") for name in store.ids)
    store.save(tmp_path / "elsewhere/night.parquet")
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = ParameterStore.load("night.parquet")
    changed = [loaded.aligned(("tree", "sky")), loaded.fitted(LAB), loaded.whole(), loaded.with_(missing="whole")]
    for each in (loaded, *changed):
        assert (each.images, each.index_images) == (store.images, store.index_images)
        assert torch.equal(shown(each, 1), read_image(folder / "images/p09.png")[0])
    assert loaded.mark == store.mark == loaded.with_(images=[None] * 3).mark  # a moved folder is the same search


def shown(store: ParameterStore, row: int) -> Tensor:
    image = store.target_image(row)
    assert image is not None
    return image


def test_the_targets_of_a_run_say_where_they_are(folder: Path, configured: Callable[..., DictConfig]) -> None:
    cfg = configured("data=folder", f"data.root={folder}", "data.size=[32,32]", "store.sources=2")
    store = build_store(cfg, build_data(cfg), ColorTransfer())
    assert store.images == tuple(str(folder / f"images/{name}.png") for name in store.ids) and len(store) == 5
    assert store.index_images == tuple(str(folder / f"regions/{name}.png") for name in store.ids)
    made = configured("data=folder", f"data.root={folder}", "data.size=[32,32]", "data.regions=superpixels")
    without = build_store(made, build_data(made), ColorTransfer())
    assert without.images == store.images[:3] and without.index_images == (None,) * 3
    drawn = configured()
    assert build_store(drawn, build_data(drawn), ColorTransfer()).images == (None,) * 8


def test_references_in_a_table_made_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    for name in ("near.png", "far/a b.png"):
        Image.new("RGB", (4, 3), (9, 8, 7)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    places: list[Any] = [
        "near.png",
        str(tmp_path / "near.png"),
        f"file://{tmp_path}/far/a%20b.png",
        "broken.png",
        "gone.png",
    ]
    places += ["https://example.org/a.png", None]
    ids = [f"t{row}" for row in range(len(places))]
    columns = {
        **numbers(),
        **{name: [1.0] * len(ids) for name in LAB.names},
        "target": ids,
        "area": ["road"] * len(ids),
    }
    store = ParameterStore.load(table(tmp_path / "a.parquet", **columns, image=places))
    assert store.images[0] == str(tmp_path / "near.png") and store.images[5:] == ("https://example.org/a.png", None)
    assert store.index_images == (None,) * 7
    for row in range(3):
        assert shown(store, row).tolist() == torch.tensor([9, 8, 7])[:, None, None].expand(3, 3, 4).tolist()
    assert [store.target_image(row) for row in range(3, 7)] == [None] * 4


def test_references_are_of_each_target() -> None:
    with pytest.raises(InputError, match="images: 1 references to 6 targets"):
        make_store().with_(images=["a.png"])


def test_from_folder(folder: Path) -> None:
    store = ParameterStore.from_folder(folder)
    assert store.ids == ("p08", "p09", "p10")
    assert store.environment == {"time": ("night",) * 3}
    assert len(ParameterStore.from_folder(folder, split=None)) == 13


def test_sources_join_the_store_with_their_own_environment(configured: Callable[..., DictConfig]) -> None:
    def built(*overrides: str) -> ParameterStore:
        cfg = configured(*overrides)
        return build_store(cfg, build_data(cfg), ColorTransfer())

    plain, joined = built(), built("store.sources=4")
    assert joined.ids == (*plain.ids, "train_0000", "train_0004", "train_0007", "train_0011")
    assert torch.equal(joined.parameters[:8], plain.parameters)
    assert joined.environment["time"][8:] == ("day",) * 4
    assert joined.environment["weather"][8:] == ("sunny", "sunny", "cloudy", "cloudy")
    with pytest.raises(InputError, match=r"store\.sources must be 0 to the 12 training images, got 13"):
        built("store.sources=13")


def test_a_store_from_a_file_takes_no_sources(configured: Callable[..., DictConfig], tmp_path: Path) -> None:
    make_store().with_(areas=("grass", "pole", "river")).save(tmp_path / "night.parquet")
    cfg = configured("store=file", f"store.path={tmp_path / 'night.parquet'}")
    store = build_store(cfg, build_data(cfg), ColorTransfer())
    assert len(store) == 6


def test_an_area_the_target_lacks_stays_or_takes_the_whole_image() -> None:
    store = make_store(targets=1).with_(count=torch.tensor([[100, 3, 100, 500]]))
    chosen = torch.tensor([[True, True, True, False]])
    keep = store.recipe(rows(1, 4), torch.zeros(1, 4), chosen)
    assert keep.chosen.tolist() == [[True, False, True, False]]
    assert keep.target.tolist() == [[0, -1, 0, -1]]
    assert torch.equal(keep.parameter[0, 0], store.parameters[0, 0])
    assert not keep.parameter[0, 1].any()
    whole = store.with_(missing="whole").recipe(rows(1, 4), torch.zeros(1, 4), chosen)
    assert whole.chosen.tolist() == chosen.tolist()
    assert torch.equal(whole.parameter[0, 1], store.parameters[0, 3])


def test_aligned_by_name() -> None:
    store = make_store()
    other = store.aligned(["area2", "lamp", "area0"])
    assert other.areas == ("area2", "lamp", "area0")
    assert torch.equal(other.parameters[:, [0, 2, 3]], store.parameters[:, [2, 0, 3]])
    assert not other.valid[:, 1].any()
    assert make_recipe(1, other).chosen[0].tolist() == [True, False, True, False]


def test_no_area_in_common_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no area in common \(store: area0, area1, area2; images: sea\)"):
        make_store().aligned(["sea"])


def test_knows_the_hull_of_its_valid_points() -> None:
    store = make_store(targets=3)
    count = store.count.clone()
    count[0, 1] = 0
    hull = store.with_(count=count)
    assert torch.equal(hull.lowest[1], store.parameters[1:, 1].amin(0))
    assert torch.equal(hull.highest[0], store.parameters[:, 0].amax(0))


def test_fitted_to_a_conversion_with_further_axes() -> None:
    store = make_store(targets=16, environment={"time": ["night"] * 16})
    strength = Axis("strength", 0.0, 2.0, unit=0.1)
    fitted = store.fitted(Space([*store.space.axes, strength]))
    assert torch.equal(fitted.parameters[..., :6], store.parameters)
    drawn = fitted.parameters[..., 6]
    assert torch.equal(drawn, drawn[:, :1].expand_as(drawn))  # alike for all areas of a target
    assert drawn[:, 0].min() < 0.25 and drawn[:, 0].max() > 1.75  # 16 Sobol points leave no eighth empty
    assert fitted.environment == store.environment
    assert fitted.fitted(Space([strength])).parameters.shape == (16, 4, 1)  # an axis too many is dropped
    with pytest.raises(InputError, match="has no mean_R, which the conversion needs"):
        store.fitted(RGB)


def test_parameters_that_need_no_target_image() -> None:
    store = ParameterStore.from_space(Space([Axis("angle", -30.0, 30.0, unit=1.0)]), ["sign", "sky"], targets=8)
    assert store.parameters.shape == (8, 3, 1)
    assert store.valid.all()
    assert store.parameters.abs().max() <= 30
    assert len(set(store.ids)) == 8


def test_rgb_is_measured_without_lab() -> None:
    image, regions = make_images(1)
    store = ParameterStore.from_images([("t", image[0], regions[0], {})], ("a", "b", "c"), colors="rgb")
    assert store.space.names == ("mean_R", "mean_G", "mean_B", "std_R", "std_G", "std_B")
    inside = image[0].double()[:, regions[0] == 1]
    assert torch.allclose(store.parameters[0, 1, :3], inside.mean(1).float())
    assert torch.allclose(store.parameters[0, 1, 3:], inside.std(1, unbiased=False).float())


def test_a_store_of_whole_images() -> None:
    store = make_store(environment={"time": ["night"] * 6})
    whole = store.whole()
    assert whole.areas == ("whole image",) and whole.regions == 2
    assert torch.equal(whole.parameters, store.parameters[:, [3, 3]])
    assert torch.equal(whole.count, store.count[:, [3, 3]])
    assert (whole.ids, whole.environment) == (store.ids, store.environment)
    assert store.whole("frame").areas == ("frame",)
    count = store.count.clone()
    count[:, -1] = 0
    with pytest.raises(InputError, match="no parameter of a whole image"):
        store.with_(count=count).whole()


def test_a_store_of_any_loader(caplog: pytest.LogCaptureFixture) -> None:
    image, regions = make_images(batch=4)
    named: list[tuple[str, torch.Tensor, torch.Tensor, dict[str, str]]]
    named = [(f"{i}", image[i], regions[i], {}) for i in range(4)]
    wanted = ParameterStore.from_images(named, ("a", "b", "c"), min_pixels=5)
    batches, view = [(image[:3], regions[:3]), (image[3:], regions[3:])], View()
    store = ParameterStore.from_loader(batches, view, ("a", "b", "c"), min_pixels=5)
    assert torch.equal(store.parameters, wanted.parameters) and torch.equal(store.count, wanted.count)
    assert (store.ids, store.areas, store.environment) == (("0", "1", "2", "3"), ("a", "b", "c"), {})
    assert [line for line in caplog.messages if "the store measures images: " in line]
    assert view.told == []  # the same view tells of the training data what it takes there
    rgb = ParameterStore.from_loader(batches, View(), ("a", "b", "c"), missing="whole", colors="rgb")
    assert rgb.space.names[0] == "mean_R" and rgb.missing == "whole"


def test_targets_of_a_loader_are_called_by_their_numbers() -> None:
    image, regions = make_images(batch=4)
    batch = {"image": image, "mask": regions, "index": torch.tensor([7, 5, 7, -1])}
    assert ParameterStore.from_loader([batch], View(), "abc").ids == ("7", "5", "7 (2)", "3")


def test_a_loader_without_regions_gives_whole_images() -> None:
    image, regions = make_images(batch=2)
    store = ParameterStore.from_loader([(image, regions)], View(regions="whole"), None)
    assert store.areas == ("whole image",)
    assert torch.equal(store.parameters[:, 0], store.parameters[:, 1])
    assert store.count.tolist() == [[24 * 32] * 2] * 2


def test_padding_is_not_measured() -> None:
    image, regions = make_images(batch=2)
    sizes = [[image[0], image[1, :, :16, :24]], [regions[0], regions[1, :16, :24]]]
    store = ParameterStore.from_loader([sizes], View(), "abc")
    wanted = [
        ParameterStore.from_loader([[[image], [label]]], View(), "abc") for image, label in zip(*sizes, strict=True)
    ]
    assert torch.equal(store.parameters, torch.cat([each.parameters for each in wanted]))
    assert torch.equal(store.count, torch.cat([each.count for each in wanted]))


def test_boxes_and_what_lies_outside_them_are_measured() -> None:
    image, _ = make_images(batch=2)
    boxes = torch.tensor([[2.0, 3.0, 20.0, 18.0], [1.0, 1.0, 12.0, 22.0]])
    targets = [{"boxes": boxes[row : row + 1], "labels": torch.tensor([row + 1])} for row in range(2)]
    store = ParameterStore.from_loader([(list(image), targets)], View(), ("background", "car", "person"))
    assert store.areas[1:3] == ("car", "person") and store.areas[-1] == "background"
    assert store.valid.tolist() == [[False, True, False, True, True], [False, False, True, True, True]]
    assert store.count[0, 1] == 18 * 15 and store.count[0, 3] == 24 * 32 - 18 * 15


def test_a_loader_of_other_areas_or_of_nothing_is_refused() -> None:
    image, regions = make_images(batch=1)
    with pytest.raises(InputError, match="2 areas are named, labels 0 to 1, and a label map has label 2"):
        ParameterStore.from_loader([(image, regions)], View(), ("a", "b"))
    with pytest.raises(InputError, match="store is empty"):
        ParameterStore.from_loader([], View(), None)


def test_areas_that_no_target_has_are_known() -> None:
    store = make_store()
    assert store.lacking == [] and store.aligned(("lake", *store.areas)).lacking == ["lake"]
    assert store.aligned(("lake", *store.areas)).with_(missing="whole").lacking == []


def test_empty_is_an_error() -> None:
    with pytest.raises(InputError, match="store is empty"):
        ParameterStore.from_images([], ("a",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"area": None}, "column 'area' is missing"),
        ({"std_a": [-1.0]}, "row 0 .* is no distribution"),
        ({"mean_L": [float("nan")]}, "row 0 .* is no distribution"),
        ({"mean_L": ["dark"]}, "column 'mean_L' holds no numbers"),
    ],
)
def test_bad_tables_name_the_file(tmp_path: Path, change: dict[str, list[object] | None], message: str) -> None:
    columns: dict[str, list[object] | None] = {"target": ["x"], "area": ["road"]}
    columns.update({f"{what}_{c}": [1.0] for what in ("mean", "std") for c in "Lab"})
    columns.update(change)
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({name: value for name, value in columns.items() if value is not None}), path)
    with pytest.raises(InputError, match=message) as caught:
        ParameterStore.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), (b"PAR1 not really", "Parquet file is damaged")]
)
def test_bad_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "store.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        ParameterStore.load(path)
