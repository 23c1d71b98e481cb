"""Gradients of gradients. Op by op they are compared with torch in tests/ops; here are walks, memory and users' ops."""

import gc
import weakref

import numpy as np
import pytest
import torch
from oracle import assert_allclose, compare, host, on_the_host

import tinyconv as tc
from tinyconv import functional as F

pytestmark = pytest.mark.usefixtures("everywhere")

TF = torch.nn.functional


def cubes():
    x = tc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    return x, (x**3).sum()


# --- derivatives of any order ---------------------------------------------------------------------------------------


def test_every_derivative_of_a_cube():
    x, y = cubes()
    (first,) = tc.grad(y, x, create_graph=True)
    (second,) = tc.grad(first.sum(), x, create_graph=True)
    (third,) = tc.grad(second.sum(), x, create_graph=True)
    assert (first.tolist(), second.tolist(), third.tolist()) == ([3, 12, 27], [6, 12, 18], [6, 6, 6])
    assert first.requires_grad
    (fourth,) = tc.grad(third.sum(), x, allow_unused=True)
    assert fourth is None or fourth.tolist() == [0, 0, 0]


def test_ten_derivatives_of_a_sine_like_function():
    """y = tanh x: each derivative is a polynomial in y, and torch knows them too."""
    ours, theirs = tc.tensor(0.3, requires_grad=True, dtype=tc.float64), torch.tensor(0.3, dtype=torch.float64)
    theirs.requires_grad_()
    y, reference = ours.tanh(), theirs.tanh()
    for _ in range(6):
        (y,) = tc.grad(y, ours, create_graph=True)
        (reference,) = torch.autograd.grad(reference, theirs, create_graph=True)
        assert y.item() == pytest.approx(reference.item(), rel=1e-12)


def test_the_first_order_is_the_same_to_the_bit():
    """A walk that is recorded runs the same source on the same numbers."""
    model, x, target = tc.models.LeNet5(), tc.randn(4, 1, 28, 28), tc.tensor([3, 1, 4, 1])
    params = list(model.parameters())
    loss = F.cross_entropy(model(x), target)
    recorded = tc.grad(loss, params, create_graph=True)
    plain = tc.grad(loss, params)
    for a, b in zip(recorded, plain, strict=True):
        assert_allclose(a.array, b.array, rtol=1e-6, atol=1e-8)
        assert a.dtype == b.dtype


def lenets():
    """The same little LeNet in both libraries, in float64, and a batch."""
    rng = np.random.default_rng(0)
    shapes = [(4, 1, 5, 5), (4,), (6, 4, 3, 3), (6,), (10, 6 * 5 * 5), (10,)]
    weights = [rng.standard_normal(shape) * 0.2 for shape in shapes]
    x, target = rng.standard_normal((3, 1, 18, 18)), rng.integers(0, 10, 3)

    def forward(lib, functional, x, w1, b1, w2, b2, w3, b3):
        x = functional.max_pool2d(lib.tanh(functional.conv2d(x, w1, b1)), 2)
        x = functional.relu(functional.conv2d(x, w2, b2))
        return functional.linear(x.flatten(1), w3, b3)

    ours = [tc.from_numpy(w.copy()).requires_grad_() for w in weights]
    theirs = [torch.tensor(w, requires_grad=True) for w in weights]
    return (
        (tc, lambda x, *w: forward(tc, F, x, *w), ours, tc.from_numpy(x), tc.from_numpy(target)),
        (torch, lambda x, *w: forward(torch, TF, x, *w), theirs, torch.tensor(x), torch.tensor(target)),
    )


def agree(ours, theirs):
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        reference = b.detach().numpy()
        compare(f"result {i}", host(a), reference, 16 * np.abs(reference).max())


def test_a_hessian_vector_product():
    def product(lib, model, weights, x, target):
        functional, grad = (F, tc.grad) if lib is tc else (TF, torch.autograd.grad)
        first = grad(functional.cross_entropy(model(x, *weights), target), weights, create_graph=True)
        along = [lib.ones_like(w) for w in weights]
        return grad(sum((g * v).sum() for g, v in zip(first, along, strict=True)), weights)

    ours, theirs = lenets()
    agree(product(*ours), product(*theirs))


