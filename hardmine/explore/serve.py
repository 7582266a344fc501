"""A page on a socket of this machine alone."""

import os
import secrets
import socket
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from hardmine.data.upload import MOST_BYTES
from hardmine.errors import InputError
from hardmine.explore.guard import Guard

PORT = 8765
_HOST = "127.0.0.1"
_FORM = 2**20  # bytes that a browser puts around an upload, at most
_CLOSING = 2  # seconds that open connections have at the end


class Shows(Protocol):
    """What is served."""

    def build(self) -> None:
        """Put the page together, for each browser that opens it."""
        ...

    @property
    def told(self) -> str:
        """The line at the end."""
        ...


@contextmanager
def listening(port: int | None) -> Iterator[socket.socket]:
    """A socket that only this machine reaches; whoever asks before there is something to serve waits.

    Args:
        port: of it; None takes the usual one, or any other where that is taken.

    Raises:
        InputError: the port is taken, or not ours to take.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as found:
        if os.name == "posix":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of one that has just ended
        for wanted in (PORT, 0) if port is None else (port,):
            try:
                found.bind((_HOST, wanted))
                found.listen()
                break
            except OSError as error:
                why = (error.strerror or str(error)).lower()
        else:
            raise InputError(f"port: {port}: {why}: set port= to another, or leave it out")
        yield found


def serve(page: Shows, found: socket.socket, opens: bool, say: Callable[[str], None]) -> None:
    """Until Ctrl-C.

    The address has a word in it that nobody can guess, so that other people with an account on this machine do not find
    the page.

    Args:
        page: what is served.
        found: see `listening`.
        opens: open it in a browser, where there is a desktop.
        say: one line for people.
    """
    import uvicorn
    from fastapi import FastAPI
    from nicegui import app as pages, core, ui

    path = f"/{secrets.token_urlsafe(12)}"
    address = f"http://{_HOST}:{found.getsockname()[1]}{path}"

    @ui.page(path, title="hardmine explore")
    def build() -> None:
        page.build()

    def begun() -> None:
        say(f"explore: {address} (Ctrl-C ends it)")
        if opens and has_desktop():
            webbrowser.open(address)

    application = FastAPI(openapi_url=None)
    ui.run_with(
        application,
        title="hardmine explore",
        dark=None,  # as the browser's owner has it
        language="en-US",
        tailwind=False,
        reconnect_timeout=10.0,
        message_history_length=50,
        show_welcome_message=False,
    )
    core.sio.eio.cors_allowed_origins = None  # the page's own origin alone; NiceGUI takes any
    pages.on_startup(begun)
    server = uvicorn.Server(
        uvicorn.Config(
            Guard(application, MOST_BYTES + _FORM),
            log_level="error",
            ws="wsproto",
            lifespan="on",
            server_header=False,
            timeout_graceful_shutdown=_CLOSING,
        )
    )
    with suppress(KeyboardInterrupt):
        server.run(sockets=[found])
    say(page.told)


def has_desktop() -> bool:
    """Whether a browser would have a window; without one Python takes a browser that fills the terminal."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
