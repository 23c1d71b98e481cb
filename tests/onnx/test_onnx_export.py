"""What `tc.onnx.export` writes: names, shapes, versions, a free batch; and that it writes nothing that it cannot vouch
for."""

import re

import numpy as np
import pytest

pytest.importorskip("onnx", reason="ONNX files need onnx")

import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import models, nn, ops
from tinyconv.data.datasets import normalize
from tinyconv.errors import OnnxError, OptionError
from tinyconv.onnx import exporting, rules, writer

IMAGE = (1, 28, 28)
NORM = {"mean": (0.1307,), "std": (0.3081,)}


def small(image=(3, 8, 8)):
    """A net with a bit of everything that most nets have."""
    c = image[0]
    return nn.Sequential(
        nn.Conv2d(c, 4, 3, padding=1, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2, 1, padding=1),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(100, 7),
    )  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


def exported(model, image, path, **options):
    """The report, and the file as onnx reads it."""
    return tc.onnx.export(model, image, path, **options), onnx.load(path)


def test_lenet_out_and_in(path):
    model = models.create("lenet5")
    report, proto = exported(model, IMAGE, path, **NORM, classes=tuple("0123456789"), metadata={"data": "mnist"})
    assert [one.name for one in proto.graph.initializer] == list(model.state_dict())
    assert {one.key: one.value for one in proto.metadata_props} == {
        "classes": "\n".join("0123456789"), "data": "mnist", "macs": "281640", "mean": "0.1307", "std": "0.3081",
    }  # fmt: skip
    assert report.inputs == ("images: uint8 (batch, 1, 28, 28)",)
    assert report.outputs == ("scores: float32 (batch, 10)",)
    assert 0 < report.difference <= report.allowed < 1e-4
    loaded = tc.onnx.load(path)
    pixels = np.random.default_rng(1).integers(0, 256, (5, *IMAGE), np.uint8)
    ours = model.eval()(tc.from_numpy(normalize(pixels, **NORM)))
    assert loaded(tc.from_numpy(pixels)).array.tobytes() == ours.array.tobytes()


@pytest.mark.parametrize("batch", [1, 3, 128])
def test_one_file_takes_any_batch(batch, path):
    model = small()
    _, proto = exported(model, (3, 8, 8), path)
    x = np.random.default_rng(0).standard_normal((batch, 3, 8, 8)).astype(np.float32)
    (found,) = ReferenceEvaluator(proto).run(None, {"images": x})
    np.testing.assert_allclose(found, model.eval()(tc.from_numpy(x)).array, rtol=0, atol=1e-5)


def test_every_tensor_has_a_shape_and_every_node_its_layer(path):
    _, proto = exported(small(), (3, 8, 8), path)
    described = {one.name: one for one in [*proto.graph.value_info, *proto.graph.input, *proto.graph.output]}
    held = {one.name for one in proto.graph.initializer}
    for node in proto.graph.node:
        for name in [*node.input, *node.output]:
            assert name in described or name in held or not name
        for name in node.output:
            assert described[name].type.tensor_type.HasField("shape")
    assert [node.name for node in proto.graph.node if node.op_type != "Constant"] == [
        "0/Conv", "1/BatchNormalization", "2/Relu", "3/MaxPool", "4/Reshape", "6/Gemm",
    ]  # fmt: skip


@pytest.mark.parametrize(("opset", "ir"), [(17, 8), (18, 8), (19, 9), (20, 9), (21, 10), (22, 10)])
def test_versions_are_those_asked_for(opset, ir, path):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(2))
    report, proto = exported(model, (1, 6, 6), path, opset=opset)
    assert (proto.ir_version, [one.version for one in proto.opset_import]) == (ir, [opset])
    assert (report.ir_version, report.opset) == (ir, opset)
    x = tc.randn(2, 1, 6, 6)
    loaded = tc.onnx.load(path)(x).array
    np.testing.assert_allclose(loaded, model.eval()(x).array, rtol=0, atol=1e-6)


def test_the_model_is_left_as_it_was(path):
    model = small().train()
    model[1].eval()
    before = {name: t.array.copy() for name, t in model.state_dict().items()}
    tc.onnx.export(model, (3, 8, 8), path)
    assert [m.training for m in model] == [True, False, True, True, True, True, True]
    assert all(np.array_equal(before[name], t.array) for name, t in model.state_dict().items())


