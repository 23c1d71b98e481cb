"""The Build page in a browser: text and blocks, by mouse, by touch and by keys; its numbers are those of tc.summary."""

import re

import pytest
from browser import SIZES, Visit, served

import tinyconv as tc
from tinyconv.web.pages.build import LENET
from tinyconv.web.subject import of_name

pytestmark = pytest.mark.slow


def at(cake=LENET, image="1x28x28", **more):
    """The address of the page with this state."""
    from urllib.parse import urlencode

    return "build?" + urlencode({"cake": cake, "image": image, **more})


@pytest.fixture
def build(visit):
    """build(cake, image, ...) opens the page and waits for its numbers."""

    def open_page(cake=LENET, image="1x28x28", state=None, **how):
        found = visit(at(cake, image, **(state or {})), **how)
        found.page.wait_for_selector(".totals dd")
        return found

    return open_page


def cake_of(page):
    return page.input_value("#cake")


def settled(page, cake):
    """Wait until the blocks are those of this cake."""
    page.wait_for_function(
        """cake => document.querySelector('#cake')?.value === cake
          && [...document.querySelectorAll('.slices .words')].map(w => w.textContent).join('; ') === cake""",
        arg=cake,
    )


def middle(page, selector):
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, source, x, y):
    page.mouse.move(*middle(page, source))
    page.mouse.down()
    page.mouse.move(x, y, steps=6)
    page.mouse.up()


@pytest.mark.parametrize(
    ("cake", "image"), [(LENET, "3x32x32"), ("conv 3 3x5 s=2; bn; relu; gap; flatten; fc 10", "3x30x22")]
)
def test_the_numbers_of_the_page_are_those_of_summary(build, cake, image):
    page = build(cake, image, width=1440).page
    size = tuple(map(int, image.split("x")))
    expected = tc.summary(tc.Cake.parse(cake).build(size), size)
    heads, rows, foot = expected._cells()
    shown = page.eval_on_selector_all(
        ".slices .slice", "rows => rows.map(row => [...row.querySelectorAll('td')].map(c => c.innerText.trim()))"
    )
    assert len(shown) == len(rows)
    order = [heads.index(name) for name in ("output", "params", "MACs", "FLOPs", "share", "field", "activations")]
    for cells, row in zip(shown, rows, strict=True):
        assert [c.replace("×", "x").replace(" %", "%") for c in cells[1:]] == [row[i] for i in order], row
    assert [page.inner_text(f"[data-total={name}]") for name in ("params", "macs", "flops", "activations")] == [
        foot[heads.index(name)] for name in ("params", "MACs", "FLOPs", "activations")
    ]


@pytest.mark.parametrize("image", ["1x28x28", "3x224x224"])
@pytest.mark.parametrize("width", [761, 1024, 1181])
def test_no_column_is_cut_off(build, width, image):
    page = build(LENET, image, width=width, height=768).page
    assert page.eval_on_selector(".bench .scroll", "box => box.scrollWidth - box.clientWidth") <= 0


def test_the_columns_are_explained(build):
    page = build().page
    heads = page.locator(".slices th[role=columnheader]")
    assert [head for head in heads.all() if head.inner_text() != "Slice" and not head.get_attribute("title")] == []
    assert "MACs are multiply-adds for one image" in page.inner_text(".work")


def test_it_says_whether_the_cake_is_the_model_of_the_studio(visit):
    page = visit("build").page
    page.wait_for_selector("text=This is lenet5, the model of the studio.")
    assert cake_of(page) == LENET
    page.fill("#cake", "conv 7 5; relu")
    page.wait_for_selector("text=This cake is not the model of the studio, which is lenet5.")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_model_that_is_no_cake_is_shown_as_its_layers(browser, dark):
    subject = of_name("cifarnet", "synthetic", offline=True)
    expected = tc.summary(subject.model, subject.shape)
    with served(subject) as server:
        opened = Visit(browser, server, "build", dark=dark, width=390 if dark else 1024)
        page = opened.page
        page.wait_for_selector("section.whose")
        said = page.inner_text("section.whose")
        assert "cifarnet is no stack of slices, so Build cannot show it as a cake." in said
        assert "The cake below is another model: LeNet-5." in said
        assert f"cifarnet has {expected.total_params:,} parameters" in said
        rows = page.eval_on_selector_all(
            ".whose tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
        )
        assert rows == [
            [row.name, row.kind, "×".join(map(str, row.output_shape))]
            + [f"{n:,}" if n else "" for n in (row.params, row.macs)]
            for row in expected.layers
        ]
        assert (opened.violations(), opened.overflows()) == ([], 0)
        opened.end()


