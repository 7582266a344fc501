import io

import pytest
import torch
from conftest import make_recipe, make_store
from hypothesis import given, settings, strategies as st

from hardmine.memory.buffer import RecipeBuffer
from hardmine.memory.hardness import is_hard
from hardmine.records import Verdict

STORE = make_store()


def admit(buffer: RecipeBuffer, scores: list[float], step: int = 0) -> list[int]:
    score = torch.tensor(scores)
    verdict = Verdict(
        score,
        score[:, None].expand(-1, 4),
        is_hard(score, 0.7),
        torch.full((len(scores),), -1),
        torch.full((len(scores),), step),
        -score,
    )
    return buffer.admit(make_recipe(len(scores), STORE), verdict).piece.tolist()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_takes_in_hard_rows_and_numbers_them() -> None:
    buffer = RecipeBuffer()
    assert admit(buffer, [0.1, 0.9, 0.2, float("nan"), 0.7]) == [0, -1, 1, -1, -1]
    assert admit(buffer, [0.3]) == [2]
    assert len(buffer) == 3
    assert buffer.recipe is not None
    assert buffer.recipe.source.tolist() == [0, 2, 0]


def test_the_oldest_leave_when_it_is_full() -> None:
    buffer = RecipeBuffer(capacity=3)
    admit(buffer, [0.1, 0.2])
    admit(buffer, [0.3, 0.4])
    assert buffer.recipe is not None
    assert buffer.recipe.piece.tolist() == [1, 2, 3]
    assert torch.allclose(buffer.score, torch.tensor([0.2, 0.3, 0.4]))


def test_draws_different_pieces_and_drops_the_replayed() -> None:
    buffer = RecipeBuffer(max_replays=2)
    admit(buffer, [0.1, 0.2, 0.3])
    for _ in range(2):
        drawn = buffer.draw(5, 0, generator())
        assert drawn is not None
        assert sorted(drawn.piece.tolist()) == [0, 1, 2]
        buffer.replayed(drawn.piece)
    assert buffer.draw(5, 0, generator()) is None
    assert len(buffer) == 0


def test_drops_what_was_scored_too_long_ago() -> None:
    buffer = RecipeBuffer(max_age=10)
    admit(buffer, [0.1], step=0)
    admit(buffer, [0.2], step=5)
    drawn = buffer.draw(2, 11, generator())
    assert drawn is not None
    assert drawn.piece.tolist() == [1]


def test_empty() -> None:
    assert RecipeBuffer().draw(3, 0, generator()) is None


def test_state_loads_with_weights_only_and_draws_the_same() -> None:
    buffer = RecipeBuffer()
    admit(buffer, [0.1, 0.2, 0.3, 0.4])
    buffer.replayed(torch.tensor([2, 2, 3]))
    file = io.BytesIO()
    torch.save(buffer.state_dict(), file)
    file.seek(0)
    again = RecipeBuffer()
    again.load_state_dict(torch.load(file, weights_only=True))
    first, second = buffer.draw(3, 1, generator()), again.draw(3, 1, generator())
    assert first is not None
    assert second is not None
    for name, value in first.tensors().items():
        assert torch.equal(value, second.tensors()[name])
    assert admit(buffer, [0.1]) == admit(again, [0.1]) == [4]


def test_a_piece_takes_a_few_hundred_bytes() -> None:
    store = make_store(areas=11)
    buffer = RecipeBuffer()
    score = torch.zeros(100)
    verdict = Verdict(
        score,
        score[:, None].expand(-1, 12),
        score < 0.7,
        torch.full((100,), -1),
        torch.zeros(100).long(),
        -score,
    )
    buffer.admit(make_recipe(100, store), verdict)
    assert buffer.nbytes / 1024 < 500  # places at the beginning


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match=r"buffer\.capacity must be a number of pieces, 1 or more, got 0"):
        RecipeBuffer(capacity=0)


def test_all_are_drawn_alike_however_hard() -> None:
    chance, buffer = generator(), RecipeBuffer()
    admit(buffer, [0.0, 0.6])
    first = torch.cat([d.piece for _ in range(3000) if (d := buffer.draw(1, 0, chance)) is not None])
    assert abs(first.float().mean() - 0.5) < 0.04  # 4 deviations


