"""Reading and writing batches of any form."""

import copy
from collections import UserDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import attrs
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor
from torchvision.tv_tensors import Image

from hardmine.errors import InputError
from hardmine.scenes import Scenes
from hardmine.view import View
from hardmine.view.container import copied

AREAS = ("sky", "road", "tree")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Pair = namedtuple("Pair", "image mask")


def levels(count: int = 3, size: tuple[int, int] = (6, 8), seed: int = 0) -> Tensor:
    """Images (B, 3, H, W) uint8, black and white among them, so that a range can be told."""
    image = torch.randint(0, 256, (count, 3, *size), generator=torch.Generator().manual_seed(seed)).byte()
    image[:, :, 0, 0], image[:, :, 0, 1] = 0, 255
    return image


def label_map(count: int = 3, size: tuple[int, int] = (6, 8), seed: int = 1) -> Tensor:
    return torch.randint(0, 3, (count, *size), generator=torch.Generator().manual_seed(seed))


def converted(scenes: Scenes, rows: Tensor) -> Scenes:
    """Road pixels of some rows are inverted."""
    chosen = rows[:, None, None] & (scenes.regions == 1)
    return scenes.replace(torch.where(chosen[:, None], 255 - scenes.image, scenes.image))


def boxes_of(classes: list[int]) -> list[dict[str, Tensor]]:
    """Targets with one box each."""
    return [{"boxes": torch.tensor([[1.0, 1, 5, 4]]), "labels": torch.tensor([label])} for label in classes]


def mirrored(scenes: Scenes) -> Scenes:
    """Everything that has a place is turned round."""
    labels = {name: value.flip(-1) for name, value in scenes.labels.items()}
    return scenes.replace(scenes.image.flip(-1), scenes.regions.flip(-1), labels)


