"""The jobs of the Build page: a cake worked out live, its errors, its Python, and the model that becomes of it."""

import time

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the studio needs the extra `studio`")

import tinyconv as tc
from tinyconv.host import limits
from tinyconv.inspect.cake import vocabulary
from tinyconv.web import pages
from tinyconv.web.jobs import JobError
from tinyconv.web.pages.build import LENET
from tinyconv.web.studio import Studio
from tinyconv.web.subject import of_model, of_name

assert pages


@pytest.fixture
def studio():
    """A Studio without a server."""
    made = Studio(of_name("lenet5", "synthetic", offline=True))
    yield made
    made.close()


@pytest.fixture
def bake(studio):
    return lambda cake, image="1x28x28", **more: studio.submit(
        "build.bake", {"cake": cake, "image": image, **more}
    ).result()


def size(text):
    return tuple(map(int, text.split("x")))


EVERY_SLICE = (
    "conv 6 5 padding=same; bn; relu; pool 2; avgpool 2 1; adaptive 5; leakyrelu; gelu; silu; sigmoid; tanh; gap; "
    "flatten; bn; dropout; fc 10; softmax"
)


@pytest.mark.parametrize(
    ("cake", "image"), [(LENET, "1x28x28"), (LENET, "3x32x32"), (EVERY_SLICE, "3x30x22"), ("conv 2 3x5 s=2", "1x9x20")]
)
def test_the_numbers_are_those_of_summary(bake, cake, image):
    found = bake(cake, image)
    expected = tc.summary(tc.Cake.parse(cake).build(size(image)), size(image))
    assert found["error"] is None
    assert len(found["slices"]) == len(expected.layers)
    for row, layer in zip(found["slices"], expected.layers, strict=True):
        assert (row["name"], row["output"], row["params"]) == (layer.name, list(layer.output_shape), layer.params)
        assert (row["macs"], row["flops"], row["activations"]) == (layer.macs, layer.flops, layer.activation_bytes)
        assert row["share"] == layer.share
        assert row["fields"] == [list(field) for field in layer.fields]
    totals = found["totals"]
    assert (totals["params"], totals["macs"]) == (expected.total_params, expected.total_macs)
    assert (totals["flops"], totals["activations"]) == (expected.total_flops, expected.activation_bytes)
    assert found["warnings"] == list(expected.warnings)


def test_every_kind_of_slice_was_tried():
    assert {words.split()[0] for words in EVERY_SLICE.split("; ")} == set(vocabulary())


@pytest.mark.parametrize("image", ["1x28x28", "3x32x32"])
def test_the_python_runs_and_builds_the_same_model(bake, image):
    space = {}
    exec(bake(LENET, image)["python"], space)
    made = tc.summary(space["model"], size(image))
    expected = tc.summary(tc.Cake.parse(LENET).build(size(image)), size(image))
    assert [(x.output_shape, x.params, x.macs) for x in made.layers] == [
        (x.output_shape, x.params, x.macs) for x in expected.layers
    ]


@pytest.mark.parametrize(
    ("cake", "number", "said"),
    [
        ("", 0, "an empty cake"),
        (";relu", 1, "it is empty"),
        ("conv 6 5; ; relu", 2, "it is empty"),
        ("conv 6 5; cnv 2 3; relu", 2, "conv?"),
        ("conv 6 5; fc 10; relu", 2, "put flatten before it"),
        ("conv 6 5; pool 2; conv 16 15; relu; foo", 3, "kernel 15x15 is larger"),
        ("relu; conv 1000000000 3", 2, "at most 1,048,576"),
        ("flatten; fc 1000000", 2, "parameters; at most"),
        ("\U0001f600 5; relu", 1, "no slice is called"),
        ("conv \u0666 5", None, None),  # an Arabic six is a decimal digit, and is read as one
        ("; ".join(["relu"] * 10_000), 0, "10,000 slices; at most 300"),
        ("x" * 200_000, 0, "at most 100,000"),
        ("relu; pool 20; pool 30", 3, "1,300 cells"),
    ],
)
def test_the_first_error_is_said_with_its_slice_and_what_is_under_it_is_worked_out(bake, cake, number, said):
    found = bake(cake)
    if number is None:
        assert found["error"] is None
        return
    assert found["error"]["slice"] == number
    assert said in found["error"]["text"]
    assert "\n" not in found["error"]["text"]
    assert sum("params" in row for row in found["slices"]) == max(number - 1, 0)
    assert found["python"] is None
    assert found["untrainable"]


def test_places_are_those_of_javascript(bake):
    cake = "relu; \U0001f600\U0001f600; tanh"
    units = cake.encode("utf-16-le")
    found = [units[2 * row["start"] : 2 * row["end"]].decode("utf-16-le") for row in bake(cake)["slices"]]
    assert found == ["relu", "\U0001f600\U0001f600", "tanh"]


@pytest.mark.parametrize("image", ["", "28", "1x28", "1x2x3x4", "0x1x1", "ax2x3", "1x28x99999999999", "1x-2x3"])
def test_an_image_that_is_none_is_refused(bake, image):
    error = bake("relu", image)["error"]
    assert (error["where"], error["slice"]) == ("image", 0)
    assert "CxHxW" in error["text"]


