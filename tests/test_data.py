"""Where samples come from: kinds of labels, ways of making index images, COCO boxes, folders (R2, R3, R23)."""

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import default_collate

from hardmine.data import (
    Folder,
    FolderData,
    ImageFolderData,
    LabelledData,
    LabelledImages,
    RiversideData,
    Superpixels,
    Whole,
    read_coco,
    write_coco,
)
from hardmine.data.images import read_image
from hardmine.data.index_images import Predicted, grid, regions_of_boxes
from hardmine.data.labelled import mirrored
from hardmine.errors import InputError
from hardmine.numbered import Numbered
from hardmine.store import ParameterStore

SPLITS = ["train"] * 4 + ["val"] * 2 + ["target"] * 2 + ["test"] * 2
SIZE = (30, 40)  # H, W of the images in the files
KINDS = ["rose", "daisy"]
# x, y, width, height, category id of the boxes of the first images; the others have none
BOXES: list[list[tuple[float, float, float, float, int]]] = [
    [(4.0, 6.0, 20.0, 12.0, 7), (10.0, 8.0, 6.0, 4.0, 3)],
    [(30.0, 20.0, 30.0, 30.0, 3)],  # over the right and the lower edge: clipped to 10 x 10
    [(0.0, 0.0, 8.0, 8.0, 7), (8.0, 8.0, 8.0, 8.0, 3), (20.0, 20.0, 5.25, 2.25, 7)],
]

Spoil = Callable[[dict[str, Any]], object]


def name(index: int) -> str:
    return f"p{index:02d}"


def save_images(root: Path) -> None:
    """Ten images with a bright and a dark half, some texture, and three colours."""
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(3)
    for index in range(len(SPLITS)):
        pixels = np.full((*SIZE, 3), 60, np.int64)
        pixels[:, : 12 + index] += (120, 30, 0)
        pixels[: 10 + index, 25:] += (0, 90, 140)
        pixels += rng.integers(-8, 9, (*SIZE, 1))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{name(index)}.png")


def save_regions(root: Path) -> None:
    (root / "regions").mkdir()
    for index in range(len(SPLITS)):
        labels = np.zeros(SIZE, np.uint8)
        labels[10:], labels[20:, 5 + index :], labels[0, 0] = 1, 2, 255
        Image.fromarray(labels).save(root / "regions" / f"{name(index)}.png")
    (root / "classes.csv").write_text("index,name\n0,sky\n1,road\n2,tree\n")


def save_metadata(root: Path, labels: Sequence[str] | None = None) -> None:
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "time", *(["label"] if labels else [])])
        for index, split in enumerate(SPLITS):
            writer.writerow([name(index), split, "day", *([labels[index]] if labels else [])])


def coco() -> dict[str, Any]:
    """Annotations of the ten images, with ids that are no indices."""
    images: list[dict[str, Any]] = [
        {"id": 100 + index, "file_name": f"somewhere/{name(index)}.jpg", "width": SIZE[1], "height": SIZE[0]}
        for index in range(len(SPLITS))
    ]
    annotations: list[dict[str, Any]] = [
        {"id": 0, "image_id": 100 + index, "category_id": box[4], "bbox": list(box[:4]), "iscrowd": 0}
        for index, boxes in enumerate(BOXES)
        for box in boxes
    ]
    annotations.append({"id": 0, "image_id": 103, "category_id": 3, "bbox": [0, 0, 40, 30], "iscrowd": 1})
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 7, "name": "car"}, {"id": 3, "name": "person"}],
    }


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """A folder whose images have a label each: no regions/, no boxes."""
    root = tmp_path / "flowers"
    save_images(root)
    save_metadata(root, [KINDS[index % 2] for index in range(len(SPLITS))])
    return root


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """A folder whose images have boxes: no regions/, no column `label`."""
    root = tmp_path / "street"
    save_images(root)
    save_metadata(root)
    (root / "annotations.json").write_text(json.dumps(coco()))
    return root


