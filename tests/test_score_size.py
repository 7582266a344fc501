"""Candidates are scored at half size where that ranks them alike, and the run finds out whether it does."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from conftest import make_images, make_store
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.utils.data import default_collate

from hardmine import Chain, ColorTransfer, Mining, Mix, Reframe, Select
from hardmine.errors import InputError
from hardmine.judge.size import ScoreSize, rank_correlation
from hardmine.view.halved import half, halved_images, halved_maps

AREAS = ("area0", "area1", "area2")
SIZE = (192, 224)
Batch = dict[str, Tensor]


def batch_of(number: int, size: tuple[int, int] = SIZE, rows: int = 8) -> Batch:
    image, regions = make_images(rows, 3, size, seed=number)
    each = range(rows)
    made: Batch = default_collate(
        [
            {"image": image[row], "target": regions[row].long(), "regions": regions[row], "index": row, "draw": number}
            for row in each
        ]
    )
    return made


class Sizes(list[tuple[int, ...]]):
    """Of another type than what a judgement puts back."""


class Lightness(nn.Module):
    """Recognises areas in images of a certain lightness, whatever their size; `only` one size where that is told."""

    def __init__(self, only: tuple[int, int] | None = None, at_half: float = 1.0) -> None:
        super().__init__()
        self.gain, self.only, self.at_half = nn.Parameter(torch.tensor(1.0)), only, at_half
        self.seen = Sizes()

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(tuple(image.shape[2:]))
        if self.only is not None and image.shape[2:] != self.only:
            raise ValueError(f"made for {self.only}")
        level = image.float().mean(1, keepdim=True) * self.gain
        if image.shape[2:] != SIZE:
            level = level * self.at_half + (1 - self.at_half) * (255 - level)
        return torch.cat([level - 60 * number for number in range(3)], dim=1).cos()


def search(**settings: Any) -> Mining:
    mix = Mix(mined=0.0, score_size=settings.pop("score_size", "auto"))
    told = {"conversion": Chain([ColorTransfer(), Reframe(0.7)]), "start": 0, "areas": AREAS, "decay": 0.0}
    return Mining(make_store(20), **{"neighbourhood": Select(radius=10), "mix": mix, **told, **settings})


def steps(mining: Mining, net: nn.Module, numbers: range, size: tuple[int, int] = SIZE) -> Mining:
    for number in numbers:
        batch = batch_of(number, size)
        scenes = mining.read(batch)
        plan = mining.plan(scenes)
        mining.make(scenes, plan)
        mining.offer(scenes, mining.propose(plan))
        mining.judge(net)
        mining.settle()
    return mining


def test_it_goes_on_at_half_size_where_both_rank_candidates_alike(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        net = Lightness()
        mining = steps(search(), net, range(16))
    assert net.seen == [SIZE, (96, 128)] * 16  # 112 columns are no multiple of 32
    assert sum("scored at half size: the rank correlation of the first 128" in line for line in caplog.messages) == 1
    steps(mining, net, range(16, 18))
    assert net.seen[32:] == [(96, 128)] * 2
    assert mining.offered is not None
    assert mining.offered.converted.image.shape[2:] == (96, 128)
    assert mining.make(scenes := mining.read(batch_of(0)), mining.plan(scenes)).image.shape[2:] == SIZE


def test_it_goes_back_to_full_size_where_they_do_not(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        net = Lightness(at_half=0.0)
        mining = steps(search(), net, range(18))
    assert net.seen[-2:] == [SIZE] * 2
    assert sum("scored at full size from now on" in line for line in caplog.messages) == 1
    assert mining.state_dict()["score_size"]["half"] == 0


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"score_size": 1.0}, SIZE),
        ({"threshold": 0.5}, SIZE),  # a number means scores of full size
        ({}, (160, 224)),
    ],
)
def test_full_size_alone(settings: dict[str, Any], size: tuple[int, int]) -> None:
    net = Lightness()
    mining = steps(search(**settings), net, range(3), size)
    assert net.seen == [size] * 3
    same = steps(search(**{**settings, "score_size": 1.0}), Lightness(), range(3), size)
    assert mining.offered is not None
    assert same.offered is not None
    assert torch.equal(mining.offered.converted.image, same.offered.converted.image)
    assert mining.offered.score is not None
    assert same.offered.score is not None
    assert torch.equal(mining.offered.score, same.offered.score)


def test_half_size_from_the_second_search_on_where_it_is_asked_for() -> None:
    net = Lightness(at_half=0.0)
    steps(search(score_size=0.5), net, range(3))
    assert net.seen == [SIZE, (96, 128), (96, 128), (96, 128)]


def test_a_module_that_refuses_another_size_is_told_and_has_its_own(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        net = Lightness(only=SIZE)
        mining = steps(search(), net, range(3))
    assert net.seen == [SIZE, (96, 128), SIZE, SIZE]
    assert "the model refuses smaller images" in caplog.text
    same = steps(search(score_size=1.0), Lightness(), range(3))
    assert mining.offered is not None
    assert same.offered is not None
    assert mining.offered.score is not None
    assert same.offered.score is not None
    assert torch.equal(mining.offered.score, same.offered.score)


@pytest.mark.parametrize("stop", [7, 17])
def test_a_resumed_search_goes_the_same_way(stop: int) -> None:
    through = steps(search(), Lightness(), range(19))
    begun = steps(search(), Lightness(), range(stop))
    resumed = search()
    resumed.load_state_dict(begun.state_dict())
    net = Lightness()
    steps(resumed, net, range(stop, 19))
    assert net.seen[-1] == (96, 128)
    one, other = through.state_dict(), resumed.state_dict()
    assert torch.equal(one["miner"]["hardness"]["drops"]["drop"], other["miner"]["hardness"]["drops"]["drop"])
    assert one["score_size"]["half"] == other["score_size"]["half"] == 1


def test_a_checkpoint_that_knows_no_size_goes_on_at_full_size() -> None:
    saved = steps(search(), Lightness(), range(1)).state_dict()
    del saved["score_size"]
    resumed, net = search(), Lightness()
    resumed.load_state_dict(saved)
    steps(resumed, net, range(1, 3))
    assert net.seen == [SIZE] * 2


def test_full_size_is_come_back_to_with_the_level_of_its_scores() -> None:
    size = ScoreSize("auto")
    at_full = torch.rand(128, generator=torch.Generator().manual_seed(0))
    lines = size.look(torch.stack([0.4 - 0.2 * at_full, at_full], dim=1))
    assert len(lines) == 1
    assert size.shift == pytest.approx(float((1.2 * at_full - 0.4).mean()))
    assert not size.half


def test_rank_correlation_is_spearmans() -> None:
    values = torch.randint(9, (2, 50), generator=torch.Generator().manual_seed(0)).float()
    values[1] += values[0]
    assert rank_correlation(*values) == pytest.approx(spearmanr(*values.numpy()).statistic)


def test_sides_are_multiples_of_32_and_never_larger() -> None:
    assert [half(side) for side in (20, 32, 192, 224, 360, 480, 500)] == [20, 32, 96, 128, 192, 256, 256]


def _images() -> Iterator[Any]:
    image = torch.randint(256, (2, 3, 64, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    yield image
    yield image.float() / 255
    yield list(image.half())


@pytest.mark.parametrize("images", list(_images()))
def test_halved_images_keep_type_and_mean(images: Any) -> None:
    made = halved_images(images)
    assert type(made) is type(images)
    for image, smaller in zip(images, made, strict=True):
        assert smaller.dtype == image.dtype
        assert smaller.shape == (3, 32, 64)
        tolerance = 0.02 * float(image.float().max())
        assert float(smaller.float().mean()) == pytest.approx(float(image.float().mean()), abs=tolerance)


def test_halved_maps_keep_labels_in_any_form() -> None:
    maps = torch.arange(64).view(1, 64, 1).expand(2, 64, 64).int()
    assert halved_maps(maps)[0, :3, 0].tolist() == [1, 3, 5]
    assert halved_maps(maps[:, None]).shape == (2, 1, 32, 32)
    assert [each.shape for each in halved_maps([maps[0], maps[1, :32]])] == [(32, 32), (32, 32)]


@pytest.mark.parametrize("wanted", [0.25, True, "half"])
def test_another_size_is_refused(wanted: Any) -> None:
    with pytest.raises(InputError, match=r"score_size must be auto, 1\.0 or 0\.5, got"):
        Mix(score_size=wanted)
