"""The average that judges: whatever a module holds, its tensors are averaged and a look at it leaves no trace."""

import io
import threading
from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from test_library import TheirModule, fit, search
from torch import Tensor, nn

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


# In Lightning


def test_gradients_are_accumulated_over_batches_and_a_search_belongs_to_a_step() -> None:
    """The average moves with every fourth update, before the next judgement."""
    mining, seen = search(), list[dict[str, Tensor]]()

    class Spy(L.Callback):
        def on_train_batch_start(self, *args: Any) -> None:
            seen.append(mining.state_dict()["judge"])

    fit(
        mining,
        TheirModule(),
        callbacks=[mining.callback(), Spy()],
        accumulate_grad_batches=2,
        max_steps=9,
    )
    assert mining.tally.candidates == 9 * 4
    followed = [
        batch
        for batch in range(1, 18)
        if any(not torch.equal(value, seen[batch - 1][name]) for name, value in seen[batch].items())
    ]
    assert followed == [8, 16]


def test_a_second_fit_begins_anew() -> None:
    mining = search()
    callback = mining.callback()
    fit(mining, TheirModule(), callbacks=[callback], max_steps=6)
    assert mining.tally.candidates == 6 * 4
    first = mining.state_dict()["judge"]
    fit(mining, TheirModule(), callbacks=[callback], max_steps=2)
    assert mining.tally.candidates == len(mining.buffer) == 2 * 4
    assert not torch.equal(first["net.weight"], mining.state_dict()["judge"]["net.weight"])


def test_the_search_goes_on_where_loaders_are_made_anew() -> None:
    mining = search()
    fit(mining, TheirModule(), reload_dataloaders_every_n_epochs=1)
    assert mining.step == 6 and mining.tally.candidates == 6 * 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_module_is_judged_in_evaluation_mode() -> None:
    class Normed(TheirModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))  # type: ignore[assignment]

    plain, module = Normed(), Normed()
    module.load_state_dict(plain.state_dict())
    module.compile(backend="eager")
    searches = [search(threshold=0.0), search(threshold=0.0)]
    fit(searches[0], module, max_steps=3)
    fit(searches[1], plain, max_steps=3)
    assert [mining.tally.candidates for mining in searches] == [12, 12]
    assert module.state_dict()["net.1.num_batches_tracked"] == 3
    for name, value in plain.state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), name


def test_a_part_under_two_names_stays_what_is_trained() -> None:
    """A net and its backbone, as many modules keep them."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    module = torch.nn.ModuleDict({"net": net, "backbone": net[0]})
    before = dict(module.named_parameters())
    average = Average(0.5)
    average.start(module)
    average(module, lambda of: of["net"](torch.rand(1, 3, 2, 2)))  # type: ignore[index]
    assert all(value is before[name] for name, value in module.named_parameters())
    assert before.keys() == dict(module.named_parameters()).keys()


class Merging(torch.nn.Module):
    """Adds to its weight where it leaves training, and remembers what it has seen."""

    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))
        self.register_buffer("count", torch.zeros(()), persistent=False)
        self.seen: list[int] = []
        self.calls = {"forward": 0}

    def train(self, mode: bool = True) -> "Merging":
        if self.training and not mode:
            with torch.no_grad():
                self.weight.add_(1)
        return super().train(mode)

    def forward(self) -> torch.Tensor:
        self.count.add_(1)
        self.seen.append(1)
        self.calls["forward"] += 1
        return self.weight.sum()


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_no_trace_in_weights_that_merge_in_lists_and_in_buffers_that_are_not_kept(decay: float) -> None:
    module, average = Merging(), Average(decay)
    average.start(module)
    assert float(average(module, lambda of: of())) == 2
    assert module.training and module.weight.tolist() == [1, 1]
    assert (float(module.count), module.seen, module.calls) == (0, [], {"forward": 0})
