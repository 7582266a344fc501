"""Adversarial styles: what they do to a batch, and that they leave nothing behind."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from quality.rivals import AdversarialStyle
from test_tasks import Masks, make, trainer_of
from torch import Tensor, nn
from torch.utils.data import default_collate

from hardmine.errors import InputError


class Brightness(nn.Module):
    """Its loss grows with the mean of the first channel, and less with that of the second."""

    def loss(self, batch: dict[str, Any]) -> Tensor:
        mean = batch["image"].mean(dim=(2, 3))
        loss: Tensor = (batch["weight"] * (3 * mean[:, 0] + 4 * mean[:, 1])).sum()
        return loss


class Here:
    """What the callback asks a trainer for."""

    class precision_plugin:  # noqa: N801
        forward_context = nullcontext


def style(callback: AdversarialStyle, module: Any, batch: dict[str, Any]) -> None:
    callback.on_train_batch_start(Here, module, batch, 0)  # type: ignore[arg-type]


def grey(rows: int = 4) -> Tensor:
    return 0.4 + 0.2 * torch.rand(rows, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_one_step_of_the_given_length_up_the_loss() -> None:
    """By hand: the loss is linear in the means alone, so that they move by 3/5 and 4/5 of the step."""
    image = grey()
    batch = {"image": image, "weight": torch.tensor([1.0, 2.0, 30.0, 0.5]), "name": "x"}
    style(AdversarialStyle(rows=0.5, step=0.1), Brightness(), batch)
    moved = batch["image"] - image  # type: ignore[operator]
    assert not moved[:2].any()
    wanted = torch.tensor([0.06, 0.08, 0.0]).view(1, 3, 1, 1)
    assert torch.allclose(moved[2:], wanted.expand(2, 3, 8, 8), atol=1e-6)  # whatever the size of the loss


@pytest.mark.parametrize(("rows", "changed"), [(0.0, 0), (0.25, 1), (0.5, 2), (1.0, 4)])
def test_the_last_rows_are_changed_and_the_original_is_not(rows: float, changed: int) -> None:
    image = grey()
    before = image.clone()
    batch: dict[str, Any] = {"image": image, "weight": torch.ones(4)}
    style(AdversarialStyle(rows), Brightness(), batch)
    assert torch.equal(image, before)
    assert [bool((row != old).any()) for row, old in zip(batch["image"], before, strict=True)] == [
        row >= 4 - changed for row in range(4)
    ]
    assert batch["image"].shape == image.shape and batch["image"].dtype == torch.float32
    assert not batch["image"].requires_grad


def test_a_long_step_stays_an_image() -> None:
    class Contrast(nn.Module):
        def loss(self, batch: dict[str, Any]) -> Tensor:
            return batch["image"].sum() - 100 * batch["image"].std(dim=(2, 3)).sum()  # type: ignore[no-any-return]

    batch: dict[str, Any] = {"image": grey()}
    style(AdversarialStyle(1.0, step=9.0), Contrast(), batch)
    assert batch["image"].min() >= 0 and batch["image"].max() <= 1
    # contrast shrinks and is never reversed
    batch = {"image": grey()}
    style(AdversarialStyle(1.0, step=0.2), Contrast(), batch)
    ratio = batch["image"].std(dim=(2, 3)) / grey().std(dim=(2, 3))
    assert torch.allclose(ratio, torch.full_like(ratio, 0.1), atol=1e-4)
    centred = (batch["image"] - batch["image"].mean(dim=(2, 3), keepdim=True)) * (grey() - 0.5)
    assert (centred.mean(dim=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("kind", ["segmentation", "classification", "fcos"])
def test_it_makes_a_task_worse_and_leaves_no_trace(kind: str) -> None:
    task, loader = make(kind)
    batch = next(iter(loader))
    clean = dict(batch)
    task.net.train()
    next(module for module in task.modules() if isinstance(module, nn.BatchNorm2d)).eval()  # one stays frozen
    flags = [module.training for module in task.modules()]
    before = {name: value.clone() for name, value in task.state_dict().items()}
    chance = torch.get_rng_state()
    style(AdversarialStyle(1.0, step=0.1), task, batch)
    assert torch.equal(torch.get_rng_state(), chance)
    assert [module.training for module in task.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert all(parameter.grad is None for parameter in task.parameters())
    assert batch.keys() == clean.keys() and (batch["image"] != clean["image"]).any()
    task.eval()
    with torch.no_grad():
        assert task.loss(batch) > task.loss(clean)


def test_rows_without_a_loss_stay_as_they_are() -> None:
    task, _ = make("segmentation")
    batch = default_collate([Masks()[index] for index in range(2)])
    batch["target"] = torch.full_like(batch["target"], 255)
    before = batch["image"]
    style(AdversarialStyle(1.0), task, batch)
    assert torch.allclose(batch["image"], before, atol=1e-5) and batch["image"].isfinite().all()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_it_trains(precision: str) -> None:
    task, loader = make("segmentation")
    trainer = trainer_of(precision=precision, callbacks=[AdversarialStyle()], limit_val_batches=0)
    trainer.fit(task, loader, loader)
    plain, _ = make("segmentation")
    trainer_of(precision=precision, limit_val_batches=0).fit(plain, loader, loader)
    idle, _ = make("segmentation")
    still = AdversarialStyle(step=0.0)
    trainer_of(precision=precision, callbacks=[still], limit_val_batches=0).fit(idle, loader, loader)
    for name, value in plain.net.named_parameters():
        assert value.isfinite().all()
        assert not torch.equal(value, dict(task.net.named_parameters())[name]), name
        assert torch.allclose(value, dict(idle.net.named_parameters())[name], atol=2e-3), name


@pytest.mark.parametrize(("rows", "step", "message"), [(1.5, 0.1, "rows must be"), (0.5, -1.0, "step must not")])
def test_numbers_out_of_range(rows: float, step: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        AdversarialStyle(rows, step)


def test_what_it_needs() -> None:
    with pytest.raises(InputError, match=r"needs `loss\(batch\)`, which Conv2d has not"):
        AdversarialStyle().on_fit_start(trainer_of(), nn.Conv2d(3, 3, 1))  # type: ignore[arg-type]
    for batch in ({"image": torch.zeros(2, 3, 4, 4, dtype=torch.uint8)}, [torch.zeros(2)], {}):
        with pytest.raises(InputError, match="float `image`"):
            style(AdversarialStyle(), Brightness(), batch)  # type: ignore[arg-type]
