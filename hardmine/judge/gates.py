"""What may become a piece at all: limits against conversions that destroyed the label (decision 5 of the design)."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn

from hardmine.judge.average import Average
from hardmine.scenes import Scenes


class Gate(Protocol):
    """Looks at converted images beside their recognition accuracy."""

    def start(self, model: nn.Module) -> None:
        """Training begins with this model."""

    def step(self, model: nn.Module) -> None:
        """The model has been updated."""

    def __call__(self, source: Scenes, converted: Scenes, capped: Tensor, score: Callable[[Average], Tensor]) -> Tensor:
        """Whether each of N candidates may pass.

        Args:
            source: B scenes before the conversion; candidate n came from n // (N / B).
            converted: N scenes after it.
            capped: (N,) share of the chosen areas in which a limit of the conversion cut the parameter short.
            score: recognition accuracy (N,) that a moving average of the model has on the candidates.

        Returns:
            (N,) bool on the device of the images.
        """
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class _Stateless:
    def start(self, model: nn.Module) -> None:
        pass

    def step(self, model: nn.Module) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Gamut(_Stateless):
    """Refuses images in which too many pixels met black or white, or another end of the gamut, in a channel.

    Args:
        max_share: share of the pixels, in [0, 1], that lie at 0 or 255 and did not in the source.
    """

    def __init__(self, max_share: float = 0.2) -> None:
        if not 0 <= max_share <= 1:
            raise ValueError(f"max_share must be a share from 0 to 1, got {max_share}")
        self.max_share = max_share

    def __call__(self, source: Scenes, converted: Scenes, capped: Tensor, score: Callable[[Average], Tensor]) -> Tensor:
        """See `Gate`."""
        before = _at_an_end(source.image).repeat_interleave(len(converted) // len(source), dim=0)
        return (_at_an_end(converted.image) & ~before).float().mean(dim=(1, 2)) <= self.max_share


def _at_an_end(image: Tensor) -> Tensor:
    """(N, H, W) bool: a channel is 0 or 255."""
    return ((image == 0) | (image == 255)).any(dim=1)


class Gain(_Stateless):
    """Refuses conversions that the limit of the gain cut short: their areas do not have the colours of the target.

    Args:
        max_share: share of the chosen areas, in [0, 1], that may have met the limit.
    """

    def __init__(self, max_share: float = 0.5) -> None:
        if not 0 <= max_share <= 1:
            raise ValueError(f"max_share must be a share from 0 to 1, got {max_share}")
        self.max_share = max_share

    def __call__(self, source: Scenes, converted: Scenes, capped: Tensor, score: Callable[[Average], Tensor]) -> Tensor:
        """See `Gate`."""
        return ~(capped > self.max_share)  # NaN, nothing chosen, passes


class Teacher:
    """A slow copy of the model, the moving average of its weights, must still recognise the image.

    What is hard for the present model and nothing at all for the slow one has lost its label in the conversion.

    Args:
        min_score: recognition accuracy of the teacher, in [0, 1], below which a candidate is refused.
        decay: share of the average that stays in each step, in [0, 1).
    """

    def __init__(self, min_score: float = 0.2, decay: float = 0.99) -> None:
        if not 0 <= min_score <= 1 or not 0 <= decay < 1:
            raise ValueError(f"min_score must be in [0, 1] and decay in [0, 1), got {min_score} and {decay}")
        self.min_score, self.average = min_score, Average(decay)
        self._saved: dict[str, Any] | None = None

    def start(self, model: nn.Module) -> None:
        """See `Gate`."""
        self.average.start(model, self._saved)
        self._saved = None

    def step(self, model: nn.Module) -> None:
        """See `Gate`."""
        self.average.follow(model)

    def __call__(self, source: Scenes, converted: Scenes, capped: Tensor, score: Callable[[Average], Tensor]) -> Tensor:
        """See `Gate`."""
        return score(self.average) >= self.min_score

    def state_dict(self) -> dict[str, Any]:
        return self.average.state_dict() or self._saved or {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._saved = state or None
