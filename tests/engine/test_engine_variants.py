"""Variants: choosing among pairs, adding one, and ops of one's own."""

import threading

import numpy as np
import pytest
from messages import message

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import ops, variants
from tinyconv.engine.variants import op_name, select


@pytest.fixture(autouse=True)
def table_as_it_was(monkeypatch):
    monkeypatch.setattr(variants, "_table", {op: dict(rows) for op, rows in variants._table.items()})
    monkeypatch.setattr(variants, "_offered", [])
    for op in list(variants.defaults):
        monkeypatch.delitem(variants.defaults, op)


def in_use(op=ops.Conv2d, backend="numpy", arrays=(), **geometry):
    """What `op` would run with: the name of the variant, or None for the op itself."""
    pair = select(op, backend, list(arrays), geometry)
    rows = variants._table[op_name(op)]
    return next((name for name, found in rows.items() for v in found if v.pair is pair and pair is not op), None)


def enter(*args, **kwargs):
    with tc.using(*args, **kwargs):
        pass


# --- choosing -------------------------------------------------------------------------------------------------------


def test_the_table():
    assert variants.available("linear")[:2] == ["im2col", "loop"]
    assert set(variants.available()) >= {"conv2d", "max_pool2d", "linear"}


def test_nested_choices_add_up_and_the_innermost_wins():
    assert in_use() is None
    with tc.using(conv2d="loop"):
        with tc.using(linear="loop"):
            assert (in_use(), in_use(ops.Linear), in_use(ops.MaxPool2d)) == ("loop", "loop", None)
            with tc.using(conv2d="im2col"):
                assert (in_use(), in_use(ops.Linear)) == (None, "loop")
            assert in_use() == "loop"
        assert in_use(ops.Linear) is None
    assert in_use() is None


def test_one_name_for_every_op_that_has_it():
    with tc.using("loop"):
        assert in_use() == in_use(ops.Linear) == in_use(ops.MaxPool2d) == "loop"
    with tc.using("loop", conv2d="im2col"):
        assert (in_use(), in_use(ops.Linear)) == (None, "loop")


def test_the_choice_before_comes_back_after_an_exception():
    with pytest.raises(KeyError), tc.using(conv2d="loop"):
        raise KeyError
    assert in_use() is None


def test_as_a_decorator():
    @tc.using(conv2d="loop")
    def chosen():
        return in_use()

    assert [chosen(), chosen()] == ["loop", "loop"]
    assert in_use() is None


def test_every_thread_chooses_for_itself():
    found = []
    with tc.using("loop"):
        thread = threading.Thread(target=lambda: found.append(in_use()))
        thread.start()
        thread.join(10)
    assert found == [None]


def test_unknown_names_list_the_choices():
    tc.register("linear", "mine", ops.Linear)
    names = ", ".join(variants._table["linear"])
    assert message(tc.VariantError, enter, linear="lop") == f"linear has no variant 'lop'; it has readable, {names}"
    assert names.startswith("im2col, loop")
    assert names.endswith("mine")
    known = ", ".join(variants._table)
    assert message(tc.VariantError, enter, conv3d="loop") == f"no op 'conv3d' has variants; these do: {known}"
    assert message(tc.VariantError, variants.available, "conv3d") == f"no op 'conv3d' has variants; these do: {known}"
    assert message(tc.VariantError, enter, "lop") == "no op has a variant 'lop'; there are readable, " + ", ".join(
        dict.fromkeys(name for row in variants.available().values() for name in row)
    )
    assert in_use() is None


@pytest.mark.parametrize("backward_with", [None, "loop", "im2col"])
def test_backward_uses_the_pair_that_forward_used(backward_with):
    x, weight = tc.randn(1, 2, 4, 4, requires_grad=True), tc.randn(3, 2, 3, 3, requires_grad=True)
    expected = tc.grad((F.conv2d(x, weight) ** 2).sum(), [x, weight])
    with tc.using(conv2d="loop"):
        y = F.conv2d(x, weight)
        loss = (y * y).sum()
    if backward_with is None:
        found = tc.grad(loss, [x, weight])
    else:
        with tc.using(conv2d=backward_with):
            found = tc.grad(loss, [x, weight])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


# --- adding ---------------------------------------------------------------------------------------------------------


class Doubled:
    """A linear layer that is wrong on purpose, and so recognisable."""

    @staticmethod
    def forward(xp, x, weight, bias):
        return 2 * (x @ weight.T), (x, weight)

    @staticmethod
    def backward(xp, saved, dy, needs):
        x, weight = saved
        return 2 * dy @ weight, 2 * dy.T @ x, None


def test_a_variant_of_ones_own():
    tc.register("linear", "doubled", Doubled)
    x, weight = tc.ones(1, 2, requires_grad=True), tc.ones(1, 2, requires_grad=True)
    assert F.linear(x, weight).item() == 2.0
    with tc.using(linear="doubled"):
        y = F.linear(x, weight)
        wrong = message(tc.ShapeError, F.linear, tc.ones(1, 3), weight)
    assert y.item() == 4.0
    y.backward()
    assert x.grad.tolist() == [[2.0, 2.0]]
    assert wrong.startswith("linear: expected 2 features")  # the op's own check comes first, whatever the variant


def test_a_half_pair_is_refused():
    class Half:
        forward = staticmethod(Doubled.forward)

    expected = f"register('linear', 'half'): {Half!r} has no backward; a variant is a whole pair"
    assert message(tc.VariantError, tc.register, "linear", "half", Half) == expected
    assert "half" not in variants.available("linear")


