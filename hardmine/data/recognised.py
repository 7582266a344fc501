"""Which layout a folder has, and what lies in one that has none."""

from collections import Counter
from itertools import islice
from pathlib import Path

from hardmine.data.globs import in_words
from hardmine.data.images import LABEL_SUFFIXES, SUFFIXES
from hardmine.data.metadata import SPLITS

_IMAGES = ("images", "image", "imgs", "img", "rgb", "jpegimages", "frames", "photos")
_MASKS = ("labels", "label", "masks", "mask", "gt", "annotations", "segmentationclass", "segmentation", "regions")
_MOST = 2000  # files that are looked at

LAYOUTS = {
    "folder": "metadata.csv (id,split,...), images/ and regions/ with classes.csv, or annotations.json",
    "image_folder": "train/<class>/<image>, val/<class>/<image>, ... to classify",
    "cityscapes": "leftImg8bit/ and gtFine/, or rgb_anon/ and gt/",
    "coco": "annotations/instances_train*.json, or train/_annotations.coco.json, and the images",
    "yolo": "data.yaml with names, train and val; images/ and labels/*.txt",
    "pairs": "any images and masks that are called alike: data.images=... data.labels=...",
}
"""What each layout of `data=` looks for."""


def recognised(root: Path) -> list[str]:
    """Arguments that read a folder; none where it fits no layout.

    Args:
        root: a folder.
    """
    at = f"data.root={root}"
    if (root / "metadata.csv").is_file():
        return ["data=folder", at]
    if (root / "leftImg8bit").is_dir() or (root / "rgb_anon").is_dir():
        return ["data=cityscapes", at]
    if any("names" in path.read_text(errors="replace") for path in _some(root, "*.y*ml")):
        return ["data=yolo", at]
    boxes = ("annotations/*.json", "*/_annotations.coco.json", "*.json")
    if any(_is_coco(path) for pattern in boxes for path in _some(root, pattern)):
        return ["data=coco", at]
    if any(path.suffix.lower() in SUFFIXES for split in SPLITS for path in _some(root, f"{split}/*/*")):
        return ["data=image_folder", at]
    return []


def pairs_in(root: Path) -> list[str]:
    """Arguments of `data=pairs` for a folder of images and one of masks that are called as such; none without these."""
    folders = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    images = next((folders[name] for name in _IMAGES if name in folders), None)
    masks = next((folders[name] for name in _MASKS if name in folders), None)
    if images is None or masks is None:
        return []
    of_images, of_masks = _ending(images, SUFFIXES), _ending(masks, LABEL_SUFFIXES)
    if of_images is None or of_masks is None:
        return []
    patterns = [f"data.images={images.name}/**/*{of_images}", f"data.labels={masks.name}/**/*{of_masks}"]
    return ["data=pairs", f"data.root={root}", *patterns]


def told(root: Path) -> list[str]:
    """Lines on a folder that fits no layout: what is there, and what would fit."""
    lines = [f"{root} fits no layout. It has {in_words(root)}"]
    for folder in sorted(path for path in root.iterdir() if path.is_dir())[:8]:
        lines.append(f"  {folder.name}/ has {in_words(folder, 4)}")
    lines += ["", "Layouts:"] + [f"  data={name:<13}{words}" for name, words in LAYOUTS.items()]
    if len(classes := _of_classes(root)) > 1:
        lines += ["", f"If {', '.join(classes[:4])} are classes: move their folders into train/, for data=image_folder"]
    images = [path for path in _some(root, "**/*") if path.suffix.lower() in SUFFIXES][:2]
    names = [path.stem for path in images] or ["img_001", "img_002"]
    rows = [
        f"  {name},{split},{time}"
        for name, split, time in zip(names, ("train", "test"), ("day", "night"), strict=False)
    ]
    lines += ["", "A sample of metadata.csv, for data=folder with these images in images/:", "  id,split,time", *rows]
    return lines


def _of_classes(root: Path) -> list[str]:
    """Folders that hold images alone; none where one of them is called as masks are."""
    there = {path.parent.name for path in _some(root, "*/*") if path.suffix.lower() in SUFFIXES}
    return [] if there & {*_IMAGES, *_MASKS} else sorted(there)


def _is_coco(path: Path) -> bool:
    """Whether a JSON file may be of boxes; other programs write others beside their data."""
    with path.open("rb") as file:
        before = b""
        while part := file.read(1 << 20):
            if b'"categories"' in before + part:
                return True
            before = part[-16:]
    return False


def _some(root: Path, pattern: str) -> list[Path]:
    return sorted(path for path in islice(root.glob(pattern), _MOST) if path.is_file())


def _ending(folder: Path, suffixes: tuple[str, ...]) -> str | None:
    """The most frequent ending of images in a folder."""
    endings = Counter(path.suffix for path in _some(folder, "**/*") if path.suffix.lower() in suffixes)
    return endings.most_common(1)[0][0].lower() if endings else None
