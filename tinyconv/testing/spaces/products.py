"""Products by their names in torch, and einsum with any equation."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyconv.check.draw import FLOATS, Array, Draw
from tinyconv.check.pytorch import torch
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.geometry import any_dtype, any_shape, finite, floats_among, numbers

NUMBERS = (*FLOATS, "int64", "int32")


def product_of(draw: Draw, name: str, *shapes: tuple[int, ...], **options: Any) -> Case:
    """The product of arrays of these shapes, all of one dtype."""
    dtype = any_dtype(draw, NUMBERS)
    arrays = [numbers(draw, shape, dtype) for shape in shapes]
    needs = floats_among(draw, arrays)
    return Case(
        name, arrays, options, needs=needs, magnitude="terms", differentiable=bool(needs), smooth=finite(*arrays)
    )


def sizes(draw: Draw, count: int, least: int = 0) -> tuple[int, ...]:
    return tuple(draw.integer(1, 4) if draw.integer(0, 6) else least for _ in range(count))


@space("mm")
def mm(draw: Draw) -> Case:
    n, k, m = sizes(draw, 3)
    return product_of(draw, "mm", (n, k), (k, m))


@space("bmm")
def bmm(draw: Draw) -> Case:
    b, n, k, m = sizes(draw, 4)
    return product_of(draw, "bmm", (b, n, k), (b, k, m))


@space("mv")
def mv(draw: Draw) -> Case:
    n, k = sizes(draw, 2)
    return product_of(draw, "mv", (n, k), (k,))


@space("dot")
def dot(draw: Draw) -> Case:
    (k,) = sizes(draw, 1)
    return product_of(draw, "dot", (k,), (k,))


@space("outer")
def outer(draw: Draw) -> Case:
    n, m = sizes(draw, 2)
    return product_of(draw, "outer", (n,), (m,))


@space("inner")
def inner(draw: Draw) -> Case:
    (k,) = sizes(draw, 1)
    shapes = [(*any_shape(draw, 0, 2, 3), k) if draw.integer(0, 3) else () for _ in range(2)]
    draw.note_if(() in shapes, "0-d operand")
    return product_of(draw, "inner", *shapes)


@space("kron")
def kron(draw: Draw) -> Case:
    return product_of(draw, "kron", any_shape(draw, 0, 3, 3), any_shape(draw, 0, 3, 3))


@space("trace")
def trace(draw: Draw) -> Case:
    return product_of(draw, "Tensor.trace", sizes(draw, 2))


def added(draw: Draw, name: str, result: tuple[int, ...], *shapes: tuple[int, ...]) -> Case:
    """beta input + alpha product, where the input may broadcast."""
    own = tuple(draw.choice((n, n, 1)) for n in result[draw.choice((0, 0, 1)) :])
    draw.note_if(own != result, "broadcast input")
    options = {name: draw.choice((2, 3, 0)) for name in ("beta", "alpha") if draw.flag()}
    draw.note(*(f"{name}={value}" for name, value in options.items()))
    return product_of(draw, name, own, *shapes, **options)


@space("addmm")
def addmm(draw: Draw) -> Case:
    n, k, m = sizes(draw, 3, 1)
    return added(draw, "addmm", (n, m), (n, k), (k, m))


@space("addmv")
def addmv(draw: Draw) -> Case:
    n, k = sizes(draw, 2, 1)
    return added(draw, "addmv", (n,), (n, k), (k,))


@space("addr")
def addr(draw: Draw) -> Case:
    n, m = sizes(draw, 2, 1)
    return added(draw, "addr", (n, m), (n,), (m,))


@space("baddbmm")
def baddbmm(draw: Draw) -> Case:
    b, n, k, m = sizes(draw, 4, 1)
    return added(draw, "baddbmm", (b, n, m), (b, n, k), (b, k, m))


@space("addbmm")
def addbmm(draw: Draw) -> Case:
    b, n, k, m = sizes(draw, 4, 1)
    return added(draw, "addbmm", (n, m), (b, n, k), (b, k, m))


@space("tensordot")
def tensordot(draw: Draw) -> Case:
    """A number of axes, or two lists of them, in any order and from either end."""
    shared = list(sizes(draw, draw.integer(0, 2)))
    a, b = [*sizes(draw, draw.integer(0, 2)), *shared], [*shared, *sizes(draw, draw.integer(0, 2))]
    if draw.flag():
        draw.note("a number of dims")
        return product_of(draw, "tensordot", tuple(a), tuple(b), dims=len(shared))
    of_a, of_b = [*range(len(a) - len(shared), len(a))], [*range(len(shared))]
    for shape, axes in ((a, of_a), (b, of_b)):  # put the last axis first
        if shape and draw.flag():
            draw.note("axes in any order")
            shape.insert(0, shape.pop())
            axes[:] = [(axis + 1) % len(shape) - (len(shape) if draw.flag() else 0) for axis in axes]
    return product_of(draw, "tensordot", tuple(a), tuple(b), dims=(of_a, of_b))


# --- einsum ---------------------------------------------------------------------------------------------------------


@space("einsum")
def einsum(draw: Draw) -> Case:
    """One to three operands whose axes have any of six names, with repeated ones, `...`, and a result or none."""
    size = {letter: draw.choice((2, 3, 1, 2, 3, 0)) for letter in "abcdeF"}
    under = any_shape(draw, 0, 2, 3) if draw.flag() else None
    terms, shapes, covered = [], [], 0
    for _ in range(draw.integer(1, 3)):
        letters = [draw.choice("abcdeF") for _ in range(draw.integer(0, 3))]
        shape = [size[n] if letters.count(n) > 1 or draw.integer(0, 4) else 1 for n in letters]
        draw.note_if(len(set(letters)) < len(letters), "diagonal")
        draw.note_if(any(n != size[name] for n, name in zip(shape, letters, strict=True)), "size 1 broadcasts")
        if under is not None and draw.integer(0, 3):
            draw.note("...")
            at, own = draw.integer(0, len(letters)), under[draw.integer(0, len(under)) :]
            covered = max(covered, len(own))
            letters.insert(at, "...")
            shape[at:at] = own
        terms.append("".join(letters))
        shapes.append(tuple(shape))
    equation = ",".join(terms)
    used = sorted(set(equation) & set(size))
    if draw.integer(0, 2):
        chosen = [name for name in used if draw.flag()]
        if len(chosen) > 1 and draw.flag():
            chosen.reverse()
        if "..." in equation:
            chosen.insert(draw.integer(0, len(chosen)), "...")
        equation += "->" + "".join(chosen)
    else:
        draw.note("no ->")
    dtype = any_dtype(draw, FLOATS)
    arrays: list[Array] = [numbers(draw, shape, dtype) for shape in shapes]
    listed = draw.flag()

    def ours(*tensors: Any) -> Any:
        import tinyconv as tc

        return tc.einsum(equation, list(tensors)) if listed else tc.einsum(equation, *tensors)

    return Case(
        "einsum",
        arrays,
        needs=floats_among(draw, arrays),
        magnitude="terms",
        ours=ours,
        theirs=lambda *tensors: torch().einsum(equation, *tensors),
        smooth=all(np.isfinite(array).all() for array in arrays),
    )
