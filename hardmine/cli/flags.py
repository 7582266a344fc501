"""Options of the command line in any order: Hydra wants all of them before the first KEY=VALUE."""

from collections.abc import Sequence
from typing import NamedTuple

from hardmine.errors import InputError

_ALONE = ("--help", "-h", "--hydra-help", "--multirun", "-m", "--run", "-r", "--resolve", "--shell-completion", "-sc")
_WITH_VALUE = (
    *("--cfg", "-c", "--package", "-p"),
    *("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn"),
)
_WITH_OR_WITHOUT = ("--info", "-i")
_ALL = (*_ALONE, *_WITH_VALUE, *_WITH_OR_WITHOUT)  # Hydra's but those that load a pickle
_SHOWS = ("--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")


class Arguments(NamedTuple):
    """What follows the command.

    Attributes:
        flags: options with their values.
        values: KEY=VALUE, and ~KEY.
    """

    flags: list[str]
    values: list[str]

    @property
    def shows(self) -> bool:
        """Whether something is shown and nothing run."""
        return any(flag.split("=")[0] in _SHOWS for flag in self.flags)

    @property
    def sweep(self) -> bool:
        """Whether several runs are meant."""
        return bool({"-m", "--multirun"} & set(self.flags)) or "hydra.mode=MULTIRUN" in self.values


def parted(arguments: Sequence[str]) -> Arguments:
    """Options and the rest.

    Raises:
        InputError: an option that is not there, or one without its value.
    """
    flags: list[str] = []
    values: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        name, equals, _ = argument.partition("=")
        if not argument.startswith("-"):
            if argument.startswith("="):
                raise InputError(f"{argument}: its key is missing: KEY=VALUE")
            values.append(argument)
            continue
        if name not in _ALL:
            raise InputError(f"{name}: no such option: use one of {', '.join(_ALL)}, or KEY=VALUE")
        flags.append(argument)
        if name in _ALONE or equals:
            continue
        if left and not left[0].startswith("-") and "=" not in left[0]:
            flags.append(left.pop(0))
        elif name in _WITH_VALUE:
            raise InputError(f"{name}: its value is missing: {name} VALUE")
    return Arguments(flags, values)
