"""What functions of each element take besides operands, and what they refuse: out=, alpha=, divisions by 0."""

import operator

import numpy as np
import pytest
from messages import message
from oracle import assert_allclose

import tinyconv as tc
from tinyconv.tensor import pointwise

torch = pytest.importorskip("torch")


def inputs(library, count, dtype="float32"):
    """Tensors with elements between 0.1 and 0.9, where every function is defined."""
    rows = [[0.7, 0.2], [0.4, 0.9]], [[0.3, 0.5], [0.8, 0.1]], [[0.6, 0.25], [0.5, 0.75]]
    return [library.tensor(row, dtype=getattr(library, dtype)) for row in rows[:count]]


# --- out= -----------------------------------------------------------------------------------------------------------

ONE = (
    "exp expm1 log log1p log2 log10 sqrt rsqrt reciprocal square sin cos tan asin acos atan sinh cosh tanh sigmoid erf "
    "abs neg sign floor ceil trunc round nan_to_num logical_not"
)
TWO = (
    "add sub mul div floor_divide remainder fmod pow atan2 maximum minimum eq ne lt le gt ge logical_and logical_or "
    "logical_xor clamp clamp_min clamp_max"
)
WITH_OUT = {name: count for count, names in ((1, ONE), (2, TWO), (3, "addcmul addcdiv lerp")) for name in names.split()}


@pytest.mark.parametrize("name", WITH_OUT)
def test_out_is_written_to_and_returned(name):
    def written(library, empty):
        out = library.zeros(0 if empty else (2, 2))
        assert getattr(library, name)(*inputs(library, WITH_OUT[name]), out=out) is out
        return out

    for empty in (True, False):
        ours, theirs = written(tc, empty), written(torch, empty)
        assert_allclose(ours.tolist(), theirs.tolist(), rtol=1e-6)


def test_every_function_that_takes_out_is_tried():
    takes = {name for name in pointwise.__all__ if "out" in (getattr(pointwise, name).__kwdefaults__ or ())}
    tried = {getattr(pointwise, name) for name in WITH_OUT}
    bits = {f"bitwise_{name}" for name in ("and", "left_shift", "not", "or", "right_shift", "xor")}
    assert {name for name in takes if getattr(pointwise, name) not in tried} == bits


def test_out_keeps_its_dtype():
    out = tc.zeros(2, dtype=tc.float64)
    assert tc.exp(tc.zeros(2), out=out).dtype == tc.float64
    assert tc.eq(tc.ones(2), 1, out=out).tolist() == [1.0, 1.0]


def test_a_view_may_be_out():
    x = tc.zeros(2, 3)
    tc.exp(tc.zeros(3), out=x[1])
    assert x.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_what_out_cannot_be():
    x = tc.ones(3)
    assert message(tc.ShapeError, tc.exp, x, out=tc.zeros(2)) == (
        "out=: the result has shape (3,) and cannot be written into (2,)"
    )
    assert message(tc.DtypeError, tc.exp, x, out=tc.zeros(3, dtype=tc.int64)) == (
        "out=: the result is float32 and cannot be written into int64"
    )
    assert message(tc.DtypeError, tc.exp, x, out=np.zeros(3)) == "out= must be a Tensor, got ndarray"


def test_out_is_not_recorded():
    w, free = tc.ones(3, requires_grad=True), tc.zeros(3)
    for x, out in ((w, free), (tc.ones(3), w)):
        with pytest.raises(tc.GraphError, match="out=: what is written there is not recorded"):
            tc.exp(x, out=out)
    with tc.no_grad():
        assert tc.mul(w, 3, out=w) is w
    assert w.tolist() == [3, 3, 3]


# --- in place, with operands ------------------------------------------------------------------------------------------

IN_PLACE = {
    "add_ alpha": lambda x, y, z: x.add_(y, alpha=0.5),
    "sub_ alpha": lambda x, y, z: x.sub_(y, alpha=2),
    "addcmul_": lambda x, y, z: x.addcmul_(y, z, value=0.5),
    "addcdiv_": lambda x, y, z: x.addcdiv_(y, z, value=-0.5),
    "lerp_": lambda x, y, z: x.lerp_(y, 0.3),
    "lerp_ by a tensor": lambda x, y, z: x.lerp_(y, z),
    "fmod_": lambda x, y, z: x.fmod_(y),
    "remainder_": lambda x, y, z: x.remainder_(y),
    "%=": lambda x, y, z: x.__imod__(y),
    "sign_": lambda x, y, z: x.sign_(),
    "round_": lambda x, y, z: x.round_(decimals=1),
}


