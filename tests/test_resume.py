"""What a disk or a changed data set does to a run: one line, and what was there before stays whole."""

import errno
import io
import json
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import RIVERSIDE, TINY, UNET, make_store
from PIL import Image

from hardmine.callbacks.checkpoint import is_whole, look_at_state
from hardmine.cli import main
from hardmine.data import FolderData, ImageFolderData, RiversideData
from hardmine.data.inventory import Inventory
from hardmine.files import unwritten, write_atomically

SMALL = [*TINY, *UNET, "model.encoder_name=tu-test_resnet", "trainer.max_steps=4", "data.size=[32,32]"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As on a disk that gets full; what is larger fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def ends(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """The one line that a command ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    error = capsys.readouterr().err
    assert caught.value.code == code, error
    assert "Traceback" not in error
    lines = [line for line in error.splitlines() if line.startswith("hardmine: error: ")]
    assert len(lines) == 1, error
    return lines[0]


def content(folder: Path) -> dict[Path, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


# Disks

WRITERS: dict[str, Callable[..., object]] = {
    "bytes": lambda file: file.write(bytes(50_000)),
    "a checkpoint": lambda file: torch.save({"weights": torch.zeros(50_000), "step": 1}, file),
    "a table": lambda file: pq.write_table(pa.table({"x": torch.rand(50_000).numpy()}), file),
    "a picture": lambda file: Image.effect_noise((300, 300), 50).save(file, "PNG"),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_leaves_the_file_that_was_there(kind: str, tmp_path: Path) -> None:
    """Whichever library writes, and whatever it makes of the reason."""
    path, before = tmp_path / "file", tmp_path / "before"
    path.write_bytes(b"old")
    before.write_bytes(b"older")
    with files_of_at_most(20_000), pytest.raises(OSError, match="File too large") as caught:
        write_atomically(path, WRITERS[kind], before)
    assert caught.value.filename == str(path) and caught.value.errno == errno.EFBIG
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"file": b"old", "before": b"older"}
    write_atomically(path, WRITERS[kind], before)
    assert before.read_bytes() == b"old" and path.stat().st_size > 20_000


def test_a_disk_is_told_from_a_fault_of_the_program() -> None:
    assert unwritten(OSError(errno.ENOSPC, "No space left on device", "x/y")) == (
        "x/y: no space left on device: make room there"
    )
    assert unwritten(OSError(errno.EROFS, "Read-only file system"), "x") == (
        "x: read-only file system: name a folder that can be written to"
    )
    consequence = RuntimeError("of it")
    consequence.__cause__ = OSError(errno.EDQUOT, "Quota exceeded", "z")
    assert unwritten(consequence) == "z: quota exceeded: make room there"
    assert unwritten(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None
    assert unwritten(RuntimeError("another")) is None


@pytest.mark.parametrize(
    ("size", "more", "named"),
    [
        (500, [], ""),  # Hydra's own files
        (300_000, [], "checkpoints/"),
        (10_000, ["logger=tensorboard", "~callbacks.before", "~callbacks.checkpoint", "~callbacks.pictures"], ""),
        (30_000, ["~callbacks.before", "~callbacks.checkpoint", "callbacks.pictures.every=2"], "pictures/"),
        (9_000, ["~callbacks.before", "~callbacks.checkpoint", "~callbacks.pictures"], "graph.png"),
    ],
)
def test_a_disk_that_gets_full_ends_a_run_in_one_line(
    size: int, more: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with files_of_at_most(size):
        line = ends(capsys, 1, "train", *RIVERSIDE, *SMALL, *more, f"hydra.run.dir={run}")
    assert "file too large: raise the limit on the size of files" in line
    assert named in line
    assert not list(run.rglob(".*.ckpt*")) and not (run / "summary.json").exists()


def test_a_run_goes_on_where_the_disk_got_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The checkpoint before is whole, and the end is as if nothing had been."""
    small = [*RIVERSIDE, *SMALL, "~callbacks.before", "~callbacks.pictures"]
    run, whole = tmp_path / "run", tmp_path / "whole"
    main(["train", *small, f"hydra.run.dir={whole}"])
    main(["train", *small, "trainer.max_steps=2", f"hydra.run.dir={run}"])
    kept = {path: held for path, (held, _) in content(run / "checkpoints").items()}
    with files_of_at_most(1_000_000):
        line = ends(capsys, 1, "train", f"resume={run}", "trainer.max_steps=4")
    assert "checkpoints/last.ckpt: file too large: " in line and line.endswith(f"; then resume={run}")
    assert {path: held for path, (held, _) in content(run / "checkpoints").items()} == kept
    assert all(map(is_whole, kept))
    main(["train", f"resume={run}", "trainer.max_steps=4"])
    one, other = (torch.load(of / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for of in (run, whole))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("where", ["/sys/hardmine", "FILE/run"])  # not even root may write there
def test_a_folder_that_cannot_be_written_to(where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("no folder")
    folder = where.replace("FILE", str(tmp_path / "file"))
    assert "another folder" in ends(capsys, 2, "train", *RIVERSIDE, *SMALL, f"hydra.run.dir={folder}")


def values(state: Any) -> Iterator[tuple[str, Any]]:
    """Every value of a state with its keys, tensors as bytes."""
    for name, value in state.items() if isinstance(state, dict) else enumerate(state):
        if isinstance(value, dict | list | tuple):
            yield from ((f"{name}.{key}", each) for key, each in values(value))
        else:
            yield str(name), value.numpy().tobytes() if torch.is_tensor(value) else repr(value)


def test_a_run_that_was_killed_after_its_last_step_comes_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No batch is read any more, and the search is told all the same."""
    run = tmp_path / "run"
    main(["train", *RIVERSIDE, *SMALL, "~callbacks.pictures", f"hydra.run.dir={run}"])
    names = ("summary.json", "graph.parquet", "store.parquet", "graph.png")
    kept = {name: (run / name).read_bytes() for name in names}
    for name in names:
        (run / name).unlink()
    last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    main(["train", f"resume={run}"])
    again = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    for part in ("state_dict", "trained_state_dict", "optimizer_states", "callbacks"):  # a longer run goes on from them
        assert list(values(again[part])) == list(values(last[part]))
    found = {name: (run / name).read_bytes() for name in names}
    one, other = (json.loads(each.pop("summary.json")) for each in (kept, found))
    assert one["pieces"] > 0 and {**one, "seconds": 0} == {**other, "seconds": 0}
    assert found == kept
    verdicts = next((run / "ledger").glob("*.parquet"))
    verdicts.write_bytes(verdicts.read_bytes()[:100])
    for _ in ("finished", "without a summary"):
        assert f"{verdicts}: is damaged: delete it" in ends(capsys, 2, "train", f"resume={run}")
        (run / "summary.json").unlink(missing_ok=True)


# Checkpoints

PARTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "callbacks": (lambda held: held.pop("callbacks"), "the search missing"),
    "the search": (lambda held: held["callbacks"].pop("HardMining"), "the search missing"),
    "an empty search": (lambda held: held["callbacks"].update(HardMining={}), "the search missing"),
    "the optimizer": (lambda held: held.update(optimizer_states=[]), "the state of the optimizer missing"),
    "the loop": (lambda held: held.pop("loops"), "the state of the loop missing"),
    "weights": (lambda held: held.pop("state_dict"), "weights missing"),
    "all but weights": (
        lambda held: [held.pop(name) for name in ("callbacks", "loops", "optimizer_states")],
        "the state of the loop and the state of the optimizer and the search missing",
    ),
    "another kind": (lambda held: held.update(callbacks=[1]), "cannot be read as a checkpoint"),
}


def test_a_checkpoint_without_its_state_is_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is missing is named, before anything is built; a run that does not mine needs no search."""
    run, last = tmp_path / "run", tmp_path / "run/checkpoints/last.ckpt"
    main(["train", *RIVERSIDE, *SMALL, "~callbacks.pictures", "trainer.max_steps=1", f"hydra.run.dir={run}"])
    whole = last.read_bytes()
    for remove, told in PARTS.values():
        last.write_bytes(whole)
        held = torch.load(last, weights_only=True)
        remove(held)
        torch.save(held, last)
        line = ends(capsys, 2, "train", f"resume={run}", "trainer.max_steps=2")
        assert line.startswith(f"hardmine: error: {last}: {told}")
    held = torch.load(io.BytesIO(whole), weights_only=True)
    del held["callbacks"]["HardMining"]
    torch.save(held, last)
    look_at_state(last, mines=False)


def test_a_finished_run_keeps_its_weights_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as those of a run that keeps all; it says so, at its end and to whoever would train it for longer."""
    held = {}
    for keep in ("all", "weights"):
        given = ["~callbacks.pictures", "trainer.max_steps=1", f"keep={keep}", f"hydra.run.dir={tmp_path / keep}"]
        main(["train", *RIVERSIDE, *SMALL, *given])
        held[keep] = torch.load(tmp_path / keep / "checkpoints/last.ckpt", weights_only=True)
    shown = capsys.readouterr().out
    run, last = tmp_path / "weights", tmp_path / "weights/checkpoints/last.ckpt"
    assert f"{last}: " in shown and "the weights alone; to train a finished run for longer: keep=all" in shown
    assert [path.name for path in last.parent.iterdir()] == [last.name]
    assert {"last.ckpt", "before.ckpt"} <= {path.name for path in (tmp_path / "all/checkpoints").iterdir()}
    for part in ("state_dict", "classes", "global_step"):
        assert list(values({part: held["weights"][part]})) == list(values({part: held["all"][part]}))
    assert not {"optimizer_states", "trained_state_dict", "callbacks"} & set(held["weights"])
    before = content(run)
    line = ends(capsys, 2, "train", f"resume={run}", "trainer.max_steps=2")
    assert "missing, without which the run cannot go on" in line and line.endswith(f"ckpt={last}")
    main(["train", f"resume={run}"])
    assert f"{last} has its weights, from which a new run begins with ckpt=" in capsys.readouterr().out
    assert {path: kept for path, kept in content(run).items() if path in before} == before
    shutil.copytree(tmp_path / "all/checkpoints", last.parent, dirs_exist_ok=True)  # killed before it had dropped them
    main(["train", f"resume={run}"])
    assert [path.name for path in last.parent.iterdir()] == [last.name]
    assert torch.load(last, weights_only=True).keys() == held["weights"].keys()


@pytest.mark.parametrize("what", ["damaged", "of another model"])
def test_weights_of_before_that_cannot_be_shown_do_not_cost_the_end(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    main(["train", *RIVERSIDE, *SMALL, "~callbacks.pictures", "trainer.max_steps=1", f"hydra.run.dir={run}"])
    before = run / "checkpoints/before.ckpt"
    if what == "damaged":
        before.write_bytes(before.read_bytes()[:5000])
    else:
        torch.save({"state_dict": {"network.weight": torch.zeros(1)}, "callbacks": [0]}, before)
    capsys.readouterr()
    main(["train", f"resume={run}", "trainer.max_steps=2"])
    shown = capsys.readouterr()
    assert f"{before} is {what}: the table at the end shows nothing before" in shown.out + shown.err
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 2 and not any(name.startswith("before/") for name in summary)
    assert "│ all" in shown.out


# Data


def rewrite(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Change the rows of a table, whose header stays."""
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *change(rows)]) + "\n")


def paint(path: Path, color: int) -> None:
    with Image.open(path) as image:
        Image.new(image.mode, image.size, color).save(path)


CHANGES: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "nothing": (lambda root: None, None),
    "a row removed": (lambda root: rewrite(root / "metadata.csv", lambda rows: rows[1:]), "p00 is gone in .* train"),
    "a split removed": (
        lambda root: rewrite(root / "metadata.csv", lambda rows: [row for row in rows if ",val," not in row]),
        r"p06 is gone, and so on \(2 images\) in the split val",
    ),
    "a row added": (
        lambda root: rewrite(root / "metadata.csv", lambda rows: [*rows[:-1], rows[-1].replace("test", "val")]),
        "p12 is new in the split val",
    ),
    "another order": (
        lambda root: rewrite(root / "metadata.csv", lambda rows: rows[::-1]),
        r"p00 stands in another place, and so on \(6 images\) in the split train",
    ),
    "pixels": (lambda root: paint(root / "images/p03.png", 1), "p03 has other pixels in the split train"),
    "pixels of test": (lambda root: paint(root / "images/p12.png", 1), "p12 has other pixels in the split test"),
    "labels": (lambda root: paint(root / "regions/p07.png", 1), "p07 has other labels in the split val"),
    "an environment": (
        lambda root: rewrite(root / "metadata.csv", lambda rows: [rows[0].replace("day", "dusk"), *rows[1:]]),
        "p00 has other labels in the split train",
    ),
    "names": (
        lambda root: (root / "classes.csv").write_text("index,name\n0,sky\n1,road\n2,hedge\n"),
        "the areas are sky, road, hedge, not sky, road, tree",
    ),
    "another column": (
        lambda root: (root / "metadata.csv").write_text((root / "metadata.csv").read_text().replace("\n", "\r\n")),
        None,
    ),
}


