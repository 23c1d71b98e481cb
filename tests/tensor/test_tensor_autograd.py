"""Gradients as a user meets them: backward, .grad, hooks, tc.grad, and where nothing is recorded."""

import threading

import numpy as np
import pytest
from messages import message
from oracle import assert_allclose, assert_array_equal, share_memory

import tinyconv as tc

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("everywhere")


def ones(*shape, **kwargs):
    return tc.ones(*shape, requires_grad=True, **kwargs)


# --- requires_grad and leaves ---------------------------------------------------------------------------------------


def test_requires_grad_and_is_leaf():
    x, constant = ones(2), tc.ones(2)
    y = x * constant
    assert (x.is_leaf, constant.is_leaf, y.is_leaf) == (True, True, False)
    assert (x.requires_grad, constant.requires_grad, y.requires_grad) == (True, False, True)
    assert x.grad_fn is constant.grad_fn is (constant * 2).grad_fn is None
    assert y.grad_fn is not None
    assert (constant * 2).is_leaf
    assert y.detach().is_leaf


def test_requires_grad_can_be_assigned():
    x = tc.ones(2)
    x.requires_grad = True
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    x.requires_grad = False
    assert not (x * 3).requires_grad
    assert x.grad.tolist() == [3.0, 3.0]  # stays, as in torch
    assert x.requires_grad_() is x
    assert (x * 3).requires_grad


def test_what_requires_grad_refuses():
    wrong_dtype = "requires_grad: only floating-point tensors have gradients, this one is int64"
    assert message(tc.DtypeError, tc.arange(3).requires_grad_) == wrong_dtype
    assert message(tc.DtypeError, setattr, tc.arange(3), "requires_grad", True) == wrong_dtype
    y = ones(2) * 2
    computed = "requires_grad_(False): this tensor was computed from others; use x.detach()"
    assert message(tc.GraphError, y.requires_grad_, False) == computed
    assert message(tc.GraphError, setattr, y, "requires_grad", False) == computed
    y.requires_grad = True  # as it is already


def test_integer_results_are_outside_the_tape():
    x = ones(3)
    assert not x.argmax().requires_grad
    assert not (x > 0).requires_grad
    assert not x.to(tc.int64).requires_grad


# --- .grad ----------------------------------------------------------------------------------------------------------


def test_gradients_accumulate_over_backward_calls():
    x = ones(2)
    for factor in (2.0, 3.0, 4.0):
        (x * factor).sum().backward()
    assert x.grad.tolist() == [9.0, 9.0]
    x.grad = None
    (x * 5).sum().backward()
    assert x.grad.tolist() == [5.0, 5.0]
    x.grad.zero_()
    (x * 7).sum().backward()
    assert x.grad.tolist() == [7.0, 7.0]


def test_the_gradient_array_stays_the_same_while_it_accumulates():
    x = ones(2)
    x.sum().backward()
    grad = x.grad
    x.sum().backward()
    assert x.grad is grad
    assert grad.tolist() == [2.0, 2.0]


def test_the_gradients_of_two_leaves_never_share_memory():
    x, y = ones(2), ones(2)
    (x + y).backward(seed := tc.ones(2))
    (x.reshape(1, 2) + y.reshape(1, 2)).sum().backward()
    for a, b in ((x.grad, y.grad), (x.grad, seed), (y.grad, seed)):
        assert not share_memory(a.array, b.array)
    x.grad.zero_()
    assert y.grad.tolist() == [2.0, 2.0]


def test_only_leaves_keep_gradients():
    x = ones(2)
    h = x * 2
    h.sum().backward()
    assert h.grad is None
    assert tc.ones(2).grad is None


def test_retain_grad():
    x = ones(2)
    h = x * 2
    h.retain_grad()
    assert h.grad is None
    loss = (h * h).sum()
    loss.backward(retain_graph=True)
    assert h.grad.tolist() == [4.0, 4.0]
    loss.backward()
    assert h.grad.tolist() == [8.0, 8.0]  # accumulated, as that of a leaf
    assert x.grad.tolist() == [16.0, 16.0]
    x.retain_grad()
    assert message(tc.GraphError, tc.ones(2).retain_grad) == "retain_grad: this tensor does not require grad"


