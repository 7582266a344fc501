from pathlib import Path

import torch
from conftest import make_recipe, make_store

from hardmine.ledger import Ledger
from hardmine.records import Recipe, Verdict


def append(ledger: Ledger, step: int, n: int = 3) -> Recipe:
    recipe = make_recipe(n, make_store())
    score = torch.linspace(0, 1, n)
    ledger.append(recipe, Verdict(score, score[:, None].expand(-1, 4), score < 0.7, torch.full((n,), step)))
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
    assert torch.equal(torch.tensor(table["mean"].to_pylist()[1]).view(4, 3), recipe.mean[1])
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
