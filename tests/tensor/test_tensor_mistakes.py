"""The first mistakes with tensors and functions, word for word: what was given, what was needed, and the likely fix."""

import subprocess
import sys

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn

X = tc.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
BYTES = tc.tensor([1, 2], dtype=tc.uint8)
IMAGES, FILTERS = tc.ones(1, 1, 3, 3), tc.ones(1, 1, 1, 1)
LABELS = tc.tensor([0, 1])
INTEGERS = "x[...] takes integers, slices, None, masks and lists of integers, got "

NO_TENSOR = {
    "three numbers": (lambda: F.conv2d(1, 2, 3), "conv2d: x must be a Tensor, got int"),
    "a list": (lambda: F.conv2d([[1.0]], FILTERS), "conv2d: x must be a Tensor, got list: tinyconv.tensor(x)?"),
    "None": (lambda: F.conv2d(None, FILTERS), "conv2d: x must be a Tensor, got NoneType"),
    "an array": (
        lambda: F.conv2d(IMAGES, np.ones((1, 1, 1, 1))),
        "conv2d: weight must be a Tensor, got ndarray: tinyconv.tensor(weight)?",
    ),
    "a string for a bias": (lambda: F.conv2d(IMAGES, FILTERS, "b"), "conv2d: bias must be a Tensor, got str"),
    "a number for a bias": (lambda: F.conv2d(IMAGES, FILTERS, 1), "conv2d: bias must be a Tensor, got int"),
    "padding='same'": (
        lambda: F.conv2d([1], FILTERS, padding="same"),
        "conv2d: input must be a Tensor, got list: tinyconv.tensor(input)?",
    ),
    "linear": (lambda: F.linear(1, 2), "linear: x must be a Tensor, got int"),
    "max_pool2d": (lambda: F.max_pool2d([1], 2), "max_pool2d: x must be a Tensor, got list: tinyconv.tensor(x)?"),
    "avg_pool2d": (lambda: F.avg_pool2d("x", 2), "avg_pool2d: x must be a Tensor, got str"),
    "adaptive_avg_pool2d": (
        lambda: F.adaptive_avg_pool2d([1], 2),
        "adaptive_avg_pool2d: input must be a Tensor, got list: tinyconv.tensor(input)?",
    ),
    "relu": (lambda: F.relu([1]), "relu: input must be a Tensor, got list: tinyconv.tensor(input)?"),
    "leaky_relu": (lambda: F.leaky_relu(1.0), "leaky_relu: input must be a Tensor, got float"),
    "gelu": (lambda: F.gelu(np.ones(2)), "gelu: input must be a Tensor, got ndarray: tinyconv.tensor(input)?"),
    "silu": (lambda: F.silu(None), "silu: input must be a Tensor, got NoneType"),
    "batch_norm": (
        lambda: F.batch_norm([1], None, None, training=True),
        "batch_norm: x must be a Tensor, got list: tinyconv.tensor(x)?",
    ),
    "layer_norm": (lambda: F.layer_norm([1], 1), "layer_norm: x must be a Tensor, got list: tinyconv.tensor(x)?"),
    "dropout": (lambda: F.dropout([1.0]), "dropout: input must be a Tensor, got list: tinyconv.tensor(input)?"),
    "dropout in evaluation": (
        lambda: F.dropout("x", training=False),
        "dropout: input must be a Tensor, got str",
    ),
    "pad": (lambda: F.pad(1, (1, 1)), "pad: input must be a Tensor, got int"),
    "cross_entropy": (
        lambda: F.cross_entropy(X, [0, 1]),
        "cross_entropy: target must be a Tensor, got list: tinyconv.tensor(target)?",
    ),
    "weights of classes": (
        lambda: F.cross_entropy(X, LABELS, weight=[1.0, 1.0, 1.0]),
        "cross_entropy: weight must be a Tensor, got list: tinyconv.tensor(weight)?",
    ),
    "nll_loss": (lambda: F.nll_loss(1.0, LABELS), "nll_loss: input must be a Tensor, got float"),
    "mse_loss": (lambda: F.mse_loss(X, 1.0), "mse_loss: target must be a Tensor, got float"),
    "l1_loss": (
        lambda: F.l1_loss(X, np.zeros((2, 3))),
        "l1_loss: target must be a Tensor, got ndarray: tinyconv.tensor(target)?",
    ),
    "binary_cross_entropy_with_logits": (
        lambda: F.binary_cross_entropy_with_logits(X, X, weight=2.0),
        "binary_cross_entropy_with_logits: weight must be a Tensor, got float",
    ),
    "exp": (lambda: tc.exp([1]), "exp: input must be a Tensor, got list: tinyconv.tensor(input)?"),
    "sum": (lambda: tc.sum(np.ones(2)), "sum: input must be a Tensor, got ndarray: tinyconv.tensor(input)?"),
    "cat": (lambda: tc.cat(3), "cat: expected a list of tensors, got int"),
    "stack": (lambda: tc.stack([X, None]), "stack: expected tensors, number 1 is a NoneType"),
    "matmul": (lambda: tc.matmul(X, 1), "matmul: expected a tensor, got int"),
    "@": (lambda: X @ [1, 2, 3], "matmul: expected a tensor, got list: tinyconv.tensor([...])?"),
    "+": (lambda: X + None, "add: expected a tensor or a number, got NoneType"),
    "a list on the left": (
        lambda: [1.0] * X,
        "mul: expected a tensor or a number, got list: tinyconv.tensor([...])?",
    ),
    "complex numbers": (lambda: 1j * X, "mul: expected a tensor or a number, got complex"),
    "<": (lambda: X < "a", "less: expected a tensor or a number, got str"),
    "maximum": (lambda: X.maximum("a"), "maximum: expected a tensor or a number, got str"),
    "add": (lambda: X.add(None), "add: expected a tensor or a number, got NoneType"),
    "clamp": (lambda: X.clamp("a"), "clamp: expected a tensor or a number, got str"),
    "minus a bool": (
        lambda: -(X > 1),
        "neg: bools have no minus: ~x is where x is False, x ^ y where they differ; or x.long()",
    ),
    "bool - bool": (
        lambda: (X > 1) - (X > 2),
        "sub: bools have no minus: ~x is where x is False, x ^ y where they differ; or x.long()",
    ),
    "a bool from bools": (
        lambda: True - (X > 0),
        "sub: bools have no minus: ~x is where x is False, x ^ y where they differ; or x.long()",
    ),
    "~ of floats": (lambda: ~X, "invert: expected bools or integers, got float32: compare first, (x > 0)"),
    "& of floats": (
        lambda: X & (X > 0),
        "bitwise_and: expected bools or integers, got float32 and float32: compare first, (x > 0)",
    ),
    "full": (lambda: tc.full((2,), "a"), "full: expected one number to fill with, got 'a'"),
    "zeros_like": (lambda: tc.zeros_like(3), "a tensor like another one needs that tensor, got int"),
    "rand_like": (lambda: tc.rand_like([1.0]), "a tensor like another one needs that tensor, got list"),
    "grad": (lambda: tc.grad(3, X), "grad: outputs must be a Tensor, got int"),
    "grad with respect to a list": (
        lambda: tc.grad(X.sum(), [[1.0]]),
        "grad: inputs must be a Tensor, got list: tinyconv.tensor(inputs)?",
    ),
    "dtype": (lambda: tc.zeros(2, dtype="flaot32"), "not a dtype: 'flaot32'; did you mean 'float32'?"),
}
SIZES = {
    "a string": (lambda: tc.zeros("3"), "sizes must be integers, got ('3',)"),
    "a string among them": (lambda: tc.ones(2, "3"), "sizes must be integers, got (2, '3')"),
    "a quotient": (lambda: tc.zeros(4 / 2), "sizes must be integers, got (2.0,)"),
    "below 0": (lambda: tc.zeros(-1), "sizes cannot be negative, got (-1,)"),
    "beyond memory": (lambda: tc.zeros(2**63), "sizes must be below 2^63, got (9223372036854775808,)"),
    "an array": (lambda: tc.rand(np.array([2, 3])), "sizes must be integers, got (array([2, 3]),)"),
    "a layer of strings": (
        lambda: nn.Conv2d("1", 6, 5),
        "Conv2d: in_channels: expected an integer, got '1'; without quotes, 1",
    ),
    "half a layer": (
        lambda: nn.Linear(20 / 2, 5),
        "Linear: in_features: expected an integer, got 10.0; n // 2 is one where n / 2 is not",
    ),
    "a layer below 0": (lambda: nn.Linear(3, -4), "Linear: out_features: expected at least 0, got -4"),
    "a window of a string": (
        lambda: nn.MaxPool2d("2"),
        "MaxPool2d: kernel_size: expected an integer or a pair (height, width), got '2'",
    ),
    "widths of a pad": (
        lambda: F.pad(X, 1),
        "pad: expected (before, after) for each axis, the last one first, got 1",
    ),
    "axes": (lambda: X.permute("a"), "permute: axes must be integers, got ('a',)"),
    "a dtype for a view": (lambda: X.view("float32"), "reshape: sizes must be integers, got ('float32',)"),
    "another dtype for a view": (
        lambda: X.view(tc.int32),
        "view: bytes are not read as another dtype here; x.to(dtype) converts the values",
    ),
    "a model of strings": (
        lambda: tc.models.MLP("3"),
        "MLP: features: expected an integer, got '3'; without quotes, 3",
    ),
    "a labels' column": (
        lambda: F.cross_entropy(X, LABELS.unsqueeze(1)),
        "cross_entropy: scores are (2, 3), so targets must be (2,), got (2, 1): target.squeeze(-1)?",
    ),
    "argmax for logits": (
        lambda: F.cross_entropy(X.argmax(1), LABELS),
        "cross_entropy: one row of scores (2,) has one target (), not (2,); was it made by argmax? It needs the scores "
        "themselves, (N, C)",
    ),
    "argmax as floats": (
        lambda: F.nll_loss(X.argmax(1).float(), LABELS),
        "nll_loss: one row of scores (2,) has one target (), not (2,); was it made by argmax? It needs the scores "
        "themselves, (N, C)",
    ),
    "float(x) of a vector": (
        lambda: float(X),
        "item: only a tensor with one element is a number, this one has shape (2, 3); reduce it (x.mean()), take one "
        "element (x[0]), or all of them (x.tolist())",
    ),
    "if x": (
        lambda: bool(X > 0),
        "the truth of a tensor of shape (2, 3) is ambiguous; use .any(), .all() or compare single values",
    ),
}
OTHERS = {
    "a number that uint8 does not have": (
        tc.DtypeError,
        lambda: BYTES + 300,
        "add: 300 does not fit uint8: x.long()?",
    ),
    "a comparison with bits of one": (
        tc.DtypeError,
        lambda: BYTES << -1,
        "left_shift: -1 does not fit uint8: x.long()?",
    ),
    "limits that uint8 does not have": (
        tc.DtypeError,
        lambda: F.hardtanh(BYTES),
        "hardtanh: min_val: -1 does not fit uint8: x.long()?",
    ),
    "batch axes that differ": (
        tc.ShapeError,
        lambda: tc.ones(2, 3, 4) @ tc.ones(3, 4, 5),
        "matmul: (2, 3, 4) @ (3, 4, 5): batch axes: shapes (2,) and (3,) do not broadcast",
    ),
    "shifts of floats": (
        tc.DtypeError,
        lambda: X << 1,
        "left_shift: expected integers, got float32 and int: x.long()?",
    ),
    "steps in pairs": (
        tc.ShapeError,
        lambda: tc.linspace(0, 1, (2, 3)),
        "linspace: steps: expected an integer, got (2, 3)",
    ),
    "integers to a negative power": (
        tc.OptionError,
        lambda: tc.tensor([2]) ** -1,
        "pow: integers to a negative integer power are no integers: x.float() ** exponent?",
    ),
    "unsigned integers to one": (
        tc.OptionError,
        lambda: tc.tensor([2], dtype=tc.uint8) ** -1,
        "pow: integers to a negative integer power are no integers: x.float() ** exponent?",
    ),
    "integers to negative integers": (
        tc.OptionError,
        lambda: 2 ** tc.tensor([1, -1]),
        "pow: integers to a negative integer power are no integers: x.float() ** exponent?",
    ),
    "integers to one in place": (
        tc.OptionError,
        lambda: tc.tensor([2]).pow_(-1),
        "pow: integers to a negative integer power are no integers: x.float() ** exponent?",
    ),
    "a vector as a number": (
        ValueError,
        lambda: f"{X:.2f}",
        "f'{x:.2f}' formats one number, and x has shape (2, 3): x.item() if it has one element, x.mean(), or "
        "[f'{v:.2f}' for v in x.tolist()]",
    ),
    "len of a number": (TypeError, lambda: len(X[0, 0]), "len() of a 0-d tensor: it holds one number, x.item()"),
    "for in a number": (
        TypeError,
        lambda: list(X[0, 0]),
        "iteration over a 0-d tensor: it holds one number, x.item()",
    ),
    "a place beyond": (IndexError, lambda: X[5], "index 5 is out of bounds for axis 0 with size 2"),
    "a place that is a quotient": (
        IndexError,
        lambda: X[1.5],
        f"{INTEGERS}1.5; i // 2 is an integer where i / 2 is not",
    ),
    "a name": (IndexError, lambda: X["a"], f"{INTEGERS}'a'"),
    "a name in a pair": (IndexError, lambda: X[0, "a"], f"{INTEGERS}'a'"),
    "a dict": (IndexError, lambda: X[{}], f"{INTEGERS}{{}}"),
    "a place to write to": (IndexError, lambda: X.__setitem__("a", 1), f"{INTEGERS}'a'"),
    "a quotient to write to": (
        IndexError,
        lambda: X.__setitem__(1.0, 1),
        f"{INTEGERS}1.0; i // 2 is an integer where i / 2 is not",
    ),
    "threads": (
        ValueError,
        lambda: tc.set_num_threads(2.5),
        "set_num_threads: expected a number of threads, 1 to 1,024, got 2.5",
    ),
    "drawn digits": (
        tc.DataError,
        lambda: tc.data.synthetic_digits(2.5),
        "synthetic_digits: expected an integer, got 2.5",
    ),
    "a float array": (IndexError, lambda: X[X], "an index must be of integers or bools, got float32"),
    "backward of a vector": (
        tc.GraphError,
        lambda: (tc.ones(2, requires_grad=True) * 2).backward(),
        "backward: only a tensor with one element has a gradient of its own, this one has shape (2,); reduce it "
        "(loss.mean()) or pass gradient=",
    ),
    "a dtype that is none": (
        tc.DeviceError,
        lambda: X.to("flaot64"),
        "to: 'flaot64' is neither a device nor a dtype; did you mean 'float64'?",
    ),
    "a device that is none": (
        tc.DeviceError,
        lambda: X.to("cup"),
        "unknown device 'cup': expected 'cpu', 'cuda', 'cuda:N' or 'meta'",
    ),
    "a device by number": (
        tc.DeviceError,
        lambda: tc.zeros(2, device=0),
        "unknown device 0: expected 'cpu', 'cuda', 'cuda:N' or 'meta'",
    ),
    "a seed that is none": (
        tc.OptionError,
        lambda: tc.manual_seed(None),
        "manual_seed: seed: expected an integer >= 0, got None",
    ),
    "an option in quotes": (
        tc.OptionError,
        lambda: nn.Dropout("0.5"),
        "Dropout: p: expected a number from 0 to 1, got '0.5'",
    ),
}
NAMES = {
    "tinyconv": {
        "tensr": "tensor",
        "zeroes": "zeros",
        "array": "tensor",
        "concatenat": "concatenate",
        "Tesnor": "Tensor",
    },
    "tinyconv.functional": {"relux": "relu", "sofmax": "softmax", "conv2D": "conv2d", "crossentropy": "cross_entropy"},
    "tinyconv.nn": {"Conv2D": "Conv2d", "ReLu": "ReLU", "Sequental": "Sequential", "Batchnorm2d": "BatchNorm2d"},
    "tinyconv.nn.init": {"kaimng_normal_": "kaiming_normal_", "xavier_unifrom_": "xavier_uniform_"},
    "tinyconv.optim": {"Adm": "Adam", "adamW": "AdamW", "clip_grad_norm": "clip_grad_norm_"},
    "tinyconv.optim.lr_scheduler": {"StepLr": "StepLR", "CosineAnealingLR": "CosineAnnealingLR"},
    "tinyconv.data": {"Dataloader": "DataLoader", "minst": "mnist"},
    "tinyconv.models": {"LeNet": "LeNet5"},
    "tinyconv.train": {"Trianer": "Trainer"},
    "tinyconv.inspect": {"sumary": "summary"},
}


