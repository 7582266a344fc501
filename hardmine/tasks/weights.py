"""Starting from weights that exist: a checkpoint of hardmine's, or a plain state dict of the same network."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from hardmine.errors import InputError
from hardmine.files import trouble
from hardmine.finite import look_at_weights


def load_weights(task: L.LightningModule, path: str | Path) -> None:
    """Put the weights of a file into `task.net` (R22, R41).

    Args:
        task: one of hardmine's, with `net` and `classes`.
        path: a checkpoint of a hardmine run, or a state dict of the network alone, as `torch.save` writes them.

    Raises:
        InputError: no such file, anything but plain tensors in it, other classes or another network.
    """
    path = Path(path).expanduser()
    if why := trouble(path):  # whoever opens a pipe waits for ever
        raise InputError(f"{path}: {why}: set ckpt to a checkpoint or a state dict")
    look_at_kind(path, "ckpt")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        why = "holds more than tensors" if isinstance(error, pickle.UnpicklingError) else "is no checkpoint"
        raise InputError(f"{path}: {why}: save the network with torch.save(net.state_dict(), PATH)") from None
    if not isinstance(saved, Mapping):
        raise InputError(f"{path}: holds a {type(saved).__name__}, no state dict: save net.state_dict()")
    classes = saved.get("classes")
    if classes is not None and tuple(classes) != tuple(task.classes):  # type: ignore[arg-type]
        raise InputError(
            f"{path}: was trained on the classes {', '.join(classes)}, the data has {', '.join(task.classes)}: "  # type: ignore[arg-type]
            "take data with the same classes in the same order"
        )
    own: dict[str, Tensor] = task.net.state_dict()  # type: ignore[union-attr]
    weights = _network_of(saved.get("state_dict", saved), own)
    problems = [
        *(f"{name} is missing" for name in own if name not in weights),
        *(f"{name} is unknown" for name in weights if name not in own),
        *(
            f"{name} is {tuple(weights[name].shape)} and not {tuple(value.shape)}"
            for name, value in own.items()
            if name in weights and weights[name].shape != value.shape
        ),
    ]
    if problems:
        raise InputError(f"{path}: does not fit the network ({problems[0]}; {len(problems)} in all): set model= to it")
    look_at_weights(str(path), weights)
    task.net.load_state_dict(weights)  # type: ignore[union-attr]


def look_at_kind(path: Path, key: str) -> None:
    """See that a file is not a network that was written for other programs.

    Args:
        path: of the file.
        key: that names it.

    Raises:
        InputError: it is one, by its ending.
    """
    kind = {".onnx": "a program of ONNX", ".pt2": "a program of PyTorch, and reading it may run code"}
    if found := kind.get(path.suffix.lower()):
        raise InputError(
            f"{key}: {path}: is {found}: set {key} to the checkpoint that it was written from, "
            "RUN_FOLDER/checkpoints/last.ckpt"
        )


def load_judge(task: L.LightningModule, path: Path) -> None:
    """Put the weights that judged candidates, a moving average of the model, into `task.net`.

    Args:
        task: with the network of the checkpoint.
        path: a checkpoint of a run with mining, read before by `load_weights`.

    Raises:
        InputError: the checkpoint has no such average.
    """
    saved = torch.load(path, map_location="cpu", weights_only=True)
    kept = saved.get("callbacks", {}).get("HardMining", {}).get("judge", {})
    weights = {name.removeprefix("net."): value for name, value in kept.items() if name.startswith("net.")}
    if not weights:
        raise InputError(
            f"{path}: weights=judge: it holds no judge: the run was not mined, or judged with the model as it is: take "
            "weights=model"
        )
    look_at_weights(str(path), weights)
    task.net.load_state_dict(weights)  # type: ignore[union-attr]


def _network_of(state: Mapping[str, Any], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the network, without what a wrapper put before their names: whichever fits it best."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    readings = [tensors]
    for prefix in ("net.", "module.", "model."):
        readings.append({n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)})
    return max(readings, key=lambda reading: len(reading.keys() & own.keys()))
