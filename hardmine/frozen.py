"""A config that a run folder holds is data: it says what to make, and only of what is known to be harmless.

Whoever made the folder may be somebody else. Hydra would call whatever function a `_target_` names.
"""

import inspect
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from hardmine.errors import InputError
from hardmine.files import read_text, trouble

# classes that lie below these names are made, where they are a kind of the class beside; `allow` adds others
PACKAGES = {
    **dict.fromkeys(("segmentation_models_pytorch", "timm", "torchvision.models", "torch.nn"), "torch.nn.Module"),
    **dict.fromkeys(("hardmine.callbacks", "lightning.pytorch.callbacks"), "lightning.pytorch.Callback"),
    "torch.optim": "torch.optim.Optimizer",
    "hardmine.data": "hardmine.data.LabelledData",
    "hardmine.tasks": "hardmine.tasks.base.Task",
    **dict.fromkeys(("hardmine.conversions", "hardmine.first", "hardmine.judge"), "builtins.object"),
    **dict.fromkeys(("hardmine.memory.buffer", "hardmine.memory.stopping"), "builtins.object"),
    **dict.fromkeys(("hardmine.neighbourhood", "hardmine.search", "hardmine.update"), "builtins.object"),
}
# and these by their names alone; some are functions, which make a network
NAMES = (
    *("hardmine.Mining", "hardmine.tasks.classifiers.classifier", "hardmine.tasks.detectors.fcos"),
    *("timm.create_model", "torchvision.models.get_model"),
    *("lightning.Trainer", "lightning.pytorch.Trainer"),
    *(f"lightning.pytorch.loggers.{name}Logger" for name in ("TensorBoard", "CSV", "Wandb")),
    "hardmine.callbacks.tracking.MLFlowLogger",
)
# arguments of loggers that send nothing to where a folder says, but to where the user is logged in
_LOGGERS = {
    "WandbLogger": ("_target_", "project", "name", "save_dir", "id", "offline", "log_model", "group", "tags", "notes"),
    "MLFlowLogger": ("_target_", "experiment_name", "run_name", "save_dir", "run_id", "log_model", "tags"),
}
_READS = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")  # arguments of networks
_WRITERS = ("callbacks", "logger", "trainer", "update")  # blocks whose objects write files
_PLACE = r"(?:dir|path|folder|trace)$"  # ends the names of arguments that say where
_SCHEMES = ("model_name", "encoder_name")  # of networks, `local-dir:FOLDER` or `hf-hub:NAME`
_SPECIAL = ("_target_", "_convert_", "_recursive_")  # not _args_ and _partial_, which call with anything
_OWN_FOLDER = "${hydra:runtime.output_dir}"
_KEY = r"\$\{([A-Za-z]\w*(?:\.\w+)*)\}"
_LARGEST = 1_000_000  # letters and values of a config with each reference written out

# blocks of a config, by their names; a config of an older version may lack some
BLOCKS = (
    *("data", "model", "task", "store", "conversion", "first", "neighbourhood", "scoring", "gate", "update"),
    *("callbacks", "logger", "mining", "buffer", "stopping", "environment", "trainer"),
)
_DEEPEST = 50
_LONGEST = 1 << 20  # bytes


