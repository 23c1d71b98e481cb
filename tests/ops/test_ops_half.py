"""Float16: every public op with numbers whose squares and sums do not fit into it, though the results do."""

from dataclasses import replace

import numpy as np
import pytest
from half import IN_STEPS, PROBABILITIES, SCALES, compare_in_float16, in_float16
from hypothesis import given
from hypothesis import strategies as st
from oracle import HypothesisDraw, on

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import ops
from tinyconv.check.draw import RandomDraw
from tinyconv.check.reference import Disagreement
from tinyconv.engine import wide
from tinyconv.testing import spaces
from tinyconv.testing.case import SPACES, draw_case

assert spaces  # importing it fills SPACES

pytestmark = pytest.mark.filterwarnings("ignore")  # torch has no degrees of freedom, or makes complex numbers of half


@st.composite
def cases(draw, name, scales=SCALES):
    return in_float16(draw_case(name, HypothesisDraw(draw)), draw(st.sampled_from(scales)))


def drawn(name, seed, scale):
    return in_float16(draw_case(name, RandomDraw(seed)), scale)


@pytest.mark.parametrize("name", sorted(SPACES))
@given(data=st.data())
def test_float16_is_right_to_a_few_roundings(name, data):
    case = data.draw(cases(name, SCALES[:1] if name in IN_STEPS | PROBABILITIES else SCALES), label="the case")
    if has_floats(case):
        compare_in_float16(name, case)


@pytest.mark.parametrize("name", sorted(SPACES))
@pytest.mark.usefixtures("standin_cuda")
def test_float16_is_right_on_a_gpu_too(name):
    for seed in range(4):
        case = drawn(name, seed, 1)
        if has_floats(case):
            compare_in_float16(name, replace(case, ours=on_a_gpu(case)))


def on_a_gpu(case):
    run = on("cuda", case.function())
    return lambda *tensors, **_: run(*(tensors[0] if case.joined else tensors))


def has_floats(case):
    return any(x.dtype.kind == "f" for x in case.inputs)


def test_the_other_ops_take_no_floats():
    without = {name for name in SPACES if not any(has_floats(drawn(name, seed, 1)) for seed in range(40))}
    bits = {f"bitwise_{name}" for name in ("and", "left_shift", "not", "or", "right_shift", "xor")}
    assert without == {"__and__", "__invert__", "__or__", "__xor__", "one_hot", *bits}


@pytest.mark.parametrize("name", ["mse_loss", "layer_norm", "std", "norm", "softmax", "avg_pool2d", "conv2d", "gelu"])
def test_an_op_that_computes_in_float16_is_found(name, monkeypatch):
    """The same search with the ops as they are: what the wide pairs mend is seen."""

    def search():
        for seed in range(60):
            for scale in SCALES:
                compare_in_float16(name, drawn(name, seed, scale))

    search()
    monkeypatch.setattr(wide.Wide, "forward", lambda self, *args, **geometry: self.pair.forward(*args, **geometry))
    monkeypatch.setattr(wide.Wide, "backward", lambda self, *args, **geometry: self.pair.backward(*args, **geometry))
    with pytest.raises(Disagreement):
        search()


def half(values, **options):
    return tc.tensor(np.asarray(values, np.float16), **options)


def test_the_output_says_which_pair_ran():
    y = F.mse_loss(half([1.0, 2.0], requires_grad=True), half([0.0, 0.0]))
    assert "MseLoss (readable)" in repr(y.grad_fn)
    with tc.using(conv2d="loop"):
        y = F.conv2d(tc.ones(1, 1, 3, 3, dtype=tc.float16, requires_grad=True), tc.ones(1, 1, 2, 2, dtype=tc.float16))
    assert "conv2d (loop)" in repr(y.grad_fn)


def test_an_op_of_ones_own_is_wide_where_it_is_derived_from_one_that_is():
    class Mine(ops.Norm):
        pass

    assert wide.is_wide(Mine)
    assert not wide.is_wide(ops.Add)
    assert tc.apply(Mine, half([300.0, 400.0]), axes=(0,), keepdims=False).item() == 500


def test_a_gradient_sums_what_was_broadcast_in_float32():
    x = half(1.0, requires_grad=True)
    (x * tc.ones(5000, dtype=tc.float16)).sum().backward()
    assert x.grad.item() == 5000  # in float16, 2048 + 1 is 2048
    x.grad = None
    x.expand(5000).sum().backward()
    assert x.grad.item() == 5000