def _written(lib, write):
    x = lib.ones(3, requires_grad=True)
    y = x * 2
    view = y[:2]
    y.retain_grad(), view.retain_grad()
    write(y, view)
    ((y * y).sum() + 5 * view.sum()).backward()
    return y.grad.tolist(), None if view.grad is None else view.grad.tolist(), x.grad.tolist()


@pytest.mark.parametrize("write", [lambda y, view: y.mul_(3), lambda y, view: y.__setitem__(0, 5.0)])
def test_after_a_write_in_place_the_gradient_kept_is_that_of_the_new_value(write):
    assert _written(tc, write) == _written(torch, write)


def test_what_grad_can_be_set_to():
    x = tc.ones(2)
    x.grad = tc.zeros(2)
    assert x.grad.tolist() == [0.0, 0.0]
    assert not x.requires_grad
    assert message(tc.ShapeError, setattr, x, "grad", tc.ones(3)) == "grad must be float32 (2,), got float32 (3,)"
    wrong_dtype = "grad must be float32 (2,), got float64 (2,)"
    assert message(tc.ShapeError, setattr, x, "grad", tc.ones(2, dtype=tc.float64)) == wrong_dtype
    assert message(tc.DtypeError, setattr, x, "grad", np.ones(2)) == "grad must be a Tensor, got ndarray"
    x.requires_grad_()
    x.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


# --- backward -------------------------------------------------------------------------------------------------------


def test_backward_of_a_leaf_itself():
    x = ones(1)
    x.backward()
    assert x.grad.tolist() == [1.0]


def test_the_gradient_given_to_backward_is_not_modified_nor_kept():
    x = ones(2)
    y = x * 2
    seed = tc.tensor([1.0, 10.0])
    (y + y + y).backward(seed)
    assert seed.tolist() == [1.0, 10.0]
    assert x.grad.tolist() == [6.0, 60.0]
    x.backward(seed)
    seed.zero_()
    assert x.grad.tolist() == [7.0, 70.0]


def test_what_backward_refuses():
    x = ones(2)
    y = x * 2
    assert message(tc.GraphError, y.backward) == (
        "backward: only a tensor with one element has a gradient of its own, this one has shape (2,); "
        "reduce it (loss.mean()) or pass gradient="
    )
    wrong_shape = "backward: gradient must be float32 (2,), got float32 (3,)"
    assert message(tc.ShapeError, y.backward, tc.ones(3)) == wrong_shape
    assert message(tc.DtypeError, y.backward, np.ones(2)) == "backward: gradient must be a Tensor, got ndarray"
    nothing_recorded = (
        "backward: this tensor does not require grad: no tensor it was computed from has requires_grad=True, "
        "it was computed inside no_grad(), or a captured step returned it, which has to walk back itself. Was it "
        "computed from a gradient? Then ask for that with create_graph=True"
    )
    assert message(tc.GraphError, tc.ones(1).backward) == nothing_recorded
    with tc.no_grad():
        z = (x * 2).sum()
    assert message(tc.GraphError, z.backward) == nothing_recorded
    assert x.grad is None


def freed(op):
    return (
        f"backward: the graph through {op} (readable) was walked before and what it saved is freed; "
        "to walk it twice, call the first backward with retain_graph=True"
    )


def test_backward_twice():
    x = ones(2)
    loss = (x * x).exp().sum()
    loss.backward(retain_graph=True)
    once = x.grad.clone()
    loss.backward()
    assert_array_equal(x.grad, 2 * once)
    assert message(tc.GraphError, loss.backward) == freed("Sum")


def test_a_shared_part_of_the_graph_is_freed_by_the_first_walk():
    x = ones(2)
    shared = x.exp()
    first, second = shared.sum(), (shared * 3).sum()
    first.backward()
    assert message(tc.GraphError, second.backward) == freed("Exp")


def test_a_graph_made_after_the_walk_is_new():
    x = ones(2)
    for _ in range(3):
        x.exp().sum().backward()
    assert_allclose(x.grad, 3 * np.e * np.ones(2), rtol=1e-6)


def test_a_deep_diamond():
    x = ones(1)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**60


