"""The reference of all config keys, as Markdown, made of conf/*.yaml and the comments in them."""

import re
from collections.abc import Iterable

from hardmine.cli.keys import PRIMARY, ConfigFile, Key, defaults, groups, own_keys, read


def reference() -> str:
    """Groups, the keys of no group by command, and the options of each group with their keys."""
    usual, options = defaults(), groups()
    overview = (
        (f"[`{group}`](#{group})", usual[group].purpose, _names(files, usual[group].option))
        for group, files in options.items()
    )
    parts = ["## Groups", "The option in bold is the default.", _table(("group", "decides", "options"), overview)]
    parts += ["## Keys of no group"]
    for name in PRIMARY:
        if keys := own_keys(name):
            title = "train, mine, evaluate and explore" if name == "common" else name
            parts += [f"### {title}", read(name).about, _keys(keys)]
    for group, files in options.items():
        parts += [f"## {group}", f"`{group}=OPTION` chooses {usual[group].purpose}."]
        for file in files:
            several = group in ("experiment", "sweeper")  # they set keys of other groups
            body = f"```yaml\n{file.body}\n```" if several else _keys(file.keys)
            parts += [f"### {group}={file.path.stem}", file.about, body]
    return "\n\n".join(filter(None, parts)) + "\n"


def _keys(keys: Iterable[Key]) -> str:
    """A row for each key, and for each block that something is said of; the class that a config names is none."""
    told = [key for key in keys if not key.name.endswith("_target_") and (key.value or key.comment)]
    rows = ((f"`{key.name}`", _code(key.value), _meaning(key)) for key in told)
    return _table(("key", "default", "meaning"), rows) if told else ""


def _meaning(key: Key) -> str:
    other = re.fullmatch(r"\$\{([\w.]+)\}", key.value)
    return key.comment or (f"that of `{other[1]}`" if other else "")


def _names(files: Iterable[ConfigFile], default: str) -> str:
    names = (file.path.stem for file in files)
    return ", ".join(f"**`{name}`**" if name == default else f"`{name}`" for name in names)


def _code(value: str) -> str:
    return f"`{value}`" if value else ""


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    head = list(head)
    return "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *lines])
