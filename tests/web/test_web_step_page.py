"""The Step page in a browser: by mouse, by keys alone, in both themes and sizes."""

from urllib.parse import parse_qsl

import numpy as np
import pytest
from browser import SIZES, Visit, served

from tinyconv import nn
from tinyconv.inspect import record
from tinyconv.web.subject import of_name

pytestmark = pytest.mark.slow

READ = """(map) => import('/static/app.js').then(({ app }) => {
  const { array, cell } = app.shown.view.views.get(map);
  return { shape: array.shape, data: Array.from(array.data), cell };
})"""
"""What the page holds of an array of the frame that is shown."""
AT = "(n) => import('/static/app.js').then(({ app }) => app.shown.frame.number === n)"
"""Whether the frame of that number is shown."""


def ready(page):
    page.wait_for_selector(".step-why .cell-name")
    return page


def settled(page, title):
    """Wait for the frame of that title, and for the sum of its cell."""
    page.wait_for_function(
        """(title) => document.querySelector('h1').textContent.replace(/\\s+/g, ' ').startsWith(title)""", arg=title
    )
    return ready(page)


def address(page):
    """The state in the URL."""
    return dict(parse_qsl(page.url.split("?")[-1]))


def numbers(text):
    """A number as the page writes it."""
    return float(text.replace("−", "-").replace("∞", "inf"))


def total(page):
    """The number at the head of the panel, the one below its sum, and the sum of the lines between."""
    head = numbers(page.inner_text(".cell-name b"))
    lines = [numbers(text) for text in page.locator(".step-why .ledger tr td").all_inner_texts()]
    return head, lines[-1], sum(lines[:-1])


@pytest.fixture
def open_step(visit):
    def open_page(state="", **how):
        opened = visit(f"step{state}", **how)
        ready(opened.page)
        return opened

    return open_page


def test_every_array_of_every_frame_is_that_of_the_recording(open_step, studio):
    page = open_step("?image=3").page
    subject = studio.studio.subject
    recording = record(subject.model, subject.input(subject.image(3).images), subject.image(3).labels, training=False)
    assert page.locator(".point").count() == len(recording.frames) == 26
    for frame in recording.frames:
        page.wait_for_function(AT, arg=frame.number)
        for operand in (*frame.inputs, *frame.outputs):
            if operand.array is None or operand.argument.startswith("y["):
                continue
            shown = page.evaluate(READ, operand.argument)
            assert shown["shape"] == list(operand.array.shape)
            assert np.array_equal(shown["data"], operand.array.reshape(-1).astype(float)), (frame, operand.argument)
        page.keyboard.press("ArrowRight")


@pytest.mark.parametrize(
    ("size", "state"), [("desk", "?frame=3&view=im2col"), ("desk", "?frame=22&view=loops"), ("phone", "?frame=13")]
)
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_and_nothing_overflows(open_step, size, state, dark):
    width, height = SIZES[size]
    opened = open_step(state, dark=dark, width=width, height=height)
    assert opened.violations() == []
    assert opened.overflows() == 0


def test_a_tap_on_a_phone_shows_the_sum_over_the_maps(open_step):
    width, height = SIZES["phone"]
    opened = open_step("?image=3&frame=22", width=width, height=height)
    page = opened.page
    assert opened.overflows() == 0
    page.evaluate("() => document.querySelector('[data-map=dx]').scrollIntoView({ block: 'start' })")
    page.evaluate("() => scrollBy(0, -120)")
    page.wait_for_selector(".cell-name code")
    page.wait_for_timeout(300)  # what comes late moves the maps, and the tap would meet another cell
    box = page.locator("[data-map=dx]").bounding_box()
    page.touchscreen.tap(box["x"] + 22.5, box["y"] + 22.5)
    page.wait_for_function("""() => {
      const cell = new URLSearchParams(location.hash.split('?')[1]).get('cell');
      const named = document.querySelector('.cell-name code')?.textContent ?? '';
      return cell && cell === named.slice(3, -1).replaceAll(', ', '.');
    }""")
    sheet = page.locator(".step-why").bounding_box()
    assert box["y"] + 22.5 < sheet["y"] < height  # the panel is in sight, and the cell above it


