from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from conftest import make_recipe, make_store

from hardmine.errors import InputError
from hardmine.memory.ledger import Ledger
from hardmine.records import Distribution, Recipe, Verdict


def append(ledger: Ledger, step: int, n: int = 3) -> Recipe:
    recipe = make_recipe(n, make_store())
    score = torch.linspace(0, 1, n)
    ledger.append(
        recipe,
        Verdict(score, score[:, None].expand(-1, 4), score < 0.7, torch.full((n,), -1), torch.full((n,), step), -score),
    )
    return recipe


def test_every_verdict_with_its_whole_recipe(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    recipe = append(ledger, 0)
    ledger.flush()
    append(ledger, 1)
    ledger.flush()
    ledger.flush()  # nothing new: no part
    table = ledger.read()
    assert table["step"].to_pylist() == [0, 0, 0, 1, 1, 1]
    assert table["hard"].to_pylist()[:3] == [True, True, False]
    assert torch.equal(torch.tensor(table["parameter"].to_pylist()[1]).view(4, 6), recipe.parameter[1])
    assert sorted(path.name for path in (tmp_path / "ledger").iterdir()) == [
        "to_step_000000000.parquet",
        "to_step_000000001.parquet",
    ]


def test_nothing_is_doubled_after_a_resume(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    for step in range(4):
        append(ledger, step)
        if step != 0:
            ledger.flush()  # parts: steps 0-1, 2, 3
    again = Ledger(tmp_path / "ledger")
    again.truncate(1)
    assert again.read()["step"].to_pylist() == [0, 0, 0]
    append(again, 1)
    again.flush()
    assert again.read()["step"].to_pylist() == [0, 0, 0, 1, 1, 1]


def test_an_empty_ledger_is_an_empty_table(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "none")
    ledger.truncate(0)
    assert ledger.read().num_rows == 0


def test_pieces_come_back_as_they_were(tmp_path: Path) -> None:
    ledger, recipe = Ledger(tmp_path), make_recipe(3, make_store())
    score = torch.tensor([0.1, 0.9, 0.2])
    numbered = recipe.replace(piece=torch.tensor([1, -1, 0]))
    ledger.append(
        numbered, Verdict(score, score[:, None].expand(-1, 4), score < 0.7, torch.full((3,), -1), score.long(), -score)
    )
    ledger.flush()
    pieces = ledger.pieces()
    assert pieces.piece.tolist() == [0, 1]
    for name, value in numbered[torch.tensor([2, 0])].tensors().items():
        assert torch.equal(value, pieces.tensors()[name]), name
        assert value.dtype == pieces.tensors()[name].dtype, name


def test_a_ledger_without_pieces_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no piece was found: raise the threshold"):
        Ledger(tmp_path).pieces()


USUAL = Distribution(torch.rand(1, 4, 3), torch.rand(1, 4, 3), torch.tensor([[7, 0, 1 << 40, 9]]))


def same(one: Distribution | None) -> bool:
    return one is not None and all(torch.equal(value, one.tensors()[name]) for name, value in USUAL.tensors().items())


def test_what_was_usual_stands_beside_the_verdicts(tmp_path: Path) -> None:
    """Bit for bit, since pieces are made again of it; readers of the table see nothing of it."""
    ledger = Ledger(tmp_path)
    append(ledger, 0)
    ledger.flush()
    assert ledger.learnt() is None
    ledger.usual = USUAL
    append(ledger, 1)
    ledger.flush()
    assert same(Ledger(tmp_path).learnt())
    assert Ledger(tmp_path).learnt() is not USUAL
    assert ledger.read()["step"].to_pylist() == [0, 0, 0, 1, 1, 1]
    assert not ledger.read().schema.metadata


def test_what_was_usual_outlives_a_part_that_is_cut(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.usual = USUAL
    append(ledger, 0)
    append(ledger, 1)
    ledger.flush()
    Ledger(tmp_path).truncate(1)
    assert pq.read_table(tmp_path / "to_step_000000000.parquet").num_rows == 3
    assert same(Ledger(tmp_path).learnt())
