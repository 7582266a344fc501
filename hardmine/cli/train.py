"""`hardmine train`: one run, from the config to the table at its end."""

import logging
import time
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from hardmine.cli.config import run_configured, tell_unused
from hardmine.cli.resume import prepared
from hardmine.cli.summary import decided, found, measured, show
from hardmine.errors import InputError
from hardmine.report.metric import main_metric
from hardmine.runs import RunFolder

_log = logging.getLogger("hardmine")
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


def train(cfg: Any, watching: Sequence[Any] = ()) -> dict[str, Any]:
    """Data, store, task and search from the config; fit, compare, write down.

    Args:
        cfg: composed config of `conf/train.yaml`.
        watching: callbacks beside those of the config.

    Returns:
        What `summary.json` holds.
    """
    from hardmine.callbacks import tracking

    with tracking.closed():
        return _train(cfg, watching)


def _train(cfg: Any, watching: Sequence[Any]) -> dict[str, Any]:
    import lightning as L
    from lightning.fabric.utilities.rank_zero import rank_zero_only
    from lightning.pytorch.callbacks import LambdaCallback
    from torch.utils.data import default_collate

    from hardmine.callbacks import Finite, Signals, tracking
    from hardmine.callbacks.checkpoint import look_at_state
    from hardmine.cli import loggers
    from hardmine.cli.album import PageAlbum
    from hardmine.cli.build import (
        build_callbacks,
        build_data,
        build_inventory,
        build_mining,
        build_target_images,
        build_task,
    )
    from hardmine.cli.networks import compile_network
    from hardmine.cli.report import report_of
    from hardmine.cli.trouble import explained
    from hardmine.length import reopen_epoch, told_length
    from hardmine.machine import Machine
    from hardmine.memory.ledger import Ledger
    from hardmine.numbered import Numbered
    from hardmine.report.table import environment_rows

    if "search" in cfg:
        raise InputError(
            "experiment=first_embodiment searches with a frozen model: hardmine mine experiment=first_embodiment "
            "ckpt=FILE out=FOLDER"
        )
    loggers.look_at_logger(cfg.logger)
    quieten()
    L.seed_everything(cfg.seed, verbose=False)
    folder = RunFolder(cfg.run_dir)
    run_dir = folder.path
    auto = cfg.resume == "auto"
    if auto:  # a run of a sweep, each with a folder of its own
        cfg.resume = str(run_dir) if folder.begun else None
    patience = (cfg.callbacks.get("early_stopping") or {}).get("patience")
    if cfg.resume and (summary := folder.finished(cfg.trainer.max_steps, patience)):
        return _finished(folder, summary, cfg)
    first = not getattr(rank_zero_only, "rank", 0)  # None where there is one process alone
    if first:
        folder.claim()
        if not cfg.resume:
            folder.forget() if auto else folder.look_unused()
    if cfg.resume:
        look_at_state(folder.resumable(), cfg.neighbourhood["_target_"] is not None)
    data = build_data(cfg)
    task = build_task(cfg, data, trains=True)
    task.fused = cfg.trainer.get("fused", False)
    if cfg.resume:
        folder.weights_before(task)  # what cannot be shown at the end is told now
    mining = build_mining(cfg, data)
    callbacks = build_callbacks(cfg, task, data)
    if mining is None:
        tell_unused("neighbourhood=none mines nothing", _OF_MINING)
        callbacks.pop("pictures", None)
    else:
        mining.ledger = Ledger(folder.ledger)
        if task.averaged.kept and mining.decay == task.averaged.average.decay:
            mining.judge_by(task.averaged.average)
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
            loggers.begin(trainer.loggers, cfg)
            folder.begin(cfg, given, Machine.here(trainer.strategy.root_device, trainer.world_size))

    def tell_length(trainer: Any, *_: Any) -> None:
        if first and (line := told_length(trainer, len(data.split("train")))):
            _log.warning("hardmine: %s", line)

    starts = LambdaCallback(on_train_start=tell_length, on_train_batch_end=lambda *_: begin())
    trainer = _trainer(cfg, data, [starts, *callbacks.values(), finite, signals, *watching])
    if cfg.get("compile"):
        if data.kind == "boxes":
            raise InputError("compile=true: detectors take lists of images, which are not compiled: set compile=false")
        compile_network(task.net, trainer.strategy.root_device)
    started = time.perf_counter()
    last = folder.checkpoint
    with explained(trainer, callbacks, cfg.timeout, run_dir):
        trainer.fit(task, datamodule, ckpt_path=str(folder.resumable()) if cfg.resume else None, weights_only=True)
    seconds = time.perf_counter() - started
    steps = trainer.global_step
    if cfg.resume and (summary := folder.finished(steps)):  # trainer.max_epochs, say
        return _finished(folder, summary, cfg)
    begin()
    if mining is not None and mining.miner is None and cfg.resume:  # it was killed between its last step and its end
        mining.read(default_collate([Numbered(data.training)[0, 0]]))
        if trainer.is_global_zero and mining.ledger is not None:
            mining.go_on_from(mining.ledger.truncate(mining.step))  # whether it is all there
    reopen_epoch(trainer)
    if "checkpoint" in callbacks:
        trainer.save_checkpoint(last)
    if signals.came is not None:
        if trainer.is_global_zero:
            folder.freeze(cfg)
        signals.leave(run_dir, steps, "checkpoint" in callbacks, trainer.is_global_zero)
    best, early = (callbacks.get(name) for name in ("best", "early_stopping"))
    if first and best is not None and getattr(best, "best", best) is None:
        _log.warning(
            "hardmine: checkpoint=best kept none, as nothing was validated in %d steps: the last weights are measured; "
            "set trainer.val_check_interval lower",
            steps,
        )
    autocast = trainer.precision_plugin.forward_context
    album = PageAlbum(cfg, data, data.training, mining if first else None, folder.ledger, autocast)
    after, before = _compared(trainer, task, data, folder, getattr(best, "best", None), album)
    summary = {**after, **{f"before/{key}": value for key, value in before.items()}}
    summary.update(found(mining), steps=steps, seconds=round(seconds, 1), nonfinite_steps=finite.steps)
    summary.update(decided(best, early))
    if trainer.is_global_zero:
        show(folder, task.metric, mining, before, after, summary)
        album.write(folder.path)
        report_of(folder.path, cfg.get("report", True))
        _keep(folder, cfg, "checkpoint" in callbacks)
        tracking.add_end(trainer.loggers, environment_rows(before, after, task.metric), folder.path, steps)
    return summary


