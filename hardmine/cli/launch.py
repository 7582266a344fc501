"""How many processes a run has: as its launcher, torchrun or srun, has started them."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hardmine.errors import InputError

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu", "hpu", "xpu")
_TIME = re.compile(r"\d+:\d\d:\d\d:\d\d")
# others take the search to processes of their own and bring nothing back, or cut the weights into parts
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")


@dataclass(frozen=True)
class Launch:
    """Processes that were started together.

    Attributes:
        by: the launcher.
        devices: processes of each node.
        nodes: of them.
    """

    by: str
    devices: int
    nodes: int

    @property
    def ranks(self) -> int:
        return self.devices * self.nodes


def launched(environ: Mapping[str, str] = os.environ) -> Launch | None:
    """What the launcher says of this process; None where it was started alone.

    Raises:
        InputError: nodes with different numbers of processes.
    """
    if "TORCHELASTIC_RUN_ID" in environ:
        return _launch("torchrun", int(environ["WORLD_SIZE"]), int(environ["LOCAL_WORLD_SIZE"]))
    if "SLURM_STEP_ID" in environ and environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        tasks = int(environ.get("SLURM_STEP_NUM_TASKS", environ.get("SLURM_NTASKS", 1)))
        nodes = int(environ.get("SLURM_STEP_NUM_NODES", environ.get("SLURM_NNODES", 1)))
        return _launch("srun", tasks, tasks // nodes)
    return None


def is_first(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is the one that speaks and writes for all that were started together."""
    launch = launched(environ)
    return launch is None or int(environ["RANK" if launch.by == "torchrun" else "SLURM_PROCID"]) == 0


def _launch(by: str, ranks: int, each: int) -> Launch:
    if ranks % each:
        raise InputError(f"{by} started {ranks} processes, not {each} on each node: start as many on every node")
    return Launch(by, each, ranks // each)


def distributed(trainer: Any, timeout: float) -> dict[str, Any]:
    """What of the trainer's settings the launcher decides.

    Args:
        trainer: its block of the config.
        timeout: seconds that ranks wait for one another.

    Returns:
        Arguments for the trainer in place of those of the block.

    Raises:
        InputError: settings that contradict the launcher, or that need one; a strategy that cannot keep a search.
    """
    look_at_trainer(trainer)
    strategy = trainer.strategy
    launch, wanted = launched(), _count(trainer.devices)
    if launch is None or launch.ranks == 1:
        if wanted > 1 or trainer.num_nodes > 1:
            more = f" --nnodes={trainer.num_nodes}" if trainer.num_nodes > 1 else ""
            raise InputError(
                f"trainer.devices={trainer.devices} takes a process for each device: start the run with "
                f"torchrun{more} --nproc_per_node={wanted} -m hardmine train ..., or with srun"
            )
        return {}
    for key, given, started in (("devices", wanted, launch.devices), ("num_nodes", trainer.num_nodes, launch.nodes)):
        if given not in (1, started):
            raise InputError(f"trainer.{key}={given}, and {launch.by} has started {started}: leave trainer.{key} out")
    from lightning.pytorch.strategies import DDPStrategy

    unused = {"find_unused_parameters": strategy.endswith("true")} if strategy.startswith("ddp_") else {}
    return {
        "devices": launch.devices,
        "num_nodes": launch.nodes,
        "strategy": DDPStrategy(timeout=timedelta(seconds=timeout), **unused),
    }


@contextmanager
def joined(accelerator: str) -> Iterator[Callable[[Any], Any]]:
    """Processes that were started together, before any of them has a trainer.

    Args:
        accelerator: of the trainers, which take over the process group.

    Yields:
        A function that gives to all what the first one has.
    """
    launch = launched()
    if launch is None or launch.ranks == 1:
        yield lambda value: value
        return
    import torch
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from torch import distributed as ranks

    place: Any = SLURMEnvironment(auto_requeue=False) if launch.by == "srun" else TorchElasticEnvironment()
    os.environ.setdefault("MASTER_ADDR", place.main_address)
    os.environ.setdefault("MASTER_PORT", str(place.main_port))
    gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(place.local_rank())
    ranks.init_process_group("nccl" if gpu else "gloo", rank=place.global_rank(), world_size=place.world_size())

    def share(value: Any) -> Any:
        box = [value]
        ranks.broadcast_object_list(box)
        return box[0]

    yield share
    ranks.destroy_process_group()


def environments() -> list[Any]:
    """Plugins that tell Lightning where it runs: under Slurm it must not put jobs into the queue again by itself."""
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    launch = launched()
    return [SLURMEnvironment(auto_requeue=False)] if launch is not None and launch.by == "srun" else []


def look_at_trainer(trainer: Any) -> None:
    """See that the settings of the trainer that are words, or of several kinds, are among those that there are.

    Args:
        trainer: its block of the config.

    Raises:
        InputError: another value.
    """
    strategy, devices, interval = (trainer.get(key) for key in ("strategy", "devices", "val_check_interval"))
    if strategy not in STRATEGIES:
        raise InputError(f"trainer.strategy={strategy} cannot keep a search: take one of {', '.join(STRATEGIES)}")
    if trainer.get("accelerator") not in ACCELERATORS:
        raise InputError(f"trainer.accelerator={trainer.get('accelerator')}: take one of {', '.join(ACCELERATORS)}")
    if isinstance(devices, int | str):
        good: Any = re.fullmatch(r"auto|-1|[1-9]\d*|\d+(\s*,\s*\d+)+", str(devices))
    else:
        good = devices and all(each >= 0 for each in devices)  # their numbers
    if not good:
        raise InputError(
            f"trainer.devices={devices}: set how many, as 2, -1 or auto for all, or a list of their numbers, as [0,1]"
        )
    share = not isinstance(interval, float) or interval <= 1
    time = not isinstance(interval, str) or _TIME.fullmatch(interval)
    if not share or not time or not isinstance(interval, int | float | str | Mapping | None):
        raise InputError(
            f"trainer.val_check_interval={interval}: set a number of training batches, a share of an epoch up to 1.0, "
            "or a time as DD:HH:MM:SS"
        )


def _count(devices: Any) -> int:
    """Processes that a setting asks for; 1 where Lightning is to count the devices."""
    if isinstance(devices, int):
        return max(devices, 1)
    if isinstance(devices, str):
        return int(devices) if devices.isdigit() else 1 + devices.count(",")
    return len(devices)