def test_a_gradient_penalty_reaches_every_weight():
    """As in Gulrajani et al. (arXiv:1704.00028): the norm of the input's gradient is part of the loss."""

    def penalised(lib, model, weights, x, target):
        grad = tc.grad if lib is tc else torch.autograd.grad
        x = x.clone().requires_grad_()
        scores = model(x, *weights)
        (slope,) = grad(scores.sum(), x, create_graph=True)
        norms = ((slope**2).sum((1, 2, 3)) + 1e-12).sqrt()
        (scores.mean() + 10 * ((norms - 1) ** 2).mean()).backward()
        return [w.grad for w in weights if w.grad is not None]

    ours, theirs = lenets()
    found, expected = penalised(*ours), penalised(*theirs)
    assert len(found) == 6
    agree(found, expected)


def test_a_step_through_a_step():
    """One step of gradient descent is differentiated: MAML (Finn et al., arXiv:1703.03400)."""

    def meta(lib, model, weights, x, target):
        functional, grad = (F, tc.grad) if lib is tc else (TF, torch.autograd.grad)
        first = grad(functional.cross_entropy(model(x, *weights), target), weights, create_graph=True)
        adapted = [w - 0.1 * g for w, g in zip(weights, first, strict=True)]
        return grad(functional.cross_entropy(model(x, *adapted), target), weights)

    ours, theirs = lenets()
    agree(meta(*ours), meta(*theirs))


def test_a_module_runs_with_other_weights():
    """The same step through a step, of a module, and of torch's."""

    def meta(lib, module, call, x, target):
        functional, grad = (F, tc.grad) if lib is tc else (TF, torch.autograd.grad)
        params = dict(module.named_parameters())
        loss = functional.cross_entropy(call(module, params, x), target)
        first = grad(loss, list(params.values()), create_graph=True)
        adapted = {name: p - 0.1 * g for (name, p), g in zip(params.items(), first, strict=True)}
        return grad(functional.cross_entropy(call(module, adapted, (x,)), target), list(params.values()))

    reference = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
    module = tc.nn.Sequential(tc.nn.Linear(4, 5), tc.nn.Tanh(), tc.nn.Linear(5, 3)).double()
    module.load_state_dict(reference.state_dict())
    before = [p.array.copy() for p in module.parameters()]
    x, target = np.random.default_rng(0).standard_normal((6, 4)), np.array([0, 1, 2, 0, 1, 2])
    ours = meta(tc, module, tc.nn.functional_call, tc.tensor(x), tc.tensor(target))
    agree(ours, meta(torch, reference, torch.func.functional_call, torch.tensor(x), torch.tensor(target)))
    assert all((p.array == old).all() for p, old in zip(module.parameters(), before, strict=True))


def test_functional_call_refuses_what_is_not_there():
    module = tc.nn.Sequential(tc.nn.Linear(2, 1))
    own = dict(module.named_parameters())
    with pytest.raises(tc.GraphError, match=r"no parameter or buffer '0.wait'; there are 0.weight, 0.bias"):
        tc.nn.functional_call(module, {"0.bias": tc.zeros(1), "0.wait": tc.zeros(1, 2)}, tc.ones(1, 2))
    with pytest.raises(tc.GraphError, match=r"0.weight must be a tensor \(1, 2\), got \(2, 1\)"):
        tc.nn.functional_call(module, {"0.weight": tc.zeros(2, 1)}, tc.ones(1, 2))
    assert all(p is own[name] for name, p in module.named_parameters())


def test_functional_call_replaces_what_is_shared_everywhere():
    """As torch does, which ties what is tied."""
    a, b = tc.nn.Linear(2, 2, bias=False), tc.nn.Linear(2, 2, bias=False)
    b.weight = a.weight
    module, x, double = tc.nn.Sequential(a, b), tc.tensor([[1.0, 3.0]]), 2 * tc.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert tc.nn.functional_call(module, {"0.weight": double}, x).tolist() == [[4, 12]]
    assert tc.nn.functional_call(module, {"1.weight": double}, x).tolist() == [[4, 12]]
    apart = {"0.weight": double, "1.weight": -double}  # unless it is told otherwise
    assert tc.nn.functional_call(module, apart, x).tolist() == [[-4, -12]]
    assert a.weight is b.weight


