"""`hardmine train`: one run, from the config to the table at its end."""

import json
import logging
import time
import warnings
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hardmine.cli.config import key_of, run_configured, tell_unused
from hardmine.errors import InputError
from hardmine.runs import RunFolder

# blocks that plain training has no use for, and keys; `mining.start` says when the table's first column is measured
_OF_MINING = (
    *("conversion", "first", "gate", "update", "buffer", "stopping", "environment"),
    *(f"mining.{key}" for key in ("threshold", "hardest", "mined", "stand_ins", "candidates", "decay")),
)


def command(arguments: list[str]) -> None:
    """Run, or go on with the run folder named by `resume=`, with its own settings."""
    folders = [argument.split("=", 1)[1] for argument in arguments if key_of(argument) == "resume"]
    folder = None
    if folders and folders[-1] != "null":
        folder = RunFolder(folders[-1])
        arguments = _resumed(folder, arguments)

    def run(cfg: Any) -> float:
        summary = train(cfg)
        return next((value for name, value in summary.items() if name.count("/") == 1 and name.startswith("val/")), 0)

    # what it returns a sweeper may optimise; `test` is for looking at
    run_configured("train", arguments, run, None if folder is None else folder.frozen)


def _resumed(folder: RunFolder, arguments: list[str]) -> list[str]:
    """Arguments for the config that the run froze.

    Raises:
        InputError: nothing to go on with, or another choice of a group.
    """
    frozen = folder.config()
    if not folder.checkpoint.is_file():
        raise InputError(f"{folder.checkpoint}: no such file: resume takes the folder of a run that wrote a checkpoint")
    for argument in arguments:
        added = argument.startswith("+") and "." not in key_of(argument)
        if added or isinstance(frozen.get(key_of(argument)), DictConfig):
            raise InputError(f"{argument}: a resumed run keeps its {key_of(argument)}: change single keys of it alone")
    hydra = (f"hydra.run.dir={folder.path}", "hydra.job.name=hardmine", "hydra.output_subdir=null")
    return [*arguments, f"run_dir={folder.path}", *hydra]


def train(cfg: Any) -> dict[str, Any]:
    """Data, store, task and search from the config; fit, compare, write down.

    Args:
        cfg: composed config of `conf/train.yaml`.

    Returns:
        What `summary.json` holds.
    """
    import lightning as L
    from hydra.utils import instantiate
    from lightning.pytorch.callbacks import LambdaCallback

    from hardmine.callbacks import AtomicCheckpointIO
    from hardmine.cli.build import build_data, build_mining, build_target_images, build_task
    from hardmine.memory.ledger import Ledger
    from hardmine.tasks.precision import auto_precision

    quieten()
    L.seed_everything(cfg.seed, verbose=False)
    folder = RunFolder(cfg.run_dir)
    run_dir = folder.path
    data = build_data(cfg)
    task = build_task(cfg, data)
    mining = build_mining(cfg, data)
    callbacks = {name: instantiate(callback) for name, callback in cfg.callbacks.items()}
    if mining is None:
        tell_unused("neighbourhood=none mines nothing", _OF_MINING)
        callbacks.pop("pictures", None)
    else:
        mining.ledger = Ledger(folder.ledger)
        callbacks = {"mining": mining.callback(), **callbacks}
    if "pictures" in callbacks:
        callbacks["pictures"].mining = mining
        callbacks["pictures"].targets = build_target_images(cfg, data)
    datamodule = data if mining is None else mining.around(data)

    def begin(trainer: Any, task: Any) -> None:
        if trainer.is_global_zero:  # what was refused before leaves a folder as it was
            folder.begin(cfg)

    trainer = instantiate(
        cfg.trainer,
        precision=auto_precision(cfg.trainer.accelerator) if cfg.trainer.precision == "auto" else cfg.trainer.precision,
        callbacks=[*callbacks.values(), LambdaCallback(on_train_start=begin)],
        logger=instantiate(cfg.logger) if cfg.logger["_target_"] else False,
        plugins=[AtomicCheckpointIO()],
        use_distributed_sampler=False,  # hardmine's sampler already shares the rows out
        enable_model_summary=False,
        **({} if data.has("val") else {"limit_val_batches": 0}),
    )
    started = time.perf_counter()
    last = folder.checkpoint
    trainer.fit(task, datamodule, ckpt_path=str(last) if cfg.resume else None, weights_only=True)
    seconds = time.perf_counter() - started
    steps = trainer.global_step
    if "checkpoint" in callbacks:
        trainer.save_checkpoint(last)
    after = _measure(trainer, task, data, None)
    before_path = run_dir / "checkpoints/before.ckpt"
    before = _measure(trainer, task, data, before_path) if before_path.is_file() else {}
    summary = {**after, **{f"before/{key}": value for key, value in before.items()}}
    summary.update(_found(mining), steps=steps, seconds=round(seconds, 1))
    if trainer.is_global_zero:
        _show(run_dir, cfg, task.metric, mining, before, after, summary)
    return summary


def _found(mining: Any) -> dict[str, Any]:
    """What the search came to."""
    from hardmine.memory.tally import Tally

    tally = mining.tally if mining is not None else Tally()
    found = {"pieces": tally.pieces, "candidates": tally.candidates, "hit_rate": tally.hit_rate}
    stopped = mining.miner.stopping.reason if mining is not None and mining.miner is not None else None
    return {**found, "refused": tally.refused, **({"stopped": stopped} if stopped else {})}


def _measure(trainer: Any, task: Any, data: Any, checkpoint: Path | None) -> dict[str, float]:
    """Metrics on `val` and `test`, where there are any, of the present weights or of a checkpoint's."""
    at = {"ckpt_path": None if checkpoint is None else str(checkpoint), "weights_only": True, "verbose": False}
    measured = []
    if data.has("val"):
        measured += trainer.validate(task, data, **at)
    if data.has("test"):
        measured += trainer.test(task, data, **at)
    return {name: value for metrics in measured for name, value in metrics.items()}


def _show(run_dir: Path, cfg: Any, metric: str, mining: Any, before: Any, after: Any, summary: dict[str, Any]) -> None:
    """Files and the table at the end of a run."""
    from rich.console import Console

    from hardmine.files import write_atomically
    from hardmine.report import environment_table, write_graph

    if mining is not None and mining.miner is not None:
        write_graph(run_dir, mining.miner, mining.threshold)
    plain = {name: None if value != value else value for name, value in summary.items()}  # JSON knows no NaN
    text = json.dumps(plain, indent=2, sort_keys=True) + "\n"
    write_atomically(run_dir / "summary.json", lambda file: file.write(text.encode()))
    console = Console()
    if after:
        console.print(environment_table(before, after, metric))
    if "stopped" in summary:
        console.print(f"the search was over before the end: {summary['stopped']}")
    console.print(
        f"{summary['pieces']} pieces from {summary['candidates']} candidates (hit rate {summary['hit_rate']:.0%}), "
        f"{summary['steps']} steps in {summary['seconds']:.0f} s\nrun folder: {run_dir}"
    )


def quieten() -> None:
    """Keep the libraries' advice that does not fit here off the screen."""
    import lightning  # noqa: F401  (it sets the level of its logger when imported)

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # images lie in memory: loader processes would only copy them
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # one process is what was asked for; more are started by srun or torchrun
    warnings.filterwarnings("ignore", message=".*The `srun` command is available on your system.*")
    # lightning 2.6.6 with torch 2.15
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.. is deprecated.*")
