"""A DataModule around another one."""

from typing import Any

import lightning as L
import torch


class Wrapped(L.LightningDataModule):
    """Hands everything on to the DataModule inside; a subclass changes what it cares about.

    Args:
        inner: the user's own.
    """

    def __init__(self, inner: L.LightningDataModule) -> None:
        super().__init__()
        self.inner = inner
        for name in ("val_dataloader", "test_dataloader", "predict_dataloader"):
            if getattr(type(inner), name) is not getattr(L.LightningDataModule, name):
                setattr(self, name, getattr(inner, name))  # only where there is one: Lightning asks

    def prepare_data(self) -> None:
        self.inner.prepare_data()

    def setup(self, stage: str) -> None:
        self.inner.trainer = self.trainer
        self.inner.setup(stage)

    def teardown(self, stage: str) -> None:
        self.inner.teardown(stage)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return self.inner.on_before_batch_transfer(batch, dataloader_idx)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return self.inner.transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return self.inner.on_after_batch_transfer(batch, dataloader_idx)
