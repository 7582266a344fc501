"""What is in a data set: counts, classes, sizes, and what is odd."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from hardmine.data.header import Header, summary
from hardmine.data.labelled import LabelledImages, in_threads
from hardmine.data.metadata import SPLITS
from hardmine.data.module import LabelledData
from hardmine.records import VOID

_MISSING = {
    "train": "nothing can be trained on",
    "val": "nothing is validated on",
    "test": "nothing is tested on",
    "target": "colours must come from a store (store=file), another split, or a share of test (data.target=0.2 "
    "with data=pairs, coco and yolo)",
}
_MOSTLY = 0.5  # a share of void that is told
_SQUEEZED = 1.25  # how much wider or narrower an image may become before that is told


@dataclass
class Survey:
    """What was found.

    Attributes:
        kind: what the labels are.
        areas, classes: their names.
        environments: images of each environment by split.
        shares: of each split, for each class the share of pixels (masks), images (classes) or boxes that it has.
        seen: of each split, how many images have each class.
        void: share of pixels of each split that are void.
        bare: images of each split with nothing but void, or without a box.
        sizes: images of each height and width, pixels.
        odd: lines on what a person may not have meant.
    """

    kind: str
    areas: tuple[str, ...]
    classes: tuple[str, ...]
    environments: dict[str, Counter[str]] = field(default_factory=dict)
    shares: dict[str, list[float]] = field(default_factory=dict)
    seen: dict[str, list[int]] = field(default_factory=dict)
    void: dict[str, float] = field(default_factory=dict)
    bare: dict[str, int] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, data: LabelledData, tiled: bool = False) -> "Survey":
        """Look at all files of all splits.

        Args:
            data: of whole images.
            tiled: training cuts them in tiles of `data.size`, and does not resize them.

        Raises:
            InputError: one that is missing, damaged, or does not fit the others.
        """
        survey = cls(data.kind, data.areas, data.classes)
        headers: list[Header] = []
        for split in filter(data.has, SPLITS):
            images = data.split(split)
            looked = in_threads(images.look, range(len(images)), f"looking at {split}")
            survey._add(split, images, looked)
            headers += [header for each in looked for header in each]
        survey.odd = [*data.told, *data.of_one_class, *summary(headers, len(data.drawn)), *survey._odd(data, tiled)]
        return survey

    @property
    def least(self) -> tuple[int, int]:
        """Height and width that all images have, pixels."""
        heights, widths = zip(*self.sizes, strict=True)
        return min(heights), min(widths)

    def _add(self, split: str, images: LabelledImages, looked: list[list[Header]]) -> None:
        names = ("_".join(values.values()) or "all" for values in images.environment)
        self.environments[split] = Counter(names)
        self.sizes.update(each[0].size for each in looked if each)
        total, seen, void, bare = Counter[int](), Counter[int](), 0, 0
        for index, each in enumerate(looked):
            counted = _classes_of(images, index, each)
            void += counted.pop(VOID, 0) if self.kind == "masks" else 0
            bare += not counted
            total.update(counted)
            seen.update(counted.keys())
        every = max(1, total.total())
        self.shares[split] = [total[label] / every for label in range(len(self.classes))]
        self.seen[split] = [seen[label] for label in range(len(self.classes))]
        self.bare[split] = bare
        if self.kind == "masks":
            self.void[split] = void / max(1, total.total() + void)

    def _odd(self, data: LabelledData, tiled: bool) -> list[str]:
        lines = [f"no image is in {split}: {why}" for split, why in _MISSING.items() if split not in self.environments]
        never = [name for label, name in enumerate(self.classes) if not any(seen[label] for seen in self.seen.values())]
        if never:
            lines.append(f"classes that no image has: {', '.join(never)}")
        trained = self.seen.get("train")
        for split in self.seen if trained else ():
            counts = zip(self.classes, trained or (), self.seen[split], strict=True)
            if untrained := [name for name, before, now in counts if now > before == 0]:
                lines.append(f"classes that {split} has and train has not: {', '.join(untrained)}")
        lines += [
            f"{part:.0%} of the pixels of {split} are void" for split, part in self.void.items() if part > _MOSTLY
        ]
        lines += [f"{count} images of {split} have no {self._one}" for split, count in self.bare.items() if count]
        if len(self.sizes) > 1:
            lines.append(f"the images have {len(self.sizes)} sizes")
        if size := getattr(data, "size", None):
            lines += filter(None, [self._smaller(size) if tiled else self._squeezed(size)])
        return lines

    @property
    def _one(self) -> str:
        return "box" if self.kind == "boxes" else "pixel of a class"

    def _smaller(self, size: tuple[int, int]) -> str | None:
        small = {each: count for each, count in self.sizes.items() if each[0] < size[0] or each[1] < size[1]}
        if not small:
            return None
        height, width = next(iter(small))
        return (
            f"{sum(small.values())} images are smaller than a tile of data.size={list(size)} ({width} x {height}): "
            "set data.size smaller"
        )

    def _squeezed(self, size: tuple[int, int]) -> str | None:
        wanted = size[1] / size[0]
        count = sum(
            count
            for (height, width), count in self.sizes.items()
            if not 1 / _SQUEEZED < width / height / wanted < _SQUEEZED
        )
        if not count:
            return None
        (height, width), _ = self.sizes.most_common(1)[0]
        side = int(size[0] * width / height / 32 + 0.5) * 32
        return (
            f"data.size={list(size)} changes the shape of {count} images ({width} x {height}): "
            f"data.size=[{size[0]},{max(32, side)}] keeps it"
        )


def _classes_of(images: LabelledImages, index: int, looked: list[Header]) -> Counter[int]:
    """How often an image has each class: pixels, boxes, or once."""
    if images.kind == "masks" and looked and looked[-1].labels:
        return Counter(looked[-1].labels)
    sample: Mapping[str, object] = images.labels(index)
    labels = sample["labels" if images.kind == "boxes" else "target"]
    counted = Counter[int](labels.reshape(-1).tolist())  # type: ignore[attr-defined]
    counted.pop(-1, None)  # padding
    return counted
