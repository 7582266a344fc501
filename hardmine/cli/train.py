"""`hardmine train`: one run, from the config to the table at its end."""

import json
import logging
import time
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from hardmine.cli.config import allowed, key_of, run_configured, tell_unused
from hardmine.cli.launch import is_first
from hardmine.cli.paths import look_at_output, path_of, quoted
from hardmine.errors import InputError
from hardmine.report.metric import main_metric
from hardmine.runs import RunFolder

# blocks that plain training has no use for, and keys; `mining.start` says when the table's first column is measured
_OF_MINING = (
    *("conversion", "first", "gate", "update", "buffer", "stopping", "environment"),
    *(f"mining.{key}" for key in ("threshold", "hardest", "mined", "stand_ins", "candidates", "score_size", "decay")),
)


def command(arguments: list[str]) -> None:
    """Run, or go on with the run folder named by `resume=`, with its own settings."""
    arguments, frozen = prepared(arguments)

    def run(cfg: Any) -> Any:
        summary = train(cfg)
        return summary.get(main_metric(summary) or "", 0)  # what a sweeper of Hydra's may optimise

    run_configured("train", arguments, run, frozen)


def prepared(arguments: list[str]) -> tuple[list[str], Path | None]:
    """What `resume=` stands for.

    Returns:
        Arguments for Hydra, and the config that the run froze, where there is one to go on with.

    Raises:
        InputError: nothing to go on with, or a new run in the folder of another.
    """
    folders = [path_of(argument) for argument in arguments if key_of(argument) == "resume"]
    many = bool({"-m", "--multirun"} & set(arguments))
    if folders and folders[-1] == "auto" and not many:
        arguments, folders = _auto(arguments)
        if not folders:
            return arguments, None
    if folders and folders[-1] not in ("null", "auto"):
        folder = RunFolder(folders[-1])
        if many:
            raise InputError(
                f"resume={folder.path}: is one run: a sweep goes on with resume=auto hydra.sweep.dir=FOLDER and the "
                "arguments that it had"
            )
        return _resumed(folder, arguments), folder.frozen
    for argument in [one for one in arguments if key_of(one) == "hydra.run.dir"][-1:]:
        look_at_output("hydra.run.dir", path_of(argument))
    return arguments, None