@pytest.mark.parametrize(("width", "height"), [(1024, 768), SIZES["phone"]])
def test_the_sheet_is_a_line_until_it_is_opened(open_step, width, height):
    opened = open_step("?image=3&frame=22", width=width, height=height)
    page = opened.page
    sheet, button = page.locator(".step-why"), page.locator(".why-head button")
    maps, top = page.locator("[data-map=x]").bounding_box(), sheet.bounding_box()["y"]
    assert maps["y"] + 130 < top  # two lines of maps are in sight
    assert top + sheet.bounding_box()["height"] <= height
    assert sheet.bounding_box()["height"] < 60
    assert button.get_attribute("aria-expanded") == "false"
    assert page.locator(".step-why .why").is_hidden()
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    assert page.locator(".step-why .why").is_visible()
    assert address(page)["sheet"] == "open"
    assert opened.violations() == []
    page.locator("text=As loops").click()
    page.locator(".stepper input").focus()
    page.keyboard.press("Escape")
    assert page.locator(".stepper").is_hidden()
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
    assert "sheet" not in address(page)
    page.keyboard.press("ArrowLeft")
    settled(page, "Backward 9 of 13")
    assert page.locator(".why-head button").get_attribute("aria-expanded") == "false"


def test_an_enlarged_map_has_the_keys_and_its_name(open_step):
    page = open_step("?image=3&frame=22&map=dx&cell=0.2.5.6").page
    focused = "document.activeElement.dataset.map"
    caption = page.locator(".tensor:has([data-map=dx]) figcaption")
    assert "alone" not in caption.inner_text()
    page.click("[aria-label='Enlarge dx']")
    assert page.evaluate(focused) == "dx"
    assert "dx[0, 2] alone, of 6 maps of 12×12" in caption.inner_text()
    page.keyboard.press("PageDown")
    assert "dx[0, 3] alone, of 6 maps of 12×12" in caption.inner_text()
    for key, is_large in [("Escape", False), ("z", True), ("z", False), ("Escape", False)]:
        page.keyboard.press(key)
        assert page.evaluate(focused) == "dx"
        assert ("zoom" in address(page)) == ("alone" in caption.inner_text()) == is_large


def test_every_map_has_a_frame_and_the_keys_are_listed(open_step):
    page = open_step("?image=3&frame=22").page
    corners = page.evaluate("""() => {
      const probe = document.body.appendChild(document.createElement('i'));
      probe.style.color = 'var(--line)';
      const line = getComputedStyle(probe).color.match(/[0-9]+/g).map(Number);
      probe.remove();
      const corner = (canvas) => [...canvas.getContext('2d').getImageData(0, 0, 1, 1).data].slice(0, 3);
      return [line, ...[...document.querySelectorAll('.tensor-base')].map(corner)];
    }""")
    assert len(corners) == 9
    assert all(corner == corners[0] for corner in corners)
    page.focus(".keys summary")
    page.keyboard.press(" ")  # opens the list, and plays nothing
    listed = page.inner_text(".keys dl")
    assert all(key in listed for key in ("←", "→", "b", "Home", "End", "Space", "arrows", "z", "Escape"))
    assert page.locator("button:has-text('Play')").is_visible()
    said = "training runs a faster pair, tiled, that gives the same numbers to rounding"
    assert said in page.inner_text(".step-code")


def test_keys_alone_go_through_the_frames_and_the_cells(open_step):
    page = open_step("?image=3").page
    title = page.locator("h1")
    assert "Forward 1 of 13" in title.inner_text()
    for key, expected in [
        ("ArrowRight", "Forward 2 of 13"),
        ("End", "Backward 13 of 13"),
        ("ArrowRight", "Backward 13 of 13"),
        ("b", "Forward 1 of 13"),
        ("b", "Backward 13 of 13"),
        ("ArrowLeft", "Backward 12 of 13"),
        ("Home", "Forward 1 of 13"),
    ]:
        page.keyboard.press(key)
        settled(page, expected)
    assert "Forward 1 of 13" in page.inner_text("#said")

    page.keyboard.press("End")
    settled(page, "Backward 13 of 13")
    for _ in range(60):  # Tab until the map of dx has the focus
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.map") == "dx":
            break
    start = page.evaluate(READ, "dx")["cell"]
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    moved = [*start[:2], start[2] - 1, start[3] - 1]
    named = f"dx[{', '.join(map(str, moved))}]"
    page.wait_for_function("(text) => document.querySelector('.cell-name code').textContent === text", arg=named)
    assert address(page) == {"image": "3", "frame": "25", "map": "dx", "cell": ".".join(map(str, moved))}
    assert page.inner_text("#said").startswith(f"dx {', '.join(map(str, moved))}: ")
    shown = page.evaluate(READ, "dx")
    assert shown["cell"] == moved
    value = np.array(shown["data"]).reshape(shown["shape"])[tuple(moved)]
    head, below, summed = total(page)
    assert head == below == pytest.approx(value, rel=1e-4)
    assert summed == pytest.approx(value, rel=1e-3)


