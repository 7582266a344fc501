"""Images and masks as they lie: patterns of paths, environments, splits, what masks hold (`data=pairs`)."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from PIL import Image

from hardmine.data import PairsData
from hardmine.data.globs import Glob
from hardmine.data.listings.splits import Shares
from hardmine.errors import InputError

SIZE = (12, 16)  # H, W
COLORS = {"sky": [70, 130, 180], "road": [128, 64, 128], "tree": [107, 142, 35]}


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def mask(number: int) -> np.ndarray:
    labels = np.zeros(SIZE, np.uint8)
    labels[4:], labels[8:, number % 8 :] = 1, 2
    return labels


@pytest.fixture
def drives(tmp_path: Path) -> Path:
    """Two drives by day and one by night, with frames of several endings."""
    number = 0
    for drive, time in (("a", "day"), ("b", "day"), ("c", "night")):
        for frame in range(4):
            ending = ("jpg", "JPG", "png", "PNG")[frame]
            save(tmp_path / time / drive / f"img_{frame:02d}.{ending}", picture(number))
            save(tmp_path / "masks" / time / drive / f"img_{frame:02d}_mask.png", mask(number))
            number += 1
    (tmp_path / "readme.txt").write_text("no image")
    return tmp_path


def pairs(root: Path, **more: Any) -> PairsData:
    given = {"images": "[dn]*/*/*.{jpg,png}", "labels": "masks/*/*/*_mask.png", "classes": ["sky", "road", "tree"]}
    return PairsData(**{**given, "root": str(root), "size": SIZE, "val": 0.25, **more})


def splits(data: PairsData) -> dict[str, str]:
    return {row.id: row.split for row in data.layout.all_rows}


def refused(root: Path, line: str, **more: Any) -> None:
    with pytest.raises(InputError, match=re.escape(line)):
        pairs(root, **more).look()


# Patterns


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("day/a/*.png", {"img_02", "img_03"}),  # capitals too
        ("day/a/img_*", {"00", "01", "02", "03"}),  # of images alone
        ("*/a/img_?0.*", {"day/0"}),
        ("**/a/*_02.png", {"day/img"}),
        ("day/[!a]/*_0[01].jpg", {"b/img/0", "b/img/1"}),
        ("[dn]*/*/img_00.jpg", {"day/a", "day/b", "night/c"}),
        ("day/{a,c}/img_00.jpg", {"img_00"}),
        ("night/**", {f"c/img_{frame:02d}" for frame in range(4)}),
    ],
)
def test_what_stands_for_signs_is_the_id(pattern: str, found: set[str], drives: Path) -> None:
    assert set(Glob(drives, pattern, "images").files) == found
    assert set(Glob(Path("elsewhere"), f"{drives}/{pattern}", "images").files) == found


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("day/a/*.tif", "no file fits day/a/*.tif: " + "{root}/day/a has 1 .JPG, 1 .PNG, 1 .jpg, 1 .png"),
        ("dya/*.png", "{root}/dya: no such folder: {root} has day/, masks/, night/, 1 .txt"),
        ("day/{a,b}/img_00.jpg", "are both 'img_00'"),
    ],
)
def test_a_pattern_that_fits_nothing_tells_what_is_there(pattern: str, line: str, drives: Path) -> None:
    with pytest.raises(InputError, match=re.escape(line.format(root=drives))):
        Glob(drives, pattern, "images").files  # noqa: B018


def test_image_and_mask_belong_together(drives: Path) -> None:
    data = pairs(drives, pattern="(?P<time>day|night)/")
    assert len(data.layout.all_rows) == 12 and data.layout.classes == ("sky", "road", "tree")
    for number, row in enumerate(data.layout.all_rows):
        sample = data.layout.sample(row)
        assert torch.equal(sample["target"], torch.from_numpy(mask(number)))
        assert row.environment == {"time": "night" if number >= 8 else "day"}
    data.look()


def test_an_id_in_the_pattern_pairs_what_is_called_otherwise(drives: Path) -> None:
    for frame in range(4):
        save(drives / "gt" / f"c{frame:02d}.png", mask(frame))
    data = pairs(
        drives, images="night/c/img_*", labels="gt/c*.png", pattern=r"(?P<id>\d\d)", classes=["sky", "road", "tree"]
    )
    assert [row.id for row in data.layout.all_rows] == ["00", "01", "02", "03"]
    refused(drives, "data.pattern: is not found in ", pattern="(?P<time>day)", images="**/img_*")


def test_images_without_a_mask_are_refused_or_left_out_with_a_line(drives: Path) -> None:
    (drives / "masks/day/a/img_00_mask.png").unlink()
    save(drives / "masks/day/a/img_77_mask.png", mask(0))
    refused(drives, "day/a/img_00.jpg: 1 of 12 images have no mask")
    data = pairs(drives, unlabelled="skip")
    assert len(data.layout.all_rows) == 11
    assert [line.split(" (")[0] for line in data.told] == [
        "1 images without a mask are left out",
        "1 masks without an image are not read",
    ]
    refused(
        drives,
        "day/** gives 'a/img_00', masks/**.png gives 'day/a/img_01_mask'",
        images="day/**",
        labels="masks/**.png",
        unlabelled="skip",
    )


# Splits


def test_shares_keep_groups_together_and_need_no_seed(drives: Path) -> None:
    pattern = "(?P<time>day|night)/(?P<drive>.)/"
    data = pairs(drives, pattern=pattern, group="drive", val=0.3, test=0.3)
    by_drive: dict[str, str] = {}
    for row in data.layout.all_rows:
        assert by_drive.setdefault(row.id.split("/")[1], row.split) == row.split and row.environment.keys() == {"time"}
    assert sorted(by_drive.values()) == ["test", "train", "val"]
    assert splits(data) == splits(pairs(drives, pattern=pattern, group="drive", val=0.3, test=0.3))


@given(
    sizes=st.lists(st.integers(1, 9), min_size=3, max_size=40),
    val=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
)
def test_shares_are_about_as_asked(sizes: list[int], val: float, test: float) -> None:
    groups = [f"drive{number}" for number, size in enumerate(sizes) for _ in range(size)]
    parts = Shares({"test": test, "val": val}).of(groups)
    assert len(set(zip(groups, parts, strict=True))) == len(sizes)
    for name, share in (("test", test), ("val", val)):
        if len(sizes) > 9:
            assert abs(Counter(parts)[name] - share * len(groups)) <= max(sizes)
        assert name in parts
    assert "" in parts


def test_shifted_environments_are_what_is_trained_for(drives: Path) -> None:
    pattern = "(?P<time>day|night)/"
    data = pairs(drives, pattern=pattern, shifted={"time": "night"}, target=0.5)
    assert Counter(splits(data).values()) == {"train": 6, "val": 2, "test": 2, "target": 2}
    assert {row.split for row in data.layout.all_rows if row.environment["time"] == "night"} == {"test", "target"}
    rows = [f"{row.id},{'val' if row.id.endswith('3') else 'train'}" for row in data.layout.all_rows]
    (drives / "splits.csv").write_text("\n".join(["id,split", *rows]))
    data = pairs(drives, pattern=pattern, table="splits.csv", shifted={"time": ["night"]}, val=None)
    assert Counter(splits(data).values()) == {"train": 6, "val": 2, "test": 1, "target": 3}
    refused(drives, "no image has time 'nigth' (did you mean `night`?)", pattern=pattern, shifted={"time": "nigth"})


def test_a_table_says_environment_and_split(drives: Path) -> None:
    paths = [str(row.image.relative_to(drives)) for row in pairs(drives).layout.all_rows]  # type: ignore[attr-defined]
    rows = [f"{path},{'train' if n else 'val'},rainy,{n}" for n, path in enumerate(paths)]
    (drives / "table.csv").write_text("\n".join(["path,split,weather,number", *rows]))
    data = pairs(drives, table="table.csv", val=None, environment=["weather"])
    assert Counter(splits(data).values()) == {"train": 11, "val": 1}
    assert data.split("train").environments == ("rainy",)
    refused(drives, "data.val: some images are in val already, as their 'split' says", table="table.csv")
    (drives / "semi.csv").write_text("id;split\nday/a/img_00;train\n")
    refused(drives, "semi.csv: its cells are separated by semicolons", table="semi.csv")
    refused(drives, "there are split, weather, number", table="table.csv", val=None, environment=["time"])
    (drives / "table.csv").write_text("path,split\nday/a/img_00.jpg,train\n")
    refused(drives, "it has no row for day/a/img_01", table="table.csv")
    (drives / "table.csv").write_text("path,split\nday/a/img_09.jpg,train\n")
    refused(drives, "line 2: no image is called day/a/img_09.jpg", table="table.csv")
    (drives / "table.csv").write_text("path,split\nimg_00.jpg,train\n")
    refused(drives, "line 2: several images are called img_00.jpg", table="table.csv")


def test_lists_say_what_is_read(drives: Path) -> None:
    (drives / "train.txt").write_text("day/a/img_00\nday/a/img_01.JPG\n\nday/a/img_02\n")
    (drives / "val.csv").write_text("path\nday/b/img_00.jpg\n")
    data = pairs(drives, lists={"train": "train.txt", "val": "val.csv"}, val=None)
    assert splits(data) == {
        **{f"day/a/img_0{frame}": "train" for frame in range(3)},
        "day/b/img_00": "val",
    }
    assert data.told == ["8 images are in no list of data.lists, and not read"]
    (drives / "val.csv").write_text("path\nday/a/img_00.jpg\n")
    refused(drives, "val.csv: line 2: day/a/img_00.jpg is in the list of train too", lists=data_lists(), val=None)
    refused(drives, "'trian' is none of the splits", lists={"trian": "train.txt"}, val=None)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "train.txt: names no image: add some, or take train out of data.lists"),
        ("day/a/img_00\nday/a/img_00.jpg", "train.txt: line 2: day/a/img_00.jpg is twice there"),
        ("day/a/img_09", "day/a/img_09 (did you mean"),
    ],
)
def test_a_list_that_cannot_be(text: str, line: str, drives: Path) -> None:
    (drives / "train.txt").write_text(text)
    refused(drives, line, lists={"train": "train.txt"}, val=None)


def test_names_are_alike_on_every_system(drives: Path) -> None:
    """Windows parts folders by other slashes, and macOS writes an accent as a sign of its own."""
    for path in sorted(drives.glob("**/img_00*")):
        path.rename(path.with_name(path.name.replace("img", ("gr\u00fcn", "gru\u0308n")["mask" in path.name])))
    (drives / "train.txt").write_text("day\\a\\img_01.JPG\nday\\b\\gru\u0308n_00.jpg\n")
    data = pairs(drives, lists={"train": "train.txt"}, val=None)
    assert splits(data) == {"day/a/img_01": "train", "day/b/gr\u00fcn_00": "train"}


def test_hidden_folders_are_not_read(drives: Path) -> None:
    save(drives / "day/.ipynb_checkpoints/img_00-checkpoint.png", picture(0))
    assert len(splits(pairs(drives, images="[dn]*/**/*.{jpg,png}"))) == 12


def test_what_fits_and_is_of_another_format_is_told(drives: Path) -> None:
    given = {"images": "[dn]*/*/*", "labels": "masks/*/*/*_mask.png"}
    assert not pairs(drives, **given).told
    (drives / "day/a/img_09.heic").touch()
    assert pairs(drives, **given).told == [
        f"1 images are of a format that is not read ({drives / 'day/a/img_09.heic'}): convert them to PNG"
    ]


def test_a_target_that_is_there_already_is_told_why(drives: Path) -> None:
    rows = [f"{name},{'train' if '00' in name else 'val'},{name[:3]}" for name in splits(pairs(drives))]
    (drives / "table.csv").write_text("\n".join(["id,split,time", *rows]))
    line = "data.target: some images are in target already, as data.shifted makes targets of those of train"
    more: dict[str, Any] = {"table": "table.csv", "shifted": {"time": "nig"}, "val": None}
    assert Counter(splits(pairs(drives, **more)).values()) == {"train": 2, "val": 6, "target": 1, "test": 3}
    refused(drives, line, target=0.5, **more)


def test_a_transparent_pixel_has_no_color(drives: Path) -> None:
    lut = np.array([[*color, 255] for color in COLORS.values()], np.uint8)
    recolored(drives, lambda labels: lut[labels])
    pairs(drives, classes=None, colors=COLORS).look()
    lut[0, 3] = 0
    (first := next(drives.glob("masks/day/a/*.png"))).unlink()
    save(first, lut[mask(0)])
    refused(drives, f"{first}: some pixels are transparent", classes=None, colors=COLORS)


def data_lists() -> dict[str, str]:
    return {"train": "train.txt", "val": "val.csv"}


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("nothing says which images are trained on and which are measured: set data.pattern=", {"val": None}),
        ("data.group=drive: is no named group", {"group": "drive"}),
        ("data.group=tme: is no named group and no column (did you mean", {"group": "tme", "pattern": "(?P<time>d|n)"}),
        ("train has 12 images in 1 groups (data.group=x), too few", {"group": "x", "pattern": "(?P<x>img)"}),
        ("data.pattern: is no regular expression", {"pattern": "("}),
        ("has no named group", {"pattern": "day"}),
        ("classes must name 1 to 255", {"classes": []}),
        ("colors names the classes already", {"colors": COLORS}),
        ("classes.csv: no such file: set classes=", {"classes": None}),
        ("data.test=0.5 and data.val=0.5: nothing is left of train", {"val": 0.5, "test": 0.5}),
        ("data.target: is a share of the images of test, and there are none: set data.test", {"target": 0.5}),
        ("time is no named group and no column: set data.pattern or data.table", {"shifted": {"time": "night"}}),
        ("data.images and data.labels: both fit", {"labels": "[dn]*/*/*.{jpg,png}"}),
        ("label 2 is out of range, data.classes names 0 to 1", {"classes": ["sky", "road"]}),
    ],
)
def test_what_cannot_be_is_one_line(line: str, more: dict[str, Any], drives: Path) -> None:
    refused(drives, line, **more)


# What masks hold


def recolored(drives: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    for path in drives.glob("masks/**/*.png"):
        save(path, change(np.array(Image.open(path))))


def test_colors_stand_for_classes(drives: Path) -> None:
    lut = np.array([*COLORS.values()], np.uint8)
    recolored(drives, lambda labels: lut[labels])
    data = pairs(drives, classes=None, colors=COLORS)
    assert torch.equal(data.layout.sample(data.layout.all_rows[3])["target"], torch.from_numpy(mask(3)))
    two = {"sky": COLORS["sky"], "void": COLORS["road"], "tree": COLORS["tree"]}
    data = pairs(drives, classes=None, colors=two)
    expected = np.array([0, 255, 1], np.uint8)[mask(0)]
    assert data.classes == ("sky", "tree")
    assert torch.equal(data.layout.sample(data.layout.all_rows[0])["target"], torch.from_numpy(expected))
    refused(drives, "says nothing of the colour 128, 64, 128", classes=None, colors={"sky": COLORS["sky"]})
    refused(drives, "8-bit channel of labels")  # as numbers
    rows = [f"{name},{','.join(map(str, color))}" for name, color in COLORS.items()]
    (drives / "class_dict.csv").write_text("\n".join(["name,r,g,b", *rows]))
    assert pairs(drives, classes="class_dict.csv").classes == ("sky", "road", "tree")


def test_numbers_stand_for_classes(drives: Path) -> None:
    recolored(drives, lambda labels: np.array([7, 23, 26], np.uint8)[labels])
    (drives / "classes.csv").write_text("index,name\n26,car\n7,road\n23,void\n27,car\n")
    data = pairs(drives, classes=None)
    data.look()
    assert data.classes == ("car", "road")
    expected = np.array([1, 255, 0], np.uint8)[mask(5)]
    assert torch.equal(data.layout.sample(data.layout.all_rows[5])["target"], torch.from_numpy(expected))
    (drives / "classes.csv").write_text("index,name\n26,car\n7,road\n")
    refused(drives, "classes.csv says nothing of the number 23", classes=None)


@pytest.mark.parametrize("kind", [np.uint8, bool])
def test_masks_of_two_values(kind: type, drives: Path) -> None:
    recolored(drives, lambda labels: (labels > 1).astype(kind) * (np.uint8(255) if kind is np.uint8 else True))
    data = pairs(drives, classes=["background", "tree"], void=None)
    data.look()
    expected = (mask(2) > 1).astype(np.uint8)
    assert torch.equal(data.layout.sample(data.layout.all_rows[2])["target"], torch.from_numpy(expected))


def test_a_list_that_contradicts_a_column_is_refused(drives: Path) -> None:
    (drives / "train.txt").write_text("day/a/img_00\n")
    ids = sorted(splits(pairs(drives)))
    (drives / "table.csv").write_text("id,split\n" + "".join(f"{name},val\n" for name in ids))
    lists = {"train": "train.txt"}
    refused(
        drives, "day/a/img_00 is in the list of train, and its split is val", lists=lists, table="table.csv", val=None
    )
    (drives / "table.csv").write_text("id,split\n" + "".join(f"{name},\n" for name in ids))
    assert "train" in splits(pairs(drives, lists=lists, table="table.csv", val=None)).values()
