"""The server of the studio: the pages, and one socket over which they ask for jobs and get reports.

It listens to this machine alone unless told otherwise. The socket and the page need the token of the URL, and a request
must name the host that it is served from, which a page of another site that was led here by a DNS name does not.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

from tinyconv.errors import TinyconvError, printable
from tinyconv.web import wire
from tinyconv.web.jobs import JobError
from tinyconv.web.studio import Studio

STATIC = Path(__file__).parent / "static"
MOST = 1 << 20
"""Bytes of a message from a page: a drawing has some thousand."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the token is in the URL
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
QUEUED = 64
"""Reports that wait for a slow page before the oldest is dropped."""


class Server:
    """The web application of a studio. `url` is where it is, token included.

    Args:
        studio: Whom it asks.
        host: The address it listens to.
        port: The port.
        token: The secret of the URL; drawn unless given.
    """

    def __init__(self, studio: Studio, host: str, port: int, token: str | None = None) -> None:
        self.studio, self.host, self.port = studio, host, port
        self.token = secrets.token_urlsafe(24) if token is None else token
        self._pages = Starlette(
            routes=[
                Route("/", self._page),
                WebSocketRoute("/socket", self._socket),
                Mount("/static", StaticFiles(directory=STATIC)),
            ]
        )

    @property
    def url(self) -> str:
        """Where the studio is to be opened."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/?token={self.token}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application: refuse what comes under a foreign name, and give every answer the headers."""
        if scope["type"] == "http":
            request = Request(scope)
            if not self._is_own(request):
                await PlainTextResponse("this is not the host that the studio runs on", 403)(scope, receive, send)
                return
            await self._pages(scope, receive, _with_headers(send))
        else:
            await self._pages(scope, receive, send)

    def _is_own(self, connection: HTTPConnection) -> bool:
        """Whether Host, and Origin where there is one, name this server."""
        host = connection.headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        own = {"127.0.0.1", "localhost", "::1"} if self.host in ("127.0.0.1", "localhost", "::1") else None
        if own is not None and name not in own:
            return False
        origin = connection.headers.get("origin")
        return origin is None or urlsplit(origin).netloc == host

    def _has_token(self, connection: HTTPConnection) -> bool:
        given = connection.query_params.get("token", "")
        return hmac.compare_digest(given.encode(), self.token.encode())

    async def _page(self, request: Request) -> Response:
        if not self._has_token(request):
            return PlainTextResponse(
                "The studio opens with the whole URL that `tinyconv studio` printed, token included.", 403
            )
        return Response((STATIC / "index.html").read_bytes(), media_type="text/html")

    async def _socket(self, socket: WebSocket) -> None:
        if not (self._is_own(socket) and self._has_token(socket)):
            await socket.close(4403)  # before accept: the handshake itself is refused
            return
        await socket.accept()
        await _Tab(self.studio, socket).serve()


class _Tab:
    """One page that is open in a browser."""

    def __init__(self, studio: Studio, socket: WebSocket) -> None:
        self.studio, self.socket = studio, socket
        self.loop = asyncio.get_running_loop()
        self.outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.answering: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        sending = asyncio.create_task(self._send())
        self.outbox.put_nowait(wire.pack({"event": "subject", "data": self.studio.subject.outline()}))
        self.studio.join(self, self._report)
        try:
            while True:
                message = await self.socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                task = asyncio.create_task(self._answer(message))
                self.answering.add(task)
                task.add_done_callback(self.answering.discard)
        except WebSocketDisconnect:
            pass
        finally:
            self.studio.leave(self)
            for task in (sending, *self.answering):
                task.cancel()

    async def _send(self) -> None:
        while True:
            await self.socket.send_bytes(await self.outbox.get())

    def _report(self, event: str, data: dict[str, Any]) -> None:
        """From the thread of the studio. A page that does not keep up loses the oldest reports."""
        message = wire.pack({"event": event, "data": data})

        def put() -> None:
            while self.outbox.qsize() >= QUEUED:
                self.outbox.get_nowait()
            self.outbox.put_nowait(message)

        self.loop.call_soon_threadsafe(put)

    async def _answer(self, received: Mapping[str, Any]) -> None:
        number: Any = None
        try:
            data = received.get("bytes") or (received.get("text") or "").encode()
            message = wire.unpack(data)
            number = message.get("id")
            if message.get("job") == "studio.take":
                self.studio.take_over(self)
                result: Any = None
            else:
                future = self.studio.submit(message.get("job"), message.get("arguments", {}), self)
                result = await asyncio.wrap_future(future)
            answer = wire.pack({"id": number, "result": result})
        except asyncio.CancelledError:
            answer = wire.pack({"id": number, "dropped": True})  # a newer one took its place
        except Exception as error:
            if not isinstance(error, TinyconvError | ValueError | TypeError | OSError | MemoryError):
                traceback.print_exc()  # a fault of the studio: the terminal has the rest
            answer = wire.pack({"id": number, "error": described(error)})
        self.outbox.put_nowait(answer)


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
