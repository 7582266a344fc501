"""Finds, during training, the colour environments a vision model fails in, and trains on them.

The names below are the library; each is imported when first asked for, so that the core works without Lightning.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Auto": "hardmine.neighbourhood",
    "ColorTransfer": "hardmine.conversions",
    "First": "hardmine.neighbourhood",
    "Generate": "hardmine.neighbourhood",
    "HardMining": "hardmine.callbacks",
    "InputError": "hardmine.errors",
    "Ledger": "hardmine.ledger",
    "Miner": "hardmine.miner",
    "MiningDataModule": "hardmine.data.mining",
    "ParameterStore": "hardmine.store",
    "PixelRate": "hardmine.scoring",
    "Random": "hardmine.neighbourhood",
    "RecipeBuffer": "hardmine.buffer",
    "Select": "hardmine.neighbourhood",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hardmine' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
