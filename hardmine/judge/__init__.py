"""What a model says of candidates: recognition accuracy, and which gate refuses them (R22-R24)."""

from hardmine.judge.judge import Judge, split, without_trace

__all__ = ["Judge", "split", "without_trace"]
