"""The order of training samples: alike on all ranks, in all loader processes, and after a resume."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler

from hardmine.data import LabelledData, LabelledImages
from hardmine.data.order import Order, OrderedLoader, Place
from hardmine.errors import InputError
from hardmine.numbered import Numbered

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

Batch = list[Place]


def order(sources: int = 10, rank: int = 0, ranks: int = 1, **options: int) -> Order:
    made = Order(sources, 4, seed=3, **options)
    made.rank, made.ranks = rank, ranks
    return made


def delivered(of: Order, batches: int) -> list[Batch]:
    """Draw and deliver batches, pass after pass."""
    made: list[Batch] = []
    while len(made) < batches:
        for batch in of:
            of.delivered()
            made.append(batch)
            if len(made) == batches:
                break
    return made


def indices(batches: list[Batch]) -> list[int]:
    return [index for batch in batches for index, _ in batch]


# One pass after another


def test_order_and_draws_stay_what_they_were() -> None:
    """Checkpoints and ledgers of earlier runs refer to them."""
    batch, *_ = order()
    assert [index for index, _ in batch] == [6, 7, 0, 5]
    assert [draw for _, draw in batch] == [
        5889684248207748550,
        3570615573855774802,
        1424257742347948638,
        2650207030748904277,
    ]
    batch, *_ = order(targets=3, target_rows=2)
    assert [index for index, _ in batch] == [6, 7, 12, 10]
    assert [draw for _, draw in batch[2:]] == [5302136574433159835, 7871897904355689585]


def test_passes_are_shuffled_anew() -> None:
    drawn = indices(delivered(order(), 5))
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10] != drawn[10:]


def test_every_draw_differs() -> None:
    drawn = delivered(order(targets=3, target_rows=1), 12)
    assert len({draw for batch in drawn for _, draw in batch}) == 48
    other = Order(10, 4, seed=4)
    assert not {draw for batch in other for _, draw in batch} & {draw for batch in drawn for _, draw in batch}


def test_a_pass_over_it_leaves_the_cursors() -> None:
    of = order(targets=3, target_rows=1)
    assert len(of) == 3  # as many batches as ten sources fill, three in each
    assert list(of) == list(of)
    assert (of.cursor, of.target_cursor) == (0, 0)
    of.delivered()
    assert (of.cursor, of.target_cursor) == (3, 1)
    assert next(iter(of)) == delivered(order(targets=3, target_rows=1), 2)[1]


@pytest.mark.parametrize("target_rows", [0, 1, 3, 4])
def test_targets_stand_after_the_sources(target_rows: int) -> None:
    drawn = delivered(order(targets=3, target_rows=target_rows), 6)
    assert [[index >= 10 for index, _ in batch] for batch in drawn] == [
        [False] * (4 - target_rows) + [True] * target_rows
    ] * 6
    sources = indices([batch[: 4 - target_rows] for batch in drawn])
    assert sources == indices(delivered(order(), 6))[: len(sources)]  # targets have passes of their own
    targets = indices([batch[4 - target_rows :] for batch in drawn])
    for start in range(0, len(targets) - 2, 3):
        assert sorted(targets[start : start + 3]) == [10, 11, 12]


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("target_rows", [0, 1])
def test_ranks_share_one_stream(ranks: int, target_rows: int) -> None:
    options = {"targets": 7, "target_rows": target_rows}
    of = [order(30, rank, ranks, **options) for rank in range(ranks)]
    assert {len(one) for one in of} == {30 // ((4 - target_rows) * ranks)}
    parts = [delivered(one, 5) for one in of]
    cursors = [(one.cursor, one.target_cursor) for one in of]
    assert cursors == [(5 * ranks * (4 - target_rows), 5 * ranks * target_rows)] * ranks
    sources = slice(4 - target_rows)
    together = [part[step][row] for step in range(5) for row in range(4 - target_rows) for part in parts]
    alone = [place for batch in delivered(order(30, **options), 5 * ranks) for place in batch[sources]]
    assert together == alone  # round robin
    assert len({draw for part in parts for batch in part for _, draw in batch}) == 20 * ranks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": 3, "target_rows": 5}, "target rows must be 0 to the batch size 4, got 5"),
        ({"target_rows": 1}, "1 target rows need target images, got 0"),
    ],
)
def test_rows_that_do_not_fit(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        order(**options)


# A loader over it


class Pictures(LabelledImages):
    """Noise of 3 x 4 x 4, mirrored by chance."""

    def read(self, index: int) -> dict[str, Tensor]:
        image = torch.randint(256, (3, 4, 4), generator=torch.Generator().manual_seed(index), dtype=torch.uint8)
        return {"image": image, "regions": torch.zeros(4, 4, dtype=torch.uint8), "target": torch.tensor(index % 2)}


class PicturesData(LabelledData):
    def __init__(self, batch_size: int = 4, num_workers: int = 0, **options: Any) -> None:
        counts: dict[str, int] = options.pop("counts", {})
        super().__init__(batch_size, num_workers, flip=True, cache_gib=1.0, **options)
        self.counts = {"train": 14, "target": 5, "val": 4} | counts

    def has(self, split: str) -> bool:
        return self.counts.get(split, 0) > 0

    def images(self, split: str, flip: bool) -> LabelledImages:
        count = self.counts[split]
        return Pictures(
            [f"{split}{index}" for index in range(count)], ["all"], ["a", "b"], "classes", [{}] * count, flip
        )


def places(batch: dict[str, Tensor]) -> Batch:
    return list(zip(batch["index"].tolist(), batch["draw"].tolist(), strict=True))


def test_a_batch_is_what_its_numbers_say() -> None:
    data = PicturesData(targets=0.5, seed=3)
    loader = data.train_dataloader()
    for batch in loader:
        for row, place in enumerate(places(batch)):
            again = Numbered(data.training)[place]
            assert all(torch.equal(batch[name][row], again[name]) for name in again)
    assert len(list(loader)) == len(loader) == 7  # of 14 source images, two a batch


@pytest.mark.parametrize("workers", [0, 2])
def test_a_new_loader_gives_the_very_next_batch(workers: int) -> None:
    expected = delivered(Order(14, 4, 3, 5, 1), 10)
    data = PicturesData(num_workers=workers, targets=0.25, seed=3)
    seen = []
    for batch in data.train_dataloader():
        seen.append(places(batch))
        if len(seen) == 2:
            break
    saved = data.state_dict()
    assert saved == {"cursor": 6, "target_cursor": 2}
    again = PicturesData(num_workers=workers, targets=0.25, seed=3)
    again.setup("fit")
    again.load_state_dict(saved)
    assert again.state_dict() == saved
    loader = again.train_dataloader()
    for _ in range(2):
        seen += [places(batch) for batch in loader]
    assert seen == expected
    again.setup("fit")
    assert again.state_dict() == {"cursor": 0, "target_cursor": 0}


def test_a_loader_whose_place_is_set_goes_on_there() -> None:
    data = PicturesData(seed=3)
    loader = data.train_dataloader()
    first = [places(batch) for batch in loader]
    data.load_state_dict({"cursor": 4, "target_cursor": 0})
    assert places(next(iter(loader))) == first[1]


# In a fit


class Records(L.LightningModule):
    """Keeps the numbers and the pixels that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(48, 2)
        self.seen: list[Batch] = []
        self.pixels: list[Tensor] = []
        self.epochs: list[int] = []

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.seen.append(places(batch))
        self.pixels.append(batch["image"])
        self.epochs.append(self.current_epoch)
        return nn.functional.cross_entropy(self.net(batch["image"].flatten(1)), batch["target"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        assert "draw" not in batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class KilledError(Exception):
    pass


class Kill(L.Callback):
    """Ends the run in the middle of a step, the batch of which has been handed over."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise KilledError


def fit(
    data: LabelledData, folder: Path | None = None, kill: int | None = None, resume: bool = False, **options: Any
) -> Records:
    torch.manual_seed(0)  # of the weights; the data do not look at it
    module = Records()
    callbacks: list[L.Callback] = []
    if folder is not None:
        callbacks.append(ModelCheckpoint(folder, "last", every_n_train_steps=1, enable_version_counter=False))
    if kill is not None:
        callbacks.append(Kill(kill))
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_steps": 11, **options},
    )
    path = folder / "last.ckpt" if folder is not None and resume else None
    if kill is None:
        trainer.fit(module, data, ckpt_path=path, weights_only=True)
    else:
        with pytest.raises(KilledError):
            trainer.fit(module, data, ckpt_path=path, weights_only=True)
    return module


EXPECTED = delivered(Order(14, 4, 3, 5, 1), 11)  # four batches in an epoch


def data(**options: Any) -> PicturesData:
    return PicturesData(targets=0.25, seed=3, **options)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kill", [1, 2, 3, 4, 5, 6])
def test_a_resumed_fit_sees_the_batches_of_an_unbroken_one(kill: int, workers: int, tmp_path: Path) -> None:
    unbroken = fit(data())
    assert unbroken.seen == EXPECTED
    begun = fit(data(num_workers=workers), tmp_path, kill)
    resumed = fit(data(num_workers=workers), tmp_path, resume=True)
    assert begun.seen + resumed.seen == EXPECTED
    assert begun.epochs + resumed.epochs == unbroken.epochs == [0] * 4 + [1] * 4 + [2] * 3
    assert all(map(torch.equal, unbroken.pixels, begun.pixels + resumed.pixels))
    assert all(map(torch.equal, unbroken.parameters(), resumed.parameters()))


def test_a_fit_may_be_resumed_twice(tmp_path: Path) -> None:
    seen = fit(data(), tmp_path, kill=2).seen
    seen += fit(data(), tmp_path, kill=7, resume=True).seen
    assert seen + fit(data(), tmp_path, resume=True).seen == EXPECTED


def test_each_fit_begins_anew() -> None:
    same = data()
    assert fit(same).seen == fit(same).seen == EXPECTED


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_made_anew_go_on_in_order(workers: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"reload_dataloaders_every_n_epochs": 1}
    assert fit(data(num_workers=workers), **options).seen == EXPECTED
    begun = fit(data(num_workers=workers), tmp_path, kill=4, **options)
    assert begun.seen + fit(data(num_workers=workers), tmp_path, resume=True, **options).seen == EXPECTED


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("limit", [0.5, 2, 3])
def test_shorter_epochs_go_on_in_order(limit: int | float, workers: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"limit_train_batches": limit}
    assert fit(data(num_workers=workers), **options).seen == EXPECTED
    begun = fit(data(num_workers=workers), tmp_path, kill=3, **options)
    assert begun.seen + fit(data(num_workers=workers), tmp_path, resume=True, **options).seen == EXPECTED


def test_accumulated_gradients_change_nothing() -> None:
    made = fit(data(), max_epochs=8, max_steps=-1, accumulate_grad_batches=2)
    assert made.seen == delivered(Order(14, 4, 3, 5, 1), 32)


@pytest.mark.parametrize("workers", [0, 2])
def test_overfitting_takes_the_first_batches_as_they_come(workers: int) -> None:
    made = data(num_workers=workers)
    module = fit(made, overfit_batches=2, max_steps=5)
    assert [[index for index, _ in batch] for batch in module.seen] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [0, 1, 2, 3],
    ]
    assert len({draw for batch in module.seen for _, draw in batch}) == 20
    loader = made.train_dataloader()
    assert type(loader) is DataLoader and isinstance(loader.sampler, SequentialSampler)


class Ranks(L.Callback):
    """Writes down what each rank has seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, Records)
        torch.save(pl_module.seen, self.folder / f"{trainer.global_rank}.pt")


def test_ranks_of_a_fit_share_one_stream(tmp_path: Path) -> None:
    trainer = L.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_fork",
        use_distributed_sampler=False,
        logger=False,
        callbacks=[Ranks(tmp_path)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_steps=5,
    )
    trainer.fit(Records(), data())
    for rank in range(2):
        of = Order(14, 4, 3, 5, 1)
        of.rank, of.ranks = rank, 2
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == delivered(of, 5)


# What cannot be


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: PicturesData(targets=1.5), "targets must be a share from 0 to 1, got 1.5"),
        (lambda: PicturesData(targets=0.1), "targets=0.1 is no row of batch_size=4: raise it"),
        (
            lambda: PicturesData(targets=0.5, counts={"target": 0}).setup("fit"),
            "targets: the data has no images in the split target: add some or set targets=0",
        ),
        (
            lambda: PicturesData(counts={"train": 3}).train_dataloader(),
            "3 training images are fewer than batch_size=4: lower it",
        ),
    ],
)
def test_data_that_cannot_be_trained_on(made: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        made()
    assert str(caught.value) == message


def test_a_batch_of_all_ranks_needs_as_many_images() -> None:
    made = PicturesData(batch_size=8)

    class Two:
        overfit_batches, global_rank, world_size = 0, 0, 2

    made.trainer = Two()  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"14 training images are fewer than batch_size=8 on each of 2 ranks"):
        made.train_dataloader()


def test_share_and_loader_can_be_looked_at() -> None:
    made = PicturesData(targets=0.25)
    assert made.with_targets and not PicturesData().with_targets
    loader = made.train_dataloader()
    assert isinstance(loader, OrderedLoader)
    assert (loader.order.sources, loader.order.targets, loader.order.target_rows) == (14, 5, 1)
    assert loader.state_dict() == {}
    with pytest.raises(AttributeError):
        made.with_targets = False  # type: ignore[misc]
