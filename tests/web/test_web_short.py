"""A short path through the studio, for every run of the tests; each page has longer ones of its own."""

from urllib.parse import urlencode

import numpy as np

from tinyconv import inspect

CAKE = "conv 4 5; relu; pool 2; flatten; fc 10"


def test_from_build_to_mistakes_without_leaving_the_page(visit, studio):
    """Build a cake, train it for a step, draw for it, step through it, and see what it gets wrong."""
    opened = visit("build?" + urlencode({"cake": CAKE, "image": "1x28x28"}))
    page = opened.page
    page.select_option("#dataset", "synthetic")
    page.get_by_role("button", name="Train this").click()
    page.wait_for_selector(".page.train h1")
    page.get_by_role("button", name="One step").click()
    page.wait_for_function("() => document.querySelector('.where')?.textContent.includes('step 1 of')")
    subject = studio.studio.subject
    assert subject.run.options["slices"] == CAKE

    page.click("nav a[href='#draw']")
    page.wait_for_selector(".page.draw canvas")
    sheet = page.locator(".page.draw canvas").first.bounding_box()
    page.mouse.move(sheet["x"] + 0.5 * sheet["width"], sheet["y"] + 0.2 * sheet["height"])
    page.mouse.down()
    page.mouse.move(sheet["x"] + 0.5 * sheet["width"], sheet["y"] + 0.8 * sheet["height"], steps=5)
    page.mouse.up()
    page.wait_for_function("() => !document.querySelector('.page.draw').innerText.includes('Nothing is drawn')")

    page.click("nav a[href='#mistakes']")
    page.wait_for_selector(".page.mistakes table")
    page.wait_for_selector(".page.mistakes canvas")
    page.locator(".page.mistakes canvas").first.click()
    page.wait_for_selector(".page.step h2, .page.step .title")
    number = int(page.url.split("image=")[1].split("&")[0])
    page.keyboard.press("ArrowRight")

    image = subject.image(number)
    recording = inspect.record(subject.model, subject.input(image.images), image.labels)
    shown = opened.call("step.record", image=number)
    np.testing.assert_array_equal(
        np.float32(shown["recording"]["arrays"][shown["recording"]["output"]]["data"]), recording.output.ravel()
    )