def inventory(root: Path, cache_gib: float = 1.0) -> Inventory:
    return Inventory.of(FolderData(str(root), size=(32, 32), cache_gib=cache_gib), ("train", "val", "test"))


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_otherwise_in_a_folder_is_named(case: str, folder: Path, tmp_path: Path) -> None:
    change, told = CHANGES[case]
    inventory(folder).save(tmp_path / "data.parquet")
    change(folder)
    found = Inventory.load(tmp_path / "data.parquet").change(inventory(folder))
    assert (found is None) if told is None else (found is not None and re.fullmatch(told, found))


def test_without_memory_sizes_of_files_are_compared(folder: Path) -> None:
    """And with either what both know of."""
    large, small = inventory(folder), inventory(folder, 0.0)
    assert large.change(small) is None and small.change(large) is None
    (folder / "images/p03.png").write_bytes((folder / "images/p04.png").read_bytes())
    for then in (large, small):
        for now in (inventory(folder), inventory(folder, 0.0)):
            assert then.change(now) == "p03 has other pixels in the split train"


def test_images_in_folders_of_their_classes(folder: Path) -> None:
    for name, label in (("p00", "cat"), ("p01", "dog"), ("p02", "dog")):
        path = folder / f"train/{label}/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((folder / f"images/{name}.png").read_bytes())
    then, now = (Inventory.of(ImageFolderData(str(folder), size=(32, 32)), ("train", "val")) for _ in range(2))
    assert then.change(now) is None
    paint(folder / "train/dog/p01.png", 3)
    now = Inventory.of(ImageFolderData(str(folder), size=(32, 32)), ("train", "val"))
    assert then.change(now) == "dog/p01.png has other pixels in the split train"
    (folder / "train/dog/p01.png").rename(folder / "train/cat/p01.png")
    now = Inventory.of(ImageFolderData(str(folder), size=(32, 32)), ("train", "val"))
    assert then.change(now) == "dog/p01.png is gone in the split train"


