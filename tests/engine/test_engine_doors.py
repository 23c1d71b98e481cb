"""Every door leads to the readable backward: what prints a node, a tensor or an error says where it is to be read."""

import inspect
import re
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
    """The lines of a file from this one on."""
    return "\n".join((ROOT / place).read_text(encoding="utf-8").splitlines()[int(line) - 1 :])


@pytest.mark.parametrize("name", sorted(name for name in vars(ops) if inspect.isclass(getattr(ops, name))))
def test_the_place_of_an_op_is_its_backward(name):
    op = getattr(ops, name)
    path, line = re.fullmatch(PLACE, variants.place_of(op)).groups()
    assert path.startswith("tinyconv/ops/")
    assert re.match(r"\s+@(static|class)method\n\s+def backward\(", source_at(path, line))


def test_a_node_names_the_op_and_where_it_is_read():
    x = tc.ones(2, requires_grad=True)
    said = repr((x * x).grad_fn)
    assert re.fullmatch(rf"<Mul \(readable\): {PLACE}>", said)
    assert "def backward(xp, saved, dy, needs):\n        a, b = saved" in source_at(*re.search(PLACE, said).groups())


@pytest.mark.parametrize(("variant", "ran"), [("tiled", "fast/numpy/conv"), ("loop", "ops/loops")])
def test_a_node_names_the_pair_that_ran_too(variant, ran):
    with tc.using(conv2d=variant):
        y = F.conv2d(tc.ones(16, 1, 6, 6), tc.ones(2, 1, 3, 3, requires_grad=True))
    said = re.fullmatch(rf"<conv2d \({variant}\): {PLACE}; ran {PLACE}>", repr(y.grad_fn))
    assert said[1] == "tinyconv/ops/conv.py"
    assert said[3] == f"tinyconv/{ran}.py"
    assert "def backward(" in source_at(said[3], said[4]).splitlines()[1]


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
    assert re.fullmatch(rf"in the backward of Broken \(readable\): {PLACE}", note)


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