@pytest.mark.parametrize("leaf", [True, False])
def test_a_tensor_that_is_used_often_sums_its_gradients_in_float32(leaf):
    x = half([1.0, -1.0], requires_grad=True)
    y = x if leaf else x * 1
    seen = []
    y.register_hook(lambda grad: seen.append((grad.dtype, grad.tolist())))
    tc.stack([y.float().sum() if i % 2 else y.sum().float() for i in range(5000)]).sum().backward()
    assert x.grad.tolist() == [5000, 5000]
    assert x.grad.dtype == tc.float16
    assert seen == [(tc.float16, [5000, 5000])]


def test_a_gradient_sums_what_was_picked_often_in_float32():
    x = half([1.0, 1.0], requires_grad=True)
    x[np.zeros(5000, np.int64)].sum().backward()
    assert x.grad.tolist() == [5000, 0]


def test_the_share_of_a_mean_of_more_numbers_than_float16_counts():
    x = tc.zeros(100_000, dtype=tc.float16, requires_grad=True)
    (x.mean() * 1000).backward()
    assert abs(x.grad[0].item() - 0.01) < 1e-5


def test_the_gradient_of_an_exponential_fits_where_the_exponential_does_not():
    """As it does in float32: e^12 is 162755 and the gradient a quarter of it."""
    x = half([12.0], requires_grad=True)
    y = x.exp()
    y.backward(half([0.25]))
    assert y.tolist() == [float("inf")]
    assert abs(x.grad.item() - 40688) < 32


def test_running_statistics_come_from_a_variance_that_does_not_fit():
    x = half([[-400.0], [400.0]])  # of variance 320000
    mean, var = tc.zeros(1, dtype=tc.float16), tc.zeros(1, dtype=tc.float16)
    F.batch_norm(x, mean, var, training=True, momentum=0.1)
    assert abs(var.item() - 32000) < 32
    assert var.dtype == tc.float16


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sigmoid().sum(), lambda x: x.softmax(1).log().sum(), lambda x: x.norm(), lambda x: x.std(),
        lambda x: F.layer_norm(x, (3,)).sigmoid().sum(), lambda x: (x * x).mean(), lambda x: x.logsumexp(1).sum(),
        lambda x: F.cross_entropy(x, tc.tensor([0, 2])),
    ],
)  # fmt: skip
def test_gradients_of_gradients(function):
    """Those of the same numbers in float64, to a hundredth."""
    values = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]])

    def twice(dtype):
        x = tc.tensor(values, dtype=dtype, requires_grad=True)
        (g,) = tc.grad(function(x), [x], create_graph=True)
        (again,) = tc.grad((g * g).sum(), [x])
        assert g.dtype == again.dtype == dtype
        return again.numpy()

    np.testing.assert_allclose(twice(tc.float16), twice(tc.float64), rtol=1e-2, atol=1e-2)


def test_the_gradient_of_a_gradient_of_a_saturated_sigmoid_is_nothing():
    x = half([-30000.0, 30000.0], requires_grad=True)
    (g,) = tc.grad(x.sigmoid().sum(), [x], create_graph=True)
    assert tc.grad(g.sum(), [x])[0].tolist() == [0, 0]


def test_it_has_a_shape_on_meta_too():
    x = tc.zeros(2, 3, 8, 8, dtype=tc.float16, device="meta", requires_grad=True)
    y = F.batch_norm(F.conv2d(x, tc.zeros(4, 3, 3, 3, dtype=tc.float16, device="meta")), None, None, training=True)
    assert y.dtype == F.avg_pool2d(y, 2).dtype == F.mse_loss(y, y).dtype == tc.float16


def test_random_numbers_and_dropout():
    tc.manual_seed(0)
    x = tc.rand(20_000, dtype=tc.float16)
    assert x.dtype == tc.float16
    assert 0 <= x.min().item() < 0.001
    assert 0.999 < x.max().item() < 1
    assert abs(tc.randn(20_000, dtype=tc.float16).std().item() - 1) < 0.02
    y = F.dropout(tc.ones(200_000, dtype=tc.float16), p=0.0003)  # a tenth of a step of float16 near 0.5
    assert y.dtype == tc.float16
    assert 20 < (y == 0).sum().item() < 110
