"""One line of the code made wrong, in memory alone."""

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from importlib import import_module
from types import CodeType
from typing import Any


@contextmanager
def sabotaged(place: str, right: str, wrong: str) -> Iterator[None]:
    """While it lasts, a function does what its changed source says, whoever has imported it.

    Args:
        place: `package.module:Class.method`.
        right: text that stands in its source once.
        wrong: in its place.
    """
    module, _, name = place.partition(":")
    function: Any = reduce(getattr, name.split("."), import_module(module))
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(right) == 1, f"{place} has {right!r} {source.count(right)} times"
    compiled = compile(source.replace(right, wrong), inspect.getfile(function), "exec")
    before, function.__code__ = function.__code__, _named(compiled, function.__code__.co_name)
    try:
        yield
    finally:
        function.__code__ = before


def _named(code: CodeType, name: str) -> CodeType:
    """The first function of that name in compiled code."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return next(each for each in inner if each.co_name == name)
