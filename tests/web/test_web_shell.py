"""The frame around the pages: it opens, it keeps to its host, and each page is there."""

import pytest

PAGES = ["build", "draw", "look", "step", "train", "mistakes"]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", PAGES)
def test_each_page_opens(visit, name):
    page = visit(name).page
    assert page.inner_text("h1")
    assert page.get_attribute("nav a[aria-current=page]", "href") == f"#{name}"
