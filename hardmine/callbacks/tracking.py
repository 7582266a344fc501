"""What loggers are told beside the figures: pictures, the table and the page of a run."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import loggers as lightnings
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from hardmine.files import write_atomically
from hardmine.report.picture import Picture, jpeg


class MLFlowLogger(lightnings.MLFlowLogger):
    """Lightning's, with `val.miou.night` for `val/miou/night`: a store of files cannot have that below `val/miou`."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics({name.replace("/", "."): value for name, value in metrics.items()}, step)


def add_picture(loggers: Sequence[Logger], name: str, picture: Picture, path: Path, step: int) -> None:
    """A picture, which lies in the run folder as well."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            _add_jpeg(logger, name, picture, step)
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, [picture], step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifact(logger.run_id, str(path), "pictures")


def _add_jpeg(logger: TensorBoardLogger, name: str, picture: Picture, step: int) -> None:
    """What `add_image` does, at a third of the size: that one writes PNG."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    height, width = picture.shape[:2]
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=jpeg(picture))
    logger.experiment._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), step)


def add_end(loggers: Sequence[Logger], rows: Sequence[Sequence[str]], folder: Path, step: int) -> None:
    """The table at the end of a run, its summary, its graph and its page.

    Args:
        loggers: of the trainer.
        rows: of the table, headings first.
        folder: of the run.
        step: optimiser steps made.
    """
    files = [path for name in ("report.html", "summary.json", "graph.png") if (path := folder / name).is_file()]
    lines = "".join(",".join(row) + "\n" for row in rows)
    text = "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text("environments", text, step)
            logger.experiment.flush()
        elif isinstance(logger, CSVLogger):
            write_atomically(Path(logger.log_dir, "environments.csv"), lambda file: file.write(lines.encode()))
        elif isinstance(logger, WandbLogger):
            logger.log_table("environments", list(rows[0]), [list(row) for row in rows[1:]], step=step)
            _wandb_artifact(logger, files)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_text(logger.run_id, text, "environments.md")
            for path in files:
                logger.experiment.log_artifact(logger.run_id, str(path))


def _wandb_artifact(logger: WandbLogger, files: Sequence[Path]) -> None:
    import wandb

    artifact = wandb.Artifact(f"run-{logger.version}-report", "report")
    for path in files:
        artifact.add_file(str(path))
    logger.experiment.log_artifact(artifact)


@contextmanager
def closed() -> Iterator[None]:
    """At the end, however it comes, a run of Weights & Biases is over: the next one of a sweep has its own."""
    code = 1
    try:
        yield
        code = 0
    finally:
        wandb: Any = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None:
            wandb.finish(exit_code=code)
