import numpy as np
import pytest
import skimage.color
import torch
from conftest import make_images

from hardmine.kernels.color import srgb_to_lab
from hardmine.kernels.statistics import region_statistics, region_sums


def test_statistics_agree_with_a_loop_over_areas_in_scikit_image_and_numpy() -> None:
    image, regions = make_images(batch=2, areas=3)
    measured = region_statistics(srgb_to_lab(image.flatten(2)), regions.flatten(1), 3)
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