class Halves:
    """A predictor: left and right half."""

    areas = ("left", "right")

    def __call__(self, image: Tensor) -> Tensor:
        regions = torch.zeros(image.shape[1:], dtype=torch.uint8)
        regions[:, image.shape[2] // 2 :] = 1
        return regions


def data(root: Path, **more: Any) -> FolderData:
    return FolderData(str(root), **{"size": SIZE, "batch_size": 2, **more})


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def values(tensor: Tensor) -> list[int]:
    """The distinct values, sorted."""
    return sorted(set(tensor.flatten().tolist()))


# What a sample is


@pytest.mark.parametrize("regions", ["auto", "superpixels", "whole", "predicted"])
@pytest.mark.parametrize("kind", ["masks", "classes", "boxes"])
def test_samples_keep_the_contract(
    kind: str, regions: Any, folder: Path, flowers: Path, street: Path, tmp_path: Path
) -> None:
    root = {"masks": folder, "classes": flowers, "boxes": street}[kind]
    made = data(root, regions=regions, superpixels=5, predictor=Halves())
    made.setup("fit")
    batch = next(iter(made.train_dataloader()))
    h, w = SIZE
    labels: dict[str, dict[str, tuple[tuple[int, ...], torch.dtype]]] = {
        "masks": {"target": ((2, h, w), torch.uint8)},
        "classes": {"target": ((2,), torch.int64)},
        "boxes": {"boxes": ((2, 3, 4), torch.float32), "labels": ((2, 3), torch.int64)},
    }
    expected = {
        "image": ((2, 3, h, w), torch.uint8),
        "regions": ((2, h, w), torch.uint8),
        "index": ((2,), torch.int64),
        "draw": ((2,), torch.int64),
        "environment": ((2,), torch.int64),
        **labels[kind],
    }
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == expected
    assert made.kind == made.split("train").kind == kind
    assert made.areas == made.split("target").areas
    known = batch["regions"][batch["regions"] != 255]
    assert known.max() < len(made.areas)


def test_kind_follows_what_the_folder_has(folder: Path, flowers: Path, street: Path) -> None:
    masks, classes, boxes = data(folder), data(flowers), data(street)
    assert (masks.kind, masks.classes, masks.areas) == ("masks", ("sky", "road", "tree"), ("sky", "road", "tree"))
    assert (classes.kind, classes.classes, classes.areas) == ("classes", ("daisy", "rose"), ("image",))
    assert (boxes.kind, boxes.classes, boxes.areas) == ("boxes", ("car", "person"), ("car", "person", "rest"))
    save_regions(flowers)
    save_regions(street)
    assert (data(flowers).kind, data(flowers).areas) == ("classes", ("sky", "road", "tree"))
    assert (data(street).kind, data(street).areas) == ("boxes", ("sky", "road", "tree"))
    assert data(street, regions="boxes").areas == ("car", "person", "rest")
    assert data(street, labels="masks").classes == ("sky", "road", "tree")


def test_classification_targets_by_hand(flowers: Path) -> None:
    images = data(flowers).split("val")  # p04, p05
    assert [images[0]["target"].item(), images[1]["target"].item()] == [1, 0]  # rose, daisy; sorted: daisy first
    assert images.environment[0] == {"time": "day"}  # the label is no component of it
    assert values(images[0]["regions"]) == [0]


def test_classes_are_those_of_all_rows(flowers: Path) -> None:
    labels = ["rose"] * 9 + ["aster"]  # in the test split alone
    save_metadata(flowers, labels)
    assert data(flowers).split("train").classes == ("aster", "rose")


@pytest.mark.parametrize("regions", ["superpixels", "whole", "predicted"])
def test_masks_stay_targets_whatever_the_areas(folder: Path, regions: Any) -> None:
    drawn = data(folder, flip=False).split("train")[0]
    other = data(folder, flip=False, regions=regions, superpixels=4, predictor=Halves())
    sample = other.split("train")[0]
    assert torch.equal(sample["target"], drawn["target"]) and torch.equal(drawn["target"], drawn["regions"])
    assert not torch.equal(sample["regions"], drawn["regions"])
    assert other.classes == ("sky", "road", "tree")


def test_boxes_by_hand(street: Path) -> None:
    images = data(street, flip=False).split("train")
    assert images[0]["boxes"].tolist() == [[4, 6, 24, 18], [10, 8, 16, 12], [0, 0, 0, 0]]
    assert images[0]["labels"].tolist() == [0, 1, -1]  # by place in categories, not by id
    assert images[1]["boxes"].tolist() == [[30, 20, 40, 30], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert images[3]["labels"].tolist() == [-1, -1, -1]  # its only box is a crowd


def test_boxes_scale_with_the_image(street: Path) -> None:
    images = data(street, size=(60, 20), flip=False).split("train")  # twice as high, half as wide
    assert images[0]["boxes"][:2].tolist() == [[2, 12, 12, 36], [5, 16, 8, 24]]
    regions = images[0]["regions"]
    assert regions.shape == (60, 20)
    assert [regions[20, 3].item(), regions[20, 6].item(), regions[50, 3].item()] == [0, 1, 2]


def test_an_image_without_any_box(street: Path) -> None:
    content = coco()
    content["annotations"] = [{"id": 0, "image_id": 100, "category_id": 3, "bbox": [1, 1, 9, 9]}]
    (street / "annotations.json").write_text(json.dumps(content))
    sample = data(street).split("train")[1]
    assert sample["boxes"].tolist() == [[0, 0, 0, 0]] and sample["labels"].tolist() == [-1]
    assert values(sample["regions"]) == [2]


# Flipping


def test_flip_by_hand() -> None:
    sample = {
        "image": torch.arange(24, dtype=torch.uint8).view(3, 2, 4),
        "regions": torch.tensor([[0, 1, 2, 3], [4, 5, 6, 255]], dtype=torch.uint8),
        "boxes": torch.tensor([[0.0, 0.0, 1.5, 2.0], [2.0, 0.5, 4.0, 1.0], [0.0, 0.0, 0.0, 0.0]]),
        "labels": torch.tensor([0, 2, -1]),
    }
    flipped = mirrored(sample)
    assert flipped["image"][0].tolist() == [[3, 2, 1, 0], [7, 6, 5, 4]]
    assert flipped["regions"].tolist() == [[3, 2, 1, 0], [255, 6, 5, 4]]
    assert flipped["boxes"].tolist() == [[2.5, 0, 4, 2], [0, 0.5, 2, 1], [0, 0, 0, 0]]
    assert same(mirrored(flipped), sample)
    assert mirrored({**sample, "target": torch.tensor(3)})["target"].item() == 3
    assert mirrored({**sample, "target": sample["regions"] + 1})["target"][0].tolist() == [4, 3, 2, 1]


@pytest.mark.parametrize("kind", ["masks", "classes", "boxes"])
def test_one_draw_decides_about_the_whole_sample(kind: str, folder: Path, flowers: Path, street: Path) -> None:
    root = {"masks": folder, "classes": flowers, "boxes": street}[kind]
    images, plain = data(root).split("train"), data(root, flip=False).split("train")
    seen = set()
    for seed in range(8):
        torch.manual_seed(seed)
        sample = images[0]
        after = torch.rand(())
        torch.manual_seed(seed)
        flip = bool(torch.rand(()) < 0.5)
        assert torch.equal(after, torch.rand(()))  # one number was drawn, no more
        expected = mirrored(plain[0]) if flip else plain[0]
        assert same(sample, expected)
        seen.add(flip)
    assert seen == {True, False}
    state = torch.get_rng_state()
    assert plain[0]["image"].shape and torch.equal(torch.get_rng_state(), state)  # without flip nothing is drawn


def test_flipped_boxes_and_flipped_areas_agree(street: Path) -> None:
    images = data(street, flip=False).split("train")
    for index in range(len(images)):
        sample = mirrored(images[index])
        drawn = regions_of_boxes(sample["boxes"], sample["labels"], SIZE, rest=2)
        assert torch.equal(drawn, sample["regions"])


# Index images


def test_areas_of_boxes_against_every_pixel_asked_alone() -> None:
    """An independent way: of the boxes that hold a pixel's centre the smallest, and of equal ones the last."""
    rng = np.random.default_rng(5)
    height, width, rest = 13, 17, 9
    for _ in range(20):
        corner = rng.uniform(0, (12, 9), (6, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0.3, 5, (6, 2))], axis=1).astype(np.float32)
        boxes[5] = boxes[2]
        labels = rng.integers(0, 4, 6)
        labels[4] = -1
        expected = np.full((height, width), rest)
        for y in range(height):
            for x in range(width):
                over = [
                    ((b[2] - b[0]).astype(float) * (b[3] - b[1]).astype(float), -place, labels[place])
                    for place, b in enumerate(boxes)
                    if labels[place] >= 0 and b[0] <= x + 0.5 < b[2] and b[1] <= y + 0.5 < b[3]
                ]
                if over:
                    expected[y, x] = min(over)[2]
        drawn = regions_of_boxes(torch.from_numpy(boxes), torch.from_numpy(labels), (height, width), rest)
        assert drawn.tolist() == expected.tolist()


def test_small_boxes_lie_on_large_ones_in_any_order() -> None:
    boxes = torch.tensor([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 4.0, 4.0]])
    expected = [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    assert regions_of_boxes(boxes, torch.tensor([0, 1]), (4, 4), 2).tolist() == expected
    assert regions_of_boxes(boxes.flip(0), torch.tensor([1, 0]), (4, 4), 2).tolist() == expected


def smooth(seed: int, size: tuple[int, int] = (60, 80)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, 6, 8, generator=generator)
    return (torch.nn.functional.interpolate(small, size=size, mode="bilinear")[0] * 255).byte()


@pytest.mark.parametrize("count", [1, 7, 32, 255])
def test_superpixels_have_fixed_labels(count: int) -> None:
    maker = Superpixels(count)
    assert maker.areas[0] == "superpixel_0" and len(maker.areas) == count
    for seed in range(3):
        regions = maker(smooth(seed))
        assert regions.shape == (60, 80) and regions.dtype == torch.uint8
        assert regions.max() < count
        assert torch.equal(regions, maker(smooth(seed)))  # the same image, the same bits
        assert len(values(regions)) >= 0.8 * count  # few labels stay empty


def test_a_superpixel_label_means_about_the_same_place_in_every_image() -> None:
    points = grid(12, 60, 80)
    assert points.tolist() == [[y, x] for y in (10, 30, 50) for x in (10, 30, 50, 70)]  # 3 rows of 4, row by row
    for seed in range(6):
        regions = Superpixels(12)(smooth(seed))
        for label in values(regions):
            centre = (regions == label).nonzero().double().mean(0) + 0.5
            assert (centre - torch.from_numpy(points[label])).abs().max() < 25  # cells are 20 x 20


def test_superpixels_follow_edges() -> None:
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    image[:, :, 23:] = 220
    regions = Superpixels(6)(image)
    assert not set(values(regions[:, :23])) & set(values(regions[:, 23:]))


def test_uneven_grid() -> None:
    points = grid(5, 30, 40)
    assert len(points) == 5 and len(set(map(tuple, points.tolist()))) == 5
    assert points.tolist() == sorted(points.tolist())  # from the top row down, each from the left
    assert len(grid(3, 1, 1000)) == 3 and len(grid(3, 1000, 1)) == 3


def test_predicted_areas_are_the_predictors(flowers: Path) -> None:
    made = data(flowers, regions="predicted", predictor=Halves(), flip=False)
    assert made.areas == ("left", "right")
    assert made.split("train")[0]["regions"][0].tolist() == [0] * 20 + [1] * 20
    store = ParameterStore.from_images(made.targets(), made.areas)
    assert store.areas == ("left", "right") and len(store) == 2


class Wrong(Halves):
    def __init__(self, answer: Tensor, areas: tuple[str, ...] = ("left", "right")) -> None:
        self.answer, self.areas = answer, areas  # type: ignore[assignment]

    def __call__(self, image: Tensor) -> Tensor:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (torch.zeros(2, 2, dtype=torch.uint8), r"must return \(4, 5\) uint8, got \(2, 2\) uint8: mend it"),
        (torch.zeros(4, 5), r"must return \(4, 5\) uint8, got \(4, 5\) float32"),
        (torch.full((4, 5), 2, dtype=torch.uint8), "gave label 2, but names areas 0 to 1"),
    ],
)
def test_a_predictor_that_answers_wrongly(answer: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Predicted(Wrong(answer))(torch.zeros(3, 4, 5, dtype=torch.uint8))
    with pytest.raises(InputError, match="must name 1 to 255 areas, got 0"):
        Predicted(Wrong(answer, ()))


def test_void_of_a_predictor_is_allowed() -> None:
    void = torch.full((4, 5), 255, dtype=torch.uint8)
    assert torch.equal(Predicted(Wrong(void))(torch.zeros(3, 4, 5, dtype=torch.uint8)), void)


# The store's view of a folder


def test_a_store_can_be_built_of_any_folder(folder: Path, flowers: Path, street: Path, tmp_path: Path) -> None:
    assert ParameterStore.from_folder(folder).areas == ("sky", "road", "tree")
    assert ParameterStore.from_folder(street, split=None).areas == ("car", "person", "rest")
    (flowers / "metadata.csv").write_text("id,split,label\np00,target,\n")  # nobody labels a target for its colours
    assert ParameterStore.from_folder(flowers).areas == ("image",)
    reader = Folder(street)
    image, regions = reader.read(reader.rows("train")[1])
    assert image.shape == (3, *SIZE) and regions[25, 35] == 1 and regions[0, 0] == 2


# Splits


class Mean(L.LightningModule):
    """The smallest module that counts what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.validated = 0

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss: Tensor = self.layer(batch["image"].mean().view(1, 1)).sum()
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.validated += 1

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.validated += 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(made: LabelledData, tmp_path: Path) -> Mean:
    module = Mean()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, made)
    assert trainer.global_step == 2
    trainer.test(module, made, verbose=False)
    return module


# Lightning says so once, and it is meant
@pytest.mark.filterwarnings("ignore:Total length of .list. across ranks is zero")
def test_validation_and_test_are_optional(flowers: Path, tmp_path: Path) -> None:
    made = data(flowers)
    assert [made.has(split) for split in ("train", "val", "test", "target", "other")] == [True] * 4 + [False]
    assert train(made, tmp_path).validated == 1 + 1 + 1  # sanity check, one epoch, the test
    lines = (flowers / "metadata.csv").read_text().splitlines()
    kept = [line for line in lines if line.split(",")[1] in ("split", "train")]
    (flowers / "metadata.csv").write_text("\n".join(kept) + "\n")
    made = data(flowers)
    assert [made.has(split) for split in ("train", "val", "test", "target")] == [True, False, False, False]
    assert made.val_dataloader() == [] and made.test_dataloader() == []
    assert train(made, tmp_path).validated == 0
    with pytest.raises(
        InputError, match=r"no row has split .target.: add some, take a stored file .*neighbourhood=none"
    ):
        list(made.targets())


def test_training_images_are_required(flowers: Path) -> None:
    (flowers / "metadata.csv").write_text("id,split,label\np00,test,rose\n")
    made = data(flowers)
    assert (made.kind, made.classes, made.areas) == ("classes", ("rose",), ("image",))  # enough to evaluate
    with pytest.raises(InputError, match="no row has split 'train'"):
        made.train_dataloader()
    with pytest.raises(InputError, match="no row has split 'train'"):
        made.setup("fit")


def test_riverside_is_masks_of_its_areas() -> None:
    made = RiversideData(size=(32, 32), counts={"train": 2, "val": 0, "test": 1})
    assert made.kind == "masks" and made.classes == made.areas == ("grass", "pole", "asphalt", "river")
    sample = made.split("train")[0]
    assert torch.equal(sample["target"], sample["regions"])
    assert [made.has(split) for split in ("train", "val", "test", "other")] == [True, False, True, False]
    assert made.val_dataloader() == []


# Targets as training data


@pytest.mark.parametrize("kind", ["masks", "classes", "boxes"])
def test_targets_follow_the_sources(kind: str, folder: Path, flowers: Path, street: Path) -> None:
    root = {"masks": folder, "classes": flowers, "boxes": street}[kind]
    plain, made = data(root, flip=False), data(root, flip=False, targets=0.5)
    assert plain.training is plain.split("train")
    sources, targets, joined = made.split("train"), made.split("target"), made.training
    assert joined.ids == sources.ids + targets.ids
    assert (joined.areas, joined.classes, joined.kind) == (sources.areas, sources.classes, sources.kind)
    for index in range(len(sources)):
        assert same(joined[index], sources[index])
    for index in range(len(targets)):
        sample = joined[len(sources) + index]
        assert int(sample["index"]) == len(sources) + index
        assert joined.environments[int(sample["environment"])] == "_".join(targets.environment[index].values())
        assert same(
            *({key: of[key] for key in of if key not in ("index", "environment")} for of in (sample, targets[index]))
        )
    batch = next(iter(torch.utils.data.DataLoader(joined, batch_size=len(joined))))
    assert len(batch["image"]) == len(sources) + len(targets)


def test_targets_are_trained_on_as_sources_are(folder: Path) -> None:
    made = data(folder, targets=0.5)
    made.setup("fit")
    assert len(made.split("target")._cache) == 3  # read beforehand
    numbered = made.train_dataloader().dataset
    assert isinstance(numbered, Numbered)
    dataset = numbered.dataset
    assert isinstance(dataset, LabelledImages) and dataset.flip
    assert dataset.environments == ("day", "night")
    assert values(dataset[8]["image"]) == values(made.split("target")[2]["image"])


def test_sources_among_the_targets_are_evenly_spaced(folder: Path) -> None:
    made = data(folder)
    assert [name for name, *_ in made.targets()] == ["p08", "p09", "p10"]
    found = list(made.targets(3))
    assert [(name, light["time"]) for name, _, _, light in found[3:]] == [
        ("p00", "day"),
        ("p02", "day"),
        ("p05", "day"),
    ]
    assert torch.equal(found[4][1], made.split("train").pixels(2)[0])  # colours as they are, not augmented
    assert len(list(made.targets(6))) == 9
    for number in (-1, 7):
        with pytest.raises(InputError, match=f"store.sources must be 0 to the 6 training images, got {number}"):
            list(made.targets(number))


# What is kept in memory


class Counted(LabelledImages):
    """Four images of 3 x 2 x 4, counting how often one is read."""

    def __init__(self, gib: float, kind: Literal["masks", "boxes"] = "boxes") -> None:
        super().__init__(["a", "b", "c", "d"], ["x"], ["x"], kind, [{}] * 4, cache_gib=gib)
        self.reads: list[int] = []

    def read(self, index: int) -> dict[str, Tensor]:
        self.reads.append(index)
        regions = torch.zeros(2, 4, dtype=torch.uint8)  # 8 bytes
        entries = {"image": torch.full((3, 2, 4), index, dtype=torch.uint8), "regions": regions}  # 24 bytes
        if self.kind == "masks":
            return {**entries, "target": regions}
        return {**entries, "boxes": torch.zeros(2, 4), "labels": torch.full((2,), -1)}  # 32 and 16 bytes


@pytest.mark.parametrize(
    ("bytes_kept", "kind", "images_kept"),
    [(79, "boxes", 0), (80, "boxes", 1), (239, "boxes", 2), (320, "boxes", 4), (31, "masks", 0), (64, "masks", 2)],
)
def test_memory_counts_every_tensor_once(bytes_kept: int, kind: Literal["masks", "boxes"], images_kept: int) -> None:
    images = Counted(bytes_kept / 2**30, kind)
    for _ in range(2):
        for index in range(4):
            assert values(images[index]["image"]) == [index]
    assert len(images.reads) == 4 + (4 - images_kept)
    assert torch.equal(images.pixels(3)[0], images[3]["image"])


def test_preload_reads_what_fits() -> None:
    images = Counted(170 / 2**30)
    images.preload()
    assert sorted(images.reads) == [0, 1]
    images = Counted(1.0)
    images.preload()
    images.preload()
    assert sorted(images.reads) == [0, 1, 2, 3]


@pytest.mark.parametrize("regions", ["auto", "superpixels"])
def test_reading_twice_gives_the_same_bits(street: Path, regions: Any) -> None:
    kept, fresh = (data(street, regions=regions, flip=False, cache_gib=gib).split("train") for gib in (1.0, 0.0))
    for index in range(len(kept)):
        assert same(kept[index], fresh[index]) and same(kept[index], kept[index])


# COCO


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images = [("b.png", 48, 64), ("a.png", 480, 640), ("none.jpg", 10, 20)]
    boxes, labels = [], []
    for (_, height, width), count in zip(images, (3, 20, 0), strict=True):
        low = torch.rand(count, 2, generator=generator) * 0.5
        corners = torch.cat([low, low + 0.01 + torch.rand(count, 2, generator=generator) * 0.45], dim=1)
        boxes.append(corners * torch.tensor([width, height, width, height]))
        labels.append(torch.randint(0, 3, (count,), generator=generator))
    path = tmp_path / "new" / "annotations.json"
    write_coco(path, images, boxes, labels, ["cat", "hérisson", "dog"])
    found = read_coco(path)
    assert found.classes == ("cat", "hérisson", "dog")
    assert list(found.images) == ["b", "a", "none"]
    for (file, height, width), box, label in zip(images, boxes, labels, strict=True):
        read = found.images[Path(file).stem]
        assert read.size == (height, width)
        assert torch.equal(read.boxes, box) and torch.equal(read.labels, label)  # to the last bit
    first = path.read_bytes()
    write_coco(path, images, boxes, labels, ["cat", "hérisson", "dog"])
    assert path.read_bytes() == first and [entry.name for entry in path.parent.iterdir()] == ["annotations.json"]


def test_written_coco_by_hand(tmp_path: Path) -> None:
    boxes = torch.tensor([[1.0, 2.0, 4.0, 7.5], [0.0, 0.0, 0.0, 0.0]])
    write_coco(tmp_path / "a.json", [("p.png", 10, 20)], [boxes], [torch.tensor([1, -1])], ["cat", "dog"])
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "images": [{"id": 1, "file_name": "p.png", "width": 20, "height": 10}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1.0, 2.0, 3.0, 5.5], "area": 16.5, "iscrowd": 0}
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def test_coco_that_cannot_be_written(tmp_path: Path) -> None:
    boxes, path = torch.ones(1, 4), tmp_path / "a.json"
    with pytest.raises(ValueError, match=r"label 2 of p\.png is beyond the 2 classes"):
        write_coco(path, [("p.png", 10, 20)], [boxes], [torch.tensor([2])], ["cat", "dog"])
    with pytest.raises(ValueError, match="shorter"):
        write_coco(path, [("p.png", 10, 20)], [boxes], [], ["cat"])
    assert not path.exists()


def test_a_sample_written_and_read_is_the_sample(street: Path, tmp_path: Path) -> None:
    images = data(street, flip=False).split("train")
    samples = [images[index] for index in range(len(images))]
    files = [(f"{name}.png", *SIZE) for name in images.ids]
    boxes, labels = [s["boxes"] for s in samples], [s["labels"] for s in samples]
    write_coco(tmp_path / "again.json", files, boxes, labels, images.classes)
    again = read_coco(tmp_path / "again.json")
    for key, sample in zip(images.ids, samples, strict=True):
        padded = again.images[key].padded(len(sample["labels"]))
        assert torch.equal(padded[0], sample["boxes"]) and torch.equal(padded[1], sample["labels"])


def change(table: str, key: str, value: Any, entry: int = 0) -> Spoil:
    return lambda content: content[table][entry].__setitem__(key, value)


SPOILT: dict[str, tuple[Spoil, str]] = {
    "no images": (lambda c: c.pop("images"), r"the list 'images' is missing: add it"),
    "no annotations": (lambda c: c.pop("annotations"), r"the list 'annotations' is missing"),
    "no categories": (lambda c: c.pop("categories"), r"the list 'categories' is missing"),
    "images no list": (lambda c: c.update(images={}), r"the list 'images' is missing"),
    "empty categories": (lambda c: c.update(categories=[]), r"categories must have at least one entry"),
    "entry no object": (lambda c: c["annotations"].append(3), r"annotations\[7\] is no object: correct it"),
    "key missing": (lambda c: c["annotations"][1].pop("bbox"), r"annotations\[1\] has no 'bbox': add it"),
    "image without width": (lambda c: c["images"][2].pop("width"), r"images\[2\] has no 'width'"),
    "width no number": (change("images", "width", "40"), r"images\[0\]: width must be int, got '40'"),
    "width 0": (change("images", "width", 0), r"image 100 has width or height below 1 pixel"),
    "id a list": (change("images", "id", [1]), r"images\[0\]: id must be int or str, got \[1\]"),
    "image id twice": (change("images", "id", 101), r"id 101 is twice in images: give each its own"),
    "file name twice": (change("images", "file_name", "p01.png"), r"file_name 'somewhere/p01.jpg' .* twice: rename"),
    "category id twice": (change("categories", "id", 3), r"id 3 is twice in categories"),
    "category name twice": (change("categories", "name", "person"), r"each with a name of its own"),
    "category called rest": (change("categories", "name", "rest"), r"none called 'rest': rename"),
    "unknown category": (change("annotations", "category_id", 5), r"annotations\[0\]: category_id 5 is not among cat"),
    "unknown image": (change("annotations", "image_id", 5), r"annotations\[0\]: image_id 5 is not among images: add"),
    "three numbers": (change("annotations", "bbox", [1, 2, 3]), r"bbox must be four numbers .* got \[1, 2, 3\]"),
    "bbox of words": (change("annotations", "bbox", [1, 2, 3, "4"]), r"bbox must be four numbers"),
    "bbox of truths": (change("annotations", "bbox", [1, 2, 3, True]), r"bbox must be four numbers"),
    "bbox no list": (change("annotations", "bbox", "1 2 3 4"), r"bbox must be list, got '1 2 3 4'"),
    "NaN": (change("annotations", "bbox", [1, 2, float("nan"), 4]), r"bbox \[1, 2, nan, 4\] is no place"),
    "infinite": (change("annotations", "bbox", [1, 2, float("inf"), 4]), r"is no place in an image: correct or drop"),
    "gigantic": (change("annotations", "bbox", [1, 2, 10**400, 4]), r"is no place in an image"),
    "zero width": (change("annotations", "bbox", [1, 2, 0, 4]), r"must have width and height above 0"),
    "negative height": (change("annotations", "bbox", [1, 2, 3, -4]), r"must have width and height above 0"),
    "outside": (change("annotations", "bbox", [40, 2, 3, 4]), r"\[40, 2, 3, 4\] is outside its image \(40 x 30\)"),
    "outside above": (change("annotations", "bbox", [1, -9, 3, 9]), r"is outside its image"),
    "too thin to keep": (change("annotations", "bbox", [39, 2, 1e-9, 4]), r"is outside its image"),
    "crowd of two": (change("annotations", "iscrowd", 2), r"iscrowd must be 0 or 1, got 2"),
    "row not listed": (lambda c: c["images"].pop(9), r"no image has the file name of 'p09' in metadata.csv: list it"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_bad_annotations(case: str, street: Path) -> None:
    spoil, message = SPOILT[case]
    content = coco()
    spoil(content)
    (street / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as caught:
        data(street)
    assert re.search(message, str(caught.value)), caught.value
    assert str(caught.value).startswith(f"{street}/annotations.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"not readable as JSON \(.*\): save it as COCO JSON"),
        (b"", r"not readable as JSON"),
        (b"\xff\xfe\x00", r"its text is in UTF-16: save it as UTF-8"),
        (b'{"images": [], "images": []}', r"not readable as JSON \(the key 'images' is twice in one object\)"),
        (b"[" * 200_000, r"not readable as JSON"),
        (b"[1, 2]", r"must be one JSON object"),
        (None, r"annotations\.json: no such file: add COCO boxes, or set labels"),
    ],
)
def test_annotations_that_are_no_coco_file(content: bytes | None, message: str, street: Path) -> None:
    path = street / "annotations.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        data(street, labels="boxes")


def test_boxes_of_another_image_size(street: Path) -> None:
    content = coco()
    content["images"][1].update(width=80, height=60)
    (street / "annotations.json").write_text(json.dumps(content))
    made = data(street).split("train")
    assert made[0]["image"].shape == (3, *SIZE)
    with pytest.raises(InputError, match=r"p01\.png: 40 x 30 pixels, annotations\.json says 80 x 60: correct its"):
        made[1]


def test_a_crowd_may_be_malformed_and_images_unused(street: Path) -> None:
    content = coco()
    content["annotations"][-1]["bbox"] = [0, 0, 0, 0]
    content["images"].append({"id": "x", "file_name": "other.png", "width": 9, "height": 9})
    del content["annotations"][0]["iscrowd"]
    (street / "annotations.json").write_text(json.dumps(content))
    assert data(street, flip=False).split("train")[0]["labels"].tolist() == [0, 1, -1]


# Bad labels and settings


def test_an_empty_label_names_its_row(flowers: Path) -> None:
    labels = ["rose", "rose", "rose", "", *["rose"] * 6]
    save_metadata(flowers, labels)
    with pytest.raises(InputError, match=r"metadata\.csv: line 5 \(p03\) has no label: fill it in or drop the row"):
        data(flowers)
    with pytest.raises(InputError, match=r"regions: no such folder: add an index image"):
        data(flowers, labels="masks")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": "polygons"}, r"labels must be one of auto, masks, classes, boxes, got 'polygons'"),
        ({"regions": "slic"}, r"regions must be one of auto, labels, boxes, .*, got 'slic'"),
        ({"labels": "classes"}, r"metadata\.csv: column 'label' is missing: add it"),
        ({"labels": "boxes"}, r"annotations\.json: no such file"),
        ({"regions": "boxes"}, r"annotations\.json: no such file"),
        ({"regions": "predicted"}, r"regions=predicted needs a predictor"),
        ({"regions": "superpixels", "superpixels": 0}, r"data\.superpixels must be 1 to 255 .*, got 0"),
        ({"regions": "superpixels", "superpixels": 256}, r"data\.superpixels must be 1 to 255 .*, got 256"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(InputError, match=message):
        data(folder, **settings)


def test_masks_need_regions(street: Path) -> None:
    (street / "annotations.json").unlink()
    for regions in ("auto", "whole", "labels"):
        with pytest.raises(InputError, match=r"street/regions: no such folder: add an index image for each image"):
            data(street, regions=regions)
    (street / "regions").mkdir()
    with pytest.raises(InputError, match=r"classes\.csv: no such file"):
        data(street, regions="whole")


# ImageFolder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """torchvision's layout: train has three classes, test one of them."""
    root = tmp_path / "tree"
    save_images(tmp_path)
    for number, place in enumerate(["train/a", "train/b", "train/c", "train/b", "test/b", "target/c"]):
        (root / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / f"{name(number)}.png").rename(root / place / f"{name(number)}.png")
    return root


def test_image_folder(tree: Path) -> None:
    made = ImageFolderData(str(tree), size=SIZE, batch_size=2)
    images = made.split("train")
    assert images.ids == ("a/p00.png", "b/p01.png", "b/p03.png", "c/p02.png")
    assert (made.kind, made.classes, made.areas) == ("classes", ("a", "b", "c"), ("image",))
    assert [images[index]["target"].item() for index in range(4)] == [0, 1, 1, 2]
    assert made.split("test")[0]["target"].item() == 1  # b, though it is the only class there
    assert made.split("test").classes == ("a", "b", "c")
    assert [made.has(split) for split in ("train", "val", "test", "target")] == [True, False, True, True]
    assert made.val_dataloader() == []
    assert images.environments == ("all",)
    batch = default_collate([images[0], images[1]])
    assert batch["target"].dtype == torch.int64 and batch["regions"].shape == (2, *SIZE)
    assert [entry[0] for entry in made.targets()] == ["c/p05.png"]


def test_what_programs_leave_in_folders_is_no_class(tree: Path) -> None:
    (tree / "train/.ipynb_checkpoints").mkdir()
    (tree / "train/a/._p00.png").write_bytes(b"x")
    made = ImageFolderData(str(tree), size=SIZE)
    assert made.classes == ("a", "b", "c") and len(made.split("train")) == 4


def test_images_without_a_row_are_told(folder: Path) -> None:
    (folder / "images/p00.png").rename(folder / "images/q00.png")
    text = (folder / "metadata.csv").read_text()
    (folder / "metadata.csv").write_text("\n".join(line for line in text.splitlines() if "p00" not in line))
    told = FolderData(str(folder)).told
    assert told == [f"1 images have no row in metadata.csv, and are not read ({folder / 'images/q00.png'})"]
    (folder / "images/r00.gif").touch()
    (folder / "images/.r01.gif").touch()
    (gif,) = set(FolderData(str(folder)).told) - set(told)
    assert gif == f"1 images are of a format that is not read ({folder / 'images/r00.gif'}): convert them to PNG"


def test_an_accent_is_one_letter_or_two(folder: Path) -> None:
    """macOS writes names of files otherwise than people write tables."""
    table = folder / "metadata.csv"
    table.write_text(table.read_text().replace("p00", "gr\u00fcn"))
    for place in ("images", "regions"):
        (folder / place / "p00.png").rename(folder / place / "gru\u0308n.png")
    data = FolderData(str(folder))
    data.look()
    assert any("gr\u00fcn" in data.split(split).ids for split in ("train", "val", "test") if data.has(split))
    assert not data.told


def test_sources_among_the_targets_keep_apart_from_them(tree: Path) -> None:
    first = ImageFolderData(str(tree)).split("train").ids[0]
    (tree / "target" / first).parent.mkdir(exist_ok=True)
    (tree / "target" / first).write_bytes((tree / "train" / first).read_bytes())
    made = ImageFolderData(str(tree), size=(8, 8))
    names = [name for name, *_ in made.targets(1)]
    assert first in names
    assert names[-1] == f"train/{first}"


def test_image_folder_with_other_areas(tree: Path) -> None:
    made = ImageFolderData(str(tree), size=SIZE, regions="superpixels", superpixels=4)
    assert made.areas == tuple(f"superpixel_{index}" for index in range(4))
    assert made.split("train")[0]["regions"].max() < 4
    assert ImageFolderData(str(tree), size=SIZE, regions="predicted", predictor=Halves()).areas == ("left", "right")
    assert Whole().areas == ("image",)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train").rename(root / "days"), r"tree/train: no such folder: add it"),
        (lambda root: (root / "test").rename(root / "Testing"), r"tree/Testing: no split is called so: .*mean `test`"),
        (
            lambda root: (root / "train/a").rename(root / "train/B"),
            r"tree/train: folder 'b': class 'b' differs from 'B' .* case alone",
        ),
        (lambda root: (root / "train/b/all").symlink_to(root), r"train/b/all/.*: a link leads to a folder .* already"),
        (lambda root: (root / "train/empty").mkdir(), r"tree/train: .*empty.*: add images of each class"),
        (lambda root: (root / "val/d").mkdir(parents=True), r"tree/val/d: training images have no such class"),
        (lambda root: (root / "val/a").mkdir(parents=True), r"tree/val: no images: add some, or remove the folder"),
        (lambda root: (root / "val").mkdir(), r"tree/val: .*class folder.*"),
        (
            lambda root: (root / "train/b/p01.png").rename(root / "train/p01.png"),
            r"tree/train: 1 images are in no folder of a class \(p01\.png\): move them",
        ),
        (lambda root: (root / "train/b/p01.png").write_bytes(b"x"), r"p01\.png: this image cannot be read"),
        (
            lambda root: Image.fromarray(np.zeros(SIZE, np.uint8)).save(root / "train/b/p01.png"),
            r"p01\.png: a grey image: convert it to 8-bit RGB",
        ),
    ],
)
def test_bad_image_folder(spoil: Callable[[Path], object], message: str, tree: Path) -> None:
    spoil(tree)
    with pytest.raises(InputError, match=message) as caught:
        ImageFolderData(str(tree), size=SIZE).setup("fit")
    assert "\n" not in str(caught.value)


