import pytest

from hardmine.errors import InputError
from hardmine.memory.stopping import Stopping


def test_a_budget_of_pieces() -> None:
    stopping = Stopping(max_pieces=10)
    stopping.update(candidates=50, pieces=9)
    assert stopping.reason is None
    stopping.update(candidates=51, pieces=10)
    assert stopping.reason == "the budget of 10 pieces is spent"


def test_a_hit_rate_that_stays_low() -> None:
    stopping = Stopping(min_hit_rate=0.1, patience=2, window=100)
    for candidates, pieces in ((100, 9), (150, 9), (200, 19), (300, 28), (399, 30)):  # low, not due, exactly 10 %, low
        stopping.update(candidates, pieces)
        assert stopping.reason is None, candidates
    again = Stopping(min_hit_rate=0.1, patience=2, window=100)
    again.load_state_dict(stopping.state_dict())
    again.update(400, 32)
    assert again.reason == "the hit rate was under 10.0% in 2 checks in a row"
    once_more = Stopping(min_hit_rate=0.1)
    once_more.load_state_dict(again.state_dict())
    assert once_more.reason == again.reason


def test_nothing_stops_by_default() -> None:
    stopping = Stopping()
    for candidates in range(0, 10_000, 100):
        stopping.update(candidates, 0)
    assert stopping.reason is None


@pytest.mark.parametrize("bad", [{"max_pieces": 0}, {"min_hit_rate": 2.0}, {"patience": 0}, {"window": 0}])
def test_impossible_limits(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"stopping.{next(iter(bad))} must be"):
        Stopping(**bad)  # type: ignore[arg-type]
