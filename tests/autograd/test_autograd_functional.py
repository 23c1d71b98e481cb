"""autograd.functional, backward and set_detect_anomaly against PyTorch's."""

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv import autograd

torch = pytest.importorskip("torch")

A, B = np.random.default_rng(0).standard_normal((2, 2, 3))


def flat(x):
    return [part for y in x for part in flat(y)] if isinstance(x, tuple) else [x]


def compare(mine, other):
    assert isinstance(mine, tuple) == isinstance(other, tuple)
    for a, b in zip(flat(mine), flat(other), strict=True):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14)


SMOOTH = {
    "one to one": (lambda a: a.exp() * a, 1),
    "two to one": (lambda a, b: (a * b).tanh() * b, 2),
    "two to two": (lambda a, b: (a * b, (a.sum(), b)[0]), 2),
    "an input is not used": (lambda a, b: a * a, 2),
}
NUMBERS = {
    "one": (lambda a: (a**3).sum(), 1),
    "two": (lambda a, b: (a * a * b).sum() + b.exp().sum(), 2),
    "an input is not used": (lambda a, b: (a**3).sum(), 2),
}


def given(lib, n):
    tensors = tuple((tc.tensor if lib is tc else torch.tensor)(v) for v in (A, B)[:n])
    return tensors[0] if n == 1 else tensors


def both(name, function, n, *vectors):
    results = []
    for lib in (tc, torch):
        vs = [tuple((tc.tensor if lib is tc else torch.tensor)(v) for v in parts) for parts in vectors]
        vs = [v[0] if len(v) == 1 else v for v in vs]
        results.append(getattr(lib.autograd.functional, name)(function, given(lib, n), *vs))
    compare(*results)


@pytest.mark.parametrize("case", SMOOTH)
def test_jacobian(case):
    both("jacobian", *SMOOTH[case])


@pytest.mark.parametrize("case", SMOOTH)
def test_vjp_and_jvp(case):
    function, n = SMOOTH[case]
    outs = function(*[torch.tensor(v) for v in (A, B)[:n]])
    outs = outs if isinstance(outs, tuple) else (outs,)
    rng = np.random.default_rng(1)
    both("vjp", function, n, [rng.standard_normal(tuple(out.shape)) for out in outs])
    both("jvp", function, n, [rng.standard_normal(v.shape) for v in (A, B)[:n]])


@pytest.mark.parametrize("case", NUMBERS)
def test_hessian_and_its_products(case):
    function, n = NUMBERS[case]
    both("hessian", function, n)
    vectors = [np.random.default_rng(i).standard_normal(v.shape) for i, v in enumerate((A, B)[:n])]
    both("hvp", function, n, vectors)
    both("vhp", function, n, vectors)


def test_a_jacobian_can_be_differentiated():
    x, y = tc.tensor(A, requires_grad=True), torch.tensor(A, requires_grad=True)
    autograd.functional.jacobian(lambda a: a**3, x, create_graph=True).sum().backward()
    torch.autograd.functional.jacobian(lambda a: a**3, y, create_graph=True).sum().backward()
    compare(x.grad, y.grad)


def test_mistakes():
    x = tc.ones(2)
    functional = autograd.functional
    assert "must return a tensor or a tuple of them, got int" in message(
        tc.GraphError, functional.jacobian, lambda a: 1, x
    )
    assert "a tensor with one element, got one of shape (2,)" in message(
        tc.GraphError, functional.hessian, lambda a: a * a, x
    )
    assert "v may only be left out for one element" in message(tc.GraphError, functional.vjp, lambda a: a, x)
    assert "v must have shapes [(2,)], got [(3,)]" in message(tc.GraphError, functional.jvp, lambda a: a, x, tc.ones(3))


def test_backward_of_several_and_for_some_leaves_alone():
    results = []
    for lib in (tc, torch):
        a, b = ((tc.tensor if lib is tc else torch.tensor)(v, requires_grad=True) for v in (A, B))
        lib.autograd.backward([(a * b).sum(), a.exp()], [None, lib.ones_like(a)])
        lib.autograd.backward((a * a * b).sum(), inputs=[b])
        lib.autograd.backward((a * a * b).sum(), inputs=b)
        results.append((a.grad, b.grad))
    compare(*results)
    a = tc.ones(2, requires_grad=True)
    assert "inputs is empty" in message(tc.GraphError, lambda: autograd.backward(a.sum(), inputs=[]))
    assert "must be float32 (2,), got float32 (3,)" in message(tc.ShapeError, autograd.backward, a * 1, tc.ones(3))


def test_set_detect_anomaly():
    x = tc.zeros(1)
    try:
        autograd.set_detect_anomaly(True)
        assert "Log" in message(tc.AnomalyError, x.log)
        with autograd.set_detect_anomaly(False):
            x.log()
        assert "Log" in message(tc.AnomalyError, x.log)
    finally:
        autograd.set_detect_anomaly(False)
    x.log()
    with autograd.set_detect_anomaly(True):
        assert "Log" in message(tc.AnomalyError, x.log)
    x.log()
    assert "mode: expected True or False, got 1" in message(tc.OptionError, autograd.set_detect_anomaly, 1)


def test_names():
    assert autograd.gradcheck is tc.check.gradcheck
    assert autograd.detect_anomaly is tc.detect_anomaly
    with pytest.raises(AttributeError, match="Function"):
        autograd.Functoin  # noqa: B018
