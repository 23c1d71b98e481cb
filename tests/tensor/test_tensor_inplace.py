"""Writing in place: what it does, what it may not do, and that the tape notices writes into what it saved."""

import operator

import numpy as np
import pytest
from messages import message
from oracle import assert_allclose, assert_array_equal, on_the_host

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import nn
from tinyconv.tensor import inplace

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("everywhere")


def ones(*shape):
    return tc.ones(*shape, requires_grad=True)


IN_PLACE = {
    "+=": lambda x, y: x.__iadd__(y),
    "-=": lambda x, y: x.__isub__(y),
    "*=": lambda x, y: x.__imul__(y),
    "/=": lambda x, y: x.__itruediv__(y),
    "**=": lambda x, y: x.__ipow__(y),
}


# --- what it does ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", IN_PLACE)
def test_a_leaf_is_written_to_where_it_stands(symbol):
    for library in (tc, torch):
        x = library.tensor([1.0, 2.0])
        view = x[1:]
        assert IN_PLACE[symbol](x, 3) is x
        if library is tc:
            ours = x.tolist(), view.tolist()
    assert ours == (x.tolist(), view.tolist())


@pytest.mark.parametrize("symbol", IN_PLACE)
def test_a_leaf_that_requires_grad_is_written_to_under_no_grad_only(symbol):
    x = ones(2)
    assert message(tc.GraphError, IN_PLACE[symbol], x, 3.0) == (
        f"{symbol}: a leaf that requires grad cannot be changed in place while recording; "
        "wrap an update in `with tinyconv.no_grad():`, or make a new tensor"
    )
    assert x.tolist() == [1.0, 1.0]
    array = x.array
    with tc.no_grad():
        IN_PLACE[symbol](x, 3.0)
    assert x.array is array
    assert x.is_leaf
    assert x.requires_grad


@pytest.mark.parametrize("symbol", IN_PLACE)
def test_on_what_was_computed_it_is_recorded(symbol):
    def gradient(library):
        x = library.tensor([2.0, 3.0], requires_grad=True)
        identity = library.tensor([1.5, 0.5], requires_grad=True)
        out = x * 1.0
        before = out
        IN_PLACE[symbol](out, identity)
        assert out is before
        (out * out).sum().backward()
        return out.tolist(), x.grad.tolist(), identity.grad.tolist()

    for ours, theirs in zip(gradient(tc), gradient(torch), strict=True):
        assert_allclose(ours, theirs, rtol=1e-5)


FUNCTIONS = sorted(set(inplace.__all__) - {"clip_"})


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("viewed", [True, False])
def test_functions_in_place_are_torchs(name, recorded, viewed):
    def run(library):
        x = library.tensor([[0.1, 0.5], [0.9, 0.3]], requires_grad=recorded)
        h = x * 1.0
        view = h[0] if viewed else h
        bounds = {"clamp_": (0.2, 0.4), "clamp_min_": (0.2,), "clamp_max_": (0.4,)}.get(name)
        y = getattr(library, name)(view, *bounds) if bounds else getattr(view, name)()
        assert y is view
        if not recorded:
            return [h.tolist()]
        (h * h).sum().backward()
        return h.tolist(), x.grad.tolist()

    for ours, theirs in zip(run(tc), run(torch), strict=True):
        assert_allclose(ours, theirs, rtol=1e-5)


def test_a_residual_sum_in_place():
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    x = tc.randn(1, 1, 4, 4, requires_grad=True)

    def block(x, in_place):
        identity, out = x, conv(x)
        if in_place:
            out += identity
        else:
            out = out + identity
        return out.relu()

    grads = [tc.grad(block(x, in_place).sum(), [x, conv.weight]) for in_place in (True, False)]
    for a, b in zip(*grads, strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("write", [lambda v: v.zero_(), lambda v: v.fill_(3), lambda v: v.copy_(v.detach() * 2)])
@pytest.mark.parametrize("view", [lambda y: y, lambda y: y.view(-1), lambda y: y[0], lambda y: y.t(), lambda y: y[:1]])
def test_a_constant_that_is_written_ends_the_gradient_of_what_was_there(view, write):
    found = []
    for lib in (tc, torch):
        x = lib.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        y = x * 3
        v = view(y)
        write(v)
        assert v.requires_grad
        assert y.requires_grad
        ((v * v).sum() + (y * 5).sum()).backward()
        found.append([t.tolist() for t in (y, v, x.grad)])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["remainder_", "fmod_", "floor_divide_", "lerp_", "addcmul_", "clamp_"])
