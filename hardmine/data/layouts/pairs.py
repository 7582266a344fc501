"""Images and masks as they lie: two patterns of paths, and what tells splits and environments."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from hardmine.data.globs import Glob
from hardmine.data.images import Void
from hardmine.data.index_images import Predictor
from hardmine.data.layout import LayoutData, look_at_choice
from hardmine.data.layouts.coded import read_coding
from hardmine.data.layouts.listing import Listed, Listing
from hardmine.data.layouts.splits import PATHS, Division, Facts, Names, read_paths, split_of
from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.names import look_at_values
from hardmine.records import VOID

Regions = Literal["labels", "superpixels", "whole", "predicted"]


class PairsData(LayoutData):
    """`data=pairs data.images=GLOB data.labels=GLOB`: each image has a mask that is called alike.

    What `*`, `**` and `?` stand for is the id of an image, and must be the same in its mask's path; a group `id` of
    `pattern` says it otherwise.

    Args:
        images, labels: see `Glob`.
        root: folder that all patterns, tables and lists are relative to.
        pattern: regular expression that is found in the path of each image, relative to `root`. Its named groups are
            the environment; `id` and `split` are what they say.
        table: CSV with a row for each image: `id` or `path`, and further columns as the groups of `pattern`.
        environment: groups and columns that are the environment; None takes all but id, split and group.
        split, lists, shifted, val, test, target, group: see `Division`.
        unlabelled: what to do with images without a mask.
        classes, colors, void: see `read_coding`.
        regions, superpixels, predictor, convert: see `Layout`.
        size, batch_size, num_workers, flip, cache_gib, targets, seed: see `LayoutData`.
    """

    def __init__(
        self,
        images: str,
        labels: str,
        root: str = ".",
        pattern: str | None = None,
        table: str | None = None,
        environment: Sequence[str] | None = None,
        split: str = "split",
        lists: Mapping[str, str] | None = None,
        shifted: Mapping[str, str | list[str]] | None = None,
        val: float | None = None,
        test: float | None = None,
        target: float | None = None,
        group: str | None = None,
        unlabelled: Literal["refuse", "skip"] = "refuse",
        classes: str | Sequence[str] | None = None,
        colors: Mapping[str, Sequence[int]] | None = None,
        void: Void = VOID,
        size: tuple[int, int] = (192, 256),
        batch_size: int = 8,
        num_workers: int = 0,
        flip: bool = True,
        cache_gib: float = 4.0,
        regions: Regions = "labels",
        superpixels: int = 32,
        predictor: Predictor | None = None,
        targets: float = 0.0,
        seed: int = 0,
        convert: bool = False,
    ) -> None:
        look_at_choice("unlabelled", unlabelled, Literal["refuse", "skip"])
        look_at_choice("regions", regions, Regions)
        folder = Path(root).expanduser()
        if why := trouble(folder, folder=True):
            raise InputError(f"{folder}: {why}: set `root` to the folder that the patterns begin in", "data")
        names, coding = read_coding(folder, classes, colors, void)
        image_of, facts_of = _matched(Glob(folder, images, "images"), pattern)
        mask_of, _ = _matched(Glob(folder, labels, "labels"), pattern if "(?P<id>" in (pattern or "") else None)
        told, image_of = _paired(image_of, mask_of, unlabelled, images, labels)
        rows = Names(folder, image_of)
        facts = [facts_of[name] for name in rows.ids]
        if table is not None:
            facts = _with_table(folder / Path(table).expanduser(), rows, facts)
        division = Division(split, lists or {}, shifted or {}, val, test, target, group)
        components = _components(environment, division, facts)
        listed = []
        for name, fact, of in zip(rows.ids, facts, division.of(folder, rows, facts), strict=True):
            values = {component: fact[component] for component in components}
            if of or not lists:
                of = split_of(of, f"{image_of[name]}: it")
                listed.append(Listed(name, of, values, image=image_of[name], labels=mask_of[name]))
        if left := len(rows.ids) - len(listed):
            told.append(f"{left} images are in no list of data.lists, and not read")
        if not listed:
            raise InputError("data.lists: no image is in one of them: name the files that say what to read")
        for component in components:
            look_at_values(folder, component, [(str(row.image), row.environment[component]) for row in listed])
        remedy = "set data.val, data.test or data.target to a share, or say the splits by data.lists, table or pattern"
        layout = Listing(listed, folder / images, names, coding, told, remedy, regions, superpixels, predictor, convert)
        super().__init__(layout, size, batch_size, num_workers, flip, cache_gib, targets, seed)


def _matched(glob: Glob, pattern: str | None) -> tuple[dict[str, Path], dict[str, Facts]]:
    """File and facts of each id."""
    if pattern is None:
        return dict(glob.files), {name: {} for name in glob.files}
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise InputError(f"data.pattern: is no regular expression ({error}): mend it") from None
    if not regex.groupindex:
        raise InputError("data.pattern: has no named group: write (?P<NAME>...) around what is the environment")
    files: dict[str, Path] = {}
    facts: dict[str, Facts] = {}
    for given, path in glob.files.items():
        within = (path.relative_to(glob.root) if path.is_relative_to(glob.root) else path).as_posix()
        found = regex.search(within)
        if found is None:
            raise InputError(f"data.pattern: is not found in {within}: widen it, or make data.{glob.key} narrower")
        fact = {key: value or "" for key, value in found.groupdict().items()}
        name = fact.pop("id", given)
        if not name or files.setdefault(name, path) != path:
            raise InputError(
                f"data.pattern: the id of {path} is {name!r}, as that of {files.get(name)}: widen its group"
            )
        facts[name] = fact
    return files, facts


def _paired(
    images: dict[str, Path], masks: dict[str, Path], unlabelled: str, of_images: str, of_masks: str
) -> tuple[list[str], dict[str, Path]]:
    """The images that have a mask, and lines on what has no partner."""
    alone = [name for name in images if name not in masks]
    spare = [name for name in masks if name not in images]
    if len(alone) == len(images):
        raise InputError(
            f"data.images and data.labels: no image has a mask that is called alike: {of_images} gives "
            f"{next(iter(images))!r}, {of_masks} gives {next(iter(masks))!r}: what * and ** stand for must be alike, "
            "or set data.pattern with a group (?P<id>...) that is found in both paths"
        )
    if alone and unlabelled == "refuse":
        raise InputError(
            f"{images[alone[0]]}: {len(alone)} of {len(images)} images have no mask ({of_masks}), this is the first: "
            "add them, or set data.unlabelled=skip"
        )
    told = [f"{len(alone)} images without a mask are left out ({images[alone[0]]})"] if alone else []
    told += [f"{len(spare)} masks without an image are not read ({masks[spare[0]]})"] if spare else []
    return told, {name: path for name, path in images.items() if name in masks}


def _with_table(path: Path, names: Names, facts: list[Facts]) -> list[Facts]:
    """Facts with the columns of a table."""
    column, table = read_paths(path)
    made: list[Facts | None] = [None] * len(facts)
    for line, cells in table.items():
        where = f"{path}: line {line}"
        index = names.find(cells[column], where)
        if made[index] is not None:
            raise InputError(f"{where}: {cells[column]} is twice there: give each image one row")
        columns = {name: value for name, value in cells.items() if name not in PATHS}
        twice = sorted(columns.keys() & facts[index].keys())
        if twice:
            raise InputError(f"{path}: {twice[0]} is a column and a named group of data.pattern: rename one")
        made[index] = {**facts[index], **columns}
    for name, fact in zip(names.ids, made, strict=True):
        if fact is None:
            raise InputError(f"{path}: it has no row for {name}: add one, or make data.images narrower")
    return [fact for fact in made if fact is not None]


def _components(asked: Sequence[str] | None, division: Division, facts: Sequence[Facts]) -> list[str]:
    known = list(facts[0]) if facts else []
    if asked is None:
        return [name for name in known if name not in ("split", division.split, division.group)]
    for name in asked:
        if name not in known:
            raise InputError(f"data.environment: {name} is no named group and no column: there are {', '.join(known)}")
    return list(asked)
