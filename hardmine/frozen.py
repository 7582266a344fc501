"""A config that a run folder holds is data: it says what to make, and only of what is known to be harmless.

Whoever made the folder may be somebody else. Hydra would call whatever function a `_target_` names.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hardmine.errors import InputError
from hardmine.files import read_text

# classes below these names are made; `allow` adds others
PACKAGES = (
    *("hardmine", "segmentation_models_pytorch", "timm", "torchvision.models", "torch.nn", "torch.optim"),
    *("lightning.Trainer", "lightning.pytorch.Trainer", "lightning.pytorch.callbacks"),
    *("lightning.pytorch.loggers.TensorBoardLogger", "lightning.pytorch.loggers.CSVLogger"),
)
# functions that make a network, and their arguments that would read another file
FACTORIES: dict[str, tuple[str, ...]] = {
    "hardmine.tasks.detectors.fcos": (),
    "timm.create_model": ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"),
    "torchvision.models.get_model": (),
}
_SPECIAL = ("_target_", "_convert_", "_recursive_")  # not _args_ and _partial_, which call with anything
_OWN_FOLDER = "${hydra:runtime.output_dir}"


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, as plain values and containers.

    Raises:
        InputError: it is damaged, or no run writes such a file.
    """
    import yaml  # type: ignore[import-untyped]  # comes with omegaconf

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
    for key, part in _parts(plain, ""):
        if isinstance(part, dict):
            _look_at_call(path, key, part, allow)
        elif isinstance(part, str) and part != _OWN_FOLDER:
            for resolver in re.findall(r"\$\{\s*([^{}:]*?)\s*:", part):
                if resolver not in allow:
                    raise InputError(
                        f"{path}: {key}: {part!r:.80} asks for more than a key: write the value itself, or set "
                        f"allow=[{resolver}] where you trust the folder"
                    )


def _parts(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Everything in a config, with its key."""
    yield key, value
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inside:
        if isinstance(value, dict):
            yield from _parts(str(name), key)  # a name may hold a reference as well
        yield from _parts(part, f"{key}.{name}" if key else str(name))


def _look_at_call(path: Path, key: str, part: dict[Any, Any], allow: Sequence[str]) -> None:
    for name in part:
        if isinstance(name, str) and re.fullmatch(r"_\w+_", name) and name not in _SPECIAL:
            raise InputError(f"{path}: {key}.{name}: a run folder cannot say that: name another run folder")
    target = part.get("_target_")
    if target is None or (isinstance(target, str) and _below(target, allow)):
        return
    why = _refused(target, part)
    if why:
        package = str(target).split(".")[0]
        raise InputError(
            f"{path}: {key}._target_: {target!r:.80} {why}: a run folder may not call it; set allow=[{package}] where "
            "you trust the folder"
        )


def _refused(target: Any, part: dict[Any, Any]) -> str | None:
    """Why something is not called; None where it may be."""
    if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", target, re.ASCII):
        return "is no plain name of a class"
    if target in FACTORIES:
        reads = [name for name in FACTORIES[target] if part.get(name)]
        if reads or ":" in str(part.get("model_name")):
            return f"would read {reads[0] if reads else 'model_name'}"
        return None
    if not _below(target, PACKAGES):
        return f"is outside of {', '.join(PACKAGES)}"
    from hydra.utils import get_object

    try:
        found = get_object(target)
    except Exception:  # whoever needs it says that it is not there
        return "is not there"
    if not inspect.isclass(found):
        return "is no class"
    return None if found.__module__.split(".")[0] == target.split(".")[0] else f"is {found.__module__}'s"


def _below(name: str, packages: Sequence[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)
