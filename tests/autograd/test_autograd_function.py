"""autograd.Function against PyTorch's: one source, run on both."""

import copy

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv import autograd, nn

torch = pytest.importorskip("torch")


def functions(lib):
    """The same Functions for `lib`, tinyconv or torch."""

    class Scaled(lib.autograd.Function):
        """One output; an argument that is no tensor."""

        @staticmethod
        def forward(ctx, x, by):
            y = (x * by).exp()
            ctx.save_for_backward(y)
            ctx.by = by
            return y

        @staticmethod
        def backward(ctx, dy):
            (y,) = ctx.saved_tensors
            return dy * y * ctx.by, None

    class Pair(lib.autograd.Function):
        """Two outputs with gradients and one without, from inputs that are saved."""

        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            sign = (a > 0).float()
            ctx.mark_non_differentiable(sign)
            return a * b, a + b, sign

        @staticmethod
        def backward(ctx, d_product, d_sum, d_sign):
            a, b = ctx.saved_tensors
            da = d_product * b + d_sum if ctx.needs_input_grad[0] else None
            db = d_product * a + d_sum if ctx.needs_input_grad[1] else None
            return da, db

    class Square(lib.autograd.Function):
        """The form with setup_context."""

        @staticmethod
        def forward(x):
            return x * x

        @staticmethod
        def setup_context(ctx, inputs, output):
            (x,) = inputs
            ctx.save_for_backward(x)

        @staticmethod
        def backward(ctx, dy):
            (x,) = ctx.saved_tensors
            return 2.0 * x * dy

    class Identity(lib.autograd.Function):
        """Returns its input; the gradient is turned round."""

        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, dy):
            return -dy

    class Spread(lib.autograd.Function):
        """An input that is broadcast: its gradient is summed up."""

        @staticmethod
        def forward(ctx, x, b):
            return x + b

        @staticmethod
        def backward(ctx, dy):
            return dy, dy

    return Scaled, Pair, Square, Identity, Spread


OURS, THEIRS = functions(tc), functions(torch)
USES = {
    "one output": lambda lib, fs, a, b: (fs[0].apply(a, 0.5) * b).sum(),
    "both outputs": lambda lib, fs, a, b: (lambda p, s, _: (p * p * s).sum())(*fs[1].apply(a, b)),
    "the first output alone": lambda lib, fs, a, b: (fs[1].apply(a, b)[0] ** 2).sum(),
    "the second output alone": lambda lib, fs, a, b: (fs[1].apply(a, b)[1] ** 3).sum(),
    "an output used twice": lambda lib, fs, a, b: (lambda p, s, _: (p * s + p * p).sum())(*fs[1].apply(a, b)),
    "one input is frozen": lambda lib, fs, a, b: (lambda p, s, k: (p * s * k).sum())(*fs[1].apply(a, b.detach())),
    "setup_context": lambda lib, fs, a, b: (fs[2].apply(a) * b * b).sum(),
    "one in another": lambda lib, fs, a, b: (fs[2].apply(fs[0].apply(a * b, 0.3)) * fs[0].apply(b, -1.0)).sum(),
    "its input": lambda lib, fs, a, b: (fs[3].apply(a * 2) * b + fs[3].apply(b) ** 2).sum(),
    "broadcast": lambda lib, fs, a, b: (fs[4].apply(a, (b * b)[:1]) ** 2).sum() + (fs[4].apply(a, b.sum()) ** 2).sum(),
}
SHAPE = (4, 3)


def leaves(lib):
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(SHAPE) for _ in range(2)]
    if lib is tc:
        return [tc.tensor(v, requires_grad=True) for v in values]
    return [torch.tensor(v, requires_grad=True) for v in values]


def derivatives(lib, fs, use):
    """The value, first gradients and second ones."""
    a, b = leaves(lib)
    grad = lib.autograd.grad
    y = use(lib, fs, a, b)
    first = grad(y, [a, b], create_graph=True, allow_unused=True)
    used = [g for g in first if g is not None]
    mixed = sum((g * g).sum() for g in used)
    second = grad(mixed, [a, b], allow_unused=True)
    return [y, *first, *second]


