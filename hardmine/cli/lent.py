"""Commands that look at the model of a run, whose settings hold where they are not given anew."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hardmine.cli.config import allowed, experiment_blocks, key_of, look_at, run_configured, values_of
from hardmine.cli.flags import parted
from hardmine.cli.paths import look_at_output, path_of
from hardmine.errors import InputError
from hardmine.runs import RunFolder

# what a training run says of its data and its model, not how it searched or trained
_KEPT = ("data", "model", "task", "store", "conversion", "scoring", "environment", "predictor")


def run_with_model(
    name: str, arguments: list[str], needed: Mapping[str, str], own: str, run: Callable[[Any], None]
) -> None:
    """Run a command with the model of `ckpt`; settings of the run it stands in hold, where not given anew.

    Args:
        name: of the command.
        arguments: as they were given.
        needed: keys that must be given, with what each is.
        own: file in its folder by which the command goes on where it was stopped.
        run: takes the config; the folder `out` is this process's alone.

    Raises:
        InputError: a key is missing or unknown.
    """

    def alone(cfg: Any) -> None:
        folder = RunFolder(cfg.out)
        folder.look_unused("out", own)  # each of a sweep as well
        folder.claim()
        configured(cfg)

    given = {key_of(argument): path_of(argument) for argument in arguments if "=" in argument}
    lender, allow = None, allowed(arguments)
    if not parted(arguments).shows:
        for key, remedy in needed.items():
            if key not in given:
                raise InputError(f"{name}: {key} is missing: set {key}=PATH to {remedy}")
        if "out" in given:
            look_at_output("out", given["out"])
        folder = RunFolder(Path(given["ckpt"]).parent.parent)
        if folder.frozen.is_file():
            lender = folder
            if "data.root" in given and "data" not in given and "root" not in lender.config(allow).data:
                arguments = [*arguments, "data=folder"]  # the run had no folder
    chosen = {key_of(argument) for argument in arguments} | experiment_blocks(arguments)
    blocks = [block for block in _KEPT if block not in chosen and lender is not None]
    later = [argument for argument in arguments if key_of(argument).split(".")[0] in blocks]  # of what the run lends

    def configured(cfg: Any) -> None:
        if lender is not None:
            lender.lend(cfg, blocks, values_of(later), allow)
            look_at(cfg)
            RunFolder(cfg.out).freeze(cfg)  # as it is looked at
        run(cfg)

    run_configured(name, [argument for argument in arguments if argument not in later], alone)