def test_grad_may_give_zeros():
    x, y = tc.tensor([1.0, 2.0], requires_grad=True), tc.tensor([3.0], requires_grad=True)
    for recorded in (False, True):
        dx, dy = tc.grad((x * x).sum(), [x, y], create_graph=recorded, materialize_grads=True, retain_graph=True)
        assert (dx.tolist(), dy.tolist()) == ([2, 4], [0])


def test_the_commonest_mistake_is_answered():
    x, y = cubes()
    (g,) = tc.grad(y, x)
    with pytest.raises(tc.GraphError, match=r"^grad: this tensor .* ask for that with create_graph=True$"):
        tc.grad(g.sum(), x)
    with pytest.raises(tc.GraphError, match=r"pass grad_outputs="):
        tc.grad(x**2, x)


# --- walks ----------------------------------------------------------------------------------------------------------


def test_grad_outputs_take_part():
    x = tc.tensor([1.0, 2.0], requires_grad=True)
    v = tc.tensor([3.0, 5.0], requires_grad=True)
    (g,) = tc.grad(x * x, x, v, create_graph=True)  # 2 x v
    dx, dv = tc.grad(g.sum(), [x, v])
    assert (dx.tolist(), dv.tolist()) == ([6, 10], [2, 4])


def test_an_intermediate_result_may_be_asked_about():
    x = tc.tensor([1.0, 2.0], requires_grad=True)
    h = x * x
    (g,) = tc.grad((h**3).sum(), h, create_graph=True)  # 3 h^2
    dh, dx = tc.grad(g.sum(), [h, x])
    assert (dh.tolist(), dx.tolist()) == ([6, 24], [12, 96])


def test_the_graph_is_kept_unless_asked_otherwise():
    x, y = cubes()
    tc.grad(y, x, create_graph=True)
    tc.grad(y, x)
    with pytest.raises(tc.GraphError, match="was walked before"):
        tc.grad(y, x)
    x, y = cubes()
    (g,) = tc.grad(y, x, create_graph=True, retain_graph=False)
    with pytest.raises(tc.GraphError, match="was walked before"):
        tc.grad(y, x)
    assert tc.grad(g.sum(), x, allow_unused=True)[0].tolist() == [6, 12, 18]


def test_backward_accumulates_recorded_gradients():
    x, y = cubes()
    y.backward(create_graph=True)
    y.backward(create_graph=True)
    assert x.grad.tolist() == [6, 24, 54]
    (second,) = tc.grad(x.grad.sum(), x)
    assert second.tolist() == [12, 24, 36]


@pytest.mark.parametrize("lib", [tc, torch], ids=["ours", "theirs"])
def test_hooks_see_recorded_gradients(lib):
    """In every walk: the second goes through h again."""
    grad = tc.grad if lib is tc else torch.autograd.grad
    x = lib.tensor([1.0, 2.0], requires_grad=True)
    h = x * x
    seen = []
    h.register_hook(lambda g: seen.append(g.requires_grad) or g * 2)
    (g,) = grad((h * h).sum(), x, create_graph=True)  # twice 4 x^3
    assert g.tolist() == [8, 64]
    assert grad(g.sum(), x)[0].tolist() == [40, 160]
    assert seen == [True, False]


def test_no_grad_outside_does_not_stop_it():
    x, y = cubes()
    with tc.no_grad():
        (g,) = tc.grad(y, x, create_graph=True)
        assert not tc.is_grad_enabled()
    assert g.requires_grad


def test_a_gradient_that_depends_on_nothing_is_constant():
    x = tc.tensor([1.0, 2.0], requires_grad=True)
    (g,) = tc.grad((x * 3).sum(), x, create_graph=True)
    assert not g.requires_grad


def test_a_chain_of_thousands_and_a_diamond():
    x = y = tc.tensor(1.0, requires_grad=True, dtype=tc.float64)
    for _ in range(3000):
        y = y * 1.0001
    (g,) = tc.grad(y * y, x, create_graph=True)
    (gg,) = tc.grad(g, x)
    assert gg.item() == pytest.approx(2 * 1.0001**6000)
    y = x
    for _ in range(60):
        y = (y + y) * 0.5
    (g,) = tc.grad(y**3, x, create_graph=True)
    assert tc.grad(g, x)[0].item() == pytest.approx(6)


