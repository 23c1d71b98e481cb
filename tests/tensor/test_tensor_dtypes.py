"""The dtype of every result follows torch's rule, for every pair of operands."""

import itertools
import warnings

import numpy as np
import pytest

import tinyconv as tc
from tinyconv.errors import DtypeError

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("everywhere")

DTYPES = ["bool", "uint8", "int32", "int64", "float32", "float64"]
OPERANDS = [
    *((dtype, shape) for dtype in DTYPES for shape in ((2,), ())),
    ("Python bool", None), ("Python int", None), ("Python float", None),
]  # fmt: skip
PAIRS = [pair for pair in itertools.product(OPERANDS, OPERANDS) if pair[0][1] is not None or pair[1][1] is not None]

OPS = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
}


def make(library, dtype, shape):
    if shape is None:
        return {"Python bool": True, "Python int": 1, "Python float": 1.5}[dtype]
    return library.ones(shape, dtype=getattr(library, dtype))


def outcome(op, a, b):
    """The dtype of the result, or "an error"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return str(op(a, b).dtype).removeprefix("torch.")
        except (RuntimeError, TypeError):
            return "an error"


@pytest.mark.parametrize("name", OPS)
def test_the_result_has_torchs_dtype(name):
    wrong = []
    for a, b in PAIRS:
        ours, theirs = (outcome(OPS[name], make(library, *a), make(library, *b)) for library in (tc, torch))
        if ours != theirs:
            wrong.append(f"{a} {name} {b}: {ours}, torch gives {theirs}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_maximum_and_where_promote_too(name):
    wrong = []
    for a, b in itertools.product(OPERANDS[:-3], OPERANDS[:-3]):
        ours = outcome(getattr(tc, name), make(tc, *a), make(tc, *b))
        theirs = outcome(getattr(torch, name), make(torch, *a), make(torch, *b))
        if ours != theirs:
            wrong.append(f"{name}({a}, {b}): {ours}, torch gives {theirs}")
    assert not wrong, "\n".join(wrong)


def test_where_promotes():
    wrong = []
    for a, b in PAIRS:
        ours = outcome(lambda a, b: tc.where(tc.ones(2, dtype=tc.bool), a, b), make(tc, *a), make(tc, *b))
        theirs = outcome(
            lambda a, b: torch.where(torch.ones(2, dtype=torch.bool), a, b), make(torch, *a), make(torch, *b)
        )
        if ours != theirs:
            wrong.append(f"where(c, {a}, {b}): {ours}, torch gives {theirs}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("join", ["cat", "stack"])
def test_joining_promotes(join):
    for a, b in itertools.product(DTYPES, DTYPES):
        ours = getattr(tc, join)([tc.ones(2, dtype=a), tc.ones(2, dtype=b)])
        theirs = getattr(torch, join)([torch.ones(2, dtype=getattr(torch, d)) for d in (a, b)])
        assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch."), (join, a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "method", ["sum", "prod", "exp", "sqrt", "sigmoid", "abs", "amax", "argmax", "all", "isnan", "clamp", "std", "mean"]
)
def test_functions_of_one_tensor(dtype, method):
    def call(x):
        return x.clamp(0, 1) if method == "clamp" else getattr(x, method)()

    ours = outcome(lambda x, _: call(x), make(tc, dtype, (2,)), None)
    theirs = outcome(lambda x, _: call(x), make(torch, dtype, (2,)), None)
    if (dtype, method) in {("bool", "abs"), ("bool", "argmax")}:
        assert theirs == "an error"  # where torch has no kernel and NumPy has
    elif (dtype, method) == ("uint8", "all"):
        assert (ours, theirs) == ("bool", "uint8")  # torch keeps uint8 there for the sake of old programs
    else:
        assert ours == theirs


def test_gradients_come_back_in_the_dtype_of_each_input():
    x = tc.ones(2, requires_grad=True)
    y = tc.ones(2, dtype=tc.float64, requires_grad=True)
    z = tc.ones((), dtype=tc.float64, requires_grad=True)
    out = x * y * z
    assert out.dtype == tc.float64
    out.sum().backward()
    assert (x.grad.dtype, y.grad.dtype, z.grad.dtype) == (tc.float32, tc.float64, tc.float64)
    assert (x * z).dtype == tc.float32


def test_float16_is_kept():
    x = tc.ones(3, dtype=tc.float16, requires_grad=True)
    y = ((x + 1) * 0.5).exp().mean()
    assert y.dtype == tc.float16
    y.backward()
    assert x.grad.dtype == tc.float16


def test_float64_constants_do_not_leak_into_float32():
    x = tc.ones((), requires_grad=True)
    for y in (x * 2.5, 2.5**x, x**2.5, x / 3, x.clamp(0.1, 0.9), x * np.float64(2.5), x.mean(), x.std(correction=0)):
        assert y.dtype == tc.float32
        assert y.array.dtype == np.float32


def test_numbers_that_do_not_fit_an_integer_dtype_raise():
    with pytest.raises(DtypeError, match="300 does not fit uint8"):
        tc.ones(2, dtype=tc.uint8) + 300  # torch wraps around in silence
