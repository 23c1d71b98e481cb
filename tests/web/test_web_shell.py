"""The frame around the pages: it opens, it keeps to its host, and each page is there."""

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest
from browser import Visit, served

from tinyconv.web.serving import Served
from tinyconv.web.subject import of_name

PAGES = ["build", "draw", "look", "step", "train", "mistakes"]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", PAGES)
def test_each_page_opens(visit, name):
    page = visit(name).page
    assert page.inner_text("h1")
    assert page.get_attribute("nav a[aria-current=page]", "href") == f"#{name}"


def test_skipping_the_menu_leads_into_the_page_that_is_shown(visit):
    page = visit("mistakes").page
    page.focus(".skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.url.endswith("#mistakes")


def test_the_focus_is_not_lost_with_a_page(visit):
    page = visit("mistakes").page
    page.click("main a[href='#train']")
    page.wait_for_selector("main .page.train h1")
    assert page.evaluate("document.activeElement.id") == "main"


def notice(page):
    """What the frame says above the page, once it says something."""
    page.wait_for_selector("#notice:not([hidden])")
    return page.inner_text("#notice")


def test_a_page_says_what_became_of_its_studio(browser):
    with served(of_name("lenet5", "synthetic")) as first:
        visit = Visit(browser, first, "look")
        port = urlsplit(first.url).port
    assert notice(visit.page) == "The studio is not running. Start it again, and open the address that it prints."
    with Served(of_name("lenet5", "synthetic"), port=port) as second:
        visit.page.wait_for_selector("#notice:has-text('another address')")
        assert notice(visit.page).endswith("has another address: open the one that it printed.")
        assert "the whole URL" in visit.page.reload().text()
        visit.page.goto(f"{second.url}#look")
        visit.page.wait_for_selector("main .page.look h1")
        assert visit.page.is_hidden("#notice")
    visit.problems.clear()  # the console tells of each failed connection
    visit.end()


def test_a_connection_that_was_lost_is_made_again(visit, studio):
    page = visit("look").page
    page.evaluate("import('/static/app.js').then(({ app }) => app.source.ws.close())")
    page.wait_for_selector("#notice:not([hidden])")
    page.wait_for_selector("#notice", state="hidden")
    assert page.inner_text("h1")


def test_a_second_tab_looks_on_and_takes_over(visit):
    first, second = visit("look").page, visit("look").page
    first.wait_for_selector("#subject .name")
    assert first.locator("#subject button").count() == 0
    second.click("#subject button:has-text('Take over')")
    second.wait_for_selector("#subject button", state="detached")
    first.wait_for_selector("#subject:has-text('looks on')")
    second.close()
    first.wait_for_selector("#subject button", state="detached")


@contextmanager
def notebook(host, studio):
    """Another server of this machine, whose page shows the studio as a notebook does; its URL."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<!doctype html><title>notebook</title>{studio._repr_html_()}".encode())

        def log_message(self, *given):
            pass

    with ThreadingHTTPServer((host, 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{host}:{server.server_port}/"
        server.shutdown()


def test_a_notebook_of_this_machine_alone_may_frame_the_studio(browser, studio):
    page, said = browser.new_context().new_page(), []
    page.on("console", lambda message: said.append(message.text))
    with notebook("localhost", studio) as url:
        page.goto(url)
        page.frame_locator("iframe").locator("main .page h1").wait_for()
    assert said == []
    with notebook("127.0.0.2", studio) as url, page.expect_console_message(lambda said: "frame-ancestors" in said.text):
        page.goto(url)
    page.context.close()


def test_a_page_that_was_left_does_not_hold_the_studio(browser, studio):
    """Browsers keep a page that was left, to go back to it at once."""
    context = browser.new_context()
    page = context.new_page()
    for _ in range(3):
        page.goto(studio.url)
        page.wait_for_selector("#subject .name")
        page.goto("about:blank")
    page.goto(studio.url)
    page.wait_for_function(
        "import('/static/app.js').then(({ app }) => app.subject && app.role.tabs === 1 && app.role.writes)"
    )
    page.go_back()
    page.go_back()
    page.wait_for_function("import('/static/app.js').then(({ app }) => app.source.open && app.role.writes)")
    context.close()


def test_a_page_begins_at_its_top_and_says_so_where_the_studio_is_gone(browser):
    with served(of_name("lenet5", "synthetic")) as server:
        visit = Visit(browser, server, "draw", width=390, height=600)
        visit.page.wait_for_selector(".page.draw canvas")
        visit.page.evaluate("scrollTo(0, 400)")
        visit.page.click("nav a[href='#train']")
        visit.page.wait_for_selector(".page.train h1")
        assert visit.page.evaluate("scrollY") == 0
    visit.page.wait_for_selector("#notice:not([hidden])")
    visit.page.click("nav a[href='#mistakes']")
    visit.page.wait_for_function("() => document.querySelector('.page.mistakes')?.textContent.includes('not running')")
    visit.context.close()