def test_where_it_does_not_apply_the_op_itself_runs():
    tc.register("linear", "doubled", Doubled, applies=lambda x, weight, bias: bias is None and len(x) == 1)
    weight = tc.ones(1, 2)
    with tc.using(linear="doubled"):
        assert F.linear(tc.ones(1, 2), weight).item() == 4.0
        assert F.linear(tc.ones(1, 2), weight, tc.zeros(1)).item() == 2.0
        assert F.linear(tc.ones(2, 2), weight).tolist() == [[2.0], [2.0]]


def test_on_another_backend_the_op_itself_runs():
    tc.register("linear", "doubled", Doubled, backend="cupy")
    with tc.using(linear="doubled"):
        assert in_use(ops.Linear, "cupy") == "doubled"
        assert in_use(ops.Linear, "numpy") is None
        assert F.linear(tc.ones(1, 2), tc.ones(1, 2)).item() == 2.0


# --- ops of one's own -----------------------------------------------------------------------------------------------


class Cube:
    """y = x^3;  dx = 3 x^2 dy."""

    @staticmethod
    def forward(xp, x):
        return x * x * x, (x,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (x,) = saved
        return (3 * x * x * dy,)


class Divmod:
    """y = x - n q, where q = floor(x / n) comes beside it;  dx = dy."""

    name = "divmod"

    @staticmethod
    def check(x, *, n):
        if n == 0:
            raise tc.ShapeError("divmod: n must not be 0")

    @staticmethod
    def forward(xp, x, *, n):
        q = xp.floor(x / n)
        return (x - n * q, q, q.astype("int64")), ()

    @staticmethod
    def backward(xp, saved, dy, needs, *, n):
        return (dy,)


def test_an_op_of_ones_own():
    x = tc.tensor([1.0, 2.0], requires_grad=True)
    y = tc.apply(Cube, x)
    assert repr(y) == "tensor([1., 8.], grad_fn=<Cube (readable)>)"
    (y * y.detach()).sum().backward()
    assert x.grad.tolist() == [3.0, 96.0]


def test_an_op_with_several_outputs():
    x = tc.tensor([5.0, -3.0], requires_grad=True)
    remainder, quotient, integers = tc.apply(Divmod, x, n=4)
    assert (remainder.tolist(), quotient.tolist(), integers.tolist()) == ([1.0, 1.0], [1.0, -1.0], [1, -1])
    assert [t.requires_grad for t in (remainder, quotient, integers)] == [True, False, False]
    (remainder * quotient).sum().backward()
    assert x.grad.tolist() == [1.0, -1.0]
    assert message(tc.ShapeError, tc.apply, Divmod, x, n=0) == "divmod: n must not be 0"


def test_an_op_that_returns_too_few_gradients():
    class Forgetful(Cube):
        @staticmethod
        def forward(xp, x, y):
            return x * y, (x,)

    y = tc.apply(Forgetful, tc.ones(1, requires_grad=True), tc.ones(1, requires_grad=True))
    assert "Forgetful (readable) has 2 inputs" in message(tc.GraphError, y.backward)


def test_an_op_of_ones_own_can_have_variants():
    class Named(Cube):
        name = "cube"

    class Zero:
        @staticmethod
        def forward(xp, x):
            return x * 0, ()

        @staticmethod
        def backward(xp, saved, dy, needs):
            return (dy * 0,)

    tc.register("cube", "zero", Zero)
    with tc.using(cube="zero"):
        assert tc.apply(Named, tc.ones(1)).item() == 0.0
    assert tc.apply(Named, tc.ones(1)).item() == 1.0


def test_one_name_on_two_backends():
    numpy_pair, cupy_pair = (type("Pair", (ops.Conv2d,), {}) for _ in range(2))
    variants.register("conv2d", "both", numpy_pair, backend="numpy")
    variants.register("conv2d", "both", cupy_pair, backend="cupy")
    with tc.using(conv2d="both"):
        assert select(ops.Conv2d, "numpy", [], {}) is numpy_pair
        assert select(ops.Conv2d, "cupy", [], {}) is cupy_pair


def test_an_op_without_a_name_goes_by_that_of_its_class():
    class Seven(ops.Relu):
        @staticmethod
        def forward(xp, x):
            return x * 0 + 7, (x,)

    variants.register("Relu", "seven", Seven)
    with tc.using(Relu="seven"):
        assert tc.ones(2).relu().tolist() == [7.0, 7.0]


# --- what is no op --------------------------------------------------------------------------------------------------


def test_a_form_runs_where_it_is_registered_and_chosen(monkeypatch):
    class Form:
        def applies(self, n):
            return n < 10

    quick, other = Form(), object()
    for name in ("rule", "other"):
        monkeypatch.setitem(variants.defaults, name, [])
    variants.register_kernel("rule", "quick", quick, backend="cupy")
    variants.register_kernel("other", "quick", other, backend="cupy")
    variants.defaults["other"] = []
    assert variants.kernel_for("rule", "cupy", 9) is quick
    assert [variants.kernel_for("rule", "cupy", 10), variants.kernel_for("rule", "numpy", 9)] == [None, None]
    assert [variants.kernel_for("other", "cupy"), variants.kernel_for("unknown", "cupy")] == [None, None]
    with tc.using("readable"):
        assert variants.kernel_for("rule", "cupy", 9) is None
    with tc.using("quick"):
        assert variants.kernel_for("other", "cupy") is other
        with tc.using(rule="readable"):
            assert variants.kernel_for("rule", "cupy", 9) is None
    with tc.using(other="quick"):
        assert variants.kernel_for("other", "cupy") is other
        assert variants.kernel_for("other", "numpy") is None