@pytest.mark.parametrize("name", IN_PLACE)
@pytest.mark.parametrize("recorded", [True, False])
def test_in_place_with_operands(name, recorded):
    def run(library):
        x, y, z = inputs(library, 3, "float64")
        x.requires_grad_(recorded)
        y.requires_grad_(recorded)
        h = x * 2
        assert IN_PLACE[name](h, y, z) is h
        if recorded:
            (h * h).sum().backward()
        return [h.tolist()] + [t.grad.tolist() for t in (x, y) if recorded and t.grad is not None]

    for ours, theirs in zip(run(tc), run(torch), strict=False):
        assert_allclose(ours, theirs, rtol=1e-10)


def test_floor_divide_in_place():
    x = tc.tensor([7, -7])
    x //= 2
    assert x.tolist() == [3, -4]
    assert x.floor_divide_(3).tolist() == [1, -2]


# --- alpha and value, in PyTorch's older order -----------------------------------------------------------------------


def test_the_older_order_is_understood_and_warned_of():
    x, y, z = inputs(tc, 3)
    with pytest.warns(UserWarning, match=r"add\(alpha, other\) is deprecated: add\(other, alpha=alpha\)"):
        assert tc.add(x, 0.5, y).tolist() == (x + y * 0.5).tolist()
    with pytest.warns(UserWarning, match=r"add_\(alpha, other\) is deprecated"):
        assert x.clone().add_(-0.5, y).tolist() == (x - y * 0.5).tolist()
    with pytest.warns(UserWarning, match="addcmul"):
        assert tc.addcmul(x, 0.5, y, z).tolist() == (x + y * z * 0.5).tolist()
    with pytest.warns(UserWarning, match="addcdiv"):
        assert tc.addcdiv(x, -2, y, z).tolist() == (x - y / z * 2).tolist()


def test_alpha_of_integers_is_an_integer():
    n = tc.tensor([1, 2])
    assert tc.add(n, n, alpha=3).tolist() == [4, 8]
    assert message(tc.DtypeError, tc.add, n, n, alpha=0.5) == (
        "add: alpha=0.5 is for floating-point tensors, got int64: x.float()?"
    )
    assert message(tc.OptionError, tc.sub, n, n, alpha="1") == "sub: alpha: expected a number, got '1'"


# --- divisions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["floor", "trunc"])
@pytest.mark.parametrize("dtype", ["int64", "int32", "float32"])
def test_rounded_quotients(mode, dtype):
    def run(library):
        kind = getattr(library, dtype)
        a, b = library.tensor([7, -7, 7, -7, 2**24 + 1], dtype=kind), library.tensor([2, 2, -2, -2, 1], dtype=kind)
        return library.div(a, b, rounding_mode=mode).tolist(), library.div(a, 2, rounding_mode=mode).tolist()

    assert run(tc) == run(torch)


