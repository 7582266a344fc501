"""The data set of `test_spawn`, in a file of its own: each spawned worker imports it, and should import little else."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info


class File(Dataset[tuple[Tensor, Tensor]]):
    """Can be read where it has been opened, and cannot be sent to another process when it is open."""

    def __init__(self) -> None:
        self.opened: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        assert self.opened is not None, "worker_init_fn was not called"
        return self.opened[0][index] / 255, self.opened[1][index]

    def __getstate__(self) -> dict[str, Any]:
        assert self.opened is None, "an open file"
        return vars(self)


def open_file(worker_id: int) -> None:
    info = get_worker_info()
    assert info is not None
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(8, 32, 11)[..., :32]
    image = (60 + 50 * labels[:, None] + 8 * torch.randn(8, 3, 32, 32, generator=generator)).clamp(0, 255)
    info.dataset.opened = image, labels  # type: ignore[attr-defined]
