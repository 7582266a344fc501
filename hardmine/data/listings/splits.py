"""Which image is trained on, which is measured: by what is said of it, by lists, by shares."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from hardmine.data.metadata import SPLITS, misspelt
from hardmine.data.table import read_table
from hardmine.errors import InputError
from hardmine.files import read_text
from hardmine.names import did_you_mean, unified

Facts = dict[str, str]
"""What is known of an image: named groups of the pattern and columns of the table."""

PATHS = ("id", "path", "image", "file_name", "filename")  # columns that say of which image a row is


class UndividedError(InputError):
    """Nothing says which images are trained on and which are measured."""


@dataclass(frozen=True)
class Shares:
    """Parts of a whole, by a hash of what belongs together: no seed, and the same on every machine.

    >>> Shares({"val": 0.5}).of(["a", "a", "b", "b"])
    ['val', 'val', '', '']
    """

    shares: Mapping[str, float]

    def of(self, groups: Sequence[str]) -> list[str]:
        """The part that each image is in, or nothing.

        Args:
            groups: of each image; those of one group stay together.
        """
        count = Counter(groups)
        left = sorted(count, key=lambda group: hashlib.blake2b(group.encode()).digest())
        part: dict[str, str] = {}
        for kept, (name, share) in zip(range(len(self.shares), 0, -1), self.shares.items(), strict=True):
            wanted, taken = share * len(groups), list[str]()
            for group in left:  # each further part, and what is left, has one as well
                if len(left) - len(taken) > kept and abs(wanted - count[group]) < abs(wanted):
                    taken.append(group)
                    wanted -= count[group]
            if not taken and len(left) > kept:  # all are too large
                taken = [min(left, key=lambda group: count[group])]
            left = [group for group in left if group not in set(taken)]
            part.update(dict.fromkeys(taken, name))
        return [part.get(group, "") for group in groups]


@dataclass(frozen=True)
class Division:
    """How images come into splits.

    Attributes:
        split: fact that says the split of an image, where it is known.
        lists: file with the images of each split.
        shifted: values of facts: images with one of them are of the environments that are trained for. Of what is
            trained on otherwise they are targets, of what is measured they are `test`.
        val, test: shares of the training images that are put there.
        target: share of the images of `test` that are targets.
        group: fact that images which stay together have in common.
    """

    split: str = "split"
    lists: Mapping[str, str] | None = None
    shifted: Mapping[str, str | Sequence[str]] | None = None
    val: float | None = None
    test: float | None = None
    target: float | None = None
    group: str | None = None

    def splits(self, root: Path, names: "Names", facts: Sequence[Facts]) -> list[str]:
        """The split of each image; empty where a list leaves it out.

        Args:
            root: that lists are relative to.
            names: of the images.
            facts: of the images.

        Raises:
            InputError: nothing says it, or two things do.
        """
        self._look(facts)
        if self.lists:
            splits = self._listed(root, names)
            for name, split, fact in zip(names.ids, splits, facts, strict=True):
                if split and fact.get(self.split, split) not in ("", split):
                    raise InputError(
                        f"data.lists: {name} is in the list of {split}, and its {self.split} is {fact[self.split]}: "
                        "take it out of the list, or drop the column"
                    )
        elif facts and self.split in facts[0]:
            splits = [fact[self.split] for fact in facts]
        elif self.shifted or self.val is not None or self.test is not None:
            splits = ["test" if self._is_shifted(fact) else "train" for fact in facts]
            return self._shared(splits, names, facts)
        else:
            raise UndividedError(
                "data: nothing says which images are trained on and which are measured: set "
                "data.pattern='(?P<time>day|night)' data.shifted='{time: night}' (these are measured), data.val=0.1 "
                "and data.test=0.2 (shares), data.lists={train: FILE, ...}, data.table to a CSV with a column split, "
                "or data.pattern with a group (?P<split>train|val)"
            )
        moved = {"train": "target", "val": "test"}
        splits = [
            moved.get(split, split) if self._is_shifted(fact) else split
            for split, fact in zip(splits, facts, strict=True)
        ]
        return self._shared(splits, names, facts)

    def _look(self, facts: Sequence[Facts]) -> None:
        known = facts[0] if facts else {}
        for key, name in (("group", self.group), ("split", None if self.split == "split" else self.split)):
            if name is not None and name not in known:
                raise InputError(f"data.{key}={name}: is no named group and no column{_among(name, known)}")
        for name, wanted in (self.shifted or {}).items():
            if name not in known:
                remedy = _among(name, known) or ": set data.pattern or data.table to what says it"
                raise InputError(f"data.shifted: {name} is no named group and no column{remedy}")
            there = {fact[name] for fact in facts}
            for value in [wanted] if isinstance(wanted, str) else wanted:
                if value not in there:
                    raise InputError(f"data.shifted: no image has {name} {value!r}{_among(value, there)}")
        for split in self.lists or ():
            if split not in SPLITS:
                raise InputError(f"data.lists: {split!r} is none of the splits {', '.join(SPLITS)}")

    def _why(self, name: str) -> str:
        """How images come into a split that a share is asked for as well."""
        if self.shifted and name == "target":
            return "as data.shifted makes targets of those of train"
        return "as data.lists says" if self.lists else f"as their {self.split!r} says"

    def _is_shifted(self, fact: Facts) -> bool:
        return any(
            fact[name] == wanted if isinstance(wanted, str) else fact[name] in wanted
            for name, wanted in (self.shifted or {}).items()
        )

    def _listed(self, root: Path, names: "Names") -> list[str]:
        splits = [""] * len(names.ids)
        for split, file in (self.lists or {}).items():
            path = root / Path(file).expanduser()
            lines = _lines(path)
            if not lines:
                raise InputError(f"{path}: names no image: add some, or take {split} out of data.lists")
            for line, name in lines:
                index = names.find(name, f"{path}: line {line}")
                if splits[index]:
                    where = "twice there" if splits[index] == split else f"in the list of {splits[index]} too"
                    raise InputError(f"{path}: line {line}: {name} is {where}: take one out")
                splits[index] = split
        return splits

    def _shared(self, splits: list[str], names: "Names", facts: Sequence[Facts]) -> list[str]:
        for begun, shares in (("train", {"test": self.test, "val": self.val}), ("test", {"target": self.target})):
            wanted = {name: share for name, share in shares.items() if share}
            for name in wanted:
                if name in splits:
                    raise InputError(
                        f"data.{name}: some images are in {name} already, {self._why(name)}: set data.{name}=null"
                    )
            if sum(wanted.values()) >= 1:
                said = " and ".join(f"data.{name}={share:g}" for name, share in wanted.items())
                raise InputError(f"{said}: nothing is left of {begun}: set shares that make less than 1 together")
            places = [index for index, split in enumerate(splits) if split == begun]
            if wanted and not places:
                raise InputError(
                    f"data.{next(iter(wanted))}: is a share of the images of {begun}, and there are none: "
                    + ("set data.test to a share as well, or data.shifted" if begun == "test" else "add some")
                )
            groups = [(self.group and facts[index][self.group]) or names.ids[index] for index in places]
            parts = Shares(wanted).of(groups)
            for name, share in wanted.items():
                if name not in parts:
                    count = f"{len(places)} images"
                    if self.group:
                        count += f" in {len(set(groups))} groups (data.group={self.group})"
                    raise InputError(f"data.{name}={share:g}: {begun} has {count}, too few to part: add some")
            for index, part in zip(places, parts, strict=True):
                splits[index] = part or begun
        return splits


class Names:
    """The images by what a table or a list may call them: id, path, path without ending, file name.

    Args:
        root: that paths are relative to.
        images: file of each id.
    """

    def __init__(self, root: Path, images: Mapping[str, Path]) -> None:
        self.ids = list(images)
        self._index: dict[str, int | None] = {}  # None of a name that several have
        for index, path in enumerate(images.values()):
            within = PurePath(path.relative_to(root) if path.is_relative_to(root) else path)
            for name in {within.as_posix(), str(within.with_suffix("")), str(path), path.name, path.stem}:
                self._index[unified(name)] = None if unified(name) in self._index else index
        self._index.update({unified(name): index for index, name in enumerate(self.ids)})

    def find(self, name: str, where: str) -> int:
        """Place of an image.

        Raises:
            InputError: no image is called so, or several are.
        """
        index = self._index.get(unified(name).removeprefix("./"), -1)
        if index is None:
            raise InputError(f"{where}: several images are called {name}: write their paths")
        if index < 0:
            known = _among(name, self.ids[:2000])
            raise InputError(f"{where}: no image is called {name}{known}: mend or drop the line")
        return index


def split_of(split: str, where: str) -> str:
    """A split as it is written, unless another one is meant.

    Raises:
        InputError: it is misspelt, or empty.
    """
    if not split:
        raise InputError(f"{where} has no split: write one of {', '.join(SPLITS)}")
    if meant := misspelt(split):
        raise InputError(f"{where} has the split {split!r}: did you mean `{meant}`? If not, name it less alike")
    return split


def _lines(path: Path) -> list[tuple[int, str]]:
    """Number of the line and name of each image of a list."""
    if path.suffix.lower() == ".csv":
        column, table = read_paths(path)
        return [(line, cells[column]) for line, cells in table.items()]
    return [(number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]


def read_paths(path: Path) -> tuple[str, dict[int, dict[str, str]]]:
    """A table of images, and which of its columns says of which image a row is.

    Raises:
        InputError: it is malformed, or has no such column.
    """
    table = read_table(path, ())
    columns = next(iter(table.values()))
    column = next((name for name in PATHS if name in columns), None)
    if column is None:
        raise InputError(f"{path}: no column is one of {', '.join(PATHS)}: name the one with the images so")
    return column, table


def _among(word: str, choices: object) -> str:
    assert isinstance(choices, dict | set | list)
    return did_you_mean(word, choices) or (f": there are {', '.join(sorted(choices)[:12])}" if choices else "")