def test_layers_that_write_in_place_and_share_weights(path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.again = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
            self.again.weight = self.conv.weight

        def forward(self, x):
            y = self.conv(x)
            y.relu_()
            z = self.again(y)
            z += y
            return z.flatten(1)

    _, proto = exported(Net(), (2, 5, 5), path)
    assert [one.name for one in proto.graph.initializer] == ["conv.weight", "conv.bias", "again.bias"]


@pytest.mark.parametrize("times", [1, 3])
def test_sizes_that_follow_from_the_batch(times, path):
    class Net(nn.Module):
        def forward(self, x):
            n = x.shape[0]
            y = x.reshape(n * 2, 3, 8)
            y = y + tc.zeros(n * 2, 1, 8)
            return y.reshape(n, 2, 3, 8).transpose(1, 2).reshape(n, 3 * 2 * 8)

    _, proto = exported(Net(), (6, 8), path)
    x = np.random.default_rng(0).standard_normal((times, 6, 8)).astype(np.float32)
    (found,) = ReferenceEvaluator(proto).run(None, {"images": x})
    assert np.array_equal(found, Net()(tc.from_numpy(x)).array)


# --- what is refused ------------------------------------------------------------------------------------------------


class Calls(nn.Module):
    """A layer `inner` that calls a function."""

    def __init__(self, function):
        super().__init__()
        self.inner = nn.Module()
        self.inner.forward = function

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x.flatten(1).cumprod(1), "Cumprod has no ONNX form here, in layer 'inner'"),
        (lambda x: x.flatten(1).sort(1)[0], "has no ONNX form here, in layer 'inner'"),
        (lambda x: F.dropout(x.flatten(1)), "takes new data from the host each time, in layer 'inner'"),
        (lambda x: x.flatten(1) / x.shape[0], "a number in the arithmetic depends on the batch"),
        (lambda x: x.flatten(1) * tc.arange(x.shape[0])[:, None], "the file would keep it for every batch"),
        (lambda x: x.flatten(1) if x.shape[0] == 2 else x.relu().flatten(1), "the batch decides which ops run"),
        (lambda x: x[x > 0], "picks elements by a mask"),
        (lambda x: x.flatten(1) * x.sum().item(), "reads values of a tensor"),
        (lambda x: {"scores": 3}, "the model returns a int"),
    ],
)
def test_what_no_graph_can_have(function, said, path):
    with pytest.raises(OnnxError, match=re.escape(said)):
        tc.onnx.export(Calls(function), (2, 3), path)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"opset": 16}, "opset must be 17 to 22, got 16"),
        ({"mean": (0.1,)}, "mean and std belong together"),
        ({"mean": (0.1, 0.2), "std": (1, 1)}, "a number for each channel"),
        ({"mean": (0.1,), "std": (0,)}, "std must be above 0"),
    ],
)
def test_options(options, said, path):
    with pytest.raises(OptionError, match=said):
        tc.onnx.export(models.create("lenet5"), IMAGE, path, **options)


# --- mutants: the check of each file finds them ---------------------------------------------------------------------


def refused(model, image, path, said, **options):
    path.write_text("the file before")
    with pytest.raises(OnnxError, match=said):
        tc.onnx.export(model, image, path, **options)
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert path.read_text() == "the file before"


def test_a_wrong_order_of_paddings_is_found(path, monkeypatch):
    def wrong(w, x, weight, bias, *, stride, padding, dilation, groups):
        top, left = padding
        pads = [top, top, left, left]  # ONNX has all that comes before first
        return w("Conv", x, weight, bias, strides=stride, pads=pads, dilations=dilation, group=groups)

    monkeypatch.setitem(rules.RULES, ops.Conv2d, wrong)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=(2, 0)), nn.Flatten())
    refused(model, (1, 5, 5), path, "finds fault with the graph: .*0/Conv")


def test_a_frozen_batch_is_found(path, monkeypatch):
    def wrong(w, x, *, shape):
        sizes = [2 if isinstance(n, writer.Count) else n for n in w.outs[0][0]]
        return w("Reshape", x, w.constant(sizes, np.int64))

    monkeypatch.setitem(rules.RULES, ops.Reshape, wrong)
    refused(small(), (3, 8, 8), path, "no runtime runs the graph: .* with a batch of 1")


def test_a_missing_normalisation_is_found(path, monkeypatch):
    def wrong(w, x, dtype, pixels):
        y = w.cast(x, dtype)
        return writer.Arg(y.name, y.dtype, x.shape)

    monkeypatch.setattr(exporting, "_normalised", wrong)
    refused(models.create("lenet5"), IMAGE, path, "gives other scores: they differ by", **NORM)


def test_a_wrong_epsilon_is_found(path, monkeypatch):
    right = rules.RULES[ops.BatchNorm]
    monkeypatch.setitem(rules.RULES, ops.BatchNorm, lambda w, *inputs, eps: right(w, *inputs, eps=10 * eps))
    refused(small(), (3, 8, 8), path, "gives other scores: they differ by")


def test_a_wrong_weight_is_found(path, monkeypatch):
    def wrong(array, name):
        return numpy_helper.from_array(array[::-1].copy() if name == "0.bias" else array, name)

    monkeypatch.setattr(writer, "numpy_helper", type("", (), {"from_array": staticmethod(wrong)}))
    refused(small(), (3, 8, 8), path, "gives other scores")
