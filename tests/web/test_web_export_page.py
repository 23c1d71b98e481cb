"""An exported page in a browser: from a file, without a network, and what it answers is what the studio answers."""

from __future__ import annotations

import base64
import re

import embedded
import numpy as np
import pytest
from browser import SIZES, Visit

import tinyconv as tc
from tinyconv import nn
from tinyconv.web import wire
from tinyconv.web.bundle import bundled
from tinyconv.web.export import write_page
from tinyconv.web.studio import Studio
from tinyconv.web.subject import of_model, of_name

pytestmark = pytest.mark.slow

IMAGES = [1, 3]
EVIL = "</script><img src=x onerror=document.title='broken'>"


class File:
    """What a Visit opens: a file in place of a server."""

    def __init__(self, path):
        self.url = path.as_uri()


@pytest.fixture(scope="module")
def lenet(tmp_path_factory):
    """The page of an untrained LeNet."""
    path = tmp_path_factory.mktemp("pages") / "page.html"
    write_page(of_name("lenet5", "synthetic"), path, IMAGES)
    return path


@pytest.fixture
def visit(browser):
    """visit(path, "step?frame=3") opens a page without a network; at the end, nothing but the file was asked for."""
    visits = []

    def open_page(path, place="", **how):
        opened = Visit(browser, File(path), place, **how)
        visits.append(opened)
        return opened

    yield open_page
    for one in visits:
        one.end()


def has(page, selector, text):
    """Wait until the element has this text in it."""
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent.replace(/\\s+/g, ' ').includes(text)",
        arg=[selector, text],
    )
    return page


# --- the file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "dark"), [("desk", False), ("phone", True)])
@pytest.mark.parametrize("place", ["look", "step?frame=22&view=im2col"])
def test_it_opens_from_a_file_without_a_request(visit, lenet, place, size, dark):
    width, height = SIZES[size]
    opened = visit(lenet, place, dark=dark, width=width, height=height)
    page = opened.page
    page.wait_for_selector(".strongest canvas" if place == "look" else ".step-why .cell-name")
    assert page.locator("#pages a").all_inner_texts() == ["Look", "Step"]
    links = page.locator("a").evaluate_all("(links) => links.map((link) => link.getAttribute('href').split('?')[0])")
    assert set(links) <= {"#main", "#look", "#step"}
    has(page, "#subject", "A recording; live with tinyconv studio lenet5")
    assert opened.violations() == []
    assert opened.overflows() == 0


def test_its_policy_lets_nothing_else_run_or_load(visit, lenet):
    opened = visit(lenet, "step")
    blocked, title = opened.page.evaluate(
        """async () => {
          const blocked = [];
          addEventListener('securitypolicyviolation', ({ effectiveDirective }) => blocked.push(effectiveDirective));
          const add = (tag, values) => document.body.append(Object.assign(document.createElement(tag), values));
          add('script', { textContent: 'document.title = "ran"' });
          add('img', { src: 'https://example.org/a.png' });
          add('style', { textContent: 'body { display: none; }' });
          await fetch('https://example.org').catch(() => {});
          await new Promise((done) => { setTimeout(done, 100); });
          return [blocked.sort(), document.title];
        }"""
    )
    assert blocked == ["connect-src", "img-src", "script-src-elem", "style-src-elem"]
    assert title == "Step · tinyconv studio"
    opened.problems.clear()  # that all this was refused


def test_names_are_shown_as_they_are(visit, tmp_path):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            setattr(self, "<b>one<|b>".replace("|", "/"), nn.Linear(784, 2))

        def forward(self, x):
            return getattr(self, "<b>one</b>")(x.flatten(1))

    Named.__name__ = EVIL
    images = np.full((2, 1, 28, 28), 7, np.uint8)
    write_page(of_model(Named(), (images, [0, 1]), [EVIL, "<!--"]), tmp_path / "a.html")
    for place in ("look", "step?frame=1"):
        page = visit(tmp_path / "a.html", place).page
        has(page, "main", EVIL)
        assert page.locator("main img, main b:text-is('one'), header img").count() == 0
        assert page.title() != "broken"
    has(page, ".step-facts", "<b>one</b>")


