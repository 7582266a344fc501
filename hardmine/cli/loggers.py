"""The logger of the config, and what it is told of a run."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger, WandbLogger
from omegaconf import OmegaConf

from hardmine.callbacks.tracking import MLFlowLogger
from hardmine.errors import InputError

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
