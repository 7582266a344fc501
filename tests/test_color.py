import kornia
import pytest
import skimage.color
import torch

from hardmine.kernels.color import lab_to_linear, lab_to_srgb, srgb_to_lab


@pytest.fixture(scope="module")
def levels() -> torch.Tensor:
    """(1, 3, P): every 15th level of each channel in all combinations, and all greys."""
    axis = torch.arange(0, 256, 15, dtype=torch.uint8)
    grid = torch.cartesian_prod(axis, axis, axis).T
    greys = torch.arange(256, dtype=torch.uint8).expand(3, -1)
    return torch.cat([grid, greys], dim=1)[None]


def test_lab_agrees_with_kornia(levels: torch.Tensor) -> None:
    expected = kornia.color.rgb_to_lab((levels.double() / 255)[..., None])[..., 0]
    assert (srgb_to_lab(levels, torch.float64) - expected).abs().max() < 1e-3
    assert (srgb_to_lab(levels) - expected).abs().max() < 1e-3


def test_lab_agrees_with_scikit_image(levels: torch.Tensor) -> None:
    expected = torch.from_numpy(skimage.color.rgb2lab(levels[0].T.numpy())).T
    assert (srgb_to_lab(levels)[0] - expected).abs().max() < 1e-3


def test_every_one_of_the_16_million_colours_survives_the_way_there_and_back() -> None:
    """What is not converted stays bit-equal because of this, also where a device rounds in another way."""
    green, blue = (x.flatten().byte() for x in torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij"))
    for red in range(256):
        colours = torch.stack([torch.full_like(green, red), green, blue])
        lab = srgb_to_lab(colours)
        assert torch.equal(lab_to_srgb(lab), colours)
        assert torch.equal(lab_to_srgb(lab + 2e-3), colours)


def test_srgb_agrees_with_kornia_in_and_outside_the_gamut() -> None:
    generator = torch.Generator().manual_seed(0)
    low, span = torch.tensor([0.0, -128.0, -128.0]), torch.tensor([100.0, 255.0, 255.0])
    lab = (torch.rand(5000, 3, generator=generator) * span + low).T[None].contiguous()
    expected = kornia.color.lab_to_rgb(lab.double()[..., None])[..., 0] * 255
    assert (lab_to_srgb(lab).double() - expected).abs().max() < 0.5 + 0.05


def test_linear_scale_is_a_factor() -> None:
    lab = torch.rand(2, 3, 10) * 50
    assert torch.allclose(lab_to_linear(lab, scale=4.0), lab_to_linear(lab) * 4, rtol=1e-5, atol=1e-5)


def test_arguments_stay_as_they_are(levels: torch.Tensor) -> None:
    lab = srgb_to_lab(levels)
    kept = lab.clone()
    lab_to_srgb(lab)
    assert torch.equal(lab, kept)
