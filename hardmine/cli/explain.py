"""One line that names the key, from Hydra's and OmegaConf's several."""

import re
from difflib import get_close_matches
from itertools import takewhile
from textwrap import shorten

from hydra.errors import OverrideParseException

from hardmine.cli.blocks import meant
from hardmine.errors import InputError

# what their first line looks like, and ours of {0}, what is found in it
_LINES = {
    r"Could not override '(.+?)'\.": "'{0}': no such config key{meant}: see {help}",
    r"Could not delete from config\. '(.+?)' does not exist": "'{0}': no such config key{meant}: see {help}",
    r".*but config group '(.+?)' does not exist": "'{0}': no such config group{meant}: see {help}",
    r"Missing mandatory value: (.+)": "{0}: this config key must be given: KEY=VALUE",
    r"Interpolation key '(.+?)' not found": "{key}: refers to '{0}', which is no config key{meant}: see {help}",
    r"(?:Key|Missing key) '?(\w+)": "{key}: this config key is missing: it was taken out, or its block is null",
    r"Error (?:in call to|locating) (target)": "{key}: {cause}",
    r"Error merging override (.+)": "{0}: {cause}: see {help}",
}


def explain(error: BaseException, program: str) -> str:
    """The line of an error.

    Args:
        error: Hydra's, OmegaConf's or an `InputError`; or one that came of it.
        program: whose `--help` tells the keys.
    """
    if refused := refusal(error):
        return refused.keyed.splitlines()[-1].split("InputError: ")[-1]  # a loader process puts its traceback before
    if isinstance(error, OverrideParseException):
        return _unread(error.override)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    keys = [line.removeprefix("full_key:").strip() for line in lines if line.startswith("full_key:")]
    lines = [line for line in lines if not line.startswith(("full_key:", "object_type="))]
    key = next(filter(None, keys), "config")
    if (options := _options(lines)) is not None:
        return options
    cause = error.__cause__ or error
    why = shorten(" ".join(str(cause).split()), 200)
    for pattern, line in _LINES.items():
        if found := re.match(pattern, lines[0]):
            named = re.search(r"full_key: (\S+)", str(cause))
            name = named[1] if named and named[1].startswith(f"{found[1]}.") else found[1]  # inside of what was given
            return line.format(name, key=key, meant=meant(name), help=f"{program} --help", cause=why)
    return "; ".join([lines[0] if key in (*lines[0].split(), "config") else f"{key}: {lines[0]}", *lines[1:3]])


def refusal(error: BaseException) -> InputError | None:
    """The `InputError` that an error is, or came of."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__
    return cause


def _unread(override: str) -> str:
    """Of an argument that is not in Hydra's grammar."""
    key, equals, _ = override.lstrip("+~").partition("=")
    if not equals:
        return f"{override}: its value is missing: {key}=VALUE"
    return f"{override}: cannot be read: put the value in two pairs of quotes: '{key}=\"...\"'"


def _options(lines: list[str]) -> str | None:
    """Of an option that a group does not have, with all that it has; None where the error is another one."""
    place = next((place for place, line in enumerate(lines) if line.startswith("Available options in")), None)
    if place is None:
        return None
    # the options end where Hydra tells where it looked for them
    there = list(takewhile(lambda line: not line.endswith(":"), lines[place + 1 :]))
    found = re.search(r"Could not find '(.+?)'", lines[0])
    near = get_close_matches(found[1].split("/")[-1], there, 1) if found else []
    guess = f" (did you mean `{near[0]}`?)" if near else ""
    return f"{'; '.join(lines[:place])}{guess}: take one of {', '.join(there)}"
