"""The hardest pieces of each environment, collected as pictures while a search goes on."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hardmine.candidates import Candidates
from hardmine.neighbourhood.cells import environments
from hardmine.report.picture import write_picture
from hardmine.report.sheet import Shown, Target, sheet, show
from hardmine.store import ParameterStore


class Gallery:
    """Keeps the pictures of a few pieces: of at most `most` environments, and of each of these the `rows` hardest.

    They are the environments whose hardest piece is harder than that of the others, so that the hardest pieces of all
    are among them. Nothing else of a batch is kept, however long the search.

    Args:
        store: the targets, with their environments; without, there is one sheet.
        target: their images.
        classes: names of what is recognised.
        rows: of a sheet.
        most: environments.
    """

    def __init__(
        self, store: ParameterStore, target: Target, classes: Sequence[str] = (), rows: int = 4, most: int = 12
    ) -> None:
        self.store, self.target, self.classes, self.rows, self.most = store, target, classes, rows, most
        self.seen: Counter[tuple[str, ...]] = Counter()  # pieces of each environment
        self.kept: dict[tuple[str, ...], list[Shown]] = {}  # the hardest first

    def look(self, candidates: Candidates | None) -> None:
        """Look at judged candidates and keep what is harder than what there is."""
        if candidates is None or candidates.score is None:
            return
        pieces = (candidates.recipe.piece >= 0).nonzero().flatten()
        if not len(pieces):
            return
        reached = environments(candidates.recipe[pieces], self.store)
        for row, environment in zip(pieces.tolist(), reached, strict=True):
            cell = tuple(environment.values())
            self.seen[cell] += 1
            if not self._wanted(cell, float(candidates.score[row])):
                continue
            shown = show(candidates, row, self.store, self.target, self.classes)
            self.kept[cell] = sorted([*self.kept.get(cell, []), shown], key=lambda each: each.score)[: self.rows]
            if len(self.kept) > self.most:
                del self.kept[max(self.kept, key=lambda each: self.kept[each][0].score)]

    def _wanted(self, cell: tuple[str, ...], score: float) -> bool:
        if cell in self.kept:
            rows = self.kept[cell]
            return len(rows) < self.rows or score < rows[-1].score
        return len(self.kept) < self.most or score < max(rows[0].score for rows in self.kept.values())

    def write(self, folder: Path, pieces: int) -> None:
        """`hardest.png`, and a sheet for each environment that was kept.

        Args:
            folder: where they go.
            pieces: of the whole search; more than were looked at where it was stopped and went on.
        """
        seen = self.seen.total()
        of = "pieces" if seen == pieces else f"pieces found since the search went on ({pieces} in all)"
        every = sorted((row for rows in self.kept.values() for row in rows), key=lambda each: each.score)
        sheets = {"hardest": (every[: self.rows], "", seen)} if every else {}
        for cell, rows in self.kept.items():
            if cell:
                name = "_".join("".join(c if c.isalnum() else "-" for c in value) for value in cell)
                while name in sheets:  # two environments that are spelt alike but for signs
                    name += "_"
                sheets[name] = rows, f"{' '.join(cell)}: ", self.seen[cell]
        for name, (rows, before, total) in sheets.items():
            title = f"{before}the {len(rows)} hardest of {total} {of}"
            write_picture(folder / f"{name}.png", sheet(rows, title, self.store.areas, self.classes))

    def told(self, pieces: int) -> str | None:
        """One line where the sheets do not show what they might."""
        if pieces and not self.seen:
            return "no pictures: all pieces were found before this search went on"
        left = len(self.seen) - len(self.kept)
        if left:
            return f"pictures show {len(self.kept)} of {len(self.seen)} environments, those whose pieces are hardest"
        return None
