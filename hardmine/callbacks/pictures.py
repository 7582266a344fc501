"""What a person looks at: source, index image, target, converted image and prediction side by side (R10)."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from hardmine.candidates import Candidates
from hardmine.files import write_atomically
from hardmine.mining import Mining
from hardmine.report.prediction import draw_prediction, paint

COLUMNS = ("source", "index image", "target", "converted", "prediction")
_GAP = 4  # pixels between pictures
_HEAD = 16  # pixels for the captions


class Pictures(L.Callback):
    """Writes a sheet of candidates to the run folder and to TensorBoard.

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

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        candidates = None if self.mining is None else self.mining.offered
        step, since = trainer.global_step, self._step
        self._step = step
        due = step // self.every > since // self.every or (step == trainer.max_steps and step > since)
        if candidates is None or candidates.score is None or not due or not trainer.is_global_zero:
            return
        sheet = self.sheet(candidates, getattr(pl_module, "classes", ()))
        path = self.folder / f"step_{trainer.global_step:06d}.png"
        write_atomically(path, lambda file: Image.fromarray(sheet).save(file, "PNG"))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("candidates", sheet, trainer.global_step, dataformats="HWC")

    def sheet(self, candidates: Candidates, classes: Sequence[str] = ()) -> NDArray[np.uint8]:
        """(height, width, 3) uint8: a row per candidate, the columns of `COLUMNS`.

        Args:
            candidates: of one batch, scored.
            classes: names of what is recognised; numbers where there are none.
        """
        assert candidates.prediction is not None and candidates.score is not None
        areas = candidates.converted.areas
        height, width = candidates.converted.image.shape[2:]
        sources = candidates.of.tolist()
        rows = [row for row, source in enumerate(sources) if source not in sources[:row]][: self.rows]
        sheet = Image.new(
            "RGB",
            (len(COLUMNS) * (width + _GAP) - _GAP, len(rows) * (height + _HEAD + _GAP) - _GAP),
            (255, 255, 255),
        )
        draw = ImageDraw.Draw(sheet)
        for place, row in enumerate(rows):
            source = sources[row]
            name, target = self._target(candidates, row, (height, width))
            score = float(candidates.score[row])
            converted = candidates.converted.image[row].permute(1, 2, 0).cpu().numpy()
            pictures = (
                candidates.source.image[source].permute(1, 2, 0).cpu().numpy(),
                paint(candidates.source.regions[source], areas),
                target,
                converted,
                draw_prediction(candidates.prediction, row, converted, classes, areas),
            )
            captions = (*COLUMNS[:2], name, COLUMNS[3], f"score {score:.0%}")
            top = place * (height + _HEAD + _GAP)
            for column, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
                left = column * (width + _GAP)
                draw.text((left + 2, top + 2), caption[: width // 6], fill=(0, 0, 0))
                sheet.paste(Image.fromarray(picture), (left, top + _HEAD))
        return np.asarray(sheet)

    def _target(self, candidates: Candidates, row: int, size: tuple[int, int]) -> tuple[str, NDArray[np.uint8]]:
        assert self.mining is not None
        stored = candidates.recipe.target[row]
        stored = stored[stored >= 0]
        if not len(stored):
            return "generated", np.full((*size, 3), 230, np.uint8)
        name = self.mining.store.ids[int(stored[0])]
        image = self.targets.get(name)
        if image is None:
            image = self.mining.store.target_image(int(stored[0]))
        if image is None:
            return f"target {name}", np.full((*size, 3), 230, np.uint8)
        resized = torch.nn.functional.interpolate(image[None].float(), size=size, mode="bilinear", antialias=True)[0]
        return f"target {name}", resized.round().byte().permute(1, 2, 0).numpy()
