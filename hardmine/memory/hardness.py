"""The comparison that decides what is hard where Th1 is a number."""

from torch import Tensor


def is_hard(score: Tensor, threshold: float) -> Tensor:
    """Whether each candidate becomes learning data (R24, R25, D47).

    Args:
        score: recognition accuracy in [0, 1], any shape; NaN where there was nothing to recognise.
        threshold: Th1. 0 admits nothing, anything above 1 admits every scored candidate.

    Returns:
        bool, the shape of `score`: strictly below Th1. NaN is never hard.
    """
    return score < threshold