@pytest.mark.parametrize(
    ("cake", "image"),
    [
        ("conv 1000 3; gap", "3x1024x1024"),
        ("conv 1 3; gap", f"3x{limits.SIZE}x{limits.SIZE}"),
        ("relu", f"{limits.SIZE}x{limits.SIZE}x{limits.SIZE}"),
        ("pool 64 1 padding=32; " * 200 + "relu", "3x64x64"),
        ("conv 1 1", "1x1x1"),
    ],
)
def test_nothing_takes_long(bake, cake, image):
    """`conv 1000 3` on such an image took 17 seconds, and 200 such poolings six minutes."""
    started = time.process_time()
    assert bake(cake, image)["slices"]
    assert time.process_time() - started < 3


@pytest.mark.parametrize("arguments", [{"cake": 5}, {"cake": "relu", "image": [1, 2]}, {"cake": "relu", "before": 3}])
def test_what_is_no_text_is_refused(studio, arguments):
    with pytest.raises(JobError, match="must be of type"):
        studio.submit("build.bake", {"image": "1x28x28", **arguments}).result()


def test_a_cake_is_compared_with_one_before(bake):
    found = bake(LENET.replace("conv 6", "conv 12"), before={"cake": LENET, "image": "1x28x28"})
    assert found["before"]["params"] == 44_426
    assert found["totals"]["params"] == 44_426 + 156 + 2_400


def test_every_preset_can_be_baked(studio, bake):
    found = studio.submit("build.start", {}).result()
    assert [preset["name"] for preset in found["presets"]][:2] == ["lesson", "lenet5"]
    assert (found["own"]["cake"], found["own"]["image"]) == (LENET, "1x28x28")  # though it has a forward of its own
    assert "layers" not in found
    for preset in found["presets"]:
        assert bake(preset["cake"], preset["image"])["error"] is None, preset


@pytest.mark.parametrize("name", ["cifarnet", "lenet5_1998"])
def test_a_model_that_is_no_cake_is_given_as_its_layers(name):
    subject = of_name(name, "synthetic", offline=True)
    studio = Studio(subject)
    found = studio.submit("build.start", {}).result()
    expected = tc.summary(subject.model, subject.shape)
    studio.close()
    assert found["own"] is None
    assert [(row["name"], row["kind"], row["output"], row["params"], row["macs"]) for row in found["layers"]] == [
        (row.name, row.kind, list(row.output_shape), row.params, row.macs) for row in expected.layers
    ]
    assert (found["totals"]["params"], found["totals"]["macs"]) == (expected.total_params, expected.total_macs)


def test_a_model_that_asks_for_values_opens_the_page_all_the_same():
    class Asking(tc.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = tc.nn.Linear(784, 10)

        def forward(self, x):
            return self.fc(x.flatten(1) * x.max().item())

    studio = Studio(of_model(Asking(), "synthetic"))
    found = studio.submit("build.start", {}).result()
    studio.close()
    assert (found["own"], found["layers"], found["totals"]) == (None, None, None)


def test_a_lenet_of_other_sizes_is_written_as_it_is():
    model = tc.models.lenet5(in_channels=3, size=32, padding=2, num_classes=7)
    studio = Studio(of_model(model, (np.zeros((7, 3, 32, 32), np.uint8), np.arange(7))))
    own = studio.submit("build.start", {}).result()["own"]
    studio.close()
    built = tc.summary(tc.Cake.parse(own["cake"]).build(size(own["image"])), size(own["image"]))
    assert built.total_params == tc.summary(model, (3, 32, 32)).total_params
    assert own["cake"].startswith("conv 6 5 padding=2; ")


def test_the_warnings_of_summary_are_given(bake):
    (warning,) = bake("flatten; fc 1000; relu; fc 10", "3x224x224")["warnings"]
    assert "fc1 holds" in warning


def test_a_cake_becomes_the_model(studio, bake):
    studio.submit("build.open", {"cake": "conv 3 5; relu; gap; flatten; fc 10", "image": "1x28x28"}).result()
    subject = studio.subject
    assert (subject.title, subject.dataset, subject.offline) == ("cake", "synthetic", True)
    assert subject.outline()["cake"] == "conv 3 5; relu; gap; flatten; fc 10"
    assert studio.submit("build.start", {}).result()["own"]["cake"] == "conv 3 5; relu; gap; flatten; fc 10"
    studio.submit("build.open", {"cake": LENET, "image": "3x32x32"}).result()
    assert (studio.subject.dataset, studio.subject.shape) == ("cifar10", (3, 32, 32))
    studio.submit("build.model", {"name": "lenet_gap"}).result()
    assert studio.subject.title == "lenet_gap"


@pytest.mark.parametrize(
    ("cake", "image", "why"),
    [
        ("flatten; fc 10", "5x9x9", "No dataset here has images of 5x9x9"),
        ("flatten; fc 7", "1x28x28", "end it in fc 10"),
        ("conv 3 3", "1x28x28", "end it in flatten; fc 10"),
        ("conv 3 99", "1x28x28", "Mend the cake first"),
    ],
)
def test_what_cannot_be_trained_says_why(studio, bake, cake, image, why):
    assert why in bake(cake, image)["untrainable"]
    with pytest.raises(JobError, match=why):
        studio.submit("build.open", {"cake": cake, "image": image}).result()


def test_a_dataset_of_other_images_is_refused(studio):
    with pytest.raises(JobError, match="cifar10"):
        studio.submit("build.open", {"cake": LENET, "image": "1x28x28", "dataset": "cifar10"}).result()
    for name in ("cake", "vgg17"):
        with pytest.raises(JobError, match="no model"):
            studio.submit("build.model", {"name": name}).result()
