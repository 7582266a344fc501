"""From arguments to a composed config, and from errors to one line."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import shorten
from typing import Any

from hardmine.errors import InputError


def config_folder() -> Path:
    """Where the configs are: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def run_configured(name: str, arguments: Sequence[str], run: Callable[[Any], Any]) -> None:
    """Compose `conf/<name>.yaml` with the arguments and run, for each job of a sweep.

    Raises:
        InputError: a key or value that the config does not know.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach the handlers below in place of Hydra's own report
    program = f"hardmine {name}"
    sys.argv = [program, *_with_root(arguments)]
    bad = (InputError, HydraException, OmegaConfBaseException)

    def job(cfg: DictConfig) -> Any:
        try:
            return run(cfg)
        except bad as error:
            _remove_empty_run()
            raise failed(explain(error, program)) from None  # Hydra adds lines of its own to any other exception

    try:
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=name)(job)()
    except bad as error:
        raise InputError(explain(error, program)) from None


def failed(message: str) -> SystemExit:
    """Print the one line that says what is wrong; exit code 2."""
    print(f"hardmine: error: {message}", file=sys.stderr)
    return SystemExit(2)


def _remove_empty_run() -> None:
    """Remove the folder of a run that was refused, where nothing is in it but what Hydra wrote about the run."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    of_hydra = {hydra.output_subdir, f"{hydra.job.name}.log"}
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


def settings_of(run: Path, arguments: Sequence[str]) -> list[str]:
    """The arguments a run was started with, with others after them, which win.

    Raises:
        InputError: no run folder.
    """
    from omegaconf import OmegaConf

    overrides = run / ".hydra/overrides.yaml"
    if not overrides.is_file():
        raise InputError(f"{overrides}: no such file: name the folder of a run")
    later = {key_of(argument) for argument in arguments}
    earlier = [str(argument) for argument in OmegaConf.load(overrides)]
    return [argument for argument in earlier if key_of(argument) not in later] + list(arguments)


def key_of(argument: str) -> str:
    return argument.split("=", 1)[0].lstrip("+~")


def _with_root(arguments: Sequence[str]) -> list[str]:
    """`data.root=PATH` alone means `data=folder`, unless an experiment says what data it is."""
    keys = {key_of(argument) for argument in arguments}
    if "data.root" in keys and not keys & {"data", "experiment"}:
        return ["data=folder", *arguments]
    return list(arguments)


def explain(error: BaseException, program: str) -> str:
    """One line that names the key, from Hydra's several; `program --help` is where the keys are told."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return str(cause).splitlines()[-1].split("InputError: ")[-1]  # a loader process puts its traceback before
        cause = cause.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    keys = [line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")]
    lines = [line for line in lines if not line.startswith("full_key:")]
    if lines and lines[0].startswith("Could not override"):
        key = lines[0].removeprefix("Could not override ").rstrip(".")
        return f"{key}: no such config key: see {program} --help"
    if lines and lines[0].startswith("Missing mandatory value"):
        return f"{lines[0].split(':', 1)[1].strip()}: this config key must be given: KEY=VALUE"
    if lines and lines[0].startswith("Error in call to target") and error.__cause__ is not None:
        return f"{keys[0] if keys else 'config'}: {shorten(' '.join(str(error.__cause__).split()), 200)}"
    return "; ".join(lines[:3])
