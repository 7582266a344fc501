"""The moving average of a model that judges: its tensors alone, run through the model's own uncompiled forward."""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hardmine.rng import generators_kept, global_state_kept

_COUNTS = 1 << 16  # values of a tensor that a forward may count in


class Average:
    """Exponential moving average of a module's parameters and buffers.

    No copy of the module is made, so that it may hold anything: locks, kept losses, weight norm, compiled parts.

    Args:
        decay: share, in [0, 1], of the average that stays in each step. 0 is the module as it is, 1 as it was at
            `start`.

    Raises:
        ValueError: another decay.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must be a share from 0 to 1, got {decay}")
        self.decay = decay
        self._tensors: dict[str, Tensor] = {}
        self._shared: Mapping[str, Tensor] = {}  # buffers in place of the module's

    @property
    def started(self) -> bool:
        return bool(self._tensors) or not self.decay

    def start(self, module: nn.Module, tensors: Mapping[str, Tensor] | None = None) -> None:
        """Begin with the module as it is, or with tensors that were kept of it; all lie where the module lies."""
        if self.decay:
            own = _tensors(module)
            self._tensors = {
                name: (tensors or own)[name].detach().to(device=value.device, dtype=_kept_as(value.dtype), copy=True)
                for name, value in own.items()
            }

    def follow(self, module: nn.Module, shared: Mapping[str, Tensor] | None = None, decay: float | None = None) -> None:
        """One step of the average; what is no floating point is taken as it is.

        A module whose parts have changed, as pruning does, is averaged from then on.

        Args:
            module: as it is now.
            shared: buffers that stand for the module's own, see `Ranks.buffers`.
            decay: of this step; None takes that of all steps.
        """
        self._shared = shared or {}
        if not self._tensors or self.decay == 1:
            return
        own = _tensors(module)
        own = {name: self._shared.get(name, value) for name, value in own.items()}
        if {name: value.shape for name, value in own.items()} != {n: v.shape for n, v in self._tensors.items()}:
            self.start(module)
            return
        pairs = [(old := self._tensors[name], new.detach().to(old.dtype)) for name, new in own.items()]
        average = get_ema_multi_avg_fn(self.decay if decay is None else decay)  # type: ignore[no-untyped-call]
        average(*map(list, zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)), None)
        for old, new in pairs:
            if not old.is_floating_point():
                old.copy_(new)

    def __call__(self, module: nn.Module, function: Callable[[nn.Module], Any]) -> Any:
        """What `function(module)` gives with the averaged tensors in place of the module's own; it leaves no trace."""
        tensors = {
            name: self._tensors.get(name, self._shared.get(name, value)).to(value.dtype)
            for name, value in _tensors(module).items()
        }
        tensors.update({name: value for name, value in module.named_buffers() if name not in tensors})
        buffers = {name for name, _ in module.named_buffers()}
        # a forward may count in a buffer: neither the module's nor the average's
        if len(list(module.named_modules(remove_duplicate=False))) > len(list(module.modules())):
            # functional_call would swap a part that has two names twice, and not put it back
            own = {name: value.clone() if name in buffers else value for name, value in tensors.items()}
            with without_trace(module), torch.compiler.set_stance("force_eager"), _in_place(module, own):
                return function(module)
        swapped = {f"module.{name}": value.clone() if name in buffers else value for name, value in tensors.items()}
        with without_trace(module), torch.compiler.set_stance("force_eager"):
            return functional_call(_Applied(module, function), swapped, ())

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged tensors; empty before `start`."""
        return {name: value.detach().clone() for name, value in self._tensors.items()}


@contextmanager
def _in_place(module: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Other tensors in every place of a module that holds one of these names, once for each place."""
    named = [*module.named_parameters(), *module.named_buffers()]
    other = {id(value): tensors[name] for name, value in named if name in tensors}
    places: list[dict[str, Any]] = [
        place for child in module.modules() for place in (vars(child)["_parameters"], vars(child)["_buffers"])
    ]
    kept = [(place, dict(place)) for place in places]
    for place, before in kept:
        place.update({name: other[id(value)] for name, value in before.items() if id(value) in other})
    try:
        yield
    finally:
        for place, before in kept:
            place.clear()
            place.update(before)


class _Applied(nn.Module):
    """A function of a module as a module, which is what `functional_call` takes."""

    def __init__(self, module: nn.Module, function: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self) -> Any:
        return self.function(self.module)


def _kept_as(dtype: torch.dtype) -> torch.dtype:
    """Half precision would lose what one step adds to an average."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and the buffers that a checkpoint keeps, by name."""
    state: dict[str, Tensor] = module.state_dict()
    known = {name for name, _ in module.named_parameters()} | {name for name, _ in module.named_buffers()}
    return {name: value for name, value in state.items() if name in known}


@contextmanager
def without_trace(module: nn.Module) -> Iterator[None]:
    """Evaluation inside a training run: no gradient, no BatchNorm update, no random number; every flag, and every
    attribute that a forward sets, is put back."""
    children = list(module.modules())
    kept = [(child, dict(vars(child)), child.training) for child in children]
    inside = [(value, value.copy()) for _, attributes, _ in kept for value in attributes.values() if _fills(value)]
    # neither parameters nor buffers, which an average has put its own in place of
    loose = [
        (value, value.clone(), value._version)
        for _, attributes, _ in kept
        for value in attributes.values()
        if _loose(value)
    ]
    logging = {name: _silent for name in ("log", "log_dict") if hasattr(module, name)}
    for child in children:
        if isinstance(child, torch.jit.ScriptModule):
            child.train(False)
        else:  # not by `eval`: some modules change their weights in it
            vars(child)["training"] = False
    vars(module).update(logging)  # what a forward logs is of the training step alone
    try:
        with torch.no_grad(), global_state_kept(), generators_kept(*children):
            yield
    finally:
        for child, attributes, training in kept:
            vars(child).clear()
            vars(child).update(attributes)
            if isinstance(child, torch.jit.ScriptModule):
                child.train(training)
        for tensor, values, version in loose:
            if tensor._version != version:
                tensor.copy_(values)
        for value, before in inside:
            value.clear()
            value.extend(before) if isinstance(value, list | deque) else value.update(before)


def _fills(value: Any) -> bool:
    """What a forward may put something into."""
    return type(value) in (list, dict, set, deque, OrderedDict, defaultdict)


def _loose(value: Any) -> bool:
    """A tensor that a forward may count in; one kept from validation's inference mode cannot be changed."""
    if not isinstance(value, Tensor) or value.requires_grad or value.is_inference():
        return False
    return value.numel() <= _COUNTS


def _silent(*_: Any, **__: Any) -> None:
    pass
