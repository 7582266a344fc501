"""The pictures of candidates that the page of a run, a search or an evaluation shows."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from hardmine.memory.ledger import Ledger

_log = logging.getLogger("hardmine")


class PageAlbum:
    """Chooses candidates of a ledger, has models look at them, and writes the album; where the page is not wanted, or
    nothing was tried, it does nothing. What goes wrong is told, and costs no run.

    Args:
        cfg: of the command.
        data: of it.
        split: whose images the sources are, as recipes number them.
        mining: that made the candidates.
        ledger: of all of them.
        autocast: as the model is used.
    """

    def __init__(
        self,
        cfg: Any,
        data: Any,
        split: Any,
        mining: Any,
        ledger: Path,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.data, self.autocast, self.album = data, autocast, None
        if not cfg.report or mining is None or mining.miner is None:
            return
        with forgiven("pictures for the page"):
            self.album = self._chosen(cfg, split, mining, Ledger(ledger))

    def look(self, task: Any, caption: str, device: Any) -> None:
        """Have the task recognise the candidates.

        Args:
            task: as it is measured.
            caption: of its predictions.
            device: where it shall do so.
        """
        if self.album is None:
            return
        with forgiven("pictures for the page"):
            task.to(device)
            self._device = device
            self.album.look(task, caption, self.autocast, lambda batch: self.data.on_after_batch_transfer(batch, 0))

    def write(self, folder: Path) -> None:
        """The album of a run folder."""
        from hardmine.report.album import NAME

        if self.album is None:
            return
        with forgiven("pictures for the page"):
            self.album.write(folder / "pictures" / NAME)

    def _chosen(self, cfg: Any, split: Any, mining: Any, ledger: Ledger) -> Any:
        import torch

        from hardmine.cli.build import build_target_images
        from hardmine.numbered import Numbered
        from hardmine.report.album import Album, choose

        if not len(ledger.read()):
            return None
        recipe, verdict = ledger.verdicts()
        rows = choose(recipe, verdict, mining.store)
        numbered, known = Numbered(split), build_target_images(cfg, self.data)

        def load(rows: Any) -> Any:
            samples = [numbered[place] for place in zip(rows.source.tolist(), rows.draw.tolist(), strict=True)]
            batch = torch.utils.data.default_collate(samples)
            return {name: value.to(self._device) for name, value in batch.items()}

        def target(row: int) -> Any:
            image = known.get(mining.store.ids[row])
            return mining.store.target_image(row) if image is None else image

        return Album(mining, recipe[rows], verdict[rows], load, split.ids, target, self.data.classes)


@contextmanager
def forgiven(what: str) -> Iterator[None]:
    """What goes wrong inside is told in one line: hours of work are not lost over a page."""
    try:
        yield
    except Exception as error:
        _log.warning("hardmine: no %s (%s)", what, " ".join(str(error).split())[:200])
