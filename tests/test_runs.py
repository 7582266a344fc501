"""A run folder is read back from the config that it froze: resume, export and mine stand on it."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, UNET
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from hardmine import __version__
from hardmine.cli import config_folder, main
from hardmine.cli.resume import prepared
from hardmine.errors import InputError
from hardmine.machine import processor
from hardmine.runs import RunFolder

Configured = Callable[..., DictConfig]
SMALL = ["data.size=[32,32]", "data.batch_size=4", *TINY, *UNET, "trainer.max_steps=1", "callbacks.pictures.every=99"]


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    """A run of one step on the folder, with today's Th1."""
    path = tmp_path / "run"
    main(["train", f"data.root={folder}", *SMALL, f"hydra.run.dir={path}"])
    return path


@pytest.fixture
def frozen(configured: Configured, tmp_path: Path) -> Callable[..., Path]:
    """The folder of a run that froze a config and made no step."""

    def build(*overrides: str) -> Path:
        path = tmp_path / "frozen"
        (path / "checkpoints").mkdir(parents=True)
        torch.save({}, path / "checkpoints/last.ckpt")
        RunFolder(path).begin(configured(*overrides))
        return path

    return build


@pytest.fixture
def mined(monkeypatch: pytest.MonkeyPatch) -> Callable[..., DictConfig]:
    """The config that `hardmine mine` would search with."""

    def compose(*arguments: str) -> DictConfig:
        found: list[DictConfig] = []
        monkeypatch.setattr("hardmine.cli.mine.mine", found.append)
        main(["mine", *arguments])
        (config,) = found
        return config

    return compose


def other_defaults(monkeypatch: pytest.MonkeyPatch, folder: Path, file: str, old: str, new: str) -> None:
    """From now on the program's own configs say something else."""
    shutil.copytree(config_folder(), folder)
    text = (folder / file).read_text()
    assert text.count(old) == 1
    (folder / file).write_text(text.replace(old, new))
    monkeypatch.setattr("hardmine.cli.config.config_folder", lambda: folder)


