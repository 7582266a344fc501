"""`hardmine data`: what is in a folder, and what a folder that fits no layout has."""

import io
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from hardmine.cli import main
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
        "no image is in target: colours must come from a store",
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
    assert nearest.endswith(" 'data.classes=[NAME,...]' 'data.shifted={time: dusk}' data.val=0.3")
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
