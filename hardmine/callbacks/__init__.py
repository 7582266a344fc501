"""Lightning callbacks: they decide when and record; they do not compute."""

from hardmine.callbacks.checkpoint import AtomicCheckpointIO, Snapshot
from hardmine.callbacks.pictures import Pictures
from hardmine.callbacks.progress import MiningProgress

__all__ = ["AtomicCheckpointIO", "MiningProgress", "Pictures", "Snapshot"]
