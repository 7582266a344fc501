"""Commands that look at the model of a run, whose settings hold where they are not given anew."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hardmine.cli.config import experiment_blocks, key_of, run_configured, values_of
from hardmine.errors import InputError
from hardmine.runs import RunFolder

# what a training run says of its data and its model, not how it searched or trained
_KEPT = ("data", "model", "task", "store", "conversion", "scoring", "environment", "predictor")


def run_with_model(name: str, arguments: list[str], needed: Mapping[str, str], run: Callable[[Any], None]) -> None:
    """Run a command with the model of `ckpt`; settings of the run it stands in hold, where not given anew.

    Args:
        name: of the command.
        arguments: as they were given.
        needed: keys that must be given, with what each is.
        run: takes the config.

    Raises:
        InputError: a key is missing or unknown.
    """
    given = {key_of(argument): argument.split("=", 1)[-1] for argument in arguments}
    lender = None
    if not any(argument in ("--help", "-h") for argument in arguments):
        for key, remedy in needed.items():
            if key not in given:
                raise InputError(f"{name}: {key} is missing: set {key}=PATH to {remedy}")
        folder = RunFolder(Path(given["ckpt"]).expanduser().parent.parent)
        if folder.frozen.is_file():
            lender = folder
            if "data.root" in given and "data" not in given and "root" not in lender.config().data:
                arguments = [*arguments, "data=folder"]  # the run had no folder
    if lender is None:
        run_configured(name, arguments, run)
        return
    chosen = {key_of(argument) for argument in arguments} | experiment_blocks(arguments)
    blocks = [block for block in _KEPT if block not in chosen]
    later = [argument for argument in arguments if key_of(argument).split(".")[0] in blocks]  # of what the run lends

    from hardmine.cli.hints import look_at_types

    def configured(cfg: Any) -> None:
        lender.lend(cfg, blocks, values_of(later))
        look_at_types(cfg)
        RunFolder(cfg.out).freeze(cfg)  # as it is looked at
        run(cfg)

    run_configured(name, [argument for argument in arguments if argument not in later], configured)
