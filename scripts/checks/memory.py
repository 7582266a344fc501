"""Memory, open files and threads of a long run with loader processes.

    scripts/memory_test [--steps 20000] [--workers 2] [--csv FILE]

A small run tells its steps; at each line the processes of the run are looked at from outside. What grows is told per
1,000 steps, by a line through all looks after the first tenth of the run, when caches and the buffer have filled up.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

RUN = (
    "data.size=[32,32]",
    "data.counts={train: 12, val: 4, target: 8, test: 6}",
    "data.batch_size=4",
    "model.encoder_name=tu-test_resnet",
    "+model.encoder_depth=3",
    "+model.decoder_channels=[8,8,8]",
    "mining.start=2",
    "buffer.capacity=64",  # full within the first tenth
    "trainer.accelerator=cpu",
    "trainer.val_check_interval=200",
    "callbacks.checkpoint.every_n_train_steps=200",
    "callbacks.pictures.every=500",
    "callbacks.progress.every=50",
)
COLUMNS = ("step", "MiB of the run", "MiB of its loaders", "open files", "threads")


def look(process: int) -> list[float]:
    """What /proc says of a run and of its loader processes."""
    children = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    files = len(list(Path(f"/proc/{process}/fd").iterdir()))
    return [_private(process), sum(map(_private, children)), files, _status(process, "Threads")]


def _private(process: int) -> float:
    """MiB that no file stands behind and no other process shares in pages of files."""
    with suppress(OSError):  # it may have ended
        return _status(process, "RssAnon") / 1024
    return 0.0


def _status(process: int, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--csv", type=Path, help="every look, as a table")
    given = parser.parse_args()
    looks = []
    with tempfile.TemporaryDirectory(prefix="hardmine-memory-") as folder:
        more = (f"trainer.max_steps={given.steps}", f"data.num_workers={given.workers}", f"hydra.run.dir={folder}/run")
        command = [sys.executable, "-m", "hardmine", "train", *RUN, *more]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
            assert run.stdout is not None
            for line in run.stdout:
                if found := re.match(r"step (\d+)/", line):
                    looks.append([float(found.group(1)), *look(run.pid)])
                    if given.csv is not None:
                        np.savetxt(given.csv, looks, fmt="%.2f", delimiter=",", header=",".join(COLUMNS), comments="")
                elif not looks or "error" in line:
                    print(line, end="", flush=True)
    if run.returncode or len(looks) < 4:
        raise SystemExit(f"the run ended with {run.returncode} after {len(looks)} looks")
    table = np.array(looks)
    table = table[table[:, 0] > table[-1, 0] / 10]
    print(f"{len(table)} looks from step {table[0, 0]:.0f} to {table[-1, 0]:.0f}, {given.workers} loader processes")
    for name, values in zip(COLUMNS[1:], table.T[1:], strict=True):
        slope = np.polyfit(table[:, 0] / 1000, values, 1)[0]
        print(f"{name:20s} {values.min():8.1f} to {values.max():8.1f}   {slope:+.3f} per 1,000 steps")


if __name__ == "__main__":
    main()
