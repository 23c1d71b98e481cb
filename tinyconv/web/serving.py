"""Serve the studio in a thread beside this one, and end well."""

from __future__ import annotations

import errno
import html
import logging
import socket
import time
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tinyconv.errors import TinyconvError, printable, shortened
from tinyconv.web import pages
from tinyconv.web.server import MOST, Server
from tinyconv.web.studio import Studio
from tinyconv.web.subject import Subject

assert pages  # importing it fills the table of jobs

CONNECTIONS = 200
"""Connections at a time, before new ones are answered with "503 Service Unavailable". A page takes seven."""

_LOG = logging.getLogger("tinyconv.web")
_LOG.setLevel(logging.WARNING)
_LOG.addFilter(lambda record: record.exc_info is not None)


class ServingError(TinyconvError, OSError):
    """The studio cannot be served at that host and port."""


class Served:
    """A studio that is being served, until `close`, the end of the `with` block, or the end of the process.

    `url` is where it is to be opened, `studio` the Studio itself. In a notebook it shows its pages.

    Args:
        subject: What it looks at.
        host: The address or name of this machine to listen to.
        port: The port; 0 takes one that is free.
    """

    def __init__(self, subject: Subject, host: str = "127.0.0.1", port: int = 0) -> None:
        self._listener = _listening(host, port)
        self.server = Server(Studio(subject), host, self._listener.getsockname()[:2])
        self.studio, self.url = self.server.studio, self.server.url
        config = uvicorn.Config(
            self.server,
            interface="asgi3",
            loop="asyncio",
            http="h11",
            ws=_Sockets,
            ws_max_size=MOST,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,  # a user's logging stays as it is
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
        self._uvicorn = uvicorn.Server(config)
        self._thread = Thread(target=self._uvicorn.run, args=([self._listener],), name="tinyconv-server", daemon=True)
        self._thread.start()
        while not self._uvicorn.started and self._thread.is_alive():
            time.sleep(0.002)

    def wait(self) -> None:
        """Print the URL, and block until Ctrl-C, or until it is closed elsewhere; it is closed then.

        For the end of a script.
        """
        print(self.url, flush=True)
        try:
            while self._thread.is_alive():
                self._thread.join(1)  # on Windows a Ctrl-C is noticed between two of them
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """End the server and the thread of the studio, after the job or the step under way. Pages say that it ended."""
        self.studio.close()  # first: a training would take the time that the server needs to end
        self._uvicorn.should_exit = True
        self._thread.join(10)
        self._listener.close()

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<studio of {printable(self.studio.subject.title, 80)} at {self.url}>"

    def _repr_html_(self) -> str:
        url = html.escape(self.url)
        return (
            f'<a href="{url}" target="_blank" rel="noreferrer">Open the studio in a tab of its own</a>'
            f'<iframe src="{url}" title="tinyconv studio" width="100%" height="720" style="border:1px solid #8888">'
            "</iframe>"
        )


class _Sockets(WebSocketsSansIOProtocol):
    """uvicorn's way to speak with a page. A fault is logged, but no URL of a socket: the token is in it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = _LOG


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises ServingError, with what to do, where none can."""
    if not 0 <= port <= 65535:
        raise ServingError(f"a port is 0 to 65535, got {shortened(port)}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError, OverflowError) as error:
        reasons = {
            errno.EADDRINUSE: f"port {port} is taken, perhaps by another studio: take another, or 0 for any free one",
            errno.EACCES: f"port {port} is for the system: take one from 1024 on, or 0 for any free one",
            errno.EADDRNOTAVAIL: f"{shortened(host)} is no address of this machine; 127.0.0.1 is",
        }
        number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
        unknown = f"cannot listen to {shortened(host)}, port {port}: {printable(str(error))}; 127.0.0.1 is this machine"
        raise ServingError(reasons.get(number or 0, unknown)) from None


def elsewhere(served: Served) -> str | None:
    """The URL for other machines where the studio listens to all addresses of this one; None without a network."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: the system says by which address it would
        return served.server.url_at(probe.getsockname()[0])
    return None
