"""The Look page in a browser, by mouse and by keys: what it shows is what Python has."""

import re

import numpy as np
import pytest
from browser import Visit, served

import tinyconv as tc
from tinyconv import nn
from tinyconv.web.layers import host, run
from tinyconv.web.subject import of_model

pytestmark = pytest.mark.slow

PAGE = "import('/static/app.js').then(({ app: { shown } }) => %s)"


def has(page, expression):
    """What the page that is shown holds."""
    return page.evaluate(PAGE % expression)


def array(page, expression):
    """An array that the page shows."""
    shape, data = has(page, f"[{expression}.shape, Array.from({expression}.data)]")
    return np.array(data, np.float32).reshape(shape)


def shown(page, image):
    """Wait until the page shows this test image."""
    page.wait_for_selector(f"text=Test image {image}:")


def all_found(page):
    """Wait until all test images were looked at."""
    page.wait_for_function(PAGE % "shown.best && shown.best.done === shown.best.count")
    page.wait_for_selector("text=The largest values among")


@pytest.fixture
def subject(studio):
    return studio.studio.subject


def maps_of(subject, number):
    images = subject.images.images[number : number + 1]
    names = [step["name"] for step in tc.summary(subject.model, (1, 28, 28)).to_dict()["layers"]]
    return tc.feature_maps(subject.model, subject.input(images), [name for name in names if name in MAPS])


MAPS = ("conv1", "relu", "pool", "conv2", "relu#2", "pool#2")


def test_an_image_is_shown_as_python_has_it(visit, subject):
    page = visit("look?layer=conv2&image=17&map=3").page
    shown(page, 17)
    found = maps_of(subject, 17)
    assert np.array_equal(array(page, "shown.image"), subject.images.images[17])
    assert np.array_equal(array(page, "shown.maps"), found["conv2"].maps)
    assert np.array_equal(array(page, "shown.gradient"), found.gradient)
    assert np.array_equal(array(page, "shown.filter"), subject.model.conv2.weight.numpy()[3])
    assert np.array_equal(array(page, "shown.filters"), subject.model.conv2.weight.numpy().reshape(-1, 5, 5))
    # The strongest cell of map 3 has the cursor, and what it sees the frame.
    row, column = np.unravel_index(found["conv2"].maps[3].argmax(), (8, 8))
    assert f"conv2, map 3, row {row}, column {column}. It sees rows {2 * row} to {2 * row + 13} and columns " in (
        page.inner_text(".reading")
    )
    frame, picture = (page.locator(f".look .desk {what}").first.bounding_box() for what in (".frame", ".framed canvas"))
    assert frame["x"] - picture["x"] == pytest.approx(picture["width"] * 2 * column / 28, abs=1.5)
    assert frame["width"] == pytest.approx(picture["width"] * 14 / 28, abs=1.5)


def test_which_pixels_the_gradient_of_a_score_depends_on(visit, subject):
    page = visit("look?image=4&score=7").page
    shown(page, 4)
    x = subject.input(subject.images.images[4:5]).requires_grad_()
    (gradient,) = tc.grad(subject.model(x)[0, 7], x)
    gradient = gradient.numpy()[0, 0]
    row, column = np.unravel_index(np.abs(gradient).argmax(), (28, 28))
    assert f"The score of 7 depends most on row {row}, column {column} (" in page.inner_text(".depends")
    # The same where one points.
    canvas = page.locator(".look .pictures canvas").nth(1)
    wide = canvas.bounding_box()["width"]
    canvas.hover(position={"x": wide * (column + 0.5) / 28, "y": wide * (row + 0.5) / 28})
    text = page.inner_text(".reading")
    effect = "raises" if gradient[row, column] > 0 else "lowers"
    assert f"Row {row}, column {column} of the image. A lighter pixel here {effect} the score of 7." in text
    value = re.search(r"gradient ([+\u2212][\d.]+)", text)[1].replace("\u2212", "-")
    assert float(value) == pytest.approx(gradient[row, column], rel=1e-2)
    page.select_option(".pictures select", "2")
    page.wait_for_selector("text=The score of 2 depends most")
    assert "score=2" in page.evaluate("location.hash")


def test_strongest_images(visit, subject):
    page = visit("look?layer=relu&image=0&map=2").page
    all_found(page)
    observer, _ = run(subject.model, subject.input(subject.images.images))
    names = [step.name for step in observer.steps]
    out = host(observer.outputs[names.index("relu")])[:, 2].reshape(len(subject.images), -1)
    order = np.argsort(-out.max(1), kind="stable")[:9]
    assert has(page, "Array.from(shown.best.numbers.data)") == order.tolist()
    items = page.locator(".strongest li")
    assert items.count() == 9
    assert f"no. {order[4]}" in items.nth(4).inner_text()
    pixels = page.evaluate(
        """() => { const canvas = document.querySelectorAll('.strongest canvas')[4];
        return Array.from(canvas.getContext('2d').getImageData(0, 0, 28, 28).data).filter((_, i) => i % 4 === 0); }"""
    )
    assert np.array_equal(pixels, subject.images.images[order[4]].ravel())
    items.nth(4).locator("button").click()
    shown(page, order[4])
    row, column = divmod(int(out[order[4]].argmax()), 24)
    assert f"relu, map 2, row {row}, column {column}. It sees rows {row} to {row + 4}" in page.inner_text(".reading")


