"""Run the studio: serve it in this thread, or in one beside it, and end well."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from threading import Thread
from types import TracebackType

import uvicorn

from tinyconv.web import pages
from tinyconv.web.server import MOST, Server
from tinyconv.web.studio import Studio
from tinyconv.web.subject import Subject

assert pages  # importing it fills the table of jobs


class Served:
    """A studio that is being served: a `with` block does so in a thread beside this one.

    `url` is where it is to be opened, `studio` the Studio itself.
    """

    def __init__(self, subject: Subject, host: str = "127.0.0.1", port: int = 0) -> None:
        self.studio = Studio(subject)
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((host, port))
        server = Server(self.studio, host, self._listener.getsockname()[1])
        self.url = server.url
        config = uvicorn.Config(
            server,
            interface="asgi3",
            ws="websockets-sansio",
            ws_max_size=MOST,
            lifespan="off",
            log_level="warning",
            timeout_graceful_shutdown=1,
        )
        self._uvicorn = uvicorn.Server(config)
        self._thread: Thread | None = None

    def run(self, ready: Callable[[str], object]) -> None:
        """Serve in this thread until Ctrl-C. `ready` gets the URL."""
        ready(self.url)
        try:
            self._uvicorn.run([self._listener])
        finally:
            self._end()

    def __enter__(self) -> Served:
        self._thread = Thread(target=self._uvicorn.run, args=([self._listener],), name="tinyconv-server", daemon=True)
        self._thread.start()
        while not self._uvicorn.started and self._thread.is_alive():
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._uvicorn.should_exit = True
        if self._thread is not None:
            self._thread.join(10)
        self._end()

    def _end(self) -> None:
        self._listener.close()
        self.studio.close()
