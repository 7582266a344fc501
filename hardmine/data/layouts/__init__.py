"""How a data set is written: hardmine's folder, COCO, YOLO, and WebDataset's shards."""

from pathlib import Path

from hardmine.data.labelled import LabelledImages
from hardmine.data.layouts.base import Layout
from hardmine.data.layouts.coco import CocoLayout
from hardmine.data.layouts.folder import FolderLayout
from hardmine.data.layouts.shards import ShardsLayout
from hardmine.data.layouts.yolo import YoloLayout
from hardmine.errors import InputError

LAYOUTS: dict[str, type[Layout]] = {
    "folder": FolderLayout,
    "coco": CocoLayout,
    "yolo": YoloLayout,
    "webdataset": ShardsLayout,
}

__all__ = ["LAYOUTS", "CocoLayout", "FolderLayout", "Layout", "ShardsLayout", "YoloLayout", "layout_of"]


def layout_of(name: str, out: Path, images: LabelledImages) -> Layout:
    """What writes a data set to a folder.

    Args:
        name: one of `LAYOUTS`.
        out: the folder.
        images: of the data set; they tell its areas, classes and kind of labels.

    Raises:
        InputError: no such layout, one without a place for labels of this kind, or images of other channels.
    """
    if name not in LAYOUTS:
        raise InputError(f"format={name} is unknown: take one of {', '.join(LAYOUTS)}")
    layout = LAYOUTS[name]
    if images.kind not in layout.kinds:
        others = ", ".join(other for other, each in LAYOUTS.items() if images.kind in each.kinds)
        raise InputError(f"format={name}: {layout.lacks}: take one of {others}")
    count = len(images.pixels(0)[0]) if len(images) else 3
    if count != 3:
        raise InputError(
            f"format={name}: the images have {count} channels, and PNG files of red, green and blue are written"
        )
    return layout(out, images)
