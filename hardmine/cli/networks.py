"""The network that the config names: with pretrained weights where they can be had, compiled where that is wanted."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from hydra.utils import instantiate
from torch import nn

from hardmine.errors import InputError

# keys of `model` that have weights downloaded, and the values that have none
_DOWNLOADS: dict[str, Any] = {"encoder_weights": None, "weights": None, "weights_backbone": None, "pretrained": False}


def network(settings: Any, filled: bool = False) -> nn.Module:
    """The network of the block `model`.

    Args:
        settings: the block.
        filled: its weights come from a file, so that none are downloaded.

    Raises:
        InputError: weights that cannot be downloaded and are not in the cache.
    """
    wanted = {name: value for name, value in settings.items() if name in _DOWNLOADS and value not in (None, False)}
    if filled or not wanted:
        made: nn.Module = instantiate(settings, **{name: _DOWNLOADS[name] for name in wanted})
        return made
    try:
        with _cached_alone_where_nothing_answers():
            made = instantiate(settings)
    except Exception as error:
        if (why := _unreachable(error)) is None:
            raise
        name, value = next(iter(wanted.items()))
        none = "false" if _DOWNLOADS[name] is False else "null"
        raise InputError(
            f"model.{name}={value}: pretrained weights cannot be downloaded ({why:.120}) and are not in the cache: set "
            f"it to {none}, or copy the cache (HF_HOME, TORCH_HOME) from where there is a network"
        ) from None
    return made


@contextmanager
def _cached_alone_where_nothing_answers() -> Iterator[None]:
    """Without a network, Hugging Face's library would try for most of a minute before it looks into its cache."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    if not getproxies():
        try:
            socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
        except OSError:
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _unreachable(error: BaseException | None) -> str | None:
    """What the network, or a cache without it, said; None where the error is another one."""
    while error is not None and not isinstance(error, InputError):
        if isinstance(error, OSError):
            return " ".join(str(error).split())
        error = error.__cause__ or error.__context__
    return None


def compile_network(net: nn.Module, device: torch.device) -> None:
    """Have a network compiled with its first batch; its weights keep their names.

    Args:
        net: of a task.
        device: on which it is trained.

    Raises:
        InputError: there is no compiler for the device.
    """
    try:
        torch.compile(lambda x: (x + 1).cos())(torch.zeros(8, device=device))
    except Exception as error:  # each backend has kinds of its own
        why = " ".join(str(error).split())
        raise InputError(
            f"compile=true: nothing can be compiled for {device.type} here ({why:.120}): install a C++ compiler (g++), "
            "or set compile=false"
        ) from None
    net.compile()
