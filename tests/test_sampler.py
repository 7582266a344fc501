from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import make_recipe, make_store
from omegaconf import DictConfig
from test_library import TheirData, TheirModule

from hardmine.cli.train import train
from hardmine.data import MiningDataModule, MiningSampler
from hardmine.errors import InputError
from hardmine.memory.buffer import RecipeBuffer
from hardmine.neighbourhood import Random
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


def sampler(buffer: RecipeBuffer | None = None, sources: int = 10, **options: int) -> MiningSampler:
    return MiningSampler(sources, 4, 2, STORE.regions, 6, buffer, seed=3, **options)  # type: ignore[arg-type]


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
    return all(torch.equal(a.source, b.source) and torch.equal(a.draw, b.draw) for a, b in zip(one, two, strict=True))


def test_order_and_views_stay_what_they_were() -> None:
    """Checkpoints and ledgers of earlier runs refer to them."""
    (recipe,) = trained(sampler(), 1)
    assert recipe.source.tolist() == [6, 7, 0, 5]
    assert recipe.draw[0] == 5889684248207748550


def test_an_empty_buffer_changes_nothing() -> None:
    assert same(trained(sampler(None), 9), trained(sampler(RecipeBuffer()), 9))


def test_clean_rows_are_shuffled_passes_over_all_sources() -> None:
    drawn = torch.cat([recipe.source for recipe in trained(sampler(), 5)])
    assert sorted(drawn[:10].tolist()) == list(range(10))
    assert sorted(drawn[10:].tolist()) == list(range(10))
    assert drawn[:10].tolist() != drawn[10:].tolist()


def test_views_differ() -> None:
    views = torch.cat([recipe.draw for recipe in trained(sampler(), 5)])
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


# Labelled targets


def rows(recipe: Recipe) -> str:
    """What each row is: a source, a target or a piece."""
    kinds = zip(recipe.source.tolist(), recipe.piece.tolist(), strict=True)
    return "".join("p" if piece >= 0 else "t" if source >= 10 else "s" for source, piece in kinds)


@pytest.mark.parametrize(("pieces", "expected"), [(None, "stss"), (0, "stss"), (1, "stsp"), (2, "stpp"), (9, "stpp")])
@pytest.mark.parametrize("ranks", [1, 2])
def test_targets_stand_between_sources_and_pieces(pieces: int | None, expected: str, ranks: int) -> None:
    parts = []
    for rank in range(ranks):
        of = sampler(None if pieces is None else filled((pieces or 0) * ranks), targets=3, target_rows=1)
        of.rank, of.ranks = rank, ranks
        parts += trained(of, 1)
    assert [rows(part) for part in parts] == [expected] * ranks
    taken = torch.cat([part.source[part.piece < 0] for part in parts]).tolist()
    assert len(set(taken)) == len(taken)


def test_a_batch_may_be_pieces_and_targets_alone() -> None:
    of = sampler(filled(4), targets=2, target_rows=2)
    assert rows(trained(of, 1)[0]) == "ttpp"


def test_targets_are_shuffled_passes_of_their_own() -> None:
    with_targets = sampler(targets=3, target_rows=1)
    drawn = trained(with_targets, 6)
    assert len(with_targets) == len(sampler())  # batches of an epoch are counted over the sources
    found = torch.cat([recipe.source[1:2] for recipe in drawn])
    assert sorted(found[:3].tolist()) == sorted(found[3:].tolist()) == [10, 11, 12]
    assert len({view for recipe in drawn for view in recipe.draw.tolist()}) == 24
    sources = torch.cat([recipe.source[recipe.source < 10] for recipe in drawn])
    assert sources.tolist() == torch.cat([recipe.source for recipe in trained(sampler(), 5)])[:18].tolist()


def test_no_target_rows_draw_no_targets() -> None:
    assert same(trained(sampler(filled(1)), 9), trained(sampler(filled(1), targets=3), 9))


def test_a_piece_of_a_target_moves_on_to_a_source() -> None:
    buffer = filled(4)
    assert buffer.recipe is not None
    buffer.recipe = buffer.recipe.replace(source=torch.full((4,), 11))
    (recipe,) = trained(sampler(buffer, targets=3, target_rows=1, fresh_sources=True), 1)
    assert rows(recipe) == "stpp"
    assert (recipe.source[2:] < 10).all()


@pytest.mark.parametrize(
    ("mined", "target_rows", "pieces", "on_targets"),
    [
        (2, 1, 2, 1),  # one clean row of two is a target
        (2, 2, 2, 2),
        (1, 1, 1, 0),  # one of three
        (2, 1, 0, 0),
        (2, 0, 2, 0),
    ],
)
def test_targets_are_converted_in_their_share(mined: int, target_rows: int, pieces: int, on_targets: int) -> None:
    of = MiningSampler(
        *(10, 4, mined, STORE.regions, 6, filled(pieces) if pieces else None),
        fresh_sources=True,
        targets=4,
        target_rows=target_rows,
        convert_targets=True,
    )
    (recipe,) = trained(of, 1)
    made = recipe[recipe.piece >= 0]
    assert len(made) == pieces
    assert (made.source >= 10).sum() == on_targets
    assert (recipe.source >= 10).sum() == on_targets + target_rows
    assert len(set(recipe.source.tolist())) == 4  # all from the same passes


