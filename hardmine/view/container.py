"""Any container of a batch: what lies on a path, and copies with something else there."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Key = str | int
Path = tuple[Key, ...]
_MISSING = (KeyError, IndexError, TypeError, AttributeError)  # what a path that leads nowhere raises
NUMBERS = ("index", "draw")
_DEEPEST = 6  # containers in containers that are looked into
OF_OBJECTS = frozenset({"boxes", "labels", "image_id", "area", "iscrowd", *NUMBERS})  # move with boxes, or need not


def path_of(key: Key) -> Path:
    if isinstance(key, int):
        return (key,)
    return tuple(int(part) if part.lstrip("-").isdigit() else part for part in key.split("."))


def dotted(path: Path) -> str:
    """The path as people read it."""
    return f"position {path[0]}" if len(path) == 1 and isinstance(path[0], int) else ".".join(map(str, path))


def has(holder: Any, name: Key) -> bool:
    if isinstance(holder, Mapping):
        return name in holder
    return isinstance(name, str) and not isinstance(holder, Tensor) and hasattr(holder, name)


def get(holder: Any, path: Path) -> Any:
    for part in path:
        holder = holder[part] if isinstance(holder, Mapping) or isinstance(part, int) else getattr(holder, part)
    return holder


def leads(holder: Any, path: Path) -> bool:
    """Whether something lies at the end of the path."""
    try:
        get(holder, path)
    except _MISSING:
        return False
    return True


def put(holder: Any, path: Path, value: Any) -> Any:
    """A copy of the containers along the path, with another value at its end."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    inner = put(get(holder, path[:1]), rest, value)
    if type(holder) is dict:
        return {**holder, part: inner}
    if hasattr(holder, "_fields"):  # a named tuple
        name = holder._fields[part] if isinstance(part, int) else part
        return holder._replace(**{str(name): inner})
    if isinstance(holder, tuple):
        return type(holder)(inner if place == part else item for place, item in enumerate(holder))
    new = copy.copy(holder)
    if isinstance(holder, Mapping | list):
        new[part] = inner
        return new
    try:
        setattr(new, str(part), inner)
    except (AttributeError, ValueError):  # frozen, ValueError by pydantic; its checks have been made
        object.__setattr__(new, str(part), inner)
    return new


def rows_of(value: Any, rows: Tensor, count: int, outermost: bool = False) -> Any:
    """Whatever has a row for each of `count` images, with the rows picked."""
    if isinstance(value, Tensor):
        return value[rows.to(value.device)] if value.ndim and len(value) == count else value
    if isinstance(value, list | tuple) and not outermost and len(value) == count:
        return type(value)(value[row] for row in rows.tolist())
    if isinstance(value, Mapping):
        return put_all(value, {name: rows_of(each, rows, count) for name, each in value.items()})
    if isinstance(value, list | tuple):
        parts = [rows_of(each, rows, count) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return put_all(value, {name: rows_of(each, rows, count) for name, each in fields_of(value).items()})


def fields_of(holder: Any, deep: int = _DEEPEST) -> dict[str, Any]:
    """What an object that is no container of Python's holds by name; nothing where it holds no tensor."""
    if isinstance(holder, Tensor | type):
        return {}
    names = list(getattr(holder, "__dict__", ()))
    for slots in (getattr(kind, "__slots__", ()) for kind in type(holder).__mro__):
        names += [slots] if isinstance(slots, str) else slots
    fields = {name: getattr(holder, name) for name in names if not name.startswith("__") and hasattr(holder, name)}
    return fields if any(_holds_tensors(each, deep) for each in fields.values()) else {}


def _holds_tensors(value: Any, deep: int) -> bool:
    if isinstance(value, Tensor):
        return True
    if isinstance(value, Mapping | list | tuple):
        inside = value.values() if isinstance(value, Mapping) else value
        return any(_holds_tensors(each, deep) for each in inside)
    return deep > 0 and bool(fields_of(value, deep - 1))


def listed(holder: Any) -> str:
    if isinstance(holder, Mapping):
        return "keys " + ", ".join(map(str, holder))
    if isinstance(holder, Sequence) and not isinstance(holder, str):
        inside = {type(each).__name__ for each in holder}
        return f"{len(holder)} positions" + (f" of {inside.pop()}" if len(inside) == 1 else "")
    if isinstance(holder, Tensor):
        return f"a tensor {tuple(holder.shape)}"
    return f"{type(holder).__name__} with " + ", ".join(name for name in fields_of(holder) if name[0] != "_")


def items_of(holder: Any) -> list[tuple[Key, Any]]:
    """Names, or positions, and what lies there; nothing where it is no container."""
    if isinstance(holder, Mapping):
        return list(holder.items())
    if hasattr(holder, "_asdict"):
        return list(holder._asdict().items())
    if isinstance(holder, list | tuple):
        return list(enumerate(holder))
    return list(fields_of(holder).items())


def placed_fields(holder: Any, known: set[Path | None], path: Path, nested: int = 0) -> Iterator[str]:
    """Fields that may have a place in the image: all that is more than one number for each image and not known.

    Args:
        holder: a container.
        known: paths of what moves with the image.
        path: of the container.
        nested: lists in lists it is one of.
    """
    if nested > 2 and any(isinstance(value, int | float) for _, value in items_of(holder)):  # points of each image
        yield dotted(path[: 1 - nested])
        return
    for name, value in items_of(holder):
        here = (*path, name)
        if here in known:
            for target in value[:1] if isinstance(value, list | tuple) else [value]:
                yield from (f"{dotted(here)}.{key}" for key, _ in items_of(target) if key not in OF_OBJECTS)
            continue
        shape = getattr(value, "shape", None)
        if shape is not None:
            if len(shape) > 1 and any(side > 1 for side in shape[1:]):
                yield dotted(here)
        elif len(path) < _DEEPEST:
            yield from placed_fields(value, known, here, nested + 1 if isinstance(value, list | tuple) else 0)


def copied(value: Any, deep: int = _DEEPEST) -> Any:
    """A batch that shares no tensor and no container with another; objects in objects may lead back to it."""
    if isinstance(value, Tensor):
        return value.clone()
    if hasattr(value, "_fields"):
        return type(value)(*(copied(each, deep) for each in value))
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(copied(each, deep) for each in value)
    if isinstance(value, Mapping):
        return put_all(copy.copy(value), {name: copied(each, deep) for name, each in value.items()})
    fields = fields_of(value) if deep else {}
    if not fields:
        return value
    return put_all(copy.copy(value), {name: copied(each, deep - 1) for name, each in fields.items()})


def numbers_in(holder: Any, name: str, count: int) -> Tensor | None:
    """(B,) int64 on the CPU, where the batch says them."""
    if not has(holder, name):
        return None
    value = get(holder, (name,))
    if isinstance(value, list | tuple) and all(isinstance(each, int) for each in value):
        value = torch.tensor(value)
    if not isinstance(value, Tensor) or value.shape != (count,) or value.is_floating_point():
        return None
    return value.detach().cpu().long()


def plain_tensor(value: Tensor) -> Tensor:
    """Without the type of torchvision's tensors."""
    return value.as_subclass(Tensor) if type(value) is not Tensor else value


def typed_like(original: Tensor, value: Tensor) -> Tensor:
    """With the type of the original, and what that holds beside its values."""
    if type(original) in (Tensor, torch.nn.Parameter):
        return value
    typed = value.as_subclass(type(original))
    vars(typed).update(vars(original))
    return typed


def put_all(target: Any, values: Mapping[str, Any]) -> Any:
    for name, value in values.items():
        target = put(target, (name,), value)
    return target
