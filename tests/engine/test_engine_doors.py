"""Every door leads to the readable backward: what prints a node, a tensor or an error says where it is to be read."""

import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import ops
from tinyconv.engine import variants

ROOT = Path(tc.__file__).parents[1]
PLACE = r"(\S+\.py):(\d+)"


def source_at(place, line):
    """The name of the function whose body begins at this line of a file, and the lines from there on."""
    lines = (ROOT / place).read_text(encoding="utf-8").splitlines()
    above = "\n".join(lines[: int(line)])
    name = re.findall(r"def (\w+)\(|(\w+) = staticmethod\(lambda", above)[-1]
    return "".join(name), lines[int(line) - 1 :]


@pytest.mark.parametrize("name", sorted(name for name in vars(ops) if inspect.isclass(getattr(ops, name))))
def test_the_place_of_an_op_is_its_backward(name):
    op = getattr(ops, name)
    path, line = re.fullmatch(PLACE, variants.place_of(op)).groups()
    assert path.startswith("tinyconv/ops/")
    assert source_at(path, line)[0] == "backward"


def test_a_node_names_the_op_and_where_it_is_read():
    x = tc.ones(2, requires_grad=True)
    said = repr((x * x).grad_fn)
    assert re.fullmatch(rf"<Mul \(readable\): {PLACE}>", said)
    name, lines = source_at(*re.search(PLACE, said).groups())
    assert (name, lines[0].strip()) == ("backward", "a, b = saved")


@pytest.mark.parametrize(("variant", "ran"), [("tiled", "fast/numpy/conv"), ("loop", "ops/loops")])
def test_a_node_names_the_pair_that_ran_too(variant, ran):
    with tc.using(conv2d=variant):
        y = F.conv2d(tc.ones(16, 1, 6, 6), tc.ones(2, 1, 3, 3, requires_grad=True))
    said = re.fullmatch(rf"<conv2d \({variant}\): {PLACE}; ran {PLACE}>", repr(y.grad_fn))
    assert said[1] == "tinyconv/ops/conv.py"
    assert said[3] == f"tinyconv/{ran}.py"
    assert source_at(said[3], said[4])[0] == "backward"


def test_a_node_of_a_fused_op_names_its_parts():
    y = tc.apply(ops.LinearRelu, tc.ones(2, 3), tc.ones(4, 3, requires_grad=True), None)
    assert re.fullmatch(rf"<linear_relu \(tiled\): linear {PLACE} \+ Relu {PLACE}; ran {PLACE}>", repr(y.grad_fn))
    assert repr(y.grad_fn.parents) == "[None, <Leaf: float32 (4, 3)>, None]"


def test_a_debugger_stops_at_the_line_that_is_printed():
    """A line that holds no code of the body would never be reached."""
    x = tc.ones(2, requires_grad=True)
    y = (x * x).sum()
    path, line = re.search(PLACE, repr((x * x).grad_fn)).groups()
    reached = set()

    def trace(frame, event, arg):
        if frame.f_code.co_filename == str(ROOT / path):
            reached.add(frame.f_lineno)
        return trace

    sys.settrace(trace)
    try:
        y.backward()
    finally:
        sys.settrace(None)
    assert int(line) in reached


def test_a_tensor_names_op_and_pair():
    x = tc.ones(2, requires_grad=True)
    assert repr(x * 2) == "tensor([2., 2.], grad_fn=<Mul (readable)>)"
    with tc.using(linear="loop"):
        assert "grad_fn=<linear (loop)>" in repr(F.linear(x[None], tc.ones(1, 2)))


def test_a_profiled_node_names_the_pair_and_not_its_clock():
    x = tc.ones(2, requires_grad=True)
    with tc.profile():
        y = x * 2
    assert re.fullmatch(rf"<Mul \(readable\): {PLACE}>", repr(y.grad_fn))


class Broken:
    """An op whose backward fails by itself."""

    @staticmethod
    def forward(xp, x):
        return x + 1, ()

    @staticmethod
    def backward(xp, saved, dy, needs):
        return (dy @ np.ones(7),)


def test_an_error_inside_a_backward_says_whose_it_is():
    y = tc.apply(Broken, tc.ones(2, requires_grad=True)).sum()
    with pytest.raises(ValueError, match="matmul") as raised:
        y.backward()
    (note,) = raised.value.__notes__
    assert re.fullmatch(rf"in the backward of <Broken \(readable\): {PLACE}>", note)


def test_the_errors_of_the_tape_are_signed_too():
    x = tc.ones(2, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(tc.GraphError, match="walked before") as raised:
        y.backward()
    assert re.fullmatch(rf"<Sum \(readable\): {PLACE}>", *raised.value.__notes__)


def test_a_pair_without_source_is_named():
    class Compiled:
        forward = backward = staticmethod(abs)

    class NoBackward:
        @staticmethod
        def forward(xp, x):
            return x + 1, ()

    assert variants.place_of(Compiled).endswith("test_a_pair_without_source_is_named.<locals>.Compiled")
    y = tc.apply(NoBackward, tc.ones(2, requires_grad=True))
    assert re.fullmatch(r"<NoBackward \(readable\): \S+NoBackward>", repr(y.grad_fn))
