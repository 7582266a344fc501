"""From arguments to a composed config, and from errors to one line."""

import atexit
import gc
import logging
import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from math import nan
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from hardmine.cli import config_folder, failed
from hardmine.cli.blocks import look_at_blocks, look_at_groups
from hardmine.cli.explain import explain
from hardmine.cli.paths import at_home, is_path
from hardmine.ending import AskedError
from hardmine.errors import InputError, TrainingError
from hardmine.files import told_once, unwritten
from hardmine.runs import LOCK, RunFolder

BAD = (InputError, HydraException, OmegaConfBaseException)  # what the user can mend


def run_configured(
    name: str, arguments: Sequence[str], run: Callable[[Any], Any], frozen: Path | None = None, record: bool = False
) -> None:
    """Compose `conf/<name>.yaml` with the arguments and run, for each job of a sweep.

    Args:
        name: of the command.
        arguments: Hydra's.
        run: takes the config.
        frozen: a config in place of the command's own.
        record: a run that ends badly leaves its outcome in its folder and goes no further, as in a sweep.

    Raises:
        InputError: a key or value that the config does not know.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig

    from hardmine.cli.multirun import told
    from hardmine.outcome import recorded

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach the handlers below in place of Hydra's own report
    program = f"hardmine {name}"
    arguments = with_root(arguments) if frozen is None else arguments
    sys.argv = [program, *(with_end(arguments) if name == "train" else arguments)]

    def one(cfg: DictConfig) -> Any:
        look_at(cfg)
        if not gc.isenabled():  # see `main`
            gc.freeze()  # no collection need look at the modules again,
            atexit.register(gc.unfreeze)  # but at the end: extensions report as leaked what nobody collects
            gc.enable()
        with told_once():
            return run(cfg)

    def job(cfg: DictConfig) -> Any:
        settings = HydraConfig.get()

        def line(error: Exception) -> str:
            return _with_key(explain(error, program), cfg)

        if record or settings.mode == RunMode.MULTIRUN:  # a bad run ends nothing but itself
            with recorded(Path(settings.runtime.output_dir), settings.overrides.task, BAD, line):
                return one(cfg)
            return nan
        try:
            return one(cfg)
        except AskedError as asked:
            _remove_empty_run()
            if (folder := cfg.get("run_dir")) and RunFolder(folder).begun:
                asked.left = f"ended outside of training: resume={folder} goes on from its checkpoint"
            raise
        except TrainingError as error:
            raise failed(str(error), 1) from None
        except BAD as error:
            _remove_empty_run()
            raise failed(line(error)) from None  # Hydra adds lines of its own to any other exception
        except Exception as error:
            folder = cfg.get("run_dir") or cfg.get("out")
            if said := unwritten(error, folder):
                again = f"; then resume={folder}" if cfg.get("run_dir") and RunFolder(folder).begun else ""
                raise failed(said + again, 1) from None
            raise

    look_at_groups({key_of(each): each.split("=", 1)[1] for each in sys.argv[1:] if "=" in each})
    try:
        where, what = (config_folder(), name) if frozen is None else (frozen.parent.resolve(), frozen.stem)
        with told():
            if _may_be_several(sys.argv[1:]):
                hydra.main(version_base="1.3", config_path=str(where), config_name=what)(job)()
            else:  # the same, but composed once: `main` also composes to see which of the two it is
                with hydra.initialize_config_dir(str(where), "hardmine", version_base="1.3"):
                    GlobalHydra.instance().hydra.run(what, job, sys.argv[1:])  # type: ignore[union-attr]
    except BAD as error:
        raise InputError(explain(error, program)) from None


def _may_be_several(arguments: Sequence[str]) -> bool:
    """Whether arguments have options, or reach configs that may say that several runs are meant."""
    reaching = {"hydra.mode", "hydra.searchpath", "experiment"}
    return any(each.startswith("-") or key_of(each) in reaching for each in arguments)


def composed(name: str, arguments: Sequence[str] = ()) -> Any:
    """The config of a command, also while Hydra runs another one.

    Args:
        name: of the command.
        arguments: Hydra's.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
            return compose(name, list(arguments))
    finally:
        GlobalHydra.instance().hydra = running


def look_at(cfg: Any) -> None:
    """See that a composed config can be worked with, before anything is built from it.

    Raises:
        InputError: what is missing, of another type, or out of range.
    """
    from hardmine.cli.hints import look_at_types
    from hardmine.cli.launch import look_at_trainer
    from hardmine.cli.ranges import look_at_ranges

    look_at_blocks(cfg)
    look_at_types(cfg)
    look_at_ranges(cfg)
    look_at_trainer(cfg.trainer)


