"""Images and masks as they lie: two patterns of paths, and what tells splits and environments."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Unpack

from hardmine.data.globs import Glob
from hardmine.data.images import Void, not_read
from hardmine.data.layout import look_at_choice
from hardmine.data.listings.coded import read_coding
from hardmine.data.listings.described import facts_in, within
from hardmine.data.listings.listing import Listed, ListedData, ListedKeys
from hardmine.data.listings.splits import Facts
from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.records import VOID

Regions = Literal["labels", "superpixels", "whole", "predicted"]


class PairsData(ListedData):
    """`data=pairs data.images=GLOB data.labels=GLOB`: each image has a mask that is called alike.

    What `*`, `**` and `?` stand for is the id of an image, and must be the same in its mask's path; a group `id` of
    `pattern` says it otherwise.

    Args:
        images, labels: see `Glob`.
        root: folder that all patterns, tables and lists are relative to.
        pattern: regular expression that is found in the path of each image, relative to `root`. Its named groups are
            the environment; `id` and `split` are what they say.
        unlabelled: what to do with images without a mask.
        classes, colors, void: see `read_coding`.
        size, tiles: see `LayoutData`.
        regions, more: see `Description`, `Layout` and `LabelledData`.
    """

    def __init__(
        self,
        images: str,
        labels: str,
        root: str = ".",
        pattern: str | None = None,
        unlabelled: Literal["refuse", "skip"] = "refuse",
        classes: str | Sequence[str] | None = None,
        colors: Mapping[str, Sequence[int]] | None = None,
        void: Void = VOID,
        size: tuple[int, int] = (192, 256),
        tiles: bool = False,
        regions: Regions = "labels",
        **more: Unpack[ListedKeys],
    ) -> None:
        look_at_choice("unlabelled", unlabelled, Literal["refuse", "skip"])
        look_at_choice("regions", regions, Regions)
        folder = Path(root).expanduser()
        if why := trouble(folder, folder=True):
            raise InputError(f"{folder}: {why}: set `root` to the folder that the patterns begin in", "data")
        names, coding = read_coding(folder, classes, colors, void)
        globs = Glob(folder, images, "images"), Glob(folder, labels, "labels")
        image_of, facts_of = _matched(globs[0], pattern)
        mask_of, _ = _matched(globs[1], pattern if "(?P<id>" in (pattern or "") else None)
        told, image_of = _paired(image_of, mask_of, unlabelled, images, labels)
        told += not_read(path for glob in globs for path in glob.others)
        rows = [Listed(name, image=path, labels=mask_of[name]) for name, path in image_of.items()]
        facts = {name: facts_of[name] for name in image_of}
        super().__init__(folder, rows, facts, folder / images, names, coding, told, regions, size, tiles, **more)


def _matched(glob: Glob, pattern: str | None) -> tuple[dict[str, Path], dict[str, Facts]]:
    """File and facts of each id."""
    if pattern is None:
        return dict(glob.files), {name: {} for name in glob.files}
    files: dict[str, Path] = {}
    facts: dict[str, Facts] = {}
    for given, path in glob.files.items():
        fact = facts_in(pattern, within(glob.root, path))
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
    if both := next((path for name, path in images.items() if masks.get(name) == path), None):
        raise InputError(f"data.images and data.labels: both fit {both}: make one of the patterns narrower")
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
