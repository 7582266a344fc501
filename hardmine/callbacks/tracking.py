"""What loggers are told beside the figures: settings, pictures, the table and the page of a run."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch import loggers as lightnings
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from omegaconf import OmegaConf

from hardmine.errors import InputError
from hardmine.report.picture import Picture


class MLFlowLogger(lightnings.MLFlowLogger):
    """Lightning's, with `val.miou.night` for `val/miou/night`: a store of files cannot have that below `val/miou`."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics({name.replace("/", "."): value for name, value in metrics.items()}, step)


_EXTRAS = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow"}  # packages, and the extras that bring them
_IDS = {WandbLogger: "id", MLFlowLogger: "run_id"}  # keys by which a run that goes on is the same one there


def look_at_logger(settings: Any) -> None:
    """See that what a logger needs is installed.

    Raises:
        InputError: it is not.
    """
    package = _EXTRAS.get(str(settings.get("_target_")).rsplit(".", 1)[-1])
    if package is not None and find_spec(package) is None:
        raise InputError(f"logger={package}: {package} is not installed: pip install 'hardmine[{package}]'")


def build_logger(settings: Any) -> Logger | None:
    """The logger of its block of the config; None where there is none.

    Raises:
        InputError: it cannot begin.
    """
    target = settings["_target_"]
    if target is None:
        return None
    filled: dict[str, Any] = {}
    if target.endswith(".CSVLogger"):
        filled["version"] = _unused(Path(settings.save_dir), settings.version)
    if target.endswith(".MLFlowLogger"):
        filled["save_dir"] = str(Path(settings.save_dir).expanduser().absolute())
        filled["tracking_uri"] = settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if filled["tracking_uri"] is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which the newest wants to be told
    package = _EXTRAS.get(target.rsplit(".", 1)[-1])
    try:
        logger: Any = instantiate(settings, **filled)
        _ = logger.experiment if package else None
    except Exception as error:  # of its own kinds, and of the network
        if package is None:
            raise
        remedy = "set WANDB_MODE=offline, or log in" if package == "wandb" else "set MLFLOW_TRACKING_URI"
        why = " ".join(str(error.__cause__ or error).split())
        raise InputError(f"logger={package}: cannot begin ({why:.160}): {remedy}") from None
    made: Logger = logger
    return made


def _unused(folder: Path, name: str) -> str:
    """A name that no folder has: Lightning's CSV logger would delete what a run that goes on has logged before."""
    names = (name if number == 1 else f"{name}_{number}" for number in range(1, 1000))
    return next(each for each in names if not (folder / each).exists())


def begin(loggers: Sequence[Logger], cfg: Any) -> None:
    """With the first step: the config goes to those that compare runs, and what they call the run into the config.

    Args:
        loggers: of the trainer.
        cfg: config of the run, changed in place.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger | MLFlowLogger):
            cfg.logger[_IDS[type(logger)]] = logger.version if isinstance(logger, WandbLogger) else logger.run_id
            if not cfg.resume:  # else it is there already
                plain: Any = OmegaConf.to_container(cfg, resolve=True)
                logger.log_hyperparams(plain)


def add_picture(loggers: Sequence[Logger], name: str, picture: Picture, path: Path, step: int) -> None:
    """A picture, which lies in the run folder as well."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, [str(path)], step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifact(logger.run_id, str(path), "pictures")


def add_end(loggers: Sequence[Logger], rows: Sequence[Sequence[str]], folder: Path, step: int) -> None:
    """The table at the end of a run, its summary, its graph and its page.

    Args:
        loggers: of the trainer.
        rows: of the table, headings first.
        folder: of the run.
        step: optimiser steps made.
    """
    files = [path for name in ("report.html", "summary.json", "graph.png") if (path := folder / name).is_file()]
    text = "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text("environments", text, step)
            logger.experiment.flush()
        elif isinstance(logger, CSVLogger):
            lines = "".join(",".join(row) + "\n" for row in rows)
            Path(logger.log_dir, "environments.csv").write_text(lines)
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
