"""The Train page: by mouse and by keyboard, and its numbers are those of the training."""

import pytest
from browser import SIZES, served

pytest.importorskip("starlette", reason="the studio needs the extra `studio`")

from tinyconv import data
from tinyconv.data import synthetic_digits
from tinyconv.web.subject import of_name

pytestmark = pytest.mark.slow

DIGITS = {"train": synthetic_digits(1000), "test": synthetic_digits(300, seed=1)}
CAKE = "conv 4 5 stride=2; relu; pool 2; flatten; fc 10"


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """The studio of a small cake, on a thousand digits, in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name, split, *places: DIGITS[split])
        patch.chdir(tmp_path_factory.mktemp("studio"))
        with served(of_name("cake", "synthetic", slices=CAKE)) as server:
            yield server


@pytest.fixture
def train(visit, studio):
    """train("epochs=2") opens the page, before any training of it, and marks the window: it may not be left."""

    def opening(query="", **how):
        studio.studio.submit("test.fresh", {}).result(60)
        seen = visit(f"train?{query}" if query else "train", **how)
        seen.page.evaluate("window.same = true")
        return seen

    from tinyconv.web.jobs import JOBS, Job

    with pytest.MonkeyPatch.context() as patch:

        def fresh(studio):
            studio.open(of_name("cake", "synthetic", slices=CAKE))
            studio.kept.clear()

        patch.setitem(JOBS, "test.fresh", Job("test.fresh", fresh, False, False))
        yield opening


def known(studio):
    return studio.studio.submit("train.state", {}).result(60)["training"]


def press(page, key, text):
    """Press Tab until what has the focus says this, then the key."""
    for _ in range(60):
        if page.evaluate("document.activeElement.textContent.trim()") == text:
            page.keyboard.press(key)
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {text!r}")


def shown(page, number):
    return page.inner_text(f".numbers div:nth-child({number}) dd")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dark", [False, True])
def test_a_training_by_mouse_and_on_to_draw(train, studio, dark, size):
    width, height = SIZES[size]
    seen = train(dark=dark, width=width, height=height)
    page = seen.page
    assert seen.overflows() == 0
    page.fill("#field-epochs", "3")
    page.fill("#field-batch_size", "100")
    page.press("#field-batch_size", "Tab")
    assert "epochs=3&batch_size=100" in page.url
    page.click("text=Start training")
    page.wait_for_selector("text=See its mistakes")
    training = known(studio)
    accuracy = f"{training['history'][-1]['test_accuracy']:.2%}".replace("%", " %")
    assert shown(page, 2) == accuracy
    rows = [row.inner_text().split("\t") for row in page.query_selector_all(".epochs tbody tr")]
    assert rows == [
        [
            str(row["epoch"]),
            f"{row['train_loss']:.4f}",
            f"{row['test_accuracy']:.2%}".replace("%", " %"),
            f"{row['seconds']:.1f}",
        ]
        for row in training["history"]
    ]
    assert "Epoch 3 of 3, step 10 of 10" in page.inner_text(".where")
    label = page.get_attribute(".loss", "aria-label")
    assert label.startswith(f"The loss of 30 steps: {training['losses'][0]:.3g} at first")
    assert page.evaluate("document.querySelectorAll('.curve canvas').length") == 2
    page.click("summary:has-text('One image')")
    page.click("summary:has-text('Weights and')")
    page.wait_for_selector(".maps canvas")
    page.wait_for_selector(".spreads canvas")
    assert not seen.violations()
    assert seen.overflows() == 0
    page.click("text=Draw a digit for it")
    page.wait_for_selector(".page.draw")
    assert page.evaluate("window.same")
    page.go_back()
    page.wait_for_selector("text=See its mistakes")
    page.click("text=See its mistakes")
    page.wait_for_selector(".page.mistakes .summary")
    assert page.inner_text(".big") == accuracy


def test_by_keyboard_alone(train, studio):
    page = train("epochs=2000&batch_size=100").page
    press(page, "Enter", "Start training")
    page.wait_for_selector("text=Pause")
    page.wait_for_selector(".where")
    page.keyboard.press("Space")  # the focus stays on the button
    page.wait_for_selector("text=Go on")
    before = known(studio)["done"]
    press(page, "Enter", "One step")
    page.wait_for_function(f"() => document.querySelector('progress').value === {before + 1}")
    assert known(studio)["done"] == before + 1
    press(page, "Enter", "Weights and gradients")
    page.wait_for_selector(".spreads tbody tr")
    page.focus(".loss")
    page.keyboard.press("Home")
    losses = known(studio)["losses"]
    assert page.inner_text(".loss .readout") == f"Epoch 1, step 1: loss {losses[0]:.3g}"
    page.keyboard.press("ArrowRight")
    assert page.get_attribute(".loss", "aria-valuetext") == f"Epoch 1, step 2: loss {losses[1]:.3g}"
    press(page, "Enter", "Go on")
    page.wait_for_selector("text=Pause")
    press(page, "Enter", "Pause")
    page.wait_for_selector("text=Go on")


def test_what_is_wrong_stands_beside_its_field(train, studio):
    seen = train()
    page = seen.page
    page.fill("#field-lr", "fast")
    page.press("#field-lr", "Tab")
    page.wait_for_selector("#about-lr.error")
    assert page.inner_text("#about-lr") == "write a number, such as 0.005"
    assert page.inner_text(".wrong") == "Mend the recipe first: Learning rate."
    assert not seen.violations()
    page.click("text=Start training")
    page.wait_for_function("() => document.activeElement.id === 'field-lr'")
    assert known(studio) is None
    page.fill("#field-lr", "5e-3")
    page.press("#field-lr", "Tab")
    page.wait_for_selector("#about-lr.error", state="detached")
    assert not page.query_selector(".wrong")
    page.select_option("#recipe", "best")
    assert page.input_value("#field-epochs") == "40"
    page.click("summary:has-text('The same in a terminal')")
    page.wait_for_function("() => document.querySelector('.command pre').textContent.includes('--recipe best')")


def test_a_training_outlives_its_tab_and_a_second_tab_looks_on(train, visit, studio):
    first = train("epochs=2000&batch_size=100")
    first.page.click("text=Start training")
    first.page.wait_for_selector(".epochs tbody tr:nth-child(2)")
    first.page.close()
    done = known(studio)["done"]
    second = visit("train")
    second.page.wait_for_selector("text=Pause")
    assert known(studio)["done"] > done
    assert second.page.input_value("#field-epochs") == "2000"  # those of the training
    third = visit("train")
    third.page.wait_for_selector("text=this one looks on")
    assert third.page.is_disabled("text=Pause")
    assert third.page.is_disabled("#recipe")
    assert not third.violations()
    second.page.click("text=Pause")
    third.page.wait_for_selector("text=Go on")
    losses = known(studio)["losses"]
    for page in (second.page, third.page):
        page.wait_for_function(
            f"() => document.querySelector('.loss').ariaLabel.includes('The loss of {len(losses):,} steps')"
        )
        page.reload()
        page.wait_for_function(
            f"() => document.querySelector('.loss')?.ariaLabel?.includes('The loss of {len(losses):,} steps')"
        )


def test_weights_and_maps_are_those_of_the_step(train, studio):
    seen = train("weights=1&maps=1&image=7&layer=relu&batch_size=100")
    page = seen.page
    page.click("text=One step")
    page.wait_for_selector(".spreads tbody tr td:nth-child(6) canvas")
    rows = studio.studio.submit("train.weights", {}).result(60)["rows"]
    cells = [row.inner_text().split("\t") for row in page.query_selector_all(".spreads tbody tr")]
    for row, found in zip(rows, cells, strict=True):
        assert found[0].startswith(row["name"])
        told = [float(text.replace("−", "-")) for text in (found[4], found[8], found[9])]
        assert told == pytest.approx([row["weight"]["norm"], row["gradient"]["norm"], row["ratio"]], rel=0.06)
    maps = studio.studio.submit("train.maps", {"image": 7, "layer": "relu"}).result(60)
    page.wait_for_function("() => document.querySelectorAll('.maps canvas').length === 4")
    digit = page.evaluate("""() => { const canvas = document.querySelector('canvas.digit');
        const { data } = canvas.getContext('2d').getImageData(0, 0, 28, 28);
        return Array.from(data.filter((_, i) => i % 4 === 0)); }""")
    assert digit == maps["image"].ravel().tolist()
    assert "conv1.weight" in page.inner_text(".spreads")
    assert not seen.violations()


def test_a_rate_by_hand_is_told_and_saved_as_weights_alone(train, studio):
    page = train("epochs=50&batch_size=100").page
    page.click("text=One step")
    page.wait_for_selector("text=Save a checkpoint")
    page.click("text=Save a checkpoint")
    page.wait_for_selector(".saved")
    path = known(studio)["saved"][0]["path"]
    assert page.inner_text(".saved pre") == f"tinyconv predict {path} digit.png"
    page.click("summary:has-text('Change the learning rate')")
    page.fill("#rate", "fast")
    page.press("#rate", "Enter")
    page.wait_for_selector("text=write a number, such as 0.005")
    page.fill("#rate", "0.001")
    page.press("#rate", "Enter")
    page.wait_for_selector("text=The recipe no longer describes this training")
    assert "from 0.005 to 0.001 after step 1" in page.inner_text(".controls")
    page.click("text=Save the weights")
    page.wait_for_selector("text=, the weights alone")
    assert known(studio)["saved"][1]["whole"] is False


def test_a_training_that_diverges_says_what_to_do(train):
    seen = train("epochs=9&batch_size=100&optimizer=sgd&lr=100000&schedule=constant")
    seen.page.click("text=Start training")
    seen.page.wait_for_selector("text=Set a lower learning rate in the recipe, then train anew")
    assert "the learning rate is likely too high" in seen.page.inner_text(".controls")
    assert not seen.violations()


def test_chance_is_no_success(train):
    seen = train("epochs=1&batch_size=100&seed=1")
    for rate, likely in (("1e-9", "low"), ("500", "high")):
        seen.page.fill("#field-lr", rate)
        seen.page.press("#field-lr", "Tab")
        seen.page.click(".controls button >> nth=0")
        seen.page.wait_for_selector(f"text=The learning rate is likely too {likely}.")
        assert "No better than guessing (10 classes: 10 %)" in seen.page.inner_text(".after")
        assert not seen.page.query_selector("text=Draw a digit")
    assert not seen.violations()


def test_what_a_field_means_is_seen_by_pointer_and_by_focus(train):
    seen = train()
    page = seen.page
    assert "Choose a field" in page.inner_text(".meaning")
    page.hover("label:text-is('Cutout')")
    assert page.inner_text(".meaning") == f"Cutout. {page.text_content('#about-cutout')}"
    page.focus("#field-label_smoothing")
    assert page.inner_text(".meaning").startswith("Label smoothing. The share of each label")
    assert page.is_visible(".meaning")
    assert not seen.violations()


def test_runs_are_compared(train, studio):
    page = train("epochs=2&batch_size=100").page
    page.click("text=Start training")
    page.wait_for_selector("text=See its mistakes")
    page.fill("#field-lr", "0.02")
    page.fill("#field-epochs", "1")
    page.press("#field-epochs", "Tab")
    page.click("text=Train anew")
    page.wait_for_selector(".runs tbody tr:nth-child(2)")
    page.wait_for_selector("text=See its mistakes")
    runs = studio.studio.submit("train.state", {}).result(60)["runs"]
    cells = [row.inner_text().split("\t") for row in page.query_selector_all(".runs tbody tr")]
    for run, found in zip(runs, cells, strict=True):
        assert found[1:4] == [
            CAKE,
            f"{run['parameters']:,}",
            f"{run['history'][-1]['test_accuracy']:.2%}".replace("%", " %"),
        ]
    assert "--lr 0.02" in cells[1][6]
    legend = [" ".join(line.inner_text().split()) for line in page.query_selector_all(".legend li")]
    for i, (line, found) in enumerate(zip(legend, cells, strict=True)):
        assert line.startswith(f"Run {i + 1} {CAKE}, default")
        assert line.endswith(found[3])
    strokes = page.eval_on_selector_all(".legend svg", "all => all.map((one) => getComputedStyle(one).stroke)")
    assert len(set(strokes)) == 2
    headings = page.eval_on_selector_all(".results h2", "all => all.map((one) => one.textContent)")
    assert headings.index("Trainings so far") < headings.index("Epochs")
    assert "Loss of each step, run 2" in headings
    assert page.get_attribute(".accuracy", "aria-valuemax") == "1"  # room for both epochs of the first run


def test_from_build_to_draw_with_twice_the_filters(train, studio):
    """The question that Build and Train answer together: what twice the filters do to the accuracy."""
    page = train("epochs=1").page
    for again in (False, True):
        page.click("nav a:text-is('Build')")
        page.wait_for_selector(".page.build")
        page.wait_for_selector("text=Train this")
        if again:
            page.click("text=Filters ×2")
            page.wait_for_function("() => location.hash.includes('conv+8+5')")
        page.click("text=Train this")
        page.wait_for_selector("text=Start training")
        if again:  # the recipe of the first training is kept
            assert page.input_value("#field-epochs") == "1"
            page.click("text=Usual recipe")
            assert page.input_value("#field-epochs") == "5"
            assert not page.query_selector("text=Usual recipe")
        page.fill("#field-epochs", "1")
        page.press("#field-epochs", "Tab")
        page.click("text=Start training")
        page.wait_for_selector("text=See its mistakes")
    rows = [row.inner_text().split("\t") for row in page.query_selector_all(".runs tbody tr")]
    runs = studio.studio.submit("train.state", {}).result(60)["runs"]
    assert [row[1] for row in rows] == [CAKE, CAKE.replace("conv 4", "conv 8")]
    assert [row[2] for row in rows] == ["1,554", "3,098"]
    assert [row[3] for row in rows] == [f"{run['history'][-1]['test_accuracy']:.2%}".replace("%", " %") for run in runs]
    page.click("text=Draw a digit for it")
    page.wait_for_selector(".page.draw")
    assert page.evaluate("window.same")
