"""What a notebook shows: every kind of object, with any values, escaped, small, and with nothing changed by looking."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import notebook


def shown(value):
    """The HTML of an object: well-formed, without scripts or anything fetched."""
    html = value._repr_html_()
    parsed = ET.fromstring(html)
    tags = {element.tag.rpartition("}")[2] for element in parsed.iter()}
    assert "script" not in tags
    assert not re.search(r'(?:src|href)="(?!data:image/png)', html)
    return html


def said(value):
    """Its words without tags."""
    words = re.sub(r"<style>.*?</style>", "", shown(value), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", words).split())


def pictures(html):
    from PIL import Image

    found = re.findall(r'src="data:image/png;base64,([^"]*)"', html)
    return [np.asarray(Image.open(BytesIO(b64decode(content)))) for content in found]


# --- tensors --------------------------------------------------------------------------------------------------------

nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize(
    "array",
    [
        np.float32(3.5), np.zeros(0), np.zeros((0, 3)), np.zeros((2, 0, 5)), np.array([nan, inf, -inf, 0.0]),
        np.full((20, 20), nan), np.arange(5), np.array([True, False]), np.float16([[1e4, 6e-8]]),
        np.float64([[1e308, -1e308]]), np.uint8(255 * np.ones((1, 3, 40, 50))), np.int64([-(2**62)]),
        np.zeros((1, 1, 1, 1, 1)), np.ones((3, 200, 2)), np.ones((2, 3, 4))[:, ::-1].T, np.arange(17).reshape(17, 1),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)  # fmt: skip
def test_any_values_are_shown(array):
    t = tc.tensor(array)
    text = said(t)
    assert text.startswith(f"Tensor {array.shape} · {t.dtype}")
    assert len(t._repr_html_()) < 20_000


def test_a_small_tensor_is_a_table_of_its_numbers():
    assert said(tc.tensor([[1.5, -2.0], [nan, 0.0]])) == "Tensor (2, 2) · float32 0 1 0 1.5 -2 1 nan 0"
    assert said(tc.tensor([[[1, 2]], [[3, 4]]])) == "Tensor (2, 1, 2) · int64 0 1 0 1 2 [0] 0 1 0 3 4 [1]"
    html = shown(tc.tensor([[1.0, -0.5, 0.0, inf]]))
    tints = re.findall(r"<td(?: style=\"background:rgba\(([^)]*)\)\")?>", html)
    assert tints == ["224,110,30,0.60", "50,120,235,0.30", "", "200,30,200,0.60"]


def test_a_long_axis_is_abbreviated():
    text = said(tc.arange(1000))
    assert text.endswith("0 1 2 3 4 5 6 7 8 9 10 … 996 997 998 999")
    rows = re.findall(r"<tr><th>([^<]*)</th>(.*?)</tr>", shown(tc.arange(2000).reshape(1000, 2))[1500:])
    assert [row for row, _ in rows] == ["", *map(str, range(11)), "…", "996", "997", "998", "999"]
    assert re.findall(r">(\d+|…)<", rows[-1][1]) == ["1998", "1999"]
    assert re.findall(r">(\d+|…)<", rows[11][1]) == ["20", "21"]
    assert re.findall(r">(\d+|…)<", rows[12][1]) == ["…", "…"]


def test_what_is_larger_is_a_heat_map_of_its_numbers():
    x = tc.zeros(20, 30)
    x[0, 0], x[1, 2], x[3, 4] = 2.0, -1.0, nan
    (pixels,) = pictures(shown(x))
    assert pixels.shape == (20, 30, 4)
    assert tuple(pixels[0, 0]) == (*notebook.ABOVE, 255)
    assert tuple(pixels[1, 2]) == (*notebook.BELOW, 128)
    assert tuple(pixels[3, 4]) == (*notebook.WRONG, 255)
    assert pixels[5, 5, 3] == 0
    assert said(x).endswith("orange above 0, blue below, strongest at 2 from 0, magenta: 1 NaN or infinite")
    filters = tc.nn.Conv2d(3, 16, 5).weight
    assert len(pictures(shown(filters))) == notebook.MAPS
    assert "[0, 0] [0, 1] [0, 2] [1, 0]" in said(filters)
    assert "and 36 more" in said(filters)


def test_a_huge_tensor_is_small_on_the_page():
    html = shown(tc.randn(4000, 3000))
    assert len(html) < 60_000
    assert pictures(html)[0].shape == (125, 94, 4)
    assert "every 32nd row and column" in html
    assert notebook._nth(1) == "1st"
    assert notebook._nth(23) == "23rd"
    assert notebook._nth(112) == "112th"


def test_a_tensor_says_how_it_was_made_and_where_it_is():
    w = tc.randn(2, 3, requires_grad=True)
    assert "requires grad" in said(w)
    assert "made by Mul (readable), tinyconv/ops/elementwise.py:" in said(w * 2)
    assert said(tc.nn.Parameter(tc.ones(2))).startswith("Parameter (2,) · float32 · requires grad")
    assert said(tc.zeros(2, 3, device="meta")) == "Tensor (2, 3) · float32 · on meta no values on this device"
    assert "no shape before the first call" in said(tc.nn.LazyLinear(3).weight)


def test_looking_changes_nothing():
    tc.manual_seed(0)
    model, x = tc.models.lenet5(), tc.randn(1, 1, 28, 28, requires_grad=True)
    model.eval()
    y = model(x)
    state = tc.get_rng_state()
    for value in (model, x, y, model.conv1.weight, tc.data.synthetic_digits(30)):
        shown(value)
    assert str(tc.get_rng_state()) == str(state)
    assert not model.training
    y.sum().backward()
    assert x.grad is not None


def test_no_value_is_read_while_a_step_is_captured():
    texts = []

    @tc.capture
    def step(x):
        texts.append(said(x))
        return x * 2

    for _ in range(3):
        assert step(tc.ones(2)).tolist() == [2, 2]
    assert texts == ["Tensor (2,) · float32 no value is read while a step is captured"] * 2
    assert "1 program runs" in said(step)


# --- modules --------------------------------------------------------------------------------------------------------


def test_a_module_is_its_layers_with_their_parameters():
    model = tc.models.lenet5()
    model.conv1.weight.requires_grad_(False)
    text = said(model.eval())
    assert text.startswith("LeNet5 44,426 parameters · 44,276 of them trained · in evaluation mode LeNet5() 44,426")
    assert "(conv1): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1)) 156 weight (6, 1, 5, 5) float32, frozen" in text
    assert "(relu): ReLU()" in text


def test_names_are_escaped():
    Wicked = type("<script>alert(1)</script>", (tc.nn.Module,), {"extra_repr": lambda self: "<b>\x00 & \ud800"})
    model = tc.nn.Sequential()
    model.add_module("a<b", Wicked())
    text = shown(model)
    assert "<b>\x00" not in text
    assert "&lt;b&gt;" in text
    assert "a&lt;b" in text
    Named = type("<i>", (tc.data.TensorDataset,), {})
    assert "<i>" not in shown(Named(tc.zeros(2)))


def test_of_many_or_deep_layers_the_first_are_shown():
    many = tc.nn.Sequential(*(tc.nn.ReLU() for _ in range(2000)))
    assert len(shown(many)) < 100_000
    assert "and 1,501 more" in said(many)
    deep = tc.nn.ReLU()
    for _ in range(200):
        deep = tc.nn.Sequential(deep)
    assert shown(deep).count("Sequential") < 40


def test_other_kinds_of_modules():
    shared = tc.nn.Linear(2, 2)
    assert said(tc.nn.Sequential(shared, shared)).startswith("Sequential 6 parameters")
    assert "0 + ? parameters" in said(tc.nn.LazyConv2d(3, 3))
    assert "(0): Linear" in said(tc.nn.ModuleList([shared]))
    assert "scale (2,) float32" in said(tc.nn.ParameterDict({"scale": tc.ones(2)}))

    class Own(tc.nn.Module):
        def __repr__(self):
            return "<own>"

    assert Own()._repr_html_() is None
    assert "(0): <own>" in said(tc.nn.Sequential(Own())).replace("&lt;", "<").replace("&gt;", ">")


# --- datasets -------------------------------------------------------------------------------------------------------


def test_a_dataset_of_images_is_its_first_ones_with_their_labels():
    digits = tc.data.synthetic_digits(1000)
    text = said(digits)
    head = "ImageDataset 1,000 images · 1 x 28 x 28 · 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 · the first 20 "
    assert text == head + " ".join(map(str, digits.labels[:20]))
    found = pictures(shown(digits))
    assert all(np.array_equal(picture, image[0]) for picture, image in zip(found, digits.images, strict=False))
    assert len(shown(digits)) < 40_000
    assert "0 images" in said(digits[:0])


def test_parts_and_sums_of_datasets():
    digits = tc.data.synthetic_digits(40)
    part = tc.data.Subset(digits, [7, 3])
    assert said(part) == f"Subset 2 images · 1 x 28 x 28 {digits.labels[7]} {digits.labels[3]}"
    both = said(part + digits[:2])
    assert both.endswith(" ".join(str(digits.labels[i]) for i in (7, 3, 0, 1)))
    assert tc.data.Subset(digits, [99])._repr_html_() is None
    assert (part + tc.data.TensorDataset(tc.zeros(3)))._repr_html_() is None
    assert said(tc.data.TensorDataset(tc.zeros(3, 2), tc.arange(3))) == (
        "TensorDataset 3 items, each of 2 tensors all of them dtype device 0 (3, 2) float32 cpu 1 (3,) int64 cpu"
    )


def test_colours_and_large_images():
    images = np.zeros((2, 3, 300, 200), np.uint8)
    images[0, 0], images[1] = 255, 7
    data = tc.data.ImageDataset(images, np.array([0, 1]), ("red <x>", "dark"), (0.5,) * 3, (0.5,) * 3)
    first, _ = pictures(shown(data))
    assert first.shape == (100, 67, 3)
    assert first[0, 0].tolist() == [255, 0, 0]
    assert "red &lt;x&gt;" in shown(data)
    two = tc.data.ImageDataset(images[:, :2], np.array([0, 1]), ("a", "b"), (0.5,) * 2, (0.5,) * 2)
    assert pictures(shown(two))[0].shape == (100, 67)


def test_datasets_of_others_are_not_read():
    class Own(tc.data.Dataset):
        def __len__(self):
            raise AssertionError

        def __getitem__(self, i):
            raise AssertionError

    class Lines(tc.data.IterableDataset):
        def __iter__(self):
            raise AssertionError

    for dataset in (Own(), Lines(), tc.data.Dataset()):
        assert dataset._repr_html_() is None
    assert tc.data.vision.FakeData(10)._repr_html_() is None


@pytest.mark.mnist
def test_mnist_under_both_names(mnist_root):
    ours, theirs = tc.data.mnist("test", mnist_root), tc.data.vision.MNIST(mnist_root, train=False)
    same = zip(pictures(shown(ours)), pictures(shown(theirs)), strict=True)
    assert all(np.array_equal(a, b) for a, b in same)
    assert said(theirs).endswith("9 - nine 7 - seven 3 - three 4 - four")
    assert said(tc.data.Subset(theirs, [0])).endswith("1 x 28 x 28 7 - seven")


# --- looking --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def step():
    tc.manual_seed(0)
    return tc.inspect.record(tc.models.lenet5(), tc.data.synthetic_digits(1).normalized()[0], 7)


def test_a_recording_and_its_frames(step):
    assert said(step).startswith("Recording of LeNet5 on (1, 1, 28, 28) in training: 13 frames forward, 13 backward")
    assert "3 forward conv2d conv2 x (1, 6, 12, 12); weight (16, 6, 5, 5); bias (16,) y (1, 16, 8, 8)" in said(step)
    for frame in step.frames:
        assert said(frame).startswith(f"{frame.name}, {frame.direction} frame {frame.number}")
    assert "in: weight from conv1.weight · (6, 1, 5, 5) [0, 0] [1, 0]" in said(step.frames[0])
    assert len(shown(step.frames[0])) < 60_000


def test_an_explanation_is_its_largest_terms(step):
    why = tc.inspect.explain(step.frames[3], "y", (0, 2, 3, 4))
    text = said(why)
    assert text.startswith(f"y[0, 2, 3, 4] = {why.total:.6g} the sum of 151 terms, {why.sum:.6g} cell value times")
    largest = max(why.terms, key=lambda term: abs(term.product))
    assert text.index(f"{largest.product:.6g}") < text.index("135 smaller terms")
    relu = tc.inspect.explain(step.frames[1], "y", (0, 0, 0, 0))
    assert "smaller" not in said(relu)


def test_a_profile_is_its_two_tables():
    model = tc.models.lenet5()
    with tc.profile() as p:
        model(tc.zeros(1, 1, 28, 28))
    text = said(p)
    assert text.startswith("profile ")
    assert "op, times in ms calls" in text
    assert "layer, times in ms calls" in text
    assert all(total.name in text for total in (*p.by_op(), *p.by_layer()))
    assert said(tc.profile()) == "profile: no op ran inside"


def test_a_captured_step_is_its_instructions():
    model = tc.models.lenet5()
    optimizer = tc.optim.SGD(model.parameters(), lr=0.1)

    @tc.capture
    def train(x):
        optimizer.zero_grad()
        loss = model(x).logsumexp(1).sum()
        loss.backward()
        optimizer.step()
        return loss

    assert said(train).startswith("capture(train) not called yet.")
    for _ in range(3):
        train(tc.zeros(2, 1, 28, 28))
    text = said(train)
    for one in train.to_dict()["programs"][0]["instructions"]:
        assert f"{one['number']} {one['section']} {' + '.join(part['name'] for part in one['computes'])}" in text
    assert "SGD.step" in text


def test_feature_maps_without_matplotlib_are_a_text(monkeypatch):
    found = tc.feature_maps(tc.models.lenet5(), tc.zeros(1, 28, 28))
    assert repr(found).startswith("<FeatureMaps of an image (1, 28, 28): conv1 (6, 24, 24), conv2 (16, 8, 8); ")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert found._repr_png_() is None


def test_nothing_of_it_is_imported_before_it_is_used():
    code = "import sys, tinyconv; sys.exit(any(name in sys.modules for name in ('tinyconv.notebook', 'html')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ipython_shows_it():
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    data, _ = formatter.format(tc.tensor([1.0]))
    assert data["text/plain"] == "tensor([1.])"
    assert data["text/html"].startswith('<div class="tinyconv">')
