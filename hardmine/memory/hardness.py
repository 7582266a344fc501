"""The one comparison that decides what is hard."""

from torch import Tensor

DEFAULT = 0.70  # Th1 of R24, as a share of correct pixels


def is_hard(score: Tensor, threshold: float) -> Tensor:
    """Whether each candidate becomes learning data (R24, R25, D47).

    Args:
        score: recognition accuracy in [0, 1], any shape; NaN where there was nothing to recognise.
        threshold: Th1. 0 admits nothing, anything above 1 admits every scored candidate.

    Returns:
        bool, the shape of `score`: strictly below Th1. NaN is never hard.
    """
    return score < threshold
