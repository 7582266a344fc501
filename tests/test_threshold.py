import pytest
import torch

from hardmine.memory.hardness import is_hard


@pytest.mark.parametrize(
    ("score", "threshold", "hard"),
    [
        (0.69, 0.7, True),  # below
        (0.5, 0.5, False),  # equal: the comparison is strict
        (0.71, 0.7, False),  # above
        (float("nan"), 0.7, False),  # nothing to recognise is never hard
        (0.0, 0.0, False),  # Th1 = 0 admits nothing
        (1.0, 1.1, True),  # above 1 admits all
    ],
)
def test_hard(score: float, threshold: float, hard: bool) -> None:
    assert is_hard(torch.tensor([score]), threshold).tolist() == [hard]


def test_empty() -> None:
    assert is_hard(torch.empty(0), 0.7).shape == (0,)
