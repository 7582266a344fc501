"""What may ask the page for something: a browser on this machine, and no page of another site in it."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

NAMES = ("127.0.0.1", "localhost", "::1")
# the page's own script and style stand in it, and Vue compiles its templates; nothing comes from anywhere else
_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Passes on to an ASGI application what comes from its own page.

    A request must name this machine as its host, so that no other name can be made to lead here (DNS rebinding); one
    that says which page it comes from must come from this one. What is longer than an upload may be is refused.

    Args:
        app: the application.
        most: bytes of a request.
    """

    def __init__(self, app: App, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value.decode("latin-1"))
        if not is_own(headers.get(b"host", []), headers.get(b"origin", [])):
            await _refuse(scope, send, 403, "this page is for this machine alone")
        elif scope["type"] == "websocket":
            await self.app(scope, receive, send)
        elif any(not length.isdigit() or int(length) > self.most for length in headers.get(b"content-length", [])):
            await _refuse(scope, send, 413, "too large")
        else:
            await self.app(scope, self._bounded(receive), _with_headers(send))

    def _bounded(self, receive: Receive) -> Receive:
        """Ends a request that is longer than it may be, whatever it said of its length."""
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            return message if seen <= self.most else {"type": "http.disconnect"}

        return bounded


def is_own(hosts: list[str], origins: list[str]) -> bool:
    """Whether a request names this machine and, where it says from which page it comes, that page is ours.

    Args:
        hosts: values of its `Host`.
        origins: values of its `Origin`.

    >>> is_own(["127.0.0.1:8765"], []), is_own(["127.0.0.1:8765"], ["http://localhost:8765"])
    (True, False)
    >>> is_own(["evil.example:8765"], ["http://evil.example:8765"]), is_own([], [])
    (False, False)
    """
    if len(hosts) != 1 or len(origins) > 1:
        return False
    try:
        name = urlsplit(f"//{hosts[0]}").hostname
    except ValueError:
        return False
    return name in NAMES and all(origin == f"http://{hosts[0]}" for origin in origins)


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"hardmine explore: {why}\n".encode()})


def _with_headers(send: Send) -> Send:
    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            more = [(name.encode(), value.encode()) for name, value in _HEADERS.items() if name.encode() not in given]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return adding
