"""Files found by what their paths look like."""

import os
import re
from collections import Counter
from functools import cached_property
from pathlib import Path

from hardmine.data.images import SUFFIXES
from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.names import blemish, unified

_SIGNS = re.compile(r"(\*\*/)|(\*\*)|(\*)|(\?)|\{([^{}]*)\}|(\[[^\]/]+\])|(.)", re.DOTALL)


class Glob:
    """The files of a folder that fit a pattern.

    Args:
        root: that the pattern begins in, unless it is absolute.
        pattern: with `*` (within a folder's or file's name), `**/` (any folders, or none), `?`, `[ab]` and `{jpg,png}`;
            capitals do not matter in the ending.
        key: of the config, for messages.

    Attributes:
        others: files that fit and have no ending of an image, once `files` has been asked for.

    Raises:
        InputError: a pattern that cannot be one, or no folder where it begins.
    """

    def __init__(self, root: Path, pattern: str, key: str) -> None:
        self.root, self.pattern, self.key = root, pattern, key
        parts = Path(pattern).expanduser().parts
        fixed = next((n for n, part in enumerate(parts[:-1]) if re.search(r"[*?{\[]", part)), len(parts) - 1)
        if not parts:
            raise InputError(f"data.{key}: names no file: set it to a pattern like images/*.png")
        self.base = root.joinpath(*parts[:fixed])
        if why := trouble(self.base, folder=True):
            there = self.base
            while why and there != there.parent:
                there = there.parent
                why = trouble(there, folder=True)
            raise InputError(f"data.{key}: {self.base}: no such folder: {there} has {in_words(there)}")
        self._regex = _regex("/".join(parts[fixed:]))
        self.others: list[Path] = []

    @cached_property
    def files(self) -> dict[str, Path]:
        """Path of each file by what `*`, `**` and `?` stand for in it, without its ending.

        Raises:
            InputError: no file fits, two fit in the same way, or a name has what does not show.
        """
        found: dict[str, Path] = {}
        for path in files_below(self.base):
            within = path.relative_to(self.base).as_posix()
            fits = self._regex.fullmatch(within)
            if fits is None:
                continue
            if path.suffix.lower() not in SUFFIXES:
                self.others.append(path)
                continue
            if why := blemish(within):
                raise InputError(f"{self.base}: the name {within!r} {why}: rename the file")
            named = unified("/".join(filter(None, (part.strip("/") for part in fits.groups() if part))) or path.stem)
            if named.lower().endswith(path.suffix.lower()):
                named = named[: -len(path.suffix)]
            if found.setdefault(named, path) != path:
                raise InputError(
                    f"data.{self.key}: {found[named]} and {path} are both {named!r}: keep one of them, or make the "
                    "pattern narrower"
                )
        if not found:
            raise InputError(f"data.{self.key}: no file fits {self.pattern}: {self.base} has {in_words(self.base)}")
        return dict(sorted(found.items()))


def files_below(root: Path) -> list[Path]:
    """All files below a folder, but for hidden ones and those in hidden folders.

    Raises:
        InputError: a link that leads to a folder which has been visited; its images would be there twice, or for ever.
    """
    visited: set[tuple[int, int]] = set()
    found = []
    for folder, inside, files in os.walk(root, followlinks=True):
        inside[:] = [name for name in inside if not name.startswith(".")]
        at = os.stat(folder)
        if (at.st_dev, at.st_ino) in visited:
            raise InputError(f"{folder}: a link leads to a folder that is there already: remove the link")
        visited.add((at.st_dev, at.st_ino))
        found += [Path(folder, name) for name in files if not name.startswith(".")]
    return found


def in_words(folder: Path, most: int = 8) -> str:
    """What is in a folder: its folders, and how many files of each ending.

    Args:
        folder: to look into.
        most: folders that are named.
    """
    folders, endings = [], Counter[str]()
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            folders.append(f"{path.name}/")
        else:
            endings[path.suffix or path.name] += 1
    more = [f"{len(folders) - most} more folders"] if len(folders) > most else []
    counted = [f"{count} {ending}" for ending, count in sorted(endings.items())]
    return ", ".join([*folders[:most], *more, *counted]) or "nothing in it"


def _regex(pattern: str) -> re.Pattern[str]:
    """What stands for a wildcard is a group; capitals do not matter behind the last dot."""
    stem, dot, ending = pattern.rpartition(".")
    if not dot or "/" in ending:
        stem, ending = pattern, ""
    made = _translated(stem, True)
    return re.compile(made + (rf"\.(?i:{_translated(ending, False)})" if ending else ""), re.DOTALL)


def _translated(pattern: str, grouped: bool) -> str:
    """As a regular expression; signs side by side are one group."""
    made, group = "", ""
    for folders, rest, name, one, choices, letters, plain in [*_SIGNS.findall(pattern), ("",) * 7]:
        sign = "(?:[^/]+/)*" if folders else ".*" if rest else "[^/]*" if name else "[^/]" if one else letters
        if sign:
            group += f"[^{sign[2:]}" if sign.startswith("[!") else sign
            continue
        made += f"({group})" if group and grouped else group
        made += re.escape(plain) or f"(?:{'|'.join(map(re.escape, choices.split(',')))})"
        group = ""
    return made