@pytest.mark.parametrize("name", USES)
def test_values_gradients_and_gradients_of_gradients_equal_torchs(name):
    ours, theirs = derivatives(tc, OURS, USES[name]), derivatives(torch, THEIRS, USES[name])
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", USES)
def test_gradcheck_works_on_it(name):
    if name in ("its input", "one input is frozen"):  # whose gradients are not the derivatives, on purpose
        with pytest.raises(tc.check.GradcheckError):
            autograd.gradcheck(lambda a, b: USES[name](tc, OURS, a, b), leaves(tc))
    else:
        assert autograd.gradcheck(lambda a, b: USES[name](tc, OURS, a, b), leaves(tc))


@pytest.mark.parametrize("name", USES)
def test_a_captured_step_gives_the_same(name):
    def step(w, x):
        w.grad = None
        loss = USES[name](tc, OURS, w * 1.0, x * w)
        loss.backward()
        with tc.no_grad():
            w -= 0.01 * w.grad
        return loss

    w, v = (tc.full(SHAPE, 0.5, requires_grad=True) for _ in range(2))
    captured = tc.capture(lambda x: step(w, x))
    for i in range(4):
        x = tc.full(SHAPE, 0.1 * i)
        assert captured(x).item() == pytest.approx(step(v, x).item(), rel=1e-5)
        np.testing.assert_allclose(w.numpy(), v.numpy(), rtol=1e-5)


def test_what_is_returned():
    a, b = leaves(tc)
    product, total, sign = OURS[1].apply(a, b)
    assert (product.requires_grad, total.requires_grad, sign.requires_grad) == (True, True, False)
    assert repr(product.grad_fn).startswith("<Pair (readable): tests/autograd/")
    product.retain_grad()
    seen = []
    product.register_hook(lambda g: seen.append(g.shape))
    (product * 2 + total).sum().backward()
    assert product.grad.tolist() == np.full(SHAPE, 2.0).tolist()
    assert seen == [SHAPE]
    np.testing.assert_allclose(a.grad.numpy(), 2 * b.detach().numpy() + 1)
    with tc.no_grad():
        assert not OURS[0].apply(a, 1.0).requires_grad
    same = OURS[3].apply(a)
    assert same is not a
    assert same.array is a.array


def test_a_saved_tensor_that_is_written_to_is_noticed():
    a, b = leaves(tc)
    a = a * 1.0
    product, _, _ = OURS[1].apply(a, b)
    a.detach().fill_(0.0)
    assert "Pair (readable) saved input 0 (float64, shape (4, 3)) for its gradient, and it was written to" in message(
        tc.GraphError, product.sum().backward
    )
    y = OURS[0].apply(b, 1.0)
    y.detach().fill_(0.0)
    assert "Scaled (readable) saved an output" in message(tc.GraphError, y.sum().backward)


def test_a_graph_is_walked_once():
    a, b = leaves(tc)
    for out in (OURS[0].apply(a, 1.0), OURS[1].apply(a, b)[1]):
        out.sum().backward(retain_graph=True)
        out.sum().backward()
        assert "was walked before and what it saved is freed" in message(tc.GraphError, out.sum().backward)


def test_nothing_is_kept_once_it_was_walked():
    import gc
    import weakref

    class Kept(tc.Tensor):
        pass

    gc.disable()
    try:
        a = Kept(np.ones(3), requires_grad=True)
        alive = weakref.ref(a)
        out = OURS[0].apply(a * 1.0, 1.0)
        node = weakref.ref(out.grad_fn)
        out.sum().backward()
        del a, out
        assert alive() is None
        assert node() is None
    finally:
        gc.enable()


