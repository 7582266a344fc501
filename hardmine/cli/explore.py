"""`hardmine explore`: a page in which a person puts images into other light and sees what the model makes of them."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hardmine.cli.config import BAD, key_of, look_at, tell_unused, with_root
from hardmine.cli.lent import KEPT, Lender
from hardmine.cli.paths import at_home, look_at_output, path_of, quoted, with_paths
from hardmine.errors import InputError
from hardmine.files import told_once, trouble
from hardmine.runs import RunFolder

_USE = "use hardmine explore RUN_FOLDER, or hardmine explore ckpt=FILE [KEY=VALUE ...]"
# keys that a page has no use for
_UNUSED = (
    *("update", "callbacks", "checkpoint", "early_stopping", "logger", "gate", "buffer", "stopping", "mining"),
    *("resume", "report", "timeout", "run_dir"),
)
_SPLITS = ("val", "test", "train", "target")
_log = logging.getLogger("hardmine")


def command(arguments: list[str]) -> None:
    """Serve the page of a run, or of any checkpoint, until Ctrl-C."""
    if find_spec("nicegui") is None:
        raise InputError("explore: the package nicegui is missing: pip install 'hardmine[explore]'")
    from hardmine.explore.serve import listening, serve

    given = _given(arguments)
    lender = Lender(given, Path(next(path_of(each) for each in given if key_of(each) == "ckpt")), (*KEPT, *_OF_SEARCH))
    cfg = _config(lender)
    folder = _folder(cfg, lender)
    tell_unused("explore trains nothing and searches for nothing", _UNUSED, arguments)
    with listening(cfg.port) as socket:
        try:
            with told_once():
                page = built(cfg, folder)
        except BAD as error:
            raise InputError(_explained(error)) from None
        serve(page, socket, opens=cfg.open, say=lambda line: print(line, flush=True))


_OF_SEARCH = ("neighbourhood", "first")  # blocks of a run that say where the search goes


def _given(arguments: list[str]) -> list[str]:
    """KEY=VALUE arguments, with the checkpoint of the run that is named."""
    folders = [argument for argument in arguments if "=" not in argument and not argument.startswith("~")]
    if len(folders) > 1 or any(folder.startswith("-") for folder in folders):
        raise InputError(f"explore: {' '.join(folders)}: {_USE}")
    given = with_paths([argument for argument in arguments if argument not in folders], False)
    if folders and "ckpt" in map(key_of, given):
        raise InputError(f"explore: {folders[0]} and ckpt= both say what is explored: give one of the two")
    if folders:
        run = Path(at_home(folders[0]))
        if why := trouble(run, folder=True):
            raise InputError(f"{run}: {why}: name the folder of a run")
        if why := trouble(RunFolder(run).checkpoint):
            raise InputError(f"{RunFolder(run).checkpoint}: {why}: name the folder of a run that wrote a checkpoint")
        given.append(f"ckpt={quoted(str(RunFolder(run).checkpoint))}")
    if "ckpt" not in map(key_of, given):
        raise InputError(f"explore: ckpt is missing: {_USE}")
    return given


def _config(lender: Lender) -> Any:
    """What the arguments and the run say."""
    from hydra import compose, initialize_config_dir

    from hardmine.cli import config_folder
    from hardmine.cli.blocks import look_at_groups

    values = with_root(lender.arguments)
    look_at_groups({key_of(each): each.split("=", 1)[1] for each in values if "=" in each})
    try:
        with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
            cfg = compose("explore", [*values, "run_dir=."])
        look_at(cfg)
        lender.lend(cfg)
    except BAD as error:
        raise InputError(_explained(error)) from None
    return cfg


def _explained(error: BaseException) -> str:
    from hardmine.cli.explain import explain

    return explain(error, "hardmine explore")


def _folder(cfg: Any, lender: Lender) -> Path:
    """Where recipes are kept."""
    if cfg.out != "auto":
        return look_at_output("out", cfg.out)
    if lender.folder is None:
        raise InputError(f"out: {cfg.ckpt} stands in no run folder: set out=FOLDER, in which recipes are kept")
    return look_at_output("out", str(lender.folder.path / "recipes"))


def built(cfg: Any, folder: Path) -> Any:
    """The page, and what it shows.

    Args:
        cfg: of the command.
        folder: that recipes are kept in.

    Returns:
        A `Page`.
    """
    import torch

    from hardmine import __version__
    from hardmine.cli.build import build_data, build_looking, build_policies, build_target_images, build_task
    from hardmine.cli.mine import autocasting
    from hardmine.cli.train import quieten
    from hardmine.data.upload import Uploads
    from hardmine.explore.explorer import Explorer
    from hardmine.explore.images import Images
    from hardmine.explore.page import Page

    quieten()
    if "targets" in cfg.data:
        cfg.data.targets = 0.0  # nothing is trained on them
    data = build_data(cfg, flip=False)
    there = list(filter(data.has, _SPLITS))
    if cfg.source is not None and cfg.source not in there:
        raise InputError(f"source: the data has no images in the split {cfg.source!r:.60}: take one of {there}")
    if cfg.store.path is None and not data.has("target"):
        raise InputError("explore: no store has other light: set store=file store.path=FILE")
    task = build_task(cfg, data)
    device = torch.device("cuda" if torch.cuda.is_available() and cfg.trainer.accelerator != "cpu" else "cpu")
    task.to(device)
    splits = {split: data.split(split) for split in dict.fromkeys([cfg.source or there[0], *there])}
    mining = build_looking(cfg, data)
    images = Images(splits, Uploads(data), device)
    explorer = Explorer(
        mining,
        task,
        build_policies(cfg),
        images.batch(next(iter(splits)), 0),
        autocasting(cfg, device),
        lambda batch: data.on_after_batch_transfer(batch, 0),
    )
    known: dict[str, Any] = {}

    def target(row: int) -> Any:
        if not known:
            known.update(build_target_images(cfg, data))
        image = known.get(explorer.store.ids[row])
        return explorer.store.target_image(row) if image is None else image

    about = {"ckpt": str(cfg.ckpt), "hardmine": __version__}
    return Page(explorer, images, target, folder, about, cfg.environment.order, cfg.neighbourhood["_target_"])
