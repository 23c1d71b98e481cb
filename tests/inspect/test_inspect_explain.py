"""Explanations: that the terms add up to the number shown, for every op in the argument spaces, both ways."""

import json
from itertools import product

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import nn, ops
from tinyconv.check.draw import RandomDraw
from tinyconv.engine.variants import op_name
from tinyconv.errors import GraphError, ShapeError
from tinyconv.inspect import explain, record
from tinyconv.testing import spaces
from tinyconv.testing.case import SPACES, draw_case

assert spaces  # importing it fills SPACES

SEEDS = 10  # cases of each op


class Asked(nn.Module):
    """A function of arrays as a model: its inputs are parameters, or buffers, and the image is not used."""

    def __init__(self, function, inputs, needs=None):
        super().__init__()
        self.function, self.count = function, len(inputs)
        for i, array in enumerate(inputs):
            t = tc.tensor(array)
            if t.is_floating_point() and (needs is None or i in needs):
                self.register_parameter(f"p{i}", nn.Parameter(t))
            else:
                self.register_buffer(f"p{i}", t)

    def forward(self, x):
        found = self.function(*(getattr(self, f"p{i}") for i in range(self.count)))
        found = [y for y in (found if isinstance(found, tuple | list) else [found]) if y.requires_grad]
        draw = np.random.default_rng(0)
        parts = [(y * tc.tensor(draw.standard_normal(y.shape).astype(y.dtype))).sum().to(tc.float64) for y in found]
        return sum(parts[1:], parts[0]) if parts else x.sum()


def recorded(function, *inputs, needs=None):
    return record(Asked(function, inputs, needs), np.zeros((1, 1), "float32"))


def arrays_of(frame):
    operands = (*frame.inputs, *(frame.twin or frame).inputs)
    return [o.array for o in operands if o.array is not None and o.array.dtype.kind == "f"]


def finite(frame):
    return all(np.isfinite(array).all() for array in arrays_of(frame))


def cells(frame, draw, count=2):
    """Some cells of each operand that can be explained."""
    for operand in frame.outputs[:1] if frame.direction == "forward" else frame.outputs:
        array = operand.array
        if array is not None and array.size and array.dtype.kind == "f":
            for _ in range(count):
                yield operand.argument, tuple(int(draw.integers(n)) for n in array.shape)


def check(frame, which, cell):
    """The explanation, after a look at whether its terms add up to the number in the frame, to rounding."""
    found = explain(frame, which, cell)
    (array,) = (o.array for o in frame.outputs if o.argument == which)
    assert found.total == array[cell]
    assert found.count == len(found.terms)
    products = [term.product for term in found.terms]
    assert found.sum == pytest.approx(sum(products), abs=1e-12 * sum(map(abs, products)))
    # A coefficient is as exact as what it is computed from: 1 - 1/n - x^2/n may be 0.
    size = (
        sum(abs(t.product) for t in found.terms)
        + abs(found.remainder)
        + max(abs(a).max(initial=0) for a in arrays_of(frame))
    )
    assert abs(found.sum + found.remainder - found.total) <= 16 * np.finfo(array.dtype).eps * size, found
    return found


LINEAR = {
    *(
        "conv2d",
        "linear",
        "Matmul",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Neg",
        "Mean",
        "Sum",
        "Copy",
        "Cast",
        "Where",
        "Dropout",
    ),
    *("Reshape", "Permute", "Expand", "Index", "Pick", "Cat", "Stack", "Pad", "AvgPool2d", "AdaptiveAvgPool2d"),
    *("NllLoss", "Put", "AddAt"),
}
STRAIGHT = {
    *("Relu", "LeakyRelu", "Abs", "Amax", "Amin", "Maximum", "Minimum", "max_pool2d", "AdaptiveMaxPool2d", "L1Loss"),
    "relu_max_pool2d",
}
"""Ops that are straight from 0 to any point: their terms leave nothing."""


def checked(frame, draw):
    """How many cells of the frame were explained; nothing that an op leaves is taken on trust where it can be known."""
    count = 0
    for which, cell in cells(frame, draw):
        found = check(frame, which, cell)
        count += 1
        if frame.direction == "backward":
            assert found.linear
            assert found.remainder == 0
        elif frame.name in LINEAR and not (frame.name == "Div" and frame.inputs[0].array is None):
            assert found.linear, (frame, found)
            assert found.remainder == constant(frame)(cell), (frame, found)
        elif frame.name in STRAIGHT:
            assert found.remainder == 0, (frame, found)
    return count


