"""Config values whose type is another than the argument's that they are given to."""

import inspect
import re
from collections.abc import Collection, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object
from omegaconf import OmegaConf

from hardmine.errors import InputError

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "null"}


def look_at_types(cfg: Any) -> None:
    """See that each value under a `_target_` fits the hint of its argument.

    What has no hint, or needs an object, passes; so do `null` and `auto`, which the commands fill in.

    Raises:
        InputError: the first value that does not.
    """
    _look(OmegaConf.to_container(cfg, resolve=False), cfg, ())


def _look(plain: Any, cfg: Any, path: tuple[str, ...]) -> None:
    if not isinstance(plain, dict):
        return
    hints = _hints(plain.get("_target_"))
    for name, written in plain.items():
        _look(written, cfg, (*path, name))
        if name not in hints or (isinstance(written, dict) and "_target_" in written):
            continue
        node = _block(cfg, path)
        value = None if OmegaConf.is_missing(node, name) else node[name]  # what it refers to is filled in
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        if value not in (None, "auto") and not _fits(value, hints[name]):
            reference = isinstance(written, str) and re.fullmatch(r"\$\{([\w.]+)\}", written)
            key = reference[1] if reference else ".".join((*path, name))
            raise InputError(f"{key} must be {_words(hints[name])}, got {value!r:.60}")


def _block(cfg: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        cfg = cfg[name]
    return cfg


def _hints(target: Any) -> dict[str, Any]:
    """Hints of the arguments of what a config calls; none where they cannot be told."""
    if not isinstance(target, str):
        return {}
    try:
        called = get_object(target)
        return get_type_hints(called.__init__ if inspect.isclass(called) else called)
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
    each = of[0] if len(set(of) - {...}) == 1 else Any  # tuple[int, ...] and list[int], not tuple[str, int]
    return isinstance(value, list) and all(_fits(one, each) for one in value)


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
    return f"a list ({_words(of[0])} each)" if of and of[0] in _WORDS else "a list"