def test_a_person_finds_the_answers(build):
    """How many parameters has conv2; what does cell (3, 3) of pool2 see; what happens with twice the filters."""
    page = build(dark=True).page
    page.locator(".slice", has=page.get_by_text("conv2", exact=True)).hover()
    assert "2,416" in page.inner_text(".sees .figures")
    page.locator(".slice button", has_text="pool2").click()
    page.keyboard.press("Escape")
    for name in ("row", "column"):
        page.get_by_label(name, exact=True).fill("3")
    assert page.inner_text(".sentence") == (
        "Cell (3, 3) of pool2 sees rows 12 to 27 and columns 12 to 27: 16×16 of the 28×28 pixels."
    )
    page.get_by_role("button", name="Filters ×2").click()
    settled(page, LENET.replace("conv 6", "conv 12").replace("conv 16", "conv 32"))
    assert re.sub(r"\s+", " ", page.inner_text("[data-total=params]")) == "44,426 → 82,518 (×1.86)"
    page.get_by_role("button", name="Stop comparing").click()
    page.wait_for_function("() => !document.querySelector('.times')")


def test_the_field_is_that_of_the_library(build):
    """What the page says of some cells, padding included, is what `Field.span` says."""
    cake = "conv 4 5 padding=2; relu; pool 3 stride=2 padding=1; conv 4 3 stride=2 dilation=2"
    page = build(cake, "3x30x22").page
    found = tc.summary(tc.Cake.parse(cake).build((3, 30, 22)), (3, 30, 22))
    for layer in found.layers:
        _, height, width = layer.output_shape
        for cell in ((0, 0), (height // 2, width // 2), (height - 1, width - 1)):
            sees = page.evaluate(
                """async ([fields, cell]) => {
                  const { seen } = await import('/static/cake.js');
                  const { rows, columns } = seen({ fields }, cell, [3, 30, 22]);
                  return [rows, columns];
                }""",
                [[list(field) for field in layer.fields], list(cell)],
            )
            assert sees == [list(f.span(n, p)) for f, n, p in zip(layer.fields, cell, (30, 22), strict=True)]


def test_text_becomes_blocks_as_it_is_typed_and_an_error_marks_its_block(build):
    page = build("conv 6 5; relu").page
    page.fill("#cake", "conv 6 5; relu; pool 2; conv 16 15; relu")
    page.wait_for_selector("tr.wrong")
    assert page.locator("tr.wrong .words").inner_text() == "conv 16 15"
    assert "kernel 15x15 is larger than the padded input 12x12" in page.inner_text("tr.wrong .why")
    assert page.inner_text("#wrong").startswith("slice 4, 'conv 16 15'")
    assert page.inner_text("mark.wrong") == "conv 16 15"
    assert page.get_attribute("#cake", "aria-invalid") == "true"
    assert page.locator(".slice [data-column=params]").count() == 3  # what is under it is worked out
    page.fill("#cake", "conv 6 5; relu; pool 2; conv 16 5; relu")
    settled(page, "conv 6 5; relu; pool 2; conv 16 5; relu")
    assert page.inner_text("#wrong") == ""
    page.fill("#image", "1x4x4")
    page.wait_for_selector("tr.wrong")
    assert "kernel 5x5 is larger" in page.inner_text("#wrong")
    page.fill("#image", "what")
    page.wait_for_function("() => document.querySelector('#wrong').textContent.includes('CxHxW')")


def test_blocks_by_mouse(build):
    page = build("conv 6 5; relu; pool 2; flatten; fc 10").page
    x, y = middle(page, "[data-block='0']")
    height = page.locator(".slices .slice").first.bounding_box()["height"]
    drag(page, "[data-block='2']", x, y - height / 2 + 2)  # pool to the front
    settled(page, "pool 2; conv 6 5; relu; flatten; fc 10")
    drag(page, "[aria-label='Add tanh']", x, y + 1.5 * height)
    settled(page, "pool 2; conv 6 5; tanh; relu; flatten; fc 10")
    drag(page, "[data-block='3']", *middle(page, ".palette"))  # off the cake
    settled(page, "pool 2; conv 6 5; tanh; flatten; fc 10")
    page.locator("[data-block='1']").click()
    page.get_by_label("padding").fill("2")
    page.get_by_label("padding").press("Enter")
    settled(page, "pool 2; conv 6 5 padding=2; tanh; flatten; fc 10")
    page.get_by_role("button", name="Undo").click()
    settled(page, "pool 2; conv 6 5; tanh; flatten; fc 10")
    page.get_by_role("button", name="Redo").click()
    settled(page, "pool 2; conv 6 5 padding=2; tanh; flatten; fc 10")


def test_everything_by_keys(build):
    page = build("conv 6 5; relu; pool 2; flatten; fc 10").page
    keys = page.keyboard.press
    page.locator("#cake").focus()
    for _ in range(40):
        keys("Tab")
        if page.evaluate("document.activeElement.dataset.block") == "0":
            break
    assert page.evaluate("document.activeElement.dataset.block") == "0"
    keys("ArrowDown"), keys("ArrowDown")
    keys("Space"), keys("ArrowUp"), page.wait_for_function("() => document.activeElement.dataset.block === '1'")
    settled(page, "conv 6 5; pool 2; relu; flatten; fc 10")
    assert "pool 2 is slice 2 of 5" in page.inner_text("#said")
    page.wait_for_selector(".carried")  # and on it goes
    keys("ArrowUp")
    settled(page, "pool 2; conv 6 5; relu; flatten; fc 10")
    page.wait_for_function("() => document.activeElement.dataset.block === '0'")
    keys("Space")
    page.wait_for_function("() => !document.querySelector('.carried')")
    keys("Alt+ArrowDown")
    settled(page, "conv 6 5; pool 2; relu; flatten; fc 10")
    page.wait_for_function("() => document.activeElement.dataset.block === '1'")
    keys("Delete")
    settled(page, "conv 6 5; relu; flatten; fc 10")
    assert "Removed pool 2" in page.inner_text("#said")
    keys("ArrowUp"), keys("Enter")
    assert page.evaluate("document.activeElement.name") == "filters"
    keys("Control+a"), page.keyboard.insert_text("8")
    keys("Enter")
    settled(page, "conv 8 5; relu; flatten; fc 10")
    page.wait_for_function("() => document.activeElement.dataset.block === '0'")
    keys("+"), keys("Tab")
    assert page.evaluate("document.activeElement.closest('.palette') !== null")
    keys("Escape")
    assert page.evaluate("document.activeElement.dataset.block") == "0"
    keys("+"), keys("Tab"), keys("Enter")  # the second of the palette: pool
    settled(page, "conv 8 5; pool 2; relu; flatten; fc 10")
    page.wait_for_function(
        "() => document.activeElement.name === 'kernel' || document.activeElement.dataset.block === '1'"
    )
    for cake in ("conv 8 5; relu; flatten; fc 10", "conv 6 5; relu; flatten; fc 10"):
        keys("Control+z")
        settled(page, cake)
    keys("Control+Shift+z")
    settled(page, "conv 8 5; relu; flatten; fc 10")


def test_a_block_moves_under_a_finger(build):
    visit = build("pool 2; conv 6 5; relu; flatten; fc 10", width=390, height=844)
    page = visit.page
    page.locator("[data-block='0']").tap()
    page.get_by_role("button", name="Move down").tap()
    settled(page, "conv 6 5; pool 2; relu; flatten; fc 10")
    page.locator("#said", has_text="pool 2 is slice 2 of 5").wait_for(state="attached")
    page.locator("[data-block='3']").scroll_into_view_if_needed()
    x, y = middle(page, "[data-block='2'] .grip")
    goal = page.locator("[data-block='1']").bounding_box()["y"] - 8
    touch = visit.context.new_cdp_session(page)

    def send(kind, *points):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]})

    send("touchStart", (x, y))
    for i in range(1, 7):
        send("touchMove", (x, y + (goal - y) * i / 6))
    send("touchEnd")
    settled(page, "conv 6 5; relu; pool 2; flatten; fc 10")