def test_the_page_stays_where_it_is_while_frames_go_by(open_step):
    width, height = SIZES["phone"]
    page = open_step("?image=3", width=width, height=height).page
    page.evaluate("() => scrollTo(0, 500)")
    page.keyboard.press("b")
    settled(page, "Backward 13 of 13")
    page.keyboard.press("Home")
    for number in range(1, 13):
        page.keyboard.press("ArrowRight")
        page.wait_for_function(AT, arg=number)
    assert page.evaluate("scrollY") > 300
    point = page.locator(".point[aria-current=step]").bounding_box()
    assert 0 <= point["x"] <= width - point["width"]  # its place in the tape came into sight


def test_colours_follow_the_theme(open_step):
    page = open_step("?image=3&frame=3").page
    corner = """() => ['.tensor-base', '.step-why canvas'].map((name) => document.querySelector(name).toDataURL())"""
    light = page.evaluate(corner)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(100)
    dark = page.evaluate(corner)
    assert all(before != after for before, after in zip(light, dark, strict=True))


def test_space_plays_and_pauses(open_step):
    page = open_step("?image=3").page
    page.select_option("[aria-label=Speed]", "4×")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press(" ")
    settled(page, "Forward 3 of 13")
    page.keyboard.press(" ")
    stopped = page.inner_text("h1")
    page.wait_for_timeout(900)
    assert page.inner_text("h1") == stopped


def test_the_mouse_shows_the_sum_of_the_cell_under_it(open_step):
    page = open_step("?image=3&frame=22").page
    box = page.locator("[data-map=dx]").bounding_box()
    chosen = page.inner_text(".cell-name code")
    page.mouse.move(box["x"] + 30, box["y"] + 40)
    page.wait_for_function("(was) => document.querySelector('.cell-name code').textContent !== was", arg=chosen)
    page.wait_for_selector("[data-map=dx] .tensor-note:not([hidden])")
    head, below, summed = total(page)
    assert head == below
    assert summed == pytest.approx(head, rel=1e-3, abs=1e-9)
    under = page.inner_text(".cell-name code")
    assert "cell" not in address(page)  # not chosen, only looked at
    page.mouse.move(2, 2)
    page.wait_for_function("(was) => document.querySelector('.cell-name code').textContent === was", arg=chosen)
    page.mouse.click(box["x"] + 30, box["y"] + 40)
    page.wait_for_function("(was) => document.querySelector('.cell-name code').textContent === was", arg=under)
    assert address(page)["cell"] == under[3:-1].replace(", ", ".")

    page.click(".point[data-frame='2']")
    settled(page, "Forward 3 of 13: max_pool2d keeps the largest number of each 2×2 window")
    page.click("text=To its backward")
    settled(page, "Backward 11 of 13")


