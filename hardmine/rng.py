"""Random numbers of hardmine's own: keyed by what they are for, so that nothing global is read or moved."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def key(*parts: int | str) -> int:
    """A 63-bit number that depends on every part, alike on every machine and rank."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def keyed(*parts: int | str) -> torch.Generator:
    """A CPU generator for one purpose, for instance `keyed(seed, "propose", step)`."""
    return torch.Generator().manual_seed(key(*parts))


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
    """Attributes of objects, and generators among them, are afterwards as before; what lies deeper is not kept."""
    kept = [(holder, dict(vars(holder))) for holder in holders]
    values = [value for _, attributes in kept for value in attributes.values()]
    torches = [(value, value.get_state()) for value in values if isinstance(value, torch.Generator)]
    numpys = [value.bit_generator for value in values if isinstance(value, np.random.Generator)]
    arrays = [(bits, bits.state) for bits in numpys]
    pythons = [(value, value.getstate()) for value in values if isinstance(value, random.Random)]
    try:
        yield
    finally:
        for holder, attributes in kept:
            vars(holder).clear()
            vars(holder).update(attributes)
        for generator, state in torches:
            generator.set_state(state)
        for bits, array_state in arrays:
            bits.state = array_state
        for python, python_state in pythons:
            python.setstate(python_state)


def seed_globally(seed: int) -> None:
    """Seed the three generators that data sets draw their augmentation from; use inside `global_state_kept`."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
