import numpy as np
import pytest
import skimage.color
import torch
from conftest import make_images

from hardmine.kernels import Way, fused, measure, reference
from hardmine.kernels.color import Colors
from hardmine.kernels.statistics import region_counts, region_statistics, region_sums


@pytest.mark.parametrize("way", [fused, reference])
def test_statistics_agree_with_a_loop_over_areas_in_scikit_image_and_numpy(way: Way) -> None:
    image, regions = make_images(batch=2, areas=3)
    measured = way.measure(image, regions, 3, "lab")
    for row in range(2):
        lab = skimage.color.rgb2lab(image[row].permute(1, 2, 0).numpy())
        for area in range(3):
            pixels = lab[regions[row].numpy() == area]
            assert measured.count[row, area] == len(pixels)
            if len(pixels):
                assert np.allclose(measured.mean[row, area], pixels.mean(0), atol=2e-3)
                assert np.allclose(measured.std[row, area], pixels.std(0), atol=2e-3)
        assert np.allclose(measured.mean[row, 3], lab.mean((0, 1)), atol=2e-3)
        assert np.allclose(measured.std[row, 3], lab.std((0, 1)), atol=2e-3)
        assert measured.count[row, 3] == regions[row].numel()


def test_by_hand() -> None:
    lab = torch.tensor([[[10.0, 30.0, 50.0, 70.0], [0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 1.0, 1.0]]])
    measured = region_statistics(lab, torch.tensor([[0, 0, 1, 255]], dtype=torch.uint8), 3)
    assert torch.allclose(measured.mean[0, :, 0], torch.tensor([20.0, 50.0, 0.0, 40.0]))
    assert torch.allclose(measured.std[0, :, 0], torch.tensor([10.0, 0.0, 0.0, 500**0.5]))
    assert measured.count[0].tolist() == [2, 1, 0, 4]


@pytest.mark.parametrize("areas", [1, 5, 255])
@pytest.mark.parametrize("pixels", [64, 10_001])
def test_any_number_of_areas_and_pixels(areas: int, pixels: int) -> None:
    regions = (torch.arange(pixels) % areas).byte()[None]
    (sums,) = region_sums(regions, areas, torch.ones(1, 1, pixels))
    assert sums.shape == (1, 1, areas + 1)
    assert sums[0, 0, :-1].tolist() == [len(range(area, pixels, areas)) for area in range(areas)]
    assert sums[0, 0, -1] == pixels
    every = torch.ones(1, 1, pixels, dtype=torch.bool)
    assert torch.equal(region_counts(regions, areas, every), sums)
    assert torch.equal(region_counts(torch.full_like(regions, 255), areas, every)[0, 0, :-1], torch.zeros(areas))


@pytest.mark.parametrize("colors", ["lab", "rgb"])
def test_both_ways_measure_the_same(colors: Colors) -> None:
    image, regions = make_images(batch=3, areas=3)
    mine, other = (way.measure(image, regions, 4, colors) for way in (fused, reference))
    assert torch.equal(mine.count, other.count)
    assert torch.allclose(mine.mean, other.mean, atol=1e-3) and torch.allclose(mine.std, other.std, atol=1e-3)


def test_padding_is_no_part_of_the_whole_image() -> None:
    image, regions = make_images(batch=3, areas=3, size=(24, 32))
    sizes = [(24, 32), (12, 20), (24, 32)]
    image[1, :, 12:], image[1, :, :, 20:], regions[1, 12:], regions[1, :, 20:] = 0, 0, 255, 255
    extent = torch.tensor([[1.0, 1.0], [0.5, 20 / 32], [1.0, 1.0]])
    together = measure(image, regions, 3, "lab", extent)
    for row, (height, width) in enumerate(sizes):
        part = image[row : row + 1, :, :height, :width], regions[row : row + 1, :height, :width]
        alone = measure(*part, 3, "lab")
        for name, value in alone.tensors().items():
            assert torch.equal(together.tensors()[name][row : row + 1], value)
        assert together.count[row, -1] == height * width


def test_statistics_have_a_slope_where_an_area_is_flat_or_absent() -> None:
    image = torch.full((1, 3, 4, 4), 90.0)
    image[:, :, 2:] += torch.arange(8.0).view(2, 4)
    image.requires_grad_(True)
    regions = torch.tensor([[0] * 8 + [1] * 8], dtype=torch.uint8).view(1, 4, 4)
    measured = reference.measure(image, regions, 3, "lab")
    (measured.std.sum() + measured.mean.sum()).backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None and image.grad.isfinite().all() and image.grad.any()


@pytest.mark.parametrize("way", [fused, reference])
@pytest.mark.parametrize("size", [(7, 5), (33, 57), (48, 64)])
def test_an_image_is_measured_alike_in_any_batch(way: Way, size: tuple[int, int]) -> None:
    """To the last bit of a float, also where the pixels are no multiple of what a processor takes in one go."""
    image, regions = make_images(batch=5, areas=3, size=size)
    together = way.measure(image, regions, 3, "lab")
    for row in (slice(0, 1), slice(1, 3), slice(4, 5)):
        alone = way.measure(image[row], regions[row], 3, "lab")
        assert torch.equal(alone.mean, together.mean[row]) and torch.equal(alone.std, together.std[row])
