"""The command line: `hardmine train | store`. Only this file reads the config; only `train` wires the objects."""

import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from hardmine import __version__
from hardmine.errors import InputError

USAGE = """\
usage: hardmine COMMAND [ARGUMENT ...]

  hardmine train [KEY=VALUE ...]             mine and train; the embedded default needs no data
  hardmine train data=folder data.root=PATH  ... on your own images
  hardmine train resume=RUN_FOLDER           go on with a run that was stopped
  hardmine train --help                      every config group and key
  hardmine store root=PATH out=FILE.parquet [split=target]
                                             measure labelled targets, for store=file store.path=FILE.parquet
  hardmine --version
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. Bad input prints one line to standard error and exits with 2."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands: dict[str, Callable[[list[str]], None]] = {"train": _train_command, "store": _store_command}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return
    if arguments[0] == "--version":
        print(f"hardmine {__version__}")
        return
    try:
        if arguments[0] not in commands:
            raise InputError(f"{arguments[0]}: no such command: use one of {', '.join(commands)}")
        commands[arguments[0]](arguments[1:])
    except InputError as error:
        raise _failed(str(error)) from None


def config_folder() -> Path:
    """Where the configs are: inside the package when installed from a wheel, beside it in a checkout."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"


def _store_command(arguments: list[str]) -> None:
    from hardmine.store import ParameterStore

    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    strange = [a for a in arguments if "=" not in a] + sorted(given.keys() - {"root", "out", "split"})
    if strange or not {"root", "out"} <= given.keys():
        raise InputError(
            f"{strange[0] if strange else 'store'}: use hardmine store root=PATH out=FILE.parquet [split=target]"
        )
    store = ParameterStore.from_folder(given["root"], given.get("split", "target"))
    store.save(given["out"])
    components = ", ".join(store.environment) or "no environment columns"
    print(f"{given['out']}: {len(store)} targets, {len(store.areas)} areas, {components}")


def _train_command(arguments: list[str]) -> None:
    import hydra
    from hydra.errors import HydraException
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach the handlers below in place of Hydra's own report
    sys.argv = ["hardmine train", *_with_resumed(arguments)]

    bad = (InputError, HydraException, OmegaConfBaseException)

    def run(cfg: DictConfig) -> float:
        try:
            return train(cfg)["val/miou"]  # what a sweeper may optimise; `test` is for looking at
        except bad as error:
            raise _failed(_explain(error)) from None  # Hydra adds lines of its own to any other exception

    try:
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="train")(run)()
    except bad as error:
        raise InputError(_explain(error)) from None


def _failed(message: str) -> SystemExit:
    print(f"hardmine: error: {message}", file=sys.stderr)
    return SystemExit(2)


def _with_resumed(arguments: list[str]) -> list[str]:
    """`resume=RUN_FOLDER` brings that run's own arguments back and makes it the run folder again."""
    from omegaconf import OmegaConf

    folders = [Path(argument.removeprefix("resume=")) for argument in arguments if argument.startswith("resume=")]
    if not folders or str(folders[-1]) == "null":
        return arguments
    overrides, checkpoint = folders[-1] / ".hydra/overrides.yaml", folders[-1] / "checkpoints/last.ckpt"
    for path in (overrides, checkpoint):
        if not path.is_file():
            raise InputError(f"{path}: no such file: resume takes the folder of a run that wrote a checkpoint")
    earlier = [str(argument) for argument in OmegaConf.load(overrides) if not str(argument).startswith("resume=")]
    return [*earlier, *arguments, f"hydra.run.dir={folders[-1]}"]