def test_pointing_lights_the_block_its_text_and_the_picture(build):
    page = build().page
    page.locator(".slice").nth(3).hover()
    assert page.inner_text("mark.lit") == "conv 16 5"
    assert page.locator(".tier.lit .called").text_content() == "conv2"
    assert page.inner_text(".sentence").startswith("Cell (4, 4) of conv2 sees rows 8 to 21 and columns 8 to 21: 14×14")
    page.locator(".tier .front").nth(3).hover()
    assert page.locator("tr.lit .name").inner_text() == "pool1"
    names = page.get_attribute(".descent", "aria-label")
    assert "image 1×28×28, conv1 6×24×24, pool1 6×12×12" in names
    # The widths are those of the maps: 28, 24 and 12 cells.
    wide = page.eval_on_selector_all(".tier .front", "all => all.map(r => r.width.baseVal.value)")
    assert wide[1] / wide[0] == pytest.approx(24 / 28, rel=1e-3)
    assert wide[3] / wide[0] == pytest.approx(12 / 28, rel=1e-3)


def test_a_cell_is_picked_on_the_map(build):
    page = build(state={"slice": 5}).page
    page.locator(".grid.picks").scroll_into_view_if_needed()
    box = page.locator(".grid.picks").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 3.5 / 4, box["y"] + box["height"] * 0.5 / 4)
    assert page.inner_text(".sentence").startswith("Cell (0, 3) of pool2 sees rows 0 to 15 and columns 12 to 27")
    page.wait_for_function("() => location.hash.includes('cell=0%2C3')")