def _auto(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What `resume=auto` means: the run of the folder, with its own settings, or where it has no checkpoint a new one.

    Returns:
        Arguments, and the run folder to go on with, if any.

    Raises:
        InputError: no folder is named, which a job that starts again would find.
    """
    given = [path_of(argument) for argument in arguments if key_of(argument) == "hydra.run.dir"]
    if not given:
        raise InputError("resume=auto: name the folder of the run as well: hydra.run.dir=FOLDER")
    folder = RunFolder(given[-1])
    if folder.begun:
        return [f"resume={quoted(str(folder.path))}"], [str(folder.path)]
    if is_first():
        folder.forget()
    return [argument for argument in arguments if key_of(argument) != "resume"], []


def _resumed(folder: RunFolder, arguments: list[str]) -> list[str]:
    """Arguments for the config that the run froze.

    Raises:
        InputError: nothing to go on with, or another choice of a group.
    """
    allow = allowed(arguments)
    frozen = folder.config(allow)
    folder.resumable()
    for argument in arguments:
        added = argument.startswith("+") and "." not in key_of(argument)
        if added or isinstance(frozen.get(key_of(argument)), DictConfig):
            raise InputError(f"{argument}: a resumed run keeps its {key_of(argument)}: change single keys of it alone")
    look_at_output("resume", str(folder.path))
    path = quoted(str(folder.path))
    hydra = (f"hydra.run.dir={path}", "hydra.job.name=hardmine", "hydra.output_subdir=null")
    kept = [argument for argument in arguments if key_of(argument) != "allow"]
    return [*kept, f"++allow=[{','.join(map(quoted, allow))}]", f"run_dir={path}", *hydra]


def train(cfg: Any, watching: Sequence[Any] = ()) -> dict[str, Any]:
    """Data, store, task and search from the config; fit, compare, write down.

    Args:
        cfg: composed config of `conf/train.yaml`.
        watching: callbacks beside those of the config.

    Returns:
        What `summary.json` holds.
    """
    import lightning as L
    from hydra.utils import instantiate
    from lightning.fabric.utilities.rank_zero import rank_zero_only
    from lightning.pytorch.callbacks import Checkpoint, LambdaCallback
    from torch.utils.data import default_collate

    from hardmine.callbacks import AtomicCheckpointIO, Finite, Signals
    from hardmine.callbacks.checkpoint import look_at_state
    from hardmine.cli.build import build_data, build_inventory, build_mining, build_target_images, build_task
    from hardmine.cli.launch import distributed, environments, launched
    from hardmine.cli.report import report_of
    from hardmine.cli.trouble import explained
    from hardmine.machine import Machine
    from hardmine.memory.ledger import Ledger
    from hardmine.numbered import Numbered
    from hardmine.tasks.precision import auto_precision

    if "search" in cfg:
        raise InputError(
            "experiment=first_embodiment searches with a frozen model: hardmine mine experiment=first_embodiment "
            "ckpt=FILE out=FOLDER"
        )
    quieten()
    L.seed_everything(cfg.seed, verbose=False)
    folder = RunFolder(cfg.run_dir)
    run_dir = folder.path
    auto = cfg.resume == "auto"
    if auto:  # a run of a sweep, each with a folder of its own
        cfg.resume = str(run_dir) if folder.begun else None
    if cfg.resume and (summary := folder.finished(cfg.trainer.max_steps)):
        return _finished(folder, summary)
    first = not getattr(rank_zero_only, "rank", 0)  # None where there is one process alone
    if first:
        folder.claim()
        if not cfg.resume:
            folder.forget() if auto else folder.look_unused()
    if cfg.resume:
        look_at_state(folder.resumable(), cfg.neighbourhood["_target_"] is not None)
        folder.before_is_whole()
    data = build_data(cfg)
    task = build_task(cfg, data)
    task.fused = cfg.trainer.get("fused", False)
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
    given = build_inventory(cfg, data, mining) if first else None
    if given is not None and cfg.resume:
        folder.look_at_data(given)

    signals, finite = Signals(), Finite(cfg.trainer.get("patience_nonfinite", 10))

    @cache
    def begin() -> None:  # with the first step: what is refused before leaves a folder as it was
        if first:
            folder.begin(cfg, given, Machine.here(trainer.strategy.root_device, trainer.world_size))

    trainer = instantiate(
        lightnings(cfg.trainer),
        precision=auto_precision(cfg.trainer.accelerator) if cfg.trainer.precision == "auto" else cfg.trainer.precision,
        callbacks=[
            LambdaCallback(on_train_batch_end=lambda *_: begin()),
            *callbacks.values(),
            finite,
            signals,
            *watching,
        ],
        logger=instantiate(cfg.logger) if cfg.logger["_target_"] else False,
        plugins=[AtomicCheckpointIO(), *environments()],
        **distributed(cfg.trainer, cfg.timeout),
        use_distributed_sampler=False,  # hardmine's sampler already shares the rows out
        enable_model_summary=False,
        # otherwise Lightning adds a ModelCheckpoint, which writes where the command was typed
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks.values()),
        **({} if data.has("val") else {"limit_val_batches": 0}),
    )
    if trainer.world_size > 1 and launched() is None:  # trainer.devices=auto found several
        raise InputError(
            f"trainer.devices={cfg.trainer.devices} found {trainer.num_devices} devices: start the run with torchrun "
            f"--nproc_per_node={trainer.num_devices} -m hardmine train ..., or set trainer.devices=1"
        )
    started = time.perf_counter()
    last = folder.checkpoint
    with explained(trainer, callbacks, cfg.timeout, run_dir):
        trainer.fit(task, datamodule, ckpt_path=str(folder.resumable()) if cfg.resume else None, weights_only=True)
    seconds = time.perf_counter() - started
    steps = trainer.global_step
    if cfg.resume and (summary := folder.finished(steps)):  # trainer.max_epochs, say
        return _finished(folder, summary)
    begin()
    if mining is not None and mining.miner is None and cfg.resume:  # it was killed between its last step and its end
        mining.read(default_collate([Numbered(data.training)[0, 0]]))
    if "checkpoint" in callbacks:
        trainer.save_checkpoint(last)
    if signals.came is not None:
        if trainer.is_global_zero:
            folder.freeze(cfg)
        signals.leave(run_dir, steps, "checkpoint" in callbacks, trainer.is_global_zero)
    after = _measure(trainer, task, data, None)
    before = _measure(trainer, task, data, folder.before) if folder.before_is_whole() else {}
    summary = {**after, **{f"before/{key}": value for key, value in before.items()}}
    summary.update(_found(mining), steps=steps, seconds=round(seconds, 1), nonfinite_steps=finite.steps)
    if trainer.is_global_zero:
        _show(folder, task.metric, mining, before, after, summary)
        report_of(folder.path, cfg.get("report", True))
    return summary


def _finished(folder: RunFolder, summary: dict[str, Any]) -> dict[str, Any]:
    print(
        f"{folder.path}: the run is finished, after {summary['steps']} steps: resume it with trainer.max_steps=... to "
        "train longer"
    )
    return summary


def lightnings(trainer: DictConfig) -> DictConfig:
    """The block `trainer` without the keys that are hardmine's own."""
    settings: DictConfig = trainer.copy()
    with open_dict(settings):
        settings.pop("patience_nonfinite", None)
        settings.pop("fused", None)
    return settings


def _found(mining: Any) -> dict[str, Any]:
    """What the search came to."""
    from hardmine.memory.tally import Tally

    tally = mining.tally if mining is not None else Tally()
    found = {"pieces": tally.pieces, "candidates": tally.candidates, "hit_rate": tally.hit_rate}
    found.update(unscored=tally.unscored, nothing_mined=mining is not None and not tally.pieces)
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


def _show(folder: RunFolder, metric: str, mining: Any, before: Any, after: Any, summary: dict[str, Any]) -> None:
    """Files and the table at the end of a run."""
    from rich.console import Console

    from hardmine.files import write_atomically
    from hardmine.report.graph import write_graph
    from hardmine.report.table import environment_table

    if mining is not None and mining.miner is not None:
        write_graph(folder.path, mining.miner.store, mining.miner.graph, mining.threshold)
    plain = {name: None if value != value else value for name, value in summary.items()}  # JSON knows no NaN
    text = json.dumps(plain, indent=2, sort_keys=True) + "\n"
    write_atomically(folder.summary, lambda file: file.write(text.encode()))
    console = Console()
    if after:
        console.print(environment_table(before, after, metric))
    if "stopped" in summary:
        console.print(f"the search was over before the end: {summary['stopped']}")
    if summary["nonfinite_steps"]:
        console.print(f"the loss was NaN or infinite in {summary['nonfinite_steps']} steps", soft_wrap=True)
    if summary["unscored"]:
        console.print(f"{summary['unscored']} candidates could not be scored", soft_wrap=True)
    if summary["nothing_mined"]:
        console.print(f"nothing was mined: {_why(summary, mining.start)}", soft_wrap=True)
    console.print(
        f"{summary['pieces']} pieces from {summary['candidates']} candidates (hit rate {summary['hit_rate']:.0%}), "
        f"{summary['steps']} steps in {summary['seconds']:.0f} s\nrun folder: {folder.path}"
    )


def _why(summary: dict[str, Any], start: int) -> str:
    """What to try where a run ends without a piece."""
    if not summary["candidates"]:
        return (
            f"training ended after {summary['steps']} steps, and mining begins after {start}: set "
            "mining.start lower, or trainer.max_steps higher"
        )
    if summary["unscored"] == summary["candidates"]:
        return "no candidate could be scored: look at the loss and the labels"
    if summary["refused"]:
        return "gates refused whatever was hard: make them less strict, or set gate=none"
    return "no candidate was hard: set mining.threshold=auto, or a higher one, or train for longer"


def quieten() -> None:
    """Keep the libraries' advice that does not fit here off the screen."""
    import lightning  # noqa: F401  (it sets the level of its logger when imported)

    for name in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)
    # hardmine's progress has lines of its own
    warnings.filterwarnings("ignore", message=".*The number of training batches .* is smaller than the logging.*")
    # images lie in memory: loader processes would only copy them
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # one process is what was asked for; more are started by srun or torchrun
    warnings.filterwarnings("ignore", message=".*The `srun` command is available on your system.*")
    # lightning 2.6.6 with torch 2.15
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.. is deprecated.*")
