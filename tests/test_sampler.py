import torch
from conftest import make_recipe, make_store

from hardmine.buffer import RecipeBuffer
from hardmine.data import MiningSampler
from hardmine.records import Recipe, Verdict

STORE = make_store()


def filled(pieces: int) -> RecipeBuffer:
    buffer = RecipeBuffer()
    score = torch.zeros(pieces)
    verdict = Verdict(
        score, score[:, None].expand(-1, 4), score < 0.7, torch.full((pieces,), -1), torch.zeros(pieces).long()
    )
    buffer.admit(make_recipe(pieces, STORE), verdict)
    return buffer


def sampler(buffer: RecipeBuffer | None = None, sources: int = 10, **options: bool) -> MiningSampler:
    return MiningSampler(sources, 4, 2, STORE.regions, 6, buffer, seed=3, **options)


def trained(of: MiningSampler, batches: int) -> list[Recipe]:
    """Draw and train on batches, across epochs."""
    drawn: list[Recipe] = []
    while len(drawn) < batches:
        for recipe in of:
            drawn.append(recipe)
            of.in_flight.popleft()
            if len(drawn) == batches:
                break
    return drawn


def same(one: list[Recipe], two: list[Recipe]) -> bool:
    return all(torch.equal(a.source, b.source) and torch.equal(a.view, b.view) for a, b in zip(one, two, strict=True))


def test_an_empty_buffer_changes_nothing() -> None:
    assert same(trained(sampler(None), 9), trained(sampler(RecipeBuffer()), 9))


def test_clean_rows_are_shuffled_passes_over_all_sources() -> None:
    drawn = torch.cat([recipe.source for recipe in trained(sampler(), 5)])
    assert sorted(drawn[:10].tolist()) == list(range(10))
    assert sorted(drawn[10:].tolist()) == list(range(10))
    assert drawn[:10].tolist() != drawn[10:].tolist()


def test_views_differ() -> None:
    views = torch.cat([recipe.view for recipe in trained(sampler(), 5)])
    assert len(set(views.tolist())) == 20


def test_pieces_stand_in_the_last_rows() -> None:
    for recipe in trained(sampler(filled(5)), 3):
        assert (recipe.piece[:2] == -1).all()
        assert (recipe.piece[2:] >= 0).all()
    (one,) = trained(sampler(filled(1)), 1)
    assert (one.piece >= 0).tolist() == [False, False, False, True]


def test_fresh_sources_take_the_light_and_leave_the_picture() -> None:
    (recipe,) = trained(sampler(filled(2), fresh_sources=True), 1)
    assert recipe.chosen[2:, :3].all()
    assert len(set(recipe.source.tolist())) == 4


def test_ranks_share_one_batch() -> None:
    parts = []
    for rank in range(2):
        of = sampler(filled(7))
        of.rank, of.ranks = rank, 2
        (part,) = trained(of, 1)
        assert (part.piece >= 0).tolist() == [False, False, True, True]
        parts.append(part)
    pieces = torch.cat([part.piece[2:] for part in parts])
    assert len(set(pieces.tolist())) == 4
    assert len({source for part in parts for source in part.source[:2].tolist()}) == 4


def test_resumes_in_the_middle_of_an_epoch_with_batches_in_flight() -> None:
    whole = sampler(filled(4), sources=40)
    expected = trained(whole, 12)
    begun = sampler(filled(4), sources=40)
    iterator = iter(begun)
    for _ in range(3):
        next(iterator)
        begun.in_flight.popleft()
    next(iterator)  # drawn ahead
    buffer = begun.buffer
    again = sampler(buffer, sources=40)
    again.load_state_dict(begun.state_dict())
    rest = list(again)
    assert len(rest) == 7
    assert same(rest, expected[3:10])