def test_a_convolution_is_the_same_as_loops_and_as_im2col(open_step):
    page = open_step("?image=3&frame=22&map=dweight&cell=3.2.1.4").page
    value = total(page)[0]
    page.click("text=As loops")
    assert numbers(page.inner_text(".step-why .total td")) == value
    assert "dweight[f, c, u, v] +=" in page.inner_text(".step-why .line.now")
    variables = page.inner_text(".variables").split()
    assert variables[:14:2] == list("nfijuvc")
    assert [variables[1 + 2 * i] for i in (1, 4, 5, 6)] == ["3", "1", "4", "2"]  # f, u, v and c of the cell
    page.locator(".stepper input").fill("0")
    assert numbers(page.inner_text(".step-why .total td")) == 0
    page.click("text=As im2col")
    assert numbers(page.inner_text(".step-why .total td")) == value
    assert "row 3 of dy times row 59 of cols" in page.inner_text(".step-why")  # (2 * 5 + 1) * 5 + 4
    assert address(page)["view"] == "im2col"
    page.evaluate("() => { location.hash = '#step?image=3&frame=22&map=dx&cell=0.2.5.6&view=im2col'; }")
    page.wait_for_function("() => document.querySelector('.cell-name code').textContent === 'dx[0, 2, 5, 6]'")
    met = [numbers(text) for text in page.locator(".meeting b").all_inner_texts()]
    assert len(met) == 25
    assert sum(met) == pytest.approx(total(page)[0], rel=1e-2)


def test_a_filter_that_lies_turned_is_said_to_be_turned(open_step):
    page = open_step("?image=3&frame=22&map=dx&cell=0.2.5.6").page
    assert "the weight that lay on it, so the filter is turned by 180°: 400 products" in page.inner_text(".why")
    captions = page.locator(".factor figcaption")
    assert [("turned by 180°" in text) for text in captions.all_inner_texts()] == [False, True, False]
    assert "turned by 180°" in page.locator(".factor canvas").nth(1).get_attribute("aria-label")
    for state, found in [("22&map=dweight&cell=3.2.1.4", "dy there times"), ("3&map=y&cell=0.9.2.5", "window of x")]:
        page.evaluate("(state) => { location.hash = `#step?image=3&frame=${state}`; }", state)
        page.wait_for_function("(text) => document.querySelector('.why').textContent.includes(text)", arg=found)
        assert "turned" not in page.inner_text(".step-why")


def test_columns_of_im2col_times_a_row_of_weights_is_the_output(open_step):
    page = open_step("?image=3&frame=3").page
    head, below, summed = total(page)
    assert head == below == pytest.approx(summed, rel=1e-3)  # of the products, and the bias
    made = page.evaluate(
        """async () => {
          const { app } = await import('/static/app.js');
          const { im2col } = await import('/static/pages/step/im2col.js');
          const { view, frame } = app.shown;
          const [x, weight, y] = ['x', 'weight', 'y'].map((name) => view.views.get(name).array);
          const geometry = { stride: [2, 1], padding: [1, 2], dilation: [1, 2] };
          const strided = im2col(x, weight, geometry, [5, 8], 0, 0);
          const { data } = im2col(x, weight, frame.geometry, y.shape.slice(2), 0, 0);
          return [x, weight, y, { data, shape: [150, 64] }, strided].map((a) => [a.shape, Array.from(a.data)]);
        }"""
    )
    x, weight, y, cols, strided = (np.array(data).reshape(shape) for shape, data in made)
    bias = np.array(page.evaluate(READ, "bias")["data"])
    assert np.allclose(weight.reshape(16, 150) @ cols + bias[:, None], y.reshape(16, 64), rtol=1e-4, atol=1e-4)
    from tinyconv.ops.conv import im2col

    expected = im2col(np, x, (5, 5), (2, 1), (1, 2), (1, 2)).reshape(150, 40)
    assert np.array_equal(strided, expected)


def test_the_cells_that_a_number_comes_from_are_lit(open_step):
    page = open_step("?image=3&frame=3&map=y&cell=0.9.2.5").page
    lit = """(map) => import('/static/app.js').then(({ app }) => {
      const { lit, array } = app.shown.view.views.get(map);
      return [lit, array.shape];
    })"""
    cells, shape = page.evaluate(lit, "x")
    _, c, rows, columns = np.unravel_index(cells, shape)
    assert len(cells) == 150
    assert (set(c), set(rows), set(columns)) == (set(range(6)), set(range(2, 7)), set(range(5, 10)))
    cells, shape = page.evaluate(lit, "weight")
    assert set(np.unravel_index(cells, shape)[0]) == {9}
    assert len(cells) == 150
    assert page.evaluate(lit, "bias")[0] == [9]
    assert page.evaluate(lit, "y")[0] == []


