"""Lightning callbacks: they decide when and record; they do not compute."""

from hardmine.callbacks.checkpoint import AtomicCheckpointIO, Snapshot
from hardmine.callbacks.hard_mining import HardMining
from hardmine.callbacks.pictures import Pictures

__all__ = ["AtomicCheckpointIO", "HardMining", "Pictures", "Snapshot"]
