"""Data sets in the layouts that others use: Cityscapes, COCO, YOLO."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import Cityscapes

from hardmine.data import CityscapesData, CocoData, LabelledData, YoloData
from hardmine.data.inventory import Inventory
from hardmine.errors import InputError

SIZE = (20, 40)  # H, W of the images in the files
BOXES = [[4.0, 2.0, 12.0, 8.0], [10.0, 10.0, 30.0, 20.0]]  # x1, y1, x2, y2 of each image


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def picture(number: int = 0) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def counts(data: LabelledData) -> dict[str, int]:
    return {split: len(data.split(split)) for split in ("train", "val", "test", "target") if data.has(split)}


def environments(data: LabelledData) -> dict[str, tuple[str, ...]]:
    return {split: data.split(split).environments for split in counts(data)}


# Cityscapes


def label_ids() -> np.ndarray:
    """Every labelId in a column of its own."""
    return np.broadcast_to(np.arange(SIZE[1], dtype=np.uint8).clip(max=33), SIZE).copy()


@pytest.fixture
def cities(tmp_path: Path) -> Path:
    for number, (split, city) in enumerate([("train", "aachen"), ("train", "bonn"), ("val", "ulm"), ("test", "jena")]):
        name = f"{city}_000000_00001{number}"
        save(tmp_path / f"city/leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", picture(number))
        save(tmp_path / f"city/gtFine/{split}/{city}/{name}_gtFine_labelIds.png", label_ids())
        save(tmp_path / f"city/gtFine/{split}/{city}/{name}_gtFine_color.png", picture())
    for condition in ("fog", "night"):
        for split in ("train", "train_ref", "val"):
            name = f"{condition}/{split}/GOPR1/GOPR1_{split}"
            save(tmp_path / f"acdc/rgb_anon/{name}_rgb_anon.png", picture(9))
            if split != "train_ref":
                save(tmp_path / f"acdc/gt/{name}_gt_labelIds.png", label_ids())
    return tmp_path


def test_cityscapes_trains_on_the_classes_of_the_benchmark(cities: Path) -> None:
    data = CityscapesData(str(cities / "city"), size=SIZE)
    data.look()
    assert counts(data) == {"train": 2, "val": 1} and environments(data)["train"] == ("clear",)
    assert "1 images outside of train/ and val/" in data.told[0]
    target = data.split("val")[0]["target"][0]
    for one in Cityscapes.classes:  # torchvision's table
        if one.id >= 0:
            assert target[one.id] == one.train_id % 256
    named = {one.train_id: one.name for one in Cityscapes.classes if not one.ignore_in_eval}
    assert data.classes == data.areas == tuple(named[label] for label in range(19))


def test_other_conditions_are_targets_and_test(cities: Path) -> None:
    data = CityscapesData(str(cities / "city"), str(cities / "acdc"), size=SIZE)
    assert counts(data) == {"train": 2, "val": 1, "test": 2, "target": 2}
    assert environments(data)["test"] == ("fog", "night")
    alone = CityscapesData(str(cities / "acdc"), shifted={"condition": "night"}, size=SIZE)
    assert environments(alone) == {"train": ("fog",), "val": ("fog",), "test": ("night",), "target": ("night",)}


def test_a_folder_that_is_no_cityscapes_is_one_line(cities: Path) -> None:
    with pytest.raises(InputError, match="neither leftImg8bit/ and gtFine/ nor rgb_anon/ and gt/: it has acdc/, city/"):
        CityscapesData(str(cities))
    sorted((cities / "city/gtFine/train").glob("*/*labelIds.png"))[0].unlink()
    with pytest.raises(InputError, match=r"_gtFine_labelIds.png is missing: add the labels"):
        CityscapesData(str(cities / "city"))


def test_images_of_other_formats_are_told(cities: Path) -> None:
    before = CityscapesData(str(cities / "city")).told
    path = cities / "city/leftImg8bit/val/ulm/ulm_000000_000012_leftImg8bit.avif"
    path.touch()
    line = f"1 images are of a format that is not read ({path}): convert them to PNG"
    assert sorted(CityscapesData(str(cities / "city")).told) == sorted([*before, line])


def test_a_split_without_labels_is_told(cities: Path) -> None:
    for path in (cities / "city/gtFine/train").glob("*/*labelIds.png"):
        path.unlink()
    data = CityscapesData(str(cities / "city"))
    assert (
        counts(data) == {"val": 1} and "3 images outside of train/ and val/, or of one without labels" in data.told[0]
    )


# Boxes


def look_at_boxes(data: LabelledData, boxes: Tensor) -> None:
    """Half the size of the files: half the corners."""
    data.look()
    assert data.classes == ("car", "person") and data.areas == ("car", "person", "rest")
    sample = data.split("train")[0]
    assert torch.allclose(sample["boxes"], boxes / 2) and sample["labels"].tolist() == [1, 0]
    assert sample["regions"][2, 3] == 1 and sample["regions"][-1, 10] == 0 and sample["regions"][0, 0] == 2


def yolo_folder(root: Path) -> Path:
    for number, split in enumerate(["train", "train", "valid"]):
        save(root / f"{split}/images/{'day' if number else 'night'}_{number}.jpg", picture(number))
        lines = [
            f"{label} {(x1 + x2) / 2 / SIZE[1]} {(y1 + y2) / 2 / SIZE[0]} {(x2 - x1) / SIZE[1]} {(y2 - y1) / SIZE[0]}"
            for label, (x1, y1, x2, y2) in zip((1, 0), BOXES, strict=True)
        ]
        labels = root / f"{split}/labels/{'day' if number else 'night'}_{number}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("\n".join(lines))
    (root / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 2\nnames: [car, person]\n")
    return root


def test_yolo(tmp_path: Path) -> None:
    root = yolo_folder(tmp_path)
    data = YoloData(str(root), size=(10, 20), flip=False)
    look_at_boxes(
        YoloData(str(root / "data.yaml"), size=(10, 20), flip=False, pattern="(?P<time>day|night)"), torch.tensor(BOXES)
    )
    assert counts(data) == {"train": 2, "val": 1} and not data.told
    (root / "train/images/night").mkdir()
    (root / "train/images/night/a.gif").touch()
    (gif,) = YoloData(str(root)).told
    assert gif.startswith(f"1 images are of a format that is not read ({root / 'train/images/night/a.gif'})")
    (root / "train/images/night/a.gif").unlink()
    (root / "train/labels/day_1.txt").write_text("0 .1 .1 .3 .1 .3 .4 .1 .4\n")  # an outline
    (root / "valid/labels/day_2.txt").unlink()
    data = YoloData(str(root), size=(10, 20), flip=False)
    told = ["1 outlines are taken as the boxes around them", "1 images have no file of labels"]
    assert all(line in found for line, found in zip(told, data.told, strict=True))
    assert torch.allclose(data.split("train")[0]["boxes"][0], torch.tensor([2.0, 1.0, 6.0, 4.0]))
    assert (data.split("val")[0]["labels"] == -1).all()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("2 .5 .5 .1 .1", "line 1: the class must be 0 to 1, got '2'"),
        ("0 .5 .5 .1", "line 1: must be a class and x, y, width, height"),
        ("0 120 80 30 30", "line 1: must be a class and x, y, width, height as shares"),
        ("0 .5 .5 nan .1", "must be a class"),
        ("\n1 .5 .5 0 .1", "line 2: the box has no pixel"),
    ],
)
def test_yolo_labels_that_are_none(text: str, line: str, tmp_path: Path) -> None:
    root = yolo_folder(tmp_path)
    (root / "train/labels/day_1.txt").write_text(text)
    with pytest.raises(InputError, match=re.escape(line)):
        YoloData(str(root))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("train: a\nnames: [car, person]", "a is not there: "),
        ("train: train/images\nval: train/images/../images\nnames: [x, y]", "is in two splits"),
        ("train: train/images\nnames: {1: car, 2: person}", "the numbers of names must run 0, 1, 2"),
        ("train: train/images", "names must list the classes"),
        ("names: [car, person]", "names no images"),
        ("names: [", "cannot be read as YAML"),
        ("train: train/images\nvalidation: valid/images\nnames: [x, y]", "validation is no split: did you mean `val`?"),
        ("train: train/images\nnames: [x, y]\nnc: 3", "nc is 3, and names has 2: correct one of them"),
        ("train: list.txt\nnames: [x, y]", "list.txt: line 2: {root}/images/gone.jpg is not there: correct the path"),
        ("train: loose\nnames: [x, y]", "no image has a file of labels: the first would be {root}/loose/a.txt"),
        ("train: twice\nnames: [x, y]", "twice/a.png and a.jpg have one file of labels: keep one of them"),
    ],
)
def test_yolo_files_that_are_none(text: str, line: str, tmp_path: Path) -> None:
    root = yolo_folder(tmp_path)
    (root / "list.txt").write_text("./train/images/day_1.jpg\n./images/gone.jpg")
    for name in ("loose/a.jpg", "twice/a.jpg", "twice/a.png"):
        save(root / name, picture())
    (root / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=re.escape(line.format(root=root))):
        YoloData(str(root))


def test_what_yolo_takes_otherwise_is_told(tmp_path: Path) -> None:
    root = yolo_folder(tmp_path)
    (root / "hyp.yaml").write_text("lr0: 0.01\nnamesake: 1\n")  # settings of training, which lie beside it
    labels = root / "train/labels"
    (labels / "gone.txt").write_text("0 .5 .5 .1 .1\n")
    (labels / "classes.txt").write_text("car\nperson\n")
    (labels / "day_1.txt").write_text("0 .9 .5 .4 .2\n1 .2 .2 .2 .2\n1 .2 .2 .2 .2\n")
    data = YoloData(str(root), size=SIZE, flip=False)
    told = [
        "1 boxes reach over the edge of their image and are cut off there",
        "1 boxes that are twice there are taken once",
        f"1 files of labels have no image, and are not read ({labels / 'gone.txt'})",
    ]
    assert all(line in found for line, found in zip(told, data.told, strict=True))
    boxes = data.split("train")[0]["boxes"][:2]
    assert torch.allclose(boxes, torch.tensor([[28.0, 8, 40, 12], [4, 2, 12, 6]]), atol=1e-4)
    (root / "data.yaml").write_text((root / "data.yaml").read_text() + "kpt_shape: [2, 2]\n")
    (labels / "day_1.txt").write_text("0 .5 .5 .2 .2 .1 .1 .9 .9\n")
    data = YoloData(str(root), size=SIZE, flip=False)
    assert "1 boxes have key points, which are not read" in data.told[0]
    assert torch.allclose(data.split("train")[0]["boxes"][0], torch.tensor([16.0, 8, 24, 12]))


def test_a_yolo_list_may_begin_where_it_lies(tmp_path: Path) -> None:
    root = yolo_folder(tmp_path)
    (root / "lists").mkdir()
    (root / "lists/a.txt").write_text("../train/images/day_1.jpg\n")
    (root / "lists/b.txt").write_text("./train/images/night_0.jpg\n")
    (root / "data.yaml").write_text("train: [lists/a.txt, lists\\\\b.txt]\nnames: {0: car, 1: person}\n")
    assert YoloData(str(root)).split("train").ids == ("train/images/day_1", "train/images/night_0")


def coco_file(path: Path, names: list[str], **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"id": n, "file_name": name, "width": SIZE[1], "height": SIZE[0]} for n, name in enumerate(names)]
    annotations = [
        {"id": n, "image_id": n, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for n in range(len(names))
        for label, (x1, y1, x2, y2) in zip((18, 3), BOXES, strict=True)
    ]
    categories = [{"id": 3, "name": "car"}, {"id": 18, "name": "person"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories, **more}))


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations/instances_{}2017.json", "{}2017"),
        ("{}/_annotations.coco.json", "{}"),
        ("annotations/{}.json", "images/{}"),
    ],
)
def test_coco(annotations: str, images: str, tmp_path: Path) -> None:
    for split, names in (("train", ["b.jpg", "a.jpg"]), ("val", ["a.jpg"])):
        coco_file(tmp_path / annotations.format(split), names)
        for number, name in enumerate(names):
            save(tmp_path / images.format(split) / name, picture(number))
    data = CocoData(str(tmp_path), size=(10, 20), flip=False)
    look_at_boxes(data, torch.tensor(BOXES))
    assert data.split("train").ids == ("train/b", "train/a") and counts(data) == {"train": 2, "val": 1}
    coco_file(
        tmp_path / annotations.format("val"), ["a.jpg"], categories=[{"id": 3, "name": "c"}, {"id": 18, "name": "d"}]
    )
    with pytest.raises(InputError, match="its categories are not those of"):
        CocoData(str(tmp_path))


def test_what_coco_takes_otherwise_is_told(tmp_path: Path) -> None:
    """Images lie where the name of the file says, whatever split it is of; nothing is left out in silence."""
    for name in ("a", "b"):
        coco_file(tmp_path / f"annotations/instances_{name}.json", ["sub\\0.png", "sub\\1.png"])  # as Windows writes
        for number in range(2):
            save(tmp_path / name / f"sub/{number}.png", picture(number + 5 * (name == "b")))
    save(tmp_path / "b/sub/2.png", picture())
    (tmp_path / "b/sub/3.webp.gif").touch()
    content = json.loads((tmp_path / "annotations/instances_b.json").read_text())
    first, second, *others = content["annotations"]
    crowd = {**second, "iscrowd": 1}
    content["annotations"] = [first, first, crowd, *others]
    (tmp_path / "annotations/instances_b.json").write_text(json.dumps(content))
    files = {"train": "annotations/instances_a.json", "test": "annotations/instances_b.json"}
    data = CocoData(str(tmp_path), annotations=files, size=SIZE)
    data.look()
    assert torch.equal(data.split("test")[0]["image"], torch.from_numpy(picture(5)).permute(2, 0, 1))
    assert (data.split("test")[0]["labels"] >= 0).sum() == 1
    for line in (
        "1 images are of a format that is not read",
        "1 boxes of crowds",
        "1 boxes that are twice",
        f"1 images are in no file of boxes, and not read ({tmp_path}/b",
    ):
        assert any(line in told for told in data.told)
    with pytest.raises(InputError, match=r"data\.images: .*nowhere: no such folder"):
        CocoData(str(tmp_path), annotations=files, images="nowhere")
    with pytest.raises(InputError, match=r"none\.json: no such file: put the file there"):
        CocoData(str(tmp_path), annotations="none.json")


def test_one_coco_file_in_parts(tmp_path: Path) -> None:
    names = [f"{time}/{number}.png" for number in range(4) for time in ("day", "night")]
    coco_file(tmp_path / "all.json", names)
    for number, name in enumerate(names):
        save(tmp_path / "photos" / name, picture(number))
    more: dict[str, Any] = {"images": "photos", "pattern": "(?P<time>day|night)/", "shifted": {"time": "night"}}
    data = CocoData(str(tmp_path), **more, val=0.25, target=0.5, size=SIZE)
    assert counts(data) == {"train": 3, "val": 1, "test": 2, "target": 2}
    assert environments(data) == {"train": ("day",), "val": ("day",), "test": ("night",), "target": ("night",)}
    with pytest.raises(InputError, match=r"all.json: its image day/0.png is in no folder that is looked into"):
        CocoData(str(tmp_path), val=0.2)


def test_lists_part_boxes_too(tmp_path: Path) -> None:
    """What a line on a missing split proposes can be done, and a keyword of no argument is named."""
    names = [f"{number}.png" for number in range(4)]
    coco_file(tmp_path / "all.json", names)
    for number, name in enumerate(names):
        save(tmp_path / "images" / name, picture(number))
    (tmp_path / "train.txt").write_text("0\n2.png\n")
    (tmp_path / "val.txt").write_text("images/1.png\n")
    lists = {"train": "train.txt", "val": "val.txt"}
    data = CocoData(str(tmp_path), lists=lists, value_range=[0, 128], size=SIZE, flip=False)
    assert data.split("train").ids == ("0", "2") and data.split("val").ids == ("1",)
    assert "1 images are in no list of data.lists, and not read" in data.told
    wanted = (torch.from_numpy(picture(2)).float() * 255 / 128).round().clamp(max=255).byte().permute(2, 0, 1)
    assert torch.equal(data.split("train")[1]["image"], wanted)
    with pytest.raises(TypeError, match="sise"):
        CocoData(str(tmp_path), lists=lists, sise=SIZE)  # type: ignore[call-arg]


def test_what_is_otherwise_later_is_noticed(tmp_path: Path) -> None:
    root = yolo_folder(tmp_path)
    before = Inventory.of(YoloData(str(root)), ("train", "val"))
    assert before.change(Inventory.of(YoloData(str(root)), ("train", "val"))) is None
    (root / "train/labels/day_1.txt").write_text("0 .5 .5 .1 .1")
    change = before.change(Inventory.of(YoloData(str(root)), ("train", "val")))
    assert change is not None and "train/images/day_1 has other labels" in change
    assert Counter(row[0] for row in before.rows) == {"train": 2, "val": 1}
