"""The Draw page in a browser: by mouse, by touch, by keys and from files; what it shows is what Python has."""

import re
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.data.picture import place_ink, read_picture

pytestmark = pytest.mark.slow

PAGE = "import('/static/app.js').then(({ app: { shown } }) => %s)"
RESULT = """({ image: Array.from(shown.result.image.data), probabilities: Array.from(shown.result.probabilities.data),
  layers: shown.result.layers.map(({ name, maps: { shape, data } }) => ({ name, shape, data: Array.from(data) })) })"""


def has(page, expression):
    """What the page that is shown holds."""
    return page.evaluate(PAGE % expression)


def sheet(page):
    """The ink on the sheet: uint8 (280, 280)."""
    return np.array(has(page, "Array.from(shown.pad.pixels().data)"), np.uint8).reshape(280, 280)


def settled(page):
    """Wait until the answer on the page is that to the drawing on the sheet."""
    page.wait_for_function("() => import('/static/app.js').then(({ app: { shown } }) => shown.settled)")


def at(page, row, column):
    """The place in the window of a pixel of the 28 x 28 ones of the sheet."""
    box = page.locator(".sheet").bounding_box()
    return box["x"] + box["width"] * column / 28, box["y"] + box["height"] * row / 28


def maps_of(page, name):
    """The canvases of a layer."""
    return page.locator(f".layers section:has(.name:text-is('{name}')) canvas")


def draw_seven(page):
    page.mouse.move(*at(page, 6, 8))
    page.mouse.down()
    page.mouse.move(*at(page, 6, 20), steps=4)
    page.mouse.move(*at(page, 23, 12), steps=4)
    page.mouse.up()
    settled(page)


def test_a_drawing_gives_what_python_gives(visit, studio):
    page = visit("draw").page
    settled(page)
    assert page.is_visible("text=Draw a digit here")
    draw_seven(page)
    assert not page.is_visible("text=Draw a digit here")
    image = place_ink(sheet(page))
    assert image.any()
    found = has(page, RESULT)
    assert np.array_equal(found["image"], image.ravel())
    subject = studio.studio.subject
    names = [layer["name"] for layer in found["layers"] if len(layer["shape"]) == 3]
    maps = tc.feature_maps(subject.model, subject.input(image[None]), names)
    for layer in found["layers"]:
        if layer["name"] in names:
            assert np.array_equal(np.float32(layer["data"]).reshape(layer["shape"]), maps[layer["name"]].maps)
    assert len(names) == 6
    assert np.array_equal(np.float32(found["layers"][-1]["data"]), maps.scores)
    # What is written is what there is.
    shares = tc.tensor(maps.scores[None]).softmax(1).numpy()[0]
    shown = page.locator(".bars li").all_inner_texts()
    assert [float(re.search(r"([\d.]+) %", text)[1]) for text in shown] == pytest.approx(100 * shares, abs=0.051)
    assert page.inner_text(".answer .label") == str(shares.argmax())
    assert page.inner_text(".doubt").startswith("In doubt: ") == bool(shares.max() < 0.9)
    assert page.is_visible("text=The model is untrained")
    # The canvas that is seen holds these pixels.
    painted = page.evaluate(
        """() => { const canvas = document.querySelector('.sight canvas');
        return Array.from(canvas.getContext('2d').getImageData(0, 0, 28, 28).data).filter((_, i) => i % 4 === 0); }"""
    )
    assert np.abs(np.array(painted) - image.ravel()).max() <= 1


def test_pointing_at_a_cell_says_its_value_and_frames_what_it_sees(visit):
    page = visit("draw?image=5").page
    settled(page)
    box = maps_of(page, "pool#2").nth(6)
    wide = box.bounding_box()["width"]
    box.hover(position={"x": wide * 3.5 / 4, "y": wide * 3.5 / 4})
    text = page.inner_text(".reading")
    value = has(page, "shown.layers.layer('pool#2').maps.data[6 * 16 + 15]")
    assert "pool#2, map 6, row 3, column 3. It sees rows 12 to 27 and columns 12 to 27 of the image." in text
    assert float(text.split()[0].replace("\u2212", "-")) == pytest.approx(value, rel=1e-3, abs=1e-9)
    frame = page.locator(".sight .frame").bounding_box()
    picture = page.locator(".sight canvas").bounding_box()
    assert frame["y"] - picture["y"] == pytest.approx(picture["height"] * 12 / 28, abs=1.5)
    assert frame["height"] == pytest.approx(picture["height"] * 16 / 28, abs=1.5)
    page.mouse.move(5, 5)
    assert "Point at a cell" in page.inner_text(".reading")
    assert not page.is_visible(".sight .frame")


