"""Keys and values of the config: what cannot be worked with is one line, before anything is built or written."""

import re
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser

from hardmine.cli import config_folder
from hardmine.cli.config import BAD, look_at
from hardmine.cli.explain import explain
from malformed.ground import refused

# by key: values of another type, out of range, or without a meaning
VALUES: dict[str, tuple[str, ...]] = {
    "seed": ("abc", "-1", "1.5", "nan", "null", "true", "4294967296", "[1]", "''"),
    "timeout": ("abc", "0", "-5", "nan", "inf", "null", "{a: 1}"),
    "ckpt": ("3", "[a]", "{a: b}"),
    "kernel": ("fast", "null", "3"),
    "allow": ("3", "[1]", "null", "os"),
    "data.size": ("[0,0]", "[32]", "[32,32,32]", "32", "[a,b]", "[-32,32]", "[32.5,32]", "null", "[99999,99999]"),
    "data.batch_size": ("0", "-1", "abc", "2.5", "nan", "null", "true", "[8]", "100000000"),
    "data.num_workers": ("-1", "many", "0.5", "null", "99999"),
    "data.flip": ("perhaps", "1", "null", "[true]"),
    "data.targets": ("-0.1", "1.1", "nan", "inf", "half", "null"),
    "data.cache_gib": ("-1", "nan", "much", "null", "-inf"),
    "data.scene_seed": ("x", "-1", "0.5", "null"),
    "data.counts": ("3", "[1]", "{train: 0, val: 2, target: 2, test: 2}", "{train: x}", "{val: -1}", "{train: null}"),
    "store.missing": ("perhaps", "null", "1", "true"),
    "store.min_pixels": ("-1", "abc", "nan", "null", "0.5"),
    "store.sources": ("-1", "abc", "1.5", "null"),
    "store.points": ("0", "-3", "x", "1.5", "null"),
    "store.environment": ("3", "[night]", "true"),
    "store.path": ("3", "[a]"),
    "conversion.parts.color.max_gain": ("0", "-1", "nan", "abc", "null", "true"),
    "conversion.parts.color.min_std": ("-1", "nan", "inf", "abc", "null"),
    "conversion.parts.color.colors": ("hsv", "3", "null"),
    "conversion.parts.color.individual": ("perhaps", "null", "2"),
    "conversion.parts.frame.smallest": ("0", "-1", "nan", "abc", "null", "1.5"),
    "conversion.parts.frame.share": ("-0.1", "1.1", "nan", "abc", "null"),
    "first.areas": ("3", "some", "null", "{a: b}", "[1, 2]"),
    "first.whole": ("3", "null", "often"),
    "neighbourhood.radius": ("0", "-1", "nan", "inf", "far"),
    "neighbourhood.margin": ("-1", "nan", "inf", "wide", "null"),
    "neighbourhood.targets": ("0", "-1", "1.5", "x", "null"),
    "neighbourhood.channels": ("rgb", "1", "null"),
    "neighbourhood.independent": ("3", "null"),
    "scoring.converted": ("3", "null", "perhaps"),
    "update.every": ("-1", "x", "1.5", "null", "nan"),
    "update.tries": ("0", "-1", "x", "null"),
    "update.stored": ("3", "null"),
    "task.lr": ("-1", "nan", "inf", "fast", "null", "true", "[0.1]"),
    "task.weight_decay": ("-1", "nan", "inf", "x", "null"),
    "task.channels_last": ("3", "null"),
    "mining.threshold": ("abc", "nan", "-0.1", "2.5", "inf", "null", "true"),
    "mining.hardest": ("abc", "0", "1.5", "nan", "-1"),
    "mining.start": ("-1", "abc", "2.5", "null", "nan", "inf"),
    "mining.mined": ("-0.1", "1.1", "nan", "abc", "null", "true"),
    "mining.stand_ins": ("-0.1", "1.1", "nan", "abc"),
    "mining.candidates": ("0", "-1", "1.5", "abc", "null"),
    "mining.score_size": ("0.25", "abc", "true", "0", "null"),
    "mining.decay": ("-0.1", "1.1", "nan", "abc"),
    "buffer.capacity": ("0", "-1", "1.5", "abc", "null"),
    "buffer.max_replays": ("0", "-1", "1.5", "abc", "null"),
    "buffer.max_age": ("0", "-1", "nan", "abc", "null"),
    "stopping.max_pieces": ("0", "-1", "1.5", "abc"),
    "stopping.min_hit_rate": ("-0.1", "1.1", "nan", "abc", "null"),
    "stopping.patience": ("0", "1.5", "abc", "null"),
    "stopping.window": ("0", "1.5", "abc", "null"),
    "environment.order": ("3", "[night]", "night"),
    "environment.associations": ("3", "[night]", "night"),
    "trainer.max_steps": ("2.5", "abc", "-2", "nan", "null", "-1", "[3]"),
    "trainer.max_epochs": ("1.5", "abc", "-2", "nan"),
    "trainer.devices": ("0", "-2", "abc", "1.5", "null", "{a: 1}", "[]", "[-1]"),
    "trainer.patience_nonfinite": ("0", "-1", "1.5", "x", "null"),
    "trainer.num_nodes": ("0", "-1", "abc", "1.5", "null"),
    "trainer.strategy": ("nope", "3", "null", "ddp_fork"),
    "trainer.accelerator": ("nope", "3", "null"),
    "trainer.precision": ("nope", "8", "[16]"),
    "trainer.val_check_interval": ("0", "-1", "nan", "abc", "1.5", "[1]"),
    "trainer.check_val_every_n_epoch": ("0", "-1", "abc", "1.5"),
    "trainer.num_sanity_val_steps": ("-2", "abc", "1.5"),
    "trainer.log_every_n_steps": ("-1", "abc", "1.5", "nan"),
    "trainer.deterministic": ("abc", "3", "[true]"),
    "trainer.fused": ("abc", "3", "[true]"),
    "callbacks.pictures.every": ("0", "-1", "abc", "null", "1.5"),
    "callbacks.pictures.rows": ("0", "-1", "abc", "null"),
    "callbacks.progress.every": ("0", "-1", "abc", "null"),
    "callbacks.checkpoint.every_n_train_steps": ("0", "-1", "abc", "1.5"),
    "model.encoder_name": ("3", "null", "[resnet18]"),
}
GROUPS = (
    *("data", "model", "store", "conversion", "first", "neighbourhood", "scoring", "gate", "update", "task", "logger"),
    "callbacks",
)
BLOCKS = (*GROUPS, "mining", "buffer", "stopping", "environment", "trainer")
MISSPELT = {  # what is like it
    "mining.treshold=0.5": "mining.threshold",
    "minning.threshold=0.5": "mining.threshold",
    "mining.Threshold=0.5": "mining.threshold",
    "threshold=0.5": "mining.threshold",
    "data.batchsize=4": "data.batch_size",
    "batch_size=4": "data.batch_size",
    "lr=0.1": "task.lr",
    "trainer.max_step=3": "trainer.max_steps",
    "max_steps=3": "trainer.max_steps",
    "conversion.parts.colour.max_gain=3": "conversion.parts.color.max_gain",
    "callbacks.picture.every=3": "callbacks.pictures.every",
    "store.pth=a": "store.path",
    "neighborhood=select": "neighbourhood",
    "modell=unet": "model",
    "buffer.capasity=3": "buffer.capacity",
    "~mining.treshold": "mining.threshold",
    "neighbourhood=selekt": "select",
    "neighbourhood=blnd": "blend",
    "scoring=pixelrate": "pixel_rate",
    "model=u_net": "unet",
    "experiment=blod_cells": "blood_cells",
    "data=folders": "folder",
}
OTHERS: dict[str, tuple[tuple[str, ...], str]] = {  # arguments, and what the line has
    "the search taken out": (("~callbacks.mining",), "callbacks.mining"),
    "a callback in its place": (("+callbacks.mining={_target_: hardmine.callbacks.Signals}",), "callbacks.mining"),
    "a callback that is null": (("callbacks.pictures=null",), "~callbacks.pictures"),
    "a callback that is a number": (("+callbacks.mine=3",), "callbacks.mine "),
    "a callback without a class": (("+callbacks.mine={patience: 3}",), "callbacks.mine._target_"),
    "a gate that is null": (("gate=teacher", "gate.teacher=null"), "gate.teacher"),
    "a class that is not there": (("model._target_=nowhere.Net",), "model._target_: nowhere.Net is not there"),
    "a class that is a number": (("task._target_=3",), "task._target_"),
    "a class that is null": (("data._target_=null",), "data._target_"),
    "no class": (("~model._target_",), "model._target_"),
    "an argument that is not there": (("+conversion.parts.color.gain=2",), "gain"),
    "a key twice in a block": (("+mining.mind=0.5",), "mind"),
    "a key taken out": (("~mining.mined",), "mining.mined"),
    "the seed taken out": (("~seed",), "seed"),
    "no limit of steps": (("~trainer.max_steps",), "trainer.max_steps"),
    "store taken out": (("~store",), "store"),
    "a key of store taken out": (("~store.path",), "store.path"),
    "a reference to itself": (("task.lr=${task.lr}",), "task.lr"),
    "no value": (("seed",), "seed"),
    "a bracket open": (("data.size=[32,32",), "data.size"),
    "a quote open": (("seed='3",), "seed"),
}
WHOLE: dict[str, tuple[tuple[str, ...], str]] = {  # for the whole command: what Hydra or its jobs refuse
    "a sweep without -m": (("seed=0,1",), "seed"),
    "an option of nobody": (("--nonsense",), "--nonsense"),
    "a launcher of nobody": (("hydra/launcher=nope",), "hydra/launcher"),
    "a group of nobody": (("+nothing@here=a",), "nothing"),
    "no folder to run in": (("hydra.run.dir=null",), "hydra.run.dir"),
    **{
        f"{group}={value}": ((f"{group}={value}",), f"{group}={value}: ") for group in GROUPS for value in ("null", "3")
    },
    "a reference to nothing": (("task.lr=${tusk.lr}",), "tusk.lr"),
    "an equals sign alone": (("=3",), "=3"),
    "a list of options": (("neighbourhood=[select,blend]",), "neighbourhood"),
    "the search of mine": (("+search={}",), "search"),
    "a value": (("seed=abc",), "seed must be"),
    "a range": (("task.lr=nan",), "task.lr must be"),
    "a block": (("~store",), "store must be"),
    "a key": (("mining.treshold=3",), "did you mean `mining.threshold`"),
}


