"""What a model gives, in the one form that scorings take."""

import pytest
import torch

from hardmine.judge.prediction import are_probabilities, canonical

CLASSES = {"target": torch.zeros(8, dtype=torch.int64)}


def values(columns: int, seed: int = 0) -> torch.Tensor:
    """Eight rows in [0, 0.4]: no row sums to 1."""
    return 0.4 * torch.rand(8, columns, generator=torch.Generator().manual_seed(seed))


def test_small_logits_are_no_probabilities_for_long() -> None:
    """Those of a classifier that has hardly learnt lie in [0, 1] too; of one channel nothing else can tell."""
    small = values(2)
    assert are_probabilities(small, CLASSES, seen=0) is None
    assert are_probabilities(small, CLASSES, seen=900) is None
    assert are_probabilities(small, CLASSES, seen=1008) is True
    assert are_probabilities(small[:, :1], CLASSES, seen=56) is True
    assert are_probabilities(small.softmax(1), CLASSES, seen=0) is True
    assert are_probabilities(small - 0.3, CLASSES, seen=5000) is False


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_what_lies_outside_is_taken_as_logits_after_all(columns: int) -> None:
    held = values(columns)
    told = canonical(held, CLASSES, probabilities=True)
    assert torch.allclose(told.softmax(1)[:, -1], held[:, 0] if columns == 1 else held[:, -1] / held.sum(1))
    for outside in (-0.1, 1.1):
        moved = held.clone()
        moved[3, 0] = outside
        assert torch.equal(canonical(moved, CLASSES, probabilities=True), canonical(moved, CLASSES))