def test_draws_go_on_as_they_always_did() -> None:
    """The order of exponential waiting times, so that a seed gives what it gave."""
    buffer = RecipeBuffer()
    admit(buffer, [0.1] * 50)
    waiting = -torch.rand(50, generator=generator(), dtype=torch.float64).log()
    drawn = buffer.draw(7, 0, generator())
    assert drawn is not None
    assert torch.equal(drawn.piece, waiting.argsort()[:7])


def test_replays_are_counted_when_told_and_not_by_drawing() -> None:
    buffer = RecipeBuffer(max_replays=3)
    admit(buffer, [0.1, 0.2, 0.3])
    for _ in range(9):
        assert buffer.draw(3, 0, generator()) is not None
    assert not buffer.replays.any()
    buffer.replayed(torch.tensor([1, 2, 1, -1, 77]))  # two ranks drew the same piece; others are no pieces, or gone
    assert buffer.replays.tolist() == [0, 2, 1]
    buffer.replayed(torch.tensor([2, 1, 2]))
    assert len(buffer) == 1 and buffer.left["replayed"] == 2
    buffer.replayed(torch.tensor([2, 0, 0, 0]))
    assert len(buffer) == 0
    buffer.replayed(torch.tensor([0]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_ranks_that_draw_on_their_own_keep_the_same_buffer(seed: int) -> None:
    """One rank draws every step, the other never: what they hold is the same when both are told the same."""
    chance = torch.Generator().manual_seed(seed)
    one, other = (RecipeBuffer(capacity=12, max_replays=3, max_age=6) for _ in range(2))
    for step in range(30):
        one.draw(4, step, chance)
        scores = torch.rand(3, generator=chance).tolist()
        numbers = torch.randint(-1, max(one.admitted, 1), (5,), generator=chance)
        for buffer in (one, other):
            admit(buffer, scores, step)
            buffer.replayed(numbers)
    first, second = (buffer.draw(12, 30, generator()) for buffer in (one, other))
    assert first is not None and second is not None
    assert torch.equal(first.piece, second.piece)
    assert torch.equal(one.replays, other.replays)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12))
def test_it_holds_what_a_list_would(seed: int, capacity: int) -> None:
    """Through gaps, full tables and states that are loaded again."""
    chance = torch.Generator().manual_seed(seed)
    buffer, held, number = RecipeBuffer(capacity, max_replays=2, max_age=5), dict[int, tuple[int, float, int]](), 0
    for step in range(25):
        scores = torch.rand(5, generator=chance).tolist()
        admit(buffer, scores, step)
        for score in scores:
            if score < 0.7:
                held[number] = (step, score, 0)
                number += 1
        held = dict(list(held.items())[-capacity:])
        drawn = buffer.draw(capacity, step, chance)
        held = {piece: value for piece, value in held.items() if step - value[0] <= 5}
        assert sorted([] if drawn is None else drawn.piece.tolist()) == list(held)
        told = torch.randint(-1, number + 1, (4,), generator=chance)
        buffer.replayed(told)
        held = {n: (at, score, times + told.tolist().count(n)) for n, (at, score, times) in held.items()}
        held = {n: value for n, value in held.items() if value[2] < 2}
        if step % 7 == 6:
            saved, buffer = buffer.state_dict(), RecipeBuffer(capacity, max_replays=2, max_age=5)
            buffer.load_state_dict(saved)
        assert len(buffer) == len(held)
        pieces = [] if buffer.recipe is None else buffer.recipe.piece.tolist()
        assert pieces == list(held)
        assert [*zip(buffer.step.tolist(), buffer.replays.tolist(), strict=True)] == [
            (a, t) for a, _, t in held.values()
        ]
        assert torch.equal(buffer.score, torch.tensor([score for _, score, _ in held.values()]))
        assert torch.equal(buffer.drops(torch.tensor([*pieces, -1, number])), torch.cat([buffer.drop, torch.zeros(2)]))


def test_an_admission_moves_nothing_that_is_held() -> None:
    buffer = RecipeBuffer()
    admit(buffer, [0.1] * 8)
    before = {name: table.data_ptr() for name, table in buffer._tables.items()}
    for _ in range(100):
        admit(buffer, [0.1] * 8)
    assert {name: table.data_ptr() for name, table in buffer._tables.items()} == before
