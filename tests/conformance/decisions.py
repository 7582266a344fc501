"""What the text leaves open, and how it is decided."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from conformance.conversion import alike, lab_of, made_again
from conformance.neighbourhood import expanded, frozen, learning, selects
from conformance.replay import expression_3, target_of
from conformance.runs import WHOLE, Runs


def flat_areas_are_floored_and_gains_capped(runs: Runs) -> None:
    """Water without contrast stays without; a deviation of 1.5 becomes 6 at most. The share of it is logged."""
    flat, capped = 0, 0
    run = frozen(runs)
    place = run.ledger.row_of_piece
    for piece in run.pieces:
        image, regions = run.source(piece)
        row = place[int(piece["piece"])]
        assert alike(run.image(piece), made_again(run, row, image, regions))
        lightness, before = lab_of(run.image(piece))[..., 0], lab_of(image)[..., 0]
        for area in np.unique(regions[regions < WHOLE]).tolist():
            s_std, t_std = before[regions == area].std(), run.ledger.parameter[row, area, 3]
            if s_std < 0.5:
                assert lightness[regions == area].std() < 0.5
                flat += 1
            elif t_std > 4.2 * s_std:
                assert lightness[regions == area].std() == pytest.approx(4 * s_std, rel=0.15)
                capped += 1
    assert flat and capped, (flat, capped)
    told: list[float] = []

    def watched(self: Any, values: dict[str, Any], **how: Any) -> None:
        told.extend(float(value) for name, value in values.items() if name == "mining/capped_gain")
        original(self, values, **how)

    from lightning import LightningModule

    original = LightningModule.log_dict
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LightningModule, "log_dict", watched)
        runs.train("trainer.max_steps=4", "trainer.log_every_n_steps=1")
    assert told and all(0 <= share <= 1 for share in told)


def an_area_that_the_target_lacks(runs: Runs) -> None:
    """19 pixels are too few: the area stays as it is, or takes the colours of the whole image."""
    table = pq.read_table(frozen(runs).path / "store.parquet")
    table = table.filter(pa.array([name == "t16" for name in table["target"].to_pylist()]))
    for number, few, converted in ((19, "keep", False), (19, "whole", True)):
        counts = [number if area == "road" else 100 for area in table["area"].to_pylist()]
        path = runs.folder / f"lacks{number}.parquet"
        at = table.column_names.index("pixels")
        pq.write_table(table.set_column(at, "pixels", pa.array(counts, pa.int64())), path)
        store = ("store=file", f"store.path={path}", f"store.missing={few}")
        run = frozen(runs, *store, "stopping.max_pieces=12")
        first = np.flatnonzero((run.ledger.target[:, 0] == 0) & run.ledger.counted[:, 0])
        assert len(first) >= 8
        assert (run.ledger.chosen[first, 1] == converted).all()
        if few == "whole":
            assert (run.ledger.parameter[first, 1] == run.store.parameters[0, WHOLE]).all()
        for piece in run.pieces if not converted else ():
            image, regions = run.source(piece)
            assert np.array_equal(run.image(piece)[regions == 1], image[regions == 1])


def what_is_generated_can_be_a_photograph(runs: Runs) -> None:
    """From a sky nearly black and without contrast: no mean and no deviation below 0, and 5 units around it at most."""
    path = runs.folder / "dark.parquet"
    columns = {"target": ["d"], "area": ["sky"], "pixels": [100]}
    points = {"mean_L": [2.0], "mean_a": [0.0], "mean_b": [0.0], "std_L": [1.0], "std_a": [1.0], "std_b": [1.0]}
    pq.write_table(pa.table({**columns, **points}), path)
    run = frozen(runs, "store=file", f"store.path={path}", "neighbourhood=generate")
    made = run.ledger.parameter[[row for _, row in expanded(run)], 0]
    assert len(made) >= 30
    assert (made[:, 0] >= 0).all() and (made[:, 3] >= 0).all()
    assert (made[:, 0] <= 7).all() and (made[:, 3] <= 6).all()
    assert (made[:, 0] > 4).any() and (made[:, 0] < 1).any() and (made[:, 3] > 3).any()


def what_is_hard_for_ever_leaves(runs: Runs) -> None:
    """Pieces are trained on so often, for so long, and so many of them; and a slow teacher may have to know them."""
    limits = ("buffer.max_replays=1", "buffer.max_age=2", "buffer.capacity=5")
    run = runs.train("mining.threshold=0.7", *limits, "trainer.max_steps=12")
    saved = torch.load(run.path / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    (buffer,) = (state["miner"]["buffer"] for state in saved.values() if "miner" in state)
    assert all(buffer["left"][why] > 0 for why in ("replayed", "aged", "evicted")), buffer["left"]
    gated = runs.train(
        "mining.threshold=0.7", "gate=teacher", "gate.teacher.min_score=1", "trainer.max_steps=8"
    ).summary
    assert gated["pieces"] == 0 and gated["refused"] > 2


def luminance_and_coherent_light_by_default(runs: Runs) -> None:
    """All areas of an image take one target, which lies inside Expr. 3 for each of them; luminance moves alone."""
    run = frozen(runs)
    assert all(target_of(run, row) >= -1 for row in range(len(run.ledger)))
    selects(run, expression_3)
    lab = frozen(runs, "neighbourhood.channels=lab", "neighbourhood=generate", "stopping.max_pieces=30")
    for each, moving in ((run, {0, 3}), (lab, set(range(6)))):
        moved = [
            (each.ledger.parameter[row] != each.ledger.parameter[step.piece])[each.ledger.counted[row]].any(0)
            for step, row in expanded(each)
            if target_of(each, row) < 0
        ]
        assert len(moved) >= 5 and set(np.flatnonzero(np.any(moved, axis=0)).tolist()) == moving


def when_to_stop(runs: Runs) -> None:
    """A budget of pieces; a hit rate that stays low; or the end of training."""
    budget = frozen(runs).summary
    assert budget["pieces"] >= 60 and "budget of 60 pieces" in budget["stopped"]
    rate = ("stopping.min_hit_rate=0.1", "stopping.window=4", "stopping.patience=2")
    low = runs.train("mining.threshold=0", *rate, "trainer.max_steps=6").summary
    assert low["candidates"] == 8 and "hit rate was under 10.0%" in low["stopped"] and low["steps"] == 6
    assert "stopped" not in learning(runs).summary


def void_is_never_converted_and_an_absent_area_never_hard(runs: Runs) -> None:
    """The upper rows have no label: they keep every bit and count for nothing. An absent area has no score."""
    run = frozen(runs)
    for piece in run.pieces:
        image, regions = run.source(piece)
        assert np.array_equal(run.image(piece)[regions == 255], image[regions == 255])
    without = run.ledger.source % 3 == 2
    assert without.any() and np.isnan(run.ledger.area_score[without, 2]).all()
    assert not np.isnan(run.ledger.area_score[~without]).any() and not run.ledger.present[without, 2].any()
    shares = run.ledger.score * 480
    assert np.allclose(shares, shares.round(), atol=1e-2), "of 480 pixels that have a label"
