"""Config values whose type is another than the argument's that they are given to."""

import dataclasses
import inspect
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints

from hydra.utils import get_object
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue

from hardmine.errors import InputError
from hardmine.plan import Mix
from hardmine.search import Steps
from hardmine.tasks.optimisation import Optimisation

# values that the commands put something else in place of
_FILLED_IN: dict[str, object] = {"trainer.precision": "auto", "scoring.by_class": None, "classes": None}

# keys that no `_target_` has, by block
_OWN: dict[str, dict[str, Any]] = {
    "": {
        "seed": int,
        "timeout": float,
        **dict.fromkeys(("ckpt", "predictor", "resume"), str | None),
        "allow": list[str],
        "report": bool,
        "keep": Literal["weights", "all"],
        "compile": bool,
        "kernel": Literal["auto", "fused", "reference"],
        "out": str,
        "sources": bool,
        "keep_every": int,
        "source": str | None,
        **dict.fromkeys(("budget", "rows", "pictures"), int),
        "fail_under": float | None,
        "fail_area": str,
        "port": int | None,
        "open": bool,
    },
    "store": {
        "path": str | None,
        "sources": int,
        "min_pixels": int,
        "missing": Literal["keep", "whole"],
        "environment": str | Mapping[str, str] | None,
        "points": int,
    },
    "mining": {field.name: field.type for field in dataclasses.fields(Mix)},
    "search": {"rows": int, "searches": int, **get_type_hints(Steps)},
    "environment": dict.fromkeys(("order", "associations"), Mapping[str, Any] | None),
    "task": {**get_type_hints(Optimisation), "class_weights": Sequence[float] | Literal["balanced"] | None},
    "trainer": {"patience_nonfinite": int, "fused": bool},
    "data.counts": dict.fromkeys(("train", "val", "target", "test"), int),
}

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "null"}


def look_at_types(cfg: Any) -> None:
    """See that each value under a `_target_`, or of a block of our own, fits the hint of its argument.

    What has no hint, or needs an object, passes; so does what the commands fill in.

    Raises:
        InputError: the first value that does not.
    """
    _look(OmegaConf.to_container(cfg, resolve=False), cfg, ())


def _look(plain: Any, cfg: Any, path: tuple[str, ...]) -> None:
    if not isinstance(plain, dict):
        return
    hints = {**_hints(plain.get("_target_")), **_OWN.get(".".join(path), {})}
    for name, written in plain.items():
        _look(written, cfg, (*path, str(name)))
        if hints.get("", ...) is None and name not in hints and not str(name).startswith("_"):
            known = ", ".join(sorted(filter(None, hints)))
            raise InputError(f"{'.'.join((*path, str(name)))}: no such config key: {'.'.join(path)} takes {known}")
        if name not in hints or (isinstance(written, dict) and "_target_" in written):
            continue
        node = _block(cfg, path)
        try:
            value = node[name]  # what it refers to is filled in
        except (MissingMandatoryValue, InterpolationKeyError):  # whoever needs it tells
            continue
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        reference = isinstance(written, str) and re.fullmatch(r"\$\{([\w.]+)\}", written)
        key = reference[1] if reference else ".".join((*path, str(name)))
        filled_in = key in _FILLED_IN and value == _FILLED_IN[key]
        if not filled_in and not _fits(value, hints[name]):
            raise InputError(f"{key} must be {_words(hints[name])}, got {value!r:.60}")


def _block(cfg: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        cfg = cfg[name]
    return cfg


@cache
def _hints(target: Any) -> dict[str, Any]:
    """Hints of the arguments of what a config calls; none where they cannot be told.

    What has no hint has that of `Any`; the name "" says that there are no further arguments.
    """
    if not isinstance(target, str):
        return {}
    try:
        called = get_object(target)
        function = called.__init__ if inspect.isclass(called) else called
        hints = get_type_hints(function)
        found: dict[str, Any] = {"": None}
        for name, argument in inspect.signature(called).parameters.items():
            hint = hints.get(name, Any)
            if argument.kind is not argument.VAR_KEYWORD:
                found[name] = hint | None if argument.default is None else hint
            elif get_origin(hint) is Unpack:
                found.update(get_type_hints(get_args(hint)[0]))
            else:
                del found[""]
        return found
    except Exception:  # it is not there, which whoever calls it tells, or its hints are of another file
        return {}


def _fits(value: Any, hint: Any) -> bool:
    kind, of = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, each) for each in of)
    if kind is Literal:
        return value in of
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint in _WORDS:
        return isinstance(value, hint) and (hint is not int or not isinstance(value, bool))
    called = kind or hint
    if not inspect.isclass(called) or not issubclass(called, Collection):
        return True  # an object, which a config makes
    if issubclass(called, Mapping):
        return isinstance(value, dict)
    if not isinstance(value, list):
        return False
    if called is tuple and ... not in of:  # tuple[int, int] has two
        return len(value) == len(of) and all(map(_fits, value, of))
    return all(_fits(one, of[0]) for one in value) if of else True


def _words(hint: Any) -> str:
    kind, of = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_words, of)))
    if kind is Literal:
        return " or ".join(map(str, of))
    if hint in _WORDS:
        return _WORDS[hint]
    if inspect.isclass(kind or hint) and issubclass(kind or hint, Mapping):
        return "names with values"
    many = f"a list of {len(of)}" if kind is tuple and ... not in of else "a list"
    return f"{many} ({_words(of[0])} each)" if len(set(of) - {...}) == 1 and of[0] in _WORDS else many