def test_the_url_has_the_state(build):
    page = build().page
    page.fill("#cake", "conv 6 5; relu; gap; flatten; fc 10")
    page.get_by_role("button", name="Compare with this cake").click()
    page.fill("#cake", "conv 7 5; relu; gap; flatten; fc 10")
    page.locator("[data-block='2']").click()
    page.wait_for_function("() => location.hash.includes('conv+7') && location.hash.includes('slice=2')")
    page.wait_for_selector(".times")
    shown = page.inner_text(".totals dl"), page.inner_text(".sees")
    page.reload()
    page.wait_for_selector(".times")
    settled(page, "conv 7 5; relu; gap; flatten; fc 10")
    assert (page.inner_text(".totals dl"), page.inner_text(".sees")) == shown


def test_the_cake_is_still_there_after_another_page(build):
    page = build().page
    page.fill("#cake", "conv 7 5; relu")
    settled(page, "conv 7 5; relu")
    page.get_by_role("link", name="Draw").click()
    page.wait_for_selector(".page.draw h1")
    page.get_by_role("link", name="Build").click()
    settled(page, "conv 7 5; relu")


def test_the_code_that_is_copied_runs(build):
    visit = build(LENET, "3x32x32")
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visit.page
    page.get_by_role("button", name="Copy").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    space = {}
    exec(page.evaluate("navigator.clipboard.readText()"), space)
    made = tc.summary(space["model"], (3, 32, 32))
    assert f"{made.total_params:,}" == page.inner_text("[data-total=params]")
    assert f"{made.total_macs:,}" == page.inner_text("[data-total=macs]")
    assert page.locator(".kept pre").last.inner_text() == f'tinyconv train "{LENET}" --data cifar10'


