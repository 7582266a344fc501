"""`hardmine mine` and `hardmine export`: pieces as a data set that anything can train on (R27, R44)."""

import csv
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, UNET, same_rows
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from hardmine.cli import main
from hardmine.data.annotations import write_coco
from hardmine.data.folder import Folder
from hardmine.memory.ledger import Ledger
from hardmine.store import ParameterStore

ANY = ["data.size=[32,32]", "data.batch_size=4", *TINY]
SMALL = [*ANY, *UNET]
TASKS: dict[str, list[str]] = {
    "masks": UNET,
    "classes": ["task=classification", "model=resnet18", "scoring=confidence"],
    "boxes": ["task=detection", "model=fcos", "scoring=mean_reliability", "data.size=[64,64]"],
}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def add_labels(folder: Path) -> None:
    table = rows(folder / "metadata.csv")
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "label", "time"])
        for index, row in enumerate(table):
            writer.writerow([row["id"], row["split"], ("cat", "dog")[index % 2], row["time"]])


def add_boxes(folder: Path) -> None:
    names = [row["id"] for row in rows(folder / "metadata.csv")]
    boxes = [torch.tensor([[2.0, 3.0, 20.0, 18.0], [22.0, 5.0, 38.0, 30.0]])[: 1 + i % 2] for i in range(len(names))]
    labels = [torch.tensor([0, 1])[: len(box)] for box in boxes]
    write_coco(folder / "annotations.json", [(f"{name}.png", 32, 40) for name in names], boxes, labels, ["cat", "dog"])


@pytest.fixture(params=list(TASKS))
def labelled(request: pytest.FixtureRequest, folder: Path) -> tuple[Path, list[str]]:
    kind: str = request.param
    if kind == "classes":
        add_labels(folder)
    if kind == "boxes":
        add_boxes(folder)
    return folder, [f"data.root={folder}", *ANY, *TASKS[kind]]


def weights_of(settings: list[str], run: Path) -> Path:
    main(["train", *settings, "neighbourhood=none", "trainer.max_steps=1", f"hydra.run.dir={run}"])
    return run / "checkpoints/last.ckpt"


def test_a_search_may_keep_the_hardest_share_alone(folder: Path, tmp_path: Path) -> None:
    settings = [f"data.root={folder}", *SMALL]
    checkpoint = weights_of(settings, tmp_path / "source")
    found = {}
    for share in (1.0, 0.25):
        out = tmp_path / f"mined{share}"
        hard = ["mining.threshold=1.1", f"mining.hardest={share}", "search.depth=0", "search.retries=0"]
        main(["mine", f"ckpt={checkpoint}", f"out={out}", f"data.root={folder}", "search.rows=2", *hard])
        found[share] = json.loads((out / "summary.json").read_text())
    assert found[1.0]["pieces"] == found[1.0]["candidates"] == 6
    assert 0 < found[0.25]["pieces"] < 6 == found[0.25]["candidates"]


