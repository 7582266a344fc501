"""`hardmine data`: what is in a folder, and what a folder that fits no layout has."""

import io
import json
import shlex
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import UNET, make_images
from PIL import Image
from rich.console import Console

from hardmine.cli import main
from hardmine.cli.build import build_data, build_mining, build_task
from hardmine.cli.config import composed, with_root
from hardmine.cli.paths import with_paths
from hardmine.data import FolderData
from hardmine.data.recognised import recognised
from hardmine.data.survey import Survey
from hardmine.report.found import tables
from hardmine.report.table import print_table


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """What a command prints; where it is refused, with the line."""

    def ran(*arguments: str) -> str:
        with suppress(SystemExit):
            main(["data", *arguments])
        captured = capsys.readouterr()
        return captured.out + captured.err

    return ran


def test_it_says_what_is_there(folder: Path, tmp_path: Path, run: Callable[..., str]) -> None:
    said = run(str(folder), f"sheet={tmp_path}/sheet.png")
    row = next(line for line in said.splitlines() if "night" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["night", "", "", "2", "3"]
    assert "40 x 32" in said and "nothing is odd" in said and f"hardmine train data=folder data.root={folder}" in said
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "sheet.png"]
    assert "sheet.png" not in run(str(folder), "sheet=null")


def test_long_names_are_whole_in_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    long = f"{'a' * 60}{{}}"
    names = tuple(map(long.format, "PQR"))
    survey = Survey("masks", names, names, {"train": Counter(names)}, {"train": [0.3, 0.3, 0.4]}, {"train": [1, 1, 1]})
    console = Console(file=io.StringIO())
    for table in tables(survey):
        print_table(console, table)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in said and said.count("Q") == said.count("R") == 2


def test_shares_are_of_the_pixels_of_the_files(folder: Path) -> None:
    survey = Survey.of(FolderData(str(folder)))
    labels = np.concatenate([np.array(Image.open(folder / f"regions/p{n:02d}.png")).ravel() for n in range(6)])
    known = labels[labels != 255]
    expected = [(known == label).mean() for label in range(3)]
    np.testing.assert_allclose(survey.shares["train"], expected)
    assert survey.void["train"] == pytest.approx((labels == 255).mean())
    assert survey.environments["target"] == {"night": 3} and survey.sizes == {(32, 40): 13}


