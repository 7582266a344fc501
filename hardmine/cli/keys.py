"""The config files as they are written, comments and all: what `--help` shows and the reference is made of.

They are read as text, so that help needs neither Hydra nor what the configs name.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hardmine.cli import config_folder

# files of no group; the first is part of the next four
PRIMARY = ("common", "train", "mine", "evaluate", "explore", "sweep")
_NO_KEYS = ("hydra", "_target_")  # how a file is put together


@dataclass(frozen=True)
class Key:
    """A key of a config file.

    Attributes:
        name: dotted, as on the command line.
        value: as it is written; "" of a block.
        comment: what stands beside it, or above a block; "" where nothing does.
    """

    name: str
    value: str
    comment: str


@dataclass(frozen=True)
class ConfigFile:
    """A file of `conf/`.

    Attributes:
        path: below `conf/`.
        text: all of it.
    """

    path: Path
    text: str

    @property
    def package(self) -> str:
        """The block that its keys are put into: that of its group where it names none; "" is the top."""
        named = re.match(r"# @package (\S+)", self.text)
        package = named[1] if named else self.path.parent.name
        return "" if package == "_global_" else package

    @property
    def head(self) -> list[str]:
        """The comment that it begins with, line by line."""
        lines = self.text.splitlines()
        end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
        return [line.removeprefix("#").strip() for line in lines[:end] if not line.startswith("# @package")]

    @property
    def about(self) -> str:
        """That comment in one line, without a command that it gives as an example."""
        return " ".join(line for line in self.head if not re.fullmatch(r"hardmine [^:]*", line))

    @property
    def body(self) -> str:
        """What follows that comment, as it is written."""
        lines = self.text.splitlines()
        start = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
        return "\n".join(lines[start:])

    @property
    def keys(self) -> list[Key]:
        """All keys in the order of the file, each block before what is in it."""
        import yaml

        above = self.package and f"{self.package}."
        return list(_keys(yaml.compose(self.text, Loader=yaml.SafeLoader), self.text.splitlines(), above))

    def block(self, name: str) -> str:
        """The lines of a key at the top, with what is in it and the comment above it; "" where there is none."""
        lines = self.text.splitlines()
        start = next((number for number, line in enumerate(lines) if line.startswith(f"{name}:")), None)
        if start is None:
            return ""
        end = start + 1
        while end < len(lines) and (lines[end].startswith(" ") or not lines[end]):
            end += 1
        while start and lines[start - 1].startswith("#"):
            start -= 1
        return "\n".join(lines[start:end]).rstrip()


def read(path: str) -> ConfigFile:
    """A file of `conf/`, by its path there without `.yaml`."""
    place = config_folder() / f"{path}.yaml"
    return ConfigFile(place.relative_to(config_folder()), place.read_text())


def groups() -> dict[str, list[ConfigFile]]:
    """The options of each group, both in alphabetical order."""
    folders = sorted(
        path for path in config_folder().iterdir() if path.is_dir() and not path.name.startswith((".", "_"))
    )
    return {each.name: [read(f"{each.name}/{path.stem}") for path in sorted(each.glob("*.yaml"))] for each in folders}


@dataclass(frozen=True)
class Default:
    """What the defaults list says of a group.

    Attributes:
        option: the one that is taken where none is chosen; "null" where none is.
        purpose: what the group decides.
    """

    option: str
    purpose: str


def defaults(*files: str) -> dict[str, Default]:
    """Groups in the order of the defaults lists.

    Args:
        files: whose lists; of all primary files where none is named.
    """
    pattern = re.compile(r"^  - (\w+): (\w+)(?: +# (.*))?$", re.MULTILINE)
    found = [entry for name in files or PRIMARY for entry in pattern.findall(read(name).text)]
    return {group: Default(option, purpose) for group, option, purpose in found}


def own_keys(path: str) -> list[Key]:
    """Keys of a primary file that are of no group."""
    return [key for key in read(path).keys if key.name.split(".")[0] not in _NO_KEYS]


def _keys(node: object, lines: list[str], above: str) -> Iterator[Key]:
    import yaml

    if not isinstance(node, yaml.MappingNode):  # a list
        return
    for name, value in node.value:
        if name.value == "defaults":
            continue
        start, end = value.start_mark, value.end_mark
        dotted = f"{above}{name.value}"
        if start.line > name.start_mark.line:  # a block
            yield Key(dotted, "", _above(lines, name.start_mark.line))
            yield from _keys(value, lines, f"{dotted}.")
        else:  # all of it is on one line
            written = lines[end.line][start.column : end.column].strip()
            yield Key(dotted, written, _beside(lines, end.line, end.column))


def _beside(lines: list[str], line: int, column: int) -> str:
    """The comment behind a value, with the lines that carry it on."""
    found = re.search(r"(?:^|\s)# ?(.*)$", lines[line][column:])
    if not found:
        return ""
    parts = [found[1]]
    for later in lines[line + 1 :]:
        if not re.match(r"\s+#", later):
            break
        parts.append(later.strip().removeprefix("#"))
    return " ".join(part.strip() for part in parts)


def _above(lines: list[str], line: int) -> str:
    """The comment on the lines above a block, or behind its name."""
    parts: list[str] = []
    beside = _beside(lines, line, 0)
    while line and lines[line - 1].startswith("# "):
        line -= 1
        parts.insert(0, lines[line].removeprefix("#").strip())
    return " ".join(parts) if parts and line else beside  # what a file begins with is about all of it
