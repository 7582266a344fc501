"""Whether a model sees in its training step what it sees when it is judged."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hardmine.errors import InputError
from hardmine.view.container import plain_tensor

_SAME = 0.02  # of the spread of the values: what rounding in half precision may leave


class Rehearsal:
    """One batch, judged before its training step; what reaches the first layer then is compared with what reaches it
    in the step.

    A step that normalises, augments or resizes the images itself would otherwise have its model judged on images that
    it never trains on.

    Args:
        module: what is trained.
        judge: runs the module on the batch as it is judged.
        given: whether the user has said how it is judged, `predict`.
    """

    def __init__(self, module: nn.Module, judge: Callable[[], Any], given: bool) -> None:
        self.given = given
        self._judged: Tensor | None = None
        self._trained: Tensor | None = None
        self._same = False
        layers: list[nn.Module] = []

        def judged(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            if self._judged is None and inputs and isinstance(inputs[0], Tensor):
                self._judged = _kept(inputs[0])
                layers.append(layer)

        hooks = [layer.register_forward_pre_hook(judged) for layer in _layers(module)]
        try:
            judge()
        finally:
            for hook in hooks:
                hook.remove()
        self._hooks = [layer.register_forward_pre_hook(self._train) for layer in layers]

    def _train(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor) and not self._same:
            self._trained = _kept(inputs[0])  # the last: callbacks may evaluate other images before the step
            self._same = self._judged is not None and _alike(self._judged, self._trained)

    def end(self) -> str | None:
        """After the training step.

        Returns:
            A line for people where the step changes the images in a way that may be chance; else None.

        Raises:
            InputError: the step changes all images alike, as a normalisation does, and `predict` has not been given.
        """
        for hook in self._hooks:
            hook.remove()
        judged, trained = self._judged, self._trained
        self._judged = self._trained = None
        if self._same or judged is None or trained is None:
            return None
        if not self.given and judged.shape == trained.shape and _alike(_fitted(judged, trained), trained):
            raise InputError(
                "training_step changes the values of the images before the model sees them "
                f"({_range(judged)} become {_range(trained)}) and candidates would be judged without that: give "
                "predict=lambda module, batch: logits, with what of it a prediction needs"
            )
        return (
            "training_step gives the model other images than it is judged on, augmented or resized ones: where a "
            "prediction needs that too, give predict=lambda module, batch: logits"
        )


def _layers(module: nn.Module) -> list[nn.Module]:
    """Those with parameters of their own; none of a compiled module, which would keep the hooks for good."""
    parts = list(module.modules())
    compiled = any(hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) for part in parts)
    if compiled:
        return []
    return [part for part in parts if vars(part)["_parameters"] and not isinstance(part, torch.jit.ScriptModule)]


def _kept(value: Tensor) -> Tensor:
    return plain_tensor(value.detach()).float().clone()


def _alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    return bool((one - other).abs().mean() <= _SAME * other.std() + 1e-6)


def _fitted(value: Tensor, to: Tensor) -> Tensor:
    """`value` with the gain and the offset of each channel that bring it nearest to `to`."""
    dims = [dim for dim in range(value.ndim) if dim != 1] if value.ndim > 1 else [0]
    mean, goal = value.mean(dims, keepdim=True), to.mean(dims, keepdim=True)
    centred = value - mean
    gain = (centred * (to - goal)).sum(dims, keepdim=True) / centred.square().sum(dims, keepdim=True).clamp(min=1e-12)
    return centred * gain + goal


def _range(value: Tensor) -> str:
    return f"{float(value.amin()):.3g} to {float(value.amax()):.3g}"