def test_the_same_program_gives_the_same_bits():
    def gradient():
        tc.manual_seed(0)
        x = tc.randn(50, 50, requires_grad=True)
        h = [x @ x, x.exp(), x.T @ x, x * 3, x.softmax(1)]
        sum((a * b).sum() for a in h for b in h).backward()
        return x.grad.array.tobytes()

    assert gradient() == gradient()


# --- hooks ----------------------------------------------------------------------------------------------------------


def test_hooks_run_in_order_on_leaves_and_on_what_was_computed():
    def run(library):
        seen = []
        x = library.ones(2, requires_grad=True)
        h = x * 2
        h.register_hook(lambda g: seen.append(("h first", g.tolist())))
        h.register_hook(lambda g: g * 10)
        h.register_hook(lambda g: seen.append(("h last", g.tolist())))
        x.register_hook(lambda g: g + 1)
        x.register_hook(lambda g: seen.append(("x", g.tolist())))
        h.retain_grad()
        (h.sum() + (h * 3).sum()).backward()
        return seen, x.grad.tolist(), h.grad.tolist()

    assert run(tc) == run(torch)


def test_hooks_can_be_removed_also_by_themselves():
    x = ones(1)
    seen = []
    handle = x.register_hook(lambda g: seen.append("a"))
    once = x.register_hook(lambda g: (seen.append("once"), once.remove())[2:])
    x.register_hook(lambda g: seen.append("b"))
    once.remove()
    (x * 2).backward()
    handle.remove()
    handle.remove()  # a second time does nothing
    (x * 2).backward()
    assert seen == ["a", "b", "b"]


def test_a_hook_that_removes_itself_does_not_hide_the_next():
    x = ones(1)
    seen = []

    def once(grad):
        seen.append("once")
        handle.remove()

    handle = x.register_hook(once)
    x.register_hook(lambda g: seen.append("always"))
    for _ in range(2):
        (x * 2).backward()
    assert seen == ["once", "always", "always"]


def test_a_gradient_kept_by_a_hook_does_not_change_later():
    x = ones(2)
    kept = []
    x.register_hook(kept.append)
    for _ in range(3):
        (x + x).sum().backward()
    assert [g.tolist() for g in kept] == [[2.0, 2.0]] * 3
    assert x.grad.tolist() == [6.0, 6.0]


def test_what_hooks_must_return():
    x = ones(2)
    handle = x.register_hook(lambda g: tc.ones(3))
    wrong_shape = "register_hook: what the hook returns must be float32 (2,), got float32 (3,)"
    assert message(tc.ShapeError, x.sum().backward) == wrong_shape
    handle.remove()
    x.register_hook(lambda g: g.cpu().numpy())
    no_tensor = "register_hook: what the hook returns must be a Tensor, got ndarray"
    assert message(tc.DtypeError, x.sum().backward) == no_tensor
    no_grad = "register_hook: this tensor does not require grad, so no gradient will come"
    assert message(tc.GraphError, tc.ones(1).register_hook, print) == no_grad


# --- tc.grad --------------------------------------------------------------------------------------------------------


def test_grad_returns_gradients_and_touches_none():
    x, y = ones(2), tc.tensor([2.0, 3.0], requires_grad=True)
    x.register_hook(lambda g: g * 10)
    h = x * y
    dh, dx, dh_again = tc.grad((h * h).sum(), [h, x, h])
    assert dh.tolist() == dh_again.tolist() == [4.0, 6.0]
    assert dx.tolist() == [80.0, 180.0]
    assert not share_memory(dh.array, dh_again.array)
    assert x.grad is y.grad is h.grad is None
    assert not dx.requires_grad


def test_grad_of_several_outputs_and_with_grad_outputs():
    x = ones(2)
    a, b = x * 2, (x * 3).sum()
    (dx,) = tc.grad([a, b], x, grad_outputs=[tc.tensor([1.0, 10.0]), None])
    assert dx.tolist() == [5.0, 23.0]
    y = x * 2
    assert tc.grad(y, x, tc.tensor([1.0, 2.0]))[0].tolist() == [2.0, 4.0]
    z = (x * 2).sum()
    assert tc.grad([z, z], x)[0].tolist() == [4.0, 4.0]
    assert tc.grad(z, z)[0].item() == 1.0
    mismatch = "grad: 2 outputs need as many gradients, got 1"
    assert message(tc.GraphError, tc.grad, [z, z], x, [None]) == mismatch