def constant(frame):
    """What a linear op gives where the inputs that it is linear in are 0: a number that it is called with, or 0."""
    numbers = {o.argument: o.value for o in frame.inputs if o.array is None and o.value is not None}
    if frame.name == "Pad":
        inside = np.pad(np.ones(frame.inputs[0].array.shape), frame.geometry["widths"])
        return lambda cell: 0 if inside[cell] else np.float32(frame.geometry["value"])
    if frame.name == "Where" and numbers:
        chosen = np.broadcast_to(frame.inputs[0].array, frame.outputs[0].array.shape)
        return lambda cell: numbers.get("a" if chosen[cell] else "b", 0)
    if frame.name in ("Add", "Sub"):
        return lambda cell: numbers.get("a", 0) + numbers.get("b", 0) * (1 if frame.name == "Add" else -1)
    return lambda cell: 0


def differentiable(frame):
    """Whether the op has a gradient, and the frame holds nothing that is not finite."""
    ran = frame.twin or frame
    operands = (*frame.inputs, *frame.outputs, *ran.inputs, *ran.outputs)
    return ran.partner is not None and all(np.isfinite(o.array).all() for o in operands if o.array is not None)


@pytest.mark.parametrize("name", sorted(name for name in SPACES if name != "__setitem__"))
def test_terms_add_up(name):
    """Forwards, and for every gradient."""
    seen, asked = 0, False
    for seed in range(SEEDS):
        case, draw = draw_case(name, RandomDraw(seed)), np.random.default_rng(seed)
        if case.differentiable:
            asked = True
            frames = recorded(case.function(), *case.inputs, needs=case.needs).frames
            seen += sum(checked(frame, draw) for frame in frames if differentiable(frame))
    assert bool(seen) == asked


# --- every op -------------------------------------------------------------------------------------------------------

X = np.arange(-6, 6, dtype="float32").reshape(3, 4) + 0.5
APART = {
    "Put": lambda x: tc.apply(ops.Put, x, x[0] * 2, index=(1,)),
    "LogAddExp": lambda x: tc.apply(ops.LogAddExp, x, -2 * x),
    "AddAt": lambda x: tc.apply(ops.AddAt, x, x[:2] * 2, index=([1, 1],)),
}
"""Ops that only a gradient's gradient runs."""


@pytest.mark.parametrize("name", APART)
def test_terms_of_an_op_that_no_space_has_add_up(name):
    frames = [frame for frame in recorded(APART[name], X).frames if frame.name == name]
    assert [frame.direction for frame in frames] == ["forward", "backward"]
    for frame in frames:
        assert checked(frame, np.random.default_rng(0)) >= 2


def test_no_op_is_left_out():
    left = {op_name(getattr(ops, name)) for name in ops.__all__} - set(APART)
    for seed, name in product(range(40), sorted(SPACES)):
        case = draw_case(name, RandomDraw(seed))
        if left and case.differentiable and name != "__setitem__":
            frames = recorded(case.function(), *case.inputs, needs=case.needs).frames
            left -= {frame.name for frame in frames if frame.direction == "backward" and differentiable(frame)}
    assert not left


# --- one number, looked at closely ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lenet():
    tc.manual_seed(0)
    image = np.random.default_rng(0).standard_normal((1, 28, 28)).astype("float32")
    return record(tc.models.lenet5(), image, 7)


def test_a_cell_of_a_convolution(lenet):
    frame = lenet.frames[3]
    x, weight, bias = (o.array for o in frame.inputs)
    found = explain(frame, "y", (0, 2, 3, 4))
    assert (found.frame, found.which, found.cell, found.count) == (3, "y", (0, 2, 3, 4), 151)
    assert found.linear
    assert found.remainder == 0
    assert found.windows == {"x": ((0, 1), (0, 6), (3, 8), (4, 9)), "bias": ((2, 3),)}
    *window, last = found.terms
    assert [term.place for term in window] == [(0, *at) for at in product(range(6), range(3, 8), range(4, 9))]
    assert [term.value for term in window] == x[0, :, 3:8, 4:9].ravel().tolist()
    assert [term.coefficient for term in window] == weight[2].ravel().tolist()
    assert [(term.of, term.at) for term in window] == [("weight", (2, *at)) for at in np.ndindex(6, 5, 5)]
    assert last == ("bias", (2,), bias[2], 1.0, None, None)
    assert last.product == bias[2]