def same(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, two) and one.dtype == two.dtype
    if isinstance(one, dict | UserDict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return bool(one == two)


RANGES: dict[str, tuple[Callable[[Tensor], Tensor], dict[str, Any]]] = {
    "uint8": (lambda x: x, {}),
    "unit": (lambda x: x / 255, {}),
    "levels": (lambda x: x.float(), {}),
    "half": (lambda x: (x / 255).half(), {}),
    "double": (lambda x: x.double() / 255, {}),
    "int": (lambda x: x.int(), {}),
    "16 bit": (lambda x: x.int() * 257, {"scale": 65535}),
    "normalised": (
        lambda x: (x / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None],
        {"mean": MEAN, "std": STD},
    ),
    "normalised levels": (lambda x: (x.float() - 120) / 60, {"mean": (120,), "std": (60,)}),
    "blue first": (lambda x: x.flip(1), {"channels": (2, 1, 0)}),
    "five channels": (lambda x: torch.cat([x, x[:, :2]], 1), {"channels": (0, 1, 2)}),
}


@pytest.mark.parametrize("name", RANGES)
def test_values_in_every_range(name: str) -> None:
    """The levels are those that there were; what is not converted comes back bit for bit, the rest on its level."""
    forward, keywords = RANGES[name]
    image, mask = levels(), label_map()
    batch = {"image": forward(image), "mask": mask}
    kept = copy.deepcopy(batch)
    view = View(**keywords)
    scenes = view.read(batch, AREAS)
    assert torch.equal(scenes.image, image)
    made = converted(scenes, torch.tensor([True, False, True]))
    written = view.write(batch, scenes, made)
    assert same(batch, kept)  # never in place
    changed = (scenes.image != made.image)[:, :3]
    new, old = written["image"], batch["image"]
    assert new.dtype == old.dtype and new.shape == old.shape
    assert torch.equal(new[1], old[1])
    wanted = forward(made.image)
    if name == "five channels":
        assert torch.equal(new[:, 3:], old[:, 3:])
        new, old, wanted = new[:, :3], old[:, :3], wanted[:, :3]
    if name == "blue first":
        changed = changed.flip(1)
    assert torch.equal(new[~changed], old[~changed])
    assert torch.allclose(new.float(), wanted.float(), atol=2e-3)
    assert torch.equal(View(**keywords).read(written, AREAS).image, made.image)


@dataclass(frozen=True)
class Frozen:
    image: Tensor
    mask: Tensor
    names: list[str]


@attrs.frozen
class Slotted:
    image: Tensor
    mask: Tensor
    names: list[str]


class Plain:
    """A batch as Python's beginners write it."""

    def __init__(self, image: Tensor, mask: Tensor) -> None:
        self.image, self.mask = image, mask


@dataclass
class Nested:
    image: Plain
    size: tuple[int, int] = (6, 8)


CONTAINERS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "dict": lambda x, y: {"image": x, "mask": y, "name": ["a", "b", "c"]},
    "user dict": lambda x, y: UserDict(pixel_values=x, labels=y),
    "tuple": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "named tuple": Pair,
    "dataclass": lambda x, y: Frozen(x, y, ["a", "b", "c"]),
    "tensors in a list": lambda x, y: (list(x), list(y)),
    "frozen with slots": lambda x, y: Slotted(x, y, ["a", "b", "c"]),
    "plain object": Plain,
    "list of objects": lambda x, y: {"image": [Image(each) for each in x], "mask": y},
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container(name: str) -> None:
    batch = CONTAINERS[name](levels() / 255, label_map())
    view = View()
    scenes = view.read(batch, AREAS)
    assert view.write(batch, scenes, scenes) is batch
    written = view.write(batch, scenes, converted(scenes, torch.tensor([True, False, False])))
    assert type(written) is type(batch) and written is not batch
    again = View().read(written, AREAS)
    assert torch.equal(again.regions, scenes.regions)
    assert torch.equal(again.image[1:], scenes.image[1:]) and not torch.equal(again.image[0], scenes.image[0])
    assert len(view.told) == 1 and "float32 in [0, 1]" in view.told[0]


@pytest.mark.parametrize("name", CONTAINERS)
def test_other_rows_of_every_container(name: str) -> None:
    batch = CONTAINERS[name](levels() / 255, label_map())
    view = View()
    scenes = view.read(batch, AREAS)
    rows = torch.tensor([2, 2, 0, 1])
    taken = view.read(view.take(batch, rows), AREAS)
    assert torch.equal(taken.image, scenes.image[rows]) and torch.equal(taken.regions, scenes.regions[rows])
    apart = copied(batch)
    images = apart["image"] if isinstance(apart, dict | UserDict) and "image" in apart else None
    (images if images is not None else view.input(apart))[0].zero_()
    assert torch.equal(view.read(batch, AREAS).image, scenes.image)  # nothing is shared


def test_objects_in_objects_are_copied() -> None:
    inner = Plain(levels(), label_map())
    view = View(image="image.image", label="image.mask")
    batch = Nested(inner)
    scenes = view.read(batch, AREAS)
    assert torch.equal(view.read(view.take(batch, torch.tensor([1])), AREAS).image, scenes.image[1:2])
    copied(batch).image.image.zero_()
    assert torch.equal(inner.image, scenes.image)


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "int64": lambda y: y,
    "uint8": lambda y: y.byte(),
    "int16": lambda y: y.short(),
    "uint16": lambda y: y.to(torch.uint16),
    "uint32": lambda y: y.to(torch.uint32),
    "float": lambda y: y.float(),
    "one channel": lambda y: y[:, None],
    "one-hot": lambda y: torch.nn.functional.one_hot(y, 3).permute(0, 3, 1, 2),
    "one-hot float": lambda y: torch.nn.functional.one_hot(y, 3).permute(0, 3, 1, 2).float(),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_label_maps(name: str) -> None:
    """Read as they are meant, and written in their form where an image has moved."""
    mask = label_map()
    batch = (levels(), FORMS[name](mask))
    view = View()
    scenes = view.read(batch, AREAS)
    assert torch.equal(scenes.regions.long(), mask)
    image, labels = view.write(batch, scenes, mirrored(scenes))
    assert torch.equal(image, levels().flip(-1))
    assert torch.equal(labels, FORMS[name](mask.flip(-1))) and labels.dtype == batch[1].dtype


@pytest.mark.parametrize("ignore", [255, -100, -1, 254, 0])
def test_pixels_that_are_not_learnt(ignore: int) -> None:
    mask = label_map() + (ignore == 0)
    mask[:, :2] = ignore
    view = View(ignore_index=ignore)
    batch = (levels(), mask)
    scenes = view.read(batch, ("nothing", *AREAS) if ignore == 0 else AREAS)
    assert bool((scenes.regions[:, :2] == 255).all()) and bool((scenes.regions[:, 2:] < 4).all())
    assert torch.equal(view.write(batch, scenes, mirrored(scenes))[1], mask.flip(-1))


def test_small_labels_below_zero_are_not_learnt() -> None:
    mask = label_map().to(torch.int8)
    mask[:, :2] = -1
    view = View(ignore_index=-1)
    scenes = view.read((levels(), mask), AREAS)
    assert bool((scenes.regions[:, :2] == 255).all()) and torch.equal(scenes.regions[:, 2:], mask[:, 2:].byte())
    written = view.write((levels(), mask), scenes, mirrored(scenes))[1]
    assert torch.equal(written, mask.flip(-1)) and written.dtype == torch.int8


@pytest.mark.parametrize("form", ["classes", "column", "one-hot", "floats"])
def test_classes(form: str) -> None:
    label = torch.tensor([1, 0, 1])
    given = {
        "classes": label,
        "column": label[:, None],
        "one-hot": torch.nn.functional.one_hot(label, 2).float(),
        "floats": label.float(),
    }[form]
    view = View()
    scenes = view.read((levels(), given))
    assert torch.equal(scenes.labels["target"], label)
    assert view.whole and not scenes.regions.any()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 4))
