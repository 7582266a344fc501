"""Arguments that cannot be, told in one line."""

from collections.abc import Iterable, Mapping
from math import inf, isfinite
from numbers import Integral, Real
from typing import Any

from hardmine.errors import InputError


def look_at_object(name: str, value: Any, kind: Any, example: str) -> None:
    """See that an argument is an object of a kind, or None.

    Args:
        name: of the argument.
        value: as it was given.
        kind: its class, or several; None takes whatever can be called.
        example: what it is, or one like it.

    Raises:
        InputError: a name, a class or anything else.
    """
    good = callable(value) and not isinstance(value, type) if kind is None else isinstance(value, kind)
    if value is not None and not good:
        raise InputError(f"{name} must be {example}, got {value!r:.60}")


def look_at_number(
    name: str, value: Any, least: float, most: float, unit: str, whole: bool = False, above: bool = False
) -> None:
    """See that an argument is a number in a range.

    Args:
        name: of the argument.
        value: as it was given.
        least, most: the ends of the range, which belong to it.
        unit: what it counts, or what it is where the range has an upper end.
        whole: no fraction of it.
        above: the lower end does not belong to the range.

    Raises:
        InputError: another number, or none.
    """
    number = isinstance(value, Real) and not isinstance(value, bool) and (isfinite(value) or value == most)
    inside = number and least <= value <= most and not (above and value == least)
    if not inside or (whole and not isinstance(value, Integral)):
        if most == inf:
            what = f"a number of {unit}, " + (f"above {least:g}" if above else f"{least:g} or more")
        else:
            what = f"{unit} " + (f"above {least:g} and up to" if above else f"from {least:g} to") + f" {most:.10g}"
        raise InputError(f"{name} must be {what}, got {value!r:.60}")


def names_of(name: str, values: Iterable[Any] | None) -> tuple[str, ...] | None:
    """Different names, as they were given.

    Raises:
        InputError: one name, a mapping, other things than names, or one twice.
    """
    if values is None:
        return None
    names = tuple(values) if isinstance(values, Iterable) and not isinstance(values, str | dict) else ()
    if not names or not all(isinstance(each, str) for each in names) or len(set(names)) < len(names):
        raise InputError(f"{name} must be a list of different names in label order, got {values!r:.80}")
    return names


def parted(given: Mapping[str, Any], *kinds: type) -> list[dict[str, Any]]:
    """Keyword arguments by the `TypedDict` that has them; the last part are those of none.

    >>> class Size(TypedDict): height: int
    >>> parted({"height": 3, "flip": True}, Size)
    [{'height': 3}, {'flip': True}]
    """
    of = {name: number for number, kind in enumerate(kinds) for name in kind.__annotations__}
    parts: list[dict[str, Any]] = [{} for _ in (*kinds, None)]
    for name, value in given.items():
        parts[of.get(name, -1)][name] = value
    return parts
