"""R28 to R40: the next parameter comes from the one that was hard."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conformance import replay
from conformance.replay import Next, accuracy_now, expression_3, expression_4, near, shifts, target_of, unused
from conformance.runs import Array, Run, Runs

TH1 = 0.7
FRESH = ("search.searches=1", "stopping.max_pieces=60", "sources=false")  # each source is searched once
Inside = Callable[[Array], Array]


def frozen(runs: Runs, *overrides: str) -> Run:
    """The first embodiment on all sources."""
    return runs.search(*FRESH, *overrides)


def figure_8(runs: Runs, *overrides: str) -> Run:
    """Luminance of the river alone, on a lattice: 6 apart in mean, 8 in deviation, so that diagonals are exactly 10."""
    path = runs.folder / "figure_8.parquet"
    points = [(mean, std) for mean in range(14, 75, 6) for std in (4, 12)]
    columns = {
        "target": [f"P{number}" for number in range(len(points))],
        "area": ["river"] * len(points),
        "mean_L": [float(mean) for mean, _ in points],
        "std_L": [float(std) for _, std in points],
    }
    pq.write_table(pa.table(columns), path)
    return frozen(runs, "store=file", f"store.path={path}", *overrides)


def learning(runs: Runs) -> Run:
    """The second embodiment: 30 updates."""
    return runs.learn("trainer.max_steps=30")


def experiments(runs: Runs) -> Iterator[Run]:
    """Both embodiments, one after the other."""
    yield frozen(runs)
    yield learning(runs)


def searches(runs: Runs) -> Iterator[Run]:
    """With a frozen model, on the measured store and on the lattice."""
    yield frozen(runs)
    yield figure_8(runs)


def expanded(run: Run, together: bool = True) -> list[tuple[Next, int]]:
    """Each piece that was followed by its neighbour, and the row of that."""
    ledger = run.ledger
    both = [(step, step.row) for step in replay.pieces(run, together) if step.row is not None]
    return [(step, row) for step, row in both if ledger.parent[row] == ledger.piece[step.piece]]


def the_next_parameter_comes_from_the_one_that_was_hard(runs: Runs) -> None:
    """Of the very source: converted and scored again, right after its piece; and of every piece that is still hard."""
    for run, together in zip(experiments(runs), (True, False), strict=True):
        ledger, place = run.ledger, run.ledger.row_of_piece
        follows = {row: step.piece for step, row in expanded(run, together)}
        neighbours = np.flatnonzero(ledger.parent >= 0).tolist()
        assert len(neighbours) >= 10
        for row in neighbours:
            parent = place[int(ledger.parent[row])]
            assert follows[row] == parent, "the piece before it, on the same source"
            assert ledger.source[row] == ledger.source[parent] and ledger.draw[row] == ledger.draw[parent]
            assert (ledger.chosen[row] == ledger.chosen[parent]).all() and ledger.depth[row] == ledger.depth[parent] + 1
            moved = shifts(run, parent, ledger.parameter[row])[ledger.counted[row]]
            assert expression_3(moved).all() and np.abs(moved).max() > 0
        for step in replay.pieces(run, together):
            if accuracy_now(run, step) < TH1:
                assert step.row in follows, "a hard piece is followed by its neighbour"


def the_graph_has_what_was_used(runs: Runs) -> None:
    """One graph for all inputs: how often each stored parameter was tried, as counted from the ledger (FIG. 8)."""
    for run in searches(runs):
        *_, (_, known) = replay.marks(run)
        assert (run.graph["uses"] == known.uses).all()
        assert (known.uses > 1).any() and (known.uses == 0).any()
        for name, axis in (("mean_L", run.store.axes.index("mean_L")), ("std_L", run.store.axes.index("std_L"))):
            assert (run.graph[name] == run.store.parameters[..., axis]).all()


def the_graph_has_the_latest_accuracy(runs: Runs) -> None:
    """At every used point that of the last image it was tried on, per area and of the whole."""
    for run in searches(runs):
        *_, (_, known) = replay.marks(run)
        assert np.array_equal(run.graph["accuracy"], known.accuracy.astype(np.float32), equal_nan=True)
        first: dict[int, float] = {}
        for row in range(len(run.ledger)):
            target = target_of(run, row)
            first.setdefault(target, run.ledger.score[row])
        assert any(known.accuracy[target, -1] != score for target, score in first.items() if target >= 0), "updated"


def selects(run: Run, inside: Inside, together: bool = True) -> None:
    """An unused stored parameter inside the second threshold while there is one, and then one is generated."""
    stored, generated, found = 0, 0, expanded(run, together)
    for step, row in found:
        able = near(run, step, inside(shifts(run, step.piece, run.store.parameters))) & unused(run, step)
        target = target_of(run, row)
        if able:
            assert target in able, f"{target} is none of {sorted(able)}"
            assert (run.ledger.parameter[row] == run.store.parameters[target])[run.ledger.counted[row]].all()
        else:
            assert target == -1, "none is left, so that one is generated"
            assert inside(shifts(run, step.piece, run.ledger.parameter[row]))[run.ledger.counted[row]].all()
        stored, generated = stored + bool(able), generated + (not able)
    assert stored >= 5 and generated >= 5, (stored, generated)


def unused_stored_parameters_are_selected(runs: Runs) -> None:
    selects(frozen(runs), expression_3)
    selects(learning(runs), expression_3, together=False)


def only_what_is_hard_by_now_is_expanded(runs: Runs) -> None:
    """Another image may have been recognised under the same parameter since: then the search ends."""
    learnt, kept = 0, 0
    for run in searches(runs):
        for step in replay.pieces(run):
            neighbour = step.row is not None and run.ledger.parent[step.row] >= 0
            if accuracy_now(run, step) < TH1:
                assert neighbour
                kept += 1
            else:
                assert not neighbour, "its parameter is not hard any more"
                learnt += 1
    assert learnt and kept, (learnt, kept)


def the_second_threshold_is_expression_3(runs: Runs) -> None:
    """On the lattice 6 and 8 are inside Rth2 = 10 and the diagonal, exactly 10, is not."""
    run = figure_8(runs)
    selects(run, expression_3)
    steps = [
        tuple(np.abs(shifts(run, step.piece, run.ledger.parameter[row])[2]))
        for step, row in expanded(run)
        if target_of(run, row) >= 0 <= target_of(run, step.piece)
    ]
    assert set(steps) == {(6.0, 0.0), (0.0, 8.0)}


def the_second_threshold_may_be_expression_4(runs: Runs) -> None:
    """Strictly closer than 12 in mean and than 8 in deviation: one step of the lattice along the mean alone."""
    sides = ("neighbourhood.radius=null", "neighbourhood.mean_radius=12", "neighbourhood.std_radius=8")
    run = figure_8(runs, *sides)

    def inside(shift: Array) -> Array:
        return expression_4(shift, 12, 8)

    selects(run, inside)
    drawn = []
    for step, row in expanded(run):
        shift = np.abs(shifts(run, step.piece, run.ledger.parameter[row])[2])
        if target_of(run, row) >= 0 <= target_of(run, step.piece):
            assert tuple(shift) == (6, 0)
        if target_of(run, row) < 0:
            drawn.append(shift)
    assert (np.array(drawn) > (9, 6)).any(0).all(), "the box is used to its edges"


# The environment table

ORDER = "environment.order={time: [morning, day, night]}"


def the_environment_table_has_a_group_in_each_cell(runs: Runs) -> None:
    """FIG. 7: time x weather x area, as `hardmine store` prints it; a group grows by what was used in its cell."""
    run = frozen(runs)
    lines = [line.split() for line in run.said.splitlines()]
    ledger, cells = run.ledger, run.store.cells()
    used = {target_of(run, row) for row in range(len(ledger))} - {-1}
    table = {
        (line[0], line[1]): line[2:] for line in lines if len(line) == 6 and line[0] in ("morning", "day", "night")
    }
    assert len(table) == 9 == len(set(cells))
    for cell, entries in table.items():
        tried = sum(cells[target] == cell for target in used)
        assert entries[0] == f"{tried}/2", (cell, entries)
    grown = frozen(runs, "neighbourhood=same_cell", "neighbourhood.grows=true", "stopping.max_pieces=80")
    ledger, again = grown.ledger, 0
    made: dict[bytes, int] = {}
    for row in range(len(ledger)):
        if ledger.parent[row] >= 0 and target_of(grown, row) == -1:
            key = ledger.parameter[row, 0].tobytes()
            again += key in made and made[key] != ledger.source[row]
            made.setdefault(key, int(ledger.source[row]))
    assert made and again, "what one image was hard with, another image gets"


def linked(run: Run, beside: Callable[[tuple[str, ...], tuple[str, ...]], bool]) -> set[tuple[str, ...]]:
    """Every neighbour is an unused target of a cell beside its piece's, and where there is none the search ends.

    Returns:
        The cells of piece and neighbour that were met.
    """
    cells, met = run.store.cells(), set()
    for step in replay.pieces(run):
        here = cells[target_of(run, step.piece)]
        able = {target for target in unused(run, step) if beside(here, cells[target])}
        row = step.row
        if accuracy_now(run, step) >= TH1 or not able:
            assert row is None or run.ledger.parent[row] < 0
            continue
        assert row is not None and run.ledger.parent[row] == run.ledger.piece[step.piece]
        assert target_of(run, row) in able, (here, cells[target_of(run, row)])
        met.add((*here, *cells[target_of(run, row)]))
    return met


def another_parameter_of_the_same_cell(runs: Runs) -> None:
    assert linked(frozen(runs, "neighbourhood=same_cell", ORDER), lambda here, there: here == there)


def a_parameter_of_a_neighbouring_cell(runs: Runs) -> None:
    """One component differs, by one step where it has an order: never from night to morning."""
    times = ("morning", "day", "night")

    def beside(here: tuple[str, ...], there: tuple[str, ...]) -> bool:
        steps = abs(times.index(here[0]) - times.index(there[0]))
        return (steps == 1 and here[1] == there[1]) or (steps == 0 and here[1] != there[1])

    met = linked(frozen(runs, "neighbourhood=adjacent_cell", ORDER), beside)
    assert {here == there for here, _, there, _ in met} == {True, False}, "both another time and another weather"


def a_parameter_of_an_associated_cell(runs: Runs) -> None:
    """Of a sunny night a rainy one, of a rainy night a cloudy morning, of a cloudy night none."""
    pairs: dict[tuple[str, ...], tuple[str, ...]]
    pairs = {("night", "sunny"): ("night", "rainy"), ("night", "rainy"): ("morning", "cloudy")}
    associated = "environment.associations={sunny night: [rainy night], rainy night: [cloudy morning]}"
    run = frozen(runs, "neighbourhood=associated_cell", associated)
    assert linked(run, lambda here, there: pairs.get(here) == there)


def parameters_are_generated_where_few_are_stored(runs: Runs) -> None:
    """(t_mean1 + alpha, t_std1 + beta) inside Expr. 3, all over the disc; one shift for all areas of an image."""
    path = runs.folder / "one.parquet"
    table = pq.read_table(frozen(runs).path / "store.parquet")
    pq.write_table(table.filter(pc.equal(table["target"], "t14")), path)
    run = frozen(runs, "store=file", f"store.path={path}")
    ledger, drawn = run.ledger, []
    for step, row in expanded(run):
        assert target_of(run, row) == -1
        shift = shifts(run, step.piece, ledger.parameter[row])[ledger.counted[row]]
        assert expression_3(shift).all()
        still = [axis for axis, name in enumerate(run.store.axes) if name not in ("mean_L", "std_L")]
        assert (ledger.parameter[row] == ledger.parameter[step.piece])[:, still].all(), "a* and b* stay"
        if target_of(run, step.piece) == 0:  # from the stored one the projection is far
            drawn.append(shift[1])
    assert len(drawn) >= 4 and len({tuple(shift) for shift in drawn}) == len(drawn)
    everywhere = np.concatenate([shifts(run, step.piece, ledger.parameter[row])[1:2] for step, row in expanded(run)])
    assert (everywhere > 0).any(0).all() and (everywhere < 0).any(0).all()
    assert np.hypot(*everywhere.T).max() > 7 and len(everywhere) >= 30


def auto_selects_and_then_generates(runs: Runs) -> None:
    """While there is something to select; `select` alone ends the search there."""
    selects(frozen(runs), expression_3)
    run = frozen(runs, "neighbourhood=select")
    assert all(target_of(run, row) >= 0 for _, row in expanded(run)) and expanded(run)
    ended = 0
    for step in replay.pieces(run):
        inside = expression_3(shifts(run, step.piece, run.store.parameters))
        if accuracy_now(run, step) < TH1 and not near(run, step, inside) & unused(run, step):
            assert step.row is None, "an exhausted neighbourhood ends the search (decision 4)"
            ended += 1
    assert ended
