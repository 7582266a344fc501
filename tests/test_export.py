"""`hardmine export`: each layout holds what the folder holds, read by programs that know nothing of hardmine."""

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import TINY, UNET, make_store
from PIL import Image

from hardmine.cli import main
from hardmine.conversions import ColorTransfer
from hardmine.data.annotations import write_coco
from hardmine.data.export import Export
from hardmine.data.folder import FolderData
from hardmine.data.image_folder import ImageFolderData
from hardmine.data.layouts import ShardsLayout, layout_of
from hardmine.errors import InputError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps on generated scenes, with pieces."""
    path = tmp_path_factory.mktemp("run") / "run"
    sizes = ["data.size=[32,32]", "data.counts={train: 6, val: 2, target: 4, test: 2}", "data.batch_size=4"]
    main(["train", *sizes, *TINY, *UNET, "mining.threshold=1.1", f"hydra.run.dir={path}"])
    return path


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Each layout of the same run, written once."""
    made: dict[str, Path] = {}

    def export(layout: str) -> Path:
        if layout not in made:
            made[layout] = tmp_path_factory.mktemp(layout) / "out"
            main(["export", f"run={run}", f"out={made[layout]}", f"format={layout}"])
        return made[layout]

    return export


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def pixels(file: Any) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image)


def components(row: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if value and name not in ("id", "split", "label")}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.11 with numpy 2
def test_coco_has_the_masks_of_the_folder(exported: Callable[[str], Path]) -> None:
    """By pycocotools and torchvision."""
    from pycocotools.coco import COCO
    from torchvision.datasets import CocoDetection

    folder, coco = exported("folder"), exported("coco")
    table, pieces = rows(folder / "metadata.csv"), rows(folder / "pieces.csv")
    seen = set()
    for split in ("train", "val", "test", "target"):
        read = COCO(coco / f"annotations/instances_{split}.json")
        names = {category["id"]: category["name"] for category in read.loadCats(read.getCatIds())}
        listed = rows_of_classes(folder)
        assert names == {number + 1: name for number, name in listed.items()}
        data = CocoDetection(str(coco / f"images/{split}"), str(coco / f"annotations/instances_{split}.json"))
        for number, (image, found) in zip(data.ids, data, strict=True):
            about = read.loadImgs(number)[0]
            name = Path(about["file_name"]).stem
            assert np.array_equal(np.asarray(image), pixels(folder / f"images/{name}.png"))
            drawn = np.full(image.size[::-1], 255, np.uint8)
            for each in found:
                mask = read.annToMask(each).astype(bool)
                drawn[mask] = each["category_id"] - 1
                assert each["area"] == mask.sum() and each["iscrowd"] == 0
            assert np.array_equal(drawn, pixels(folder / f"regions/{name}.png"))
            assert table[name]["split"] == split and about["environment"] == components(table[name])
            if name in pieces:
                assert {key: str(value) for key, value in about["piece"].items()} == {
                    key: value for key, value in pieces[name].items() if key != "id"
                }
            seen.add(name)
    assert seen == table.keys() and len(pieces) > 0


def rows_of_classes(folder: Path) -> dict[int, str]:
    with (folder / "classes.csv").open(newline="") as file:
        return {int(row["index"]): row["name"] for row in csv.DictReader(file)}


