"""What the projects share: small pictures, a store, and the lines that mine a project.

Each file is one kind of project: module and data as the documentation of its library writes them, and after them the
few lines that mine it. Nothing in a project knows of hardmine.
"""

import copy
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import hardmine

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it asks a server for its newest version when it is imported
torch.set_num_threads(1)  # tensors of a few kilobytes: threads would only wait for each other

AREAS = ("sky", "road", "tree")
_COLORS = torch.tensor([[90, 140, 200], [120, 115, 110], [50, 110, 60]], dtype=torch.float32)

Project = Callable[[], tuple[Any, ...]]  # module and DataModule, or module and loaders
Pictures = Callable[[Any], tuple[Sequence[Tensor], Sequence[Tensor]]]  # batch -> images (C, H, W), labels (H, W)


def pictures(count: int = 8, size: tuple[int, int] = (32, 32), areas: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (N, 3, H, W) uint8 and label maps (N, H, W) uint8 in [0, areas), each area in every image."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.stack([torch.randperm(16, generator=generator) % areas for _ in range(count)]).view(count, 1, 4, 4)
    labels = nn.functional.interpolate(blocks.float(), size=size)[:, 0].byte()
    tint = 20 * torch.randn(count, areas, 3, generator=generator)
    color = torch.stack([(_COLORS[:areas] + tint[n])[labels[n].long()] for n in range(count)]).permute(0, 3, 1, 2)
    noise = 8 * torch.randn(color.shape, generator=generator)
    return (color + noise).round().clamp(0, 255).byte(), labels


def measured(areas: Sequence[str] = AREAS, one_area: bool = False, grey: bool = False) -> hardmine.ParameterStore:
    """A store of dark pictures; `one_area`: each image is one area."""
    image, labels = pictures(6, areas=min(len(areas), 3), seed=1)
    image = (image * 0.5).byte()
    if grey:
        image = image.float().mean(1, keepdim=True).byte().expand_as(image)
    if one_area:
        labels = torch.zeros_like(labels)
    return hardmine.ParameterStore.from_images(
        [(f"night{n}", image[n], labels[n], {"time": "night"}) for n in range(len(image))], areas
    )


@pytest.fixture
def store() -> hardmine.ParameterStore:
    """Targets with the areas sky, road and tree."""
    return measured()


@pytest.fixture
def whole_store() -> hardmine.ParameterStore:
    """Targets whose only area is the image."""
    return measured(("image",), one_area=True)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    L.seed_everything(0, verbose=False)
    yield
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        os.environ.pop(name, None)


class Segmented(Dataset[tuple[Tensor, Tensor]]):
    """Image float (3, H, W) in [0, 1] and label map int64 (H, W), for projects whose data set is not their point."""

    def __init__(self, count: int = 8) -> None:
        self.image, self.labels = pictures(count)

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.image[index] / 255, self.labels[index].long()


class Segmenter(L.LightningModule):
    """A module of (x, y), for projects whose module is not their point."""

    def __init__(self, channels: int = 3, classes: int = 3, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.net = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self(x), y, ignore_index=self.ignore_index)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


@dataclass
class Seen:
    """Copies of what `training_step` got, and the losses it gave."""

    batches: list[Any] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def watch(module: L.LightningModule) -> Seen:
    """Look over the shoulder of a module's `training_step`."""
    seen, step = Seen(), module.training_step

    @functools.wraps(step)
    def watched(batch: Any, *args: Any) -> Any:
        seen.batches.append(copy.deepcopy(batch))
        output = step(batch, *args)
        loss = output["loss"] if isinstance(output, dict) else output
        if isinstance(loss, Tensor):  # a module that optimises by hand may give none
            seen.losses.append(float(loss.detach()))
        return output

    module.training_step = watched  # type: ignore[method-assign]
    return seen


def quiet(*callbacks: L.Callback, **trainer: Any) -> L.Trainer:
    """A trainer of a few steps that prints and keeps nothing."""
    settings = {
        "max_steps": 6,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(**{"callbacks": list(callbacks), **settings, **trainer})


def fit(
    module: L.LightningModule, data: Any, val: Any = None, callbacks: Sequence[L.Callback] = (), **trainer: Any
) -> None:
    """A run of a few steps; `data` is a DataModule or loaders."""
    runner = quiet(*callbacks, **trainer)
    if val is None:
        runner.fit(module, data)
    else:
        runner.fit(module, data, val)


def mine(
    store: hardmine.ParameterStore,
    module: L.LightningModule,
    data: Any,
    val: Any = None,
    trainer: dict[str, Any] | None = None,
    **keywords: Any,
) -> "hardmine.Mining":
    """Mine a project so that every candidate is a piece; pieces come, and the losses stay finite."""
    mining = hardmine.Mining(store, **{"threshold": 1.1, "hardest": 1.0, "start": 1, **keywords})
    seen = watch(module)
    around = mining.around(data) if val is None else mining.around(data, val=val)
    fit(module, around, callbacks=[mining.callback()], **(trainer or {}))
    assert seen.batches
    assert all(map(math.isfinite, seen.losses))
    assert all(bool(value.isfinite().all()) for value in module.parameters())
    assert mining.tally.pieces > 0
    assert mining.tally.candidates >= mining.tally.pieces
    return mining


def both_ways(
    store: hardmine.ParameterStore,
    project: Project,
    trainer: dict[str, Any] | None = None,
    **keywords: Any,
) -> tuple[Seen, Seen]:
    """The same project with the same seed, without mining and with colour transfer alone."""
    L.seed_everything(0, verbose=False)
    module, *data = project()
    plain = watch(module)
    fit(module, *data, **(trainer or {}))
    L.seed_everything(0, verbose=False)
    module, *data = project()
    mined = watch(module)
    around = dict(zip(("data", "val"), data, strict=False))
    mine(store, module, **around, trainer=trainer, conversion=hardmine.ColorTransfer(), **keywords)
    assert len(plain.batches) == len(mined.batches) > 1
    return plain, mined


def check_areas(
    store: hardmine.ParameterStore,
    project: Project,
    look: Pictures,
    area: str = "sky",
    label: int = 0,
    trainer: dict[str, Any] | None = None,
    **keywords: Any,
) -> None:
    """Convert one area: what lies outside it arrives in `training_step` bit for bit as without mining."""
    first = hardmine.First(areas=[area])
    plain, mined = both_ways(store, project, trainer, first=first, **keywords)
    changed = 0
    for clean, batch in zip(plain.batches, mined.batches, strict=True):
        for old, before, new, after in zip(*look(clean), *look(batch), strict=True):
            assert old.dtype == new.dtype and old.shape == new.shape
            assert torch.equal(before, after)
            other = (old != new).any(0)
            assert not bool((other & (before != label)).any())
            changed += bool(other.any())
    assert changed


def check_rows(
    store: hardmine.ParameterStore,
    project: Project,
    look: Pictures,
    trainer: dict[str, Any] | None = None,
    **keywords: Any,
) -> None:
    """Whole images are converted: rows that are no pieces arrive bit for bit as without mining, some are pieces."""
    plain, mined = both_ways(store, project, trainer, **keywords)
    changed, kept = 0, 0
    for clean, batch in zip(plain.batches, mined.batches, strict=True):
        for old, before, new, after in zip(*look(clean), *look(batch), strict=True):
            assert old.dtype == new.dtype and old.shape == new.shape
            assert torch.equal(before, after)
            changed += not torch.equal(old, new)
            kept += torch.equal(old, new)
    assert changed
    assert kept >= changed  # half of a batch are pieces, and none of the first


def loader(dataset: Dataset[Any], **keywords: Any) -> DataLoader[Any]:
    """Batches of four in the order of the data set."""
    return DataLoader(dataset, **{"batch_size": 4, **keywords})
