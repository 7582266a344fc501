"""COCO's layout: a JSON file of boxes for each split, and its images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Unpack

from hardmine.data.annotations import read_coco
from hardmine.data.globs import in_words
from hardmine.data.images import SUFFIXES, not_read
from hardmine.data.layout import look_at_choice
from hardmine.data.listings.described import facts_in, within
from hardmine.data.listings.listing import Listed, ListedData, ListedKeys
from hardmine.data.listings.splits import Facts
from hardmine.data.metadata import SPLITS
from hardmine.errors import InputError
from hardmine.files import trouble

Regions = Literal["boxes", "superpixels", "whole", "predicted"]

_CALLED = {"train": ("train",), "val": ("val", "valid"), "test": ("test",), "target": ("target",)}


class CocoData(ListedData):
    """`data=coco data.root=PATH`: boxes to detect, in COCO's JSON.

    Without `annotations` each split's file is looked for: annotations/instances_train*.json, annotations/train*.json,
    train/_annotations.coco.json and train.json (of val also `valid`); its images below the folder of the file, or where
    `images` says.

    Args:
        root: the folder.
        annotations: file of each split, relative to `root`; or one file of all images, which shares or a table part.
        images: folder of the images, or of each split's, relative to `root`; None looks for the first one.
        pattern: see `PairsData`.
        size: height and width all images are resized to.
        regions, more: see `Description`, `Layout` and `LabelledData`.
    """

    def __init__(
        self,
        root: str,
        annotations: str | Mapping[str, str] | None = None,
        images: str | Mapping[str, str] | None = None,
        pattern: str | None = None,
        size: tuple[int, int] = (256, 256),
        regions: Regions = "boxes",
        **more: Unpack[ListedKeys],
    ) -> None:
        look_at_choice("regions", regions, Regions)
        folder = Path(root).expanduser()
        if why := trouble(folder, folder=True):
            raise InputError(f"{folder}: {why}: set `root` to one with annotations/", "data")
        rows: list[Listed] = []
        facts: dict[str, Facts] = {}
        told: list[str] = []
        classes: tuple[str, ...] = ()
        for split, file in _files(folder, annotations).items():
            found = read_coco(file, paths=True)
            told += found.told
            if rows and found.classes != classes:
                raise InputError(
                    f"{file}: its categories are not those of {rows[0].labels}: give both the same, in order"
                )
            classes = found.classes
            place = _place(folder, file, split, images, next(iter(found.images), ""))
            if why := trouble(place, folder=True):
                raise InputError(f"data.images: {place}: {why}: set it to the folder of the images")
            for name, boxes in found.images.items():
                known = str(Path(split, name).with_suffix(""))
                rows.append(Listed(known, image=place / name, labels=file, boxes=boxes))
                said = {"split": split} if split else {}
                facts[known] = {**said, **facts_in(pattern, within(folder, place / name))}
        if len(facts) < len(rows):
            raise InputError(f"{folder}: two images have one name and differ in their ending alone: rename one")
        told += _unlisted({row.image for row in rows})
        super().__init__(folder, rows, facts, folder, classes, None, told, regions, size, **more)


def _files(root: Path, annotations: str | Mapping[str, str] | None) -> dict[str, Path]:
    """The file of each split; of "" where one file has all."""
    if isinstance(annotations, str):
        return {"": root / Path(annotations).expanduser()}
    if annotations is not None:
        for split in annotations:
            if split not in SPLITS:
                raise InputError(f"data.annotations: {split!r} is none of the splits {', '.join(SPLITS)}")
        return {split: root / Path(file).expanduser() for split, file in annotations.items()}
    files: dict[str, Path] = {}
    for split, names in _CALLED.items():
        patterns = [
            pattern
            for name in names
            for pattern in (
                f"annotations/instances_{name}*.json",
                f"annotations/{name}*.json",
                f"{name}/_annotations.coco.json",
                f"{name}.json",
            )
        ]
        there = next((found for pattern in patterns if (found := sorted(root.glob(pattern)))), [])
        if len(there) > 1:
            raise InputError(
                f"{there[0].parent}: {there[0].name} and {there[1].name} are both of {split}: say which by "
                f"data.annotations={{{split}: FILE, ...}}"
            )
        files.update(dict.fromkeys([split] if there else [], there[0] if there else root))
    if files:
        return files
    one = sorted([*root.glob("*.json"), *root.glob("annotations/*.json")])
    if len(one) == 1:
        return {"": one[0]}
    raise InputError(
        f"{root}: no file of boxes is found: it has {in_words(root)}: set data.annotations={{train: FILE, val: FILE}}, "
        "or to one file of all images"
    )


def _unlisted(listed: set[Path]) -> list[str]:
    """Lines on images that lie beside those of the files and are in none, and on those of other formats."""
    folders = sorted({path.parent for path in listed if path.parent.is_dir()})
    beside = [path for folder in folders for path in sorted(folder.iterdir()) if path not in listed]
    others = [path for path in beside if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    told = [f"{len(others)} images are in no file of boxes, and not read ({others[0]})"] if others else []
    return told + not_read(beside)


def _place(root: Path, file: Path, split: str, images: str | Mapping[str, str] | None, name: str) -> Path:
    """The folder that file names are relative to."""
    if images is not None:
        said = images if isinstance(images, str) else images.get(split)
        if said is None:
            raise InputError(f"data.images: says nothing of {split}: add its folder")
        return root / Path(said).expanduser()
    folders = [path for pattern in ("*", "images/*") for path in sorted(root.glob(pattern)) if path.is_dir()]
    called = [path for path in folders if file.stem.endswith(path.name)]  # instances_val2017: val2017/
    called += [path for path in folders if path.name.startswith(_CALLED.get(split, ()))]
    for place in (file.parent, root, *called, root / "images"):
        if (place / name).is_file():
            return place
    raise InputError(f"{file}: its image {name} is in no folder that is looked into: set data.images to theirs")