def test_images_of_different_sizes(seed: int, count: int) -> None:
    """Padded with void, and cut again."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(4, 9, (count, 2), generator=generator).tolist()
    images = [levels(1, (h, w), seed + n)[0] / 255 for n, (h, w) in enumerate(sizes)]
    masks = [label_map(1, (h, w), seed + n)[0] for n, (h, w) in enumerate(sizes)]
    batch = (tuple(images), tuple(masks))
    view = View()
    scenes = view.read(batch, AREAS)
    for row, (h, w) in enumerate(sizes):
        inside = torch.zeros(scenes.regions.shape[1:], dtype=torch.bool)
        inside[:h, :w] = True
        assert bool(((scenes.regions[row] != 255) == inside).all())
    written, labels = view.write(batch, scenes, converted(scenes, torch.ones(count, dtype=torch.bool)))
    assert all(torch.equal(a, b) for a, b in zip(labels, masks, strict=True))
    for new, old, mask in zip(written, images, masks, strict=True):
        assert torch.equal(new[:, mask != 1], old[:, mask != 1])
        assert torch.allclose(new[:, mask == 1], 1 - old[:, mask == 1], atol=1e-6)


def boxes_batch() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    targets = [
        {"boxes": torch.tensor([[0.0, 0, 8, 6], [2.0, 2, 4, 4]]), "labels": torch.tensor([1, 2])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    return [image / 255 for image in levels(2)], targets


def test_boxes_make_areas() -> None:
    """The smaller box lies on top; outside of all of them is background, last."""
    view = View()
    scenes = view.read(boxes_batch(), ("background", "car", "person"))
    assert view.names(("background", "car", "person")) == ("(no box)", "car", "person", "background")
    wanted = torch.ones(6, 8, dtype=torch.uint8)
    wanted[2:4, 2:4] = 2
    assert torch.equal(scenes.regions[0], wanted)
    assert bool((scenes.regions[1] == 3).all())
    assert scenes.labels["labels"].tolist() == [[1, 2], [-1, -1]]


def test_boxes_that_a_frame_cuts_off_are_gone_with_all_that_is_theirs() -> None:
    images, targets = boxes_batch()
    targets[0]["iscrowd"] = torch.tensor([0, 1])
    targets[0]["area"] = torch.tensor([48.0, 4.0])
    batch, view = (images, targets), View()
    scenes = view.read(batch, AREAS)
    boxes, labels = scenes.labels["boxes"].clone(), scenes.labels["labels"].clone()
    boxes[0, 0], labels[0, 0] = 0, -1
    boxes[0, 1] = torch.tensor([0.0, 0, 4, 4])
    made = scenes.replace(scenes.image, scenes.regions.clone(), {"boxes": boxes, "labels": labels})
    _, new = view.write(batch, scenes, made)
    assert new[0]["boxes"].tolist() == [[0, 0, 4, 4]] and new[0]["labels"].tolist() == [2]
    assert new[0]["iscrowd"].tolist() == [1] and new[0]["area"].tolist() == [16.0]
    assert new[1] is targets[1]


@pytest.mark.parametrize(
    "more",
    [
        {"depth": torch.rand(3, 6, 8)},
        {"aux": {"depth": torch.rand(3, 6, 8)}},
        {"heat": torch.rand(3, 1, 2, 2)},
        {"landmarks": torch.rand(3, 5, 2)},
        {"bbox": torch.rand(3, 4)},
    ],
    ids=lambda more: next(iter(more)),
)
def test_frames_are_off_where_a_place_is_not_known(more: dict[str, Any]) -> None:
    view = View()
    assert not view.read({"image": levels(), "mask": label_map(), **more}, AREAS).movable
    assert "new frames are off" in view.told[1] and next(iter(more)) in view.told[1]
    one_each = {"image": levels(), "mask": label_map(), "id": torch.arange(3), "w": torch.rand(3, 1), "name": ["a"] * 3}
    assert View().read(one_each, AREAS).movable
    inputs = {"inputs": {"image": levels()}, "targets": {"mask": label_map(), "depth": torch.rand(3, 6, 8)}}
    assert not View(image="inputs.image", label="targets.mask").read(inputs, AREAS).movable


def test_a_range_holds_for_all_batches() -> None:
    view = View()
    view.read((levels() / 255, label_map()), AREAS)
    with pytest.raises(InputError, match="where white is 1"):
        view.read((levels().float(), label_map()), AREAS)


def test_classes_that_are_not_learnt() -> None:
    label = torch.tensor([1, -100, 0])
    assert View(ignore_index=-100).read((levels(), label)).labels["target"].tolist() == [1, -1, 0]


def test_further_label_maps_move() -> None:
    batch = {"image": levels(), "mask": label_map(), "parts": label_map(seed=5)}
    view = View(maps=["parts"])
    scenes = view.read(batch, AREAS)
    assert scenes.movable
    assert torch.equal(view.write(batch, scenes, mirrored(scenes))["parts"], batch["parts"].flip(-1))


NOISE = torch.randn(3, 3, 6, 8, generator=torch.Generator().manual_seed(0))
BOX = torch.tensor([[1.0, 2.0, 5.0, 4.0]])


def boxed(boxes: Any, labels: Any = None, **keys: Any) -> Any:
    """Three images and as many dicts of boxes."""
    one = {"boxes": boxes, "labels": torch.tensor([1]) if labels is None else labels, **keys}
    return list(levels()), [one] * 3


REFUSED: dict[str, tuple[Any, dict[str, Any], Any, str]] = {
    "negative": ((NOISE, label_map()), {}, AREAS, r"give View\(mean=..., std=...\) where they were normalised"),
    "negative and white": ((NOISE, label_map()), {"scale": 1}, AREAS, r"give View\(mean=..., std=...\)"),
    "overshoot": (
        (levels() / 255 * 1.3 - 0.15, label_map()),
        {},
        AREAS,
        r"View\(scale=1\) where white is 1",
    ),
    "box label": ((list(levels()), boxes_of([1, 3, 2])), {}, AREAS, "3 areas are named, labels 0 to 2, and a box has"),
    "many areas": ((levels(), label_map()), {}, [f"{n}" for n in range(256)], "at most 255 can be told apart"),
    "three stds": ((levels() / 255, label_map()), {"mean": 0.5, "std": (1, 2)}, AREAS, "have 1 and 2 values"),
    "white in words": ((levels(), label_map()), {"scale": "255"}, AREAS, "scale is the value of white, a number"),
    "wrong mean": ((NOISE * 9, label_map()), {"mean": MEAN, "std": STD}, AREAS, r"undoing mean and std gives"),
    "mean alone": ((NOISE, label_map()), {"mean": MEAN}, AREAS, "mean and std go together"),
    "beyond": ((levels().float() * 9, label_map()), {}, AREAS, r"say what it is, View\(scale=...\)"),
    "16 bit": ((levels().int() * 257, label_map()), {}, AREAS, r"View\(scale=65535\)"),
    "channels": ((levels().repeat(1, 2, 1, 1), label_map()), {}, AREAS, r"6 channels.*View\(channels=\(0, 1, 2\)\)"),
    "last": ((levels().permute(0, 2, 3, 1), label_map()), {}, AREAS, "channels come first"),
    "no image": ({"a": levels()}, {}, AREAS, r"no image found in a batch of keys a: name it, View\(image=...\)"),
    "no label": ({"image": levels()}, {}, AREAS, r"no label found .*View\(label=...\)"),
    "no key": ({"image": levels(), "mask": label_map()}, {"label": "labels"}, AREAS, "no label 'labels'"),
    "standardised": ((NOISE.abs(), label_map()), {}, AREAS, r"where white is 1: say what it is"),
    "black": ((levels() * 0.0, label_map()), {}, AREAS, "first batch is black"),
    "bool": ((levels() > 9, label_map()), {}, AREAS, "bool images have no colours"),
    "white of 8 bit": ((levels(), label_map()), {"scale": 1}, AREAS, "white of 8-bit images is 255"),
    "a mask as a picture": ((levels(), (label_map() > 0) * 255), {}, AREAS, "label maps of 0 and 255 alone"),
    "areas": (
        (levels(), label_map()),
        {},
        None,
        r"give areas=, the names in label order, or view=View\(regions=\"whole\"\)",
    ),
    "few areas": (
        (levels(), label_map()),
        {},
        ("sky", "road"),
        "2 areas are named, labels 0 to 1",
    ),
    "soft": ((levels(), torch.rand(3, 4)), {}, AREAS, "soft labels"),
    "soft masks": ((levels(), torch.rand(3, 6, 8)), {}, AREAS, "soft masks"),
    "several": ((levels(), torch.ones(3, 4)), {}, AREAS, "several labels"),
    "parts": (([levels(), label_map()], [levels(), label_map()]), {}, AREAS, r"View\(part=...\)"),
    "int8": ((levels(), label_map().to(torch.int8)), {}, AREAS, r"int8 .* cannot hold 255.*View\(ignore_index"),
    "x, y, w, h": (boxed(torch.tensor([[4.0, 4.0, 2.0, 2.0]])), {}, AREAS, "some end before they begin"),
    "shares": (boxed(BOX / 8), {}, AREAS, r"lie in \[0, 1\]: multiply them by width and height"),
    "boxes in lists": (boxed([[1, 2, 5, 4]]), {}, AREAS, r"boxes must be a tensor \(G, 4\), got list"),
    "labels in lists": (boxed(BOX, [1]), {}, AREAS, r"labels of boxes must be a tensor \(G,\), got list"),
    "boxes without labels": (boxed(BOX, torch.tensor([1, 2])), {}, AREAS, "1 boxes and 2 labels"),
    "other names": ((list(levels()), [{"bboxes": BOX, "class_labels": BOX}] * 3), {}, AREAS, "bboxes, class_labels"),
    "samples": ([{"image": levels()[0], "mask": label_map()[0]}] * 3, {}, AREAS, "a list of samples: collate"),
    "names first": ((["a", "b", "c"], levels(), label_map()), {}, AREAS, r"position 0 .* View\(image="),
    "ignored in words": ((levels(), label_map()), {"ignore_index": "255"}, AREAS, "ignore_index is the label"),
    "an object": ((levels(), object()), {}, AREAS, r"View\("),
    "a string": ("images", {}, AREAS, r"View\(image=...\)"),
    "nothing": (None, {}, AREAS, r"View\(image=...\)"),
    "a number": ((levels(), 3), {}, AREAS, r"View\("),
    "arrays": ((levels().numpy(), label_map().numpy()), {}, AREAS, "position 0 must be images"),
    "texts": ((levels(), ["a", "b", "c"]), {}, AREAS, r"View\("),
    "nan": ((levels() * torch.nan, label_map()), {}, AREAS, "NaN or infinite"),
}


@pytest.mark.parametrize("name", RANGES)
def test_values_that_overshoot_are_cut_off_where_they_are_converted(name: str) -> None:
    """As resampling and noise make them; the rest comes back bit for bit."""
    if name not in ("unit", "levels", "half"):
        return
    forward, keywords = RANGES[name]
    beyond = forward(levels()).float()
    beyond[:, :, 0, :2] *= 1.2
    beyond[:, :, 0, 0] = -0.1 * beyond.max()
    for view in (View(scale=255 if name == "levels" else 1), View(**keywords)):
        if view.pixels.given is None:
            view.read((forward(levels()), label_map()), AREAS)  # one batch has told the range
        scenes = view.read((beyond, label_map()), AREAS)
        assert torch.equal(scenes.image, levels())
        image = view.write((beyond, label_map()), scenes, converted(scenes, torch.tensor([True, False, True])))[0]
        there = (scenes.regions == 1)[:, None] & torch.tensor([True, False, True])[:, None, None, None]
        assert torch.equal(image[~there.expand_as(image)], beyond[~there.expand_as(image)])


def test_one_mean_or_std_for_all_channels() -> None:
    image = (levels() / 255 - torch.tensor(MEAN)[:, None, None]) / 0.25
    scenes = View(mean=MEAN, std=0.25).read((image, label_map()), AREAS)
    assert torch.equal(scenes.image, levels())


@dataclass(slots=True)
class Slots:
    image: Tensor
    mask: Tensor
    depth: Tensor


class Meta(Tensor):
    """A tensor that knows more."""

    meta: dict[str, int]


def test_fields_in_slots_are_seen() -> None:
    batch, view = Slots(levels(), label_map(), torch.rand(3, 6, 8)), View()
    assert not view.read(batch, AREAS).movable and "depth" in view.told[1]
    other = copied(batch)
    assert other.mask is not batch.mask and torch.equal(other.mask, batch.mask)
    assert len(view.take(batch, torch.tensor([0, 0, 1, 2])).depth) == 4


@pytest.mark.parametrize(
    "more",
    [
        {"depth": torch.rand(3, 6, 8)},
        {"polygons": [[[(1, 2), (3, 4)]], [[(1.5, 2.5)]], []]},
        {"deeper": {"points": [[(1, 2)], [(2, 3)], [(1, 1)]]}},
    ],
)
def test_whatever_has_a_place_in_the_image_is_seen(more: dict[str, Any]) -> None:
    view = View(image="sample.image", label="sample.mask")
    batch = {"sample": {"image": levels(), "mask": label_map()}, **more}
    assert not view.read(batch, AREAS).movable
    assert next(iter(more)) in view.told[1]
    sizes = {"sizes": [(6, 8)] * 3, "names": ["a", "b", "c"], "numbers": [1, 2, 3]}
    assert View(image="sample.image", label="sample.mask").read({"sample": batch["sample"], **sizes}, AREAS).movable


def test_the_type_of_tensors_stays_with_what_they_hold() -> None:
    image = levels().as_subclass(Meta)
    image.meta = {"size": 3}
    view = View()
    scenes = view.read({"image": image, "mask": label_map()}, AREAS)
    written = view.write({"image": image}, scenes, converted(scenes, torch.tensor([True, False, True])))["image"]
    assert type(written) is Meta and written.meta == {"size": 3}


def test_names_with_dots() -> None:
    view = View(image="img.rgb", label="gt.mask")
    batch = {"img.rgb": levels(), "gt.mask": label_map()}
    scenes = view.read(batch, AREAS)
    made = view.write(batch, scenes, mirrored(scenes))
    assert torch.equal(made["img.rgb"], levels().flip(-1)) and torch.equal(made["gt.mask"], label_map().flip(-1))


def test_a_field_called_regions_that_is_no_map() -> None:
    scenes = View().read({"image": levels(), "mask": label_map(), "regions": ["EU", "US", "EU"]}, AREAS)
    assert torch.equal(scenes.regions.long(), label_map())


def test_255_is_a_class_like_others() -> None:
    labels = torch.tensor([254, 255, 256])
    assert torch.equal(View().read((levels(), labels), None).labels["target"], labels)
    assert View(ignore_index=255).read((levels(), labels), None).labels["target"].tolist() == [254, -1, 256]


def test_masks_as_pictures_are_seen_in_later_batches() -> None:
    view, empty = View(), torch.zeros(3, 6, 8).long()
    view.read((levels(), empty), AREAS)
    with pytest.raises(InputError, match="label maps of 0 and 255 alone"):
        view.read((levels(), (label_map() > 0) * 255), AREAS)
    known, void = View(), label_map().masked_fill(label_map() == 2, 255)
    known.read((levels(), void), AREAS)
    known.read((levels(), (label_map() > 0) * 255), AREAS)  # there are other classes, so 255 is void


@pytest.mark.parametrize("batch", [(levels(), None), {"image": levels()}, [levels(), 3], (levels(),)])
def test_a_later_batch_of_another_form_is_refused_in_one_line(batch: Any) -> None:
    view = View()
    view.read((levels(), label_map()), AREAS)
    with pytest.raises(InputError, match="it must have the form of the first one") as caught:
        view.read(batch, AREAS)
    assert "\n" not in str(caught.value)


def test_a_batch_that_leads_back_to_itself() -> None:
    class Holder:
        def __init__(self) -> None:
            self.image, self.mask = levels(), label_map()
            self.owner: dict[str, Any] = {}

    batch = Holder()
    batch.owner["batch"] = batch
    assert torch.equal(copied(batch).image, batch.image)


def test_an_empty_batch_is_not_mined() -> None:
    view = View()
    view.read((levels(), label_map()), AREAS)
    assert view.absent((levels()[:0], label_map()[:0])) and not view.absent((levels(), label_map()))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_told_is_refused_in_one_line(name: str) -> None:
    batch, keywords, areas, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as caught:
        View(**keywords).read(batch, areas)
    assert "\n" not in str(caught.value)