def cases() -> Iterator[tuple[str, tuple[tuple[str, ...], str]]]:
    """By name: the arguments, and what the line has."""
    for key, values in VALUES.items():
        for value in values:
            yield f"{key}={value}", ((f"{key}={value}",), key)
    for block in BLOCKS:
        if block not in GROUPS:
            for value in ("null", "3"):
                yield f"{block}={value}", ((f"{block}={value}",), block)
        if block != "callbacks":  # those of other groups are left
            yield f"~{block}", ((f"~{block}",), block)
    for argument, meant in MISSPELT.items():
        yield f"misspelt {argument}", ((argument,), f"did you mean `{meant}")
    yield from OTHERS.items()


CASES = dict(cases())
FEW = "data.counts={train: 4, val: 2, target: 2, test: 2}"


@cache
def composed(*choices: str) -> Any:
    """With what is chosen of the groups; composing takes longer than looking."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", [FEW, "run_dir=run", *choices])


def looked_at(*arguments: str) -> None:
    """As every command does before it builds anything: the choices, then the keys, which Hydra puts in one by one."""
    choices = [argument for argument in arguments if argument.split("=")[0].lstrip("~") in (*GROUPS, "experiment")]
    cfg = deepcopy(composed(*choices))
    given = OverridesParser.create().parse_overrides([each for each in arguments if each not in choices])
    ConfigLoaderImpl._apply_overrides_to_config(given, cfg)
    look_at(cfg)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"malformed {case}")
def test_refused(case: str) -> None:
    arguments, told = CASES[case]
    with pytest.raises(BAD) as caught:
        looked_at(*arguments)
    line = explain(caught.value, "hardmine train")
    assert told in line and "\n" not in line and len(line) < 400, line


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: f"malformed command {case}")
def test_the_command_refuses(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line, no traceback, no folder left behind."""
    arguments, told = WHOLE[case]
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, tmp_path, "train", FEW, f"hydra.run.dir={tmp_path / 'run'}", *arguments)
    assert told in line