def test_erase_undo_and_clear(visit):
    page = visit("draw").page
    page.click("button:text-is('Clear')")
    draw_seven(page)
    ink = sheet(page)
    page.click("button:text-is('Erase')")
    page.mouse.move(*at(page, 6, 8))
    page.mouse.down()
    page.mouse.move(*at(page, 6, 20), steps=4)
    page.mouse.up()
    settled(page)
    less = sheet(page)
    assert less.sum() < ink.sum()
    assert not less[60, 80:200].any()
    page.click("button:text-is('Undo')")
    assert np.array_equal(sheet(page), ink)
    page.click("button:text-is('Clear')")
    settled(page)
    assert not sheet(page).any()
    assert page.inner_text(".doubt").startswith("Nothing is drawn yet")
    page.click("button:text-is('Undo')")
    assert np.array_equal(sheet(page), ink)


def test_a_finger_draws_and_the_page_stays(visit):
    one = visit("draw", width=390, height=844)
    page = one.page
    settled(page)
    assert page.evaluate("getComputedStyle(document.querySelector('.sheet')).touchAction") == "none"
    touch = one.context.new_cdp_session(page)
    places = [at(page, row, 14) for row in range(24, 3, -2)]  # upwards, as one scrolls down
    for kind, place in [("touchStart", places[0]), *(("touchMove", place) for place in places[1:])]:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": place[0], "y": place[1]}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    settled(page)
    ink = sheet(page)
    assert ink[45:240, 135:145].all()
    assert page.evaluate("scrollY") == 0
    # A tap on a map picks the cell, and what it sees stays in view.
    maps_of(page, "conv2").nth(3).tap(position={"x": 3, "y": 3})
    page.wait_for_selector("text=conv2, map 3, row 0, column 0. It sees rows 0 to 13")
    assert page.locator(".sight").bounding_box()["y"] > 0
    assert one.overflows() <= 0


def test_by_keys_alone(visit):
    page = visit("draw").page
    settled(page)
    page.keyboard.press("Tab")
    while not page.evaluate("document.activeElement.matches('.sheet')"):
        page.keyboard.press("Tab")
    assert page.is_visible(".brush")
    for key in [
        "Delete",
        *["ArrowUp"] * 6,
        *["ArrowLeft"] * 5,
        " ",
        *["ArrowRight"] * 10,
        *["Shift+ArrowDown"] * 3,
        " ",
    ]:
        page.keyboard.press(key)
    settled(page)
    ink = sheet(page)
    assert ink[80, 95:185].all()
    assert ink[85:195, 190].all()
    assert not has(page, "shown.pad.inkDown")
    page.keyboard.press("Control+z")
    assert not sheet(page).any()
    page.keyboard.press("7")
    page.wait_for_function("() => location.hash.includes('image=')")
    settled(page)
    assert re.fullmatch(r"Test image \d+: 7. Look at it, or step through it", page.inner_text(".from"))
    first = page.evaluate("location.hash")
    page.keyboard.press("7")
    page.wait_for_function("(first) => location.hash !== first", arg=first)
    # On to the maps: the focus picks the strongest cell, the arrows move from it.
    while not page.evaluate("document.activeElement.matches('.layers .maps')"):
        page.keyboard.press("Tab")
    strongest = has(page, "shown.looked.cell")
    data = np.array(has(page, "Array.from(shown.layers.layer('conv1').maps.data)")).reshape(6, 24, 24)
    assert data[strongest["map"], strongest["row"], strongest["column"]] == data.max()
    page.keyboard.press("Home")
    page.keyboard.press("PageDown" if strongest["map"] < 5 else "PageUp")
    after = strongest["map"] + (1 if strongest["map"] < 5 else -1)
    assert f"conv1, map {after}, row {strongest['row']}, column 0." in page.inner_text(".reading")
    assert f"conv1, map {after}, row {strongest['row']}, column 0." in page.inner_text("#said")
    # A reload shows the same.
    address, text = page.evaluate("location.hash"), page.inner_text(".reading")
    page.reload()
    page.wait_for_selector(".sheet")
    settled(page)
    page.wait_for_function("(text) => document.querySelector('.reading').innerText === text", arg=text)
    assert page.evaluate("location.hash") == address


