"""Commands that look at the model of a run, whose settings hold where they are not given anew."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hardmine.cli.config import allowed, experiment_blocks, key_of, look_at, run_configured, values_of
from hardmine.cli.flags import parted
from hardmine.cli.paths import look_at_output, path_of
from hardmine.errors import InputError
from hardmine.runs import RunFolder

# what a training run says of its data and its model, not how it searched or trained
KEPT = ("data", "model", "task", "store", "conversion", "scoring", "environment", "predictor")


class Lender:
    """What the folder of a run, in which a checkpoint stands, gives to a command: settings that are not given anew.

    Args:
        arguments: of the command.
        ckpt: the checkpoint; of one that stands in no run folder, and of None, nothing is taken.
        kept: blocks that are taken.

    Attributes:
        folder: of the run; None where there is none.
        arguments: those that belong to a config of the command itself.
    """

    def __init__(self, arguments: Sequence[str], ckpt: Path | None, kept: Sequence[str] = KEPT) -> None:
        self._allow = allowed(arguments)
        self.folder = None if ckpt is None else RunFolder(ckpt.parent.parent)
        if self.folder is None or not self.folder.frozen.is_file():
            self.folder, self.arguments, self._blocks, self._later = None, [*arguments], [], []
            return
        keys = {key_of(argument) for argument in arguments if "=" in argument}
        if "data.root" in keys and "data" not in keys and "root" not in self.folder.config(self._allow).data:
            arguments = [*arguments, "data=folder"]  # the run had no folder
        chosen = {key_of(argument) for argument in arguments} | experiment_blocks(arguments)
        self._blocks = [block for block in kept if block not in chosen]
        self._later = [each for each in arguments if key_of(each).split(".")[0] in self._blocks]  # of what it lends
        self.arguments = [argument for argument in arguments if argument not in self._later]

    def lend(self, cfg: Any) -> None:
        """Put the settings of the run, and what was given of them, into the config of the command."""
        if self.folder is not None:
            self.folder.lend(cfg, self._blocks, values_of(self._later), self._allow)
            look_at(cfg)


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
    given = {key_of(argument): path_of(argument) for argument in arguments if "=" in argument}
    ckpt = None
    if not parted(arguments).shows:
        for key, remedy in needed.items():
            if key not in given:
                raise InputError(f"{name}: {key} is missing: set {key}=PATH to {remedy}")
        if "out" in given:
            look_at_output("out", given["out"])
        ckpt = Path(given["ckpt"])
    lender = Lender(arguments, ckpt)

    def alone(cfg: Any) -> None:
        folder = RunFolder(cfg.out)
        folder.look_unused("out", own)  # each of a sweep as well
        folder.claim()
        if lender.folder is not None:
            lender.lend(cfg)
            folder.freeze(cfg)  # as it is looked at
        run(cfg)

    run_configured(name, lender.arguments, alone)