def test_the_page_in_the_docs_is_what_is_written_today(visit):
    """`python tests/web/embedded.py` writes it anew."""
    page = embedded.PAGE.read_text(encoding="utf-8")
    assert embedded.DATA.sub(r"\1", page) == embedded.DATA.sub(r"\1", bundled("recorded.js", b""))
    assert embedded.stale(page) == ""
    has(visit(embedded.PAGE).page, "main", "Label 9; the model says 5")


# --- what the pages do in it ----------------------------------------------------------------------------------------


def test_step_goes_by_keys_and_shows_sums_loops_and_columns(visit, lenet):
    page = visit(lenet).page
    has(page, "h1", "Forward 1 of 13")
    assert page.input_value("input[type=number]") == "1"
    for key, title in (("ArrowRight", "Forward 2 of 13"), ("End", "Backward 13 of 13"), ("b", "Forward 1 of 13")):
        page.keyboard.press(key)
        has(page, "h1", title)
    page.click("[aria-label='Image after']")
    page.wait_for_function("() => document.querySelector('input[type=number]').value === '3'")
    assert page.is_disabled("[aria-label='Image after']")

    page.evaluate("location.hash = '#step?image=3&frame=22&map=dweight&cell=3.2.1.4'")
    has(page, ".cell-name code", "dweight[3, 2, 1, 4]")
    head = page.inner_text(".cell-name b")
    assert page.locator(".step-why .ledger tr td").last.inner_text() == head
    for way in ("As loops", "As im2col"):
        page.click(f"text={way}")
        assert page.inner_text(".step-why .total td") == head


def test_look_shows_what_was_recorded(visit, lenet):
    page = visit(lenet, "look").page
    page.wait_for_selector(".strongest canvas")
    assert "1,000" in page.inner_text(".best-of")
    assert page.input_value("input.number") == "1"
    page.click("[aria-label='Next test image']")
    page.wait_for_function("() => document.querySelector('input.number').value === '3'")
    page.click("[aria-label='Next test image']")
    page.wait_for_function("() => document.querySelector('input.number').value === '1'")
    page.click(".chips button:has-text('conv2')")
    page.wait_for_selector(".strongest canvas")


def test_what_is_not_in_it_is_said_with_the_way_to_the_studio(visit, lenet):
    page = visit(lenet, "look?image=7").page
    has(page, "main", "This page is a recording of the test images 1 and 3. All else is in the studio: tinyconv studio")
    page = visit(lenet, "step?image=1&target=2").page
    has(page, ".step-error", "tinyconv studio lenet5")
    page.evaluate("location.hash = '#train'")
    has(page, "#pages [aria-current=page]", "Step")


# --- what it answers ------------------------------------------------------------------------------------------------


class Mixed(nn.Module):
    """Every op that the page has a rule for, in a residual net with windows of all kinds."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, (3, 5), stride=2, padding=(1, 2))
        self.norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2, bias=False)
        self.plain = nn.BatchNorm2d(4, affine=False)
        self.overlapping = nn.MaxPool2d(3, stride=2, padding=1)
        self.edged = nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
        self.shift = nn.Parameter(tc.randn(4, 1, 1))
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = self.plain(self.grouped(x)) + x
        x = tc.functional.leaky_relu(self.overlapping(x), 0.1) - self.shift
        x = 1 - self.edged(x.tanh() + 2)
        x = -(nn.AdaptiveAvgPool2d((2, 3))(x) + nn.AdaptiveMaxPool2d((2, 3))(x))
        return self.head(x.flatten(1).sigmoid())


@pytest.fixture
def ask(browser, tmp_path):
    """ask(subject)(job, [arguments, ...]) is what the page of the subject, with test image 1, answers."""
    contexts = []

    def open_page(subject):
        path = tmp_path / "open.html"
        write_page(subject, path, [1])
        text = path.read_text(encoding="utf-8")
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        path.write_text(text.replace("const $modules = {}", "const $modules = window.$modules = {}"), encoding="utf-8")
        contexts.append(browser.new_context(offline=True))
        page = contexts[-1].new_page()
        page.goto(path.as_uri())
        page.wait_for_selector("main .page")
        return lambda job, asked: wire.unpack(base64.b64decode(page.evaluate(ANSWERS, [job, asked])))["answers"]

    yield open_page
    for context in contexts:
        context.close()


ANSWERS = """async ([job, asked]) => {
  const [{ app }, { pack }] = [$modules['recorded.js'], $modules['socket.js']];
  const answers = [];
  for (const args of asked) answers.push(await app.call(job, args).catch((error) => error.message));
  return btoa(Array.from(pack({ answers }), (byte) => String.fromCharCode(byte)).join(''));
}"""


def same(found, expected, near=0.0):
    """Whether two answers are the same: texts and whole numbers equal, others as near as float32 is."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key], near) for key in expected)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(same(a, b, near) for a, b in zip(found, expected, strict=True))
    if isinstance(expected, float | np.ndarray):
        shape = np.shape(found) == np.shape(expected)
        return shape and np.allclose(found, expected, rtol=near, atol=near * np.abs(expected).max(initial=0))
    return found == expected


