"""Random numbers of hardmine's own: keyed by what they are for, so that nothing global is read or moved."""

import hashlib
import random
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

_DEEPEST, _SHORT = 3, 64  # levels and containers that are looked into for generators
_NONE_INSIDE = (str, bytes, int, float, type(None), torch.Tensor, np.ndarray)
_PLAIN = {*_NONE_INSIDE, bool, torch.nn.Parameter}  # by their exact type, which is quicker to see
_CONTAINERS = {dict, list, tuple, set, OrderedDict}
_ABOVE = ("trainer", "_trainer", "_fabric", "_parameters", "_buffers", "_hparams")


def key(*parts: int | str) -> int:
    """A 63-bit number that depends on every part, alike on every machine and rank."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def keyed(*parts: int | str) -> torch.Generator:
    """A CPU generator for one purpose, for instance `keyed(seed, "propose", step)`."""
    return torch.Generator().manual_seed(key(*parts))


def chances(name: str, draws: Tensor) -> Tensor:
    """(N,) float64 in [0, 1): a number for each of N draws (int64), the same whenever it is asked for by that name."""
    return torch.tensor([key(name, draw) for draw in draws.tolist()], dtype=torch.float64) / 2.0**63


@contextmanager
def global_state_kept() -> Iterator[None]:
    """Whatever is drawn or seeded inside, Python's, NumPy's and torch's generators are afterwards as before.

    Of GPUs, that of the present device is kept, once one is in use.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_device = torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if on_device is not None:
            torch.cuda.set_rng_state(on_device)


@contextmanager
def state_kept(*holders: Any) -> Iterator[None]:
    """Attributes of objects, and generators in what they hold, are afterwards as before."""
    kept = [(holder, dict(vars(holder))) for holder in holders]
    try:
        with generators_kept(*holders):
            yield
    finally:
        for holder, attributes in kept:
            vars(holder).clear()
            vars(holder).update(attributes)


@contextmanager
def generators_kept(*holders: Any) -> Iterator[None]:
    """Generators that objects hold, or what these hold, are afterwards as before."""
    found = list(_generators(holders))
    torches = [(each, each.get_state()) for each in found if isinstance(each, torch.Generator)]
    arrays = [(each, each.state) for each in found if isinstance(each, np.random.BitGenerator)]
    pythons = [(each, each.getstate()) for each in found if isinstance(each, random.Random)]
    try:
        yield
    finally:
        for generator, state in torches:
            generator.set_state(state)
        for bits, array_state in arrays:
            bits.state = array_state
        for python, python_state in pythons:
            python.setstate(python_state)


def _generators(holders: Iterable[Any]) -> Iterator[Any]:
    """Those in attributes and short containers, some levels deep; modules are holders of their own."""
    seen: set[int] = set()
    waiting = [(holder, _DEEPEST) for holder in holders]
    while waiting:
        value, deep = waiting.pop()
        if id(value) in seen or isinstance(value, _NONE_INSIDE):
            continue
        seen.add(id(value))
        if isinstance(value, np.random.Generator):
            yield value.bit_generator
        elif isinstance(value, torch.Generator | np.random.BitGenerator | random.Random):
            yield value
        elif isinstance(value, dict | list | tuple):
            if deep and len(value) <= _SHORT:
                inside = value.values() if isinstance(value, dict) else value
                waiting += [(each, deep - 1) for each in inside if _may_hold(each)]
        elif deep and not isinstance(value, type):
            # what stands above a holder, as the trainer of a DataModule, is not its own
            attributes = getattr(value, "__dict__", {})
            waiting += [(each, deep - 1) for name, each in attributes.items() if name not in _ABOVE and _may_hold(each)]


def _may_hold(value: Any) -> bool:
    """Whether to look into it; most attributes of modules are empty containers and numbers."""
    kind = type(value)
    return kind not in _PLAIN and (kind not in _CONTAINERS or len(value) > 0)


def seed_globally(seed: int) -> None:
    """Seed the three generators that data sets draw their augmentation from; use inside `global_state_kept`."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