def test_a_link_shows_the_same_again(open_step):
    state = "?image=3&target=8&frame=22&map=dx&cell=0.4.6.7&view=loops&zoom=dx"
    first, again = (open_step(state).page.inner_text(".page") for _ in range(2))
    assert first == again
    assert "Backward 10 of 13" in first
    assert "dx[0, 4, 6, 7]" in first
    page = open_step("?image=3&frame=1").page
    page.evaluate("(state) => { location.hash = `#step${state}`; }", state)
    page.wait_for_function("() => document.querySelector('.cell-name code').textContent === 'dx[0, 4, 6, 7]'")
    assert page.get_attribute("button[aria-pressed=true].small", "class")


def test_an_image_a_class_and_a_target_are_chosen(open_step, studio):
    page = open_step().page
    labels = studio.studio.subject.images.labels
    page.select_option("label:has-text('Next of class') select", "4")
    fourth = int(np.flatnonzero(labels[1:] == 4)[0]) + 1
    page.wait_for_function("(n) => document.querySelector('input[type=number]').value === n", arg=str(fourth))
    page.click("[aria-label='Image after']")
    page.wait_for_function("(n) => document.querySelector('input[type=number]').value === n", arg=str(fourth + 1))
    page.select_option("label:has-text('Target') select", "0")
    page.wait_for_function("() => location.hash.includes('target=0')")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("End")
    settled(page, "Backward 13 of 13")
    assert "which pixels the loss depends on" in page.inner_text("h1")


def test_a_cell_is_followed_to_the_frame_that_made_it(open_step):
    page = open_step("?image=3&frame=22&map=dy&cell=0.5.3.2").page
    page.click("text=See how")
    settled(page, "Backward 9 of 13")
    assert page.evaluate("document.activeElement.dataset.map") == "dx"
    assert page.inner_text(".cell-name code") == "dx[0, 5, 3, 2]"
    page.locator("[data-map=dx]").focus()
    page.locator("[data-map=x]").focus()
    page.keyboard.press("Enter")  # x of the same frame was made by conv2
    settled(page, "Forward 4 of 13")


def test_a_model_that_fails_says_where(browser):
    subject = of_name("lenet5", "synthetic")
    subject.model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(10, 10)).eval()
    with served(subject) as server:
        opened = Visit(browser, server, "step")
        opened.page.wait_for_selector(".step-error")
        text = opened.page.inner_text(".step-error")
        assert "expected 10 features" in text
        assert "in layer '2'" in text
        assert opened.violations() == []
        opened.end()


def test_every_frame_of_a_net_with_additions_and_batch_norm_is_shown(browser):
    with served(of_name("resnet", "synthetic")) as server:
        opened = Visit(browser, server, "step")
        page = ready(opened.page)
        ops = set()
        for number in range(page.locator(".point").count()):
            page.wait_for_function(AT, arg=number)
            assert page.locator(".tensor-maps").count() >= 2
            assert opened.overflows() == 0
            ops.add(page.inner_text("h1 code"))
            page.keyboard.press("ArrowRight")
        assert {"BatchNorm", "Add", "AdaptiveAvgPool2d"} <= ops
        assert "which pixels" in page.inner_text("h1")
        opened.end()


@pytest.mark.parametrize("view", ["sum", "loops", "im2col"])
def test_terms_that_are_not_listed_are_in_the_sum(browser, view):
    """A cell of more than 4,096 terms, and a bias."""
    subject = of_name("cake", "synthetic", slices="conv 520 1; conv 2 3; flatten; fc 10")
    with served(subject) as server:
        visit = Visit(browser, server, f"step?frame=1&view={view}")
        page = ready(visit.page)
        if view == "loops":
            assert "of the first 4,096" in page.inner_text(".step-why .stepper")
            assert page.inner_text(".step-why .ledger tr.total th").endswith("so far")
            assert numbers(page.locator(".step-why .ledger td").last.inner_text()) == total(page)[0]
        else:
            head, last, lines = total(page)
            assert head == last == pytest.approx(lines, abs=1e-4)
        if view == "sum":
            assert "585 more, not listed" in page.inner_text(".step-why .ledger")
            assert "4,680 products, and the bias" in page.inner_text(".step-why .why")
        visit.end()
