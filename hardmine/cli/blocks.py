"""Parts of the config that are missing, or no parts at all."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from hardmine.cli import config_folder
from hardmine.errors import InputError

_MOST = 16  # keys that a line has room for
IN_CALLBACKS = ("checkpoint", "early_stopping")  # groups that fill a part of the block `callbacks`


def options(group: str) -> list[str]:
    """What a group of the config offers."""
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))


def look_at_groups(values: Mapping[str, str]) -> None:
    """See that what is chosen of a group is the name of an option; Hydra itself stops with a traceback.

    Args:
        values: of the command line, by key, as they were written.

    Raises:
        InputError: null, a number, or several.
    """
    for group, value in values.items():
        there = options(group)
        if re.match(r"\{\s*_target_\s*:", value):  # a block of the user's own, put over the option's
            continue
        # of these, one is put over the other
        several = value.startswith("[") and group not in ("experiment", "gate", "callbacks")
        none = any(re.fullmatch(r"null|true|false|[\d.+-]+|\{.*", each, re.I) for each in value.split(","))
        if there and (several or none):
            raise InputError(f"{group}={value}: not the name of one option: take one of {', '.join(there)}")


def look_at_blocks(cfg: Any) -> None:
    """See that the config has every block and key that the commands read.

    Raises:
        InputError: one was taken out, or set to null or to a single value.
    """
    common = _common()
    groups = [next(iter(entry)) for entry in common["defaults"] if isinstance(entry, dict)]
    groups = [name for name in groups if name not in IN_CALLBACKS]
    blocks = [name for name, value in common.items() if isinstance(value, dict) and name != "hydra"]
    for name in [*groups, *blocks]:
        block = cfg.get(name)
        if not isinstance(block, DictConfig):
            choices = f"take one of {', '.join(options(name))}" if name in groups else "leave it in, and set its keys"
            raise InputError(f"{name} must be a block of keys, got {_words(block)}: {choices}")
    wanted = [name for name in common if name not in (*blocks, "defaults", "hydra")]
    wanted += [f"{name}.{key}" for name in blocks for key in common[name]]
    for key in [] if cfg.get("resume") else wanted:  # a run that was begun may not know the latest ones
        *block, name = key.split(".")
        if name not in (cfg[block[0]] if block else cfg):
            raise InputError(f"{key}: this config key was taken out: set it to a value in place of that")
    _look_at_targets(cfg, [*groups, *blocks])
    if "mining" in cfg.callbacks:
        raise InputError("callbacks.mining: this name is the search's own: give the callback another one")


def _look_at_targets(cfg: Any, blocks: list[str]) -> None:
    """Blocks that make an object say which; those of `callbacks` and `gate` make one each."""
    parts = {name: cfg[name] for name in blocks if name not in ("callbacks", "gate", "store", "environment")}
    for block in ("callbacks", "gate"):
        for name, part in cfg[block].items():
            if not isinstance(part, DictConfig):
                raise InputError(
                    f"{block}.{name} must be a block of keys, got {_words(part)}: leave it out by ~{block}.{name}"
                )
            parts[f"{block}.{name}"] = part
    for name, part in parts.items():
        made = part.get("_target_")
        if not isinstance(made, str) and not (made is None and name in ("neighbourhood", "logger")):
            raise InputError(f"{name}._target_ must be the name of a class, got {_words(made)}")
        try:
            made and get_object(made)
        except Exception as error:  # whatever its module makes of being imported
            why = " ".join(str(error).split())
            raise InputError(f"{name}._target_: {made} is not there ({why:.160}): name another class") from None


def _words(value: Any) -> str:
    return "null" if value is None else f"{value!r:.60}"


@cache
def _common() -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(OmegaConf.load(config_folder() / "common.yaml"), resolve=False)
    return dict(plain)


@cache
def known_keys() -> dict[str, str]:
    """Every key of every config file, and every group; with the group that it is chosen by."""
    folder = config_folder()
    keys: dict[str, str] = {}
    for path in sorted(folder.glob("**/*.yaml")):
        group = path.parent.name if path.parent != folder else ""
        if group not in ("experiment", "sweeper"):
            block = "callbacks" if group in IN_CALLBACKS else group
            for key in (group, *_keys(OmegaConf.load(path), block)):
                keys.setdefault(key, group or key.split(".")[0])
    return {key: by for key, by in keys.items() if key and key.split(".")[0] not in ("defaults", "hydra")}


def _keys(part: Any, before: str) -> list[str]:
    keys = []
    for name in part if isinstance(part, DictConfig) else ():
        key = ".".join(filter(None, (before, str(name))))
        inside = part._get_node(name)
        keys += [key, *_keys(inside, key)] if str(name) not in ("_target_", "defaults") else []
    return keys


def _commands_with(key: str) -> list[str]:
    """The commands that have a key of their own."""
    files = [path for path in sorted(config_folder().glob("*.yaml")) if path.stem != "common"]
    return [f"hardmine {path.stem}" for path in files if key in _keys(OmegaConf.load(path), "")]


def meant(key: str) -> str:
    """What a key that is not there may be: one of another command or of another choice; like one of its block, or one
    elsewhere; else which keys its block has."""
    known = known_keys()
    if key in known:
        having = _commands_with(key)
        return f" here, only in {' and '.join(having)}" if having else f" with this choice of {known[key]}"
    block, _, name = key.rpartition(".")
    beside = {each.removeprefix(f"{block}."): each for each in known if block and each.startswith(f"{block}.")}
    elsewhere = {each.split(".")[-1]: each for each in reversed(known) if each not in beside.values()}
    others = [each for each in known if not block or each not in (block, *beside.values())]
    near = (
        [beside[like] for like in get_close_matches(name, beside, 1, 0.7)]
        or get_close_matches(key, others, 1, 0.75)
        or [elsewhere[like] for like in get_close_matches(name, elsewhere, 1, 0.9 if beside else 0.75)]
    )
    if near:
        return f" (did you mean `{near[0]}`?)"
    return f" ({block} has {', '.join(beside)})" if 0 < len(beside) <= _MOST else ""