def test_what_was_mined_is_a_data_set_to_train_on(
    labelled: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, settings = labelled
    checkpoint, out = weights_of(settings, tmp_path / "source"), tmp_path / "mined"
    search = ["search.depth=1", "search.retries=0", "search.rows=4", "mining.threshold=1.1"]
    main(["mine", f"ckpt={checkpoint}", f"out={out}", f"data.root={folder}", *search])
    shown = capsys.readouterr().out
    assert "12 pieces from 12 candidates (hit rate 100%)" in shown
    table = rows(out / "metadata.csv")
    assert [row["split"] for row in table].count("train") == 6 + 12
    assert len(table) == 13 + 12
    assert list(table[0])[:2] == ["id", "split"]
    pieces = rows(out / "pieces.csv")
    assert [row["piece"] for row in pieces] == [str(number) for number in range(12)]
    assert {row["depth"] for row in pieces} == {"0", "1"}
    assert json.loads((out / "summary.json").read_text())["pieces"] == 12
    assert not (out / "search.pt").exists() and not (out / "data.parquet").exists()
    if (folder / "annotations.json").exists():
        coco = json.loads((out / "annotations.json").read_text())
        assert len(coco["images"]) == len(table)
        assert [category["name"] for category in coco["categories"]] == ["cat", "dog"]
    if "label" in table[0]:
        source = {row["id"]: row["label"] for row in rows(folder / "metadata.csv")}
        label = {row["id"]: row["label"] for row in table}
        assert all(label[row["id"]] == source[row["source"]] for row in pieces)
    printed = next(line for line in shown.splitlines() if line.startswith("train on it: hardmine train "))
    small = [*TINY, "data.batch_size=4", *(UNET if "model=" not in printed else [])]
    main(["train", *shlex.split(printed)[5:], *small, f"hydra.run.dir={tmp_path / 'again'}"])
    assert "6 steps in" in capsys.readouterr().out


def test_exported_images_equal_the_recipes_made_again(folder: Path, tmp_path: Path) -> None:
    """By an independent path: the source file, resized and converted by hand with the recipe of the ledger."""
    from hardmine.conversions import ColorTransfer
    from hardmine.scenes import Scenes

    settings, out = [f"data.root={folder}", *SMALL], tmp_path / "mined"
    checkpoint = weights_of(settings, tmp_path / "source")
    main(
        [
            "mine",
            f"ckpt={checkpoint}",
            f"out={out}",
            f"data.root={folder}",
            "mining.threshold=1.1",
            "search.depth=2",
            "conversion=color_transfer",
        ]
    )
    recipes = Ledger(out / "ledger").pieces()
    reader, source = Folder(folder), Folder(folder).rows("train")
    for place, row in enumerate(rows(out / "pieces.csv")):
        recipe = recipes[place : place + 1]
        assert source[int(recipe.source)].id == row["source"]
        image, regions = reader.read(source[int(recipe.source)], (32, 32))
        made, _ = ColorTransfer()(Scenes(image[None], regions[None], 3), recipe)
        with Image.open(out / "images" / f"{row['id']}.png") as written:
            assert np.array_equal(np.asarray(written), made.image[0].permute(1, 2, 0).numpy())
        with Image.open(out / "regions" / f"{row['id']}.png") as written:
            assert np.array_equal(np.asarray(written), regions.numpy())


def times_of_targets(folder: Path, *times: str) -> None:
    """The three targets of the folder in different lights, and the training images in two."""
    table = rows(folder / "metadata.csv")
    for row, time in zip([row for row in table if row["split"] == "target"], times, strict=True):
        row["time"] = time
    table[0]["time"] = "morning"
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


@pytest.mark.parametrize("depth", [0, 2])
def test_pieces_have_the_environment_they_were_converted_to(depth: int, folder: Path, tmp_path: Path) -> None:
    """Stored parameters alone, and generated ones too."""
    times_of_targets(folder, "dusk", "night", "evening")
    before = {row["id"]: row for row in rows(folder / "metadata.csv")}
    settings, out = [f"data.root={folder}", *SMALL], tmp_path / "mined"
    hard = ["mining.threshold=1.1", f"search.depth={depth}", "search.searches=2"]
    main(["mine", f"ckpt={weights_of(settings, tmp_path / 'source')}", f"out={out}", f"data.root={folder}", *hard])
    table, pieces = rows(out / "metadata.csv"), {row["id"]: row for row in rows(out / "pieces.csv")}
    assert list(table[0]) == ["id", "split", "time", "source.time"]
    generated = 0
    for row in table:
        if row["id"] not in pieces:
            assert (row["time"], row["source.time"]) == (before[row["id"]]["time"], "")
            continue
        piece = pieces[row["id"]]
        assert row["source.time"] == before[piece["source"]]["time"] in ("morning", "day")
        assert row["time"] in ("dusk", "night", "evening")
        generated += piece["targets"] == "generated"
        assert piece["targets"] == "generated" or row["time"] == before[piece["targets"]]["time"]
    assert {row["time"] for row in table if row["id"] in pieces} == {"dusk", "night", "evening"}
    assert (generated > 0) == (depth > 0)
    pictures = sorted(path.name for path in (out / "pictures").glob("*.png"))
    assert pictures == ["dusk.png", "evening.png", "hardest.png", "night.png"]
    loaded = Folder(out)
    assert all(list(row.environment) == ["time"] for row in loaded.all_rows)
    for split in ("val", "test", "target"):
        assert loaded.rows(split) == Folder(folder).rows(split)


def test_what_neither_store_nor_images_tell_is_unknown(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The images tell the time, the store the weather."""
    store = ParameterStore.from_folder(folder).with_(environment={"weather": ["rainy"] * 3})
    store.save(tmp_path / "rain.parquet")
    settings, out = [f"data.root={folder}", *SMALL], tmp_path / "mined"
    search = ["mining.threshold=1.1", "search.depth=0", "store=file", f"store.path={tmp_path / 'rain.parquet'}"]
    main(["mine", f"ckpt={weights_of(settings, tmp_path / 'source')}", f"out={out}", f"data.root={folder}", *search])
    assert "the store does not say the time of its targets: unknown in the metadata.csv" in capsys.readouterr().err
    table = rows(out / "metadata.csv")
    assert {(row["time"], row["weather"], row["source.time"]) for row in table[:6]} == {("unknown", "rainy", "day")}
    assert {(row["time"], row["weather"], row["source.time"]) for row in table[6:]} == {
        ("day", "unknown", ""),
        ("night", "unknown", ""),
    }
    assert {tuple(row.environment) for row in Folder(out).all_rows} == {("time", "weather")}


def test_a_filter_leaves_the_environment_as_it_is(folder: Path, tmp_path: Path) -> None:
    settings, out = [f"data.root={folder}", *SMALL], tmp_path / "mined"
    search = ["mining.threshold=1.1", "search.depth=0", "conversion=smooth"]
    main(["mine", f"ckpt={weights_of(settings, tmp_path / 'source')}", f"out={out}", f"data.root={folder}", *search])
    assert {(row["time"], row["source.time"]) for row in rows(out / "metadata.csv")[:6]} == {("day", "day")}


class Plain(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """What somebody writes who has never heard of hardmine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ids = [row["id"] for row in rows(root / "metadata.csv") if row["split"] == "train"]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        from torchvision.transforms.functional import pil_to_tensor

        with Image.open(self.root / "images" / f"{self.ids[index]}.png") as image:
            pixels = pil_to_tensor(image).float() / 255
        with Image.open(self.root / "regions" / f"{self.ids[index]}.png") as labels:
            return pixels, pil_to_tensor(labels)[0].long()


def test_a_plain_torchvision_script_trains_on_it(folder: Path, tmp_path: Path) -> None:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    settings, out = [f"data.root={folder}", *SMALL], tmp_path / "mined"
    main(["mine", f"ckpt={weights_of(settings, tmp_path / 'source')}", f"out={out}", "mining.threshold=1.1"])
    net = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    optimiser, losses = torch.optim.Adam(net.parameters(), lr=1e-3), []
    for pixels, labels in DataLoader(Plain(out), batch_size=8, shuffle=False, drop_last=True):
        loss = torch.nn.functional.cross_entropy(net(pixels)["out"], labels, ignore_index=255)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert len(losses) >= 3
    assert all(np.isfinite(losses))


def test_a_search_that_was_stopped_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hardmine.search import Search

    settings = [f"data.root={folder}", *SMALL]
    checkpoint = weights_of(settings, tmp_path / "source")
    mine = ["mine", f"ckpt={checkpoint}", "mining.threshold=1.1", "keep_every=1", "search.rows=2"]
    main([*mine, f"out={tmp_path / 'whole'}"])
    step, left = Search.step, [3]

    def killed(self: Search, *arguments: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return step(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Search, "step", killed)
    with pytest.raises(SystemExit, match="130"):
        main([*mine, f"out={tmp_path / 'parts'}"])
    monkeypatch.setattr(Search, "step", step)
    assert not (tmp_path / "parts/metadata.csv").exists()
    image = folder / "images/p02.png"
    pixels = image.read_bytes()
    image.write_bytes((folder / "images/p03.png").read_bytes())
    with pytest.raises(SystemExit, match="2"):
        main([*mine, f"out={tmp_path / 'parts'}"])
    assert "p02 has other pixels in the split train: put it back" in capsys.readouterr().err
    image.write_bytes(pixels)
    main([*mine, f"out={tmp_path / 'parts'}"])
    one, two = (Ledger(tmp_path / name / "ledger").read() for name in ("whole", "parts"))
    assert same_rows(one, two)
    assert (tmp_path / "whole/metadata.csv").read_bytes() == (tmp_path / "parts/metadata.csv").read_bytes()
    sheets = [tmp_path / name / "pictures/hardest.png" for name in ("whole", "parts")]
    assert all(sheet.is_file() for sheet in sheets) and sheets[0].read_bytes() != sheets[1].read_bytes()
    with pytest.raises(SystemExit):
        main([*mine, f"out={tmp_path / 'parts'}"])
    assert "already holds a data set" in capsys.readouterr().err


def test_the_pieces_of_a_training_run_are_exported_with_their_views(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "pieces"
    main(["train", f"data.root={folder}", *SMALL, "mining.threshold=1.1", f"hydra.run.dir={run}"])
    main(["export", f"run={run}", f"out={out}", "sources=false"])
    said = capsys.readouterr().out
    assert "24 pieces" in said and f"train data.root={out} 'data.size=[32,32]'" in said  # the size they were made in
    assert len(rows(out / "metadata.csv")) == 24
    assert len(ParameterStore.load(run / "store.parquet")) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine", "out=x"], "mine: ckpt is missing"),
        (["mine", "ckpt=x"], "mine: out is missing"),
        (["mine", "ckpt=/nowhere.ckpt", "out=OUT"], "/nowhere.ckpt: no such file: set ckpt"),
        (["export", "run=/nowhere", "out=x"], "/nowhere: no such folder: name the folder of a run"),
        (["export", "run=x"], "use hardmine export run="),
        (["store", "run=/nowhere"], "run: /nowhere: no such folder: name the folder of a run"),
        (["store", "run=/"], "run: /store.parquet: no such file: name the folder of a run"),
        (["store", "root=x"], "hardmine store data=NAME data.KEY=VALUE ... out=FILE.parquet"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = ["data.counts={train: 8, val: 2, target: 2, test: 2}"] if "mine" in arguments else []
    given = [item.replace("OUT", str(tmp_path / "out")) for item in arguments]
    with pytest.raises(SystemExit) as caught:
        main([*given, *counts])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("neighbourhood=none", "neighbourhood=none searches nothing"),
        ("mining.candidates=2", "mining.candidates must be 1 where each search tries one at a time, got 2"),
        ("search.depth=-1", "search.depth must be a number of neighbours of neighbours, 0 or more, got -1"),
        ("search.rows=0", "search.rows must be a number of searches side by side, 1 or more, got 0"),
    ],
)
def test_searches_that_cannot_be(
    setting: str, message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = weights_of([f"data.root={folder}", *SMALL], tmp_path / "source"), tmp_path / "mined"
    with pytest.raises(SystemExit) as caught:
        main(["mine", f"ckpt={checkpoint}", f"out={out}", setting])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


WEIGHTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (lambda path: None, "no such file: set ckpt"),
    "no checkpoint": (lambda path: path.write_bytes(b"nothing"), "save the network with torch.save"),
    "a pickle": (lambda path: torch.save(Path("x"), path), "holds more than tensors"),
    "no state dict": (lambda path: torch.save([torch.zeros(1)], path), "holds a list, no state dict"),
    "another network": (lambda path: torch.save({"w": torch.zeros(1)}, path), "does not fit the network"),
    "other classes": (lambda path: torch.save({"classes": ["a", "b"]}, path), "was trained on the classes a, b"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_bad_weights(case: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, message = WEIGHTS[case]
    path = tmp_path / "weights.pt"
    spoil(path)
    with pytest.raises(SystemExit) as caught:
        main(["train", f"data.root={folder}", *SMALL, f"ckpt={path}", f"hydra.run.dir={tmp_path / 'run'}"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "weights.pt" in error


def test_index_images_predicted_by_an_earlier_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A classifier is mined area by area, where a segmentation network says what the areas are."""
    segmenter = weights_of([f"data.root={folder}", *SMALL], tmp_path / "segmenter")
    add_labels(folder)
    for path in (folder / "regions").iterdir():
        path.unlink()
    run = tmp_path / "run"
    settings = [f"data.root={folder}", *ANY, *TASKS["classes"], "data.regions=predicted", "mining.threshold=1.1"]
    main(["train", *settings, f"predictor={segmenter}", f"hydra.run.dir={run}"])
    assert "24 pieces" in capsys.readouterr().out
    assert ParameterStore.load(run / "store.parquet").areas == ("sky", "road", "tree")
    with pytest.raises(SystemExit):
        main(["train", *settings, "predictor=/nowhere.ckpt", f"hydra.run.dir={tmp_path / 'other'}"])
    assert "set predictor=RUN_FOLDER/checkpoints/last.ckpt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["scoring.by_class=true"], "set scoring.by_class=false"),
        (["conversion=affine_object"], "needs data.regions=boxes"),
    ],
)
def test_boxes_whose_classes_are_not_the_areas(
    more: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder's index images show sky, road and tree; its boxes cat and dog."""
    add_boxes(folder)
    settings = [f"data.root={folder}", *ANY, *TASKS["boxes"], *more, f"hydra.run.dir={tmp_path / 'run'}"]
    with pytest.raises(SystemExit):
        main(["train", *settings])
    assert message in capsys.readouterr().err
    main(["train", *settings, "data.regions=boxes", "mining.threshold=1.1", "trainer.max_steps=2"])
    assert "8 pieces" in capsys.readouterr().out


@pytest.mark.parametrize("plain", [False, True], ids=["own checkpoint", "plain state dict"])
def test_warm_start(folder: Path, tmp_path: Path, plain: bool) -> None:
    """Training goes on from the weights it is given."""
    settings = [f"data.root={folder}", *SMALL]
    checkpoint = weights_of(settings, tmp_path / "source")
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    if plain:
        checkpoint = tmp_path / "plain.pt"
        net = {name.removeprefix("net."): value for name, value in state.items() if name.startswith("net.")}
        torch.save(net, checkpoint)
    still = ["trainer.max_steps=1", "task.lr=0", "neighbourhood=none", f"hydra.run.dir={tmp_path / 'warm'}"]
    main(["train", *settings, *still, f"ckpt={checkpoint}"])
    warm = torch.load(tmp_path / "warm/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    learnt = [name for name, value in state.items() if value.is_floating_point() and "running" not in name]
    assert learnt
    for name in learnt:
        assert torch.equal(warm[name], state[name]), name