def test_by_keys_alone(visit, subject):
    """What does cell (3, 3) of the second pooling see of the image?"""
    page = visit("look?image=2").page
    shown(page, 2)
    while not page.evaluate("document.activeElement.innerText?.startsWith('pool#2')"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=16 maps of 4×4")
    while not page.evaluate("document.activeElement.matches('.results .maps')"):
        page.keyboard.press("Tab")
    for key in ["PageUp"] * 16 + ["ArrowUp"] * 4 + ["Home"] + ["ArrowDown"] * 3 + ["End"]:
        page.keyboard.press(key)
    text = "pool#2, map 0, row 3, column 3. It sees rows 12 to 27 and columns 12 to 27 of the image."
    assert text in page.inner_text(".reading")
    assert text in page.inner_text("#said")
    value = float(page.inner_text(".reading strong").replace("\u2212", "-"))
    assert value == pytest.approx(maps_of(subject, 2)["pool#2"].maps[0, 3, 3], rel=1e-3, abs=1e-9)
    assert page.evaluate("location.hash") == "#look?image=2&layer=pool%232&map=0&row=3&column=3"
    page.reload()
    page.wait_for_selector(".look .reading")
    assert text in page.inner_text(".reading")


def test_weights_under_the_pointer(visit, subject):
    page = visit("look?layer=conv1&map=4").page
    page.wait_for_selector("text=The filters of conv1")
    weight = subject.model.conv1.weight.numpy()
    canvas = page.locator(".weights canvas").nth(4)
    wide = canvas.bounding_box()["width"]
    canvas.hover(position={"x": wide * 1.5 / 5, "y": wide * 3.5 / 5})
    assert "A weight of conv1: of map 4, for channel 0, row 3, column 1" in page.inner_text(".reading")
    assert float(page.inner_text(".reading strong").replace("\u2212", "-")) == pytest.approx(
        weight[4, 0, 3, 1], rel=1e-3
    )
    # A row of fc1 is pictures of the maps that it reads.
    page.click(".chips >> text=fc1")
    page.wait_for_selector("text=16 pictures of 4×4 weights")
    page.fill(".head .number", "7")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The weights of number 7")
    assert np.array_equal(array(page, "shown.filter"), subject.model.fc1.weight.numpy()[7].reshape(16, 4, 4))
    page.click(".chips >> text=pool#2")
    page.wait_for_selector("text=pool#2 has none: it learns nothing.")


def test_choosing_images(visit, subject):
    page = visit("look?image=0").page
    shown(page, 0)
    page.click("[aria-label='Next test image']")
    shown(page, 1)
    page.click("[aria-label='Previous test image']")
    shown(page, 0)
    page.click("[aria-label='Previous test image']")
    shown(page, len(subject.images) - 1)
    page.select_option(".class-of", "6")
    number = int(np.flatnonzero(subject.images.labels == 6)[2])
    page.click(f".thumbs [aria-label='Test image {number}']")
    shown(page, number)
    page.fill(".tools .number", "55555")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=there is no test image 55555")


def test_it_opens_on_the_first_test_image(visit):
    shown(visit("look").page, 0)


def test_an_address_that_leads_nowhere(visit):
    page = visit("look?image=55555").page
    page.wait_for_selector("text=there is no test image 55555")
    page.click("text=Look at another image")
    page.wait_for_selector(".look .reading")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desk", "phone"])
def test_all_can_use_it(visit, dark, width, height):
    one = visit("look?layer=conv2&image=3&map=1", dark=dark, width=width, height=height)
    all_found(one.page)
    one.page.click("text=All of them")
    assert one.violations() == []
    assert one.overflows() <= 0


@pytest.mark.parametrize("place", ["look", "draw"])
def test_long_names_of_classes_fit_on_a_phone(browser, place):
    classes, labels = [f"aquarium fish {i}" for i in range(12)], np.arange(24) % 12
    images = np.random.default_rng(0).integers(0, 256, (24, 3, 32, 32), dtype=np.uint8)
    with served(of_model(nn.Sequential(nn.Flatten(), nn.Linear(3072, 12)), (images, labels), classes)) as server:
        opened = Visit(browser, server, place, width=390, height=844)
        opened.page.wait_for_selector(".bars .class")
        assert opened.overflows() == 0
        opened.end()