def test_grad_of_inputs_that_are_not_used():
    x, y = ones(2), ones(2)
    assert tc.grad((x * 2).sum(), [x, y], allow_unused=True)[1] is None
    unused = "grad: the outputs do not depend on input 1; with allow_unused=True its gradient is None"
    assert message(tc.GraphError, tc.grad, (x * 2).sum(), [x, y]) == unused
    untracked = "grad: input 0 of shape (3,) does not require grad"
    assert message(tc.GraphError, tc.grad, (x * 2).sum(), tc.ones(3)) == untracked


def test_grad_frees_what_it_walked_unless_told_otherwise():
    x = ones(2)
    y = x.exp().sum()
    tc.grad(y, x, retain_graph=True)
    tc.grad(y, x)
    assert message(tc.GraphError, tc.grad, y, x) == freed("Sum")


def test_grad_goes_no_further_back_than_asked():
    x = ones(2)
    h = x.exp()
    y = (h * 2).sum()
    tc.grad(y, h)
    h.sum().backward()  # the part behind h was not freed
    assert_allclose(x.grad, [np.e, np.e], rtol=1e-6)


# --- where nothing is recorded --------------------------------------------------------------------------------------


def recorded():
    return (ones(1) * 2).requires_grad


def test_no_grad_and_enable_grad_nest():
    assert tc.is_grad_enabled()
    with tc.no_grad():
        assert not tc.is_grad_enabled()
        assert not recorded()
        with tc.enable_grad():
            assert recorded()
            with tc.no_grad():
                assert not recorded()
            assert recorded()
        assert not recorded()
    assert recorded()


def test_one_object_may_be_entered_inside_itself():
    mode = tc.no_grad()
    with mode:
        with mode:
            assert not recorded()
        assert not recorded()
    assert recorded()


@pytest.mark.parametrize("mode", [tc.no_grad, tc.enable_grad])
def test_the_mode_before_comes_back_after_an_exception(mode):
    with pytest.raises(KeyError), mode():
        raise KeyError
    assert tc.is_grad_enabled()


def test_decorated_functions():
    @tc.no_grad()
    def quiet(depth):
        """What it does."""
        return recorded() or (depth > 0 and quiet(depth - 1))

    assert not quiet(3)
    assert recorded()
    assert (quiet.__name__, quiet.__doc__) == ("quiet", "What it does.")
    with tc.no_grad():
        assert tc.enable_grad()(recorded)()


def test_a_block_decorates_without_brackets():
    for block in (tc.no_grad, tc.inference_mode):
        assert not block(recorded)()
    with tc.no_grad():
        assert tc.enable_grad(recorded)()


def test_a_decorated_generator_is_in_the_block_whenever_it_runs():
    closed = []

    @tc.no_grad()
    def steps(n):
        try:
            for _ in range(n):
                try:
                    sent = yield recorded()
                except KeyError:
                    sent = "thrown"
                if sent:
                    yield sent, recorded()
        finally:
            closed.append(recorded())
        return "done"

    def whole():
        return (yield from steps(1))

    generator = steps(3)
    assert next(generator) is False
    assert recorded()
    assert generator.send("sent") == ("sent", False)
    assert next(generator) is False
    assert generator.throw(KeyError()) == ("thrown", False)
    assert recorded()
    generator.close()
    assert closed == [False]
    ended = whole()
    next(ended)
    with pytest.raises(StopIteration) as end:
        next(ended)
    assert end.value.value == "done"
    assert recorded()


def test_an_async_function_cannot_be_decorated():
    async def step():
        return recorded()

    expected = "no_grad: step is an async function; use `with` inside it"
    assert message(TypeError, tc.no_grad(), step) == expected


