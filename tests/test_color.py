"""The colours of single pixels, by measuring areas of one pixel and by converting to given means."""

import kornia
import pytest
import skimage.color
import torch

from hardmine import kernels
from hardmine.errors import InputError
from hardmine.kernels import Way, fused, reference
from hardmine.kernels.transfer import Table

AREAS = 250
WAYS = pytest.mark.parametrize("way", [fused, reference])


@pytest.fixture(scope="module")
def levels() -> torch.Tensor:
    """(3, P): every 15th level of each channel in all combinations, and greys."""
    axis = torch.arange(0, 256, 15, dtype=torch.uint8)
    grid = torch.cartesian_prod(axis, axis, axis).T
    greys = torch.arange(256, dtype=torch.uint8).expand(3, -1)
    both = torch.cat([grid, greys], dim=1)
    return both[:, : both.shape[1] // AREAS * AREAS]


def one_each(images: int) -> torch.Tensor:
    return torch.arange(AREAS, dtype=torch.uint8).expand(images, 1, AREAS)


def lab_of(way: Way, levels: torch.Tensor) -> torch.Tensor:
    """(3, P) float32."""
    image = levels.view(3, -1, 1, AREAS).transpose(0, 1)
    return way.measure(image, one_each(len(image)), AREAS, "lab").mean[:, :AREAS].flatten(0, 1).T


@WAYS
def test_lab_agrees_with_kornia_and_scikit_image(way: Way, levels: torch.Tensor) -> None:
    expected = kornia.color.rgb_to_lab((levels.double() / 255)[None, ..., None])[0, ..., 0]
    assert (lab_of(way, levels) - expected).abs().max() < 1e-3
    expected = torch.from_numpy(skimage.color.rgb2lab(levels.T.numpy())).T
    assert (lab_of(way, levels) - expected).abs().max() < 1e-3


@pytest.mark.parametrize("shift", [0.0, 2e-3])
def test_every_one_of_the_16_million_colours_survives_the_way_there_and_back(shift: float) -> None:
    """A map that moves nothing changes nothing, also where a processor rounds in another way."""
    green, blue = (x.byte() for x in torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij"))
    colours = torch.stack([torch.stack([torch.full_like(green, red), green, blue]) for red in range(256)])
    table = Table(torch.ones(256, 2).bool(), torch.ones(256, 2, 3), torch.full((256, 2, 3), shift), torch.arange(256))
    assert torch.equal(fused.convert(colours, torch.zeros_like(colours[:, 0]), table, "lab"), colours)


@WAYS
def test_srgb_agrees_with_kornia_in_and_outside_the_gamut(way: Way) -> None:
    generator = torch.Generator().manual_seed(0)
    low, span = torch.tensor([0.0, -128.0, -128.0]), torch.tensor([100.0, 255.0, 255.0])
    lab = torch.rand(20, AREAS + 1, 3, generator=generator) * span + low
    table = Table(torch.ones(20, AREAS + 1).bool(), torch.zeros_like(lab), lab, torch.zeros(20, dtype=torch.int64))
    made = way.convert(torch.full((1, 3, 1, AREAS), 90).byte(), one_each(1), table, "lab")
    expected = kornia.color.lab_to_rgb(lab[:, :AREAS].transpose(1, 2).double()[:, :, None]) * 255
    assert (made - expected).abs().max() < 0.5 + 0.05


def test_the_number_of_threads_changes_no_bit() -> None:
    """Nor what is shared out among them: some images are of several shares."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (2, 3, 300, 500), generator=generator).byte()
    regions = torch.randint(0, 5, (2, 300, 500), generator=generator).byte()
    random = [torch.rand(3, 5, 3, generator=generator) for _ in range(2)]
    table = Table(torch.ones(3, 5).bool(), random[0] + 0.5, random[1] * 9, torch.tensor([1, 0, 1]))
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            measured = fused.measure(image, regions, 4, "lab")
            found.append([measured.mean, measured.std, fused.convert(image, regions, table, "lab")])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    expected = reference.measure(image, regions, 4, "lab")
    assert torch.equal(measured.count, expected.count) and torch.allclose(measured.std, expected.std, atol=1e-3)


def test_a_flat_area_far_from_grey_has_no_deviation() -> None:
    image = torch.tensor([250, 3, 5]).byte().view(1, 3, 1, 1).expand(1, 3, 400, 400)
    measured = fused.measure(image, torch.zeros(1, 400, 400).byte(), 1, "lab")
    assert measured.std.max() < 1e-3


def test_the_way_can_be_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_taken", "auto")
    cpu, elsewhere = torch.device("cpu"), torch.device("meta")
    assert kernels._way(cpu) is fused and kernels._way(elsewhere) is reference
    kernels.take("reference")
    assert kernels._way(cpu) is reference
    kernels.take("fused")
    with pytest.raises(InputError, match="kernel=fused runs on a CPU, and the images lie on meta"):
        kernels._way(elsewhere)
    with pytest.raises(InputError, match="kernel must be one of auto, fused, reference, got 'numba'"):
        kernels.take("numba")  # type: ignore[arg-type]
