"""`hardmine train`: one run, from the config to the table at its end."""

import json
import logging
import time
import warnings
from pathlib import Path
from typing import Any

from hardmine.cli.config import key_of, run_configured, settings_of
from hardmine.errors import InputError


def command(arguments: list[str]) -> None:
    """Run, or go on with the run folder named by `resume=`, with its own settings."""
    folders = [Path(argument.removeprefix("resume=")) for argument in arguments if key_of(argument) == "resume"]
    if folders and str(folders[-1]) != "null":
        checkpoint = folders[-1] / "checkpoints/last.ckpt"
        arguments = [*settings_of(folders[-1], arguments), f"hydra.run.dir={folders[-1]}"]
        if not checkpoint.is_file():
            raise InputError(f"{checkpoint}: no such file: resume takes the folder of a run that wrote a checkpoint")

    def run(cfg: Any) -> float:
        summary = train(cfg)
        return next((value for name, value in summary.items() if name.count("/") == 1 and name.startswith("val/")), 0)

    run_configured("train", arguments, run)  # what it returns a sweeper may optimise; `test` is for looking at


def train(cfg: Any) -> dict[str, Any]:
    """Data, store, task and miner from the config; fit, compare, write down.

    Args:
        cfg: composed config of `conf/train.yaml`.

    Returns:
        What `summary.json` holds.
    """
    import lightning as L
    from hydra.utils import instantiate

    from hardmine.callbacks import AtomicCheckpointIO
    from hardmine.cli.build import build_data, build_mining, build_task
    from hardmine.tasks.precision import auto_precision

    quieten()
    L.seed_everything(cfg.seed, verbose=False)
    run_dir = Path(cfg.run_dir)
    data = build_data(cfg)
    task = build_task(cfg, data)
    datamodule = build_mining(cfg, data)
    callbacks = {name: instantiate(callback) for name, callback in cfg.callbacks.items()}
    if "pictures" in callbacks and cfg.store.path is None and data.has("target"):
        targets = data.targets(cfg.store.get("sources", 0))
        callbacks["pictures"].targets = {name: image for name, image, *_ in targets}
    trainer = instantiate(
        cfg.trainer,
        precision=auto_precision(cfg.trainer.accelerator) if cfg.trainer.precision == "auto" else cfg.trainer.precision,
        callbacks=list(callbacks.values()),
        logger=instantiate(cfg.logger) if cfg.logger["_target_"] else False,
        plugins=[AtomicCheckpointIO()],
        use_distributed_sampler=False,  # hardmine's sampler already shares the rows out
        enable_model_summary=False,
        **({} if data.has("val") else {"limit_val_batches": 0}),
    )
    started = time.perf_counter()
    last = run_dir / "checkpoints/last.ckpt"
    trainer.fit(task, datamodule, ckpt_path=str(last) if cfg.resume else None, weights_only=True)
    seconds = time.perf_counter() - started
    steps = trainer.global_step
    if "checkpoint" in callbacks:
        trainer.save_checkpoint(last)
    after = _measure(trainer, task, datamodule, None)
    before_path = run_dir / "checkpoints/before.ckpt"
    before = _measure(trainer, task, datamodule, before_path) if before_path.is_file() else {}
    summary = {**after, **{f"before/{key}": value for key, value in before.items()}}
    summary.update(_found(datamodule), steps=steps, seconds=round(seconds, 1))
    if trainer.is_global_zero:
        _show(run_dir, cfg, task.metric, datamodule, before, after, summary)
    return summary


def _found(datamodule: Any) -> dict[str, Any]:
    """What the search came to."""
    from hardmine.miner import Tally

    miner = datamodule.miner
    tally = miner.tally if miner is not None else Tally()
    found = {"pieces": tally.pieces, "candidates": tally.candidates, "hit_rate": tally.hit_rate}
    stopped = miner.stopping.reason if miner is not None else None
    return {**found, "refused": tally.refused, **({"stopped": stopped} if stopped else {})}


def _measure(trainer: Any, task: Any, datamodule: Any, checkpoint: Path | None) -> dict[str, float]:
    """Metrics on `val` and `test`, where there are any, of the present weights or of a checkpoint's."""
    at = {"ckpt_path": None if checkpoint is None else str(checkpoint), "weights_only": True, "verbose": False}
    measured = []
    if datamodule.inner.has("val"):
        measured += trainer.validate(task, datamodule, **at)
    if datamodule.inner.has("test"):
        measured += trainer.test(task, datamodule, **at)
    return {name: value for metrics in measured for name, value in metrics.items()}


def _show(
    run_dir: Path, cfg: Any, metric: str, datamodule: Any, before: Any, after: Any, summary: dict[str, Any]
) -> None:
    """Files and the table at the end of a run."""
    from rich.console import Console

    from hardmine.files import write_atomically
    from hardmine.report import environment_table, write_graph

    if datamodule.miner is not None:
        write_graph(run_dir, datamodule.miner, cfg.mining.threshold)
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
