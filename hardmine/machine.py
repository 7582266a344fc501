"""The machine that a run is made on, and the versions there."""

import os
import platform
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch as _torch


@dataclass(frozen=True)
class Machine:
    """Where and when a process began its work.

    Attributes:
        began: the local time with its zone, as ISO 8601.
        hardmine, python, torch: versions.
        device: name of the GPU, or of the processor with the number of cores that the process may use.
        processes: that work together, on this machine and others.
    """

    began: str
    hardmine: str
    python: str
    torch: str
    device: str
    processes: int = 1

    @classmethod
    def here(cls, device: "_torch.device", processes: int = 1) -> "Machine":
        """This machine, now.

        Args:
            device: that the model is on.
            processes: that work together.
        """
        import torch

        from hardmine import __version__

        return cls(
            began=datetime.now().astimezone().isoformat(timespec="seconds"),
            hardmine=__version__,
            python=platform.python_version(),
            torch=str(torch.__version__),
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
            processes=processes,
        )


def processor() -> str:
    """Name of the processor, and how many cores of it this process may use."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.is_file() else ""
    models = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = models[0] if models else platform.processor() or platform.machine()
    return f"{name}, {cores} {'core' if cores == 1 else 'cores'}"