class NumpySquare(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return tc.tensor(x.detach().numpy() ** 2)

    @staticmethod
    @autograd.once_differentiable
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return tc.tensor(2 * x.detach().numpy() * dy.numpy())


def test_once_differentiable():
    x = tc.tensor([1.0, 2.0], requires_grad=True)
    (dx,) = tc.grad(NumpySquare.apply(x).sum(), x)
    assert dx.tolist() == [2.0, 4.0]
    (dx,) = tc.grad(NumpySquare.apply(x).sum(), x, create_graph=True)
    assert dx.tolist() == [2.0, 4.0]
    assert "NumpySquare.backward is once_differentiable: its gradients cannot be differentiated again" in message(
        tc.GraphError, tc.grad, dx.sum(), x
    )


def test_gradients_that_are_not_needed_are_none_where_zeros_are_not_wanted():
    seen = []

    class Two(autograd.Function):
        @staticmethod
        def forward(ctx, x, zeros):
            ctx.set_materialize_grads(zeros)
            return x * 1.0, x * 2.0

        @staticmethod
        def backward(ctx, d_one, d_two):
            seen.append(d_two if d_two is None else d_two.tolist())
            return d_one, None

    x = tc.ones(2, requires_grad=True)
    for zeros in (True, False):
        Two.apply(x, zeros)[0].sum().backward()
    assert seen == [[0.0, 0.0], None]


def broken(what):
    class Broken(autograd.Function):
        @staticmethod
        def forward(ctx, x, n):
            return x * n

        @staticmethod
        def backward(ctx, dy):
            return what(dy)

    return Broken


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (lambda dy: dy, "Broken has 2 arguments, and its backward must return a gradient (or None) for each, got 1"),
        (lambda dy: (dy, dy), "returned a gradient for argument 1, which is no tensor; return None there"),
        (lambda dy: (1.0, None), "Broken.backward returned a float for argument 0; it must be a Tensor"),
        (lambda dy: (dy[:1], None), "Broken.backward returned a gradient of shape (1,) for argument 0, which is (2,)"),
    ],
)
def test_what_backward_must_return(what, text):
    x = tc.ones(2, requires_grad=True)
    assert text in message(tc.GraphError, broken(what).apply(x, 2).sum().backward)


def test_more_mistakes():
    x = tc.ones(2, requires_grad=True)

    class Saves(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, 3)
            return x

    class Dirty(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x

    assert message(tc.DtypeError, Saves.apply, x).startswith("save_for_backward: takes tensors, got a int; keep it")
    assert message(tc.GraphError, Dirty.apply, x).startswith("mark_dirty: a Function cannot write to its inputs here")
    assert message(tc.CallError, Saves, x) == "Saves: a Function is not made; call Saves.apply(...)"

    class Nothing(autograd.Function):
        pass

    assert "defines forward" in message(NotImplementedError, Nothing.apply, x)

    class Half(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

    with pytest.raises(NotImplementedError, match="defines backward") as error:
        Half.apply(x).sum().backward()
    assert "in the backward of <Half" in error.value.__notes__[0]


def test_an_anomaly_in_its_backward_is_found():
    class Bad(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, dy):
            return dy / 0.0

    x = tc.ones(2, requires_grad=True)
    with tc.detect_anomaly(), pytest.raises(tc.AnomalyError, match="Div"):
        Bad.apply(x).sum().backward()


def test_the_gradient_gets_the_dtype_of_its_input():
    class Wide(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.double()

        @staticmethod
        def backward(ctx, dy):
            return dy

    x = tc.ones(2, requires_grad=True)
    Wide.apply(x).sum().backward()
    assert x.grad.dtype == np.float32


def test_a_module_with_functions_can_be_copied_and_trained():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return OURS[2].apply(self.fc(x))

    net = Net()
    twin = copy.deepcopy(net)
    for model in (net, twin):
        model(tc.ones(2, 3)).sum().backward()
    assert net.fc.weight.grad.tolist() == twin.fc.weight.grad.tolist()
