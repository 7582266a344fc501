"""Bad input: one line that names the file or key and the remedy, exit code 2, nothing half-written."""

import json
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hardmine import __version__
from hardmine.cli import main
from hardmine.store import ParameterStore

Spoil = Callable[[Path], object]


def image(folder: Path, name: str) -> Path:
    return folder / "images" / f"{name}.png"


def regions(folder: Path, name: str) -> Path:
    return folder / "regions" / f"{name}.png"


def save(path: Path, array: np.ndarray, mode: str | None = None) -> None:
    picture = Image.fromarray(array)
    (picture if mode is None else picture.convert(mode)).save(path)


def write_png(path: Path, size: tuple[int, int], depth: int, body: bytes) -> None:
    """An RGB PNG of any width and height, whose checksums are right whatever is in it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", *size, depth, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def write_16_bit_rgb(path: Path) -> None:
    """1 x 1, which Pillow cannot write but opens as plain RGB."""
    write_png(path, (1, 1), 16, zlib.compress(b"\0" + bytes(6)))


def write_without_pixels(path: Path) -> None:
    """What only decoding shows."""
    write_png(path, (40, 32), 8, b"no pixels")


RGB = np.zeros((32, 40, 3), np.uint8)
LABELS = np.zeros((32, 40), np.uint8)
SPOILT: dict[str, tuple[Spoil, str]] = {
    "image missing": (lambda f: image(f, "p03").unlink(), r"p03\.png: this image is missing: add"),
    "index image missing": (lambda f: regions(f, "p03").unlink(), r"regions/p03\.png: this index image is missing"),
    "sizes differ": (
        lambda f: save(regions(f, "p03"), LABELS[:20]),
        r"p03\.png: 40 x 20 pixels, its image has 40 x 32",
    ),
    "label out of range": (
        lambda f: save(regions(f, "p03"), LABELS + 7),
        r"p03\.png: label 7 is out of range, classes\.csv names 0 to 2",
    ),
    "unreadable": (lambda f: image(f, "p03").write_bytes(b"no picture"), r"p03\.png: this image cannot be read"),
    "cut off": (
        lambda f: image(f, "p03").write_bytes(image(f, "p03").read_bytes()[:200]),
        r"p03\.png: .* cannot be read",
    ),
    "empty file": (lambda f: image(f, "p03").write_bytes(b""), r"p03\.png: this image cannot be read"),
    "16-bit grey": (lambda f: save(image(f, "p03"), LABELS.astype(np.uint16)), r"p03\.png: a 16-bit image: convert"),
    "16-bit colour": (lambda f: write_16_bit_rgb(image(f, "p03")), r"p03\.png: a 16-bit image: convert"),
    "palette": (lambda f: save(image(f, "p03"), RGB, "P"), r"p03\.png: a palette image: convert it to 8-bit RGB"),
    "RGBA": (
        lambda f: save(image(f, "p03"), RGB, "RGBA"),
        r"p03\.png: an image with an alpha channel \(RGBA\): convert",
    ),
    "grey": (lambda f: save(image(f, "p03"), LABELS), r"p03\.png: a grey image: convert"),
    "coloured index image": (lambda f: save(regions(f, "p03"), RGB), r"p03\.png: an RGB image: an index image has one"),
    "target unreadable": (lambda f: regions(f, "p09").write_bytes(b""), r"p09\.png: this index image cannot be read"),
    "no targets": (
        lambda f: (f / "metadata.csv").write_text((f / "metadata.csv").read_text().replace("target", "other")),
        r"metadata\.csv: no row has split 'target': add some",
    ),
    "no metadata": (lambda f: (f / "metadata.csv").unlink(), r"metadata\.csv: no such file"),
    "metadata without split": (
        lambda f: (f / "metadata.csv").write_text("id,time\np01,day\n"),
        r"column 'split' is missing",
    ),
    "ragged metadata": (
        lambda f: (f / "metadata.csv").write_text("id,split\np01\n"),
        r"line 2 has another number of cells",
    ),
    "id twice": (
        lambda f: (f / "metadata.csv").write_text("id,split\np01,train\np01,val\n"),
        r"line 3: id 'p01' is twice there \(line 2 too\): give each row its own",
    ),
    "id outside": (
        lambda f: (f / "metadata.csv").write_text("id,split\n../p01,train\n"),
        r"line 2: id '../p01' is no file name",
    ),
    "no classes": (lambda f: (f / "classes.csv").unlink(), r"classes\.csv: no such file"),
    "gap in classes": (lambda f: (f / "classes.csv").write_text("index,name\n0,a\n2,b\n"), r"indices must run 0, 1, 2"),
    "binary classes": (lambda f: (f / "classes.csv").write_bytes(b"\xff\xfe\x00"), r"classes\.csv: cannot be read"),
}


def keep_rows(folder: Path, train: int) -> None:
    lines = (folder / "metadata.csv").read_text().splitlines()
    spare = [f"p{index:02d}" for index in range(train, 6)]
    (folder / "metadata.csv").write_text("\n".join(line for line in lines if line[:3] not in spare) + "\n")


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run, check how it failed, and return the one line."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    error = capsys.readouterr().err
    assert caught.value.code == 2, error
    lines = [line for line in error.splitlines() if not line.startswith("[")]
    assert len(lines) == 1, error
    assert lines[0].startswith("hardmine: error: ")
    assert "Traceback" not in error
    return lines[0]


def train_arguments(folder: Path, run: Path, *more: str) -> list[str]:
    small = [
        "data.size=[32,32]",
        "data.batch_size=4",
        "trainer.max_steps=1",
        "mining.start=0",
        "logger=none",
        "keep=all",
    ]
    return ["train", "data=folder", f"data.root={folder}", *small, f"hydra.run.dir={run}", *more]


@pytest.mark.parametrize("case", SPOILT)
def test_bad_data(case: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, message = SPOILT[case]
    spoil(folder)
    assert re.search(message, fails(capsys, *train_arguments(folder, tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_too_few_images(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep_rows(folder, 2)
    error = fails(capsys, *train_arguments(folder, tmp_path / "run"))
    assert "2 training images are fewer than data.batch_size=4: lower it" in error
    assert not (tmp_path / "run").exists()


def test_no_area_in_common(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ParameterStore.from_folder(folder).save(tmp_path / "store.parquet")
    (folder / "classes.csv").write_text("index,name\n0,sea\n1,boat\n2,gull\n")
    store = ("store=file", f"store.path={tmp_path / 'store.parquet'}")
    assert "no area in common" in fails(capsys, *train_arguments(folder, tmp_path / "run", *store))


FEW = ["data.counts={train: 8, val: 2, target: 2, test: 2}", "mining.start=0", "logger=none"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data=folder", "data.root=/nowhere"], "/nowhere: no such folder: set data.root"),
        (["data=folder"], "data.root: this config key must be given"),
        (
            ["mining.treshold=0.5"],
            "'mining.treshold': no such config key (did you mean `mining.threshold`?): see hardmine train",
        ),
        (["nonsense=1"], "'nonsense': no such config key"),
        (["buffer.length=1"], "'buffer.length': no such config key (buffer has capacity, max_replays, max_age): see"),
        (["neighbourhood.cell=a"], "'neighbourhood.cell': no such config key (neighbourhood has "),
        (["budget=9"], "'budget': no such config key here, only in hardmine evaluate: see hardmine train --help"),
        (
            ["callbacks.early_stopping.patience=5"],
            "'callbacks.early_stopping.patience': no such config key with this choice of early_stopping",
        ),
        (["neighbourhood=nearest"], "neighbourhood/nearest"),
        (["neighbourhood.radius=-1"], "neighbourhood.radius must be a number of Lab units, above 0, got -1"),
        (["buffer.capacity=0"], "buffer.capacity must be a number of pieces, 1 or more, got 0"),
        (["mining.mined=2"], "mined must be a share from 0 to 1, got 2"),
        (["mining.mined=0.02"], "mined=0.02 of a batch of 8 is no row: raise it, or set 0"),
        (["mining.hardest=0"], "hardest must be a share above 0 and up to 1, got 0"),
        (["conversion.parts.color.max_gain=0"], "max_gain must be a number of times, above 0"),
        (["conversion.parts.color.max_gain=x"], "conversion.parts.color.max_gain must be a number, got 'x'"),
        (["conversion.parts.color.min_std=-1"], "min_std must be a number of Lab units, 0 or more, got -1"),
        (["conversion.parts.color.individual=x"], "individual must be true or false, got 'x'"),
        (["conversion.parts.frame.share=null"], "conversion.parts.frame.share must be a number, got None"),
        (["mining.decay=1.5"], "decay must be a share from 0 to 1, got 1.5"),
        (["mining.candidates=0"], "mining.candidates must be a number of candidates per row, 1 or more, got 0"),
        (["mining.start=-1"], "mining.start must be a number of optimiser steps, 0 or more, got -1"),
        (["data.targets=0.01"], "data.targets=0.01 is no row of data.batch_size=8: raise it"),
        (["first.areas=[sea]"], "no area is called 'sea'"),
        (["store=file", "store.path=/nowhere.parquet"], "/nowhere.parquet: no such file"),
        (["resume=/nowhere"], "/nowhere: no such folder: name the folder of a run"),
        (["trainer.max_steps"], "trainer.max_steps"),
        (["model.encoder_name=nonesuch"], "nonesuch"),
        (["model=resnet18"], "model: the network is not made for labels that are masks"),
        (["scoring=confidence"], "scoring: it cannot score labels that are masks"),
        (["task=detection"], "task=detection does not go with data whose labels are masks"),
        (["neighbourhood=blnd"], "auto, blend, generate, none, random, same_cell, select"),
        (["neighbourhood.mean_radius=3"], "give either radius (Rth2) or both mean_radius"),
        (["conversion=color_transfer", "conversion.colors=hsv"], "colors must be lab or rgb, got 'hsv'"),
        (["update.every=-1"], "update.every must be a number of pieces, 0 or more, got -1"),
        (["update=every_piece", "mining.candidates=2"], "update.every searches with one candidate for each row"),
        (["stopping.min_hit_rate=2"], "stopping.min_hit_rate must be a share from 0 to 1, got 2"),
        (["gate=teacher", "gate.teacher.decay=1"], "decay in [0, 1)"),
        (["store.environment=foggy"], "store.environment: nothing is called 'foggy'"),
        (["first.areas=[]"], "no area is chosen"),
        (["neighbourhood=associated_cell"], "associations"),
        (["neighbourhood=adjacent_cell", "environment.order={time:[night]}"], "environment.order"),
    ],
)
def test_bad_config(overrides: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = [] if "data=folder" in overrides else FEW
    assert message in fails(capsys, "train", f"hydra.run.dir={tmp_path / 'run'}", *few, *overrides)


@pytest.mark.parametrize("key", ["mined", "hardest", "decay", "candidates", "start"])
def test_bad_numbers_of_the_search_name_their_key(key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(capsys, "train", *FEW, f"mining.{key}=-1", f"hydra.run.dir={tmp_path / 'run'}")
    assert re.search(rf"mining(\.|: ){key} must be", error)


def test_batch_learning_needs_room_for_stored_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    update = ["update=batch", "update.every=8", "mining.threshold=1.1", "trainer.max_steps=3"]
    error = fails(capsys, "train", *FEW, *update, "data.size=[32,32]", f"hydra.run.dir={tmp_path / 'run'}")
    assert "update.every=8 pieces leave no row of a batch of 8 for stored data" in error


def test_store_and_train_on_a_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["store", f"root={folder}", f"out={tmp_path / 'night.parquet'}"])
    assert "3 targets, 3 areas, time" in capsys.readouterr().out
    store = ["store=file", f"store.path={tmp_path / 'night.parquet'}"]
    all_hard = ["mining.threshold=1.1", "mining.hardest=1"]
    main(train_arguments(folder, tmp_path / "run", *store, *all_hard))
    shown = capsys.readouterr().out
    assert "4 pieces from 4 candidates" in shown
    assert "night" in shown
    (folder / "metadata.csv").unlink()  # a resumed run reads its own settings again, and says what is missing now
    assert "metadata.csv" in fails(capsys, "train", f"resume={tmp_path / 'run'}", "trainer.max_steps=9")


def test_resume_takes_the_runs_own_settings(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(train_arguments(folder, tmp_path / "run"))
    main(["train", f"resume={tmp_path / 'run'}", "trainer.max_steps=3"])
    assert "3 steps in" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["store"], ["store", "root=x"], ["store", "root=x", "out=y", "z=1"], ["explode"]]
)
def test_bad_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, *arguments)


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    main(["--help"])
    assert capsys.readouterr().out.count("usage: hardmine COMMAND") == 2
    main(["--version"])
    assert capsys.readouterr().out == f"hardmine {__version__}\n"


def test_what_a_loader_process_cannot_read_is_one_line_too(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_without_pixels(image(folder, "p03"))
    late = ("data.num_workers=1", "data.cache_gib=0")  # nothing is read ahead: the process meets it first
    error = fails(capsys, *train_arguments(folder, tmp_path / "run", *late, "trainer.max_steps=3"))
    assert "p03.png: this image cannot be read" in error


def test_a_choice_that_is_not_there_names_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(capsys, "train", "neighbourhood=nope")
    assert "neighbourhood/nope" in error and "take one of adjacent_cell, associated_cell, auto, blend" in error


def test_options_come_before_a_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:  # of both runs
        main(["train", "-m", "data.root=nowhere", "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep'}"])
    assert caught.value.code == 2
    outcomes = [json.loads(path.read_text()) for path in (tmp_path / "sweep").glob("*/outcome.json")]
    assert [outcome["status"] for outcome in outcomes] == ["refused"] * 2
    assert all("nowhere" in outcome["line"] for outcome in outcomes)


def test_what_was_set_and_changes_nothing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = [*FEW, "trainer.max_steps=1", "trainer.accelerator=cpu", f"hydra.run.dir={tmp_path / 'run'}"]
    main(["train", *few, "neighbourhood=none", "mining.hardest=0.3", "gate=limits"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "not used" in line]
    assert lines == ["hardmine: neighbourhood=none mines nothing: not used: mining.hardest=0.3, gate=limits"]