def test_an_update_batch_has_its_share_of_targets() -> None:
    of = sampler(targets=3, target_rows=1)
    of.ranks = 2
    pieces = make_recipe(4, STORE).replace(piece=torch.arange(4))
    assert rows(of.joined(pieces, stored=True)) == "stppstpp"
    assert rows(of.joined(pieces, stored=False)) == "pppp"


def test_targets_resume_with_batches_in_flight() -> None:
    options = {"sources": 40, "targets": 3, "target_rows": 1}
    expected = trained(sampler(filled(4), **options), 12)
    begun = sampler(filled(4), **options)
    iterator = iter(begun)
    for _ in range(3):
        next(iterator)
        begun.in_flight.popleft()
    next(iterator)  # drawn ahead
    again = sampler(begun.buffer, **options)
    again.load_state_dict(begun.state_dict())
    assert same(list(again), expected[3:10])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": 3, "target_rows": 3}, "target rows must be 0 to 2 beside 2 mined, got 3"),
        ({"target_rows": 1}, "1 target rows need target images, got 0"),
    ],
)
def test_rows_that_do_not_fit(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampler(None, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": 0.25}, "mining.targets needs labelled target images .* as target_sources"),
        ({"search_every": 0}, "mining.search_every must be >= 1 optimiser step, got 0"),
        ({"targets": 1.5, "target_sources": 2}, "mining.targets must be a share from 0 to 1, got 1.5"),
        ({"targets": 0.1, "target_sources": 2}, "mining.targets=0.1 is no row of data.batch_size=4: raise it"),
        ({"targets": 0.25, "target_sources": 5}, "3 training images are fewer than data.batch_size=4"),
    ],
)
def test_shares_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(**options)


def fit(**options: Any) -> tuple[MiningDataModule, TheirModule]:
    mining, module = MiningDataModule(TheirData(), make_store(), Random(), **options), TheirModule()
    trainer = L.Trainer(
        max_steps=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, mining)
    return mining, module


def test_targets_in_a_project_of_ones_own() -> None:
    mining, _ = fit(targets=0.25, target_sources=2)
    assert mining.sampler is not None and mining.miner is not None
    assert (mining.sampler.sources, mining.sampler.target_rows, len(mining.sampler)) == (6, 1, 1)
    assert len(mining.miner.graph.tried) == 8  # candidates are made of targets, too


@pytest.mark.parametrize(("targets", "rows"), [(0.25, (1, 2)), (0.5, (2, 1)), (1.0, (4, 0))])
def test_pieces_are_a_share_of_the_rows_that_are_no_targets(targets: float, rows: tuple[int, int]) -> None:
    mining, _ = fit(targets=targets, target_sources=2)
    assert mining.sampler is not None
    assert (mining.sampler.target_rows, mining.sampler.mined) == rows


WITH_TARGETS = ("mining.targets=0.25", "augment=color_jitter")


def weights(run: Path) -> list[torch.Tensor]:
    return list(torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"].values())


def test_mining_with_threshold_0_and_targets_trains_bit_equal_to_no_mining(
    configured: Callable[..., DictConfig], tmp_path: Path
) -> None:
    train(configured(*WITH_TARGETS, "mining.threshold=0", run="mined"))
    train(configured(*WITH_TARGETS, "neighbourhood=none", run="plain"))
    train(configured("augment=color_jitter", "neighbourhood=none", run="none"))
    mined, plain, none = (weights(tmp_path / run) for run in ("mined", "plain", "none"))
    assert all(map(torch.equal, mined, plain))
    assert not all(map(torch.equal, plain, none))


def test_a_run_with_targets_resumes_to_the_same_weights(configured: Callable[..., DictConfig], tmp_path: Path) -> None:
    options = (*WITH_TARGETS, "mining.threshold=1.1", "mining.start=1")
    whole = train(configured(*options, "trainer.max_steps=8", run="whole"))
    train(configured(*options, "trainer.max_steps=4", run="parts"))
    train(configured(*options, "trainer.max_steps=8", f"resume={tmp_path / 'parts'}", run="parts"))
    assert whole["pieces"] == 28
    assert all(map(torch.equal, weights(tmp_path / "whole"), weights(tmp_path / "parts")))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.counts.target=0"], "mining.targets: the data has no images in the split target: add some or"),
        (["update=batch", "update.every=3"], "update.every must be under data.batch_size=4 less 1 rows of"),
    ],
)
def test_runs_that_cannot_have_targets(
    configured: Callable[..., DictConfig], overrides: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(configured("mining.targets=0.25", *overrides))
