"""A studio that serves, and a browser that looks at it."""

from __future__ import annotations

import pytest
from browser import Visit, chromium, served

from tinyconv.web.subject import of_name


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window; where there is none, the test is skipped."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def studio():
    """The studio of an untrained LeNet with drawn digits. Its `url` has the token; its `studio` is the Studio."""
    with served(of_name("lenet5", "synthetic")) as server:
        yield server


@pytest.fixture
def visit(browser, studio):
    """visit("look?layer=conv1", dark=True, width=390, height=844) opens a page of the studio and returns the Visit.

    At the end it fails for an error on the console, a request to another host and a request that failed.
    """
    visits: list[Visit] = []

    def open_page(place="", **how):
        visits.append(Visit(browser, studio, place, **how))
        return visits[-1]

    yield open_page
    for one in visits:
        one.end()
