"""The server of the studio: the pages, and one socket over which they ask for jobs and get reports.

It listens to this machine alone unless told otherwise. The socket and the page need the token of the URL, and a request
must name the host that it is served from, which a page of another site that was led here by a DNS name does not.
"""

from __future__ import annotations

import asyncio
import mimetypes
import re
import secrets
import traceback
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from socket import getfqdn, gethostname
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from tinyconv.errors import TinyconvError, printable, shortened
from tinyconv.web import wire
from tinyconv.web.bundle import STATIC
from tinyconv.web.jobs import WHOLE, JobError
from tinyconv.web.studio import Studio
from tinyconv.web.wire import WireError

MOST = 1 << 20
"""Bytes of a message from a page: a drawing has some thousand."""
TABS = 32
"""Pages that are open at a time."""
WAITING = 64
"""Jobs that a page may wait for at a time."""
QUEUED = 64
"""Reports that wait for a slow page before old ones are dropped."""
BACKLOG = 256 << 20
"""Bytes of answers that wait for a page before it is given up: it asks, and does not listen."""
HEADERS = {
    # A page of another server on this machine may frame the studio: a notebook shows it so. It needs the token for it.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; "
    "object-src 'none'; frame-ancestors 'self' http://127.0.0.1:* http://localhost:* vscode-webview:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the token is in the URL
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
WILDCARDS = {"0.0.0.0", "::", ""}
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^][:@/?#\\\s]+)(?::\d{1,5})?", re.IGNORECASE)
mimetypes.add_type("text/javascript", ".js")  # the registry of a Windows machine may say otherwise


class Server:
    """The web application of a studio. `url` is where it is, token included.

    Args:
        studio: Whom it asks.
        host: What it was told to listen to: an address, or a name of this machine.
        address: The address and port that it listens to.
        token: The secret of the URL; drawn unless given.
    """

    def __init__(self, studio: Studio, host: str, address: tuple[str, int], token: str | None = None) -> None:
        self.studio, self.port = studio, address[1]
        self.token = secrets.token_urlsafe(24) if token is None else token
        self.url = self.url_at("127.0.0.1" if host in WILDCARDS else host)
        self._names = {host.lower(), address[0]}
        self._is_open = not ip_address(address[0]).is_loopback  # to other machines
        if self._is_open:
            self._names |= {gethostname().lower(), f"{gethostname().lower()}.local", getfqdn().lower()}
        if not self._is_open or address[0] in WILDCARDS:
            self._names |= LOOPBACK
        self._tabs = 0
        self._pages = Starlette(
            routes=[
                Route("/", self._page),
                WebSocketRoute("/socket", self._socket),
                Mount("/static", GZipMiddleware(StaticFiles(directory=STATIC), minimum_size=1000)),
            ]
        )

    def url_at(self, host: str) -> str:
        """Where the studio is to be opened, if this machine is called so."""
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/?token={self.token}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application: refuse what comes under a foreign name, and give every answer the headers."""
        if scope["type"] == "http":
            send, request = _with_headers(send), Request(scope)
            if not self._is_own(request):
                await PlainTextResponse("this is not the host that the studio runs on", 403)(scope, receive, send)
                return
        await self._pages(scope, receive, send)

    def _is_own(self, connection: HTTPConnection) -> bool:
        """Whether Host, and Origin where there is one, name this server.

        Other machines may call this one by an address that it does not know of, behind a router. An address is safe
        where a name is not: nobody can make it lead elsewhere.
        """
        hosts, origins = connection.headers.getlist("host"), connection.headers.getlist("origin")
        found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if found is None or any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            return False
        name = found[1].strip("[]").lower()
        return name in self._names or (self._is_open and _is_address(name))

    def _has_token(self, connection: HTTPConnection) -> bool:
        given = connection.query_params.get("token", "")
        return secrets.compare_digest(given.encode(), self.token.encode())

    async def _page(self, request: Request) -> Response:
        if not self._has_token(request):
            return PlainTextResponse(
                "The studio opens with the whole URL that `tinyconv studio` printed, token included.", 403
            )
        return Response((STATIC / "index.html").read_bytes(), media_type="text/html")

    async def _socket(self, socket: WebSocket) -> None:
        if not (self._is_own(socket) and self._has_token(socket)):
            await socket.send_denial_response(PlainTextResponse("wrong host, origin or token", 403))
        elif self._tabs >= TABS:
            await socket.send_denial_response(PlainTextResponse(f"{TABS} pages are open already", 503))
        else:
            self._tabs += 1
            try:
                with suppress(asyncio.CancelledError):  # the server ends, and cannot wait
                    await socket.accept()
                    await _Tab(self.studio, socket).serve()
            finally:
                self._tabs -= 1


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False


class _Tab:
    """One page that is open in a browser."""

    def __init__(self, studio: Studio, socket: WebSocket) -> None:
        self.studio, self.socket = studio, socket
        self.loop = asyncio.get_running_loop()
        self.outbox: deque[tuple[str | None, bytes]] = deque()  # reports, by the name of the event, and answers: None
        self.filled = asyncio.Event()
        self.answering: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        sending = asyncio.create_task(self._send())
        self.studio.join(self, self._report)
        self._report("subject", self.studio.subject.outline())
        try:
            while True:
                message = await self.socket.receive()
                waiting = sum(len(data) for _, data in self.outbox)
                if message["type"] == "websocket.disconnect" or waiting > BACKLOG:
                    break  # with no word to a page that does not listen: it would wait, too
                task = asyncio.create_task(self._answer(message, len(self.answering) < WAITING))
                self.answering.add(task)
                task.add_done_callback(self.answering.discard)
        finally:
            self.studio.leave(self)
            for task in (sending, *self.answering):
                task.cancel()

    async def _send(self) -> None:
        while True:
            await self.filled.wait()
            self.filled.clear()
            while self.outbox:
                _, message = self.outbox.popleft()
                with suppress(WebSocketDisconnect):  # `serve` hears of it too
                    await self.socket.send_bytes(message)

    def _put(self, event: str | None, message: bytes) -> None:
        """Send this in its turn. A page that does not keep up loses reports that a newer one of their kind follows."""
        self.outbox.append((event, message))
        reports = Counter(name for name, _ in self.outbox if name)
        if reports.total() > QUEUED:
            at = next((i for i, (name, _) in enumerate(self.outbox) if name and reports[name] > 1), None)
            if at is not None:
                del self.outbox[at]
        self.filled.set()

    def _report(self, event: str, data: dict[str, Any]) -> None:
        """From any thread."""
        message = wire.pack({"event": event, "data": data})
        self.loop.call_soon_threadsafe(self._put, event, message)

    async def _answer(self, received: Mapping[str, Any], accepted: bool) -> None:
        number: Any = None
        try:
            message = wire.unpack(received.get("bytes") or (received.get("text") or "").encode())
            number = message.get("id")
            if isinstance(number, bool) or not isinstance(number, int) or abs(number) > WHOLE:
                number, given = None, number
                raise WireError(f"a message has a number as its id, got {shortened(given)}")
            if not accepted:
                raise JobError(f"this page waits for {WAITING} answers already")
            if message.get("job") == "studio.take":
                self.studio.take_over(self)
                answer = wire.pack({"id": number, "result": None})
            else:
                packed = partial(_packed, number)  # in the thread of the studio, which may write into arrays afterwards
                future = self.studio.submit(message.get("job"), message.get("arguments", {}), self, packed)
                answer = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            answer = wire.pack({"id": number, "dropped": True})  # a newer one took its place
        except Exception as error:
            if not isinstance(error, TinyconvError | ValueError | TypeError | OSError | MemoryError):
                traceback.print_exception(error)  # a fault of the studio: the terminal has the rest
            answer = wire.pack({"id": number, "error": described(error)})
        self._put(None, answer)


def _packed(number: int, result: Any) -> bytes:
    return wire.pack({"id": number, "result": result})


def described(error: Exception) -> dict[str, Any]:
    """An error as a page shows it."""
    notes = [str(note) for note in getattr(error, "__notes__", [])]
    return {
        "kind": type(error).__name__,
        "text": printable(str(error), 2000),
        "notes": notes,
        "refused": isinstance(error, JobError),
    }


def _with_headers(send: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            message["headers"] = [*message["headers"], *own]
        await send(message)

    return sending
