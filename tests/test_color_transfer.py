"""Expr. 1 and 2 against an independent computation, and the promises of a conversion."""

from typing import Any

import numpy as np
import pytest
import skimage.color
import torch
from conftest import make_images, make_recipe, make_store
from numpy.typing import NDArray

from hardmine.conversions import ColorTransfer
from hardmine.records import Recipe
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
    measured = source.measured(colors)[1]
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


def test_the_training_runs_own_precision_changes_no_bit() -> None:
    image, regions = make_images(size=(64, 64))
    recipe, convert = make_recipe(3, make_store()), ColorTransfer()
    exact = images(convert, image, regions, recipe)
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(images(convert, image, regions, recipe), exact)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


GENTLE = {"lab": (55.0, 2.0, 4.0, 3.0, 3.0, 3.0), "rgb": (120.0, 130.0, 110.0, 9.0, 9.0, 9.0)}


@pytest.mark.parametrize("colors", ["lab", "rgb"])
@pytest.mark.parametrize("region", [0, 3], ids=["an area", "the whole image"])
def test_what_was_converted_has_the_targets_statistics(colors: Colors, region: int) -> None:
    image, regions = make_images(size=(64, 64))
    regions[regions == 255] = 1
    point = torch.tensor(GENTLE[colors])
    recipe = chosen(make_recipe(3, make_store()), region).replace(parameter=point.expand(3, 4, 6))
    after = Scenes(images(ColorTransfer(colors, max_gain=100.0), image, regions, recipe), regions, 3)
    measured = after.measured(colors)[1]
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
    expected, pooled = together.measured("lab")[1], of_images(image, regions).pooled()
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
    before = Scenes(image, regions, 3).measured("lab")[1]
    converted = images(individual(sources, max_gain=100.0), image, regions, recipe)
    after = Scenes(converted, regions, 3).measured("lab")[1]
    there, usual = before.count[:, 0] > 0, sources.pooled()
    apart = ((before.mean - usual.mean) / usual.std.clamp(min=1.0))[there, 0]
    assert apart.abs().max() > 0.2
    assert torch.allclose(after.mean[there, 0], point[:3] + apart * point[3:], atol=0.3)
    assert torch.allclose(after.std[there, 0], point[3:].expand_as(apart), atol=0.3)


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
    doubled = torch.cat([recipe.parameter[..., :3], source.measured("lab")[1].std.clamp(min=1.0) * 2], dim=-1)
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