def summary(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def edit(run: Path, key: str, value: object) -> None:
    config = OmegaConf.load(run / ".hydra/config.yaml")
    OmegaConf.update(config, key, value)
    OmegaConf.save(config, run / ".hydra/config.yaml")


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    error = capsys.readouterr().err
    assert caught.value.code == 2, error
    assert "Traceback" not in error
    return error


def test_a_run_says_what_made_it(run: Path) -> None:
    told, folder = json.loads((run / "run.json").read_text()), RunFolder(run)
    assert (told["format"], told["hardmine"]) == (1, __version__) and told["starts"] == folder.starts
    (start,) = folder.starts
    assert start["torch"] == torch.__version__ and start["device"] == processor() and start["processes"] == 1
    assert datetime.fromisoformat(start["began"]).tzinfo is not None
    assert folder.checkpoint.is_file() and folder.store.is_file() and folder.ledger.is_dir()
    assert folder.config().run_dir == str(run)
    assert folder.config().mining.threshold == "auto"


def test_a_resumed_run_keeps_its_settings_whatever_the_defaults_are_now(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a Th1 of 0 nothing would be hard any more."""
    assert summary(run)["pieces"] == 4
    other_defaults(monkeypatch, tmp_path / "conf", "common.yaml", "threshold: auto ", "threshold: 0.0 ")
    main(["train", f"resume={run}", "trainer.max_steps=2"])
    assert (summary(run)["steps"], summary(run)["candidates"], summary(run)["pieces"]) == (2, 8, 8)
    main(["train", f"resume={run}", "trainer.max_steps=3", "mining.threshold=0"])  # single keys may be given anew
    assert (summary(run)["candidates"], summary(run)["pieces"]) == (12, 8)


def test_what_the_frozen_file_says_holds(run: Path) -> None:
    edit(run, "trainer.max_steps", 2)
    main(["train", f"resume={run}"])
    assert summary(run)["steps"] == 2
    assert len(RunFolder(run).starts) == 2  # what it was gone on with is kept beside what it was begun on


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_folder_that_was_moved_is_gone_on_with_where_it_is(run: Path, tmp_path: Path) -> None:
    moved = run.rename(tmp_path / "moved")
    main(["train", f"resume={moved}", "trainer.max_steps=2"])
    assert summary(moved)["steps"] == 2
    assert not run.exists()


def test_the_folder_of_a_run_has_one_name(frozen: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """`run_dir=` alone would leave Hydra's files in another folder, which would look like a run."""
    assert prepared(["run_dir=here", "seed=1"]) == (["hydra.run.dir=here", "seed=1"], None)
    assert prepared(["-m", "run_dir=here"])[0] == ["-m", "run_dir=here"]
    run = frozen()
    for key in ("run_dir", "hydra.run.dir"):
        assert "a resumed run stays in its folder" in fails(capsys, "train", f"resume={run}", f"{key}={run}2")
    assert prepared([f"resume={run}", f"hydra.run.dir={run}"])[1] == run / ".hydra/config.yaml"


def test_a_resumed_run_may_find_its_data_elsewhere(run: Path, folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "moved")
    main(["train", f"resume={run}", f"data.root={moved}", "trainer.max_steps=2"])
    assert summary(run)["steps"] == 2


def test_a_resume_that_is_refused_leaves_the_frozen_config(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / ".hydra/config.yaml").read_bytes()
    assert "mined must be a share" in fails(capsys, "train", f"resume={run}", "trainer.max_steps=2", "mining.mined=2")
    assert (run / ".hydra/config.yaml").read_bytes() == before


@pytest.mark.parametrize("choice", ["neighbourhood=random", "data=riverside", "+model=fcos", "first=whole_image"])
def test_another_choice_of_a_group_is_no_resume(
    choice: str, frozen: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = frozen()
    before = (run / ".hydra/config.yaml").read_bytes()
    group = choice.lstrip("+").split("=")[0]
    assert f"{choice}: a resumed run keeps its {group}: " in fails(capsys, "train", f"resume={run}", choice)
    assert (run / ".hydra/config.yaml").read_bytes() == before


def test_only_a_run_with_a_checkpoint_is_gone_on_with(
    frozen: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = frozen()
    (run / "checkpoints/last.ckpt").unlink()
    assert "checkpoints/last.ckpt: no such file: resume takes" in fails(capsys, "train", f"resume={run}")


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, r": no such folder: name the folder of a run"),
    "not of a run": (lambda run: shutil.rmtree(run / ".hydra"), r"\.hydra/config\.yaml: no such file: name the folder"),
    "no run.json": (lambda run: (run / "run.json").unlink(), r"run\.json: no such file: .* before 0\.2"),
    "another format": (
        lambda run: (run / "run.json").write_text('{"format": 2, "hardmine": "9.0"}'),
        r"run\.json: format 2 of hardmine 9\.0; this version reads format 1",
    ),
    "no JSON": (lambda run: (run / "run.json").write_text("{"), r"run\.json: cannot be read"),
    "a list": (lambda run: (run / "run.json").write_text("[1]"), r"run\.json: cannot be read"),
    "half of it": (lambda run: (run / "run.json").write_text('{"format": 1}'), r"run\.json: cannot be read"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_folders_that_are_no_run_of_this_version(case: str, frozen: Callable[..., Path]) -> None:
    spoil, message = SPOILT[case]
    run = frozen()
    spoil(run)
    with pytest.raises(InputError, match=message):
        RunFolder(run).config()


def test_every_command_refuses_another_format(
    frozen: Callable[..., Path], tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = frozen(), tmp_path / "out"
    (run / "run.json").write_text('{"format": 2, "hardmine": "9.0"}')
    checkpoint = run / "checkpoints/last.ckpt"
    for arguments in (
        ["train", f"resume={run}"],
        ["export", f"run={run}", f"out={out}"],
        ["mine", f"ckpt={checkpoint}", f"out={out}"],
        ["train", f"data.root={folder}", "data.regions=predicted", f"predictor={checkpoint}", f"hydra.run.dir={out}"],
    ):
        assert "format 2 of hardmine 9.0" in fails(capsys, *arguments), arguments
        assert not out.exists()


def test_export_makes_the_pieces_with_the_runs_own_settings(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other_defaults(monkeypatch, tmp_path / "conf", "data/folder.yaml", "size: [192, 256] ", "size: [64, 64] ")
    main(["export", f"run={run}", f"out={tmp_path / 'pieces'}", "sources=false"])
    assert "4 pieces" in capsys.readouterr().out
    pictures = sorted((tmp_path / "pieces/images").iterdir())
    assert len(pictures) == 4
    with Image.open(pictures[0]) as image:
        assert image.size == (32, 32)


# What `hardmine mine` takes from the run that the checkpoint stands in


def test_mine_takes_what_the_run_says_of_its_data_and_model(
    frozen: Callable[..., Path], mined: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = frozen("conversion=sharpen", "scoring=worst_class", "store.min_pixels=7", "environment.order={time:[day]}")
    other_defaults(monkeypatch, tmp_path / "conf", "conversion/sharpen.yaml", "highest: 4.0 ", "highest: 2.0 ")
    config = mined(f"ckpt={run / 'checkpoints/last.ckpt'}", f"out={tmp_path / 'out'}")
    kept = RunFolder(run).config()
    for block in ("data", "model", "task", "store", "conversion", "scoring", "environment"):
        assert config[block] == kept[block], block
    assert config.model.decoder_channels == [16, 8, 8, 8, 8] and config.conversion.highest == 4
    assert config.data.seed == kept.data.seed == 0  # which refers to another key


def test_mine_searches_in_its_own_way(
    frozen: Callable[..., Path], mined: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """How the run searched says nothing of a frozen model."""
    run = frozen("neighbourhood=random", "first=whole_image", "gate=teacher", "mining.threshold=0.1", "seed=5")
    config = mined(f"ckpt={run / 'checkpoints/last.ckpt'}", f"out={tmp_path / 'out'}")
    assert config.neighbourhood._target_ == "hardmine.neighbourhood.Blend"
    assert config.first.areas == "all" and not config.gate
    assert (config.mining.threshold, config.mining.hardest, config.seed) == (0.7, None, 0)


def test_what_is_given_anew_holds(
    frozen: Callable[..., Path], mined: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """A choice of a group, or single keys of what the run says."""
    run = frozen("conversion=sharpen", "scoring=worst_class", "data.flip=false")
    at = [f"ckpt={run / 'checkpoints/last.ckpt'}", f"out={tmp_path / 'out'}"]
    config = mined(*at, "conversion=smooth", "data.size=[64,48]", "store.missing=whole", "task.lr=1")
    kept = RunFolder(run).config()
    assert config.conversion._target_ == "hardmine.conversions.Smooth"
    assert config.scoring == kept.scoring
    assert list(config.data.size) == [64, 48]
    assert config.data.flip is False and config.data.counts == kept.data.counts
    assert (config.store.missing, config.store.points) == ("whole", kept.store.points)
    assert (config.task.lr, config.task.weight_decay) == (1, kept.task.weight_decay)


def test_an_experiment_holds_and_the_run_says_the_rest(
    frozen: Callable[..., Path], mined: Callable[..., DictConfig], tmp_path: Path
) -> None:
    run = frozen("conversion=sharpen")
    at = [f"ckpt={run / 'checkpoints/last.ckpt'}", f"out={tmp_path / 'out'}"]
    config = mined(*at, "experiment=camvid_dusk", "data.root=x")
    assert config.data._target_ == "hardmine.data.FolderData"
    assert config.conversion._target_ == "hardmine.conversions.Sharpen"
    config = mined(*at, "experiment=first_embodiment")
    assert config.conversion._target_ == "hardmine.conversions.ColorTransfer"
    assert config.data == RunFolder(run).config().data and config.search.easy == "first"


def test_a_checkpoint_that_stands_alone_takes_the_defaults(
    mined: Callable[..., DictConfig], tmp_path: Path, frozen: Callable[..., Path]
) -> None:
    run = frozen("conversion=sharpen")
    alone = shutil.copy(run / "checkpoints/last.ckpt", tmp_path / "weights.ckpt")
    config = mined(f"ckpt={alone}", f"out={tmp_path / 'out'}")
    assert config.conversion._target_ == "hardmine.conversions.Chain"
    assert config.data.size == [96, 128]


def test_a_key_of_the_runs_own_choice_may_be_given_anew(
    frozen: Callable[..., Path], mined: Callable[..., DictConfig], folder: Path, tmp_path: Path
) -> None:
    run = frozen("data=folder", f"data.root={folder}", "model=fcos", "task=detection")
    at = [f"ckpt={run / 'checkpoints/last.ckpt'}", f"out={tmp_path / 'out'}"]
    config = mined(*at, "data.regions=whole", "model.detections=7")
    assert config.data.root == str(folder)
    assert (config.data.regions, config.model.detections) == ("whole", 7)


def test_a_root_alone_means_a_folder_here_too(
    frozen: Callable[..., Path], mined: Callable[..., DictConfig], folder: Path, tmp_path: Path
) -> None:
    """What was trained on generated scenes may be searched on photographs of the same classes."""
    run = frozen("data.batch_size=5")
    at = [f"ckpt={run / 'checkpoints/last.ckpt'}", f"out={tmp_path / 'out'}"]
    config = mined(*at, f"data.root={folder}")
    assert config.data._target_ == "hardmine.data.FolderData"


def labelled(folder: Path, pixels: int) -> None:
    """Leave so many labelled pixels in the corner of index images, a column of each area."""
    for path in (folder / "regions").iterdir():
        regions = np.full((32, 40), 255, np.uint8)
        regions[:pixels, :3] = np.arange(3)
        Image.fromarray(regions).save(path)


def test_areas_of_a_few_pixels_are_converted(folder: Path, tmp_path: Path) -> None:
    labelled(folder, 4)
    few = ["data.size=[32,40]", "store.min_pixels=1", "mining.start=0", "trainer.max_steps=2"]
    main(["train", f"data.root={folder}", *SMALL, *few, f"hydra.run.dir={tmp_path / 'few'}"])
    assert json.loads((tmp_path / "few/summary.json").read_text())["candidates"] == 8


def test_images_without_a_labelled_pixel_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled(folder, 0)
    with pytest.raises(SystemExit, match="2"):
        main(["train", f"data.root={folder}", *SMALL, f"hydra.run.dir={tmp_path / 'none'}"])
    assert "lies in an area" in capsys.readouterr().err