def test_it_answers_what_the_studio_answers(ask):
    subject = of_name("lenet5", "synthetic")
    answer = ask(subject)
    (best,) = answer("look.strongest", [{"layer": "conv2", "map": 3}])
    assert np.array_equal(best["images"], subject.images.images[best["numbers"]])
    assert np.array_equal(best["labels"], subject.images.labels[best["numbers"]])
    studio = Studio(subject)
    asked = [("step.record", {"image": 1}), ("look.image", {"number": 1}), ("look.image", {"number": 1, "score": 4})]
    for job, args in asked:
        (found,) = answer(job, [args])
        assert same(found, wire.unpack(wire.pack(studio.submit(job, args).result()))), job
    studio.close()


@pytest.mark.parametrize("name", ["lenet5", "mixed"])
def test_its_rules_explain_every_number_as_the_ops_do(ask, name):
    """Every output and every gradient of every frame: its first, its last and some random cells."""
    tc.manual_seed(5)
    subject = of_name(name, "synthetic") if name != "mixed" else of_model(Mixed().eval(), "synthetic")
    for module in subject.model.modules():
        if isinstance(module, nn.BatchNorm2d):  # so that a rule that leaves one out is wrong
            module.running_mean.copy_(tc.randn(*module.running_mean.shape))
            module.running_var.copy_(tc.rand(*module.running_var.shape) + 0.5)
    answer = ask(subject)
    (recording,) = answer("step.record", [{}])
    draw, cells = np.random.default_rng(0), []
    for frame in recording["recording"]["frames"]:
        for operand in frame["outputs"] if frame["direction"] == "backward" else frame["outputs"][:1]:
            if operand["array"] is not None:
                shape = operand["shape"]
                chosen = [[0] * len(shape), [n - 1 for n in shape], *(draw.integers(shape).tolist() for _ in range(3))]
                cells += [{"frame": frame["number"], "which": operand["argument"], "cell": cell} for cell in chosen]
    studio = Studio(subject)
    number = studio.submit("step.record", {"image": 1}).result()["id"]
    explained = [studio.submit("step.explain", {"recording": number, **cell}).result() for cell in cells]
    studio.close()
    found = answer("step.explain", [{"recording": recording["id"], **cell} for cell in cells])
    assert len(cells) > 100
    for cell, one, other in zip(cells, found, explained, strict=True):
        expected = wire.unpack(wire.pack({key: value for key, value in other.items() if key != "terms"}))
        left, exact = one.pop("remainder"), expected.pop("remainder")  # a difference of numbers that are near
        assert abs(left - exact) <= 1e-6 * (abs(one["total"]) + abs(one["sum"])), cell
        assert same(one, expected, 1e-5), cell


def test_it_says_which_op_it_has_no_rule_for(ask):
    answer = ask(of_model(nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.SiLU()), "synthetic"))
    (recording,) = answer("step.record", [{}])
    asked = [{"recording": recording["id"], "frame": n, "which": "y", "cell": [0, 0]} for n in (1, 2)]
    found, refused = answer("step.explain", asked)
    assert found["linear"]
    assert refused == "This page has no rule for Silu; the studio has: tc.studio(model)"


def test_images_of_a_class_are_found_among_those_recorded(ask):
    subject = of_name("cake", "synthetic", slices="flatten; fc 10")
    label = int(subject.images.labels[1])
    answer = ask(subject)
    found, refused = answer("step.record", [{"among": label, "image": 2}, {"among": (label + 1) % 10}])
    assert (found["image"], found["label"]) == (1, label)
    assert refused.startswith("This page is a recording of the test image 1.")
