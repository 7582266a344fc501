"""Expr. 1 and 2 against an independent computation, and the promises of a conversion."""

from typing import Any

import numpy as np
import pytest
import skimage.color
import torch
from conftest import make_images, make_recipe, make_store
from numpy.typing import NDArray

from hardmine import kernels
from hardmine.conversions import Chain, ColorTransfer, Reframe, unlearnt
from hardmine.errors import InputError
from hardmine.kernels import fused, reference
from hardmine.kernels.transfer import Table, affine
from hardmine.records import Distribution, Recipe
from hardmine.scenes import Colors, Scenes
from hardmine.store import ParameterStore


def by_scikit_image(
    image: NDArray[np.uint8], regions: NDArray[np.uint8], recipe: Recipe, row: int, min_std: float, max_gain: float
) -> NDArray[np.float64]:
    """What a user would write: a loop over the areas of one image, (H, W, 3) in 0..255."""
    lab = skimage.color.rgb2lab(image)
    out = lab.copy()
    for area in range(recipe.chosen.shape[1] - 1):
        inside = regions == area
        if not recipe.chosen[row, area] or not inside.any():
            continue
        s_mean, s_std = lab[inside].mean(0), np.maximum(lab[inside].std(0), min_std)
        gain = np.minimum(recipe.parameter[row, area, 3:].numpy() / s_std, max_gain)
        out[inside] = (lab[inside] - s_mean) * gain + recipe.parameter[row, area, :3].numpy()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # colours outside the gamut are clipped, which is meant
        converted: NDArray[np.float64] = skimage.color.lab2rgb(out) * 255
    return converted


