"""Cityscapes, and what is laid out like it: ACDC, Dark Zurich."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Unpack

from torchvision.datasets import Cityscapes

from hardmine.data.coding import Numbers
from hardmine.data.globs import Glob, files_below, in_words
from hardmine.data.images import not_read
from hardmine.data.layout import LayoutKeys, look_at_choice
from hardmine.data.listings.listing import Listed, ListedData
from hardmine.data.listings.pairs import Regions
from hardmine.data.listings.splits import Facts
from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.records import VOID

_TRAINED = sorted((one for one in Cityscapes.classes if not one.ignore_in_eval), key=lambda one: one.train_id)
CLASSES = tuple(one.name for one in _TRAINED)
"""The 19 classes that are trained on, in the order of their train ids."""
_LABELS = {one.id: VOID if one.ignore_in_eval else one.train_id for one in Cityscapes.classes if one.id >= 0}
_CODING = Numbers(len(CLASSES), {**_LABELS, VOID: VOID}, "Cityscapes' table of labelIds")  # of licence plates 255, too
_SHIFTED = {"train": "target", "val": "test"}


class _Form(NamedTuple):
    """Folders of images and masks, and how their names end."""

    images: str
    image: str
    labels: str
    label: str
    condition: str | None  # of all images; None: a folder is called so


_FORMS = (
    _Form("leftImg8bit", "_leftImg8bit", "gtFine", "_gtFine_labelIds", "clear"),
    _Form("rgb_anon", "_rgb_anon", "gt", "_gt_labelIds", None),
)


class CityscapesKeys(LayoutKeys, total=False):
    """Keyword arguments of `CityscapesData`, whose splits are said by folders."""

    shifted: Mapping[str, str | Sequence[str]] | None
    target: float | None


class CityscapesData(ListedData):
    """`data=cityscapes data.root=PATH`: leftImg8bit/ and gtFine/, or as ACDC has them rgb_anon/ and gt/.

    The numbers in masks (labelIds) become the 19 classes that are trained on, all others are void. The environment is
    the condition: `clear`, or the folder that ACDC has the image in (fog, night, rain, snow). Of its splits `train` and
    `val` are read: there are no labels of `test`, and none of ACDC's reference images.

    Args:
        root: the folder of these.
        shifted_root: a second one, whose `train` are targets and whose `val` are `test`.
        size, tiles: see `LayoutData`.
        regions, more: see `Layout`, `LabelledData` and, of `shifted` and `target`, `Division`.
    """

    def __init__(
        self,
        root: str,
        shifted_root: str | None = None,
        size: tuple[int, int] = (256, 512),
        tiles: bool = False,
        regions: Regions = "labels",
        **more: Unpack[CityscapesKeys],
    ) -> None:
        look_at_choice("regions", regions, Regions)
        told: list[str] = []
        folder = Path(root).expanduser()
        found = _found(folder, "root", told)
        if shifted_root is not None:
            for name, path, mask, fact in _found(Path(shifted_root).expanduser(), "shifted_root", told):
                found.append((name, path, mask, {**fact, "split": _SHIFTED[fact["split"]]}))
        facts = {name: fact for name, _, _, fact in found}
        if len(facts) < len(found):
            raise InputError("`shifted_root` has images that are called as those of `root`: name another", "data")
        rows = [Listed(name, image=path, labels=mask) for name, path, mask, _ in found]
        remedy = "set data.shifted_root to images of other conditions, or data.shifted={condition: [night]}"
        super().__init__(folder, rows, facts, folder, CLASSES, _CODING, told, regions, size, tiles, remedy, **more)


def _found(root: Path, key: str, told: list[str]) -> list[tuple[str, Path, Path, Facts]]:
    """Id, image, mask, split and condition of each image that has labels."""
    if why := trouble(root, folder=True):
        raise InputError(f"{root}: {why}: set `{key}` to a folder with leftImg8bit/ and gtFine/", "data")
    form = next((form for form in _FORMS if (root / form.images).is_dir()), None)
    if form is None:
        raise InputError(
            f"{root}: has neither leftImg8bit/ and gtFine/ nor rgb_anon/ and gt/: it has {in_words(root)}: set `{key}` "
            "to the folder that has them",
            "data",
        )
    images = Glob(root, f"{form.images}/**/*{form.image}.png", key).files
    masks = Glob(root, f"{form.labels}/**/*{form.label}.png", key).files
    rows: list[tuple[str, Path, Path, Facts]] = []
    told += not_read(files_below(root / form.images))
    unread = []
    labelled = {_split(name) for name in masks}
    for name, path in images.items():
        folders, split = PurePosixPath(name).parts[:-1], _split(name)
        if split is None or split not in labelled:
            unread.append(path)
            continue
        if name not in masks:
            mask = root / form.labels / f"{name}{form.label}.png"
            raise InputError(f"{path}: {mask} is missing: add the labels, or take the image away")
        condition = form.condition or next((part for part in folders if part != split), "unknown")
        rows.append((name, path, masks[name], {"split": split, "condition": condition}))
    if unread:
        told.append(
            f"{root}: {len(unread)} images outside of train/ and val/, or of one without labels, are not read "
            f"({unread[0]})"
        )
    if not rows:
        raise InputError(f"{root / form.images}: no image with labels is in a folder train/ or val/: add some")
    return rows


def _split(name: str) -> str | None:
    """The split that an image's path says; None where it is not read."""
    return next((part for part in PurePosixPath(name).parts[:-1] if part in _SHIFTED), None)
