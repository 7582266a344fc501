"""Runs that are killed at random moments and go on must end as the one that nobody disturbed.

    scripts/crash_test [--kills 50] [--ranks 1] [--seed 0] [--keep FOLDER]

Each run is stopped one or several times (kill -9, SIGTERM, SIGINT, SIGUSR1, a disk that gets full) and found with whole
or damaged files, and started again with the same command until it is at its end. Checkpoint, ledger and summary (but
for seconds) are then compared with those of a run that was left alone. All runs are forks of one process, which has
the libraries loaded; several ranks are started by torchrun's own agent.
"""

import argparse
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("OMP_NUM_THREADS", "1")

RUN = (
    "data.size=[32,32]",
    "data.counts={train: 12, val: 4, target: 8, test: 6}",
    "data.batch_size=4",
    "model.encoder_name=tu-test_resnet",
    "+model.encoder_depth=3",
    "+model.decoder_channels=[8,8,8]",
    "mining.start=2",
    "mining.hardest=0.5",
    "trainer.max_steps=12",
    "trainer.accelerator=cpu",
    "trainer.val_check_interval=6",
    "callbacks.checkpoint.every_n_train_steps=2",
    "callbacks.pictures.every=6",
    "timeout=60",
    "keep=all",  # what is left is compared
)
SIGNALS = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT, "SIGUSR1": signal.SIGUSR1, "kill -9": signal.SIGKILL}
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "flipped": lambda content: content[: len(content) // 3] + b"\xff\x00" + content[len(content) // 3 + 2 :],
    "empty": lambda content: b"",
}
WAYS = (*SIGNALS, "full disk", *(f"checkpoint {how}" for how in DAMAGE), "ledger part truncated")


@dataclass(frozen=True)
class Ended:
    """How a run has ended.

    Attributes:
        code: exit code; minus the signal that killed it.
        output: what it printed.
        struck: the blow came before the end.
    """

    code: int
    output: str
    struck: bool

    @property
    def traced(self) -> bool:
        """Whether the run printed a traceback; torchrun's agent prints one of its own for a rank that is killed."""
        own = [line for line in self.output.splitlines() if not re.match(r"[EW]\d{4} ", line)]
        return any("Traceback" in line for line in own)

    @property
    def in_order(self) -> str | None:
        """What is wrong with the way it ended, if it could choose."""
        if self.traced:
            return "a traceback"
        if self.code == 1 and "hardmine: error: " not in self.output:  # of several ranks each may say one
            return "no line that says why"
        return None


