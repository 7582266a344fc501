"""Names as people write them: what does not show in one, which two are meant to be one, which a misspelt one means."""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from hardmine.errors import InputError

_JOINERS = "\u200c\u200d"  # they do not show either, and some scripts cannot be written without them


def near(word: str, choices: Iterable[str], similar: float = 0.6) -> str | None:
    """The choice that a misspelt word means; None where there is none.

    Args:
        word: as it was written.
        choices: what could have been meant.
        similar: how much of both must agree, from 0 to 1; blanks around the word and case do not count.

    >>> near("Val ", ["train", "val"]), near("tset", ["train", "test"]), near("night", ["train", "val"])
    ('val', 'test', None)
    """
    plain = {_plain(choice): choice for choice in choices}
    found = get_close_matches(_plain(word), plain, n=1, cutoff=similar)
    return plain[found[0]] if found else None


def did_you_mean(word: str, choices: Iterable[str], similar: float = 0.6) -> str:
    """The end of a line: which choice was meant, where one can be told; see `near`."""
    meant = near(word, choices, similar)
    return "" if meant is None else f" (did you mean `{meant}`?)"


def blemish(text: str) -> str | None:
    """What is in a text and does not show; None where there is nothing.

    >>> blemish("test "), blemish("te\\u200bst"), blemish("zebra crossing")
    ('has a blank before or after it', 'has a character that does not show (U+200B)', None)
    """
    if text != text.strip():
        return "has a blank before or after it"
    hidden = [letter for letter in text if not letter.isprintable() and letter not in _JOINERS]
    return f"has a character that does not show (U+{ord(hidden[0]):04X})" if hidden else None


def unified(name: str) -> str:
    """A path or a name as every system writes it: Windows has other slashes, and macOS parts letters and accents.

    >>> unified("night\\\\gru\\u0308n.png")
    'night/grün.png'
    """
    return unicodedata.normalize("NFC", name).replace("\\", "/")


def look_at_names(path: str | Path, what: str, names: Iterable[tuple[str, str]]) -> None:
    """See that names can be told apart, by people too.

    Args:
        path: of the file that they are in.
        what: they are names of.
        names: where each is in the file, and itself.

    Raises:
        InputError: one that is empty, twice there, or has what does not show; two that differ in blanks or case alone.
    """
    seen: dict[str, tuple[str, str]] = {}
    for place, name in names:
        where = f"{path}: {place}: {what} {name!r}"
        if not name:
            raise InputError(f"{path}: {place}: the {what} is empty: fill it in")
        if why := blemish(name):
            raise InputError(f"{where} {why}: remove it")
        before, other = seen.setdefault(_plain(name), (place, name))
        if before != place and other == name:
            raise InputError(f"{where} is twice there ({before} too), each with a name of its own: rename or drop one")
        if other != name:
            raise InputError(f"{where} differs from {other!r} ({before}) in blanks or case alone: write both alike")


def look_at_values(path: str | Path, what: str, values: Iterable[tuple[str, str]]) -> None:
    """`look_at_names` of what several entries may have in common; empty values are left out."""
    first: dict[str, str] = {}
    for place, value in values:
        first.setdefault(value, place)
    look_at_names(path, what, [(place, value) for value, place in first.items() if value])


def _plain(text: str) -> str:
    """Alike for texts that differ in blanks, case or the way their accents are put together."""
    return "".join(unicodedata.normalize("NFC", text).casefold().split())
