"""From arguments to a composed config, and from errors to one line."""

import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from itertools import takewhile
from math import nan
from pathlib import Path
from textwrap import shorten
from typing import Any

from hardmine.errors import InputError
from hardmine.files import told_once, unwritten
from hardmine.runs import LOCK, RunFolder


def config_folder() -> Path:
    """Where the configs are: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


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
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    from hardmine.cli.hints import look_at_types
    from hardmine.cli.multirun import told
    from hardmine.outcome import recorded

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach the handlers below in place of Hydra's own report
    program = f"hardmine {name}"
    sys.argv = [program, *with_urls(with_root(arguments) if frozen is None else arguments)]
    bad = (InputError, HydraException, OmegaConfBaseException)

    def one(cfg: DictConfig) -> Any:
        look_at_types(cfg)
        with told_once():
            return run(cfg)

    def job(cfg: DictConfig) -> Any:
        settings = HydraConfig.get()

        def line(error: Exception) -> str:
            return _with_key(explain(error, program), cfg)

        if record or settings.mode == RunMode.MULTIRUN:  # a bad run ends nothing but itself
            with recorded(Path(settings.runtime.output_dir), settings.overrides.task, bad, line):
                return one(cfg)
            return nan
        try:
            return one(cfg)
        except bad as error:
            _remove_empty_run()
            raise failed(line(error)) from None  # Hydra adds lines of its own to any other exception
        except Exception as error:
            folder = cfg.get("run_dir") or cfg.get("out")
            if said := unwritten(error, folder):
                again = f"; then resume={folder}" if cfg.get("run_dir") and RunFolder(folder).begun else ""
                raise failed(said + again, 1) from None
            raise

    try:
        where, what = (config_folder(), name) if frozen is None else (frozen.parent.resolve(), frozen.stem)
        with told():
            hydra.main(version_base="1.3", config_path=str(where), config_name=what)(job)()
    except bad as error:
        raise InputError(explain(error, program)) from None


def _with_key(message: str, cfg: Any) -> str:
    """The library names an argument of `Mining`; here it is a key of the block `mining`."""
    name = re.split(r"[^a-z_]", message, maxsplit=1)[0]
    return f"mining.{message}" if name in cfg.get("mining", {}) else message


def tell_unused(why: str, names: Collection[str]) -> None:
    """One line with what was set on the command line and changes nothing.

    Args:
        why: the command or choice that it is of no use to.
        names: of the keys, or of their blocks.
    """
    from hydra.core.hydra_config import HydraConfig

    given = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    unused = [argument for argument in given if {(key := key_of(argument)), key.split(".")[0]} & set(names)]
    if unused:
        logging.getLogger("hardmine").warning("hardmine: %s: not used: %s", why, ", ".join(unused))


def failed(message: str, code: int = 2) -> SystemExit:
    """Print the one line that says what is wrong; exit code 2, or 1 where no input is to blame."""
    line = "\\n".join(message.splitlines())  # the name of a file may have line breaks
    print(f"hardmine: error: {line}", file=sys.stderr)
    return SystemExit(code)


def _remove_empty_run() -> None:
    """Remove the folder of a run that was refused, where nothing is in it but what Hydra wrote about the run."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    of_hydra = {hydra.output_subdir, f"{hydra.job.name}.log", "run.json"}
    if (folder / LOCK).exists() and not RunFolder(folder).claimed:
        return  # another process is at work there
    of_hydra.add(LOCK)
    with suppress(OSError):  # another rank may have been faster
        if folder != Path.cwd() and {path.name for path in folder.iterdir()} <= of_hydra:
            shutil.rmtree(folder)


def plain_arguments(command: str, arguments: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE arguments of a command that needs no config.

    Raises:
        InputError: anything else.
    """
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    strange = [argument for argument in arguments if "=" not in argument] + sorted(given.keys() - set(known))
    if strange:
        raise InputError(f"{command}: {strange[0]!r} is unknown: it takes {', '.join(f'{key}=...' for key in known)}")
    return given


def values_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Keys and values of arguments, as Hydra reads them."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(with_urls(arguments))
    return {each.key_or_group: each.value() for each in parsed}


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
    """`data.root=PATH` alone means `data=folder`, unless an experiment says what data it is."""
    keys = {key_of(argument) for argument in arguments}
    if "data.root" in keys and "data" not in keys | experiment_blocks(arguments):
        return [*arguments, "data=folder"]  # options such as -m come first
    return list(arguments)


def with_urls(arguments: Sequence[str]) -> list[str]:
    """URLs in quotes, without which Hydra takes no `=` inside a value."""
    return [re.sub(r"(?<=[=,])\w+://[^,'\"]+", r'"\g<0>"', argument) for argument in arguments]


def explain(error: BaseException, program: str) -> str:
    """One line that names the key, from Hydra's several; `program --help` is where the keys are told."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return cause.keyed.splitlines()[-1].split("InputError: ")[-1]  # a loader process puts its traceback before
        cause = cause.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    keys = [line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")]
    lines = [line for line in lines if not line.startswith("full_key:")]
    if lines and lines[0].startswith("Could not override"):
        key = lines[0].removeprefix("Could not override ").rstrip(".")
        return f"{key}: no such config key: see {program} --help"
    choices = [place for place, line in enumerate(lines) if line.startswith("Available options in")]
    if choices:
        # the options end where Hydra tells where it looked for them
        options = takewhile(lambda line: not line.endswith(":"), lines[choices[0] + 1 :])
        return f"{'; '.join(lines[: choices[0]])}: take one of {', '.join(options)}"
    if lines and lines[0].startswith("Missing mandatory value"):
        return f"{lines[0].split(':', 1)[1].strip()}: this config key must be given: KEY=VALUE"
    if lines and lines[0].startswith("Error in call to target") and error.__cause__ is not None:
        return f"{keys[0] if keys else 'config'}: {shorten(' '.join(str(error.__cause__).split()), 200)}"
    return "; ".join(lines[:3])
