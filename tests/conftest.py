"""Small things that many tests need; no test reads data from outside its own temporary folder."""

import csv
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from hardmine.cli import config_folder
from hardmine.conversions import ColorTransfer
from hardmine.miner import Miner
from hardmine.records import Recipe, Verdict
from hardmine.scenes import Colors, Scenes
from hardmine.store import ParameterStore

for room in ("scripts/benchmarks", "docs"):  # `quality`, the benchmark and its rivals; `keys`, the reference of them
    sys.path.insert(0, str(Path(__file__).parents[1] / room))

pytest.register_assert_rewrite("conformance")  # its checks are asserts
torch.set_num_threads(1)  # tensors of a few kilobytes: threads would only wait for each other

RIVERSIDE = ["data.size=[32,32]", "data.counts={train: 12, val: 4, target: 8, test: 6}", "data.batch_size=4"]
UNET = ["+model.decoder_channels=[16,8,8,8,8]"]
TINY = [
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
    "trainer.accelerator=cpu",
    "mining.start=0",
    "mining.hardest=1",
    "mining.mined=0.5",  # two rows of four
    "logger=none",
    "report=false",
    "keep=all",  # many go on where an earlier run ended
]


def pytest_sessionstart(session: pytest.Session) -> None:
    """What all tests have in common, in each process that runs some."""
    # what they write need not outlive a power cut, and on some disks it takes a tenth of a second
    os.fsync = lambda fd: None
    # compiled for several seconds in a fresh clone, before any test has a limit of its own
    if not hasattr(session.config.option, "dist") or hasattr(session.config, "workerinput"):
        image, regions = make_images(1)
        recipe = make_recipe(1, make_store())
        for colors in get_args(Colors):
            ColorTransfer(colors)(Scenes(image, regions, 3), recipe)


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., DictConfig]:
    """Compose the training config for a run of seconds in the test's own folder."""

    def build(*overrides: str, run: str = "run") -> DictConfig:
        def given(*groups: str) -> bool:
            return any(item.startswith(tuple(f"{group}=" for group in groups)) for item in overrides)

        data = [*([] if given("data", "experiment") else RIVERSIDE), *([] if given("model", "experiment") else UNET)]
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return compose("train", [*data, *TINY, *overrides, f"run_dir={tmp_path / run}"])

    return build


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """Headless Chromium without a network; afterwards its console must hold no error. `scripts/browser` installs it."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium and chromedriver on the PATH: scripts/browser installs them")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1280,900"):
        options.add_argument(f"--{flag}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    options.add_argument(f"--user-data-dir={tmp_path / 'browser'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with Chrome(options, ChromeService(driver)) as chrome:
        yield chrome
        errors = [entry["message"] for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]
        assert not errors


def same_rows(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables are equal; NaN, the score of an area outside the frame, equals itself."""
    return one.schema.equals(other.schema) and repr(one.to_pylist()) == repr(other.to_pylist())


def is_in(sheet: np.ndarray, picture: np.ndarray) -> bool:
    """Whether a picture (h, w, 3) stands somewhere on a sheet (height, width, 3), pixel by pixel."""
    height, width = picture.shape[:2]
    corners = (sheet[: -height + 1 or None, : -width + 1 or None] == picture[0, 0]).all(-1)
    return any(
        np.array_equal(sheet[top : top + height, left : left + width], picture) for top, left in np.argwhere(corners)
    )


def make_store(
    targets: int = 6, areas: int = 3, seed: int = 0, environment: Mapping[str, Sequence[str]] | None = None
) -> ParameterStore:
    """A store of random but possible colours, all areas present."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.rand(targets, areas + 1, 3, generator=generator) * torch.tensor([70.0, 30.0, 30.0]) + 10
    std = torch.rand(targets, areas + 1, 3, generator=generator) * 9 + 1
    count = torch.full((targets, areas + 1), 100)
    names, ids = [f"area{index}" for index in range(areas)], [f"t{index}" for index in range(targets)]
    return ParameterStore(torch.cat([mean, std], dim=-1), count, names, ids, environment)


def make_images(
    batch: int = 3, areas: int = 3, size: tuple[int, int] = (24, 32), seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth random images and blocky index images with some void."""
    rng = np.random.default_rng(seed)
    small = rng.random((batch, 3, 4, 5), dtype=np.float32)
    image = torch.nn.functional.interpolate(torch.from_numpy(small), size=size, mode="bilinear")
    noise = torch.from_numpy(rng.normal(0, 0.03, image.shape).astype(np.float32))
    blocks = torch.from_numpy(rng.integers(0, areas, (batch, 1, 3, 4)).astype(np.float32))
    regions = torch.nn.functional.interpolate(blocks, size=size, mode="nearest")[:, 0].byte()
    regions[:, :2] = 255
    return ((image * 0.8 + 0.1 + noise).clamp(0, 1) * 255).round().byte(), regions


def make_recipe(n: int, store: ParameterStore, target: int = 0) -> Recipe:
    """Recipes of one stored target for all areas, sources 0 to n - 1."""
    clean = Recipe.clean(torch.arange(n), torch.arange(n), store.regions, len(store.space))
    chosen = torch.ones(n, store.regions, dtype=torch.bool)
    chosen[:, -1] = False
    return store.recipe(clean, torch.full((n, store.regions), target), chosen)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in hardmine's layout: 6 train, 2 val, 3 target, 2 test images of 40 x 32 pixels."""
    root = tmp_path / "photos"
    (root / "images").mkdir(parents=True)
    (root / "regions").mkdir()
    splits = ["train"] * 6 + ["val"] * 2 + ["target"] * 3 + ["test"] * 2
    images, regions = make_images(len(splits), areas=3, size=(32, 40), seed=1)
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "time"])
        for index, split in enumerate(splits):
            writer.writerow([f"p{index:02d}", split, "day" if split in ("train", "val") else "night"])
            Image.fromarray(images[index].permute(1, 2, 0).numpy()).save(root / "images" / f"p{index:02d}.png")
            Image.fromarray(regions[index].numpy()).save(root / "regions" / f"p{index:02d}.png")
    (root / "classes.csv").write_text("index,name\n0,sky\n1,road\n2,tree\n")
    return root


class Known:
    """A `hardmine.search.Process` whose verdicts are known; `done` has the names of what it did, in order."""

    def __init__(self, miner: Miner, score: Callable[[Recipe], torch.Tensor]) -> None:
        self.miner, self.score = miner, score
        self.areas: Callable[[Recipe], torch.Tensor] = lambda rows: torch.ones_like(rows.present)
        self.done: list[str] = []
        self.tries: list[Recipe] = []

    def present(self, rows: Recipe) -> torch.Tensor:
        return self.areas(rows)

    def convert(self, tries: Recipe) -> None:
        self.done.append("convert")

    def admit(self, tries: Recipe) -> tuple[Recipe, Verdict]:
        self.done.append("admit")
        self.tries.append(tries)
        score = self.score(tries)
        none = torch.full((len(tries),), -1)
        return self.miner.admit(tries, score, score[:, None].expand(-1, tries.chosen.shape[1]), none)

    def output(self, candidates: Recipe, verdict: Verdict) -> None:
        self.done.append("output")

    def scores(self, rows: Recipe) -> torch.Tensor:
        return torch.ones(len(rows))
