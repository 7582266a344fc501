"""Machine code by Numba, which needs no compiler on the user's machine."""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(*fast: str) -> Callable[[_Function], _Function]:
    """Numba without Python's lock; machine code is kept beside the source, or in the user's cache.

    Args:
        fast: what LLVM may assume of floating point. Sums alone may be reordered; their order is the same in every run.
    """

    def compile_(function: _Function) -> _Function:
        given: dict[str, Any] = {"nogil": True, "fastmath": {"contract", *fast}, "error_model": "numpy"}
        try:
            return njit(cache=True, **given)(function)  # type: ignore[no-any-return]
        except RuntimeError:  # nowhere to keep it: it is compiled anew in each process
            return njit(**given)(function)  # type: ignore[no-any-return]

    return compile_