def test_bad_image_folder_settings(tree: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such folder: set root to"):
        ImageFolderData(str(tree / "nowhere"))
    with pytest.raises(InputError, match=r"regions must be one of superpixels, whole, predicted, got 'boxes'"):
        ImageFolderData(str(tree), regions="boxes")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"regions=predicted needs a predictor"):
        ImageFolderData(str(tree), regions="predicted")


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_smaller_unless_that_shall_be_exact(tmp_path: Path, orientation: int) -> None:
    """Sizes as they were told, colours within a level or so of the whole image resized."""
    rough = torch.rand(1, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    image = (torch.nn.functional.interpolate(rough, (240, 320), mode="bilinear")[0] * 255).byte()
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "large.jpg"
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(path, quality=95, exif=exif)
    size = (64, 80) if orientation == 1 else (80, 64)
    (exact, own), (quick, also) = read_image(path, size), read_image(path, size, exact=False)
    assert own == also == ((240, 320) if orientation == 1 else (320, 240))
    assert exact.shape == quick.shape == (3, *size)
    apart = (exact.int() - quick.int()).abs().float()
    assert 0 < apart.mean() < 1.5
    near = (200, 300) if orientation == 1 else (300, 200)  # not twice too large
    assert torch.equal(read_image(path, near)[0], read_image(path, near, exact=False)[0])