def test_one_class_alone_is_odd(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in (folder / "regions").iterdir():
        Image.fromarray(np.zeros((32, 40), np.uint8)).save(path)
    (folder / "classes.csv").write_text("index,name\n0,sky\n")
    said = "there is one class, sky, so that whatever a model says is right: name two or more"
    assert said in Survey.of(FolderData(str(folder))).odd
    FolderData(str(folder)).look()
    assert f"hardmine: {said}" in caplog.text


def test_what_is_odd_is_told(folder: Path, run: Callable[..., str]) -> None:
    void = np.full((32, 40), 255, np.uint8)
    for index in range(6):
        Image.fromarray(void).save(folder / f"regions/p{index:02d}.png")
    (folder / "classes.csv").write_text("index,name\n0,sky\n1,road\n2,tree\n3,zebra\n")
    (folder / "metadata.csv").write_text(
        (folder / "metadata.csv").read_text().replace(",val,", ",test,").replace(",target,", ",later,")
    )
    said = run(str(folder), "data.size=[64,128]", "sheet=null")
    for line in (
        "no image is in val: nothing is validated on",
        "no image is in target: colours must come from a store (store=file), another split, or a share of test",
        "rows with splits of 'later' (3) are not read",
        "classes that no image has: zebra",
        "classes that test has and train has not: ",
        "100% of the pixels of train are void",
        "6 images of train have no pixel of a class",
        "data.size=[64, 128] changes the shape of 10 images (40 x 32): data.size=[64,96] keeps it",
    ):
        assert line in said, line


def test_tiles_change_no_shape(folder: Path, run: Callable[..., str]) -> None:
    said = run(str(folder), "data.size=[16,40]", "data.tiles=true", "sheet=null")
    assert "nothing is odd" in said
    said = run(str(folder), "data.size=[48,40]", "data.tiles=true", "sheet=null")
    assert "13 images are smaller than a tile of data.size=[48, 40] (40 x 32): set data.size smaller" in said


def test_a_folder_that_fits_nothing_is_shown(folder: Path, run: Callable[..., str]) -> None:
    (folder / "metadata.csv").unlink()
    said = run(str(folder))
    assert "It has images/, regions/, 1 .csv" in said and "  images/ has 13 .png" in said
    assert "  id,split,time\n  p00,train,day\n  p01,test,night" in said
    nearest = next(line for line in said.splitlines() if line.startswith("Nearest: hardmine data "))
    assert "'data.images=images/**/*.png' 'data.labels=regions/**/*.png'" in nearest
    assert said.splitlines()[-1].startswith(f"hardmine: error: data: {folder}: fits no layout: ")
    assert "'data.shifted={time: night}'" in said.splitlines()[-2]
    more = run(str(folder), "data.shifted={time: dusk}", "data.val=0.3")  # what is known stays
    nearest = next(line for line in more.splitlines() if line.startswith("Nearest: "))
    assert nearest.endswith(" 'data.shifted={time: dusk}' data.val=0.3")  # classes.csv names the classes
    assert "{time: night}" not in more
    given = ["data.images=images/*.png", "data.labels=regions/*.png", "data.val=0.2", "sheet=null"]
    assert "data.root=" in run(str(folder), *given)  # as it is said


@pytest.mark.parametrize(
    ("file", "content", "layout"),
    [
        ("metadata.csv", "", "folder"),
        ("leftImg8bit/train/a/x.png", "", "cityscapes"),
        ("rgb_anon/fog/train/x.png", "", "cityscapes"),
        ("voc.yaml", "names: [a]", "yolo"),
        ("annotations/instances_train2017.json", json.dumps({"categories": []}), "coco"),
        ("train/_annotations.coco.json", '{"categories": []}', "coco"),
        ("export.json", '{"format": "webdataset"}', None),
        ("train/cat/1.JPG", "", "image_folder"),
        ("val/cat/1.JPG", "", "image_folder"),  # which train/ is missing of is told then
        ("images/1.jpg", "", None),
        ("config.yaml", "path: x", None),
    ],
)
def test_layouts_are_recognised(file: str, content: str, layout: str | None, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(content)
    assert recognised(tmp_path) == ([f"data={layout}", f"data.root={tmp_path}"] if layout else [])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "data: use hardmine data PATH"),
        (["a", "b"], "data: use hardmine data PATH"),
        (["{root}/nowhere"], "no such folder: name the folder of a data set"),
        (["{root}", "trainer.max_steps=3"], "trainer.max_steps=3: it takes keys of data alone"),
        (["{root}", "data.sise=[1,2]"], "'data.sise': no such config key (did you mean `data.size`?)"),
        (["{root}", "sheet=x.jpg"], "sheet: x.jpg: names no picture"),
        (["{root}", "data=fodler"], "take one of"),
    ],
)
def test_what_it_cannot_do_is_one_line(arguments: list[str], line: str, folder: Path, run: Callable[..., str]) -> None:
    said = run(*(each.format(root=folder) for each in arguments)).splitlines()
    assert line in said[-1] and said[-1].startswith("hardmine: error: ")


def picture(path: Path, number: int, mask: bool = False) -> Path:
    """40 x 32 pixels."""
    image, regions = make_images(1, size=(32, 40), seed=number)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(regions[0].numpy() if mask else image[0].permute(1, 2, 0).numpy()).save(path)
    return path


def boxes_of(root: Path, split: str, names: list[str], file: str) -> None:
    images = [{"id": number, "file_name": name, "width": 40, "height": 32} for number, name in enumerate(names)]
    box = {"bbox": [4, 4, 20, 16], "area": 320, "iscrowd": 0}
    boxes = [{"id": number, "image_id": number, "category_id": 1 + number % 2, **box} for number in range(len(names))]
    for number, name in enumerate(names):
        picture(root / split / name, number)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "van"}]
    (root / file).write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))


def coco(root: Path, **counts: int) -> list[str]:
    for split, count in counts.items():
        boxes_of(root, split, [f"{split}{number}.png" for number in range(count)], f"annotations/{split}.json")
    return [str(root)]


def coco_in_one(root: Path) -> list[str]:
    boxes_of(root, "images", [f"{number}.png" for number in range(10)], "all.json")
    return [str(root)]


def yolo(root: Path, **counts: int) -> list[str]:
    for split, count in counts.items():
        for number in range(count):
            label = root / "labels" / split / picture(root / f"images/{split}/{number}.png", number).name
            label.parent.mkdir(parents=True, exist_ok=True)
            label.with_suffix(".txt").write_text(f"{number % 2} 0.5 0.5 0.4 0.4")
    (root / "data.yaml").write_text("names: [car, van]\n" + "".join(f"{split}: images/{split}\n" for split in counts))
    return [str(root)]


