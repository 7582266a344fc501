"""A search once more, by own arithmetic, from the ledger and the store that its run left."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conformance.runs import WHOLE, Array, Ledger, Run, Stored

MIN_PIXELS = 20  # of an area that a target has (decision 2)


@dataclass
class Marks:
    """The distribution graph at some time: candidates made with each parameter, and the latest accuracy there."""

    uses: Array  # (M, R) int
    accuracy: Array  # (M, R) float, NaN where nothing was scored

    def copy(self) -> "Marks":
        return Marks(self.uses.copy(), self.accuracy.copy())

    def enter(self, ledger: Ledger, row: int) -> None:
        for region in np.flatnonzero(ledger.counted[row] & (ledger.target[row] >= 0)):
            target = ledger.target[row, region]
            self.uses[target, region] += 1
            if not np.isnan(ledger.area_score[row, region]):
                self.accuracy[target, region] = ledger.area_score[row, region]
            if not np.isnan(ledger.score[row]):
                self.accuracy[target, WHOLE] = ledger.score[row]


@dataclass
class Next:
    """What a search did with a piece.

    Attributes:
        piece, row: rows of the ledger: the piece, and the candidate that its source had next; None where there is none.
        marks: the graph when it was determined.
    """

    piece: int
    row: int | None
    marks: Marks


def rounds(ledger: Ledger, together: bool) -> list[list[int]]:
    """Rows of the ledger that were determined before any of them was judged: those of one step, or each by itself."""
    if not together:
        return [[row] for row in range(len(ledger))]
    return [np.flatnonzero(ledger.step == step).tolist() for step in np.unique(ledger.step)]


def marks(run: Run, together: bool = True) -> Iterator[tuple[list[int], Marks]]:
    """Each round, and the graph before it; last, an empty one and the graph at the end."""
    shape = run.store.parameters.shape[:2]
    known = Marks(np.zeros(shape, int), np.full(shape, np.nan))
    for rows in rounds(run.ledger, together):
        yield rows, known
        for row in rows:
            known.enter(run.ledger, row)
    yield [], known


def pieces(run: Run, together: bool = True) -> Iterator[Next]:
    """What came next of every piece, but for those that were found in the last round of all."""
    ledger, last = run.ledger, dict[int, int]()
    for rows, known in marks(run, together):
        of = {int(ledger.source[row]): row for row in rows}
        waiting = {source: row for source, row in last.items() if ledger.piece[row] >= 0}
        if rows:
            for source, row in waiting.items():
                yield Next(row, of.get(source), known.copy())
        last = of if together else {**last, **of}
        if not together:  # one search at a time: all others have ended
            last = of


def offered(store: Stored) -> Array:
    """(M, R) bool: regions that a target has something for."""
    return np.ones(store.parameters.shape[:2], bool) if store.pixels is None else store.pixels >= MIN_PIXELS


def shifts(run: Run, row: int, parameters: Array) -> Array:
    """(..., R, 2): how far parameters (..., R, D) lie from that of a row, in mean and deviation of luminance."""
    axes = [run.store.axes.index(name) for name in ("mean_L", "std_L")]
    return np.asarray(np.subtract(parameters[..., axes], run.ledger.parameter[row][:, axes], dtype=float))


def expression_3(shift: Array, radius: float = 10.0) -> Array:
    """Rth2 > sqrt((t_mean - t_mean1)^2 + (t_std - t_std1)^2), with the radius of the experiments."""
    return np.asarray(np.sqrt(np.square(shift).sum(-1)) < radius)


def expression_4(shift: Array, mean_radius: float, std_radius: float) -> Array:
    """Mth2 > abs(t_mean - t_mean1) and Sth2 > abs(t_std - t_std1)."""
    return np.asarray((np.abs(shift[..., 0]) < mean_radius) & (np.abs(shift[..., 1]) < std_radius))


def unused(run: Run, step: Next) -> set[int]:
    """Targets, other than the piece's own, that were tried with none of its areas on any image (D54)."""
    counted, has = run.ledger.counted[step.piece], offered(run.store)
    free = (has & counted).any(1) & ~((step.marks.uses > 0) & has & counted).any(1)
    own = set(run.ledger.target[step.piece][counted].tolist())
    return set(np.flatnonzero(free).tolist()) - own


def near(run: Run, step: Next, inside: Array) -> set[int]:
    """Targets inside the second threshold, (M, R) bool, for every area that moves: what the image lacks goes along."""
    moving = offered(run.store) & run.ledger.chosen[step.piece]
    seen = (moving & run.ledger.counted[step.piece]).any(1)
    return set(np.flatnonzero(seen & (inside | ~moving).all(1)).tolist())


def accuracy_now(run: Run, step: Next) -> float:
    """Of the piece's parameter: what the graph has; of one that no target has, what it was scored with."""
    ledger = run.ledger
    stored = ledger.target[step.piece][ledger.counted[step.piece]]
    known = step.marks.accuracy[stored[stored >= 0], WHOLE]
    return float(known.min()) if len(known) else float(ledger.score[step.piece])


def target_of(run: Run, row: int) -> int:
    """The one target of a candidate whose areas go together; -1 where it was generated."""
    found = np.unique(run.ledger.target[row][run.ledger.counted[row]])
    assert len(found) == 1, "areas of one image take the same target"
    return int(found[0])