def test_no_function_in_place_changes_the_shape(name):
    x, y = tc.ones(3), tc.ones(2, 3)
    more = {"lerp_": (0.5,), "addcmul_": (y,)}.get(name, ())
    with pytest.raises(tc.ShapeError, match="cannot be written into"):
        getattr(x, name)(y, *more)
    assert x.shape == (3,)


@pytest.mark.parametrize("symbol", ["iand", "ior", "ixor"])
def test_bits_are_written_where_they_stand(symbol):
    for dtype, other in (("bool", [True, True]), ("int64", [6, 1]), ("int64", 3)):
        found = []
        for lib in (tc, torch):
            x = lib.tensor([1, 0], dtype=getattr(lib, dtype))
            view, before = x[:1], x
            x = getattr(operator, symbol)(x, other if other == 3 else lib.tensor(other, dtype=x.dtype))
            assert x is before
            found.append((x.tolist(), view.tolist()))
        assert found[0] == found[1]
    with pytest.raises(tc.DtypeError, match="cannot be written into"):
        getattr(operator, symbol)(tc.tensor([True]), tc.tensor([1]))


def test_a_diagonal_is_a_view():
    for lib in (tc, torch):
        x = lib.zeros(3, 4)
        x.diagonal().fill_(1)
        x.t().diagonal(1).fill_(2)
        x.diagonal(2).add_(5)
        assert x.tolist() == [[1, 0, 5, 0], [2, 1, 0, 5], [0, 2, 1, 0]]
        batch = lib.zeros(2, 3, 3)
        batch.diagonal(0, -2, -1).copy_(lib.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
        assert batch.sum(1).tolist() == [[1, 2, 3], [4, 5, 6]]
        assert [tuple(x.diagonal(k).shape) for k in (3, 4, -3)] == [(1,), (0,), (0,)]


def test_a_constant_that_takes_in_something_tracked_becomes_tracked():
    x = ones(2)
    total = tc.zeros(2)
    for factor in (2.0, 3.0):
        total += x * factor
    assert total.requires_grad
    total.sum().backward()
    assert x.grad.tolist() == [5.0, 5.0]


def test_copy_fill_zero_add():
    x = tc.zeros(2, 2)
    assert x.copy_(tc.tensor([1, 2])) is x
    assert x.tolist() == [[1.0, 2.0]] * 2
    assert x.fill_(3).tolist() == [[3.0, 3.0]] * 2
    assert x.add_(1).tolist() == [[4.0, 4.0]] * 2
    assert x.mul_(2).sub_(1).div_(7).tolist() == [[1.0, 1.0]] * 2
    assert x.zero_().tolist() == [[0.0, 0.0]] * 2
    assert x.dtype == tc.float32
    assert x.copy_(np.array([1.0, 2.0])).tolist() == [[1.0, 2.0]] * 2
    assert tc.zeros(1, dtype=tc.float64).fill_(0.1).item() == 0.1
    assert tc.zeros(2, dtype=tc.int64).copy_(tc.tensor([1.9, -1.9])).tolist() == [1, -1]


def test_what_does_not_fit_raises_and_changes_nothing():
    x = tc.arange(3)
    float_result = "+=: the result is float32 and cannot be written into int64"
    assert message(tc.DtypeError, x.__iadd__, 1.5) == float_result
    assert message(tc.DtypeError, x.__itruediv__, 2) == "/=: the result is float32 and cannot be written into int64"
    assert x.tolist() == [0, 1, 2]
    wide = "+=: the result has shape (2, 3) and cannot be written into (3,)"
    assert message(tc.ShapeError, x.__iadd__, tc.zeros(2, 3, dtype=tc.int64)) == wide
    assert message(tc.ShapeError, x.copy_, tc.zeros(2)) == "expand: (2,) cannot be repeated to (3,)"
    narrow = tc.ones(2)
    narrow += tc.ones(2, dtype=tc.float64)
    assert narrow.dtype == tc.float32


VIEWS = {
    "a row": lambda x: x[1],
    "rows": lambda x: x[1:],
    "every third": lambda x: x.reshape(-1)[1:11:3],
    "the transpose": lambda x: x.T,
    "all of it": lambda x: x.reshape(12),
    "itself, detached": lambda x: x.detach(),
}


@pytest.mark.parametrize("written", [name for name in VIEWS if name != "itself, detached"])
@pytest.mark.parametrize("looked_at", VIEWS)
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_recorded_reaches_every_view(written, looked_at, whole):
    """The values that each view has, and the gradients through all of them, whichever of them was written to."""

    def run(library):
        w = library.tensor(np.linspace(-1.0, 2.0, 12).reshape(3, 4), requires_grad=True)
        h = w * 3.0
        view, other = VIEWS[written](h), VIEWS[looked_at](h)
        (h if whole else view).mul_(2.0).relu_()
        other_loss = (other * other).sum()
        ((h * h * h).sum() + (view * 5.0).sum() + other_loss).backward()
        return [t.detach().tolist() for t in (h, view, other, w.grad)] + [other.requires_grad]

    for ours, theirs in zip(run(tc), run(torch), strict=True):
        assert_allclose(ours, theirs, rtol=1e-5)


def test_views_that_were_constants_become_tracked():
    def run(library):
        w = library.tensor([2.0, 3.0], requires_grad=True)
        base = library.zeros(2, 2)
        first = base[0]
        first += w
        base[1].copy_(w * w)
        base.sum().backward()
        return base.tolist(), w.grad.tolist(), first.tolist(), first.requires_grad

    assert run(tc) == run(torch)


def test_a_write_after_a_recorded_one_reaches_the_views_too():
    h = ones(4) * 2
    view = h[:2]
    h += 1
    loss = (view * view).sum()
    with tc.no_grad():
        h.zero_()
    assert view.tolist() == [0.0, 0.0]
    assert "Mul" in message(tc.GraphError, loss.backward)  # and the tape knows that it was saved


def test_the_old_values_are_those_that_the_tape_has():
    """PyTorch refuses these: it has overwritten what the gradient needs."""
    for change in (lambda h: h.mul_(3.0), lambda h: h.relu_(), lambda h: F.silu(h, inplace=True)):
        for views in (False, True):
            x = ones(3)
            h = x.exp()
            held = h[:2] if views else None
            y = (h * h).sum()
            change(h)
            y.backward()
            assert_allclose(x.grad, 2 * np.exp(2 * np.ones(3)), rtol=1e-6)
            assert held is None or held.tolist() == h.tolist()[:2]


def test_a_view_of_a_leaf_is_not_written_to_while_recording():
    x = ones(2)
    assert message(tc.GraphError, x.reshape(1, 2).relu_) == (
        "relu_: a view of a leaf that requires grad cannot be changed in place while recording; "
        "wrap an update in `with tinyconv.no_grad():`, or make a new tensor"
    )
    row = tc.zeros(2).reshape(1, 2)
    row += 1  # nothing to record here
    assert row.tolist() == [[1.0, 1.0]]


def test_a_repeated_view_cannot_be_written_to():
    assert message(tc.GraphError, tc.ones(1).expand(3).fill_, 2) == (
        "this tensor cannot be written to: its elements share memory (expand), or NumPy holds it read-only; write to a "
        "copy, x.clone()"
    )


def test_assigning_to_elements():
    x = tc.zeros(2, 3)
    x[0] = 1
    x[:, 2] = tc.tensor([5.0, 6.0])
    x[x > 5.5] = -1
    x[tc.tensor([0, 1]), tc.tensor([0, 1])] = np.array([7.0, 8.0])
    assert x.tolist() == [[7.0, 1.0, 5.0], [0.0, 8.0, -1.0]]
    view = x[1]
    view[0] = 9
    assert x[1, 0].item() == 9.0
    with pytest.raises(ValueError, match="broadcast"):
        x[0] = tc.ones(4)
    with pytest.raises(IndexError, match="out of bounds"):
        x[5] = 0


def test_assignments_to_elements_are_recorded():
    def gradients(library):
        x, w = (library.tensor([1.0, 2.0, 3.0], requires_grad=True) for _ in range(2))
        y = x * 2
        row = y[1:]  # a view sees what is written, and its gradient
        y[1] = w[0] * 5
        y[library.tensor([True, False, False])] = 7.0
        out = library.zeros(2, 3)
        out[0] = y
        out[:, 1] = w[None, :2] * row
        (out * out).sum().backward()
        return out.tolist(), row.tolist(), x.grad.tolist(), w.grad.tolist()

    for ours, theirs in zip(gradients(tc), gradients(torch), strict=True):
        assert_allclose(ours, theirs, rtol=1e-6)


def test_elements_of_a_leaf_are_assigned_under_no_grad_only():
    x = ones(2)
    assert message(tc.GraphError, x.__setitem__, 0, 5.0) == (
        "x[...] = value: a leaf that requires grad cannot be changed in place while recording; "
        "wrap an update in `with tinyconv.no_grad():`, or make a new tensor"
    )
    with tc.no_grad():
        x[0] = 5
    assert x.tolist() == [5.0, 1.0]


def test_what_does_not_fit_elements_is_refused():
    x = ones(2, 3) * 2
    assert message(tc.ShapeError, x.__setitem__, 0, ones(4)) == "expand: (4,) cannot be repeated to (3,)"
    assert message(IndexError, x.__setitem__, 5, 1.0).startswith("index 5 is out of bounds for axis 0 with size 2")


# --- what the tape saved --------------------------------------------------------------------------------------------


def spoiled(op, what, variant="readable"):
    return (
        f"backward: {op} ({variant}) saved {what} for its gradient, and it was written to in place since; "
        "write to a copy (x.clone()), or make a new tensor (x = x + 1 instead of x += 1)"
    )


def fast():
    """The variant of linear that runs by itself on the device of the test."""
    return "tiled" if tc.ones(1).device == "cpu" else "cuda"


def assign_first(x):
    x[0] = 7.0


def under_no_grad(write):
    def quietly(x):
        with tc.no_grad():
            write(x)

    return quietly


def through_data_numpy(x):
    x.data.numpy()[0] = 7.0


def through_dlpack(x):
    torch.from_dlpack(x.detach())[0] = 7.0


WRITES = {
    "+=": under_no_grad(lambda x: x.__iadd__(1)),
    "-=": under_no_grad(lambda x: x.__isub__(1)),
    "*=": under_no_grad(lambda x: x.__imul__(2)),
    "/=": under_no_grad(lambda x: x.__itruediv__(2)),
    "**=": under_no_grad(lambda x: x.__ipow__(2)),
    "add_": under_no_grad(lambda x: x.add_(1)),
    "zero_": under_no_grad(lambda x: x.zero_()),
    "fill_": under_no_grad(lambda x: x.fill_(3)),
    "copy_": under_no_grad(lambda x: x.copy_(tc.zeros(3))),
    "x[0] =": under_no_grad(assign_first),
    "a view": under_no_grad(lambda x: x[1:].zero_()),
    "a view of a view": under_no_grad(lambda x: x.reshape(1, 3)[:, :2].T.fill_(2)),
    "detach": lambda x: x.detach().zero_(),
    ".data": lambda x: x.data.__iadd__(1),
    "uniform_": nn.init.zeros_,
}
BY_OTHERS = {".data.numpy()": through_data_numpy, "dlpack": through_dlpack}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_writing_into_an_input_that_was_saved(write):
    x = tc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (x * x).sum()
    write(x)
    assert message(tc.GraphError, y.backward) == spoiled("Mul", "input 0 (float32, shape (3,))")
    assert x.grad is None


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_writing_into_an_output_that_was_saved(write):
    x = tc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    h = x.exp()
    y = h.sum()
    write(h)
    assert message(tc.GraphError, y.backward) == spoiled("Exp", "an output (float32, shape (3,))")


@on_the_host
@pytest.mark.parametrize("write", BY_OTHERS.values(), ids=BY_OTHERS)
@pytest.mark.parametrize(
    "saved", [test_writing_into_an_input_that_was_saved, test_writing_into_an_output_that_was_saved]
)
def test_others_writing_into_what_was_saved(write, saved):
    saved(write)


@on_the_host
def test_an_array_lent_after_the_forward_pass():
    w, x = ones(3), tc.ones(3)
    y = (w * x).sum()
    x.numpy()[1] = 5
    assert message(tc.GraphError, y.backward) == spoiled("Mul", "input 1 (float32, shape (3,))")


@on_the_host
def test_each_array_that_was_lent_is_compared():
    w, x = ones(3), tc.ones(3)
    first = (w * x).sum()
    array = x.numpy()
    second = (w * x).sum()
    array[1] = 5
    x.numpy()  # lends it again, and finds it changed
    third = (w * x).sum()
    third.backward()
    for loss in (first, second):
        assert message(tc.GraphError, loss.backward) == spoiled("Mul", "input 1 (float32, shape (3,))")


@on_the_host
def test_an_array_lent_before_the_forward_pass_is_not_noticed():
    """As in PyTorch: to notice it, every op would have to look at every byte that it saves."""
    w, x = ones(3), tc.ones(3)
    array = x.numpy()
    y = (w * x).sum()
    array[1] = 5
    y.backward()
    assert w.grad.tolist() == [1.0, 5.0, 1.0]


@on_the_host
def test_an_array_of_a_view_reaches_the_whole_memory():
    w, x = ones(3), tc.ones(2, 3)
    y = (w * x[1]).sum()
    x.numpy()[1, 2] = 5
    assert message(tc.GraphError, y.backward) == spoiled("Mul", "input 1 (float32, shape (3,))")


def test_the_weights_of_a_layer():
    layer = nn.Linear(2, 2)
    y = layer(ones(1, 2)).sum()
    with tc.no_grad():
        layer.weight += 1
    assert message(tc.GraphError, y.backward) == spoiled("linear", "input 1 (float32, shape (2, 2))", fast())


def test_a_state_dict_shares_the_memory_and_the_count():
    layer = nn.Linear(2, 2).to(tc.ones(1).device)
    state = layer.state_dict()
    layer.to(tc.float32)  # changes nothing, so it must not cut the tie either
    y = layer(ones(1, 2)).sum()
    state["weight"].zero_()
    assert message(tc.GraphError, y.backward) == spoiled("linear", "input 1 (float32, shape (2, 2))", fast())


def test_running_statistics_of_batch_norm():
    norm = nn.BatchNorm1d(2, affine=False).eval()
    x = ones(4, 2)
    y = norm(x).sum()
    norm.train()(tc.randn(4, 2))  # moves them, but what was saved is only derived from them
    y.backward()
    assert x.grad is not None


# --- no false alarms ------------------------------------------------------------------------------------------------


def test_writing_into_what_was_not_saved():
    x = ones(3)
    y = x + 1
    out = (y - 2).sum()  # neither Add nor Sub needs what it was given
    with tc.no_grad():
        y *= 5
        x += 1
    target = tc.zeros(3)
    loss = out + target.sum()
    target += 1
    loss.backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


@on_the_host
def test_writing_after_backward_or_into_a_copy():
    x = ones(3)
    y = (x * x).sum()
    x.clone().detach().zero_()
    x.detach().clone().numpy()[0] = 5
    y.backward()
    with tc.no_grad():
        x -= x.grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


@on_the_host
def test_handed_out_but_unchanged():
    x, array = tc.ones(3), np.ones(3, np.float32)
    handed_out = x.numpy()
    w = ones(3)
    y = (w * x * array * tc.from_numpy(array)).sum()
    handed_out[0] = 1.0  # the value that was there
    y.backward()
    assert w.grad.tolist() == [1.0, 1.0, 1.0]


@on_the_host
def test_a_write_before_the_forward_pass():
    x = tc.ones(3)
    array = x.numpy()
    w = ones(3)
    array[:] = 2
    x += 1
    (w * x).sum().backward()
    assert w.grad.tolist() == [3.0, 3.0, 3.0]


@on_the_host
def test_training_steps():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    optimizer = tc.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batch, targets = np.ones((4, 1, 4, 4), np.float32), tc.tensor([0, 1, 0, 1])
    for step in range(3):
        batch[:] = step  # the same buffer each time
        optimizer.zero_grad()
        F.cross_entropy(model(tc.from_numpy(batch)), targets).backward()
        optimizer.step()


def test_a_second_forward_pass_before_the_first_backward():
    model = nn.Linear(3, 3)
    first, second = model(tc.ones(1, 3)).sum(), model(tc.ones(1, 3)).sum()
    first.backward()
    second.backward()
    assert model.bias.grad.tolist() == [2.0, 2.0, 2.0]


@on_the_host
def test_the_gradient_may_be_changed_between_backward_and_step():
    x = ones(3)
    y = (x * 2).sum()
    y.backward(retain_graph=True)
    x.grad.mul_(0.5)
    x.grad.numpy()[0] = 0
    y.backward()
    assert x.grad.tolist() == [2.0, 3.0, 3.0]


@on_the_host
def test_an_array_of_numpy_forbids_recorded_writes():
    array = np.zeros(2, np.float32)
    t = tc.from_numpy(array)
    with pytest.raises(tc.GraphError, match="shares its memory with a NumPy array"):
        t += tc.ones(2, requires_grad=True)
    assert array.tolist() == [0.0, 0.0]
    h = ones(2) * 2
    held = h.numpy()
    with pytest.raises(tc.GraphError, match="shares its memory with a NumPy array"):
        h.relu_()
    del held
    assert h.relu_().tolist() == [2.0, 2.0]


def test_a_saved_view_of_an_input_is_guarded():
    class SumOfSquares:
        """Saves a view of x instead of x."""

        @staticmethod
        def forward(xp, x):
            return xp.sum(x * x), (x.T,)

        @staticmethod
        def backward(xp, saved, dy, needs):
            return (2 * dy * saved[0].T,)

    x = tc.ones(2, 3, requires_grad=True)
    y = tc.apply(SumOfSquares, x)
    with tc.no_grad():
        x += 5
    assert "SumOfSquares (readable) saved input 0" in message(tc.GraphError, y.backward)


@on_the_host
def test_all_that_is_known_of_lent_memory_is_that_it_changed():
    rows, w = tc.ones(4, 3), tc.ones(3, requires_grad=True)
    loss = (rows[:2] * w).sum()
    rows.numpy()[3] = 7  # another part of it
    assert "saved input 0" in message(tc.GraphError, loss.backward)


# --- another shape for the same tensor ------------------------------------------------------------------------------

RESHAPED = {
    "unsqueeze_": (1,),
    "squeeze_": (),
    "t_": (),
    "transpose_": (0, 1),
    "swapaxes_": (1, 0),
}


@pytest.mark.parametrize("name", RESHAPED)
def test_a_tensor_gets_another_shape_in_place(name):
    """The object stays, shares its memory with what was its view, and gradients go through."""

    def ran(library):
        x = library.arange(6.0).reshape(2, 3)
        row = x[0]
        y = getattr(x, name)(*RESHAPED[name])
        assert y is x
        x.mul_(2)
        w = library.ones(3, 2, requires_grad=True)
        z = w * 2
        assert getattr(z, name)(*RESHAPED[name]) is z
        (z * library.arange(6.0).reshape(z.shape)).sum().backward()
        z.detach().zero_()
        return [t.detach().cpu().numpy() for t in (x, row, w.grad, z)]

    for found, expected in zip(ran(tc), ran(torch), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_leaf_that_requires_grad_keeps_its_shape_while_recording():
    w = tc.ones(2, 3, requires_grad=True)
    assert message(tc.GraphError, w.unsqueeze_, 0).endswith("x = x.unsqueeze(...) makes a new tensor")
    with tc.no_grad():
        w.t_()
    (w * w).sum().backward()
    assert w.shape == w.grad.shape == (3, 2)


def test_a_tensor_from_outside_keeps_its_shape_in_a_captured_step():
    x = tc.ones(3)

    @tc.capture
    def step(y):
        x.unsqueeze_(0)
        return (y * 2).unsqueeze_(0) + x

    def steps():
        for _ in range(3):
            step(tc.ones(3))

    assert "unsqueeze_ changes the shape of a tensor from outside" in message(tc.CaptureError, steps)


def test_a_tensor_leaves_the_tape_in_place():
    w = tc.ones(2, requires_grad=True)
    y = w * 2
    assert y.detach_() is y
    assert y.is_leaf
    assert not y.requires_grad
    (y.requires_grad_() * 3).sum().backward()
    assert (y.grad.tolist(), w.grad) == ([3.0, 3.0], None)
    assert not w.detach_().requires_grad
