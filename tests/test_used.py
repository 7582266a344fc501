"""Sparse marks of what was tried, against a dense table (R35)."""

import torch
from hypothesis import given, settings, strategies as st

from hardmine.memory.used import Used

SOURCES, TARGETS, REGIONS = 5, 7, 3  # sources -1 to 3


def marks(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.randint(-1, SOURCES - 1, (n,), generator=generator),
        torch.randint(TARGETS, (n,), generator=generator),
        torch.randint(REGIONS, (n,), generator=generator),
    )


def dense(used: Used) -> torch.Tensor:
    """(S, M, R) bool as `holds` tells it."""
    targets = torch.arange(TARGETS)[None, :, None].expand(SOURCES, -1, -1)
    return used.holds(torch.arange(-1, SOURCES - 1), targets, torch.arange(REGIONS))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 12), max_size=25))
def test_marks_equal_a_dense_table(seed: int, sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    used, table = Used(TARGETS, REGIONS), torch.zeros(SOURCES, TARGETS, REGIONS, dtype=torch.bool)
    for n in sizes:
        source, target, region = marks(n, generator)
        used.add(source, target, region)
        table[source + 1, target, region] = True
        assert torch.equal(dense(used), table)
        assert len(used) == table.sum()
        source, target, region = marks(9, generator)
        assert torch.equal(used.holds(source, target, region), table[source + 1, target, region])
        assert torch.equal(used.holds(source, target[:, None], 1), table[source + 1, target, 1][:, None])
    again = Used(TARGETS, REGIONS)
    again.load(used.state())
    assert torch.equal(dense(again), table)
    assert torch.equal(again.state(), used.state())


def test_few_lists_for_many_marks() -> None:
    used, generator = Used(TARGETS, REGIONS), torch.Generator().manual_seed(0)
    for _ in range(2000):
        used.add(torch.randint(10**9, (20,), generator=generator), *marks(20, generator)[1:])
    assert 39_990 < len(used) <= 40_000
    assert len(used._lists) < 16
    assert used.state().nbytes == 3 * 8 * len(used)


def test_nothing_is_used_at_first() -> None:
    used = Used(TARGETS, REGIONS)
    assert not dense(used).any() and not len(used)
    used.load(used.state())
    assert not len(used)