def read_frozen(path: Path) -> dict[str, Any]:
    """A config as containers, not resolved.

    Args:
        path: of the YAML file.

    Raises:
        InputError: it is none that a run writes.
    """
    import yaml  # comes with omegaconf
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if why := trouble(path):
        raise InputError(f"{path}: {why}: name the folder of a run")
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError("it is too long")
        text = path.read_bytes().decode()
        if re.match(r"\s*#\s*@", text):  # Hydra would put the keys where this says
            raise ValueError("it begins with a directive of Hydra's")
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise ValueError("it is nested too deeply")
            if getattr(event, "anchor", None):  # ten of ten of ten of these are a thousand
                raise ValueError("it has a YAML anchor or alias")
        cfg = OmegaConf.load(io.StringIO(text))
        plain: Any = OmegaConf.to_container(cfg, resolve=False)
        if not isinstance(plain, dict) or not plain or not all(isinstance(key, str) for key in plain):
            raise ValueError("it must hold keys")
    except (yaml.YAMLError, OmegaConfBaseException, OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({why:.120}): name another run folder") from None
    for name in BLOCKS:
        if name in plain and not isinstance(plain[name], dict):
            raise InputError(
                f"{path}: {name}: must be a block of keys, got {plain[name]!r:.60}: name another run folder"
            )
    return plain


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, as plain values and containers.

    Raises:
        InputError: it is damaged, or no run writes such a file.
    """
    import yaml  # comes with omegaconf

    loader, text = getattr(yaml, "CSafeLoader", yaml.SafeLoader), read_text(path)
    try:
        repeats = any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, loader))
        plain = None if repeats else yaml.load(text, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({why:.120}): name another run folder") from None
    if repeats:  # a few lines may stand for billions
        raise InputError(f"{path}: has aliases, which no run writes: name another run folder")
    return plain


def flat(settings: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    """Keys with dots, and their values."""
    for name, value in settings.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{key}.")
        else:
            yield key, value


def written(value: Any) -> str:
    """A value as it is written on the command line."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def look_at_frozen(plain: Any, path: Path, allow: Sequence[str] = ()) -> None:
    """See that a config makes and reads nothing that could run code. Nothing of it is called.

    Args:
        plain: the config as containers, not resolved.
        path: the file that it is from.
        allow: packages whose classes and functions may be called too, and resolvers (`oc.env`).

    Raises:
        InputError: it does.
    """
    blocks = plain if isinstance(plain, dict) else {}
    strange = [name for name in ("hydra", "defaults") if name in blocks]
    if strange or not blocks:
        raise InputError(f"{path}: {strange[0] if strange else 'keys'}: no run writes that: name another run folder")
    for key, part in _parts(blocks, ""):
        if isinstance(part, str) and (key, part) != ("run_dir", _OWN_FOLDER):
            _look_at_references(path, key, part, allow)
    _look_at_calls(path, blocks, allow)
    _look_at_calls(path, _resolved(path, blocks, allow), allow)


def look_at_places(plain: dict[str, Any], path: Path, allow: Sequence[str] = ()) -> None:
    """See that what a config makes writes into the folder of its run and nowhere else.

    Args:
        plain: the config as containers, not resolved; one that `look_at_frozen` lets pass.
        path: the file that it is from.
        allow: folders that may be written to as well.

    Raises:
        InputError: it names another place.
    """
    run = path.parent.parent
    inside = [folder.expanduser().resolve() for folder in [run, *map(Path, allow)]]
    for name, block in _resolved(path, plain, allow).items():
        for key, value in _named(block, name) if name in _WRITERS else ():
            away = isinstance(value, str) and (value[:1] in "/~" or ".." in Path(value).parts)
            if not value or not isinstance(value, str) or not (away or re.search(_PLACE, key)):
                continue
            place = Path(value).expanduser().resolve()
            if not any(place.is_relative_to(folder) for folder in inside):
                raise InputError(
                    f"{path}: {key}: {value!r:.80} is outside of the run's folder: set it below {run}, or set "
                    f"allow=[{value:.80}] where you trust the folder"
                )


def _named(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Values of keys, however deep they lie; elements of a list have the key of the list."""
    for name, part in value.items() if isinstance(value, dict) else ():
        yield from _named(part, f"{key}.{name}")
    for part in value if isinstance(value, list) else ():
        yield from _named(part, key)
    if not isinstance(value, dict | list):
        yield key, value


def _parts(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Everything in a config, with its key."""
    yield key, value
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inside:
        if isinstance(value, dict):
            yield from _parts(str(name), key)  # a name may hold a reference as well
        yield from _parts(part, f"{key}.{name}" if key else str(name))


def _calls(allow: Sequence[str]) -> str:
    """A pattern of the resolvers that are allowed, with arguments that name keys at most."""
    names = "|".join(map(re.escape, allow)) or r"(?!)"
    return rf"\$\{{\s*(?:{names})\s*:(?:[^{{}}$\\]|{_KEY})*\}}"


def _look_at_references(path: Path, key: str, text: str, allow: Sequence[str]) -> None:
    """References are to keys, by their plain names: whatever else OmegaConf would make of a text is not looked into."""
    left = re.sub(f"{_calls(allow)}|{_KEY}", "", text, flags=re.ASCII)
    if "${" not in text or not re.search(r"[${}\\]", left):
        return
    resolver = re.search(r"\$\{\s*([\w.]+)\s*:", text, re.ASCII)
    trust = (
        f", or set allow=[{resolver[1]}] where you trust the folder" if resolver and resolver[1] not in allow else ""
    )
    raise InputError(f"{path}: {key}: {text!r:.80} asks for more than a key: write the value itself{trust}")


def _resolved(path: Path, blocks: dict[Any, Any], allow: Sequence[str]) -> dict[Any, Any]:
    """The config with a value in place of each reference; what comes of a resolver that is allowed is left out."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: without(part) for name, part in value.items()}
        if isinstance(value, list):
            return [without(part) for part in value]
        return re.sub(_calls(allow), "", value, flags=re.ASCII) if isinstance(value, str) else value

    known = {**without(blocks), "run_dir": str(path.parent.parent)}
    try:
        if _size(known) > _LARGEST:
            raise ValueError("they lead to one another without end")
        plain: Any = OmegaConf.to_container(OmegaConf.create(known), resolve=True)
    except (OmegaConfBaseException, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: references: {why:.120}: name another run folder") from None
    for key, part in _parts(plain, ""):
        if isinstance(part, str) and "${" in part:  # it would be resolved once more
            raise InputError(f"{path}: {key}: {part!r:.80} comes of what it refers to: write the value itself")
    return dict(plain)


def _size(blocks: dict[Any, Any]) -> int:
    """Letters and values with each reference written out, which may be too many to do it."""
    known: dict[str, int] = {}

    def size(value: Any) -> int:
        if isinstance(value, dict | list):
            return 1 + sum(map(size, value.values() if isinstance(value, dict) else value))
        if not isinstance(value, str):
            return 1
        return len(value) + sum(size_of(found[1]) for found in re.finditer(_KEY, value, re.ASCII))

    def size_of(name: str) -> int:
        if name not in known:
            known[name] = _LARGEST + 1  # where it comes to itself
            value: Any = blocks
            for part in name.split("."):
                if isinstance(value, dict | list):  # what a reference leads to is no smaller than a part of it
                    inside = value.items() if isinstance(value, dict) else enumerate(value)
                    value = next((each for key, each in inside if str(key) == part), None)
            known[name] = size(value)
        return known[name]

    return size(blocks)


def _look_at_calls(path: Path, blocks: dict[Any, Any], allow: Sequence[str]) -> None:
    for key, part in _parts(blocks, ""):
        if not isinstance(part, dict):
            continue
        for name in part:
            if isinstance(name, str) and re.fullmatch(r"_\w+_", name) and name not in _SPECIAL:
                raise InputError(f"{path}: {key}.{name}: a run folder cannot say that: name another run folder")
        target = part.get("_target_")
        if isinstance(target, str) and _below(target, allow):
            continue
        if why := _reads(part) or _sends(part) or (target is not None and _refused(target)):
            package = str(target).split(".")[0]
            raise InputError(
                f"{path}: {key}._target_: {target!r:.80} {why}: a run folder may not call it; set allow=[{package}] "
                "where you trust the folder"
            )


def _reads(part: dict[Any, Any]) -> str | None:
    """Why a call would read another file; None where it would not."""
    names = [name for name in _READS if part.get(name)] + [name for name in _SCHEMES if ":" in str(part.get(name))]
    return f"would read {names[0]}" if names else None


def _sends(part: dict[Any, Any]) -> str | None:
    """Why a logger would send something where the folder says; None where it does so where the user has said."""
    known = next((keys for name, keys in _LOGGERS.items() if str(part.get("_target_")).endswith(f".{name}")), None)
    if known is None:
        return None
    strange = [str(name) for name, value in part.items() if name not in known and value is not None]
    return f"would be given {strange[0]}" if strange else None


def _refused(target: Any) -> str | None:
    """Why something is not called; None where it may be."""
    if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", target, re.ASCII):
        return "is no plain name of a class"
    if target in NAMES:
        return None
    package = next((package for package in PACKAGES if _below(target, [package])), None)
    if package is None:
        return f"is outside of {', '.join([*PACKAGES, *NAMES])}"
    try:
        found = resolve_name(target)
    except Exception:  # whoever needs it says that it is not there
        return "is not there"
    if not inspect.isclass(found):
        return "is no class"
    own = f"{found.__module__}.{found.__qualname__}"  # by attributes of modules one comes to any class
    kind = PACKAGES[package]
    if not _below(own, [package]):
        return f"is {own}"
    return None if issubclass(found, resolve_name(kind)) else f"is no {kind}"


def _below(name: str, packages: Sequence[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)
