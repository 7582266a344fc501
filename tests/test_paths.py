"""Whatever path the shell hands over works, or the line says what to do."""

import os
from pathlib import Path

import pytest
from conftest import UNET
from hydra.core.override_parser.overrides_parser import OverridesParser
from test_cli import fails, train_arguments

from hardmine.cli import main
from hardmine.cli.config import values_of
from hardmine.cli.flags import parted
from hardmine.cli.paths import at_home, look_at_output, path_of, with_paths
from hardmine.errors import InputError

STRANGE = (
    *("a=b", "epoch=0-step=4.ckpt", "a(b)", "(a)", "a[b]", "[a]", "a,b", "a b", " a", "a ", "a'b", 'a"b', "a#b", "$a"),
    *("a$b", "größe/bilder", "写真", "a{b}", "{a}", "a:b", "a;b", "a&b", "a*b", "a?b", "a|b", "a%b", "a@b", "~b/~c"),
    *(
        "a\\b",
        "a\\",
        'a\\"b',
        "!a",
        "a!b",
        "+a",
        "-a",
        "a`b",
        "1e5",
        "007",
        "1_000",
        "true",
        "nan",
        "a\tb",
        "null.ckpt",
    ),
)


@pytest.mark.parametrize("path", STRANGE)
@pytest.mark.parametrize("key", ["data.root", "ckpt", "hydra.run.dir", "+callbacks.mine.dirpath"])
def test_hydra_reads_the_path_that_was_given(key: str, path: str) -> None:
    (argument,) = with_paths([f"{key}={path}"], sweep=False)
    (read,) = OverridesParser.create().parse_overrides([argument])
    assert str(read.value()) == path == path_of(f"{key}={path}") == path_of(argument)


@pytest.mark.parametrize("path", [path for path in STRANGE if "," not in path])
def test_paths_of_a_sweep(path: str) -> None:
    (argument,) = with_paths([f"ckpt={path},other.ckpt"], sweep=True)
    (read,) = OverridesParser.create().parse_overrides([argument])
    assert read.is_sweep_override()
    values = [str(values_of([f"ckpt={each}"])["ckpt"]) for each in read.sweep_string_iterator()]
    assert values == [path, "other.ckpt"]


@pytest.mark.parametrize(
    "argument",
    [
        "resume=null",
        "ckpt='a b'",
        'ckpt="a=b"',
        "ckpt=choice(a,b)",
        "seed=0,1",
        "neighbourhood=blend,none",
        "data.size=[32,32]",
        "data.counts={train: 4}",
        "hydra.run.dir=runs/1",
        "~callbacks.pictures",
        "task.lr=${mining.decay}",
    ],
)
def test_what_is_left_to_hydra(argument: str) -> None:
    assert with_paths([argument], sweep=True) == [argument]


def test_a_folder_with_a_comma_is_no_sweep(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    assert with_paths([f"data.root={tmp_path}/a,b"], sweep=True) == [f'data.root="{tmp_path}/a,b"']


def test_what_a_path_refers_to_is_filled_in() -> None:
    assert (
        values_of(with_paths(["hydra.run.dir=out put/${now:%Y}"], sweep=False))["hydra.run.dir"] == "out put/${now:%Y}"
    )


@pytest.mark.parametrize(
    "key", ["out", "run", "resume", "ckpt", "data.root", "store.path", "hydra.run.dir", "predictor"]
)
def test_home(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/some/where")
    assert values_of(with_paths([f"{key}=~/a"], sweep=False)) == {key: "/some/where/a"}
    assert at_home("sqlite:///~/a.db?table=b") == "sqlite:////some/where/a.db?table=b"
    assert at_home("a/~/b") == "a/~/b"


def test_outputs(tmp_path: Path) -> None:
    assert look_at_output("out", f"{tmp_path}/new/er") == tmp_path / "new/er"
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "file/below", "loop", "nowhere/below", "pipe", "x" * 300, "a\0b"):
        with pytest.raises(InputError, match=r"^out: .*: name another folder"):
            look_at_output("out", f"{tmp_path}/{name}")


def test_a_run_in_a_folder_with_signs(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained, gone on with, started from, exported: the names of folders and files change nothing."""
    odd = tmp_path / "runs (a=1, b=[2]) größe"
    root = folder.rename(tmp_path / "my photos, #1")
    run = odd / "run=1"
    main(train_arguments(root, run, "mining.threshold=1.1", "mining.hardest=1", *UNET))
    assert "4 pieces from 4 candidates" in capsys.readouterr().out
    main(["train", f"resume={run}", "trainer.max_steps=2"])
    assert "2 steps in" in capsys.readouterr().out
    main(["export", f"run={run}", f"out={odd / 'hard {x}'}"])
    assert (odd / "hard {x}/metadata.csv").is_file()
    checkpoint = (run / "checkpoints/last.ckpt").rename(run / "checkpoints/epoch=0-step=4.ckpt")
    main(["mine", f"ckpt={checkpoint}", f"out={odd / 'mined'}", "mining.threshold=1.1", "search.depth=0"])
    assert (odd / "mined/metadata.csv").is_file()


def test_what_hydra_cannot_read_says_how_to_quote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(capsys, "train", "model.encoder_name=a=b", f"hydra.run.dir={tmp_path / 'run'}")
    assert "model.encoder_name=a=b: cannot be read" in error and """'model.encoder_name="...\"'""" in error


def test_flags_in_any_order() -> None:
    given = parted(["a=1", "-m", "b=2", "--cfg", "job", "~c", "--config-dir=x", "-cd", "y", "--info", "d=3"])
    assert given.flags == ["-m", "--cfg", "job", "--config-dir=x", "-cd", "y", "--info"]
    assert given.values == ["a=1", "b=2", "~c", "d=3"]
    assert given.sweep and given.shows
    assert not parted(["a=1"]).sweep and not parted(["-m"]).shows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nonsense"], "--nonsense: no such option: use one of --help"),
        (["--experimental-rerun=a.pickle"], "--experimental-rerun: no such option"),
        (["--cfg"], "--cfg: its value is missing: --cfg VALUE"),
        (["--config-dir", "a=b"], "--config-dir: its value is missing"),
    ],
)
def test_bad_flags(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parted(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--cfg", "job", "seed=7", "data.root=x y"],
        ["train", "seed=7", "--cfg", "job", "data.root=x y"],
        ["train", "seed=7", "data.root=x y", "-c", "job"],
        ["--cfg=job", "train", "seed=7", "data.root=x y"],
        ["mine", "seed=7", "--cfg", "job", "data.root=x y"],
    ],
)
def test_the_config_is_shown_wherever_the_flag_stands(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(arguments)
    shown = capsys.readouterr().out
    assert "seed: 7" in shown and "root: x y" in shown and "hardmine.data.FolderData" in shown
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["-h", "train"], ["train", "--help"], ["train", "-h"]])
def test_help_wherever_the_flag_stands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments)
    assert "hardmine train finds" in capsys.readouterr().out
