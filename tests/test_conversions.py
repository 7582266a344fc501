"""The filters, the object that moves and the chain: outside libraries, scenes worked by hand, and every conversion's
promises."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import skimage.filters
import skimage.measure
import torch
from conftest import make_images, make_store
from hydra.utils import instantiate
from hypothesis import given, settings, strategies as st
from omegaconf import OmegaConf
from torch import Tensor

from hardmine.cli import config_folder
from hardmine.conversions import AffineObject, Chain, ColorTransfer, Conversion, Outline, Reframe, Sharpen, Smooth
from hardmine.errors import InputError
from hardmine.first import First
from hardmine.memory.graph import Graph
from hardmine.neighbourhood import Auto, Generate, Neighbourhood, Select
from hardmine.records import Recipe, Verdict
from hardmine.scenes import Scenes
from hardmine.store import ParameterStore

AREAS = 3
FILTERS: list[Conversion] = [Smooth(), Sharpen(), Outline()]
CONVERSIONS: list[Conversion] = [
    *FILTERS,
    AffineObject(),
    Chain([ColorTransfer(), Smooth(2.0), Sharpen()]),
    Chain([AffineObject(), Smooth(2.0)]),
]
FRAMED = Chain([ColorTransfer(), Reframe(0.6)])
SEEDS = st.integers(0, 10_000)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The images are tiny: where cores are busy, threads wait for each other a hundred times longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def name(conversion: Conversion) -> str:
    return "+".join(conversion.space.names)


def make_scenes(batch: int = 3, size: tuple[int, int] = (24, 32), seed: int = 0, boxes: bool = False) -> Scenes:
    """Random images, with a label map beside the index image, and perhaps two boxes each."""
    image, regions = make_images(batch, AREAS, size, seed)
    labels = {"target": regions.long() + 7}
    if boxes:
        labels["boxes"] = torch.tensor([[3.0, 4, 14, 15], [12, 9, 30, 22]]).expand(batch, -1, -1)
        labels["labels"] = torch.tensor([[0, 1]]).expand(batch, -1)
    return Scenes(image, regions, AREAS, labels)


def make_recipe(point: Tensor, chosen: Sequence[bool] = (True, True, True, False)) -> Recipe:
    """Rows with parameters (N, D) for all regions or (N, R, D)."""
    n, axes = len(point), point.shape[-1]
    clean = Recipe.clean(torch.arange(n), torch.arange(n), AREAS + 1, axes)
    point = point.view(n, -1, axes).expand(-1, AREAS + 1, -1)
    return clean.replace(chosen=torch.tensor([chosen] * n), parameter=point)


def random_recipe(conversion: Conversion, n: int, seed: int) -> Recipe:
    """Any regions chosen; every region its own parameter inside the bounds, some shared by all areas of a row."""
    generator = torch.Generator().manual_seed(seed)
    space = conversion.space
    share = torch.rand(n, AREAS + 1, len(space), generator=generator)
    share = torch.where(torch.rand(n, 1, 1, generator=generator) < 0.5, share[:, :1], share)
    recipe = make_recipe(space.low + share * (space.high.clamp(max=20) - space.low).clamp(min=0))
    return recipe.replace(chosen=torch.rand(n, AREAS + 1, generator=generator) < 0.6)


def zero_verdict(n: int, step: int) -> Verdict:
    area_score, no_gate = torch.zeros(n, AREAS + 1), torch.full((n,), -1)
    return Verdict(
        torch.zeros(n), area_score, torch.ones(n, dtype=torch.bool), no_gate, torch.full((n,), step), -torch.zeros(n)
    )


def numbered(scenes: Scenes) -> Scenes:
    """The same scenes, knowing which images they are of."""
    source = torch.arange(len(scenes))
    return Scenes(scenes.image, scenes.regions, AREAS, scenes.labels, source + 10, source * 3)


def cut(scenes: Scenes, height: int, width: int) -> Scenes:
    """The upper left corner, by itself."""
    labels = {
        key: value[..., :height, :width].clone() if value.ndim == 3 and key != "boxes" else value
        for key, value in scenes.labels.items()
    }
    image, regions = scenes.image[..., :height, :width].clone(), scenes.regions[:, :height, :width].clone()
    return Scenes(image, regions, AREAS, labels)


def tensors(scenes: Scenes) -> dict[str, Tensor]:
    return {"image": scenes.image, "regions": scenes.regions, **scenes.labels}


def assert_same(one: Scenes, other: Scenes) -> None:
    for key, value in tensors(one).items():
        assert torch.equal(value, tensors(other)[key]), key
        assert value.dtype == tensors(other)[key].dtype, key


# What every conversion promises


@settings(max_examples=4, deadline=None)
@given(SEEDS, st.booleans())
@pytest.mark.parametrize("conversion", CONVERSIONS, ids=name)
def test_same_recipe_same_bits_in_any_batch(conversion: Conversion, seed: int, boxes: bool) -> None:
    scenes, recipe = make_scenes(4, seed=seed, boxes=boxes), random_recipe(conversion, 4, seed)
    together, share = conversion(scenes, recipe)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    for rows in (order[:1], order[1:], torch.tensor([2, 2, 2])):
        alone, its_share = conversion(scenes[rows], recipe[rows])
        assert_same(alone, together[rows])
        assert torch.equal(its_share.isnan(), share[rows].isnan())


@settings(max_examples=4, deadline=None)
@given(SEEDS)
@pytest.mark.parametrize("conversion", CONVERSIONS, ids=name)
def test_void_keeps_its_bits_and_clean_rows_all_of_them(conversion: Conversion, seed: int) -> None:
    scenes, recipe = make_scenes(3, seed=seed), random_recipe(conversion, 3, seed)
    chosen = recipe.chosen.clone()
    chosen[0] = False
    before = {key: value.clone() for key, value in tensors(scenes).items()}
    converted, share = conversion(scenes, recipe.replace(chosen=chosen))
    assert_same(converted[:1], scenes[:1])
    assert share.dtype == torch.float32 and share[0].isnan() and not share[chosen.any(1)].gt(1).any()
    void = scenes.regions == 255
    for key, value in tensors(converted).items():
        assert torch.equal(before[key], tensors(scenes)[key])  # arguments are left as they are
        mask = void[:, None].expand_as(value) if key == "image" else void
        assert torch.equal(value[mask], before[key][mask])


@pytest.mark.parametrize("conversion", [*CONVERSIONS, FRAMED], ids=name)
def test_rows_made_of_sources_are_as_the_sources_repeated(conversion: Conversion) -> None:
    scenes, source = make_scenes(4, seed=1, boxes=True), torch.tensor([2, 2, 0, 3, 2])
    recipe = random_recipe(conversion, 5, seed=2)
    recipe.chosen[1] = False
    scenes = numbered(scenes)
    made, share = conversion(scenes, recipe, source)
    expected, its_share = conversion(scenes[source], recipe)
    assert_same(made, expected)
    assert torch.equal(share.nan_to_num(-1), its_share.nan_to_num(-1))
    assert_same(made[1:2], scenes[2:3])
    assert made.source is not None and torch.equal(made.source, source + 10)
    assert made.draw is not None and torch.equal(made.draw, source * 3)


@pytest.mark.parametrize("several", [False, True], ids=["each source once", "some twice"])
@pytest.mark.parametrize("conversion", [*CONVERSIONS, FRAMED], ids=name)
def test_an_image_among_larger_ones_is_converted_as_if_alone(conversion: Conversion, several: bool) -> None:
    sizes = [(24, 32), (15, 32), (15, 20), (24, 32)]
    source = torch.tensor([2, 1, 1, 3, 2, 0]) if several else torch.arange(4)
    whole, recipe = make_scenes(4, seed=1, boxes=True), random_recipe(conversion, len(source), seed=5)
    alone = [cut(whole[row : row + 1], *size) for row, size in enumerate(sizes)]
    for scenes, (height, width) in zip((whole[row : row + 1] for row in range(4)), sizes, strict=True):
        for value in (scenes.image, scenes.regions, scenes.labels["target"]):
            value[..., height:, :] = value[..., width:] = 0 if value is scenes.image else 255
    extent = torch.tensor([(height / 24, width / 32) for height, width in sizes])
    padded = Scenes(whole.image, whole.regions, AREAS, whole.labels, extent=extent)
    made, share = conversion(padded, recipe, source if several else None)
    for row, of in enumerate(source.tolist()):
        expected, its_share = conversion(alone[of], recipe[row : row + 1])
        assert_same(cut(made[row : row + 1], *sizes[of]), expected)
        assert torch.equal(share[row : row + 1].nan_to_num(-1), its_share.nan_to_num(-1))
        for now, before in zip(tensors(made).values(), tensors(padded[source]).values(), strict=True):
            if now.ndim > 2 and now.shape[-2:] == (24, 32):
                height, width = sizes[of]
                assert torch.equal(now[row, ..., height:, :], before[row, ..., height:, :])
                assert torch.equal(now[row, ..., width:], before[row, ..., width:])
    assert made.extent is not None and torch.equal(made.extent, extent[source])


def test_classes_are_no_label_maps() -> None:
    scenes, recipe = make_scenes(), random_recipe(AffineObject(), 3, seed=1)
    classes = Scenes(scenes.image, scenes.regions, AREAS, {"target": torch.tensor([4, 1, 2]), "depth": scenes.regions})
    made, _ = AffineObject()(classes, recipe)
    assert made.labels["target"].tolist() == [4, 1, 2]
    assert torch.equal(made.labels["depth"], made.regions) and not torch.equal(made.regions, scenes.regions)


def test_nothing_moves_where_not_everything_is_known_that_would_have_to() -> None:
    scenes, recipe = make_scenes(), random_recipe(AffineObject(), 3, seed=1)
    fixed = Scenes(scenes.image, scenes.regions, AREAS, scenes.labels, movable=False)
    with pytest.raises(InputError, match=r"name the label maps in View\(maps=\.\.\.\), or leave AffineObject out"):
        AffineObject()(fixed, recipe)
    assert_same(Smooth()(fixed, make_recipe(torch.ones(3, 1)))[0], Smooth()(scenes, make_recipe(torch.ones(3, 1)))[0])


@pytest.mark.parametrize("conversion", [*FILTERS, AffineObject()], ids=name)
def test_grey_stays_grey(conversion: Conversion) -> None:
    scenes = make_scenes()
    grey = scenes.replace(scenes.image[:, :1].expand(-1, 3, -1, -1).contiguous())
    image = conversion(grey, random_recipe(conversion, 3, seed=1))[0].image
    assert torch.equal(image[:, 0], image[:, 1]) and torch.equal(image[:, 0], image[:, 2])
    assert not torch.equal(image, grey.image)


@pytest.mark.parametrize("conversion", CONVERSIONS, ids=name)
@pytest.mark.parametrize("policy", [Select(radius=10), Generate(radius=10), Auto(radius=10, independent=True)])
def test_policies_propose_inside_the_radius_and_the_bounds(conversion: Conversion, policy: Neighbourhood) -> None:
    names = [f"area{index}" for index in range(AREAS)]
    space = conversion.space
    store = make_store(32).fitted(space) if conversion.colors else ParameterStore.from_space(space, names, 32)
    graph, generator = Graph(store), torch.Generator().manual_seed(0)
    scenes = make_scenes(4)
    clean = Recipe.clean(torch.arange(4), torch.arange(4), AREAS + 1, len(space))
    recipe, near = First(independent=isinstance(policy, Auto))(clean, store, graph, generator)
    assert near.all()
    for step in range(3):
        inside = (recipe.parameter >= space.low) & (recipe.parameter <= space.high)
        assert inside[recipe.chosen].all()
        converted, _ = conversion(scenes, recipe)
        assert not torch.equal(converted.image, scenes.image)
        graph.update(recipe, zero_verdict(4, step))
        before = recipe
        recipe, near = policy(before, store, graph, generator)
        moved = ((recipe.parameter - before.parameter)[near] / space.unit)[:, :, space.graph]
        assert (moved.square().sum(-1).sqrt() < 10).all()
        assert not near.any() or moved.any()
    assert near.all() or isinstance(policy, Select)


@pytest.mark.parametrize("path", sorted((config_folder() / "conversion").glob("*.yaml")), ids=lambda path: path.stem)
def test_configs_name_every_argument_and_build(path: Path) -> None:
    conversion = instantiate(OmegaConf.load(path), _convert_="all")
    assert len(conversion.space) and all(axis.unit > 0 for axis in conversion.space.axes)


# Filters


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.9])
def test_smoothing_agrees_with_scikit_image(sigma: float) -> None:
    scenes, conversion = make_scenes(1), Smooth()
    converted, _ = conversion(scenes, make_recipe(torch.tensor([[sigma]]), (False, True, False, False)))
    pixels = scenes.image[0].double().numpy()
    expected = skimage.filters.gaussian(pixels, sigma, mode="nearest", truncate=15 / sigma, channel_axis=0)  # type: ignore[no-untyped-call]
    mine, inside = converted.image[0].numpy(), (scenes.regions[0] == 1).numpy()
    assert np.abs(mine - expected)[:, inside].max() < 0.501  # half a level of rounding
    assert np.array_equal(mine[:, ~inside], scenes.image[0].numpy()[:, ~inside])


def test_sharpening_agrees_with_scikit_image() -> None:
    scenes = make_scenes(1, size=(40, 48))
    converted, _ = Sharpen(sigma=1.5)(scenes, make_recipe(torch.tensor([[1.7]])))
    pixels = scenes.image[0].double().numpy()
    sharp = skimage.filters.unsharp_mask(pixels, radius=1.5, amount=1.7, preserve_range=True, channel_axis=0)  # type: ignore[no-untyped-call]
    difference = np.abs(converted.image[0].numpy() - sharp.clip(0, 255))[:, 8:-8, 8:-8]  # its border is another
    assert difference.max() < 0.5 + 0.3  # it follows the Gaussian further out


def test_outlines_agree_with_scikit_image() -> None:
    scenes = make_scenes(1)
    converted, _ = Outline()(scenes, make_recipe(torch.tensor([[0.4]])))
    inner = slice(2, -1), slice(1, -1)
    for channel, mine in zip(scenes.image[0].double().numpy(), converted.image[0].numpy(), strict=True):
        lines = np.hypot(skimage.filters.sobel_h(channel), skimage.filters.sobel_v(channel))  # type: ignore[no-untyped-call]
        assert np.abs(mine - (0.6 * channel + 0.4 * lines))[inner].max() < 0.51


def test_an_outline_is_as_bright_as_its_step_is_high() -> None:
    image = torch.full((1, 3, 6, 8), 50, dtype=torch.uint8)
    image[..., 4:] = 150
    scenes = Scenes(image, torch.zeros(1, 6, 8, dtype=torch.uint8), AREAS)
    converted, _ = Outline()(scenes, make_recipe(torch.tensor([[1.0]])))
    assert converted.image[0, 0, 2].tolist() == [0, 0, 0, 100, 100, 0, 0, 0]


@pytest.mark.parametrize("conversion", FILTERS, ids=name)
def test_strength_zero_changes_nothing(conversion: Conversion) -> None:
    scenes = make_scenes()
    for chosen in ((True, True, True, True), (False, True, False, False)):
        converted, share = conversion(scenes, make_recipe(torch.zeros(3, 1), chosen))
        assert_same(converted, scenes)
        assert share.tolist() == [0, 0, 0]


@settings(max_examples=10, deadline=None)
@given(SEEDS)
@pytest.mark.parametrize("conversion", FILTERS, ids=name)
def test_each_area_has_its_own_strength_and_no_other_changes(conversion: Conversion, seed: int) -> None:
    """All areas at once are the areas one by one, each from the source; the whole image comes last."""
    scenes, recipe = make_scenes(3, seed=seed), random_recipe(conversion, 3, seed)
    expected = scenes.image
    for area in range(AREAS):
        one = make_recipe(recipe.parameter[:, area], (True,) * AREAS + (False,))
        filtered, _ = conversion(scenes, one)
        inside = (scenes.regions == area) & recipe.chosen[:, area, None, None]
        expected = torch.where(inside[:, None], filtered.image, expected)
    last = make_recipe(recipe.parameter[:, -1], (True,) * AREAS + (False,))
    last = last.replace(chosen=last.chosen & recipe.chosen[:, -1:])
    converted, _ = conversion(scenes, recipe)
    assert torch.equal(converted.image, conversion(scenes.replace(expected), last)[0].image)
    assert converted.regions is scenes.regions


@pytest.mark.parametrize("conversion", CONVERSIONS, ids=name)
def test_memory_layout_changes_no_bit(conversion: Conversion) -> None:
    scenes, recipe = make_scenes(2, size=(48, 64)), random_recipe(conversion, 2, seed=1)
    other = scenes.replace(scenes.image.contiguous(memory_format=torch.channels_last))
    assert_same(conversion(scenes, recipe)[0], conversion(other, recipe)[0])


# An object that moves


def turned(scenes: Scenes, scale: float, angle: float, area: int = 1) -> Scenes:
    chosen = [index == area for index in range(AREAS)]
    point = torch.tensor([[scale, angle]]).repeat(len(scenes), 1)
    return AffineObject()(scenes, make_recipe(point, (*chosen, True)))[0]


def scene_of(
    regions: Tensor, colors: Sequence[Sequence[int]] = ((90, 140, 40), (250, 10, 30), (20, 60, 200))
) -> Scenes:
    """One image whose areas have a colour each, with a label map that is ten times the index image."""
    image = torch.tensor(colors, dtype=torch.uint8)[regions.long()].permute(2, 0, 1)
    return Scenes(image[None].contiguous(), regions[None], AREAS, {"target": regions[None].int() * 10})


def meadow(height: int = 15, width: int = 15) -> Tensor:
    return torch.zeros(height, width, dtype=torch.uint8)


def test_a_quarter_turn_of_a_square() -> None:
    """Every pixel of the square has a place, and positive angles turn counter-clockwise as displayed."""
    regions = meadow()
    regions[5:10, 4:9] = 1
    scenes = scene_of(regions)
    scenes.image[0, :, 5:10, 4:9] = torch.randint(256, (3, 5, 5), generator=torch.Generator().manual_seed(1))
    scenes.labels["target"][0, 5:10, 4:9] = torch.arange(25).view(5, 5)
    after = turned(scenes, 1.0, 90.0)
    assert torch.equal(after.regions, scenes.regions)
    expected, labels = scenes.image.clone(), scenes.labels["target"].clone()
    expected[0, :, 5:10, 4:9] = torch.rot90(expected[0, :, 5:10, 4:9], 1, (1, 2))
    labels[0, 5:10, 4:9] = torch.rot90(labels[0, 5:10, 4:9], 1)
    assert torch.equal(after.image, expected)
    assert torch.equal(after.labels["target"], labels)


def test_a_beam_that_turns_leaves_a_hole_of_its_surroundings() -> None:
    regions = meadow()
    regions[6:9, 4:11] = 1
    after = turned(scene_of(regions), 1.0, -90.0)
    expected = meadow()
    expected[4:11, 6:9] = 1
    assert_same(after, scene_of(expected))


def test_half_the_size() -> None:
    """Each 2 x 2 block of the square becomes one pixel."""
    regions = meadow()
    regions[4:8, 5:9] = 1
    scenes = scene_of(regions)
    blocks = torch.tensor([[10, 60], [110, 250]], dtype=torch.uint8)
    scenes.image[0, 0, 4:8, 5:9] = blocks.repeat_interleave(2, 0).repeat_interleave(2, 1)
    after = turned(scenes, 0.5, 0.0)
    smaller = meadow()
    smaller[5:7, 6:8] = 1
    expected = scene_of(smaller)
    expected.image[0, 0, 5:7, 6:8] = blocks
    assert_same(after, expected)


def test_an_eighth_of_a_turn_makes_a_square_a_diamond() -> None:
    regions = meadow(21, 21)
    regions[6:15, 6:15] = 1
    after = turned(scene_of(regions), 1.0, 45.0)
    x = torch.arange(21) - 10
    diamond = (x + x[:, None]).abs().maximum((x - x[:, None]).abs()) < 4.5 * 2**0.5
    assert torch.equal(after.regions[0] == 1, diamond)
    assert torch.equal(after.labels["target"][0] == 10, diamond)
    deep, far = diamond.clone(), ~diamond
    deep &= (
        torch.roll(diamond, 1, 0) & torch.roll(diamond, -1, 0) & torch.roll(diamond, 1, 1) & torch.roll(diamond, -1, 1)
    )
    far &= torch.roll(far, 1, 0) & torch.roll(far, -1, 0) & torch.roll(far, 1, 1) & torch.roll(far, -1, 1)
    image = after.image[0].permute(1, 2, 0)
    assert (image[deep] == torch.tensor([250, 10, 30])).all()  # no dark edge: only the outermost pixels are mixed
    assert (image[far] == torch.tensor([90, 140, 40])).all()
    edge = image[~deep & ~far].int()
    assert ((edge >= torch.tensor([90, 10, 30])) & (edge <= torch.tensor([250, 140, 40]))).all()


def test_the_hole_takes_what_lies_nearer() -> None:
    """A beam between a meadow on the left and water on the right."""
    regions = meadow(32, 32)
    regions[:, 16:] = 2
    regions[:, 12:20] = 1
    scenes = scene_of(regions)
    after = turned(scenes, 0.5, 0.0)
    top = after.regions[0, :7]  # where nothing of the beam is left
    assert (top[:, :15] == 0).all() and (top[:, 17:] == 2).all()
    assert torch.equal(after.labels["target"][0], after.regions[0].int() * 10)
    blue = after.image[0, 2, :7].int()
    assert (blue.diff(dim=1) >= 0).all() and (blue[:, 12] < 80).all() and (blue[:, 19] > 160).all()
    assert torch.equal(after.image[..., :12], scenes.image[..., :12])


@pytest.mark.parametrize("boxes", [False, True])
def test_size_and_angle_as_they_are_change_no_bit(boxes: bool) -> None:
    scenes = make_scenes(boxes=boxes)
    assert_same(turned(scenes, 1.0, 0.0), scenes)


def test_only_what_the_object_covers_or_covered_changes() -> None:
    scenes = make_scenes(4, size=(40, 48), seed=3)
    after = turned(scenes, 1.3, 20.0)
    changed = (after.image != scenes.image).any(1)
    touched = (scenes.regions == 1) | (after.regions == 1)
    grown = torch.nn.functional.max_pool2d(touched[:, None].float(), 3, 1, 1)[:, 0] > 0  # edges are mixed
    assert changed.any() and not (changed & ~grown).any()
    assert not ((after.regions != scenes.regions) & ~touched).any()


def test_areas_move_in_label_order_and_the_whole_image_does_not() -> None:
    scenes = make_scenes(size=(40, 48))
    point = torch.tensor([[0.7, 30.0]]).repeat(3, 1)
    both, _ = AffineObject()(scenes, make_recipe(point, (False, True, True, False)))
    assert_same(both, turned(turned(scenes, 0.7, 30.0, area=1), 0.7, 30.0, area=2))
    whole, share = AffineObject()(scenes, make_recipe(point, (False, False, False, True)))
    assert whole is scenes and share.isnan().all()


def test_void_stays_in_front() -> None:
    regions = meadow()
    regions[6:9, 4:11] = 1
    scenes = scene_of(regions)
    scenes.regions[0, 2:6] = 255
    after = turned(scenes, 1.0, 90.0)
    assert (after.regions[0, 2:6] == 255).all() and torch.equal(after.image[0, :, 2:6], scenes.image[0, :, 2:6])
    assert (after.regions[0, 6:11, 6:9] == 1).all()


def test_an_object_without_surroundings_and_an_absent_one() -> None:
    filled = scene_of(meadow() + 1)
    assert (turned(filled, 0.5, 0.0).image == filled.image).all()  # nothing to fill the hole with
    empty = scene_of(meadow())
    assert_same(turned(empty, 0.5, 30.0), empty)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(0.2, 0.7))
def test_only_the_largest_piece_moves(seed: int, share: float) -> None:
    """Against scikit-image; where several pieces are largest, one of them."""
    generator = torch.Generator().manual_seed(seed)
    regions = (torch.rand(19, 23, generator=generator) < share).byte()
    after = turned(scene_of(regions), 0.5, 0.0)
    pieces = skimage.measure.label(regions.numpy(), connectivity=2)  # type: ignore[no-untyped-call]
    sizes = np.bincount(pieces.ravel(), minlength=2)[1:]
    shrunk = [piece + 1 for piece in range(len(sizes)) if (after.regions[0].numpy()[pieces == piece + 1] != 1).any()]
    assert all(sizes[piece - 1] == sizes.max() for piece in shrunk) and len(shrunk) <= 1
    assert shrunk or sizes.max(initial=0) < 20  # a few pixels may come to lie where they were


def test_of_pieces_equally_large_the_same_one_moves_in_every_row() -> None:
    regions = meadow()
    regions[1:4, 1:4] = regions[10:13, 9:12] = 1
    scenes = scene_of(regions)[torch.zeros(6, dtype=torch.int64)]
    after = turned(scenes, 0.5, 0.0)
    assert (after.regions == after.regions[:1]).all()


def boxed(boxes: Sequence[Sequence[float]], labels: Sequence[int], regions: Tensor) -> Scenes:
    scenes = scene_of(regions)
    return Scenes(
        scenes.image, scenes.regions, AREAS, {"boxes": torch.tensor([boxes]), "labels": torch.tensor([labels])}
    )


def test_the_largest_box_of_the_area_moves_and_its_corners_with_it() -> None:
    regions = meadow(20, 24)
    regions[8:10, 5:13] = 1
    regions[15:18, 1:4] = 1
    regions[1:7, 1:23] = 2
    boxes = [[1.0, 15.0, 4.0, 18.0], [5.0, 8.0, 13.0, 10.0], [1.0, 1.0, 23.0, 7.0], [0.0, 0.0, 0.0, 0.0]]
    after = turned(boxed(boxes, [1, 1, 2, -1], regions), 1.0, 90.0)
    boxes[1] = [8.0, 5.0, 10.0, 13.0]  # about (9, 9)
    assert torch.allclose(after.labels["boxes"], torch.tensor([boxes]), atol=1e-5)
    assert after.labels["labels"].tolist() == [[1, 1, 2, -1]]
    expected = regions.clone()
    expected[8:10, 5:13] = 0
    expected[5:13, 8:10] = 1
    assert torch.equal(after.regions[0], expected)


@pytest.mark.parametrize(
    ("box", "scale", "angle", "expected"),
    [
        ([8.0, 8.0, 12.0, 12.0], 0.5, 0.0, [9, 9, 11, 11]),
        ([8.0, 8.0, 12.0, 12.0], 1.0, 45.0, [10 - 8**0.5, 10 - 8**0.5, 10 + 8**0.5, 10 + 8**0.5]),
        ([0.0, 8.0, 8.0, 12.0], 1.5, 0.0, [0, 7, 10, 13]),  # clipped at the left
        ([14.0, 2.0, 20.0, 4.0], 1.0, -90.0, [16, 0, 18, 6]),
    ],
)
def test_boxes_by_hand(box: list[float], scale: float, angle: float, expected: list[float]) -> None:
    regions = meadow(20, 20)
    left, top, right, bottom = (int(edge) for edge in box)
    regions[top:bottom, left:right] = 1
    after = turned(boxed([box], [1], regions), scale, angle)
    assert torch.allclose(after.labels["boxes"], torch.tensor([[expected]], dtype=torch.float32), atol=1e-5)
    assert after.labels["labels"].tolist() == [[1]]


def test_a_box_that_leaves_the_image_becomes_padding() -> None:
    """Its centre lies outside, so that it shrinks out of sight."""
    regions = meadow()
    regions[4:8, :2] = 1
    after = turned(boxed([[-10.0, 4.0, 2.0, 8.0], [3.0, 3.0, 5.0, 5.0]], [1, 0], regions), 0.5, 0.0)
    assert after.labels["boxes"].tolist() == [[[0, 0, 0, 0], [3, 3, 5, 5]]]
    assert after.labels["labels"].tolist() == [[-1, 0]]
    assert (after.regions == 0).all() and torch.equal(after.image, scene_of(meadow()).image)


def test_in_scenes_with_boxes_an_area_without_one_stays() -> None:
    regions = meadow()
    regions[4:8, 4:8] = 1
    scenes = boxed([[3.0, 5.0, 12.0, 12.0]], [0], regions)
    assert_same(turned(scenes, 0.5, 30.0), scenes)


# Chains


def test_a_chain_is_its_parts_one_after_the_other() -> None:
    scenes, chain = make_scenes(), Chain([ColorTransfer(), Smooth(2.0), AffineObject()])
    assert chain.colors == "lab" and chain.space.names == (*ColorTransfer().space.names, "smooth", "scale", "angle")
    point = torch.tensor([[50.0, 5, -5, 12, 4, 4, 1.2, 0.6, 20]]).repeat(3, 1)
    chosen = (True, False, True, True)
    converted, share = chain(scenes, make_recipe(point, chosen))
    expected, first_share = ColorTransfer()(scenes, make_recipe(point[:, :6], chosen))
    expected, _ = Smooth(2.0)(expected, make_recipe(point[:, 6:7], chosen))
    expected, _ = AffineObject()(expected, make_recipe(point[:, 7:], chosen))
    assert_same(converted, expected)
    assert torch.equal(share, first_share.nan_to_num(0))  # NaN only where no part has a say


def test_a_chain_takes_the_stored_colors_wherever_their_axes_stand() -> None:
    store = make_store()
    chain = Chain([Smooth(), ColorTransfer()])
    fitted = store.fitted(chain.space)
    assert torch.equal(fitted.parameters[..., 1:], store.parameters)
    assert (fitted.parameters[..., 0] >= 0).all() and (fitted.parameters[..., 0] <= 5).all()


def test_chains_that_cannot_be() -> None:
    with pytest.raises(InputError, match="ColorTransfer and ColorTransfer both take"):
        Chain([ColorTransfer(), ColorTransfer("rgb")])
    with pytest.raises(ValueError, match=r"a name of its own, got \['smooth', 'smooth'\]"):
        Chain([Smooth(), Smooth(2.0)])
    with pytest.raises(ValueError, match="at least one conversion"):
        Chain([])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Smooth(0.0), "highest must be > 0, got 0.0"),
        (lambda: Sharpen(sigma=-1.0), "sigma must be > 0 pixels, got -1.0"),
        (lambda: Outline(1.5), r"share in \(0, 1\], got 1.5"),
        (lambda: AffineObject(smallest=2.0), "0 < smallest < largest, got 2.0, 1.5"),
        (lambda: AffineObject(angle=0.0), r"in \(0, 180\] degrees, got 0.0"),
    ],
)
def test_impossible_bounds_are_quoted(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()
