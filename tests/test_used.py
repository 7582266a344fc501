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


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, TARGETS), st.integers(0, TARGETS))
def test_the_marks_of_some_sources_in_a_part_of_the_store(seed: int, one: int, other: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    used = Used(TARGETS, REGIONS)
    for _ in range(4):
        used.add(*marks(8, generator))
    part, source = slice(min(one, other), max(one, other)), marks(6, generator)[0]  # a source may come twice
    found = torch.stack(used.marks(source, part), dim=1)
    table = torch.zeros(len(source), REGIONS, TARGETS, dtype=torch.bool)
    table[found[:, 0], found[:, 1], found[:, 2]] = True
    wanted = dense(used)[source + 1].transpose(1, 2).clone()
    wanted[..., : part.start], wanted[..., part.stop :] = False, False
    assert torch.equal(table, wanted)
    assert len(found) == table.sum()


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
    assert [len(column) for column in used.marks(torch.arange(3), slice(0, TARGETS))] == [0, 0, 0]
    used.load(used.state())
    assert not len(used)