def images(convert: ColorTransfer, image: torch.Tensor, regions: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    return convert(Scenes(image, regions, 3), recipe)[0].image


def test_agrees_with_scikit_image() -> None:
    image, regions = make_images(batch=3)
    store = make_store()
    recipe = Recipe.cat([make_recipe(1, store, target) for target in range(3)])
    converted = images(ColorTransfer(min_std=1.0, max_gain=4.0), image, regions, recipe)
    for row in range(3):
        expected = by_scikit_image(image[row].permute(1, 2, 0).numpy(), regions[row].numpy(), recipe, row, 1.0, 4.0)
        labelled = (regions[row] != 255).numpy()
        difference = np.abs(converted[row].permute(1, 2, 0).numpy() - expected)[labelled]
        assert difference.max() < 0.5 + 0.3  # half a level of rounding, and float32 statistics stretched by the gain
        assert (difference > 0.55).mean() < 0.01


@pytest.mark.parametrize("colors", ["lab", "rgb"])
def test_areas_not_chosen_and_void_are_bit_equal(colors: Colors) -> None:
    image, regions = make_images()
    recipe = make_recipe(3, make_store())
    recipe = recipe.replace(chosen=recipe.chosen & torch.tensor([True, False, True, False]))
    converted = images(ColorTransfer(colors), image, regions, recipe)
    untouched = ((regions == 1) | (regions == 255))[:, None].expand_as(image)
    assert torch.equal(converted[untouched], image[untouched])
    assert not torch.equal(converted, image)


@pytest.mark.parametrize("colors", ["lab", "rgb"])
def test_identity_parameters_give_the_same_image(colors: Colors) -> None:
    image, regions = make_images()
    source = Scenes(image, regions, 3)
    measured = source.measured(colors)
    recipe = make_recipe(3, make_store()).replace(parameter=torch.cat([measured.mean, measured.std], dim=-1))
    assert torch.equal(ColorTransfer(colors, min_std=0.0)(source, recipe)[0].image, image)


def test_clean_recipes_give_the_source() -> None:
    image, regions = make_images()
    clean = Recipe.clean(torch.arange(3), torch.arange(3), 4, 6)
    converted, capped = ColorTransfer()(Scenes(image, regions, 3), clean)
    assert torch.equal(converted.image, image)
    assert capped.isnan().all()


def chosen(recipe: Recipe, *regions: int) -> Recipe:
    mask = torch.zeros_like(recipe.chosen)
    mask[:, list(regions)] = True
    return recipe.replace(chosen=mask)


@pytest.mark.parametrize("whole", [False, True])
def test_same_recipe_same_bits_in_any_batch(whole: bool) -> None:
    image, regions = make_images()
    store = make_store()
    recipe = Recipe.cat([make_recipe(1, store, target) for target in (2, 3, 4)])
    recipe = recipe.replace(chosen=recipe.chosen & torch.tensor([[True], [False], [True]]))
    if whole:  # areas then whole, whole alone, areas alone
        point = store.parameters[torch.tensor([2, 3, 4])]
        recipe = recipe.replace(
            parameter=point, chosen=recipe.chosen | torch.tensor([[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]).bool()
        )
    convert = ColorTransfer()
    together = images(convert, image, regions, recipe)
    for row in range(3):
        one = slice(row, row + 1)
        assert torch.equal(images(convert, image[one], regions[one], recipe[one]), together[one])


@pytest.mark.parametrize("way", [fused, reference])
def test_the_training_runs_own_precision_changes_no_bit(way: kernels.Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_way", lambda device: way)
    image, regions = make_images(size=(64, 64))
    recipe, convert = make_recipe(3, make_store()), ColorTransfer()
    exact = images(convert, image, regions, recipe)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(images(convert, image, regions, recipe), exact)
        assert torch.get_float32_matmul_precision() == "medium" and torch.backends.cudnn.enabled
    finally:
        torch.set_float32_matmul_precision("highest")


def test_a_conversion_is_the_same_in_both_ways_but_for_one_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics and all; here the few values that lie between two levels."""
    image, regions = make_images(batch=6, size=(96, 128))
    recipe = Recipe.cat([make_recipe(1, make_store(), row) for row in range(6)])
    recipe = recipe.replace(parameter=make_store().parameters)
    recipe.chosen[1::2, 3], recipe.chosen[4:, :3] = True, False
    exact = images(ColorTransfer(), image, regions, recipe)
    monkeypatch.setattr(kernels, "_way", lambda device: reference)
    apart = (images(ColorTransfer(), image, regions, recipe).int() - exact.int()).abs()
    assert apart.max() <= 1 and apart.sum() <= 1e-4 * apart.numel()


GENTLE = {"lab": (55.0, 2.0, 4.0, 3.0, 3.0, 3.0), "rgb": (120.0, 130.0, 110.0, 9.0, 9.0, 9.0)}


@pytest.mark.parametrize("colors", ["lab", "rgb"])
@pytest.mark.parametrize("region", [0, 3], ids=["an area", "the whole image"])
def test_what_was_converted_has_the_targets_statistics(colors: Colors, region: int) -> None:
    image, regions = make_images(size=(64, 64))
    regions[regions == 255] = 1
    point = torch.tensor(GENTLE[colors])
    recipe = chosen(make_recipe(3, make_store()), region).replace(parameter=point.expand(3, 4, 6))
    after = Scenes(images(ColorTransfer(colors, max_gain=100.0), image, regions, recipe), regions, 3)
    measured = after.measured(colors)
    there = measured.count[:, region] > 0
    unit = 1.0 if colors == "lab" else 2.55
    assert torch.allclose(measured.mean[there, region], point[:3], atol=0.3 * unit)
    assert torch.allclose(measured.std[there, region], point[3:], atol=0.3 * unit)


def of_images(image: torch.Tensor, regions: torch.Tensor) -> ParameterStore:
    named: Any = ((f"s{row}", image[row], regions[row], {}) for row in range(len(image)))
    return ParameterStore.from_images(named, ["area0", "area1", "area2"], min_pixels=1)


def individual(sources: ParameterStore, max_gain: float = 4.0) -> ColorTransfer:
    convert = ColorTransfer(max_gain=max_gain, individual=True)
    convert.compare_with(sources)
    return convert


def test_what_is_usual_is_that_of_all_pixels() -> None:
    """The pooled distribution against one image that holds the pixels of all."""
    image, regions = make_images(size=(32, 32))
    together = Scenes(image.movedim(0, 2).flatten(2, 3)[None], regions.movedim(0, 1).flatten(1)[None], 3)
    expected, pooled = together.measured("lab"), of_images(image, regions).pooled()
    assert torch.equal(pooled.count, expected.count)
    there = expected.count > 0
    assert torch.allclose(pooled.mean[there], expected.mean[there], atol=1e-2)
    assert torch.allclose(pooled.std[there], expected.std[there], atol=1e-2)


def test_an_area_keeps_what_sets_it_apart() -> None:
    """Means differ from t_mean by as many t_std as they differed from the usual mean by usual deviations."""
    image, regions = make_images(size=(64, 64))
    regions[regions == 255] = 1
    sources = of_images(image, regions)
    point = torch.tensor(GENTLE["lab"])
    recipe = chosen(make_recipe(3, make_store()), 0).replace(parameter=point.expand(3, 4, 6))
    before = Scenes(image, regions, 3).measured("lab")
    converted = images(individual(sources, max_gain=100.0), image, regions, recipe)
    after = Scenes(converted, regions, 3).measured("lab")
    there, usual = before.count[:, 0] > 0, sources.pooled()
    apart = ((before.mean - usual.mean) / usual.std.clamp(min=1.0))[there, 0]
    assert apart.abs().max() > 0.2
    assert torch.allclose(after.mean[there, 0], point[:3] + apart * point[3:], atol=0.3)
    assert torch.allclose(after.std[there, 0], point[3:].expand_as(apart), atol=0.3)


@pytest.mark.parametrize("wrong", [0.5, "x", None])
def test_individual_is_yes_or_no(wrong: Any) -> None:
    with pytest.raises(InputError, match="individual must be true or false, got"):
        ColorTransfer(individual=wrong)


def test_what_is_usual_depends_on_the_kind_of_the_source() -> None:
    """Sources of two kinds, compared all together, convert as each kind by itself does."""
    image, regions = make_images(batch=5, size=(32, 32))
    image[2:] //= 4  # three of them by night
    recipe = make_recipe(5, make_store()).replace(source=torch.arange(5))
    day, night = slice(0, 2), slice(2, 5)
    both = ColorTransfer(individual=True)
    both.compare_with(of_images(image[day], regions[day]), of_images(image[night], regions[night]))
    for rows in (day, night):
        alone = individual(of_images(image[rows], regions[rows]))
        expected = images(alone, image[rows], regions[rows], recipe[rows])
        assert torch.equal(images(both, image[rows], regions[rows], recipe[rows]), expected)
    mixed = images(individual(of_images(image, regions)), image, regions, recipe)
    assert not torch.equal(mixed, images(both, image, regions, recipe))


def test_the_whole_image_and_a_source_without_others_have_nothing_apart() -> None:
    image, regions = make_images(batch=1)
    recipe = make_recipe(1, make_store())
    alone = individual(of_images(image, regions))
    exact, same = (images(convert, image, regions, recipe).int() for convert in (ColorTransfer(), alone))
    assert (exact - same).abs().max() <= 1  # means of areas, once in float32 and once in float64
    whole = chosen(recipe, 3).replace(parameter=make_store().parameters[:1])
    other = individual(of_images(*make_images(seed=5)))
    assert torch.equal(images(ColorTransfer(), image, regions, whole), images(other, image, regions, whole))


def test_sources_in_other_colors_or_none_are_refused() -> None:
    with pytest.raises(ValueError, match="sources must be measured in rgb"):
        ColorTransfer("rgb").compare_with(make_store())
    image, regions = make_images()
    with pytest.raises(ValueError, match="call compare_with first"):
        images(ColorTransfer(individual=True), image, regions, make_recipe(3, make_store()))


def test_the_whole_image_is_converted_after_its_areas() -> None:
    image, regions = make_images(size=(64, 64))
    store = make_store()
    recipe = make_recipe(3, store).replace(parameter=store.parameters[:1].expand(3, -1, -1))
    convert = ColorTransfer(max_gain=100.0)
    both = images(convert, image, regions, chosen(recipe, 0, 1, 2, 3))
    areas = images(convert, image, regions, chosen(recipe, 0, 1, 2))
    assert torch.equal(both, images(convert, areas, regions, chosen(recipe, 3)))
    assert not torch.equal(both, areas)
    void = (regions == 255)[:, None].expand_as(image)
    assert torch.equal(both[void], image[void])


def test_the_gain_is_capped_and_counted() -> None:
    image, regions = make_images()
    recipe = make_recipe(3, make_store())
    stretched = recipe.replace(parameter=torch.cat([recipe.parameter[..., :3], torch.full((3, 4, 3), 1000.0)], dim=-1))
    source = Scenes(image, regions, 3)
    converted, capped = ColorTransfer(max_gain=2.0)(source, stretched)
    assert (capped == 1).all()
    doubled = torch.cat([recipe.parameter[..., :3], source.measured("lab").std.clamp(min=1.0) * 2], dim=-1)
    exact, few = ColorTransfer(max_gain=2.0)(source, recipe.replace(parameter=doubled))
    assert torch.equal(converted.image, exact.image)
    assert (few == 0).all()


@pytest.mark.parametrize(
    ("image", "regions", "message"),
    [
        (torch.rand(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.uint8), r"image must be \(B, 3, H, W\) uint8, got"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(4, 4, dtype=torch.uint8), r"got \(3, 4, 4\)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, 4, 5, dtype=torch.uint8), r"regions must be"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2, 4, 4), r"float32"),
    ],
)
def test_wrong_shapes_and_types_are_quoted(image: torch.Tensor, regions: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scenes(image, regions, 3)


# Two ways, one contract


def drawn(seed: int, colors: Colors, rows: int = 8, size: tuple[int, int] = (96, 128)) -> tuple[Any, ...]:
    """Four sources by day, dusk or night, and a table of what makes random rows of them."""
    image, regions = make_images(batch=4, size=size, seed=seed)
    if seed % 3 == 2:
        image = torch.randint(256, image.shape, generator=torch.Generator().manual_seed(seed)).byte()
    image //= (1, 2, 5)[seed % 5 % 3]
    generator = torch.Generator().manual_seed(seed)
    store, source = make_store(8), torch.randint(4, (rows,), generator=generator)
    recipe = Recipe.cat([make_recipe(1, store, (seed + row) % 8) for row in range(rows)])
    recipe = recipe.replace(chosen=torch.rand(rows, 4, generator=generator) < 0.6)
    measured = fused.measure(image, regions, 3, colors)
    gain, offset, _ = affine(measured[source], recipe)
    return image, regions, Table(recipe.chosen, gain, offset, source), colors


@pytest.mark.parametrize("colors", ["lab", "rgb"])
def test_the_ways_differ_by_one_level_in_few_values(colors: Colors) -> None:
    differing = values = 0
    for seed in range(12):
        arguments = drawn(seed, colors)
        apart = (fused.convert(*arguments).int() - reference.convert(*arguments).int()).abs()
        assert apart.max() <= 1
        differing, values = differing + int(apart.sum()), values + apart.numel()
    assert differing <= 1e-4 * values


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("colors", ["lab", "rgb"])
@pytest.mark.parametrize("way", [fused, reference])
def test_what_is_not_chosen_is_bit_equal_in_both(way: kernels.Way, colors: Colors, seed: int) -> None:
    image, regions, table, _ = drawn(seed, colors)
    converted = way.convert(image, regions, table, colors)
    chosen = torch.zeros(len(table), 256, dtype=torch.bool)
    chosen[:, :3] = table.chosen[:, :3]
    kept = ~chosen.gather(1, regions[table.source].flatten(1).long()).view_as(converted[:, 0])[:, None]
    assert torch.equal(converted.where(kept, 0), image[table.source].where(kept, 0))
    assert not torch.equal(converted, image[table.source])


@pytest.mark.parametrize("colors", ["lab", "rgb"])
@pytest.mark.parametrize("way", [fused, reference])
def test_the_same_row_has_the_same_bits_in_any_table(way: kernels.Way, colors: Colors) -> None:
    image, regions, table, _ = drawn(3, colors)
    together = way.convert(image, regions, table, colors)
    for rows in (slice(2, 3), torch.tensor([7, 0, 0, 4])):
        part = table[rows]
        assert torch.equal(way.convert(image, regions, part, colors), together[rows])
        alone = Table(part.chosen, part.gain, part.offset, torch.arange(len(part)))
        assert torch.equal(way.convert(image[part.source], regions[part.source], alone, colors), together[rows])
    if way is fused:
        assert torch.equal(kernels.convert(image, regions, table, colors), together)


@pytest.mark.parametrize("way", [fused, reference])
def test_a_table_without_rows_or_choice(way: kernels.Way) -> None:
    image, regions, table, colors = drawn(0, "lab")
    assert way.convert(image, regions, table[:0], colors).shape == (0, *image.shape[1:])
    clean = Table(torch.zeros_like(table.chosen), table.gain, table.offset, table.source)
    assert torch.equal(way.convert(image, regions, clean, colors), image[table.source])


@pytest.mark.parametrize("colors", ["lab", "rgb"])
def test_the_reference_is_rounded_last(colors: Colors) -> None:
    image, regions, table, _ = drawn(1, colors)
    levels = reference.levels(image, regions, table, colors)
    assert levels.dtype == torch.float32
    assert (levels - reference.convert(image, regions, table, colors)).abs().max() < 0.5 + 0.03


@pytest.mark.parametrize("colors", ["lab", "rgb"])
def test_the_slope_of_the_reference_is_that_of_its_differences(colors: Colors) -> None:
    """From parameters and pixels through the statistics to the levels, in float32 against steps that are not small."""
    image, regions, table, _ = drawn(0, colors, size=(24, 32))
    sources, weight = image.float(), torch.rand(8, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    recipe = Recipe.cat([make_recipe(1, make_store(8), row) for row in range(8)]).replace(chosen=table.chosen)

    def level(parameter: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
        measured = reference.measure(sources, regions, 3, colors)[table.source]
        gain, offset, _ = affine(measured, recipe.replace(parameter=parameter), max_gain=100.0)
        made = Table(table.chosen, gain, offset, table.source)
        return (reference.levels(sources, regions, made, colors) * weight).double().sum()

    for index in range(2):
        given = [recipe.parameter.clone(), sources.clone()]
        given[index].requires_grad_(True)
        (slope,) = torch.autograd.grad(level(given[0], given[1]), given[index])
        assert slope.isfinite().all() and slope.any()
        step = 0.05 * torch.rand(slope.shape, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            middle = given[index].clone()
            ends = [level(*(*given[:index], middle + sign * step, *given[index + 1 :])) for sign in (1, -1)]
            difference = (ends[0] - ends[1]) / 2
        assert torch.allclose(difference, (slope * step).double().sum(), rtol=0.02)


# Rows made of sources


@pytest.mark.parametrize("colors", ["lab", "rgb"])
@pytest.mark.parametrize("individual", [False, True])
def test_several_rows_of_one_source_are_as_the_source_repeated(colors: Colors, individual: bool) -> None:
    image, regions = make_images(batch=4)
    scenes = Scenes(
        image, regions, 3, {"target": regions.long()}, torch.arange(4) + 5, torch.arange(4) * 2, torch.ones(4, 2)
    )
    source = torch.tensor([0, 0, 3, 1, 1, 1, 3])
    recipe = Recipe.cat([make_recipe(1, make_store(8), row) for row in range(7)]).replace(source=source)
    recipe = recipe.replace(chosen=torch.rand(7, 4, generator=torch.Generator().manual_seed(0)) < 0.5)
    recipe.chosen[2] = False
    convert = ColorTransfer(colors, individual=individual)
    if individual:
        convert.learn(scenes.measured(colors)[:1])
    made, share = convert(scenes, recipe, source)
    expected, of = convert(scenes[source], recipe)
    for name in ("image", "regions", "source", "draw", "extent"):
        assert torch.equal(getattr(made, name), getattr(expected, name))
    assert torch.equal(made.labels["target"], expected.labels["target"])
    assert torch.equal(share.nan_to_num(-1), of.nan_to_num(-1))
    assert torch.equal(made.image[2], image[3])


def test_an_image_among_larger_ones_is_converted_as_if_alone() -> None:
    image, regions = make_images(batch=3, size=(24, 32))
    image[1, :, 12:], image[1, :, :, 20:], regions[1, 12:], regions[1, :, 20:] = 0, 0, 255, 255
    extent = torch.tensor([[1.0, 1.0], [0.5, 20 / 32], [1.0, 1.0]])
    recipe = make_recipe(3, make_store()).replace(parameter=make_store().parameters[:1].expand(3, -1, -1))
    recipe = chosen(recipe, 0, 2, 3)
    made, _ = ColorTransfer()(Scenes(image, regions, 3, extent=extent), recipe)
    small = Scenes(image[1:2, :, :12, :20].contiguous(), regions[1:2, :12, :20].contiguous(), 3)
    alone, _ = ColorTransfer()(small, recipe[1:2])
    assert torch.equal(made.image[1:2, :, :12, :20], alone.image)
    assert not made.image[1, :, 12:].any() and not made.image[1, :, :, 20:].any()


# One channel


def test_grey_moves_in_lightness_alone() -> None:
    image, regions = make_images(size=(48, 64))
    image = image[:, :1].expand(-1, 3, -1, -1).contiguous()
    store = make_store()
    recipe = make_recipe(3, store).replace(parameter=store.parameters[:1].expand(3, -1, -1))
    rows = [recipe[:1], chosen(recipe[1:2], 3), chosen(recipe[2:], 0, 2, 3)]
    made, share = ColorTransfer(max_gain=2.0)(Scenes(image, regions, 3, grey=True), Recipe.cat(rows))
    assert torch.equal(made.image[:, 0], made.image[:, 1]) and torch.equal(made.image[:, 0], made.image[:, 2])
    assert not torch.equal(made.image, image) and share.isfinite().all()
    lightness, there = recipe.parameter[0, :3, 0], regions[0]
    before = skimage.color.rgb2lab(image[0].permute(1, 2, 0).numpy())[..., 0]
    for area in range(3):
        inside = (there == area).numpy()
        if inside.any():
            gain = min(float(recipe.parameter[0, area, 3]) / max(before[inside].std(), 1.0), 2.0)
            expected = np.zeros((inside.sum(), 3))
            expected[:, 0] = (before[inside] - before[inside].mean()) * gain + float(lightness[area])
            level = skimage.color.lab2rgb(expected)[:, 0] * 255
            assert np.abs(made.image[0, 0].numpy()[inside] - level).max() < 0.5 + 0.1


def test_the_cap_counts_lightness_alone_in_grey() -> None:
    image, regions = make_images()
    scenes = Scenes(image[:, :1].expand(-1, 3, -1, -1).contiguous(), regions, 3, grey=True)
    measured = scenes.measured("lab")
    parameter = torch.cat([measured.mean, measured.std.clamp(min=1.0) * torch.tensor([1.0, 90, 90])], dim=-1)
    made, share = ColorTransfer()(scenes, make_recipe(3, make_store()).replace(parameter=parameter))
    assert (share == 0).all()
    assert (made.image.int() - scenes.image.int()).abs().max() <= 1  # areas flatter than min_std get a little flatter


def test_grey_has_no_colors_of_its_own_in_rgb() -> None:
    image, regions = make_images()
    with pytest.raises(InputError, match='one grey channel moves in L\\* alone: give colors="lab", got "rgb"'):
        ColorTransfer("rgb")(Scenes(image, regions, 3, grey=True), make_recipe(3, make_store()))


# What is usual may be learnt later


def test_what_is_learnt_is_what_comparing_finds() -> None:
    image, regions = make_images(size=(32, 32))
    sources, recipe = of_images(image, regions), make_recipe(3, make_store())
    told, learnt = individual(sources), ColorTransfer(individual=True)
    usual = sources.pooled()
    learnt.learn(usual)
    usual.mean.zero_()  # what was learnt is frozen
    assert torch.equal(images(told, image, regions, recipe), images(learnt, image, regions, recipe))
    with pytest.raises(ValueError, match="usual must be 1 row, got 2"):
        learnt.learn(Distribution.cat([usual, usual]))


def test_the_parts_that_have_yet_to_learn() -> None:
    first, plain = ColorTransfer(individual=True), ColorTransfer()
    assert unlearnt(plain) == [] and unlearnt(first) == [first]
    nested = Chain([Chain([first, Reframe()])])
    assert unlearnt(nested) == [first]
    first.learn(Distribution(torch.zeros(1, 4, 3), torch.ones(1, 4, 3), torch.ones(1, 4, dtype=torch.int64)))
    assert unlearnt(nested) == []