def _with_key(message: str, cfg: Any) -> str:
    """The library names an argument of `Mining`; here it is a key of the block `mining`."""
    name = re.split(r"[^a-z_]", message, maxsplit=1)[0]
    return f"mining.{message}" if name in cfg.get("mining", {}) else message


def tell_unused(why: str, names: Collection[str], given: Sequence[str] | None = None) -> None:
    """One line with what was set on the command line and changes nothing.

    Args:
        why: the command or choice that it is of no use to.
        names: of the keys, or of their blocks.
        given: what was set; None takes what Hydra was given.
    """
    from hydra.core.hydra_config import HydraConfig

    if given is None:
        given = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    unused = [argument for argument in given if {(key := key_of(argument)), key.split(".")[0]} & set(names)]
    if unused:
        logging.getLogger("hardmine").warning("hardmine: %s: not used: %s", why, ", ".join(unused))


def _remove_empty_run() -> None:
    """Remove what a run that was refused has written, where it has not begun."""
    from hydra.core.hydra_config import HydraConfig

    from hardmine.cli.place import Place

    hydra = HydraConfig.get()
    Place.restore({hydra.output_subdir or "", f"{hydra.job.name}.log", LOCK, "data.parquet"})


def plain_arguments(command: str, arguments: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE arguments of a command that needs no config.

    Raises:
        InputError: anything else.
    """
    pairs = [argument.split("=", 1) for argument in arguments if "=" in argument]
    given = dict(pairs)
    if len(given) < len(pairs):
        twice = next(key for key in given if [other for other, _ in pairs].count(key) > 1)
        raise InputError(f"{command}: {twice} is given twice: give it once")
    strange = [argument for argument in arguments if "=" not in argument] + sorted(given.keys() - set(known))
    if strange:
        raise InputError(f"{command}: {strange[0]!r} is unknown: it takes {', '.join(f'{key}=...' for key in known)}")
    return {key: at_home(value) if is_path(key) else value for key, value in given.items()}


def values_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Keys and values of arguments, as Hydra reads them."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(arguments))
    return {each.key_or_group: each.value() for each in parsed}


def allowed(arguments: Sequence[str]) -> list[str]:
    """What `allow=[...]` says, which only whoever starts the command can: not a folder that is read."""
    given = values_of([argument for argument in arguments if key_of(argument) == "allow"]).get("allow", [])
    if not isinstance(given, list) or not all(isinstance(package, str) for package in given):
        raise InputError(f"allow must be a list of packages, got {given!r:.60}: set allow=[PACKAGE]")
    return given


def key_of(argument: str) -> str:
    return argument.split("=", 1)[0].lstrip("+~")


def experiment_blocks(arguments: Sequence[str]) -> set[str]:
    """Blocks and groups of the config that the chosen experiments set; all that there are where one is not found."""
    from omegaconf import OmegaConf

    values = [argument.split("=", 1)[1] for argument in arguments if key_of(argument) == "experiment"]
    blocks: set[str] = set()
    for name in re.findall(r"[^\[\], ]+", values[-1]) if values else ():
        path = config_folder() / f"experiment/{name}.yaml"
        if not path.is_file():  # on the user's own search path
            return {path.stem for path in config_folder().iterdir()}
        chosen: Any = OmegaConf.load(path)
        blocks |= {str(key) for key in chosen}
        blocks |= {str(key).split("/")[-1] for entry in chosen.get("defaults", ()) for key in entry}
    return blocks


def with_root(arguments: Sequence[str]) -> list[str]:
    """`data.root` alone means `data=folder`, `data.images` `data=pairs`, unless an experiment says what data it is."""
    keys = {key_of(argument) for argument in arguments}
    if keys & {"data.root", "data.images"} and "data" not in keys | experiment_blocks(arguments):
        return [*arguments, "data=pairs" if "data.images" in keys else "data=folder"]
    return list(arguments)


def with_end(arguments: Sequence[str]) -> list[str]:
    """One of `trainer.max_steps` and `trainer.max_epochs` alone takes the place of the other, which is set already."""
    ends = {"trainer.max_steps": "trainer.max_epochs", "trainer.max_epochs": "trainer.max_steps"}
    given = {key_of(each): each.split("=", 1)[1] for each in arguments if "=" in each and key_of(each) in ends}
    (name, value), *both = given.items() or [("", "")]
    if both or value in ("", "-1", "null"):
        return list(arguments)
    return [*arguments, f"{ends[name]}=-1"]