def test_nor_are_the_folders_of_the_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "task.lr must be" in refused(capsys, tmp_path, "train", FEW, "task.lr=nan")


ACCEPTED = {  # on purpose, and why
    "mining.threshold=2": "above 1 everything is hard",
    "mining.threshold=0": "nothing is hard: trains as if there were no mining",
    "conversion.parts.color.max_gain=inf": "contrast may be stretched without a limit",
    "data.cache_gib=inf": "all images are kept",
    "data.cache_gib=0": "none is",
    "task.lr=0": "nothing is learned: for looking at the search alone",
    "task.lr=1": "a whole number is a number",
    "mining.hardest=null": "the default share",
    "mining.mined=0": "nothing is converted",
    "store.environment={time: night}": "by component, or in words",
    "store.environment=sunny night": "in words",
    "neighbourhood=select neighbourhood=blend": "the last choice counts, as Hydra has it",
    "trainer.devices=[0,1]": "by number",
    "trainer.devices=auto": "all that there are",
    "trainer.val_check_interval=0.5": "share of an epoch",
    "trainer.max_steps=-1 trainer.max_epochs=2": "epochs end it",
    "trainer.max_steps=0": "measures the weights as they are",
    "trainer.deterministic=warn": "Lightning's own",
    "~callbacks.pictures": "a callback less",
    "~callbacks": "those of checkpoint and early_stopping alone",
    "+trainer.limit_train_batches=0.5": "a further argument of the trainer",
    "seed=4294967295": "the largest",
    "timeout=0.5": "half a second",
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted_on_purpose(case: str) -> None:
    looked_at(*re.split(r" (?=[\w.+~]+=)", case))
