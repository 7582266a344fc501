"""Classification from torchvision's ImageFolder layout: root/<split>/<class>/<image>."""

import os
from functools import cached_property
from pathlib import Path
from typing import Unpack

import torch
from torchvision.datasets import ImageFolder

from hardmine.data.globs import files_below
from hardmine.data.header import Header, look_at_image
from hardmine.data.images import SUFFIXES, read_image
from hardmine.data.index_images import FromImage, Predictor, from_image
from hardmine.data.labelled import LabelledImages, Sample
from hardmine.data.metadata import SPLITS, misspelt, unread
from hardmine.data.module import LabelledData, Loading
from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.names import blemish, look_at_names


class ImageFolderImages(LabelledImages):
    """The images of one split, each named by its path in the folder of the split.

    Args:
        root: folder of the split.
        classes: names of the classes; None takes the folders', sorted.
        maker: makes index images.
        size: height and width all images are resized to.
        flip, cache_gib: see `LabelledImages`.
        convert, exact_resize: see `read_image`.

    Attributes:
        left_out: files whose ending is none of an image.

    Raises:
        InputError: no such folder, a class without images or (in a split other than the first) without a name, names
            of classes that differ in blanks or case alone, or a link that leads back.
    """

    def __init__(
        self,
        root: Path,
        classes: tuple[str, ...] | None,
        maker: Predictor,
        size: tuple[int, int],
        flip: bool,
        cache_gib: float,
        convert: bool = False,
        exact_resize: bool = True,
    ) -> None:
        if why := trouble(root, folder=True):
            raise InputError(f"{root}: {why}: add it, with a folder of images for each class")
        self.left_out = [path for path in files_below(root) if path.suffix.lower() not in SUFFIXES]
        if loose := sorted(path for path in root.iterdir() if _is_image(path.name) and path.is_file()):
            raise InputError(f"{root}: {len(loose)} images are in no folder of a class ({loose[0].name}): move them")
        try:
            found = _Shown(root, is_valid_file=_is_image, allow_empty=classes is not None)
        except FileNotFoundError as error:
            raise InputError(f"{root}: {str(error).splitlines()[0].rstrip('. ')}: add images of each class") from None
        look_at_names(root, "class", [(f"folder {name!r}", name) for name in found.classes])
        classes = tuple(found.classes) if classes is None else classes
        strange = sorted(set(found.classes) - set(classes))
        if strange:
            raise InputError(f"{root / strange[0]}: training images have no such class: add some or rename the folder")
        if not found.samples:
            raise InputError(f"{root}: no images: add some, or remove the folder")
        for path, _ in found.samples:
            if why := blemish(os.path.relpath(path, root)):
                raise InputError(f"{root}: the name {os.path.relpath(path, root)!r} {why}: rename the file")
        self.samples = [(Path(path), classes.index(found.classes[label])) for path, label in found.samples]
        self.maker, self.size, self.convert, self.exact_resize = maker, size, convert, exact_resize
        super().__init__(
            ids=[path.relative_to(root).as_posix() for path, _ in self.samples],
            areas=maker.areas,
            classes=classes,
            kind="classes",
            environment=[{} for _ in self.samples],
            flip=flip,
            cache_gib=cache_gib,
        )

    def read(self, index: int) -> Sample:
        path, label = self.samples[index]
        image, _ = read_image(path, self.size, self.convert, self.exact_resize)
        return {"image": image, "regions": self.maker(image), "target": torch.tensor(label)}

    def labels(self, index: int) -> Sample:
        return {"target": torch.tensor(self.samples[index][1])}

    def look(self, index: int) -> list[Header]:
        return [look_at_image(self.samples[index][0], self.convert)]

    def paths(self, index: int) -> tuple[str | None, str | None]:
        return str(self.samples[index][0].absolute()), None


class ImageFolderData(LabelledData):
    """`data=image_folder data.root=PATH`: the splits train, val, test, target of an ImageFolder; classes are train's.

    Args:
        root: the folder of the splits.
        size: height and width all images are resized to.
        regions, superpixels, predictor: how index images come about, see `Folder`.
        convert, exact_resize: see `read_image`.
        loading: see `LabelledData`.

    Raises:
        InputError: no such folder, one of a split that is misspelt, or a way of making index images that needs more
            than images.
    """

    def __init__(
        self,
        root: str,
        size: tuple[int, int] = (224, 224),
        regions: FromImage = "whole",
        superpixels: int = 32,
        predictor: Predictor | None = None,
        convert: bool = False,
        exact_resize: bool = True,
        **loading: Unpack[Loading],
    ) -> None:
        super().__init__(**loading)
        self.root = Path(root).expanduser()
        if why := trouble(self.root, folder=True):
            raise InputError(f"{self.root}: {why}: set `root` to one with train/<class>/<image>", "data")
        self.size = (int(size[0]), int(size[1]))
        self.maker = from_image(regions, superpixels, predictor)
        self.convert, self.exact_resize = convert, exact_resize
        for folder in self._folders:
            if meant := misspelt(folder):
                raise InputError(f"{self.root / folder}: no split is called so: did you mean `{meant}`?")

    @cached_property
    def _folders(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir() if path.is_dir() and not path.name.startswith("."))

    @property
    def told(self) -> list[str]:
        told = unread(self._folders, f"{self.root}: folders")
        left_out = [path for split in SPLITS if self.has(split) for path in self._of(split).left_out]
        if left_out:
            told.append(f"{len(left_out)} files are left out ({left_out[0]}): images end in {', '.join(SUFFIXES)}")
        return told

    def _of(self, split: str) -> ImageFolderImages:
        images = self.split(split)
        assert isinstance(images, ImageFolderImages)
        return images

    def has(self, split: str) -> bool:
        return trouble(self.root / split, folder=True) != "no such folder"

    def images(self, split: str, flip: bool) -> LabelledImages:
        classes = None if split == "train" else self.split("train").classes
        given = (self.maker, self.size, flip, self.cache_gib, self.convert, self.exact_resize)
        return ImageFolderImages(self.root / split, classes, *given)


class _Shown(ImageFolder):  # type: ignore[misc]  # torchvision has no types
    """Without hidden folders, which programs leave, and hidden files."""

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        names = sorted(path.name for path in Path(directory).iterdir() if path.is_dir() and path.name[0] != ".")
        if not names:
            raise FileNotFoundError("Found no class folder")
        return names, {name: number for number, name in enumerate(names)}


def _is_image(path: str) -> bool:
    return path.lower().endswith(SUFFIXES) and not os.path.basename(path).startswith(".")
