"""Processes as torchrun and srun start them, and what a run does when it is told to end."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RIVERSIDE, TINY, UNET
from omegaconf import DictConfig, OmegaConf

from hardmine.callbacks.checkpoint import before, is_whole
from hardmine.cli import launch as module, main
from hardmine.cli.launch import Launch, distributed, launched
from hardmine.cli.train import train
from hardmine.errors import InputError
from hardmine.memory.ledger import Ledger
from hardmine.runs import RunFolder
from hardmine.tasks.base import Task

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
SRUN = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_JOB_NAME": "night"}
Configured = Callable[..., DictConfig]


def settings(**changes: Any) -> Any:
    return OmegaConf.create({"devices": 1, "num_nodes": 1, "strategy": "auto", **changes})


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, None),
        (TORCHRUN, Launch("torchrun", 2, 2)),
        ({**TORCHRUN, "WORLD_SIZE": "2"}, Launch("torchrun", 2, 1)),
        (SRUN, Launch("srun", 2, 2)),
        ({**SRUN, "SLURM_JOB_NAME": "interactive"}, None),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, None),  # the script of sbatch itself, outside srun
    ],
)
def test_what_the_launcher_says(environ: dict[str, str], wanted: Launch | None) -> None:
    assert launched(environ) == wanted


@pytest.mark.parametrize("given", [{}, {"devices": 2}, {"devices": [0, 1], "num_nodes": 2}, {"devices": "2"}])
def test_devices_and_nodes_are_the_launchers(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "launched", lambda: Launch("torchrun", 2, 2))
    found = distributed(settings(**given), 30)
    assert (found["devices"], found["num_nodes"]) == (2, 2)
    assert found["strategy"]._timeout.total_seconds() == 30


@pytest.mark.parametrize(
    ("launch", "given", "message"),
    [
        (None, {"devices": 2}, r"torchrun --nproc_per_node=2 -m hardmine train \.\.\., or with srun"),
        (None, {"num_nodes": 3}, "torchrun --nnodes=3 --nproc_per_node=1 -m hardmine"),
        (None, {"devices": "0,1"}, "nproc_per_node=2"),
        (Launch("torchrun", 2, 1), {"devices": 4}, "trainer.devices=4, and torchrun has started 2"),
        (Launch("srun", 2, 2), {"num_nodes": 3}, "trainer.num_nodes=3, and srun has started 2"),
        (None, {"strategy": "ddp_fork"}, "trainer.strategy=ddp_fork cannot keep a search: take one of auto, ddp"),
        (None, {"strategy": "ddp_spawn"}, "cannot keep a search"),
        (None, {"strategy": "fsdp"}, "cannot keep a search"),
    ],
)
def test_what_cannot_be_started_is_told(
    launch: Launch | None, given: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "launched", lambda: launch)
    with pytest.raises(InputError, match=message):
        distributed(settings(**given), 600)


# Run folders


def test_a_run_folder_is_one_processs(tmp_path: Path) -> None:
    """A lock that ends with the process that holds it, however it ends."""
    ours, theirs = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        RunFolder(tmp_path / "run").claim()
        os.write(ours[1], b"x")
        os.read(theirs[0], 1)
        os._exit(0)
    os.read(ours[0], 1)
    with pytest.raises(InputError, match=rf"process {child} on .* is at work in this folder"):
        RunFolder(tmp_path / "run").claim()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    RunFolder(tmp_path / "run").claim()
    RunFolder(tmp_path / "run").claim()  # its own
    assert RunFolder(tmp_path / "run").claimed and not RunFolder(tmp_path / "other").claimed


def arguments(folder: Path, *more: str) -> list[str]:
    return ["train", *RIVERSIDE, *TINY, *UNET, "mining.threshold=1.1", f"hydra.run.dir={folder}", *more]


def test_a_used_folder_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    main(arguments(run))
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit) as ended:
        main(arguments(run, "seed=5"))
    assert ended.value.code == 2 and f"holds a run already: go on with it by resume={run}" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == kept


def test_resume_auto_begins_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments(tmp_path / "whole"))
    for steps in (3, 6):  # the same command; the second finds its run, whose settings hold
        main(arguments(tmp_path / "auto", f"trainer.max_steps={steps}", "resume=auto"))
        if steps == 3:
            frozen = tmp_path / "auto/.hydra/config.yaml"
            frozen.write_text(frozen.read_text().replace("max_steps: 3", "max_steps: 6"))
    weights = [torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("whole", "auto")]
    assert weights[0]["global_step"] == weights[1]["global_step"] == 6
    for name, value in weights[0]["state_dict"].items():
        assert torch.equal(value, weights[1]["state_dict"][name])
    with pytest.raises(SystemExit):
        main(["train", "resume=auto"])
    assert "resume=auto: name the folder of the run as well: hydra.run.dir=FOLDER" in capsys.readouterr().err


def damaged(path: Path, how: str) -> None:
    whole = path.read_bytes()
    middle = len(whole) // 2
    kinds = {
        "truncated": whole[:middle],
        "empty": b"",
        "a bit": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "another file": b"not a checkpoint" * 100,
    }
    path.write_bytes(kinds[how])


@pytest.mark.parametrize("how", ["truncated", "empty", "a bit", "another file"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    how: str, configured: Configured, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configured("mining.threshold=1.1", "callbacks.checkpoint.every_n_train_steps=2")
    train(config)
    last = RunFolder(config.run_dir).checkpoint
    wanted = torch.load(last, weights_only=True)["state_dict"]
    assert is_whole(last) and is_whole(before(last))
    stray = last.with_name(".last.ckpt.abc.hardmine-part")
    stray.write_bytes(b"half")
    damaged(last, how)
    config.resume = config.run_dir
    train(config)
    assert f"{last} is damaged: the run goes on from the one before it" in caplog.text
    assert not stray.exists() and is_whole(last)
    for name, value in torch.load(last, weights_only=True)["state_dict"].items():
        assert torch.equal(value, wanted[name])
    damaged(last, how)
    damaged(before(last), how)
    with pytest.raises(InputError, match="is damaged, and there is no whole one beside it"):
        RunFolder(config.run_dir).resumable()


def test_a_part_of_the_ledger_that_is_gone_or_damaged_is_told(
    configured: Configured, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configured("mining.threshold=1.1", "callbacks.checkpoint.every_n_train_steps=2", "trainer.max_steps=4")
    train(config)
    part = sorted((tmp_path / "run/ledger").glob("*.parquet"))[0]
    config.resume, config.trainer.max_steps, kept = config.run_dir, 6, part.read_bytes()
    part.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(InputError, match="is damaged: delete it to go on without the verdicts that it held"):
        train(config)
    part.unlink()
    train(config)
    assert "verdicts before step 4: a part is missing" in caplog.text
    assert len(Ledger(tmp_path / "run/ledger").read()) > 0


# Signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 0)])
def test_a_run_that_is_told_to_end_keeps_its_last_step(
    number: signal.Signals,
    code: int,
    configured: Configured,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends with the step in which the signal comes, and goes on to the same weights."""
    whole = configured("mining.threshold=1.1", run="whole")
    train(whole)
    handler = signal.getsignal(number)
    step = Task.on_train_batch_start

    def told(self: Any, batch: Any, batch_idx: int) -> Any:
        if self.trainer.global_step == 3:
            os.kill(os.getpid(), number)
        return step(self, batch, batch_idx)

    config = configured("mining.threshold=1.1", run="part")
    with monkeypatch.context() as patch:
        patch.setattr(Task, "on_train_batch_start", told)
        with pytest.raises(SystemExit) as ended:
            train(config)
    assert ended.value.code == code
    assert f"{number.name}: ended after step 4: resume={tmp_path / 'part'} goes on from there" in caplog.text
    assert signal.getsignal(number) == handler
    config.resume = config.run_dir
    train(config)
    one, other = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "part")
    )
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_signal_in_the_last_validation_is_heeded(
    configured: Configured, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lightning as L

    def told(self: Any) -> None:
        if self.trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(L.LightningModule, "on_validation_end", told)
    config = configured("trainer.max_steps=2", "trainer.val_check_interval=2", "neighbourhood=none")
    with pytest.raises(SystemExit) as ended:
        train(config)
    assert ended.value.code == 143 and "SIGTERM: ended after step 2: resume=" in caplog.text
    assert (tmp_path / "run/checkpoints/last.ckpt").exists() and not (tmp_path / "run/summary.json").exists()


@pytest.mark.parametrize("place", ["hardmine.cli.import_module", "hardmine.cli.build.build_data"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 0)])
def test_a_signal_before_training_ends_in_a_line(
    place: str,
    number: signal.Signals,
    code: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the first import on; nothing is left behind, and Slurm starts the job again that it ended."""
    called: list[list[str]] = []
    monkeypatch.setattr(place, lambda *_: os.kill(os.getpid(), number))
    monkeypatch.setattr("subprocess.run", lambda command, **_: called.append(command))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended:
        main(arguments(tmp_path / "run"))
    assert ended.value.code == code and signal.getsignal(number) == handler
    shown = capsys.readouterr()
    said = shown.out + shown.err + caplog.text  # Hydra may have taken the log over
    assert said.count(f"hardmine: {number.name}: ended outside of training: no checkpoint is kept") == 1
    assert called == ([["scontrol", "requeue", "7"]] if number == signal.SIGUSR1 else [])
    assert not (tmp_path / "run").exists()