@pytest.mark.parametrize("variant", tc.variants.available("conv2d"))
def test_variants_are_differentiated_by_the_op_they_stand_for(variant):
    tc.manual_seed(0)  # with other numbers terms may cancel, down to less than their rounding
    x = tc.randn(2, 1, 5, 5).requires_grad_()
    w = tc.randn(2, 1, 3, 3).requires_grad_()

    def second(name):
        with tc.using(conv2d=name):
            (g,) = tc.grad((F.conv2d(x, w) ** 2).sum(), x, create_graph=True)
        return tc.grad((g**2).sum(), w)[0].array

    assert_allclose(second(variant), second("im2col"), rtol=1e-4)


# --- memory ---------------------------------------------------------------------------------------------------------


def test_no_cycle_is_left():
    gc.collect()
    gc.disable()
    try:
        x, y = cubes()
        (g,) = tc.grad(y, x, create_graph=True)
        (g * g).sum().backward()
        watched = [weakref.ref(t) for t in (x, y, g)]
        del x, y, g
        assert [ref() for ref in watched] == [None, None, None]
    finally:
        gc.enable()


def test_a_leaf_written_to_between_the_walks_is_noticed():
    x, y = cubes()
    (g,) = tc.grad(y, x, create_graph=True)
    with tc.no_grad():
        x += 1
    with pytest.raises(tc.GraphError, match="was written to in place since"):
        g.sum().backward()


def test_an_input_written_to_before_the_walk_is_noticed():
    """`x + c` saves neither: what stood there is needed again only now."""
    x, c = tc.tensor([1.0, 2.0], requires_grad=True), tc.tensor([1.0, 1.0])
    y = ((x + c).exp() * x).sum()
    c[0] = 5
    with pytest.raises(tc.GraphError, match="input 1 of 'Add' was written to in place since, and is needed once more"):
        tc.grad(y, x, create_graph=True)
    tc.grad(y, x)  # nothing that this needs was written to


# --- ops of users ---------------------------------------------------------------------------------------------------


