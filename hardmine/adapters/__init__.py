"""What Lightning calls: a DataModule around the user's data, and a callback. Both hold one `Mining` and no state."""

from hardmine.adapters.callback import HardMining
from hardmine.adapters.data import MiningDataModule

__all__ = ["HardMining", "MiningDataModule"]
