"""Finds, during training, the colour environments a vision model fails in, and trains on them.

The names below are the library; each is imported when first asked for, so that the core works without Lightning.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "AdjacentCell": "hardmine.neighbourhood",
    "AffineObject": "hardmine.conversions",
    "AssociatedCell": "hardmine.neighbourhood",
    "Auto": "hardmine.neighbourhood",
    "Blend": "hardmine.neighbourhood",
    "Chain": "hardmine.conversions",
    "ClassRate": "hardmine.judge.scoring",
    "ColorTransfer": "hardmine.conversions",
    "Confidence": "hardmine.judge.scoring",
    "CorrectRate": "hardmine.judge.scoring",
    "Enumeration": "hardmine.first",
    "EnvironmentTable": "hardmine.store.environment",
    "Exhaustive": "hardmine.first",
    "First": "hardmine.first",
    "Gain": "hardmine.judge.gates",
    "Gamut": "hardmine.judge.gates",
    "Generate": "hardmine.neighbourhood",
    "HardMining": "hardmine.callbacks",
    "InputError": "hardmine.errors",
    "Judge": "hardmine.judge",
    "Ledger": "hardmine.memory.ledger",
    "Miner": "hardmine.miner",
    "MiningDataModule": "hardmine.data.mining",
    "Mixture": "hardmine.neighbourhood",
    "Outline": "hardmine.conversions",
    "ParameterStore": "hardmine.store",
    "PixelRate": "hardmine.judge.scoring",
    "Random": "hardmine.neighbourhood",
    "RecipeBuffer": "hardmine.memory.buffer",
    "Reframe": "hardmine.conversions",
    "Reliability": "hardmine.judge.scoring",
    "SameCell": "hardmine.neighbourhood",
    "Scenes": "hardmine.scenes",
    "Search": "hardmine.search",
    "Select": "hardmine.neighbourhood",
    "Sharpen": "hardmine.conversions",
    "Smooth": "hardmine.conversions",
    "Stopping": "hardmine.memory.stopping",
    "Teacher": "hardmine.judge.gates",
    "Update": "hardmine.update",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hardmine' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
