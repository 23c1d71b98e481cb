"""The argument spaces of matrix products."""

from __future__ import annotations

import numpy as np

from tinyconv.check.draw import Draw
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.geometry import finite, floats_among
from tinyconv.testing.spaces.keywords import keyword_case

VALUES = ("normal", "ties", "normal", "special")


@space("linear")
def linear(draw: Draw) -> Case:
    lead = draw.shape(max_dims=3, max_side=3)
    i, o, dtype = draw.integer(0, 5), draw.integer(0, 5), draw.dtype()
    draw.note(f"{len(lead)} leading axes" if len(lead) != 1 else "1 leading axis")
    arrays = {"input": draw.array((*lead, i), dtype, VALUES), "weight": draw.array((o, i), dtype, VALUES)}
    if draw.flag():
        arrays["bias"] = draw.array((o,), dtype, VALUES)
    draw.note("bias" if "bias" in arrays else "no bias")
    needs = floats_among(draw, list(arrays.values()))
    return keyword_case("functional.linear", arrays, {}, needs=needs, magnitude="terms")


@space("bilinear")
def bilinear(draw: Draw) -> Case:
    lead = draw.shape(1, 2, 1, 3)  # torch wants a batch
    i, j, k, dtype = draw.integer(1, 4), draw.integer(1, 4), draw.integer(1, 3), draw.dtype()
    shapes = {"input1": (*lead, i), "input2": (*lead, j), "weight": (k, i, j)}
    arrays = {name: draw.array(shape, dtype) for name, shape in shapes.items()}
    if draw.flag():
        arrays["bias"] = draw.array((k,), dtype)
    draw.note("bias" if "bias" in arrays else "no bias")
    return keyword_case("functional.bilinear", arrays, {}, magnitude="terms")


@space("embedding")
def embedding(draw: Draw) -> Case:
    rows, size, dtype = draw.integer(1, 5), draw.integer(0, 4), draw.dtype()
    shape = draw.shape(max_dims=2, min_side=1, max_side=4)  # torch's backward fails where there is nothing
    index = draw.values(shape, np.int64, "ties") % rows
    options, padded = {}, False
    if draw.flag():
        options["padding_idx"] = place = draw.integer(-rows, rows - 1)
        draw.note("padding_idx")
        padded = bool((index == place % rows).any())  # it has no gradient, though it is used
    arrays = {"input": index, "weight": draw.array((rows, size), dtype, VALUES)}
    return keyword_case("functional.embedding", arrays, options, needs=[1], magnitude="terms", smooth=not padded)


@space("matmul")
def matmul(draw: Draw) -> Case:
    batch = draw.shape(max_dims=2, max_side=3)
    i, j, k = (draw.integer(0, 4) for _ in "ijk")
    leads = [tuple(draw.choice([n, 1]) for n in batch[draw.integer(0, len(batch)) :]) for _ in "ab"]
    a = draw.choice([(*leads[0], i, k), (*leads[0], i, k), (k,)])
    b = draw.choice([(*leads[1], k, j), (*leads[1], k, j), (k,)])
    draw.note(" @ ".join({1: "vector", 2: "matrix"}.get(len(shape), "batch") for shape in (a, b)))
    if len(a) > 1 < len(b):
        draw.note_if(leads[0] != leads[1], "batch axes broadcast")
    draw.note_if(k == 0, "sums of nothing")
    dtype = draw.dtype()
    inputs = [draw.array(shape, dtype, VALUES) for shape in (a, b)]
    return Case("Tensor.matmul", inputs, needs=floats_among(draw, inputs), magnitude="terms", smooth=finite(*inputs))