def modes(library):
    """What is recorded in blocks within blocks."""
    x = library.ones(1, requires_grad=True)
    found = []

    def note():
        found.append(((x * 2).requires_grad, library.is_inference_mode_enabled()))

    with library.inference_mode():
        note()
        with library.enable_grad():
            note()
        with library.inference_mode(False):
            note()
    with library.no_grad(), library.inference_mode(mode=False):
        note()
    with library.set_grad_enabled(False):
        note()
        with library.set_grad_enabled(True):
            note()
        note()
    note()
    library.set_grad_enabled(False)
    note()
    with library.set_grad_enabled(True):
        note()
    note()
    library.set_grad_enabled(True)
    note()
    decorated = library.set_grad_enabled(False)(note)
    note()
    decorated()
    note()
    return found


def test_blocks_within_blocks_are_torchs():
    torch = pytest.importorskip("torch")
    assert modes(tc) == modes(torch)


def test_a_mode_is_true_or_false():
    assert message(tc.OptionError, tc.set_grad_enabled, "yes").endswith("expected True or False, got 'yes'")
    assert message(tc.OptionError, tc.inference_mode, 1).endswith("expected True or False, got 1")
    assert recorded()


def test_every_thread_has_its_own_mode():
    inside, checked, results = threading.Event(), threading.Event(), []

    def work():
        results.append(recorded())  # a new thread records
        with tc.no_grad():
            inside.set()
            checked.wait(10)
            results.append(recorded())

    with tc.no_grad():
        thread = threading.Thread(target=work)
        thread.start()
        inside.wait(10)
    results.append(recorded())
    checked.set()
    thread.join(10)
    assert results == [True, True, False]


def test_grad_leaves_what_it_does_not_need():
    """Only what leads to the inputs asked for is walked, freed and computed."""
    w, a = tc.ones(3, requires_grad=True), tc.ones(3, requires_grad=True)
    square = w * w
    seen = []
    square.register_hook(seen.append)
    loss = square.sum() + (a * 2).sum()
    assert tc.grad(loss, [a])[0].tolist() == [2, 2, 2]
    assert seen == []
    square.sum().backward()
    assert w.grad.tolist() == [2, 2, 2]


def test_grad_of_the_input_computes_no_gradient_of_the_weight():
    asked = []

    class Product:
        @staticmethod
        def forward(xp, x, weight):
            return x * weight, (x, weight)

        @staticmethod
        def backward(xp, saved, dy, needs):
            asked.append(needs)
            return dy * saved[1], dy * saved[0]

    x, weight = tc.ones(2, requires_grad=True), tc.ones(2, requires_grad=True)
    tc.grad(tc.apply(Product, x, weight).sum(), [x])
    assert asked == [(True, False)]


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (lambda dy: (dy.sum(),), "returned a gradient of float32 () for input 0, which is float32 (2, 2)"),
        (lambda dy: (dy.astype("f8"),), "returned a gradient of float64 (2, 2) for input 0, which is float32 (2, 2)"),
        (lambda dy: (dy, dy), "must return a tuple with a gradient (or None) for each, got 2 of them"),
        (lambda dy: None, "must return a tuple with a gradient (or None) for each, got a NoneType"),
    ],
)
def test_a_backward_that_returns_the_wrong_thing_is_named(returned, text):
    class Mine:
        @staticmethod
        def forward(xp, x):
            return x * 1, ()

        @staticmethod
        def backward(xp, saved, dy, needs):
            return returned(dy)

    y = tc.apply(Mine, tc.ones(2, 2, requires_grad=True))
    error = message(tc.GraphError, y.backward, tc.ones(2, 2))
    assert error.startswith("backward: Mine (readable) ")
    assert text in error


def test_inside_an_op_nothing_is_recorded():
    class Composite:
        @staticmethod
        def forward(xp, x):
            assert not tc.is_grad_enabled()
            return tc.tensor(x).exp().array, ()

        @staticmethod
        def backward(xp, saved, dy, needs):
            return (dy,)

    assert tc.apply(Composite, tc.zeros(2, requires_grad=True)).tolist() == [1.0, 1.0]


def test_a_gradient_that_cannot_be_added_to_is_copied():
    p = tc.ones(3, requires_grad=True)
    p.grad = tc.ones(1).expand(3)
    (p * 2).sum().backward()
    assert p.grad.tolist() == [3.0, 3.0, 3.0]
