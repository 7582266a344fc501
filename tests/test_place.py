"""Folders that commands write to: what is there already is left as it is, and what is refused leaves nothing."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import RIVERSIDE, TINY, UNET

from hardmine.cli import main
from hardmine.cli.mine import _kept
from hardmine.errors import InputError
from hardmine.outcome import Outcome
from hardmine.runs import RunFolder

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


def test_only_what_hardmine_left_half_written_goes(tmp_path: Path) -> None:
    inside = tmp_path / "checkpoints"
    inside.mkdir()
    (tmp_path / "other").mkdir()
    strange = [tmp_path / ".film.part", inside / ".a.part", tmp_path / "other/.last.ckpt.x.hardmine-part"]
    own = [tmp_path / ".run.json.x.hardmine-part", inside / ".last.ckpt.x.hardmine-part"]
    for path in [*strange, *own]:
        path.touch()
    RunFolder(tmp_path).claim()
    assert all(path.exists() for path in strange) and not any(path.exists() for path in own)


@pytest.mark.parametrize("there", [None, ".note"])
@pytest.mark.parametrize("setting", ["+model.classes=2", "neighbourhood=associated_cell"])
def test_what_is_refused_at_its_first_batch_leaves_a_folder_as_it_was(
    setting: str, there: str | None, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    if there:
        run.mkdir()
        (run / there).touch()
    refused("train", *SMALL, setting, f"hydra.run.dir={run}")
    assert (list(run.iterdir()) == [run / there]) if there else not run.exists()


@pytest.mark.parametrize("where", ["RUN", "RUN/pieces"])
def test_an_export_is_not_written_into_a_run(where: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(run)
    refused("export", f"run={run}", f"out={where.replace('RUN', str(run))}")
    assert f"{run}: already holds a run: set out= to another folder" in capsys.readouterr().err
    assert content(run) == before


@pytest.mark.parametrize(
    ("out", "line"),
    [
        ("", "names no file"),
        (".", "names no file"),
        ("HERE", "a folder and no file"),
        ("HERE/notes.txt", "is no store of hardmine's"),
        ("/proc/x/y.parquet", "cannot be written to"),
    ],
)
def test_a_store_is_written_where_it_can_be_before_it_is_measured(
    out: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    refused("store", "root=/nowhere", f"out={out.replace('HERE', str(tmp_path))}")
    assert line in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "notes"


def test_a_key_is_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    refused("store", "root=a", "root=b", "out=c.parquet")
    assert "store: root is given twice" in capsys.readouterr().err


def test_a_search_goes_on_with_what_it_began_with_alone(tmp_path: Path) -> None:
    said = {"ckpt": "a digest", "mining": "threshold: 0.7"}
    torch.save({"said": said}, tmp_path / "search.pt")
    assert _kept(tmp_path / "search.pt", said)["said"] == said
    for key in said:
        with pytest.raises(InputError, match=f"^{key}: is not what the search"):
            _kept(tmp_path / "search.pt", {**said, key: "other"})
    (tmp_path / "search.pt").write_bytes(b"half")
    with pytest.raises(InputError, match="is damaged"):
        _kept(tmp_path / "search.pt", said)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"strange": 1}'])
def test_a_damaged_outcome_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "outcome.json").write_bytes(content)
    with pytest.raises(InputError, match=r"outcome\.json"):
        Outcome.load(tmp_path)
