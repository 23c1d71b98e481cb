"""Every op that has an ONNX form, wherever in its argument space Hypothesis goes: exported, run by onnx's reference and
by onnxruntime, loaded again, and compared with what the op itself gives."""

import re
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="ONNX files need onnx")

from oracle import HypothesisDraw

import tinyconv as tc
from tinyconv import models
from tinyconv.check.draw import RandomDraw
from tinyconv.check.reference import as_tuple, compare, largest
from tinyconv.errors import OnnxError
from tinyconv.onnx.exporting import build, check, runtimes
from tinyconv.onnx.loading import Graph
from tinyconv.onnx.traced import traced_once
from tinyconv.testing import spaces
from tinyconv.testing.case import SPACES, draw_case

assert spaces  # importing it fills SPACES

HAS_ONNXRUNTIME = find_spec("onnxruntime") is not None

REFUSED = {
    "shape that depends|picks elements by a mask|a mask picks|^Index: ": [
        "__getitem__", "argwhere", "bincount", "masked_scatter", "masked_scatter_", "masked_select", "nonzero",
        "one_hot", "repeat_interleave", "unique", "unique_consecutive",
    ],
    "reads values of a tensor": ["__getitem__", "allclose", "arange", "equal", "masked_select", "nn.BatchNorm"],
    "a write into a part of a tensor": ["__setitem__", "empty_like", "fill_diagonal_", "nn.BatchNorm"],
    "move_statistics has no ONNX form": ["batch_norm", "nn.BatchNorm"],
    "onnx finds fault with the graph: .*unsupported type": ["neg", "relu"],
    "places of maxima|indices has no ONNX form": [
        "adaptive_max_pool1d", "adaptive_max_pool2d", "max_pool1d", "max_pool2d",
    ],
    "takes new data from the host each time|Dropout has no ONNX form": [
        "alpha_dropout", "dropout", "dropout1d", "dropout2d", "feature_alpha_dropout", "rrelu",
    ],
    "(_order|_middle|_places) has no ONNX form": [
        "argsort", "bucketize", "kthvalue", "median", "msort", "searchsorted", "sort", "topk",
    ],
    "(Bce|BceWithLogits|CrossEntropy|SoftCrossEntropy|HuberLoss|L1Loss|MseLoss|NllLoss) has no ONNX form": [
        "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss", "l1_loss",
        "mse_loss", "nll_loss", "smooth_l1_loss",
    ],
    "(conv2d|linear|relu)_[a-z0-9_]+ has no ONNX form": [
        "conv2d_relu", "conv2d_relu_max_pool2d", "linear_relu", "relu_max_pool2d",
    ],
    "(Put|AddAt|_from_the_end|_reshaped|_rows|isin|Cumprod|left_shift|right_shift) has no ONNX form": [
        "bitwise_left_shift", "bitwise_right_shift", "cumprod", "diag", "diag_embed", "gather", "index_add",
        "index_add_", "index_copy", "index_copy_", "index_fill", "index_fill_", "isin", "max_unpool1d", "max_unpool2d",
        "multi_margin_loss", "one_hot", "scatter", "scatter_", "scatter_add", "scatter_add_", "take_along_dim",
    ],
}  # fmt: skip
"""What is refused, by what the error says: in all cases of a space, or in some."""

ROUNDED = {
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "atan2", "avg_pool1d", "avg_pool2d", "batch_norm", "expm1", "log10",
    "log1p", "log2", "logaddexp", "logsigmoid", "nn.BatchNorm",
    "addbmm", "addmm", "addmv", "baddbmm", "bmm", "chain_matmul", "einsum", "inner", "kron", "matmul", "mm",
    "multi_dot", "mv", "tensordot",
}  # fmt: skip
"""Ops for which ONNX has no operator of the same order of sums, and products, whose order BLAS chooses by how operands
lie in memory: loaded, they agree to rounding. Models, below, agree to the bit."""

FLOAT32 = {"celu", "elu", "selu", "leaky_relu", "nn.BatchNorm", "batch_norm"}
"""Ops with numbers that ONNX keeps as float32, and float64 tensors need more of."""

OVERFLOWS = {"log_softmax"}
"""Ops that onnx's reference computes as the logarithm of a power that may overflow; onnxruntime does not."""

DIFFERS = {"floor_divide": "a quotient by an infinity is -1 here, and NaN where it is computed from a remainder"}


@st.composite
def cases(draw, name):
    return draw_case(name, HypothesisDraw(draw))


def written(case, names=("in", "out")):
    """The inputs of a case, what the op gives, and its graph; OnnxError where it has none."""
    function, inputs = case.function(), [tc.from_numpy(np.array(array, order="C")) for array in case.inputs]
    with tc.no_grad():
        expected = as_tuple(function(*(x.clone() for x in inputs)))
    traced = traced_once(function, [x.clone() for x in inputs])
    given, found = ([f"{name}{i}" for i in range(len(of))] for name, of in zip(names, (inputs, expected), strict=True))
    model = build(traced, {}, inputs=given, outputs=found)
    check(model)
    return inputs, [y.array for y in expected], model


