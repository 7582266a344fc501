"""Sheets of candidates while a model is trained (R10)."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from torch import Tensor

from hardmine.callbacks.tracking import add_picture
from hardmine.candidates import Candidates
from hardmine.length import total_steps
from hardmine.mining import Mining
from hardmine.report.picture import Picture, write_picture
from hardmine.report.sheet import choice, sheet, show


class Pictures(L.Callback):
    """Writes a sheet of candidates to the run folder and to the loggers: pieces first, see `choice`.

    Args:
        folder: where `step_<n>.png` go.
        every: optimiser steps between sheets.
        rows: candidates per sheet.
        targets: id, image (3, H, W) and index image of each row of the store; None takes those that the store knows
            where to find, and leaves the others blank.
        mining: whose candidates are shown; may be set later.
    """

    def __init__(
        self,
        folder: str,
        every: int = 100,
        rows: int = 4,
        targets: Iterable[tuple[str, Tensor, Any, Any]] | None = None,
        mining: Mining | None = None,
    ) -> None:
        self.folder, self.every, self.rows = Path(folder), every, rows
        self.targets = {name: image for name, image, *_ in targets or ()}
        self.mining: Mining | None = mining
        self._step = 0  # updates of the model at the last look
        self._last = -1  # and at the end of the fit

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step, self._last = trainer.global_step, total_steps(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        candidates = None if self.mining is None else self.mining.offered
        step, since = trainer.global_step, self._step
        self._step = step
        due = step // self.every > since // self.every or (step == self._last and step > since)
        if candidates is None or candidates.score is None or not due or not trainer.is_global_zero:
            return
        picture = self.sheet(candidates, _classes(pl_module), step)
        path = self.folder / f"step_{step:06d}.png"
        write_picture(path, picture)
        add_picture(trainer.loggers, "candidates", picture, path, step)

    def sheet(self, candidates: Candidates, classes: Sequence[str] = (), step: int = 0) -> Picture:
        """(height, width, 3) uint8, see `hardmine.report.sheet`.

        Args:
            candidates: of one batch, scored.
            classes: names of what is recognised; numbers where there are none.
            step: optimiser steps made so far.
        """
        assert self.mining is not None
        store, ranks = self.mining.store, self.mining.ranks
        rows = choice(candidates, self.rows)
        pieces = int((candidates.recipe.piece >= 0).sum())
        of = f" of rank {ranks.rank}" if ranks.count > 1 else ""
        title = f"step {step}: {len(candidates.recipe)} candidates{of}, {pieces} piece{'' if pieces == 1 else 's'}"
        if len(rows) < len(candidates.recipe):
            title += f"; {len(rows)} are shown"
        return sheet([show(candidates, row, store, self._target, classes) for row in rows], title, store.areas, classes)

    def _target(self, row: int) -> Tensor | None:
        """Image of a row of the store."""
        assert self.mining is not None
        image = self.targets.get(self.mining.store.ids[row])
        return self.mining.store.target_image(row) if image is None else image


def _classes(module: L.LightningModule) -> Sequence[str]:
    """Names of what a module recognises, where it has them; a stranger's `classes` may be anything."""
    names = getattr(module, "classes", ())
    named = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    return names if named else ()