def image_folder(root: Path, **counts: int) -> list[str]:
    for split, count in counts.items():
        for number in range(count):
            picture(root / split / "ab"[number % 2] / f"{number}.png", number)
    return [str(root)]


def pairs(root: Path) -> list[str]:
    for number in range(10):
        picture(root / f"rgb/{number}.png", number)
        picture(root / f"seg/{number}.png", number, mask=True)
    return [str(root), "data.images=rgb/*.png", "data.labels=seg/*.png", "data.classes=[sky,road,tree]"]


def masks(root: Path, *more: str, **counts: int) -> list[str]:
    ids = [(f"{split}{number}", split) for split, count in counts.items() for number in range(count)]
    for number, (name, _) in enumerate(ids):
        picture(root / f"images/{name}.png", number)
        picture(root / f"regions/{name}.png", number, mask=True)
    (root / "metadata.csv").write_text("id,split\n" + "".join(f"{name},{split}\n" for name, split in ids))
    (root / "classes.csv").write_text("index,name\n0,sky\n1,road\n2,tree\n")
    return [str(root), *more]


def look_at_command(line: str) -> None:
    """See that what is printed is accepted: all that training does before its first step is done."""
    given = shlex.split(line.split("hardmine train ", 1)[1])
    small = [] if any(each.startswith("data.size") for each in given) else ["data.size=[32,32]"]
    small += [] if any(each.startswith("model=") for each in given) else UNET
    cfg = composed("train", [*with_paths(with_root(given), False), *small, "run_dir=."])
    data = build_data(cfg)
    build_task(cfg, data)
    data.setup("fit")
    assert next(iter(data.train_dataloader()))["image"].shape[0] == cfg.data.batch_size
    assert (build_mining(cfg, data) is None) == ("neighbourhood=none" in given)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: coco(root, train=8), "neighbourhood=none"),
        (lambda root: coco(root, train=8, val=2, test=4), "data.target=0.2"),
        (lambda root: coco(root, train=8, test=1), "neighbourhood=none"),  # one image has no share
        (lambda root: coco(root, train=3, target=2), "data.batch_size=3"),
        (coco_in_one, "data.val=0.1"),
        (lambda root: yolo(root, train=8, val=2, test=4), "data.target=0.2"),
        (lambda root: image_folder(root, train=8, test=2), "neighbourhood=none"),
        (lambda root: image_folder(root, train=8, target=2), "model=resnet18"),
        (pairs, "data.val=0.1"),
        (lambda root: masks(root, train=8, val=1), "neighbourhood=none"),
        (lambda root: masks(root, "data.size=[50,70]", train=8, target=2), "'data.size=[32,64]'"),
        (lambda root: masks(root, "data.size=[64,64]", "data.tiles=true", train=8, target=2), "'data.size=[32,32]'"),
    ],
)
def test_the_next_command_is_accepted(
    make: Callable[[Path], list[str]], said: str, tmp_path: Path, run: Callable[..., str]
) -> None:
    root = tmp_path / "my photos, (new)"
    root.mkdir()
    last = run(*make(root), "sheet=null").splitlines()[-1]
    assert last.startswith("train on it") and said in last.split()
    assert ("without mining" in last) == ("neighbourhood=none" in last)
    look_at_command(last)


@pytest.mark.parametrize("make", [coco_in_one, pairs])
def test_what_nothing_parts_is_shown_all_the_same(
    make: Callable[[Path], list[str]], tmp_path: Path, run: Callable[..., str]
) -> None:
    said = run(*make(tmp_path), "sheet=null")
    row = next(line for line in said.splitlines() if line.startswith("│ all"))
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["all", "9", "1"]
    assert "- nothing says which images are trained on and which are measured: set data.pattern=" in said


def test_nothing_to_train_on_has_no_next_command(tmp_path: Path, run: Callable[..., str]) -> None:
    said = run(*coco(tmp_path, val=3), "sheet=null")
    assert said.splitlines()[-1] == "nothing to train on: no image is in train" and "hardmine train" not in said


def test_what_training_refuses_is_refused(tmp_path: Path, run: Callable[..., str]) -> None:
    said = run(*coco(tmp_path, train=8), "data.targets=0.5", "sheet=null").splitlines()[-1]
    assert "data.targets: the data has no images in the split target" in said


def test_folders_of_classes_are_told(tmp_path: Path, run: Callable[..., str]) -> None:
    for name in ("cat", "dog"):
        picture(tmp_path / name / "1.png", 1)
    assert "If cat, dog are classes: move their folders into train/, for data=image_folder" in run(str(tmp_path))