def plain(arrays):
    """Whether all runtimes agree on what these are: no NaN, no infinity, nothing empty, no float16 and float64."""
    return all(
        array.size and array.dtype.name not in ("float16", "float64") and np.isfinite(array).all() for array in arrays
    )


def compared(name, case):
    """Compare all that runs the case. Returns what ran it."""
    inputs, expected, model = written(case)
    arrays = [x.array for x in inputs]
    magnitude = max((largest(array) for array in [*arrays, *expected] if array.dtype.kind == "f"), default=0)
    ran = set()
    with tc.no_grad():
        found = [y.array for y in as_tuple(Graph(model)(*inputs))]
    exact = name not in ROUNDED and not (name in FLOAT32 and any(a.dtype == np.float64 for a in arrays))
    for i, (ours, wanted) in enumerate(zip(found, expected, strict=True)):
        assert (ours.shape, ours.dtype) == (wanted.shape, wanted.dtype)
        if exact:  # but for the sign of a zero
            assert np.array_equal(ours, wanted, equal_nan=wanted.dtype.kind == "f"), f"output {i} of {case}"
        elif plain([*arrays, *expected]):
            compare(f"output {i}", ours, wanted, magnitude)
    if not plain([*arrays, *expected]):
        return ran
    for runtime, run in runtimes(model):
        if runtime != "onnxruntime" and name in OVERFLOWS:
            continue
        try:
            found = run({f"in{i}": array for i, array in enumerate(arrays)})
        except Exception:  # whatever a runtime raises: both have operators that they do not take with every argument
            continue
        for i, (theirs, wanted) in enumerate(zip(found, expected, strict=True)):
            compare(f"output {i} of {runtime}", np.asarray(theirs), wanted, magnitude)
        ran.add(runtime)
    return ran


def reasons(name):
    return [said for said, names in REFUSED.items() if name in names]


@pytest.mark.parametrize("name", sorted(SPACES.keys() - DIFFERS.keys()))
@settings(max_examples=max(2, settings().max_examples // 10))
@given(data=st.data())
def test_runtimes_agree_and_what_is_loaded_gives_the_same(name, data):
    case, refusal = data.draw(cases(name), label="the case"), ""
    try:
        compared(name, case)
    except OnnxError as error:
        refusal = str(error)
    assert not refusal or any(re.search(said, refusal) for said in reasons(name)), refusal


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({name for names in REFUSED.values() for name in names}))
def test_what_is_refused_is_refused_for_its_reason(name):
    said = ""
    for seed in range(40):
        try:
            written(draw_case(name, RandomDraw(seed)))
        except OnnxError as error:
            said += f"{error}\n"
    assert any(re.search(reason, said) for reason in reasons(name)), said


@pytest.mark.slow
def test_most_ops_are_run_by_every_runtime():
    """Nothing above would notice that a runtime runs none of them."""
    ran = {"onnx's reference": 0, "onnxruntime": 0}
    for name in sorted(SPACES.keys() - DIFFERS.keys()):
        once = set()
        for seed in range(12):
            try:
                once |= compared(name, draw_case(name, RandomDraw(seed)))
            except OnnxError:
                continue
        for runtime in once:
            ran[runtime] += 1
    assert ran["onnx's reference"] > 200
    assert ran["onnxruntime"] > 200 or not HAS_ONNXRUNTIME


def test_a_wrong_rule_is_found(monkeypatch):
    from tinyconv import ops
    from tinyconv.check.reference import Disagreement
    from tinyconv.onnx import rules

    monkeypatch.setitem(rules.RULES, ops.Tanh, lambda w, x: w("Mul", w("Tanh", x), 1.0001))

    def search():
        for seed in range(20):
            compared("tanh", draw_case("tanh", RandomDraw(seed)))

    with pytest.raises((AssertionError, Disagreement)):
        search()


IMAGES = {"cifarnet": (3, 32, 32), "alexnet": (3, 64, 64), "vgg16": (3, 32, 32), "resnet50": (3, 32, 32)}
QUICK = {"lenet5", "lenet_bn", "mlp"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
        for name in models.MODELS
        if name not in ("cake", "vgg16")  # a cake has no layers of its own; VGG's half a gigabyte takes a minute
    ],
)
def test_models_go_out_and_come_back(name, tmp_path):
    tc.manual_seed(0)
    model, image = models.create(name), IMAGES.get(name, (1, 28, 28))
    report = tc.onnx.export(model, image, tmp_path / "net.onnx")
    assert set(report.differences) == {"onnx's reference", *(["onnxruntime"] if HAS_ONNXRUNTIME else [])}
    loaded, x = tc.onnx.load(tmp_path / "net.onnx"), tc.randn(2, *image)
    assert set(loaded.state_dict()) <= set(model.state_dict())
    assert {key for key, _ in loaded.named_parameters()} == {key for key, _ in model.named_parameters()}
    with tc.no_grad():
        assert loaded(x).array.tobytes() == model.eval()(x).array.tobytes()