def test_the_lessons_figures_stand_beside_the_true_ones(build):
    page = build(LENET, "3x32x32").page
    for image, params in (("3x32x32", "62,006"), ("1x28x28", "44,426"), ("1x32x32", "61,706")):
        page.fill("#image", image)
        page.locator(".lesson dd", has_text=f"{params} the lesson says 61,706").wait_for()
    found = page.inner_text(".lesson")
    assert "14 the lesson says 10" in found
    assert "16 the lesson says 28" in found
    page.fill("#cake", "flatten; fc 10")
    page.locator(".lesson").wait_for(state="detached")


def test_hostile_text_is_answered_in_words(build):
    page = build("relu").page
    for cake in ("relu; " * 10_000, "", "\U0001f600; \u202e", "conv 1000000000 3", "<b>x</b>; ${1}"):
        page.fill("#cake", cake)
        page.wait_for_function("() => document.querySelector('#wrong').textContent.length > 10")
        page.fill("#cake", "tanh")
        settled(page, "tanh")


def test_a_lost_connection_stops_nothing(build):
    visit = build("conv 6 5; relu")
    page = visit.page
    page.evaluate("""() => import('/static/app.js').then(({ app }) => {
      app.source.ws.close();
      const cake = document.querySelector('#cake');
      cake.value = 'conv 6 5; tanh';
      cake.dispatchEvent(new Event('input'));
      document.querySelector('[data-block="0"]').dispatchEvent(new KeyboardEvent('keydown', { key: 'Delete' }));
    })""")
    settled(page, "conv 6 5; tanh")  # typed while it was away
    page.locator("[data-block='0']").press("Delete")
    settled(page, "tanh")
    assert all("CLOSING" in text for text in visit.problems)  # the browser tells of what was sent meanwhile
    visit.problems.clear()


def test_the_warnings_of_summary_are_shown(build):
    page = build("flatten; fc 1000; relu; fc 10", "3x224x224").page
    assert page.inner_text(".warning").startswith("fc1 holds 150,529,000 of the 150,539,010 parameters")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_is_accessible_and_fits(build, size, dark):
    width, height = SIZES[size]
    found = build(LENET, "3x32x32", state={"before": LENET, "slice": 3}, dark=dark, width=width, height=height)
    found.page.locator("[data-block='3']").click()
    found.page.wait_for_selector(".arguments")
    assert (found.violations(), found.overflows()) == ([], 0)
    found.page.fill("#cake", "conv 6 5; conv 16 99; relu")
    found.page.wait_for_selector("tr.wrong")
    assert (found.violations(), found.overflows()) == ([], 0)
    found.page.fill("#cake", "conv 1000000000 " + "9" * 500)
    found.page.wait_for_function("() => document.querySelector('#wrong').textContent.includes('1000000000')")
    assert found.overflows() == 0


def test_a_cake_goes_to_its_training(build, studio):
    page = build("conv 4 5; relu; gap; flatten; fc 10").page
    page.select_option("#dataset", "synthetic")
    page.get_by_role("button", name="Train this").click()
    page.wait_for_function("() => location.hash.startsWith('#train')")
    page.wait_for_selector(".page.train h1")
    assert page.inner_text("#subject .name") == "cake"
    assert studio.studio.subject.outline()["cake"] == "conv 4 5; relu; gap; flatten; fc 10"
    page.goto(page.url.replace("#train", "#build"))
    page.wait_for_selector("#model")
    assert page.locator("#preset option").nth(1).inner_text().startswith("cake, the model here")
    page.select_option("#model", "lenet5")
    page.get_by_role("button", name="Open").click()
    page.wait_for_selector(".page.train h1")
    assert page.inner_text("#subject .name") == "lenet5"


def test_what_cannot_be_trained_says_so(build):
    page = build("flatten; fc 10", "5x9x9").page
    assert "No dataset here has images of 5x9x9" in page.inner_text(".onwards")
    assert page.get_by_role("button", name="Train this").count() == 0
