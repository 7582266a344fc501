"""COCO: images, and one JSON file for each split."""

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from hardmine.data.annotations import annotations_of
from hardmine.data.export import Example
from hardmine.data.labelled import Kind, LabelledImages
from hardmine.data.layouts.base import Layout, png, write
from hardmine.records import VOID


class CocoLayout(Layout):
    """Instances as COCO has them, see https://cocodataset.org/#format-data.

        images/<split>/<name>.png
        annotations/instances_<split>.json

    Ids run 1, 2, 3, ... Boxes are as they are. Of masks an annotation is all pixels of a class in an image, as
    run-length code, which keeps each pixel; `iscrowd` is 0. What COCO has no key for, the environment of an image and
    of what a piece was made, are the keys `environment` and `piece` of the image.
    """

    kinds: ClassVar[tuple[Kind, ...]] = ("masks", "boxes")
    lacks: ClassVar[str] = "COCO has no place for one class of each image"

    def __init__(self, out: Path, images: LabelledImages) -> None:
        super().__init__(out, images)
        self._images: dict[str, list[dict[str, Any]]] = {}  # by split
        self._annotations: dict[str, list[dict[str, Any]]] = {}

    def add(self, example: Example) -> None:
        split, file = example.split, f"{example.name}.png"
        write(self.out / f"images/{split}/{file}", png(example.image))
        images, annotations = self._images.setdefault(split, []), self._annotations.setdefault(split, [])
        height, width = example.image.shape[-2:]
        image = {"id": len(images) + 1, "file_name": file, "width": width, "height": height}
        image["environment"] = dict(example.environment)
        if example.piece:
            image["piece"] = dict(example.piece)
        images.append(image)
        if self.kind == "boxes":
            found = annotations_of(example.labels["boxes"], example.labels["labels"], len(self.classes), file)
        else:
            found = _areas(example.regions)
        first = len(annotations) + 1  # never 0: pycocotools takes that for `no match`
        annotations += [{"id": first + place, "image_id": image["id"], **each} for place, each in enumerate(found)]

    def finish(self) -> list[str]:
        categories = [{"id": number, "name": name} for number, name in enumerate(self.classes, start=1)]
        for split, images in self._images.items():
            content = {"images": images, "annotations": self._annotations[split], "categories": categories}
            write(self.out / f"annotations/instances_{split}.json", json.dumps(content, ensure_ascii=False))
        if self.kind == "boxes":
            return ["the index images of the areas: COCO has no place for them"]
        return ["which pixels of a class are one object: the masks do not tell; an annotation is a class in an image"]


def _areas(mask: Tensor) -> list[dict[str, Any]]:
    """The annotation of each class in a mask (H, W) uint8, 255 void."""
    from pycocotools import mask as coding

    found, pixels = [], mask.numpy()
    for label in sorted({*np.unique(pixels).tolist()} - {VOID}):
        code = coding.encode(np.asfortranarray(pixels == label, dtype=np.uint8))
        shape = {"bbox": coding.toBbox(code).tolist(), "area": int(coding.area(code)), "iscrowd": 0}
        segmentation = {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode()}
        found.append({"category_id": label + 1, "segmentation": segmentation, **shape})
    return found
