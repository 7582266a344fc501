"""Weights of a file come into the network whatever wrapper they were saved in; bad files are in test_mine.py."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hardmine.errors import InputError
from hardmine.tasks import ClassificationTask
from hardmine.tasks.weights import load_weights


class Wrapped(nn.Module):
    """Its own parameters begin with `net.` too."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 3)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.net(image)
        return logits


def task() -> ClassificationTask:
    return ClassificationTask(Wrapped(), ("a", "b", "c"), channels_last=False)


@pytest.mark.parametrize("form", ["{}", "net.{}", "module.{}", "model.{}"])
@pytest.mark.parametrize("inside", [False, True], ids=["bare", "under state_dict"])
def test_any_form_of_the_same_network(form: str, inside: bool, tmp_path: Path) -> None:
    state = {name: torch.full_like(value, 7) for name, value in Wrapped().state_dict().items()}
    saved: dict[str, object] = {form.format(name): value for name, value in state.items()}
    torch.save({"state_dict": saved, "classes": ["a", "b", "c"]} if inside else saved, tmp_path / "weights.pt")
    loaded = task()
    load_weights(loaded, tmp_path / "weights.pt")
    assert all((value == 7).all() for value in loaded.net.state_dict().values())


def test_a_shape_that_differs_is_named(tmp_path: Path) -> None:
    torch.save(nn.ModuleDict({"net": nn.Linear(2, 4)}).state_dict(), tmp_path / "weights.pt")
    loaded = task()
    before = {name: value.clone() for name, value in loaded.net.state_dict().items()}
    with pytest.raises(InputError, match=r"net\.weight is \(4, 2\) and not \(3, 2\); 2 in all"):
        load_weights(loaded, tmp_path / "weights.pt")
    assert all(torch.equal(value, before[name]) for name, value in loaded.net.state_dict().items())