def test_cells_of_the_gradients_of_a_convolution(lenet):
    frame = lenet.frames[22]
    dy, weight, x = frame.inputs[0].array, frame.twin.inputs[1].array, frame.twin.inputs[0].array
    found = explain(frame, "dx", (0, 3, 5, 4))
    assert found.windows == {"dy": ((0, 1), (0, 16), (1, 6), (0, 5))}
    assert found.count == 16 * 25
    for term in found.terms:
        _, f, i, j = term.place
        assert (term.argument, term.of, term.at) == ("dy", "weight", (f, 3, 5 - i, 4 - j))
        assert term.value == dy[term.place]
        assert term.coefficient == weight[term.at]
    found = explain(frame, "dweight", (1, 2, 3, 4))
    for term in found.terms:
        assert (term.of, term.at) == ("x", (0, 2, term.place[2] + 3, term.place[3] + 4))
        assert term.coefficient == x[term.at]
    found = explain(frame, 2, [5])
    assert found.which == "dbias"
    assert {(term.coefficient, term.of) for term in found.terms} == {(1.0, None)}
    assert found.windows == {"dy": ((0, 1), (5, 6), (0, 8), (0, 8))}


def test_a_maximum_shows_its_window_and_its_winner(lenet):
    frame = lenet.frames[2]
    x = frame.inputs[0].array
    found = explain(frame, "y", (0, 2, 3, 4))
    assert found.windows == {"x": ((0, 1), (2, 3), (6, 8), (8, 10))}
    ((argument, place, value, coefficient, *_),) = found.terms
    assert (argument, value, coefficient) == ("x", x[0, 2, 6:8, 8:10].max(), 1.0)
    assert (found.linear, found.remainder) == (False, 0)
    assert explain(lenet.frames[23], "dx", place).terms[0].place == (0, 2, 3, 4)
    loser = next(at for at in product([0], [2], [6, 7], [8, 9]) if at != place)
    assert explain(lenet.frames[23], "dx", loser).count == 0


def test_a_cell_that_relu_cuts_off_has_a_term_of_0(lenet):
    frame = lenet.frames[1]
    cell = tuple(np.argwhere(frame.inputs[0].array < 0)[0].tolist())
    for number, which in ((1, "y"), (24, "dx")):
        (term,) = explain(lenet.frames[number], which, cell).terms
        assert (term.place, term.coefficient) == (cell, 0)


def test_slopes_of_an_op_that_is_not_linear_are_its_slopes():
    """Compared with differences; and what they leave is said."""
    x = np.random.default_rng(0).standard_normal((2, 5))
    for function in (tc.exp, tc.sigmoid, lambda t: tc.softmax(t, 1), lambda t: t.std(1), lambda t: t**3):
        frame = next(frame for frame in recorded(function, x).frames if frame.partner is not None)
        y = frame.outputs[0].array
        cell = (1,) * y.ndim
        found = explain(frame, "y", cell)
        assert not found.linear
        assert found.remainder == pytest.approx(found.total - found.sum, abs=1e-12)
        for term in found.terms:
            step = np.zeros_like(x)
            step[term.place] = 1e-6
            moved = [function(tc.tensor(x + sign * step)).numpy()[cell] for sign in (1, -1)]
            assert term.coefficient == pytest.approx((moved[0] - moved[1]) / 2e-6, abs=1e-7)


def test_coefficients_of_a_gradient_are_the_slopes_of_the_outputs(lenet):
    """The other way round: dx[k] hangs on dy[j] as y[j] hangs on x[k]."""
    for number in (13, 15, 20):
        back = lenet.frames[number]
        x = back.outputs[0].array
        cell = np.unravel_index(int(abs(x).argmax()), x.shape)
        found = explain(back, "dx", cell)
        assert found.count > 0
        for term in found.terms:
            slopes = {t.place: t.coefficient for t in explain(back.twin, "y", term.place).terms}
            assert slopes[cell] == pytest.approx(term.coefficient, rel=1e-5)


def test_the_constant_of_an_affine_op_is_its_remainder():
    tc.manual_seed(0)
    bn = nn.BatchNorm2d(2).eval()
    bn.running_mean += 3
    bn.bias.data += 0.5
    found = explain(record(bn, np.ones((2, 3, 3), "float32"), loss=lambda y, _: y.sum()).frames[0], "y", (0, 1, 2, 2))
    assert found.linear
    assert [term.argument for term in found.terms] == ["x", "bias"]
    assert found.remainder == pytest.approx(-3 / (1 + 1e-5) ** 0.5)


