"""`hardmine explore`: one image in a light that a person chooses, the recipes that are kept, and the page."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import RIVERSIDE, TINY, UNET, make_images, make_store
from omegaconf import DictConfig
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from test_evaluate import AREAS, TIMES, Bright
from torch import nn

import hardmine
from hardmine.cli import main
from hardmine.cli.build import build_policies
from hardmine.cli.explore import _given
from hardmine.cli.lent import Lender
from hardmine.conversions import ColorTransfer
from hardmine.data import FolderData, RiversideData, upload as uploading
from hardmine.data.upload import Uploads
from hardmine.errors import InputError
from hardmine.explore import kept
from hardmine.explore.explorer import Explorer, Light, Opened
from hardmine.explore.guard import Guard, is_own
from hardmine.explore.serve import listening
from hardmine.explore.shown import found
from hardmine.kernels import measure
from hardmine.neighbourhood import Generate, Neighbourhood, Random, SameCell, Select
from hardmine.scenes import Colors

POLICIES: dict[str, Neighbourhood] = {
    "select": Select(radius=200.0),
    "generate": Generate(radius=10.0),
    "random": Random(),
    "same_cell": SameCell(),
}


def batch(row: int = 0) -> dict[str, torch.Tensor]:
    image, regions = (each[row : row + 1] for each in make_images(batch=3))
    target = (regions > 0).long().masked_fill(regions == 255, 255)
    number = torch.tensor([row])
    return {"image": image, "regions": regions, "target": target, "index": number, "draw": number}


def explorer(
    conversion: ColorTransfer | None = None, store: hardmine.ParameterStore | None = None, individual: bool = False
) -> Explorer:
    conversion = conversion or ColorTransfer(individual=individual)
    if conversion.individual:
        image, regions = make_images(batch=3)
        images = [(str(row), image[row], regions[row], dict[str, str]()) for row in range(3)]
        conversion.compare_with(hardmine.ParameterStore.from_images(images, AREAS, 0, colors=conversion.colors))
    store = make_store(environment=TIMES) if store is None else store
    mining = hardmine.Mining(store, conversion=conversion, areas=AREAS)
    return Explorer(mining, Bright(), POLICIES, batch())


def image_of(found: Explorer, opened: Opened, light: Light) -> torch.Tensor:
    made, _ = found.converted(opened, light)
    return made.converted.image[0]


@pytest.mark.parametrize("individual", [False, True])
@pytest.mark.parametrize("colors", ["lab", "rgb"])
def test_without_strength_an_image_stays_as_it_is(colors: Colors, individual: bool) -> None:
    store = make_store()
    if colors == "rgb":
        image, regions = make_images(batch=3, seed=1)
        store = hardmine.ParameterStore.from_images(
            [(str(row), image[row], regions[row], {}) for row in range(3)], AREAS, 0, colors="rgb"
        )
    looking = explorer(ColorTransfer(colors, min_std=0.1, individual=individual), store)
    opened = looking.open(batch())
    light = looking.of_target(opened, 1)
    assert light.chosen.tolist() == [True, True, True, False]
    before, after = batch()["image"][0].int(), image_of(looking, opened, light.at(0.0)).int()
    assert (before - after).abs().max() <= 1
    half, full = (image_of(looking, opened, light.at(strength)).int() for strength in (0.5, 1.0))
    assert 1 < (half - before).abs().sum() < (full - before).abs().sum()


def test_only_chosen_areas_are_converted_and_the_model_is_asked() -> None:
    looking = explorer()
    opened = looking.open(batch())
    light = looking.of_target(opened, 0)
    for region in (0, 2):
        light = light.converting(region, False)
    made, verdict = looking.converted(opened, light)
    changed = (made.converted.image[0] != batch()["image"][0]).any(0)
    regions = batch()["regions"][0]
    assert changed[regions == 1].any() and not changed[regions != 1].any()
    known = regions != 255
    right = (Bright()(made.converted.image)[0].argmax(0) == (regions > 0)) & known
    assert verdict.score[0] == pytest.approx(float(right.sum() / known.sum()))
    assert verdict.area_score[0, 0] == opened.clean.area_score[0, 0] and looking.model.training


def test_a_number_that_is_set_is_what_comes() -> None:
    looking = explorer()
    opened = looking.open(batch())
    light = looking.unconverted(opened).converting(1, True).moved(1, 0, 40.0).moved(1, 3, 5.0)
    assert light.target.tolist() == [-1] * 4
    image, regions = image_of(looking, opened, light), batch()["regions"]
    found = measure(image[None], regions, 3, "lab")
    assert found.mean[0, 1, 0] == pytest.approx(40, abs=0.5) and found.std[0, 1, 0] == pytest.approx(5, abs=0.5)


def test_a_walk_meets_each_stored_target_once() -> None:
    looking = explorer()
    opened = looking.open(batch())
    light, seen = looking.of_target(opened, 2), [2]
    looking.converted(opened, light)
    while (near := looking.neighbour(opened, light, "select")) is not None:
        light = near
        looking.converted(opened, light)
        seen.append(int(light.target[0]))
        assert len(seen) <= 6
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]
    again = looking.open(batch())
    assert looking.neighbour(again, light, "select") is not None  # another image has seen nothing


def test_neighbours_of_each_kind() -> None:
    looking = explorer()
    opened = looking.open(batch())
    light = looking.of_target(opened, 2).converting(0, False)
    near = looking.neighbour(opened, light, "generate")
    assert near is not None and near.chosen.tolist() == light.chosen.tolist()
    shift = (near.parameter - light.parameter)[1:3][:, [0, 3]].norm(dim=1)
    assert ((shift > 0) & (shift < 10)).all() and (near.parameter[0] == light.parameter[0]).all()
    same = looking.neighbour(opened, light, "same_cell")
    assert same is not None and int(same.target[1]) in (3, 4)  # night, as target 2
    drawn = looking.neighbour(opened, light, "random")
    assert drawn is not None and int(drawn.target[1]) >= 0
    nothing = light.converting(1, False).converting(2, False)
    assert looking.neighbour(opened, nothing, "generate") is None


def test_what_a_policy_lacks_is_told() -> None:
    looking = explorer(store=make_store())
    opened = looking.open(batch())
    with pytest.raises(InputError, match="no environment columns"):
        looking.neighbour(opened, looking.of_target(opened, 0), "same_cell")


def test_every_neighbourhood_is_offered(configured: Callable[..., DictConfig]) -> None:
    policies = build_policies(configured("neighbourhood=select", "neighbourhood.radius=3"))
    assert {*policies} == {
        *("adjacent_cell", "associated_cell", "auto", "blend", "generate", "random", "same_cell", "select")
    }
    assert policies["select"].reach.radius == 3 and policies["generate"].reach.radius == 10  # type: ignore[attr-defined]


class Sure(nn.Module):
    """Says the same of every image: class 1 of two, or one box."""

    def __init__(self, boxes: bool) -> None:
        super().__init__()
        self.boxes = boxes

    def forward(self, image: torch.Tensor) -> Any:
        if not self.boxes:
            return torch.tensor([[0.0, 2.0]]).expand(len(image), -1)
        one = {"boxes": torch.tensor([[2.0, 2.0, 20.0, 20.0]]), "scores": torch.tensor([0.8])}
        return [{**one, "labels": torch.tensor([1])} for _ in image]


@pytest.mark.parametrize("boxes", [False, True])
def test_classes_and_boxes_are_looked_at_too(boxes: bool) -> None:
    whole = {name: value for name, value in batch().items() if name != "target"}
    if boxes:
        whole |= {"boxes": torch.tensor([[[2.0, 2.0, 20.0, 20.0]]]), "labels": torch.tensor([[1]])}
    else:
        whole |= {"target": torch.tensor([1])}
    view = hardmine.View(image="image", label=None if boxes else "target", regions="regions")
    mining = hardmine.Mining(make_store(), conversion=ColorTransfer(), view=view, areas=AREAS)
    looking = Explorer(mining, Sure(boxes), POLICIES, whole)
    opened = looking.open(whole)
    now = found(looking, opened, looking.of_target(opened, 1), lambda row: None, ("cat", "dog"))
    expected = 0.8 if boxes else float(torch.tensor([0.0, 2.0]).softmax(0)[1])
    assert now.score == pytest.approx(expected) and now.clean == pytest.approx(expected)
    assert "predicted:" in now.table and "dog" in now.table


def test_what_is_shown_is_escaped_and_says_what_came() -> None:
    store = make_store(environment=TIMES)
    evil = '<b onload="x">&'
    store = store.with_(areas=(evil, *store.areas[1:]))
    mining = hardmine.Mining(store, conversion=ColorTransfer(), areas=(evil, *AREAS[1:]))
    looking = Explorer(mining, Bright(), POLICIES, batch())
    opened = looking.open(batch())
    light = looking.of_target(opened, 3)
    now = found(looking, opened, light.at(0.5), lambda row: None, ("a", "b", "c"))
    assert evil not in now.table and "&lt;b onload=&quot;x&quot;&gt;&amp;" in now.table and "void" in now.table
    assert now.captions[2].startswith("target t3") and now.captions[3] == "converted to night, 50% of the way"
    assert [picture.split(";")[0] for picture in now.pictures] == [
        f"data:image/{kind}" for kind in ("webp", "png", "webp", "webp", "png")
    ]
    assert f"{now.clean:.1%} as it is, {now.score:.1%} converted" in now.accuracy
    for region in range(3):
        light = light.converting(region, False)
    same = found(looking, opened, light, lambda row: None, ())
    assert same.captions[3] == "nothing is converted" and same.score == same.clean


# Recipes


def test_a_recipe_is_read_back_bit_for_bit_and_is_a_store(tmp_path: Path) -> None:
    looking = explorer(individual=True)
    opened = looking.open(batch())
    light = looking.of_target(opened, 4).moved(1, 0, 33.25).converting(2, False).at(0.7)
    image = image_of(looking, opened, light)
    path = kept.keep(tmp_path / "new", "dark one", looking.store, looking.recipe(opened, light), {"image": "x"})
    assert [each.name for each in path.parent.iterdir()] == ["dark one.parquet"]
    again = kept.read(path, AREAS, looking.store.space)
    assert again.about["image"] == "x" and again.chosen.tolist() == [True, True, False, False]
    start = looking.unconverted(opened)
    assert torch.equal(image_of(looking, opened, start.taking(again.chosen, again.parameter)), image)
    store = hardmine.ParameterStore.load(path)
    assert store.ids == ("dark one",) and store.environment["time"][0] in TIMES["time"]
    other = explorer(store=store, individual=True)
    there = other.open(batch())
    assert torch.equal(image_of(other, there, other.of_target(there, 0)), image)


def test_names_that_no_recipe_can_have(tmp_path: Path) -> None:
    looking = explorer()
    opened = looking.open(batch())
    recipe = looking.recipe(opened, looking.of_target(opened, 0))
    for name in ("", " ", "../x", "a/b", ".hidden", "x" * 200, "a\nb"):
        with pytest.raises(InputError, match=r"name: .* cannot be the name of a file"):
            kept.keep(tmp_path, name, looking.store, recipe, {})
    kept.keep(tmp_path, "one", looking.store, recipe, {})
    with pytest.raises(InputError, match="name: one is kept already"):
        kept.keep(tmp_path, "one", looking.store, recipe, {})
    whole = looking.unconverted(opened).converting(3, True)
    with pytest.raises(InputError, match="a recipe converts an area"):
        kept.keep(tmp_path, "two", looking.store, looking.recipe(opened, whole), {})
    assert kept.names(tmp_path) == ["one"] and kept.free_name(tmp_path, "a/b") == "a_b_01"


def test_what_is_no_recipe(tmp_path: Path) -> None:
    looking = explorer()
    path = tmp_path / "store.parquet"
    make_store().save(path)
    with pytest.raises(InputError, match=r"store\.parquet: is no recipe"):
        kept.read(path, AREAS, looking.store.space)
    path.write_bytes(b"PAR1" + bytes(40))
    with pytest.raises(InputError, match=r"store\.parquet: the Parquet file is damaged"):
        kept.read(path, AREAS, looking.store.space)


# Uploads


def png(pixels: Any) -> bytes:
    from io import BytesIO

    kept = BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(kept, "PNG")
    return kept.getvalue()


def riverside() -> RiversideData:
    return RiversideData((32, 32), {"train": 2, "val": 1, "target": 1, "test": 0})


def test_an_upload_is_as_an_image_of_the_data() -> None:
    data = riverside()
    uploads, sample = Uploads(data), data.split("val")[0]
    assert uploads.needs_index and uploads.takes_index
    image = uploads.image("mine.png", png(sample["image"].permute(1, 2, 0)))
    index = uploads.index("areas.png", png(sample["regions"]))
    made = uploads.sample(image, index)
    assert all(torch.equal(made[name], sample[name]) for name in ("image", "regions", "target"))
    larger = uploads.image("large.png", png(np.zeros((64, 96, 3))))
    assert larger.pixels.shape == (3, 32, 32) and larger.own == (64, 96)
    with pytest.raises(InputError, match=r"large\.png: its index image is missing"):
        uploads.sample(larger, None)
    with pytest.raises(InputError, match=r"areas\.png: 32 x 32 pixels, its image has 96 x 64"):
        uploads.sample(larger, index)


@pytest.mark.parametrize(
    ("index", "content", "message"),
    [
        (False, b"hello", "x.png: this image cannot be read (none of PNG, JPEG"),
        (False, b"", "x.png: this image cannot be read"),
        (False, png(np.zeros((4, 4))), "x.png: a grey image: convert it to 8-bit RGB, or set data.convert=true"),
        (False, png(np.zeros((9, 9, 3)))[:-30], "x.png: this image cannot be read"),
        (False, bytes(2000), "x.png: 0 MB: at most"),
        (False, png(np.zeros((50, 50, 3))), "x.png: 50 x 50 pixels: at most 0 million can be uploaded"),
        (True, png(np.full((4, 4), 9)), "x.png: label 9 is out of range"),
        (True, png(np.zeros((4, 4, 3))), "x.png: an RGB image: an index image has one 8-bit channel"),
    ],
)
def test_a_bad_upload_is_one_line(index: bool, content: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "MOST_BYTES", 1500)
    monkeypatch.setattr(uploading, "MOST_PIXELS", 2000)
    uploads = Uploads(riverside())
    with pytest.raises(InputError) as refused:
        (uploads.index if index else uploads.image)("x.png", content)
    assert (
        str(refused.value).startswith(message) and "\n" not in str(refused.value) and "/tmp" not in str(refused.value)
    )


def folder(root: Path, label: str = "") -> Path:
    image, regions = make_images(batch=2, size=(16, 16))
    for row in range(2):
        for name, pixels in (("images", image[row].permute(1, 2, 0)), ("regions", regions[row])):
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.numpy()).save(root / name / f"i{row}.png")
    (root / "classes.csv").write_text("index,name\n0,a\n1,b\n2,c\n")
    labels = (",label", ",cat", ",dog") if label else ("", "", "")
    (root / "metadata.csv").write_text(f"id,split{labels[0]}\ni0,train{labels[1]}\ni1,target{labels[2]}\n")
    return root


def test_uploads_of_other_data(tmp_path: Path) -> None:
    image = png(np.zeros((16, 16, 3)))
    data = FolderData(str(folder(tmp_path / "a", "label")), (16, 16), regions="whole")
    uploads = Uploads(data)
    assert (uploads.needs_index, uploads.takes_index) == (False, False)
    made = uploads.sample(uploads.image("x.png", image), None, label=1)
    assert int(made["target"]) == 1 and not made["regions"].any()
    tiled = Uploads(FolderData(str(folder(tmp_path / "b")), (8, 8), tiles=True))
    with pytest.raises(InputError, match=r"x\.png: 16 x 16 pixels, with data\.tiles=true an image is a tile of 8 x 8"):
        tiled.image("x.png", image)
    banded = Uploads(FolderData(str(folder(tmp_path / "c")), (8, 8), value_range=(0, 255)))
    with pytest.raises(InputError, match=r"data\.channels or data\.value_range says otherwise"):
        banded.image("x.png", image)


# Who may ask


@pytest.mark.parametrize(
    ("hosts", "origins", "own"),
    [
        (["127.0.0.1:8765"], [], True),
        (["localhost:9000"], ["http://localhost:9000"], True),
        (["[::1]:8765"], ["http://[::1]:8765"], True),
        (["127.0.0.1:8765"], ["http://127.0.0.1:9999"], False),
        (["127.0.0.1:8765"], ["https://127.0.0.1:8765"], False),
        (["127.0.0.1:8765"], ["null"], False),
        (["127.0.0.1:8765"], ["http://evil.example"], False),
        (["evil.example:8765"], ["http://evil.example:8765"], False),
        (["127.0.0.1.evil.example"], [], False),
        (["127.0.0.1@evil.example"], [], False),
        (["127.0.0.1", "evil.example"], [], False),
        (["[::1"], [], False),
        ([], [], False),
    ],
)
def test_who_may_ask(hosts: list[str], origins: list[str], own: bool) -> None:
    assert is_own(hosts, origins) == own


def asked(kind: str, headers: dict[str, str], body: tuple[bytes, ...] = (b"",)) -> tuple[list[Any], list[Any]]:
    """What the application behind a guard of 10 bytes met, and what was answered."""
    met: list[Any] = []
    sent: list[Any] = []
    parts = iter(body)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        met.append(scope["type"])
        for _ in body if kind == "http" else ():
            met.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Any:
        return {"type": "http.request", "body": next(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    asyncio.run(Guard(application, 10)({"type": kind, "headers": named}, receive, send))
    return met, sent


def test_others_are_kept_out() -> None:
    here = {"host": "127.0.0.1:8765"}
    met, sent = asked("http", here)
    names = {name for name, _ in sent[0]["headers"]}
    assert met == ["http", "http.request"] and b"content-security-policy" in names
    for kind, status in (("http", 403), ("websocket", None)):
        met, sent = asked(kind, {**here, "origin": "http://evil.example"})
        assert met == [] and sent[0].get("status") == status
    assert sent == [{"type": "websocket.close", "code": 1008}]
    for length in ("11", "-1", "x"):
        met, sent = asked("http", {**here, "content-length": length})
        assert met == [] and sent[0]["status"] == 413
    met, _ = asked("http", here, (b"12345", b"67890", b"1"))
    assert met[1:] == ["http.request", "http.request", "http.disconnect"]


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"port: {port}: address already in use: set port="), listening(port):
            pass
    with listening(None) as one, listening(None) as another:  # the usual one, and where it is taken another
        assert one.getsockname()[0] == another.getsockname()[0] == "127.0.0.1"
        assert one.getsockname()[1] != another.getsockname()[1]


# The command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With 12 train, 4 val, 8 target and 6 test images, 32 x 32."""
    run = tmp_path_factory.mktemp("explored") / "run"
    main(["train", *RIVERSIDE, *UNET, *TINY, "neighbourhood=none", f"hydra.run.dir={run}"])
    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "explore: ckpt is missing: use hardmine explore RUN_FOLDER"),
        (["nowhere"], "nowhere: no such folder: name the folder of a run"),
        (["."], "checkpoints/last.ckpt: no such file: name the folder of a run that wrote a checkpoint"),
        (["a", "b"], "explore: a b: use hardmine explore RUN_FOLDER"),
        (["-m", "ckpt=a"], "explore: -m: use hardmine explore RUN_FOLDER"),
        ([".", "ckpt=a"], "explore: . and ckpt= both say what is explored: give one of the two"),
        (["ckpt=a.pt"], "out: a.pt stands in no run folder: set out=FOLDER, in which recipes are kept"),
        (["ckpt=a.pt", "out=o", "port=0"], "port must be a port from 1 to 65535, got 0"),
        (["ckpt=a.pt", "out=o", "prot=1"], "'prot': no such config key"),
        (["ckpt=a.pt", "out=o"], "a.pt: no such file"),
    ],
)
def test_bad_arguments(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    pytest.importorskip("nicegui", reason="nicegui is not installed: pip install 'hardmine[explore]'")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["explore", *arguments])
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and len(lines) == 1 and message in lines[0]
    assert not [*tmp_path.iterdir()]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("hardmine.cli.explore.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        main(["explore", "x"])
    assert stopped.value.code == 2 and capsys.readouterr().err == (
        "hardmine: error: explore: the package nicegui is missing: pip install 'hardmine[explore]'\n"
    )


def test_a_run_lends_its_settings(run: Path) -> None:
    given = _given([str(run), "data.batch_size=3", "port=9000"])
    lender = Lender(given, run / "checkpoints/last.ckpt")
    assert lender.folder is not None and lender.folder.path == run
    assert lender.arguments == ["port=9000", f"ckpt={run}/checkpoints/last.ckpt"]


# The page, in a browser


@pytest.fixture
def served(run: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process of its own, and where its page is."""
    if find_spec("nicegui") is None:
        pytest.skip("nicegui is not installed: pip install 'hardmine[explore]'")
    code = "from hardmine.cli import main; main()"
    arguments = ["explore", str(run), "open=false", "trainer.accelerator=cpu"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment, cwd=tmp_path,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/\S+", line)
        if address is None:
            process.kill()
            pytest.fail(f"{line}{process.stderr.read()}")
        yield process, address[0]
        process.kill()  # where a test has not ended it


def test_a_person_explores_a_run(
    served: tuple[subprocess.Popen[str], str], browser: Chrome, run: Path, tmp_path: Path
) -> None:
    process, address = served
    wait = WebDriverWait(browser, 180)  # of a machine that is busy
    browser.set_window_size(1280, 2400)
    browser.get(address)

    def text(part: str) -> str:
        return browser.find_element(By.CSS_SELECTOR, part).text

    def until(said: Callable[[], bool], doing: Callable[[], Any] | None = None) -> None:
        if doing is not None:
            doing()
        wait.until(lambda _: said())

    def press(title: str) -> None:
        browser.find_element(By.XPATH, f"//button[.//span[normalize-space()='{title}']]").click()

    def picture() -> str | None:
        """That of the converted image."""
        return browser.find_elements(By.CSS_SELECTOR, "figure img")[3].get_attribute("src")

    def other(doing: Callable[[], Any]) -> None:
        """Another image comes of it, once all is done that was asked for before."""
        until(lambda: browser.find_element(By.CSS_SELECTOR, ".results").get_attribute("aria-busy") == "false")
        before = picture()
        until(lambda: picture() != before, doing)

    until(lambda: "converted" in text(".accuracy") if browser.find_elements(By.CSS_SELECTOR, ".accuracy") else False)
    assert "val val_0000 is open" in text(".status")
    assert all(
        (picture.get_attribute("src") or "").startswith("data:")
        for picture in browser.find_elements(By.CSS_SELECTOR, "img")
    )
    until(lambda: "val_0001" in text(".status"), lambda: press("Next image"))
    # an area, and its light
    boxes = browser.find_elements(By.CSS_SELECTOR, "[role=checkbox]")
    assert boxes[-1].accessible_name == "whole image"
    other(boxes[0].click)
    other(boxes[0].click)
    slider = browser.find_element(By.CSS_SELECTOR, "input[aria-label^='mean of lightness']")
    accuracies = text(".accuracies")
    other(lambda: slider.send_keys(Keys.HOME))
    assert text(".accuracies") != accuracies and "(0 to 100): 0.0" in text(".controls")
    # the neighbours of a policy, and back
    until(lambda: "blend: a neighbour" in text(".status"), lambda: press("Next neighbour"))
    until(lambda: text(".status") == "back", lambda: press("Back"))
    # a recipe
    until(lambda: "kept: " in text(".status"), lambda: press("Keep the recipe"))
    recipe = run / "recipes/val_val_0001_01.parquet"
    assert hardmine.ParameterStore.load(recipe).parameters[0, 0, 0] == 0
    # uploads: a bad one, then a good one
    browser.find_element(By.XPATH, "//*[normalize-space(text())='An image of your own']").click()
    scene = riverside().split("val")[0]
    files = {"no.png": b"no image", "own.png": png(scene["image"].permute(1, 2, 0)), "areas.png": png(scene["regions"])}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    def hand(title: str, name: str) -> None:
        found = browser.find_element(By.CSS_SELECTOR, f"[data-upload='{title}'] input[type=file]")
        found.send_keys(str(tmp_path / name))

    until(
        lambda: "no.png: this image cannot be read" in text(".status.bad"),
        lambda: hand("Upload an image", "no.png"),
    )
    until(
        lambda: "own.png: upload its index image now" in text(".status"),
        lambda: hand("Upload an image", "own.png"),
    )
    until(lambda: "own is open" in text(".status"), lambda: hand("Upload its index image", "areas.png"))
    # everything came from here, no control is without a name, and a phone shows it all
    hosts = browser.execute_script(
        "return [...new Set(performance.getEntriesByType('resource').map(each => new URL(each.name).origin))]"
    )
    assert hosts == ["/".join(address.split("/")[:3])]
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('button, input:not([type=file], .hidden), [role=checkbox]')]"
        ".filter(each =>"
        " !(each.ariaLabel || each.labels?.length || each.textContent.trim() || each.closest('label')))"
        ".map(each => each.outerHTML)"
    )
    assert unnamed == []
    browser.set_window_size(500, 900)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    browser.get("about:blank")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0 and not err
    assert out == f"explore: ended: 1 recipes kept in {run / 'recipes'}\n"
