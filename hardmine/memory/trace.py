"""What a search did, step by step, under the names of FIG. 6 and 11 (D47-D49, D74-D77)."""

import csv
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hardmine.files import write_atomically
from hardmine.records import Recipe
from hardmine.store.file import WHOLE
from hardmine.store.store import ParameterStore

COLUMNS = ("step", "update", "source", "piece", "parent", "target", "parameter", "accuracy")
MOST = 100_000  # rows that are kept


class Trace:
    """A table with a row for each step of each search.

    `step` is S100 to S142 of FIG. 6 where the model is frozen, S200 to S250 of FIG. 11 where it learns: an image is
    acquired (00), converted with a first parameter (10), scored (22), compared with Th1 (24) and output (26), the next
    parameter is determined (30) and the image converted with it (42), the model is updated (50). `accuracy` stands
    where an image is scored (22), and after an update where the piece is scored once more (50).

    Args:
        path: the CSV file that `save` writes.
        learns: the model is updated.
    """

    def __init__(self, path: str | Path, learns: bool) -> None:
        self.path, self.learns = Path(path), learns
        self.rows: list[list[str]] = []

    def add(
        self, step: int, update: int, recipe: Recipe, store: ParameterStore, accuracy: Tensor | None = None
    ) -> None:
        """One step of N searches.

        Args:
            step: 0 to 50, the last two digits of its name.
            update: updates of the model so far.
            recipe: N rows.
            store: names the targets and the areas.
            accuracy: (N,) recognition accuracy, where one is known.
        """
        for row in range(min(len(recipe), MOST - len(self.rows))):
            score = "" if accuracy is None else f"{float(accuracy[row]):.6f}"
            number, parent = (int(value[row]) for value in (recipe.piece, recipe.parent))
            names, parameter = _of(recipe[row : row + 1], store)
            self.rows.append(
                [
                    f"S{1 + self.learns}{step:02d}",
                    str(update),
                    str(int(recipe.source[row])),
                    "" if number < 0 else str(number),
                    "" if parent < 0 else str(parent),
                    names,
                    parameter,
                    score,
                ]
            )

    def save(self) -> None:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(self.rows)
        write_atomically(self.path, lambda file: file.write(text.getvalue().encode()))

    def state_dict(self) -> dict[str, Any]:
        return {"rows": [list(row) for row in self.rows]}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        self.rows = [list(row) for row in saved["rows"]]


def _of(recipe: Recipe, store: ParameterStore) -> tuple[str, str]:
    """Names of a row's targets, and its parameters along the axes of the graph: `river 41.2 8.0; sky 60.3 4.1`."""
    regions = recipe.counted[0].nonzero().flatten().tolist()
    targets = dict.fromkeys(recipe.target[0, regions].tolist())
    names = "; ".join("generated" if target < 0 else store.ids[target] for target in targets)
    areas, graph = (*store.areas, WHOLE), torch.nonzero(store.space.graph).flatten()
    points = [" ".join(f"{x:.4f}" for x in recipe.parameter[0, region, graph].tolist()) for region in regions]
    return names, "; ".join(f"{areas[region]} {point}" for region, point in zip(regions, points, strict=True))
