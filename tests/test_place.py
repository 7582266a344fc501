"""Folders that commands write to: what is there already is left as it is, and what is refused leaves nothing."""

import shutil
from pathlib import Path

import pytest
from conftest import RIVERSIDE, TINY, UNET

from hardmine.cli import main

SMALL = [*RIVERSIDE, *UNET, *TINY, "trainer.max_steps=1", "callbacks.pictures.every=99"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    main(["train", *SMALL, "mining.threshold=1.1", f"hydra.run.dir={run}"])
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """The folder of a run, to go wrong with."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", *SMALL, "hydra.run.dir=RUN"],
        ["train", "-m", *SMALL, "hydra.sweep.dir=RUN", "seed=0,1"],
        ["mine", "ckpt=RUN/checkpoints/last.ckpt", "out=RUN"],
        ["mine", "ckpt=RUN/checkpoints/last.ckpt", "out=OTHER", "hydra.run.dir=RUN"],
        ["evaluate", "ckpt=RUN/checkpoints/last.ckpt", "out=RUN"],
        ["evaluate", "ckpt=RUN/checkpoints/last.ckpt", "out=OTHER", "hydra.run.dir=RUN"],
    ],
    ids=" ".join,
)
def test_a_run_is_not_written_over(
    arguments: list[str], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(run)
    refused(*(one.replace("RUN", str(run)).replace("OTHER", str(tmp_path / "other")) for one in arguments))
    assert "a run" in capsys.readouterr().err
    assert content(run) == before and not (tmp_path / "other").exists()


@pytest.mark.parametrize("file", ["sweep.json", "evaluation.json", "search.pt", "metadata.csv"])
def test_a_run_does_not_begin_where_something_else_is(file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text("{}")
    refused("train", *SMALL, f"hydra.run.dir={tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == [file]