class Square:
    """y = x^2;  dx = 2 dy x."""

    @staticmethod
    def forward(xp, x):
        return xp.square(x), (x,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (x,) = saved
        return (2 * dy * x,)


class NumpySquare(Square):
    @staticmethod
    def forward(xp, x):
        return np.square(x), (x,)


class Reduced(Square):
    @staticmethod
    def forward(xp, x):
        return np.multiply.accumulate(np.stack([x, x]))[1], (x,)


class Concatenated(Square):
    @staticmethod
    def forward(xp, x):
        return x * x, (x,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        return (np.concatenate([dy]) * 2 * saved[0],)


@on_the_host
@pytest.mark.parametrize(
    ("op", "what"),
    [
        (Square, "xp.square"),
        (NumpySquare, "xp.square"),
        (Reduced, "numpy.stack"),
        (Concatenated, "numpy.concatenate"),
    ],
)
def test_what_cannot_be_recorded_is_named(op, what):
    x = tc.tensor([1.0, 2.0], requires_grad=True)
    assert tc.grad(tc.apply(op, x).sum(), x)[0].tolist() == [2, 4]
    with pytest.raises(tc.GraphError, match=f"create_graph: op '{op.__name__}' uses {what}"):
        tc.grad(tc.apply(op, x).sum(), x, create_graph=True)


class NumpyExp:
    """y = e^x c, by NumPy's own functions, and written into constants."""

    @staticmethod
    def forward(xp, x):
        y = np.exp(x)
        total = np.ones(y.shape)
        total *= y
        total -= 1
        return 1 + total, (y,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        return (saved[0] * dy,)


@on_the_host
def test_numpys_elementwise_functions_may_be_used():
    x = tc.tensor([0.5, 2.0], requires_grad=True, dtype=tc.float64)
    y = tc.apply(NumpyExp, x).sum()
    for _ in range(3):
        (g,) = tc.grad(y, x, create_graph=True)
        assert_allclose(g.array, np.exp(x.array))
        y = g.sum()


class Methods:
    """y = mean of x over rows, by the methods of arrays."""

    @staticmethod
    def forward(xp, x):
        return (x.sum(axis=0) + x.mean(axis=0) + x.max(axis=0) + x.T.ravel()[0] + x.copy().squeeze()[0]) ** 2, (x,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        raise AssertionError("not under test")


@on_the_host
def test_methods_of_arrays_are_recorded_too():
    from tinyconv.arrays.boxed import Library

    x = tc.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    library = Library(np, tc.apply, tc.tensor, "Methods")
    y, _ = Methods.forward(library, library.box(x))
    expected, _ = Methods.forward(np, x.detach().numpy())
    assert_allclose(y.tensor.array, expected)
    y.tensor.sum().backward()
    theirs = torch.arange(6.0, dtype=torch.float64).reshape(2, 3).requires_grad_()
    total = theirs.sum(0) + theirs.mean(0) + theirs.amax(0) + theirs.T.ravel()[0] + theirs[0]
    (total**2).sum().backward()
    assert_allclose(x.grad.array, theirs.grad.numpy())


# --- writes between the walks, and inside ops -----------------------------------------------------------------------


def leaf(*values):
    return tc.tensor(list(values), requires_grad=True)


def constant_written_to():
    x, w, c = leaf(1.0, 2.0), leaf(1.0, 1.0), tc.tensor([3.0, 4.0])
    (g,) = tc.grad((x * c * w).sum(), x, create_graph=True)
    c.mul_(100)
    g.sum().backward()


def view_of_a_leaf_written_to_by_numpy():
    w = leaf(1.0, 2.0)
    (g,) = tc.grad((w.reshape(2, 1) ** 3).sum(), w, create_graph=True)
    w.detach().numpy()[...] = 100
    tc.grad(g.sum(), w)


def leaf_written_to_before_what_it_gave_is_needed_again():
    x = leaf(1e4, 1.0)
    y = ((x + 0.0) ** 2).sum()
    with tc.no_grad():
        x[1] = 3
    tc.grad(y, x, create_graph=True)


def two_outputs_written_to():
    x = tc.rand(1, 1, 2, 2).requires_grad_()
    y, place = F.adaptive_max_pool2d(x, 1, return_indices=True)
    loss = (y * y).sum()
    with tc.no_grad():
        y.mul_(10)
        place.add_(1)
    loss.backward()


def leaf_handed_out_by_dlpack():
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    torch.from_dlpack(w).mul_(50)
    y.backward()


def output_handed_out_by_dlpack():
    y = leaf(1.0, 2.0).exp()
    loss = y.sum()
    torch.from_dlpack(y).mul_(50)
    loss.backward()


# Before, it hands out none: test_dlpack_hands_out_no_gradients_memory_to_who_cannot_be_told in test_tensor_tensor.py.
SAYS_READ_ONLY = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="DLPack says that memory is read-only from NumPy 2.1 on"
)


def leaf_handed_out_while_it_needs_no_gradient():
    w = leaf(1.0, 2.0)
    y = (w * w).sum()
    w.requires_grad_(False).numpy()[...] = 50
    y.backward()


@on_the_host
@pytest.mark.parametrize(
    "program",
    [
        constant_written_to,
        view_of_a_leaf_written_to_by_numpy,
        leaf_written_to_before_what_it_gave_is_needed_again,
        two_outputs_written_to,
        pytest.param(leaf_handed_out_by_dlpack, marks=SAYS_READ_ONLY),
        pytest.param(output_handed_out_by_dlpack, marks=SAYS_READ_ONLY),
        leaf_handed_out_while_it_needs_no_gradient,
    ],
)
def test_a_write_is_noticed(program):
    with pytest.raises(tc.GraphError, match="was written to in place since"):
        program()


def test_masks_and_indices_are_those_of_the_first_walk():
    x, w, mask = leaf(1.0, 2.0), leaf(1.0, 1.0), tc.tensor([True, False])
    (g,) = tc.grad((tc.where(mask, x, 5 * x) * w).sum(), x, create_graph=True)
    mask[...] = tc.tensor([False, True])
    g.sum().backward()
    assert w.grad.tolist() == [1, 5]


def test_recorded_gradients_of_leaves_share_nothing():
    a, b, seed = leaf(1.0, 1.0), leaf(1.0, 1.0), tc.ones(2)
    (a + b).backward(seed, create_graph=True)
    (a * 10).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist(), seed.tolist()) == ([11, 11], [1, 1], [1, 1])


def test_what_leads_to_it_has_to_be_kept():
    h = leaf(1.0, 2.0).exp()
    (h**2).sum().backward()
    with pytest.raises(tc.GraphError, match=r"the output of 'Exp' has to be computed again .* retain_graph=True"):
        tc.grad((h**3).sum(), h, create_graph=True)


def written(gradient):
    """y = x^2, its gradient as given."""

    class Written:
        @staticmethod
        def forward(xp, x):
            return x * x, (x,)

        @staticmethod
        def backward(xp, saved, dy, needs):
            return (gradient(xp, saved[0], dy),)

    return Written


def through_a_slice(xp, x, dy):
    dx = xp.zeros_like(x)
    dx[0] = 2 * x[0] * dy[0]
    rest = dx[1:]
    rest[...] = 2 * x[1:] * dy[1:]
    return dx


def through_a_reshaped_and_a_transposed_view(xp, x, dy):
    dx = xp.zeros(x.shape, x.dtype)
    xp.add.at(dx.reshape(2, 1).T, (0, np.arange(2)), x * dy)
    dx.T[:] += x * dy
    return dx


def through_another_name(xp, x, dy):
    dx = xp.empty_like(x)
    dx[...] = 0
    same = dx
    dx += dy * x
    dx *= 4
    dx /= 2
    dx -= 0 * x
    return same


def on_a_plain_array(xp, x, dy):
    return np.zeros(2, np.float32) + 2 * dy * x + 0 * xp.power(2.0, x) * abs(x).flatten()


@on_the_host
@pytest.mark.parametrize(
    "backward",
    [through_a_slice, through_a_reshaped_and_a_transposed_view, through_another_name, on_a_plain_array],
)
def test_an_op_may_write_into_what_it_made(backward):
    x = leaf(1.0, 2.0)
    (plain,) = tc.grad(tc.apply(written(backward), x).sum(), x)
    (g,) = tc.grad(tc.apply(written(backward), x).sum(), x, create_graph=True)
    assert plain.tolist() == g.tolist() == [2, 4]
    assert tc.grad(g.sum(), x)[0].tolist() == [2, 2]


def multiplied_into(xp, x, dy):
    dx = xp.zeros_like(x)
    np.multiply(dy, 2 * x, out=dx)
    return dx


def behind_a_view(xp, x, dy):
    dx = 2 * x * dy
    view = dx.T
    dx[0] = dx[0] * 1
    return view


def by_a_method_that_is_not_there(xp, x, dy):
    return 2 * x * dy + x.std()


def as_a_number(xp, x, dy):
    return 2 * x * float(dy[0])


@pytest.mark.parametrize(
    ("backward", "what"),
    [
        (multiplied_into, "numpy.multiply with out"),
        (behind_a_view, "a view of an array that was written to since the view was made"),
        (by_a_method_that_is_not_there, "array.std"),
        (as_a_number, "a value as a Python number"),
    ],
)
def test_what_an_op_must_not_do_is_named(backward, what):
    x = leaf(1.0, 2.0)
    with pytest.raises(tc.GraphError, match=f"op 'Written' uses {what}, which cannot be recorded"):
        tc.grad(tc.apply(written(backward), x).sum(), x, create_graph=True)


def test_an_index_may_name_an_element_twice():
    class Repeated:
        @staticmethod
        def forward(xp, x):
            return x[[0, 0, 1]], (x,)

        @staticmethod
        def backward(xp, saved, dy, needs):
            dx = xp.zeros_like(saved[0])
            xp.add.at(dx, [0, 0, 1], dy * saved[0][[0, 0, 1]])
            return (dx,)

    x = leaf(1.0, 2.0)
    (g,) = tc.grad(tc.apply(Repeated, x).sum(), x, create_graph=True)
    assert g.tolist() == [2, 2]
    assert tc.grad(g.sum(), x)[0].tolist() == [2, 1]


def test_no_library_is_left_in_a_cycle():
    gc.collect()
    gc.disable()
    try:
        x = y = leaf(1.0, 2.0)
        for _ in range(50):
            y = y * 1.5
        (g,) = tc.grad(y.sum(), x, create_graph=True)
        del x, y, g
        assert gc.collect() == 0
    finally:
        gc.enable()
