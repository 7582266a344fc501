"""Lightning callbacks: they decide when and record; they do not compute."""

from hardmine.callbacks.checkpoint import AtomicCheckpointIO, Snapshot
from hardmine.callbacks.finite import Finite
from hardmine.callbacks.kept import BestModelCheckpoint, EarlyStopping, LastModelCheckpoint
from hardmine.callbacks.pictures import Pictures
from hardmine.callbacks.progress import MiningProgress
from hardmine.callbacks.signals import Signals

__all__ = [
    "AtomicCheckpointIO",
    "BestModelCheckpoint",
    "EarlyStopping",
    "Finite",
    "LastModelCheckpoint",
    "MiningProgress",
    "Pictures",
    "Signals",
    "Snapshot",
]