def start(folder: Path, ranks: int, strike: Callable[[int], None] | None = None, after: float = 0.0) -> Ended:
    """Start or resume a run in a fork.

    Args:
        folder: of the run.
        ranks: of it.
        strike: the blow; takes the number of the process.
        after: seconds until then.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        os.setpgid(0, 0)
        _leave(folder, ranks)
    os.close(writer)
    os.set_blocking(reader, False)
    output, begun, struck, status = b"", time.monotonic(), False, None
    while status is None:
        time.sleep(0.02)
        output += _ready(reader)
        if strike is not None and not struck and time.monotonic() - begun > after:
            strike(child)
            struck = True
        if time.monotonic() - begun > 300:
            os.killpg(child, signal.SIGKILL)
        done, found = os.waitpid(child, os.WNOHANG)
        status = found if done else None
    output += _ready(reader)
    os.close(reader)
    return Ended(os.waitstatus_to_exitcode(status), output.decode(errors="replace"), struck)


def _ready(reader: int) -> bytes:
    try:
        return os.read(reader, 1 << 20)
    except BlockingIOError:
        return b""


def _leave(folder: Path, ranks: int) -> None:
    """Run and end this process, as the program itself would."""
    code = 1
    try:
        code = _agent(folder, ranks) if ranks > 1 else work(str(folder))
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def work(folder: str) -> int:
    """`hardmine train` of the small run; returns its exit code."""
    from hardmine.cli import main

    try:
        main(["train", *RUN, "resume=auto", f"hydra.run.dir={folder}"])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _rank(folder: str) -> None:
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    # Lightning looks when it is imported, which was before the fork
    rank_zero_only.rank = int(os.environ["RANK"])  # type: ignore[attr-defined]
    sys.exit(work(folder))


def _agent(folder: Path, ranks: int) -> int:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        1,
        1,
        ranks,
        logs_specs=DefaultLogsSpecs(),
        run_id=folder.name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="fork",
    )
    try:
        elastic_launch(config, _rank)(str(folder))
    except ChildFailedError as error:
        return max(abs(failure.exitcode) for failure in error.failures.values())
    except SignalException as error:
        return 128 + error.sigval
    return 0


def blow(way: str, ranks: int, chance: random.Random) -> Callable[[int], None]:
    """What stops a run; of several ranks one is hit, and told to end they are all by their agent."""
    size = chance.choice([20_000, 60_000, 200_000, 1_000_000])

    def one(process: int) -> int:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split() if ranks > 1 else []
        return int(chance.choice(children)) if children else process

    def strike(process: int) -> None:
        if way == "full disk":  # larger files than so many bytes fail
            for each in {process, one(process)}:
                resource.prlimit(each, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        elif way in ("SIGTERM", "SIGINT"):
            os.kill(process, SIGNALS[way])
        else:
            os.kill(one(process), SIGNALS.get(way, signal.SIGKILL))

    return strike


def damage(way: str, folder: Path) -> tuple[Path, bytes] | None:
    """Spoil a file as a failing disk would; what it held before, if there was such a file."""
    last, parts = folder / "checkpoints/last.ckpt", sorted((folder / "ledger").glob("*.parquet"))
    what, _, how = way.rpartition(" ")
    if what == "checkpoint" and last.is_file() and last.with_name("last-before.ckpt").is_file():
        path = last
    elif what == "ledger part" and parts and last.is_file():
        path = parts[0]
    else:
        return None
    content = path.read_bytes()
    path.write_bytes(DAMAGE[how](content))
    return path, content


def left(folder: Path) -> dict[str, Any]:
    """What a run has left behind, ready to be compared."""
    import json

    import pyarrow.parquet as pq
    import torch

    from hardmine.memory.ledger import Ledger

    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    own = ("state_dict", "optimizer_states", "global_step", "RiversideData")
    summary = json.loads((folder / "summary.json").read_text())
    return {
        "summary": {key: value for key, value in summary.items() if key != "seconds"},
        **{name: last[name] for name in own},
        "search": last["callbacks"]["HardMining"],
        "before": torch.load(folder / "checkpoints/before.ckpt", weights_only=True)["state_dict"],
        "ledger": repr(Ledger(folder / "ledger").read().to_pylist()),
        **{name: repr(pq.read_table(folder / f"{name}.parquet").to_pylist()) for name in ("graph", "store", "data")},
        "pictures": sorted(path.name for path in (folder / "pictures").iterdir()),
        "strays": [str(path) for path in folder.rglob(".*") if path.is_file()],
    }


def alike(one: Any, other: Any) -> bool:
    """Bit for bit; NaN equals itself."""
    import torch

    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(_bits(one), _bits(other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other) or repr(one) == repr(other)


def _bits(value: Any) -> Any:
    import torch

    return value.contiguous().flatten().view(torch.uint8)


def trial(folder: Path, reference: dict[str, Any], seconds: float, ranks: int, chance: random.Random) -> list[str]:
    """One run, stopped until it is through; returns the blows, the last with what was wrong in the end."""
    blows: list[str] = []
    wrong: str | None = None
    while wrong is None:
        more = not blows or chance.random() < 0.3
        way, after = chance.choice(WAYS), chance.random() * seconds
        ended = start(folder, ranks, blow(way, ranks, chance) if more else None, after)
        if ended.struck:
            blows.append(f"{way} after {after:.1f} s")
        wrong = ended.in_order if not ended.struck or way not in ("SIGINT", "SIGTERM") or ranks == 1 else None
        if wrong is None and not ended.struck and ended.code == 0:
            break
        if wrong is None and not ended.struck:
            wrong = f"exit code {ended.code}"
        if wrong is None and ended.code == 0 and (folder / "summary.json").is_file():
            break
        if wrong is None and (spoilt := damage(way, folder)) and way.startswith("ledger"):
            again = start(folder, ranks)
            if "is damaged: delete it to go on without" not in again.output or again.traced:
                wrong, ended = "a damaged part of the ledger is not told", again
            spoilt[0].write_bytes(spoilt[1])
        if wrong:
            print(ended.output)
    if wrong is None:
        try:
            found = left(folder)
        except (OSError, KeyError) as error:
            wrong = f"lacks {error}"
        else:
            wrong = ", ".join(name for name, value in reference.items() if not alike(value, found[name]))
            wrong = f"other {wrong}" if wrong else None
    return blows if wrong is None else [*(blows[:-1]), f"{(blows or ['no blow'])[-1]}: {wrong}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where failed runs are kept")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    chance, begun = random.Random(given.seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hardmine-crash-") as place:
        root = Path(place)
        work_once(root / "warm")
        started = time.monotonic()
        ended = start(root / "whole", given.ranks)
        if ended.code:
            raise SystemExit(f"the run that nobody disturbs ends with {ended.code}:\n{ended.output}")
        seconds, reference = time.monotonic() - started, left(root / "whole")
        print(f"undisturbed: {seconds:.1f} s, {given.ranks} ranks", flush=True)
        passed = failed = 0
        since = time.monotonic()
        for number in range(10 * given.kills):
            folder = root / f"run{number:03d}"
            blows = trial(folder, reference, seconds, given.ranks, chance)
            bad = bool(blows) and ": " in blows[-1]
            failed, passed = failed + bad, passed + len(blows) - bad
            print(
                f"{passed + failed:3d}  {'FAILED' if bad else 'passed'}  {'; '.join(blows) or 'was through'}",
                flush=True,
            )
            if bad and given.keep is not None:
                shutil.copytree(folder, given.keep / folder.name, dirs_exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            if passed + failed >= given.kills:
                break
    each = (time.monotonic() - since) / max(passed + failed, 1)
    print(f"{each:.1f} s a kill, {time.monotonic() - begun:.0f} s in all\n{passed} passed, {failed} failed")
    raise SystemExit(failed > 0)


def work_once(folder: Path) -> None:
    """Load everything that a run needs, in this process."""
    from hardmine.cli import main

    devnull, kept = os.open(os.devnull, os.O_WRONLY), os.dup(1)
    os.dup2(devnull, 1)
    main(["train", *RUN, "trainer.max_steps=3", f"hydra.run.dir={folder}"])
    sys.stdout.flush()
    os.dup2(kept, 1)
    os.close(devnull)
    os.close(kept)


if __name__ == "__main__":
    main()
