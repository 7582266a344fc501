"""What is said of images beside their files: environments and splits, in their paths and in a table."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from hardmine.data.listings.splits import PATHS, Division, Facts, Names, read_paths, split_of
from hardmine.errors import InputError
from hardmine.names import look_at_values


class Describing(TypedDict, total=False):
    """Keyword arguments on what is said of images beside their files, see `Description`."""

    table: str | None
    environment: Sequence[str] | None
    split: str
    lists: Mapping[str, str] | None
    shifted: Mapping[str, str | Sequence[str]] | None
    val: float | None
    test: float | None
    target: float | None
    group: str | None


@dataclass(frozen=True)
class Description(Division):
    """Where environments and splits are told.

    Attributes:
        split, lists, shifted, val, test, target, group: see `Division`.
        table: CSV with a row for each image: `id` or `path`, and further columns, which are facts.
        environment: facts that are the environment; None takes all but id, split and group.
    """

    table: str | None = None
    environment: Sequence[str] | None = None

    def of(self, root: Path, images: Mapping[str, Path], facts: Sequence[Facts]) -> list[tuple[str, dict[str, str]]]:
        """Split and environment of each image; the split is empty where lists leave an image out.

        Args:
            root: that the table and lists are relative to.
            images: file of each id.
            facts: what is known of each already.

        Raises:
            InputError: nothing says the split, two things say otherwise, or a name fits no image.
        """
        names = Names(root, images)
        if self.table is not None:
            facts = _with_table(root / Path(self.table).expanduser(), names, facts)
        components = self._components(list(facts[0]) if facts else [])
        said = []
        for path, fact, split in zip(images.values(), facts, self.splits(root, names, facts), strict=True):
            if split or not self.lists:
                split = split_of(split, f"{path}: it")
            said.append((split, {component: fact[component] for component in components}))
        if not any(split for split, _ in said):
            raise InputError("data.lists: no image is in one of them: name the files that say what to read")
        for name in components:
            values = zip(images.values(), said, strict=True)
            look_at_values(root, name, [(str(path), of[name]) for path, (_, of) in values])
        return said

    def _components(self, known: list[str]) -> list[str]:
        if self.environment is None:
            left_out = ("split", self.split, self.group)
            return [name for name in known if name not in left_out]
        for name in self.environment:
            if name not in known:
                raise InputError(
                    f"data.environment: {name} is no named group and no column: there are {', '.join(known)}"
                )
        return list(self.environment)


def facts_in(pattern: str | None, within: str) -> Facts:
    """The named groups of a regular expression that is found in a path; none where there is no pattern.

    Raises:
        InputError: it is no regular expression, names no group, or is not found.
    """
    if pattern is None:
        return {}
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise InputError(f"data.pattern: is no regular expression ({error}): mend it") from None
    if not regex.groupindex:
        raise InputError("data.pattern: has no named group: write (?P<NAME>...) around what is the environment")
    found = regex.search(within)
    if found is None:
        raise InputError(f"data.pattern: is not found in {within}: widen it, or take this image away")
    return {key: value or "" for key, value in found.groupdict().items()}


def within(root: Path, path: Path) -> str:
    """A path as a pattern sees it: from `root`, with `/`."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _with_table(path: Path, names: Names, facts: Sequence[Facts]) -> list[Facts]:
    """Facts with the columns of a table."""
    column, table = read_paths(path)
    made: list[Facts | None] = [None] * len(facts)
    for line, cells in table.items():
        where = f"{path}: line {line}"
        index = names.find(cells[column], where)
        if made[index] is not None:
            raise InputError(f"{where}: {cells[column]} is twice there: give each image one row")
        columns = {name: value for name, value in cells.items() if name not in PATHS}
        if twice := sorted(columns.keys() & facts[index].keys()):
            raise InputError(f"{path}: column {twice[0]} says what the paths say already: rename or drop it")
        made[index] = {**facts[index], **columns}
    for name, fact in zip(names.ids, made, strict=True):
        if fact is None:
            raise InputError(f"{path}: it has no row for {name}: add one, or read fewer images")
    return [fact for fact in made if fact is not None]
