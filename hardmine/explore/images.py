"""The images that can be looked at: those of the data, by split and number, and those that a person hands over."""

from collections.abc import Mapping
from typing import Any

import torch

from hardmine.data.labelled import LabelledImages, Sample
from hardmine.data.upload import Uploads
from hardmine.numbered import Numbered


class Images:
    """Gives batches of one image, on the device of the model.

    Args:
        splits: the images of each; the first is shown first.
        uploads: reads what is handed over.
        device: of the model.
    """

    def __init__(self, splits: Mapping[str, LabelledImages], uploads: Uploads, device: torch.device) -> None:
        self.splits, self.uploads, self._device = dict(splits), uploads, device
        self._any = next(iter(self.splits.values()))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what is recognised."""
        return self._any.classes

    @property
    def labelled(self) -> bool:
        """Whether each image has one class."""
        return self._any.kind == "classes"

    def batch(self, split: str, number: int) -> Any:
        """An image of the data."""
        return self.of_sample(Numbered(self.splits[split])[number, 0])

    def of_sample(self, sample: Sample) -> Any:
        """Any image."""
        batch = torch.utils.data.default_collate([{**sample, "draw": torch.tensor(0)}])
        return {name: value.to(self._device) for name, value in batch.items()}