def _explain(error: BaseException) -> str:
    """One line that names the key, from Hydra's several."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return str(cause).splitlines()[-1].split("InputError: ")[-1]  # a loader process puts its traceback before
        cause = cause.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    keys = [line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")]
    lines = [line for line in lines if not line.startswith("full_key:")]
    if lines and lines[0].startswith("Could not override"):
        return (
            f"{lines[0].removeprefix('Could not override ').rstrip('.')}: no such config key: see hardmine train --help"
        )
    if lines and lines[0].startswith("Missing mandatory value"):
        return f"{lines[0].split(':', 1)[1].strip()}: this config key must be given: KEY=VALUE"
    if lines and lines[0].startswith("Error in call to target") and error.__cause__ is not None:
        return f"{keys[0] if keys else 'config'}: {shorten(' '.join(str(error.__cause__).split()), 200)}"
    return "; ".join(lines[:3])


def train(cfg: Any) -> dict[str, float]:
    """One run: data, store, task and miner from the config, fit, compare, write down.

    Args:
        cfg: composed config of `conf/train.yaml`.

    Returns:
        What `summary.json` holds.
    """
    import lightning as L
    from hydra.utils import instantiate
    from rich.console import Console

    from hardmine.callbacks import AtomicCheckpointIO
    from hardmine.data import MiningDataModule
    from hardmine.files import write_atomically
    from hardmine.miner import Tally
    from hardmine.report import environment_table, write_graph
    from hardmine.tasks.precision import auto_precision

    quieten()
    L.seed_everything(cfg.seed, verbose=False)
    run_dir = Path(cfg.run_dir)
    data = instantiate(cfg.data, _convert_="all")
    areas = data.areas
    mining = cfg.neighbourhood["_target_"] is not None
    store = _build_store(cfg.store, data) if mining else None
    net = instantiate(cfg.model, classes=len(areas))
    task = instantiate(
        cfg.task,
        net=net,
        classes=len(areas),
        val_environments=data.split("val").environments,
        test_environments=data.split("test").environments,
    )
    datamodule = MiningDataModule(
        data,
        store,
        instantiate(cfg.neighbourhood) if mining else None,
        areas=areas,
        first=instantiate(cfg.first, _convert_="all"),
        conversion=instantiate(cfg.conversion),
        buffer=instantiate(cfg.buffer),
        mined=cfg.mining.mined,
        candidates=cfg.mining.candidates,
        start=cfg.mining.start,
        fresh_sources=cfg.mining.fresh_sources,
        seed=cfg.seed,
    )
    callbacks = {name: instantiate(callback) for name, callback in cfg.callbacks.items()}
    if "pictures" in callbacks and cfg.store.path is None and mining:
        callbacks["pictures"].targets = {name: image for name, image, *_ in data.targets()}
    trainer = instantiate(
        cfg.trainer,
        precision=auto_precision(cfg.trainer.accelerator) if cfg.trainer.precision == "auto" else cfg.trainer.precision,
        callbacks=list(callbacks.values()),
        logger=instantiate(cfg.logger) if cfg.logger["_target_"] else False,
        plugins=[AtomicCheckpointIO()],
        use_distributed_sampler=False,  # hardmine's sampler already shares the rows out
        enable_model_summary=False,
    )
    started = time.perf_counter()
    last = run_dir / "checkpoints/last.ckpt"
    trainer.fit(task, datamodule, ckpt_path=str(last) if cfg.resume else None, weights_only=True)
    seconds = time.perf_counter() - started
    steps = trainer.global_step
    trainer.save_checkpoint(last)
    after = _measure(trainer, task, datamodule, None)
    before_path = run_dir / "checkpoints/before.ckpt"
    before = _measure(trainer, task, datamodule, before_path) if before_path.is_file() else {}
    summary = {**after, **{f"before/{key}": value for key, value in before.items()}}
    tally = datamodule.miner.tally if datamodule.miner is not None else Tally()
    summary.update(pieces=tally.pieces, candidates=tally.candidates, hit_rate=tally.hit_rate)
    summary.update(steps=steps, seconds=round(seconds, 1))
    if trainer.is_global_zero:
        if datamodule.miner is not None:
            write_graph(run_dir, datamodule.miner, cfg.mining.threshold)
        text = json.dumps(summary, indent=2, sort_keys=True) + "\n"
        write_atomically(run_dir / "summary.json", lambda file: file.write(text.encode()))
        console = Console()
        console.print(environment_table(before, after))
        console.print(
            f"{tally.pieces} pieces from {tally.candidates} candidates (hit rate {tally.hit_rate:.0%}), "
            f"{steps} steps in {seconds:.0f} s\nrun folder: {run_dir}"
        )
    return summary


def _build_store(cfg: Any, data: Any) -> Any:
    from hardmine.store import ParameterStore

    if cfg.path is not None:
        return ParameterStore.load(cfg.path, cfg.min_pixels, cfg.missing)
    return ParameterStore.from_images(data.targets(), data.areas, cfg.min_pixels, cfg.missing)


def _measure(trainer: Any, task: Any, datamodule: Any, checkpoint: Path | None) -> dict[str, float]:
    """Metrics on `val` and `test`, of the present weights or of a checkpoint's."""
    at = {"ckpt_path": None if checkpoint is None else str(checkpoint), "weights_only": True, "verbose": False}
    measured = trainer.validate(task, datamodule, **at) + trainer.test(task, datamodule, **at)
    return {name: value for metrics in measured for name, value in metrics.items()}


def quieten() -> None:
    """Keep the libraries' advice that does not fit here off the screen."""
    import lightning  # noqa: F401  (it sets the level of its logger when imported)

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # images lie in memory: loader processes would only copy them
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # lightning 2.6.6 with torch 2.15
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.. is deprecated.*")