class Sinh:
    """y = sinh x;  dx = dy cosh x. No tape records what its backward does with dy."""

    @staticmethod
    def forward(xp, x):
        return xp.sinh(x), (x,)

    @staticmethod
    def backward(xp, saved, dy, needs):
        (x,) = saved
        return (xp.einsum("ij,ij->ij", dy, xp.cosh(x)),)


def test_an_op_that_cannot_be_recorded_is_tried_cell_by_cell():
    frames = recorded(lambda x: tc.apply(Sinh, x), X / 6).frames
    (back,) = (frame for frame in frames if frame.name == "Sinh" and frame.direction == "backward")
    (term,) = check(back, "dx", (2, 1)).terms
    assert (term.place, term.coefficient) == ((2, 1), np.cosh(X / 6)[2, 1])
    frames = recorded(lambda x: tc.apply(Sinh, x), np.ones((40, 40), "float32")).frames
    (back,) = (frame for frame in frames if frame.name == "Sinh" and frame.direction == "backward")
    with pytest.raises(GraphError, match=r"uses xp\.einsum, which cannot be recorded"):
        explain(back, "dx", (2, 1))


def test_a_long_sum_is_listed_in_part():
    x = np.ones((5000,), "float32")
    found = explain(recorded(lambda t: t.sum(), x).frames[0], "y")
    assert (found.total, found.sum, found.count, len(found.terms)) == (5000, 5000, 5000, 4096)


def test_an_explanation_says_what_it_is(lenet):
    found = explain(lenet.frames[3], "y", (0, 2, 3, 4))
    assert repr(found).startswith("<y[0, 2, 3, 4] = ")
    assert repr(found).count("the sum of 151 terms, ") == 1
    assert repr(explain(lenet.frames[1], "y", (0, 0, 0, 0))).count("the sum of 1 term,") == 1
    first, *_, last = found.terms
    assert str(first).startswith("x[0, 0, 3, 4] ")
    assert " * weight[2, 0, 0, 0] " in str(first)
    assert str(last) == f"bias[2] {last.value:.6g} * 1 = {last.value:.6g}"
    told = json.loads(json.dumps(found.to_dict()))
    keys = ("frame", "which", "cell", "total", "terms", "count", "sum", "remainder", "linear", "windows")
    assert tuple(told) == keys
    assert told["terms"][0]["product"] == found.terms[0].product
    assert tuple(told["terms"][0]) == ("argument", "place", "value", "coefficient", "of", "at", "product")


def test_a_coefficient_of_1_is_no_weight_that_happens_to_be_1():
    """The bias of a fresh BatchNorm has coefficients of 1, but for rounding, and its weights are 1."""
    model = nn.Sequential(nn.BatchNorm2d(4), nn.Flatten()).eval()
    model[0].running_mean.copy_(tc.tensor([0.3, -1.7, 0.9, 2.1]))
    frame = record(model, np.random.default_rng(0).standard_normal((4, 5, 5)).astype("float32"), 3).frames[-1]
    for channel in range(4):
        assert {(t.of, t.coefficient) for t in explain(frame, "dbias", (channel,)).terms} == {(None, 1.0)}


@pytest.mark.parametrize(
    ("number", "which", "cell", "error", "said"),
    [
        (0, "z", (), ShapeError, "has no 'z'; it has y"),
        (0, 3, (), ShapeError, "has no 3; it has y"),
        (0, "y", (0, 1, 2), ShapeError, r"no cell \(0, 1, 2\) in an array of shape \(1, 6, 24, 24\)"),
        (0, "y", (0, 6, 0, 0), ShapeError, r"no cell \(0, 6, 0, 0\)"),
        (0, "y", (0, -1, 0, 0), ShapeError, r"no cell \(0, -1, 0, 0\)"),
        (2, 1, (0, 0, 0, 0), GraphError, r"y\[1\] of <2 forward max_pool2d.* has no gradient"),
        (13, "dweight", (), GraphError, "nothing needs dweight of <13 backward CrossEntropy"),
    ],
)
def test_what_cannot_be_explained(lenet, number, which, cell, error, said):
    with pytest.raises(error, match=said):
        explain(lenet.frames[number], which, cell)
