"""Paths as the shell hands them over: `~`, and signs that mean something else in Hydra's grammar."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

from hydra.core.override_parser.types import Quote, QuotedString

from hardmine.errors import InputError
from hardmine.files import trouble

# last words of the keys that name a file or a folder, or tell what its path looks like
NAMES = frozenset(
    {
        *("out", "run", "resume", "ckpt", "predictor", "root", "path", "trace"),
        *("dir", "folder", "dirpath", "save_dir", "run_dir"),
        *("images", "labels", "pattern", "table", "shifted_root"),
    }
)
_PLAIN = re.compile(r"(?!(true|false|null|nan|inf)$)([a-z_]\w*(\.\w+)*|[\w./\-]*/[\w./\-]*)", re.ASCII | re.IGNORECASE)
_OTHERWISE = re.compile(r"""null|(['"]).*\1|(choice|glob|shuffle|sort)\(.*\)""", re.DOTALL | re.IGNORECASE)


def is_path(key: str) -> bool:
    """Whether the value of a key is a path."""
    return "/" not in key and key.lstrip("+").split(".")[-1] in NAMES


def path_of(argument: str) -> str:
    """The path that a KEY=VALUE argument gives, without the quotes that it may be in."""
    value = argument.split("=", 1)[1]
    quoted = re.fullmatch(r"""(['"])(.*)\1""", value, re.DOTALL)
    if quoted is None:
        return at_home(value)
    sign = quoted[1]
    return at_home(re.sub(rf"(\\+)({sign}|$)", lambda found: "\\" * (len(found[1]) // 2) + found[2], quoted[2]))


def at_home(value: str) -> str:
    """A path without `~`; so is that of an SQLite or DuckDB URL."""
    scheme, found, rest = value.rpartition(":///")
    return f"{scheme}{found}{os.path.expanduser(rest)}"


def with_paths(arguments: Sequence[str], sweep: bool) -> list[str]:
    """KEY=VALUE arguments whose paths Hydra reads as they are.

    What stands in quotes, `null` and, in a sweep, `choice(a,b)` and its like are left to Hydra; `${...}` is filled in.

    Args:
        arguments: of the command line.
        sweep: whether a comma parts paths; one in the name of a file that is there does not.
    """
    return [_with_path(argument, sweep) for argument in arguments]


def _with_path(argument: str, sweep: bool) -> str:
    key, equals, value = argument.partition("=")
    if not equals or not value or not is_path(key) or _OTHERWISE.fullmatch(value):
        return argument
    parts = value.split(",") if sweep and not os.path.exists(at_home(value)) else [value]
    return f"{key}={','.join(quoted(at_home(part)) for part in parts)}"


def quoted(value: str) -> str:
    """A text in double quotes, unless it needs none in Hydra's grammar."""
    return value if _PLAIN.fullmatch(value) else QuotedString(value, Quote.double).with_quotes()


def look_at_output(key: str, value: str) -> Path:
    """The folder that a command writes to.

    Args:
        key: that names it.
        value: its path; it need not be there.

    Raises:
        InputError: something else is in its place, or it cannot be made.
    """
    path = place = Path(at_home(value))
    try:
        while not _is_there(place) and place != place.parent:
            place = place.parent
        why = trouble(place, folder=True)
    except (OSError, ValueError) as error:  # a name too long, a NUL in it
        why = (getattr(error, "strerror", None) or str(error)).lower()
    if why:
        raise InputError(f"{key}: {place}: {why}: name another folder")
    try:
        with TemporaryFile(dir=place):
            pass
    except OSError:  # of rights, and of what is a folder in name alone, as /proc is
        raise InputError(f"{key}: {place}: cannot be written to: name another folder, or mend its rights") from None
    return path


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