def test_a_picture_from_a_file(visit, tmp_path):
    image = pytest.importorskip("PIL.Image")
    page = visit("draw").page
    settled(page)
    seven = np.full((120, 90), 240, np.uint8)
    seven[20:30, 20:70] = seven[30:100, 60:70] = 10
    image.fromarray(seven).save(tmp_path / "seven.png")
    page.set_input_files("input[type=file]", tmp_path / "seven.png")
    page.wait_for_selector("text=as tinyconv predict reads it")
    settled(page)
    assert np.array_equal(
        has(page, "Array.from(shown.result.image.data)"), read_picture(tmp_path / "seven.png").ravel()
    )
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("input[type=file]", tmp_path / "notes.txt")
    page.wait_for_selector("text=notes.txt is no picture that can be read")
    # Dropped and pasted.
    content = list(Path(tmp_path / "seven.png").read_bytes())
    for event in ("drop", "paste"):
        page.click("button:text-is('Clear')")
        settled(page)
        page.evaluate(
            """([kind, content]) => {
              const data = new DataTransfer();
              data.items.add(new File([new Uint8Array(content)], `${kind}.png`));
              const event = kind === 'paste' ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true })
                : new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true });
              document.querySelector('.board').dispatchEvent(event);
            }""",
            [event, content],
        )
        page.wait_for_selector(f"text={event}.png")


def test_a_file_too_large_for_a_message_is_made_smaller(visit, tmp_path):
    image = pytest.importorskip("PIL.Image")
    page = visit("draw").page
    settled(page)
    noise = np.random.default_rng(0).integers(225, 255, (1400, 1000, 3)).astype(np.uint8)
    noise[300:400, 200:800] = noise[400:1200, 700:800] = 5
    image.fromarray(noise).save(tmp_path / "photo.png")
    assert (tmp_path / "photo.png").stat().st_size > 1 << 20
    page.set_input_files("input[type=file]", tmp_path / "photo.png")
    page.wait_for_selector("text=as tinyconv predict reads it")
    settled(page)
    found = np.array(has(page, "Array.from(shown.result.image.data)")).reshape(28, 28)
    whole = read_picture(tmp_path / "photo.png")[0].astype(int)
    assert np.abs(found - whole).mean() < 6


def test_a_test_image_says_why_it_is_not_placed_again(visit):
    page = visit("draw").page
    settled(page)
    place = page.locator(".check")
    assert place.inner_text() == "Scale and centre it, as MNIST\u2019s digits are"
    page.locator("button", has_text="Next").click()
    page.wait_for_selector("text=Test image 0: ")
    assert place.inner_text() == "Scale and centre it (already placed)"
    assert not place.locator("input").is_checked()
    place.locator("input").check()
    assert place.inner_text() == "Scale and centre it, as MNIST\u2019s digits are"


def test_the_drawing_is_there_again_after_another_page(visit):
    page = visit("draw").page
    page.click("button:text-is('Clear')")
    draw_seven(page)
    ink = sheet(page)
    page.click("nav >> text=Build")
    page.wait_for_selector("main .build")
    page.click("nav >> text=Draw")
    page.wait_for_function("() => " + PAGE % "shown.pad.pixels().data.some((value) => value > 0)")
    assert np.array_equal(sheet(page), ink)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desk", "phone"])
def test_all_can_use_it(visit, dark, width, height):
    one = visit("draw?image=3&layer=conv2&map=1&row=2&column=3", dark=dark, width=width, height=height)
    settled(one.page)
    assert one.violations() == []
    assert one.overflows() <= 0


def test_a_drawing_is_answered_while_the_model_trains(visit):
    one = visit("draw")
    page = one.page
    settled(page)
    one.call("train.start", recipe="default", seed="0", changes={})
    try:
        page.wait_for_selector("text=In training: after step")
        draw_seven(page)
        before = page.inner_text(".answer")
        page.wait_for_function("(before) => document.querySelector('.answer').innerText !== before", arg=before)
    finally:
        one.call("train.pause")
    page.wait_for_selector("text=After step")
