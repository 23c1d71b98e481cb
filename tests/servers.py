"""Mirrors of datasets on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

Body: TypeAlias = bytes | Callable[[BaseHTTPRequestHandler], None]


class Mirror(BaseHTTPRequestHandler):
    """Serves `bodies` by their paths, less than it promises of those below /cut/, and notes what it is `asked` for.

    A body that is a function answers by itself: it is given the handler.
    """

    def __init__(self, bodies: dict[str, Body], asked: list[str], *args) -> None:
        self.bodies, self.asked = bodies, asked
        super().__init__(*args)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = self.bodies.get(self.path)
        if body is None:
            self.send_error(404)
            return
        if callable(body):
            with suppress(ConnectionError):  # the other side has had enough
                body(self)
            return
        self.send_response(200)
        if self.path.endswith("/"):
            self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body) + 100 * self.path.startswith("/cut/")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args) -> None:
        pass


@contextmanager
def serving(bodies: dict[str, Body]) -> Iterator[Any]:
    """A server with its `url`, and the paths that it was `asked` for. Changes of `bodies` are served from then on."""
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Mirror, bodies, asked)) as server:
        server.asked, server.daemon_threads = asked, True
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
