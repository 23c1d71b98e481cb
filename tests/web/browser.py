"""What tests of the studio's pages use: a server in a thread, Chromium, and what every page must keep to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

SIZES = {"desk": (1280, 800), "phone": (390, 844)}


@contextmanager
def served(subject: Any) -> Iterator[Any]:
    """The Server of a studio that serves in a thread; `.url` is where, `.studio` what."""
    pytest.importorskip("uvicorn", reason="the studio needs the extra `studio`")
    from tinyconv.web.serving import Served

    with Served(subject) as running:
        yield running


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium; the test is skipped where playwright or a browser is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page that is open: `page` is playwright's, `problems` what the browser complained of."""

    def __init__(
        self, browser: Any, server: Any, place: str = "", dark: bool = False, width: int = 1280, height: int = 800
    ) -> None:
        self.host = urlsplit(server.url).netloc
        self.problems: list[str] = []
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            has_touch=width < 600,
            reduced_motion="reduce",
        )
        self.page = self.context.new_page()
        self.page.on("console", lambda said: said.type in ("error", "warning") and self.problems.append(said.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._check_host)
        self.page.goto(f"{server.url}#{place}" if place else server.url)
        self.page.wait_for_selector("main .page")

    def _check_host(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.problems.append(f"a request left the host: {request.url}")

    def call(self, job: str, **arguments: Any) -> Any:
        """What a job returns to the page; its arrays as {shape, data: list}."""
        return self.page.evaluate(
            """([job, args]) => import('/static/app.js').then(async ({ app }) => JSON.parse(JSON.stringify(
              await app.call(job, args), (key, value) => ArrayBuffer.isView(value) ? Array.from(value) : value)))""",
            [job, arguments],
        )

    def violations(self) -> list[str]:
        """What axe-core finds wrong with the page as it is now: a line each, empty where all is well."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core checks accessibility")
        found = axe.Axe().run(self.page).response["violations"]
        return [f"{v['id']}: {v['help']}: {v['nodes'][0]['html'][:200]} ({len(v['nodes'])} times)" for v in found]

    def overflows(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def end(self) -> None:
        self.context.close()
        assert not self.problems, self.problems