def test_other_scenes_and_stores() -> None:
    scenes = [RiversideData(size=(32, 32), scene_seed=seed) for seed in (0, 0, 1)]
    one, same, other = (Inventory.of(data, ("train",)) for data in scenes)
    assert one.change(same) is None and "has other pixels, and so on (240 images)" in (one.change(other) or "")
    stores = [make_store(seed=seed) for seed in (0, 0, 1)]
    one, same, other = (Inventory.of(scenes[0], ("train",), store) for store in stores)
    assert one.change(same) is None and one.change(other) == "the store holds others"


def test_another_predictor_is_named(folder: Path, tmp_path: Path) -> None:
    """Its areas change with its weights, and no file of the data does."""
    weights, data = tmp_path / "last.ckpt", FolderData(str(folder), size=(32, 32))
    weights.write_bytes(b"one")
    then, same = (Inventory.of(data, ("train",), predictor=weights) for _ in range(2))
    weights.write_bytes(b"two")
    now = Inventory.of(data, ("train",), predictor=weights)
    assert then.change(same) is None and then.change(now) == "the predictor has other weights"


def test_a_resume_refuses_other_data_and_touches_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    main(["train", f"data.root={folder}", "data.batch_size=4", *SMALL, "trainer.max_steps=1", f"hydra.run.dir={run}"])
    kept = content(run)
    main(["train", f"resume={run}"])  # a finished run stays as it is
    assert f"{run}: the run is finished, after 1 steps" in capsys.readouterr().out
    assert content(run) == kept
    moved = folder.rename(tmp_path / "moved")
    pixels = (moved / "images/p01.png").read_bytes()
    paint(moved / "images/p01.png", 7)
    again = ["train", f"resume={run}", f"data.root={moved}", "trainer.max_steps=2"]
    line = ends(capsys, 2, *again)
    assert line.startswith(f"hardmine: error: data: not the data that {run} began with: p01 has other pixels in the ")
    lock = run / "run.lock"
    assert {k: v for k, v in content(run).items() if k != lock} == {k: v for k, v in kept.items() if k != lock}
    (moved / "images/p01.png").write_bytes(pixels)
    main(again)
    assert json.loads((run / "summary.json").read_text())["steps"] == 2
