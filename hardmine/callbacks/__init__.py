"""Lightning callbacks: they decide when and record; they do not compute."""

from hardmine.callbacks.adversarial_style import AdversarialStyle
from hardmine.callbacks.checkpoint import AtomicCheckpointIO, Snapshot
from hardmine.callbacks.curve import Curve
from hardmine.callbacks.hard_mining import HardMining
from hardmine.callbacks.pictures import Pictures
from hardmine.callbacks.progress import MiningProgress

__all__ = ["AdversarialStyle", "AtomicCheckpointIO", "Curve", "HardMining", "MiningProgress", "Pictures", "Snapshot"]
