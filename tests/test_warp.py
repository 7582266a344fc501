"""Pixels and labels moved alike: both ways, against kornia's affine warp and by hand."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from kornia.geometry.transform import invert_affine_transform, warp_affine
from torch import Tensor

from hardmine import kernels
from hardmine.kernels import Beyond, Way, fused, reference

SEEDS = st.integers(0, 2**31 - 1)
BEYOND: tuple[Beyond, ...] = ("border", "zeros")


def make(seed: int, n: int = 3, size: tuple[int, int] = (23, 31)) -> tuple[Tensor, Tensor, Tensor]:
    """Images, label maps, and maps that turn, stretch and shift by up to half of everything."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(n, 3, *size, generator=generator) * 255
    labels = torch.randint(0, 256, (n, 2, *size), generator=generator).float()
    origin = torch.eye(2, 3) + (torch.rand(n, 2, 3, generator=generator) - 0.5)
    origin[..., 2] *= torch.tensor([size[1], size[0]])
    return pixels, labels, origin


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(BEYOND))
def test_both_ways_are_one(seed: int, beyond: Beyond) -> None:
    for one, other in zip(fused.warp(*make(seed), beyond), reference.warp(*make(seed), beyond), strict=True):
        assert torch.equal(one, other)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(BEYOND))
def test_it_is_the_affine_warp_of_kornia(seed: int, beyond: Beyond) -> None:
    pixels, labels, origin = make(seed)
    matrix = invert_affine_transform(origin.double()).float()
    size = (pixels.shape[2], pixels.shape[3])
    moved, placed = kernels.warp(pixels, labels, origin, beyond)
    # a pixel is 255 levels high, and where it comes from is rounded at some 1e-5 pixels in both
    assert (moved - warp_affine(pixels, matrix, size, "bilinear", beyond, align_corners=False)).abs().max() < 0.1
    other = warp_affine(labels, matrix, size, "nearest", beyond, align_corners=False)
    assert (placed != other).float().mean() < 0.005  # halfway between two pixels either may be the nearest


@pytest.mark.parametrize("way", [fused, reference])
@pytest.mark.parametrize("size", [(23, 31), (24, 32), (1, 7), (96, 130)])
def test_a_row_has_the_same_bits_in_any_batch(way: Way, size: tuple[int, int]) -> None:
    pixels, labels, origin = make(1, 9, size)
    moved, placed = way.warp(pixels, labels, origin, "border")
    for rows in (slice(0, 1), slice(4, 5), slice(3, 9), torch.tensor([8, 2, 2])):
        again, same = way.warp(pixels[rows], labels[rows], origin[rows], "border")
        assert torch.equal(again, moved[rows]) and torch.equal(same, placed[rows])


def test_memory_layout_changes_no_bit() -> None:
    pixels, labels, origin = make(2)
    last = torch.channels_last
    for one, other in zip(
        kernels.warp(pixels, labels, origin, "zeros"),
        kernels.warp(pixels.to(memory_format=last), labels.to(memory_format=last), origin, "zeros"),
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("way", [fused, reference])
def test_by_hand(way: Way) -> None:
    """What lies half a pixel to the right and one below: means of two, and what is outside."""
    pixels = torch.tensor([[[[0.0, 10, 20], [40, 60, 100]]]])
    origin = torch.tensor([[[1.0, 0, 0.5], [0, 1, 1]]])
    nearly = torch.tensor([[[1.0, 0, 0.4], [0, 1, 1]]])
    border, _ = way.warp(pixels, pixels, origin, "border")
    assert torch.allclose(border, torch.tensor([[[[50.0, 80, 100], [50, 80, 100]]]]), atol=1e-3)
    zeros, _ = way.warp(pixels, pixels, origin, "zeros")
    assert torch.allclose(zeros, torch.tensor([[[[50.0, 80, 50], [0, 0, 0]]]]), atol=1e-3)
    assert torch.equal(way.warp(pixels, pixels, nearly, "border")[1], torch.tensor([[[[40.0, 60, 100]] * 2]]))
    assert torch.equal(way.warp(pixels, pixels, nearly, "zeros")[1], torch.tensor([[[[40.0, 60, 100], [0, 0, 0]]]]))