def _trainer(cfg: Any, data: Any, callbacks: Sequence[Any]) -> Any:
    """Lightning's trainer, as the config says.

    Raises:
        InputError: it would start processes of its own.
    """
    from hydra.utils import instantiate
    from lightning.pytorch.callbacks import Checkpoint

    from hardmine.callbacks import AtomicCheckpointIO
    from hardmine.cli import loggers
    from hardmine.cli.launch import distributed, environments, launched
    from hardmine.tasks.precision import auto_precision

    trainer = instantiate(
        lightnings(cfg.trainer),
        precision=auto_precision(cfg.trainer.accelerator) if cfg.trainer.precision == "auto" else cfg.trainer.precision,
        callbacks=callbacks,
        logger=loggers.build_logger(cfg.logger) or False,
        plugins=[AtomicCheckpointIO(), *environments()],
        **distributed(cfg.trainer, cfg.timeout),
        use_distributed_sampler=False,  # hardmine's sampler already shares the rows out
        enable_model_summary=False,
        # otherwise Lightning adds a ModelCheckpoint, which writes where the command was typed
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        **({} if data.has("val") else {"limit_val_batches": 0}),
    )
    if trainer.world_size > 1 and launched() is None:  # trainer.devices=auto found several
        raise InputError(
            f"trainer.devices={cfg.trainer.devices} found {trainer.num_devices} devices: start the run with torchrun "
            f"--nproc_per_node={trainer.num_devices} -m hardmine train ..., or set trainer.devices=1"
        )
    return trainer


def _compared(
    trainer: Any, task: Any, data: Any, folder: RunFolder, best: Path | None, album: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics of the weights of the end, or the best, and of those when mining began, where these are kept.

    Both are looked at in the album. The task has the latter afterwards.
    """
    device = trainer.strategy.root_device
    after = measured(trainer, task, data, best)
    with task.averaged.in_place(task):
        album.look(task, "prediction at the end", device)
    weights = folder.weights_before(task)
    if not weights:
        return after, {}
    task.on_load_checkpoint({"state_dict": weights})  # it is no average of these
    task.load_state_dict(weights)
    before = measured(trainer, task, data, before=True)
    album.look(task, "prediction before mining", device)
    return after, before


def _finished(folder: RunFolder, summary: dict[str, Any], cfg: Any) -> dict[str, Any]:
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    from hardmine.memory.ledger import Ledger

    Ledger(folder.ledger).read()  # whether it is whole
    more = "resume it with trainer.max_steps=... or trainer.max_epochs=... to train longer"
    if cfg.get("keep") == "weights":
        more = f"{folder.checkpoint} has its weights, from which a new run begins with ckpt="
    print(f"{folder.path}: the run is finished, after {summary['steps']} steps: {more}")
    if cfg.get("keep") == "weights" and not getattr(rank_zero_only, "rank", 0):
        folder.keep_weights()  # nothing, but where it was killed before it had done so
    return summary


def _keep(folder: RunFolder, cfg: Any, checkpoints: bool) -> None:
    """Of a run that has come to its end, what is wanted of its checkpoints; a run of an earlier version keeps all."""
    if cfg.get("keep") != "weights" or not folder.claimed:
        return
    folder.keep_weights()
    if checkpoints:
        size = folder.checkpoint.stat().st_size / 1e6
        print(f"{folder.checkpoint}: {size:.0f} MB, the weights alone; to train a finished run for longer: keep=all")


def lightnings(trainer: DictConfig) -> DictConfig:
    """The block `trainer` without the keys that are hardmine's own."""
    settings: DictConfig = trainer.copy()
    with open_dict(settings):
        settings.pop("patience_nonfinite", None)
        settings.pop("fused", None)
    return settings


def quieten() -> None:
    """Keep the libraries' advice that does not fit here off the screen."""
    import lightning  # noqa: F401  (it sets the level of its logger when imported)

    for name in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)
    # hardmine's progress has lines of its own
    warnings.filterwarnings("ignore", message=".*The number of training batches .* is smaller than the logging.*")
    # images lie in memory: loader processes would only copy them
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # where a run goes on
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # one process is what was asked for; more are started by srun or torchrun
    warnings.filterwarnings("ignore", message=".*The `srun` command is available on your system.*")
    # lightning 2.6.6 with torch 2.15
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.. is deprecated.*")
