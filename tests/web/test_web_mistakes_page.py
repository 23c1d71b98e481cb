"""The Mistakes page: its matrix is Python's, its cells open their images, and an image leads to Step and to Look."""

import numpy as np
import pytest
from browser import SIZES, served

pytest.importorskip("starlette", reason="the studio needs the extra `studio`")

from tinyconv import data, nn
from tinyconv.data import ImageDataset, synthetic_digits
from tinyconv.train import predict
from tinyconv.web.subject import of_model, of_name

pytestmark = pytest.mark.slow

DIGITS = synthetic_digits(400, seed=1)


@pytest.fixture(scope="module")
def studio():
    """The studio of an untrained cake on 400 digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda *name: DIGITS)
        with served(of_name("cake", "synthetic", slices="flatten; fc 10")) as server:
            yield server


@pytest.fixture(scope="module")
def said(studio):
    """The probabilities of the test images."""
    return predict(studio.studio.subject.model, DIGITS.normalized())


def opened(visit, query="", **how):
    seen = visit(f"mistakes?{query}" if query else "mistakes", **how)
    seen.page.wait_for_selector(".summary")
    seen.page.wait_for_selector(".cards li")
    seen.page.evaluate("window.same = true")
    return seen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dark", [False, True])
def test_the_matrix_and_a_cell_by_mouse(visit, said, dark, size):
    width, height = SIZES[size]
    seen = opened(visit, dark=dark, width=width, height=height)
    page = seen.page
    assert seen.overflows() == 0
    found = said.argmax(1)
    expected = np.zeros((10, 10), int)
    np.add.at(expected, (DIGITS.labels, found), 1)
    cells = page.eval_on_selector_all("[data-at]", "all => all.map((cell) => Number(cell.textContent) || 0)")
    assert cells == expected.ravel().tolist()
    assert page.inner_text(".big") == f"{expected.trace() / 400:.2%}".replace("%", " %")
    assert "has not been trained" in page.inner_text("main")
    recalls = [row.inner_text().split("\t")[2] for row in page.query_selector_all(".classes tbody tr")]
    assert recalls == [f"{expected[i, i] / expected[i].sum():.1%}".replace("%", " %") for i in range(10)]
    at = int(np.flatnonzero((expected * (1 - np.eye(10, dtype=int))).ravel())[0])
    truth, prediction = divmod(at, 10)
    page.click(f'[data-at="{at}"]')
    page.wait_for_function(f"() => document.querySelectorAll('.cards li').length === {min(expected.ravel()[at], 36)}")
    own = np.flatnonzero((DIGITS.labels == truth) & (found == prediction))
    own = own[np.argsort(-said[own, prediction], kind="stable")]
    links = page.eval_on_selector_all(".cards li > a", "all => all.map((link) => link.getAttribute('href'))")
    assert links == [f"#step?image={number}" for number in own[:36]]
    pixels = page.evaluate("""() => { const { data } = document.querySelector('canvas.thumb').getContext('2d')
        .getImageData(0, 0, 28, 28); return Array.from(data.filter((_, i) => i % 4 === 0)); }""")
    assert pixels == DIGITS.images[own[0]].ravel().tolist()
    assert f"{said[own[0], prediction]:.1%}".replace("%", " %") in page.inner_text(".cards li")
    page.click("text=Least sure first")
    page.wait_for_function(f"() => document.querySelector('.cards a').getAttribute('href') === '#step?image={own[-1]}'")
    page.reload()
    page.wait_for_function(
        f"() => document.querySelector('.cards a')?.getAttribute('href') === '#step?image={own[-1]}'"
    )
    assert not seen.violations()
    assert seen.overflows() == 0


def test_by_keyboard_alone_to_step_and_to_look(visit, said):
    page = opened(visit).page
    found = said.argmax(1)
    at = next(i for i in range(100) if ((DIGITS.labels == i // 10) & (found == i % 10)).any() and i % 11)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.at") == "0":
            break
    for _ in range(at // 10):
        page.keyboard.press("ArrowDown")
    for _ in range(at % 10):
        page.keyboard.press("ArrowRight")
    count = int(((DIGITS.labels == at // 10) & (found == at % 10)).sum())
    images = "1 image" if count == 1 else f"{count} images"
    label = page.evaluate("document.activeElement.ariaLabel")
    assert label == f"{at // 10} read as {at % 10}: {images}"
    page.keyboard.press("Enter")
    page.wait_for_function(
        f"() => document.querySelector('.images h2').textContent.includes('{at // 10} read as {at % 10}')"
    )
    page.wait_for_function("() => document.querySelector('#said').textContent.includes('read as')")
    assert page.evaluate("document.activeElement.dataset.at") == str(at)
    assert f"truth={at // 10}&prediction={at % 10}" in page.url
    page.keyboard.press("Control+End")
    assert page.evaluate("document.activeElement.dataset.at") == "99"
    page.keyboard.press("Control+Home")
    assert page.evaluate("document.activeElement.dataset.at") == "0"
    page.wait_for_function(f"() => document.querySelectorAll('.cards li').length === {min(count, 36)}")
    for _ in range(40):
        page.keyboard.press("Tab")
        if (href := page.evaluate("document.activeElement.getAttribute('href')") or "").startswith("#step?image="):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector(".page.step")
    assert page.url.endswith(href)
    page.go_back()
    page.wait_for_selector(".cards a[aria-label^='Look at image']")
    page.click(".cards a[aria-label^='Look at image']")
    page.wait_for_selector(".page.look")
    assert page.evaluate("window.same")


@pytest.mark.parametrize("width", [390, 1024, 2560])
def test_a_sure_mistake_and_a_long_count_keep_to_a_line(visit, width):
    """The widest of what a card says, and four digits in a cell: with room to both sides."""
    page = opened(visit, width=width, height=800).page
    said = page.evaluate("""() => import('/static/answer.js').then(({ probability }) => {
        const share = document.querySelector('.cards p.about');
        share.firstChild.textContent = share.firstChild.nextSibling.textContent = '';
        share.prepend(probability(0.99999));
        const [cell] = document.querySelectorAll('[data-at]');
        cell.textContent = '1128';
        const range = document.createRange();
        range.selectNodeContents(cell);
        return { text: share.firstChild.textContent, tall: share.clientHeight,
          over: share.scrollWidth - share.clientWidth, room: cell.clientWidth - range.getBoundingClientRect().width };
    })""")
    assert said["text"] == ">99.9 %"
    assert said["tall"] < 40  # a line of 18 pixels, and its padding
    assert said["over"] <= 0
    assert said["room"] >= 4
    assert page.evaluate("document.querySelector('.cards a[aria-label^=Look]').getClientRects().length") == 1


@pytest.mark.parametrize("classes", [2, 100])
def test_few_and_many_classes(browser, classes):
    from browser import Visit

    digits = synthetic_digits(300)
    names = tuple(f"kind {i}" for i in range(classes))
    images = ImageDataset(digits.images, np.arange(300) % classes, names, digits.mean, digits.std)
    with served(of_model(nn.Sequential(nn.Flatten(), nn.Linear(784, classes)), images)) as server:
        for width, height in SIZES.values():
            seen = Visit(browser, server, "mistakes", width=width, height=height)
            seen.page.wait_for_selector(".cards li")
            assert seen.page.locator("[data-at]").count() == classes**2
            assert seen.overflows() == 0
            seen.end()
