"""Expr. 1 and 2 against an independent computation, and the promises of a conversion."""

import numpy as np
import pytest
import skimage.color
import torch
from conftest import make_images, make_recipe, make_store
from numpy.typing import NDArray

from hardmine.conversions import ColorTransfer
from hardmine.records import Recipe


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
        gain = np.minimum(recipe.std[row, area].numpy() / s_std, max_gain)
        out[inside] = (lab[inside] - s_mean) * gain + recipe.mean[row, area].numpy()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # colours outside the gamut are clipped, which is meant
        converted: NDArray[np.float64] = skimage.color.lab2rgb(out) * 255
    return converted


def test_agrees_with_scikit_image() -> None:
    image, regions = make_images(batch=3)
    store = make_store()
    recipe = Recipe.cat([make_recipe(1, store, target) for target in range(3)])
    convert = ColorTransfer(min_std=1.0, max_gain=4.0)
    converted, _ = convert(convert.measure(image, regions, 3), recipe)
    for row in range(3):
        expected = by_scikit_image(image[row].permute(1, 2, 0).numpy(), regions[row].numpy(), recipe, row, 1.0, 4.0)
        labelled = (regions[row] != 255).numpy()
        difference = np.abs(converted[row].permute(1, 2, 0).numpy() - expected)[labelled]
        assert difference.max() < 0.5 + 0.3  # half a level of rounding, and float32 statistics stretched by the gain
        assert (difference > 0.55).mean() < 0.01


def test_areas_not_chosen_and_void_are_bit_equal() -> None:
    image, regions = make_images()
    store = make_store()
    recipe = make_recipe(3, store)
    recipe = recipe.replace(chosen=recipe.chosen & torch.tensor([True, False, True, False]))
    convert = ColorTransfer()
    converted, _ = convert(convert.measure(image, regions, 3), recipe)
    untouched = ((regions == 1) | (regions == 255))[:, None].expand_as(image)
    assert torch.equal(converted[untouched], image[untouched])
    assert not torch.equal(converted, image)


def test_identity_parameters_give_the_same_image() -> None:
    image, regions = make_images()
    convert = ColorTransfer(min_std=0.0)
    source = convert.measure(image, regions, 3)
    recipe = make_recipe(3, make_store()).replace(mean=source.mean, std=source.std)
    assert torch.equal(convert(source, recipe)[0], image)


def test_clean_recipes_give_the_source() -> None:
    image, regions = make_images()
    convert = ColorTransfer()
    converted, capped = convert(convert.measure(image, regions, 3), Recipe.clean(torch.arange(3), torch.arange(3), 4))
    assert torch.equal(converted, image)
    assert capped.isnan()


def test_same_recipe_same_bits_in_any_batch() -> None:
    image, regions = make_images()
    store = make_store()
    recipe = make_recipe(3, store, target=2)
    convert = ColorTransfer()
    together, _ = convert(convert.measure(image, regions, 3), recipe)
    for row in range(3):
        one = slice(row, row + 1)
        alone, _ = convert(convert.measure(image[one], regions[one], 3), recipe[one])
        assert torch.equal(alone, together[one])


def test_the_training_runs_own_precision_changes_no_bit() -> None:
    image, regions = make_images(size=(64, 64))
    recipe, convert = make_recipe(3, make_store()), ColorTransfer()
    exact, _ = convert(convert.measure(image, regions, 3), recipe)
    torch.set_float32_matmul_precision("medium")
    try:
        assert torch.equal(convert(convert.measure(image, regions, 3), recipe)[0], exact)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_converted_areas_have_the_targets_statistics() -> None:
    image, regions = make_images(size=(64, 64))
    convert = ColorTransfer(max_gain=100.0)
    source = convert.measure(image, regions, 3)
    recipe = make_recipe(3, make_store())
    gentle = recipe.replace(
        mean=torch.full_like(recipe.mean, 0) + torch.tensor([55.0, 2.0, 4.0]), std=recipe.std * 0 + 3
    )
    converted, _ = convert(source, gentle)
    after = convert.measure(converted, regions, 3)
    present = source.count[:, :3] > 0
    assert torch.allclose(after.mean[:, :3][present], gentle.mean[:, :3][present], atol=0.3)
    assert torch.allclose(after.std[:, :3][present], gentle.std[:, :3][present], atol=0.3)


def test_the_gain_is_capped_and_counted() -> None:
    image, regions = make_images()
    recipe = make_recipe(3, make_store())
    recipe = recipe.replace(std=torch.full_like(recipe.std, 1000.0))
    convert = ColorTransfer(max_gain=2.0)
    source = convert.measure(image, regions, 3)
    converted, capped = convert(source, recipe)
    assert capped == 1
    doubled = recipe.replace(std=source.std.clamp(min=1.0) * 2)
    assert torch.equal(converted, convert(source, doubled)[0])


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
        ColorTransfer().measure(image, regions, 3)
