from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import make_images, make_store
from torch import Tensor, nn

from hardmine.judge import Average
from hardmine.judge.gates import Gain, Gamut, Gate, Teacher
from hardmine.mining import Mining
from hardmine.scenes import Scenes

NAN = float("nan")


def never(average: Average) -> Tensor:
    raise AssertionError("this gate needs no forward pass")


def passes(gate: Gate, source: Scenes, converted: Scenes, score: Callable[[Average], Tensor] = never) -> list[bool]:
    return gate(source, converted, torch.zeros(len(converted)), score).tolist()


def test_gamut_counts_pixels_that_were_not_at_an_end_before() -> None:
    image, regions = torch.full((2, 3, 10, 10), 100, dtype=torch.uint8), torch.zeros(2, 10, 10, dtype=torch.uint8)
    image[1, :, :5] = 255  # half of the second is white already
    source = Scenes(image, regions, 1)
    clipped = image.clone()
    clipped[:, 0, 5:7] = 0  # 20 more pixels in one channel
    assert passes(Gamut(0.2), source, source.replace(clipped)) == [True, True]
    assert passes(Gamut(0.19), source, source.replace(clipped)) == [False, False]
    assert passes(Gamut(0.0), source, source) == [True, True]


def test_gamut_knows_which_source_a_candidate_came_from() -> None:
    image, regions = torch.full((2, 3, 4, 4), 9, dtype=torch.uint8), torch.zeros(2, 4, 4, dtype=torch.uint8)
    image[1] = 0
    source = Scenes(image, regions, 1)
    twice = source[torch.tensor([0, 0, 1, 1])].replace(torch.zeros(4, 3, 4, 4, dtype=torch.uint8))
    assert passes(Gamut(0.5), source, twice) == [False, False, True, True]


def test_gain_refuses_what_met_the_limit() -> None:
    image, regions = make_images(batch=4)
    scenes = Scenes(image, regions, 3)
    capped = torch.tensor([0.0, 0.5, 0.6, NAN])
    assert Gain(0.5)(scenes, scenes, capped, never).tolist() == [True, True, False, True]


def test_the_teacher_is_the_moving_average_and_must_recognise() -> None:
    model, gate = nn.Linear(1, 1), Teacher(min_score=0.5, decay=0.9)
    expected = float(model.weight.detach())
    gate.start(model)
    for value in (1.0, 2.0, 3.0):
        with torch.no_grad():
            model.weight.fill_(value)
        gate.step(model)
        expected = 0.9 * expected + 0.1 * value
    seen: list[float] = []

    def score(teacher: Average) -> Tensor:
        seen.append(float(teacher.state_dict()["weight"]))
        return torch.tensor([0.4, 0.5, NAN])

    image, regions = make_images()
    scenes = Scenes(image, regions, 3)
    assert passes(gate, scenes, scenes, score) == [False, True, False]
    assert seen == [pytest.approx(expected)]
    again = Teacher(min_score=0.5, decay=0.9)
    again.load_state_dict(gate.state_dict())
    again.start(nn.Linear(1, 1))
    passes(again, scenes, scenes, score)
    assert seen[1] == seen[0]


@pytest.mark.parametrize("bad", [lambda: Gamut(2.0), lambda: Gain(-1.0), lambda: Teacher(3.0), lambda: Teacher(0.1, 1)])
def test_impossible_limits(bad: Callable[[], Gate]) -> None:
    with pytest.raises(ValueError, match="got"):
        bad()


class Refuses:
    """Lets no row pass but these."""

    def __init__(self, *passing: int) -> None:
        self.passing = passing

    def start(self, model: nn.Module) -> None:
        pass

    def step(self, model: nn.Module) -> None:
        pass

    def __call__(self, source: Scenes, converted: Scenes, capped: Tensor, score: Callable[[Average], Tensor]) -> Tensor:
        return torch.tensor([row in self.passing for row in range(len(converted))])

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def test_the_first_gate_that_refuses_is_named() -> None:
    """Whatever the candidate's score is; a hard one that is refused becomes no piece."""
    gates = [Refuses(0, 1), Refuses(0, 2)]
    mining = Mining(make_store(), threshold=1.1, hardest=1, start=0, gates=gates, areas=("area0", "area1", "area2"))
    image, regions = make_images(4)
    scenes = mining.read({"image": image, "regions": regions, "target": regions})
    mining.offer(scenes, mining.propose(mining.plan(scenes)), lambda batch: {**batch, "image": batch["image"] / 255})
    mining.judge(nn.Conv2d(3, 3, 1))
    settled = mining.settle()
    assert settled is not None
    recipe, verdict = settled
    assert verdict.gate.tolist() == [-1, 1, 0, 0] and verdict.hard.all()
    assert recipe.piece.tolist() == [0, -1, -1, -1]
    assert (mining.tally.pieces, mining.tally.refused) == (1, 3)