def of_tars(folder: Path) -> dict[str, dict[str, bytes]]:
    """The files of each sample by their endings, by Python's tarfile alone."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as shard:
            for entry in shard:
                key, _, ending = entry.name.partition(".")
                content = shard.extractfile(entry)
                assert content is not None and (entry.mtime, entry.uid, entry.uname) == (0, 0, "")
                found.setdefault(f"{path.stem}/{key}", {})[ending] = content.read()
    return found


def test_shards_have_the_images_of_the_folder(exported: Callable[[str], Path]) -> None:
    folder, shards = exported("folder"), exported("webdataset")
    table, pieces = rows(folder / "metadata.csv"), rows(folder / "pieces.csv")
    samples = of_tars(shards)
    assert {path.name for path in shards.iterdir()} == {
        *(f"{split}-000000.tar" for split in ("train", "val", "test", "target")),
        *("classes.json", "export.json"),
    }
    told = [json.loads(sample["json"]) for sample in samples.values()]
    assert sorted(each["id"] for each in told) == sorted(table)
    for (key, sample), about in zip(samples.items(), told, strict=True):
        name = about["id"]
        assert key.startswith(f"{table[name]['split']}-") and about["environment"] == components(table[name])
        assert np.array_equal(pixels(io.BytesIO(sample["png"])), pixels(folder / f"images/{name}.png"))
        assert np.array_equal(pixels(io.BytesIO(sample["mask.png"])), pixels(folder / f"regions/{name}.png"))
        assert ("piece" in about) == (name in pieces)
    assert json.loads((shards / "classes.json").read_text())["classes"] == [*rows_of_classes(folder).values()]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files open
def test_webdataset_reads_the_shards(exported: Callable[[str], Path]) -> None:
    webdataset = pytest.importorskip("webdataset", reason="pip install webdataset")
    folder, shards = exported("folder"), exported("webdataset")
    data = webdataset.WebDataset(str(shards / "train-000000.tar"), shardshuffle=False).decode("pil")
    count = 0
    for sample in data:
        name = sample["json"]["id"]
        assert np.array_equal(np.asarray(sample["png"]), pixels(folder / f"images/{name}.png"))
        count += 1
    assert count == sum(row["split"] == "train" for row in rows(folder / "metadata.csv").values())


def test_the_same_run_gives_the_same_bytes(run: Path, exported: Callable[[str], Path], tmp_path: Path) -> None:
    main(["export", f"run={run}", f"out={tmp_path / 'again'}", "format=webdataset"])
    for path in exported("webdataset").glob("*.tar"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_shard_that_is_full_is_followed_by_another(folder: Path, tmp_path: Path) -> None:
    data = FolderData(str(folder), (32, 40))
    layout = ShardsLayout(tmp_path, data.split("train"), largest=5000)
    for example in Export(ColorTransfer(), make_store()).originals(data.split("train"), "train"):
        layout.add(example)
    assert layout.finish() == []
    assert len(list(tmp_path.glob("train-*.tar"))) > 1 and len(of_tars(tmp_path)) == 6


def with_boxes(folder: Path) -> FolderData:
    """Boxes of any size, none in the first image."""
    names = [*rows(folder / "metadata.csv")]
    generator = torch.Generator().manual_seed(0)
    boxes, labels = [], []
    for number in range(len(names)):
        corner = torch.rand(number % 3, 2, generator=generator) * torch.tensor([20.0, 15.0])
        boxes.append(torch.cat([corner, corner + 1 + torch.rand(number % 3, 2, generator=generator) * 15], dim=1))
        labels.append(torch.arange(number % 3))
    write_coco(folder / "annotations.json", [(f"{name}.png", 32, 40) for name in names], boxes, labels, ["cat", "dog"])
    return FolderData(str(folder), (32, 40))


def written(data: Any, layout: str, out: Path) -> list[str]:
    """The images as they are, in a layout."""
    export, made = Export(ColorTransfer(), make_store()), layout_of(layout, out, data.training)
    for split in ("train", "val", "test", "target"):
        if data.has(split):
            for example in export.originals(data.split(split), split):
                made.add(example)
    return made.finish()


def test_yolo_has_the_boxes_of_the_folder(folder: Path, tmp_path: Path) -> None:
    import yaml

    data = with_boxes(folder)
    left = written(data, "yolo", tmp_path)
    assert left == ["the index images of the areas: YOLO has no place for them"]
    said = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert said["names"] == {0: "cat", 1: "dog"} and said["val"] == "images/val"
    count = 0
    for split in ("train", "val", "test", "target"):
        images = data.split(split)
        for name, sample in zip(images.ids, map(images.kept, range(len(images))), strict=True):
            assert np.array_equal(
                pixels(tmp_path / said[split] / f"{name}.png"), sample["image"].permute(1, 2, 0).numpy()
            )
            lines = (tmp_path / f"labels/{split}/{name}.txt").read_text().splitlines()
            read = np.array([line.split() for line in lines], float).reshape(-1, 5)
            there = sample["labels"] >= 0
            assert read[:, 0].tolist() == sample["labels"][there].tolist()
            middle, half = read[:, 1:3] * (40, 32), read[:, 3:] * (40, 32) / 2
            assert np.allclose(np.hstack([middle - half, middle + half]), sample["boxes"][there].numpy(), atol=1e-5)
            count += len(lines)
    assert count > 0
    assert {name: row["time"] for name, row in rows(tmp_path / "images.csv").items()} == {
        name: row["time"] for name, row in rows(folder / "metadata.csv").items()
    }


def test_coco_has_the_boxes_of_the_folder(folder: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    data = with_boxes(folder)
    assert written(data, "coco", tmp_path) == ["the index images of the areas: COCO has no place for them"]
    read, images = COCO(tmp_path / "annotations/instances_train.json"), data.split("train")
    for name, sample in zip(images.ids, map(images.kept, range(len(images))), strict=True):
        number = next(key for key, image in read.imgs.items() if image["file_name"] == f"{name}.png")
        found = read.loadAnns(read.getAnnIds(imgIds=[number]))
        there = sample["labels"] >= 0
        assert [each["category_id"] - 1 for each in found] == sample["labels"][there].tolist()
        x, y, width, height = np.array([each["bbox"] for each in found]).reshape(-1, 4).T
        assert np.allclose(np.stack([x, y, x + width, y + height], 1), sample["boxes"][there].numpy())


def of_classes(root: Path) -> ImageFolderData:
    """Two classes; the same names of files in each split."""
    for split in ("train", "val"):
        for number, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            image = np.full((8, 8, 3), 40 * number + 10 * (split == "val"), np.uint8)
            Image.fromarray(image).save(root / split / name / "a.png")
    return ImageFolderData(str(root), size=(8, 8), regions="whole")


def test_classes_are_folders_that_torchvision_reads(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    data, out = of_classes(tmp_path / "photos"), tmp_path / "out"
    written(data, "yolo", out)
    for split in ("train", "val"):
        read, images = ImageFolder(str(out / split)), data.split(split)
        assert read.classes == list(data.classes) and len(read) == len(images) == 2
        found = {label: np.asarray(image) for image, label in read}
        for index in range(2):
            sample = images.kept(index)
            assert np.array_equal(found[int(sample["target"])], sample["image"].permute(1, 2, 0).numpy())


def test_images_of_one_name_in_two_splits_are_both_kept(tmp_path: Path) -> None:
    data, out = of_classes(tmp_path / "photos"), tmp_path / "out"
    written(data, "folder", out)
    table = rows(out / "metadata.csv")
    assert [row["split"] for row in table.values()] == ["train", "train", "val", "val"]
    for name, row in table.items():
        own = pixels(tmp_path / "photos" / row["split"] / row["label"] / "a.png")
        assert np.array_equal(pixels(out / f"images/{name}.png"), own)


def test_labels_without_a_place_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"format=yolo: YOLO has polygons.*take one of folder, coco, webdataset"):
        written(FolderData(str(folder), (32, 40)), "yolo", tmp_path / "out")
    with pytest.raises(InputError, match=r"format=coco: COCO has no place for one class"):
        written(of_classes(tmp_path / "photos"), "coco", tmp_path / "out")
    data = FolderData(str(folder), (32, 40))
    (four := data.split("train")).kept(0)["image"] = torch.zeros(4, 32, 40, dtype=torch.uint8)
    with pytest.raises(InputError, match="format=folder: the images have 4 channels"):
        layout_of("folder", tmp_path / "out", four)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["format=voc"], "format=voc is unknown: take one of folder, coco, yolo, webdataset"),
        (["format=yolo"], "take one of folder, coco, webdataset"),
        (["sources=no"], "sources=no is unknown: take true or false"),
    ],
)
def test_what_is_refused_leaves_nothing(
    given: list[str], message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["export", f"run={run}", f"out={tmp_path / 'out'}", *given])
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_not_written_to(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main(["export", f"run={run}", f"out={tmp_path}", "format=coco"])
    assert "is not empty: name another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_export_that_ends_in_the_middle_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hardmine.data.layouts import CocoLayout

    def stopped(self: CocoLayout) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(CocoLayout, "finish", stopped)
    with pytest.raises(SystemExit, match="130"):
        main(["export", f"run={run}", f"out={tmp_path / 'out'}", "format=coco"])
    assert not list(tmp_path.iterdir())


def test_what_was_left_out_is_told(exported: Callable[[str], Path], run: Path, tmp_path: Path, capsys: Any) -> None:
    main(["export", f"run={run}", f"out={tmp_path / 'out'}", "format=coco", "sources=false"])
    shown = capsys.readouterr().out
    assert "left out: which pixels of a class are one object" in shown and "(coco)" in shown
    kept = json.loads((tmp_path / "out/export.json").read_text())
    assert kept["format"] == "coco" and len(kept["left_out"]) == 1
    assert sorted(path.name for path in (tmp_path / "out/annotations").iterdir()) == ["instances_train.json"]


def network_of(run: Path) -> torch.nn.Module:
    """By segmentation-models-pytorch alone, as somebody would build it who has a state dict."""
    import segmentation_models_pytorch as smp

    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    net = smp.Unet("resnet18", encoder_weights=None, classes=4, decoder_channels=[16, 8, 8, 8, 8])
    net.load_state_dict({name[4:]: value for name, value in saved["state_dict"].items() if name.startswith("net.")})
    network: torch.nn.Module = net.eval()
    return network


def by_hand(run: Path, image: torch.Tensor) -> torch.Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        logits: torch.Tensor = network_of(run)((image - mean[:, None, None]) / std[:, None, None])
    return logits


def test_a_model_is_written_as_a_program_of_pytorch(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.pt2"
    main(["export", "model", f"ckpt={run}/checkpoints/last.ckpt", f"out={path}"])
    assert "logits differ by 0.0e+00 at most" in capsys.readouterr().out
    facts = {"hardmine.json": ""}
    program = torch.export.load(path, extra_files=facts).module()
    for size in ((32, 32), (64, 96)):
        image = torch.rand(1, 3, *size)
        if size == (32, 32) or json.loads(facts["hardmine.json"])["any_size"]:
            assert torch.allclose(program(image), by_hand(run, image), atol=1e-5)
    assert json.loads(facts["hardmine.json"])["classes"] == ["grass", "pole", "asphalt", "river"]
    assert [each.name for each in tmp_path.iterdir()] == ["model.pt2"]


def test_a_judge_is_written_as_onnx(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason="pip install hardmine[onnx]")
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install hardmine[onnx]")
    path = tmp_path / "judge.onnx"
    main(["export", "model", f"ckpt={run}/checkpoints/last.ckpt", f"out={path}", "weights=judge"])
    assert "the judge, a moving average of the model" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    image = torch.rand(2, 3, 32, 32)
    logits = torch.from_numpy(session.run(None, {"image": image.numpy()})[0])
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    judge = saved["callbacks"]["HardMining"]["judge"]
    saved["state_dict"] = judge
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    torch.save(saved, tmp_path / "run/checkpoints/last.ckpt")
    assert torch.allclose(logits, by_hand(tmp_path / "run", image), atol=1e-4)
    assert not torch.allclose(logits, by_hand(run, image), atol=1e-4)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == ["grass", "pole", "asphalt", "river"]


def test_a_file_that_gives_other_outputs_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hardmine.tasks import exported

    monkeypatch.setattr(exported, "reader", lambda path: lambda image: torch.ones(len(image), 4, *image.shape[2:]))
    with pytest.raises(SystemExit, match="1"):
        main(["export", "model", f"ckpt={run}/checkpoints/last.ckpt", f"out={tmp_path / 'model.pt2'}"])
    assert "is not written: its outputs differ from those of the network by up to" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["ckpt=RUN"], "export model: use hardmine export model ckpt=FILE out="),
        (["ckpt=RUN", "out=OUT.pth"], "its ending says what is written: set out=FILE.onnx or out=FILE.pt2"),
        (["ckpt=RUN", "out=OUT.pt2", "weights=best"], "weights=best is unknown: take model or judge"),
        (["ckpt=/nowhere/run/checkpoints/last.ckpt", "out=OUT.pt2"], "is no checkpoint in the folder of a run"),
        (["ckpt=RUN", "out=OUT.onnx"], "ONNX needs onnxscript: pip install 'hardmine[onnx]', or set out=FILE.pt2"),
    ],
)
def test_a_model_that_cannot_be_written_is_told(
    given: list[str],
    message: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from hardmine.tasks import exported

    monkeypatch.setattr(exported, "find_spec", lambda name: None if name == "onnxscript" else name)
    names = {"RUN": str(run / "checkpoints/last.ckpt"), "OUT": str(tmp_path / "out")}
    for short, path in names.items():
        given = [argument.replace(short, path) for argument in given]
    with pytest.raises(SystemExit, match="2"):
        main(["export", "model", *given])
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.pt2", "model.onnx"])
def test_a_program_is_no_checkpoint(
    name: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path := tmp_path / name).write_bytes(b"x")
    for key, given in (("predictor", ["data.regions=predicted"]), ("ckpt", [])):
        with pytest.raises(SystemExit, match="2"):
            main(["train", f"data.root={folder}", f"{key}={path}", *given, *TINY, f"run_dir={tmp_path / key}"])
        said = capsys.readouterr().err
        assert f"{key}: {path}: is a program of" in said and ("may run code" in said) == (name == "model.pt2")
        assert f"set {key} to the checkpoint that it was written from" in said


def opened(line: str, run: Path) -> tuple[list[str], int]:
    """Columns and rows of the table that a line of the documentation opens."""
    library = line.partition(".")[0]
    module = pytest.importorskip(library, reason=f"pip install {library}")
    table = eval(line.replace("RUN_FOLDER", str(run)), {library: module})
    return list(table.columns), int(table.shape[0])


PAGE = (Path(__file__).parents[1] / "docs/howto/export.md").read_text().splitlines()


TABLES = [line.strip() for line in PAGE if line.startswith(("pandas.", "polars.", "duckdb."))]


@pytest.mark.parametrize("line", TABLES)
def test_tables_are_opened_by_the_documented_line(line: str, run: Path) -> None:
    columns, count = opened(line, run)
    path = run / ("ledger" if "ledger" in line else "store.parquet")
    table = pq.read_table(path)
    assert columns == table.column_names and count == table.num_rows > 0


def test_fiftyone_opens_the_export_by_the_documented_lines(exported: Callable[[str], Path]) -> None:
    pytest.importorskip("fiftyone", reason="pip install fiftyone")
    start = PAGE.index("import fiftyone")
    block = PAGE[start : PAGE.index(")", start) + 1]
    made: dict[str, Any] = {}
    exec("\n".join(block).replace("FOLDER", str(exported("coco"))), made)
    listed = json.loads((exported("coco") / "annotations/instances_train.json").read_text())["images"]
    assert len(made["data"]) == len(listed) > 0
