"""What a model says of candidates: recognition accuracy, and which gate refuses them (R22-R24)."""

from hardmine.judge.average import Average, without_trace
from hardmine.judge.judge import Judge, split

__all__ = ["Average", "Judge", "split", "without_trace"]