@pytest.mark.parametrize(("mistake", "expected"), NO_TENSOR.values(), ids=NO_TENSOR)
def test_what_is_no_tensor(mistake, expected):
    assert message(tc.DtypeError, mistake) == expected


@pytest.mark.parametrize(("mistake", "expected"), SIZES.values(), ids=SIZES)
def test_sizes(mistake, expected):
    assert message(tc.ShapeError, mistake) == expected


@pytest.mark.parametrize(("kind", "mistake", "expected"), OTHERS.values(), ids=OTHERS)
def test_the_others(kind, mistake, expected):
    assert message(kind, mistake) == expected


@pytest.mark.parametrize(("room", "name"), [(room, name) for room, names in NAMES.items() for name in names])
def test_misspelt_names(room, name):
    module = __import__(room, fromlist=["x"])
    expected = f"module {room!r} has no attribute {name!r}; did you mean {NAMES[room][name]!r}?"
    assert message(AttributeError, getattr, module, name) == expected


@pytest.mark.parametrize("room", NAMES)
def test_names_that_are_like_nothing(room):
    module = __import__(room, fromlist=["x"])
    for name in ("qqqqqq", "__wrapped__", "_private"):
        assert message(AttributeError, getattr, module, name) == f"module {room!r} has no attribute {name!r}"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("tc.ones(2).sofmax(0)", "'Tensor' object has no attribute 'sofmax'. Did you mean: 'softmax'?"),
        ("tc.tensr", "has no attribute 'tensr'; did you mean 'tensor'?"),
    ],
)
def test_a_script_that_ends_with_a_misspelt_name_says_the_right_one_once(line, hint):
    """Python knows the methods of an object by itself, and a look-up of our own would slow down each attribute."""
    run = subprocess.run(
        [sys.executable, "-c", f"import tinyconv as tc\n{line}"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr.rstrip().endswith(hint)
    assert run.stderr.lower().count("did you mean") == 1


def test_a_long_option_is_quoted_in_short():
    text = message(tc.OptionError, F.leaky_relu, X, "0" * 10_000)
    assert text.startswith("leaky_relu: negative_slope: expected a number, got '0000")
    assert len(text) < 300


def test_what_is_right_after_all():
    assert f"{X[0, 0]:.2f}" == f"{X.mean() - 2.5:.2f}" == "1.00"
    assert f"{tc.tensor(3):04d}" == "0003"
    assert f"{X}" == repr(X)
    assert "%.1f" % X[0, 1] == "2.0"  # noqa: UP031
    assert "a" not in X
    assert None not in X
    assert (X == "a") is False
    assert F.cross_entropy(X[0], tc.tensor(1)).shape == ()
    assert F.cross_entropy(X[0], X[0].softmax(0)).shape == ()
    assert tc.ones(2, requires_grad=True).numpy().tolist() == [1.0, 1.0]


def test_an_error_of_an_ops_own_is_not_taken_for_a_wrong_input():
    class Broken:
        @staticmethod
        def check(x):
            x.no_such_attribute  # noqa: B018

        @staticmethod
        def forward(xp, x):
            return x, ()

    with pytest.raises(AttributeError, match="no_such_attribute"):
        tc.apply(Broken, X)


def test_operands_that_know_tensors_are_asked():
    class Other:
        def __radd__(self, other):
            return "mine"

        def __rmatmul__(self, other):
            return "mine"

        def __gt__(self, other):
            return "mine"

    assert X + Other() == X @ Other() == (Other() > X) == "mine"