def test_integers_have_no_quotient_by_zero():
    n, zero = tc.tensor([1, 2]), tc.tensor([1, 0])
    for divide in (
        lambda: n // zero,
        lambda: n % 0,
        lambda: tc.fmod(n, zero),
        lambda: n.div(zero, rounding_mode="trunc"),
    ):
        with pytest.raises(ZeroDivisionError, match="integers have no quotient by 0"):
            divide()
    assert (n.float() // 0).tolist() == [np.inf, np.inf]


def test_what_divisions_refuse():
    bools = tc.tensor([True])
    assert message(tc.DtypeError, lambda: bools // bools).startswith("division: bools have no whole quotient")
    assert message(ValueError, tc.div, tc.ones(1), 2, rounding_mode="up") == (
        "div: rounding_mode must be None, 'floor' or 'trunc', got 'up'"
    )


def test_round_of_integers():
    n = tc.tensor([1, 2])
    assert n.round().tolist() == n.floor().tolist() == [1, 2]
    assert message(tc.DtypeError, tc.round, n, decimals=1) == (
        "round: decimals=1 is for floating-point tensors, got int64: x.float()?"
    )


def test_lerp_wants_one_dtype():
    assert message(tc.DtypeError, tc.lerp, tc.ones(1), tc.ones(1, dtype=tc.float64), 0.5) == (
        "lerp: expected two tensors of one floating-point dtype, got float32 and float64"
    )


def test_the_largest_number_stands_for_infinity():
    for dtype in ("float16", "float32", "float64"):
        x = [np.nan, np.inf, -np.inf, 1.5]
        ours = tc.tensor(x, dtype=getattr(tc, dtype)).nan_to_num()
        theirs = torch.tensor(x, dtype=getattr(torch, dtype)).nan_to_num()
        assert ours.tolist() == theirs.tolist()


# --- in a captured step ---------------------------------------------------------------------------------------------


def test_a_captured_step_computes_them_anew():
    def run(how):
        w = tc.tensor([0.3, 0.7, 0.2], requires_grad=True)

        @how
        def step(x, out):
            y = tc.lerp((w * x).sin(), x.erf().floor() + x % 0.3, 0.4).round(decimals=2) + tc.atan2(x, w) // 0.2
            near = tc.isclose(x, w, atol=0.3).logical_not() | x.isinf()
            tc.add(x, w.detach(), alpha=2, out=out)
            loss = (y * near * x.log1p()).sum() + (w.tan() * x).sum()
            loss.backward()
            return loss

        found = []
        for i in range(5):
            w.grad, out = None, tc.zeros(3)
            loss = step(tc.tensor([0.1 + i, 0.5, 0.9 - i / 10]), out)
            found.append((loss.item(), w.grad.tolist(), out.tolist()))
        return found

    assert run(tc.capture) == run(lambda step: step)


def test_bounds_beyond_unsigned_integers_limit_nothing():
    assert tc.tensor([3, 4], dtype=tc.uint8).clamp(-1, 300).tolist() == [3, 4]


def test_a_weight_of_unsigned_integers_does_not_wrap_around():
    ours, theirs = (
        lib.lerp(lib.tensor([1.0]), lib.tensor([2.0]), lib.tensor(5, dtype=lib.uint8)) for lib in (tc, torch)
    )
    assert ours.tolist() == theirs.tolist() == [6.0]


def test_addcmul_multiplies_in_the_dtype_of_the_result():
    for lib in (tc, torch):
        a, b = lib.tensor([3], dtype=lib.uint8), lib.tensor(-1, dtype=lib.int32)
        assert lib.addcmul(lib.tensor([-4], dtype=lib.int16), a, b, value=2).tolist() == [-10]
        assert lib.addcmul(lib.tensor([1.0]), a, b, value=0.5).tolist() == [-0.5]


@pytest.mark.parametrize("call", ["x.size(0)", "x.chunk(2)", "x.split(1)", "x.stride(0)"])
def test_a_0d_tensor_has_no_axis_to_take_apart(call):
    with pytest.raises(tc.ShapeError, match="a 0-d tensor has no axes"):
        eval(call, {"x": tc.tensor(1.0)})


# --- integers among others --------------------------------------------------------------------------------------------


def test_unsigned_integers_are_as_close_as_they_are():
    """|4 - 6| is 2, which no uint8 - uint8 gives."""
    for library in (tc, torch):
        a, b = library.tensor([4, 6, 200], dtype=library.uint8), library.tensor([6, 4, 10], dtype=library.uint8)
        assert library.isclose(a, b, rtol=0.0, atol=2.0).tolist() == [True, True, False]
        assert library.allclose(a[:2], b[:2], rtol=0.5, atol=0.0)


def test_alpha_may_have_a_point_where_one_of_the_two_tensors_has():
    for library in (tc, torch):
        x, n = library.tensor([1.0, 2.0]), library.tensor([2, 4])
        assert library.add(x, n, alpha=0.5).tolist() == [2.0, 4.0]
        assert library.sub(n, x, alpha=0.5).tolist() == [1.5, 3.0]
        assert x.add_(n, alpha=0.5).tolist() == [2.0, 4.0]


# --- operators that write into their left operand ---------------------------------------------------------------------

OPERATORS = [
    "iadd",
    "isub",
    "imul",
    "itruediv",
    "ifloordiv",
    "imod",
    "ipow",
    "iand",
    "ior",
    "ixor",
    "ilshift",
    "irshift",
]
DTYPES = ["bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64"]
OPERANDS = [True, 2, 1.5, *[(kind, shape) for kind in DTYPES for shape in [(), (3,), (1, 1), (4, 2, 3), (4, 3)]]]


def some(kind, shape):
    """A few small numbers above 0; of bools both."""
    numbers = np.arange(1, 1 + int(np.prod(shape))).reshape(shape)
    return np.asarray(numbers % 2 if kind == "bool" else numbers % 5 + 1, kind)


def not_torchs(name, kind, other):
    """What is accepted here alone: 1 - mask, and a bool to the power of a bool tensor without axes."""
    bools = kind == "bool", other is True or (isinstance(other, tuple) and other[0] == "bool")
    return (name == "isub" and any(bools)) or (name == "ipow" and all(bools))


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_keeps_the_dtype_and_the_shape_or_is_refused(name, kind):
    """As torch does, for an operand of every dtype and shape: numbers, fewer axes, sizes of 1, more axes."""

    def of(library, shape, other):
        x = before = library.tensor(some(kind, shape))
        with np.errstate(all="ignore"):
            x = getattr(operator, name)(x, library.tensor(some(*other)) if isinstance(other, tuple) else other)
        assert x is before
        return x

    for shape in [(2, 3), (), (0, 3)]:
        for other in OPERANDS:
            if not_torchs(name, kind, other):
                continue
            try:
                expected = of(torch, shape, other)
            except RuntimeError:
                with pytest.raises((tc.DtypeError, tc.ShapeError, ZeroDivisionError)):
                    of(tc, shape, other)
                continue
            found = of(tc, shape, other)
            assert str(expected.dtype) == f"torch.{found.dtype}"
            assert_allclose(found, expected, rtol=1e-3 if kind == "float16" else 1e-6)
