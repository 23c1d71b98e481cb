"""A studio that serves, and a browser that looks at it."""

from __future__ import annotations

import pytest
from _pytest.runner import runtestprotocol
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


def pytest_runtest_protocol(item, nextitem):
    """A test of a page that fails is tried once more, and says so: a browser shares two cores with all other tests."""
    if not item.path.name.endswith("_page.py"):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        print(f"\n{item.nodeid} failed once:\n{next(r for r in reports if r.failed).longreprtext[-2000:]}")
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
