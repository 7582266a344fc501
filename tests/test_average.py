"""The average that judges: whatever a module holds, its tensors are averaged and a look at it leaves no trace."""

import io
import threading
from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from conftest import make_store
from test_library import TheirData, TheirModule
from torch import Tensor, nn

import hardmine
from hardmine.callbacks import HardMining
from hardmine.data import MiningDataModule
from hardmine.judge import Average


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.net(x)
        return result


class Locked(Plain):
    """A copy of a lock cannot be made."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Keeps(Plain):
    """Keeps what it has computed, with its graph, which cannot be copied either."""

    last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.last = super().forward(x)
        return self.last


class Counts(Plain):
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class Tied(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(3, 3)
        self.other.weight = self.net.weight

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.other(super().forward(x))
        return result


def weight_norm() -> nn.Module:
    module = Plain()
    nn.utils.parametrizations.weight_norm(module.net)
    return module


def spectral_norm() -> nn.Module:
    module = Plain()
    nn.utils.parametrizations.spectral_norm(module.net)
    return module


def compiled() -> nn.Module:
    module = Plain()
    module.compile(backend="eager")
    return module


def compiled_inside() -> nn.Module:
    module = Plain()
    module.net = torch.compile(module.net, backend="eager")  # type: ignore[assignment]
    return module


KINDS: list[Callable[[], nn.Module]] = [
    Plain,
    Locked,
    Keeps,
    Counts,
    Tied,
    weight_norm,
    spectral_norm,
    compiled,
    compiled_inside,
]


def tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in the modules that compiling imports
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_any_module_is_judged_by_its_average_and_left_as_it_was(kind: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    module, average, x = kind(), Average(0.5), torch.rand(2, 3)
    module(x).sum().backward()  # a step was made: what a module keeps, it has
    average.start(module)
    first = average(module, lambda m: m(x))
    torch.testing.assert_close(first, average(module, lambda m: m(x)))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3)
    before, attributes = tensors(module), {name: dict(child.__dict__) for name, child in module.named_modules()}
    seen = average(module, lambda m: m(x))
    torch.testing.assert_close(seen, first)  # the live weights do not count
    assert not seen.requires_grad and module.training
    for name, value in tensors(module).items():
        assert torch.equal(value, before[name]), name
    for name, child in module.named_modules():
        assert child.__dict__.keys() == attributes[name].keys()
        assert all(child.__dict__[key] is value for key, value in attributes[name].items())
    average.follow(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2 / 3)  # (1 + 3) / 2 times what they were
    torch.testing.assert_close(average(module, lambda m: m(x)), Average(0.0)(module, lambda m: m(x)))


def test_an_average_of_half_precision_does_not_stand_still() -> None:
    module, average = nn.Linear(2, 2).to(torch.bfloat16), Average(0.995)
    average.start(module)
    start = average.state_dict()["weight"]
    with torch.no_grad():
        module.weight += 1
    for _ in range(200):
        average.follow(module)
    moved = (average.state_dict()["weight"] - start).mean()
    assert abs(float(moved) - (1 - 0.995**200)) < 0.02
    assert average(module, lambda m: m(torch.ones(1, 2, dtype=torch.bfloat16))).dtype == torch.bfloat16


def test_a_kept_average_goes_on() -> None:
    module, average, file = nn.Linear(2, 2), Average(0.9), io.BytesIO()
    average.start(module)
    torch.save(average.state_dict(), file)
    file.seek(0)
    again = Average(0.9)
    again.start(nn.Linear(2, 2), torch.load(file, weights_only=True))
    for name, value in average.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


# in Lightning


def fitted(callback: L.Callback, data: MiningDataModule, module: L.LightningModule, **options: Any) -> L.Trainer:
    trainer = L.Trainer(
        callbacks=[callback],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_steps": 6, **options},
    )
    torch.manual_seed(0)
    trainer.fit(module, data)
    return trainer


def around() -> MiningDataModule:
    return MiningDataModule(TheirData(), make_store(), hardmine.Select(radius=10), hardest=1.0)


def test_gradients_are_accumulated_over_batches_and_a_search_belongs_to_a_step() -> None:
    followed: list[int] = []

    class Spy(HardMining):
        def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
            before = self.average.state_dict()
            super().on_train_batch_end(trainer, *args)
            if any(not torch.equal(value, before[name]) for name, value in self.average.state_dict().items()):
                followed.append(trainer.global_step)

    data = around()
    fitted(Spy(threshold=1.1), data, TheirModule(), accumulate_grad_batches=2, max_steps=3)
    assert data.miner is not None and data.miner.tally.candidates == 3 * 4
    assert followed == [1, 2, 3]


def test_a_second_fit_begins_anew() -> None:
    data, callback = around(), HardMining(threshold=1.1)
    fitted(callback, data, TheirModule(), max_steps=4)
    fitted(callback, data, TheirModule(), max_steps=2)
    assert data.miner is not None
    assert data.miner.tally.candidates == len(data.miner.buffer) == 2 * 4


def test_the_order_goes_on_where_loaders_are_made_anew() -> None:
    data = around()
    fitted(HardMining(threshold=1.1), data, TheirModule(), reload_dataloaders_every_n_epochs=1)
    assert data.sampler is not None and data.sampler.drawn == 6
    assert data.miner is not None and data.miner.tally.candidates == 6 * 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_module_is_judged_in_evaluation_mode() -> None:
    class Normed(TheirModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))  # type: ignore[assignment]

    plain, module = Normed(), Normed()
    module.load_state_dict(plain.state_dict())
    module.compile(backend="eager")
    fitted(HardMining(threshold=0.0), around(), module, max_steps=3)
    fitted(HardMining(threshold=0.0), around(), plain, max_steps=3)
    assert module.state_dict()["net.1.num_batches_tracked"] == 3
    for name, value in plain.state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), name
