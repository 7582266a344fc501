"""How a run is trained: its length, schedule, loss, averaged weights, checkpoints, loggers, compiled or not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig
from test_train import assert_equal, weights

from hardmine.cli.config import with_end
from hardmine.cli.ranges import look_at_ranges
from hardmine.cli.train import train
from hardmine.errors import InputError

Configured = Callable[..., DictConfig]
SMALL = ["model.encoder_name=tu-test_resnet", "neighbourhood=none", "~callbacks.before", "~callbacks.progress"]


# How long


def test_epochs_end_a_run_and_a_longer_one_goes_on(
    configured: Configured, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An epoch of 12 source images, 4 a step, is 3 steps; with one row in four a target it is 4."""
    epochs = [*SMALL, "trainer.max_steps=-1", "data.batch_size=4"]
    whole = train(configured(*epochs, "trainer.max_epochs=2", run="whole"))
    assert whole["steps"] == 6
    assert "an epoch of 12 source images is 3 steps: 2 epochs are 6 steps" in caplog.text
    train(configured(*epochs, "trainer.max_epochs=1", run="parts"))
    train(configured(*epochs, "trainer.max_epochs=2", f"resume={tmp_path / 'parts'}", run="parts"))
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    assert train(configured(*epochs, "trainer.max_epochs=1", "data.targets=0.25", run="targets"))["steps"] == 4


@pytest.mark.parametrize(
    ("given", "added"),
    [
        (["trainer.max_epochs=3"], ["trainer.max_steps=-1"]),
        (["trainer.max_steps=3"], ["trainer.max_epochs=-1"]),
        (["trainer.max_epochs=1,2", "-m"], ["trainer.max_steps=-1"]),
        (["trainer.max_epochs=3", "trainer.max_steps=3"], []),
        (["trainer.max_epochs=-1"], []),
        (["~trainer.max_epochs"], []),
        (["task.lr=1"], []),
    ],
)
def test_one_length_takes_the_place_of_the_other(given: list[str], added: list[str]) -> None:
    assert with_end(given) == [*given, *added]


def test_two_lengths_are_refused(configured: Configured) -> None:
    with pytest.raises(InputError, match=r"^trainer\.max_epochs=2: trainer\.max_steps=6 is set as well: keep one"):
        look_at_ranges(configured("trainer.max_epochs=2"))
