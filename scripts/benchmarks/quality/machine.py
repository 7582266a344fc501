"""What the runs were made with."""

import os
import shutil
import subprocess
from pathlib import Path


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def machine_name() -> str:
    """The GPU's name, or the processor's and how many cores of it there are."""
    if shutil.which("nvidia-smi"):
        names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
        if names:
            return names[0].strip()
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    models = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{models[0] if models else 'CPU'}, {cores()} core{'s' if cores() > 1 else ''}"


def code_version() -> str:
    """Short hash of the commit, with a plus sign where files differ from it; empty outside a clone."""
    here = str(Path(__file__).parent)
    commit = _output("git", "-C", here, "rev-parse", "--short", "HEAD").strip()
    changed = _output("git", "-C", here, "status", "--porcelain", "--untracked-files=no").strip()
    return f"{commit}+" if commit and changed else commit


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
