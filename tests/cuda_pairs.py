"""What a CUDA pair must give: what the readable op gives with NumPy, and the same bits however its threads run."""

from unittest import mock

import numpy as np
from standin import counted, cupy, kernels

import tinyconv as tc

LAYOUTS = ("contiguous", "permuted", "sliced", "reversed")
SPECIAL = (np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.0, np.nan)


def asked(op, case):
    """The arrays and the geometry that a case calls `op` with; None if it does not call it."""
    calls, forward = [], op.forward

    def spy(xp, *arrays, **geometry):
        calls.append((arrays, geometry))
        return forward(xp, *arrays, **geometry)

    with mock.patch.object(op, "forward", staticmethod(spy)), tc.using("readable"):
        case.function()(*map(tc.tensor, case.inputs))
    return calls[0] if calls else None


def on_device(array, layout="contiguous"):
    """A copy of an array of the host on the stand-in's device, laid out there as it may have become by views."""
    if array is None or not array.ndim or layout == "contiguous":
        return None if array is None else cupy.asarray(np.ascontiguousarray(array).reshape(array.shape))
    if layout == "permuted":
        return cupy.asarray(np.ascontiguousarray(array.T)).T
    if layout == "sliced":
        return cupy.asarray(np.repeat(array, 2, axis=-1))[..., ::2]
    return cupy.asarray(np.ascontiguousarray(np.flip(array)))[(slice(None, None, -1),) * array.ndim]


def both_ways(pair, xp, arrays, dy, needs, geometry):
    """Outputs and gradients; the backward pass is run twice, for a graph may be walked again."""
    with np.errstate(all="ignore"):
        y, saved = pair.forward(xp, *arrays, **geometry)
        ys = y if isinstance(y, tuple) else (y,)
        pair.backward(xp, saved, dy, needs, **geometry)
        return [*ys, *pair.backward(xp, saved, dy, needs, **geometry)]


def cotangent(op, arrays, geometry, special=False):
    """Some gradient of the first output."""
    with np.errstate(all="ignore"):
        y, _ = op.forward(np, *arrays, **geometry)
    y = y[0] if isinstance(y, tuple) else y
    rng = np.random.default_rng(0)
    return np.asarray(rng.choice(SPECIAL, y.shape) if special else rng.standard_normal(y.shape), y.dtype)


def compare_pairs(pair, op, arrays, dy, compare, needs=None, layout="contiguous", launches=None, **geometry):
    """The pair on the stand-in against the readable op on the host: `compare(number, found, expected)` for each result.

    A gradient that is not asked for must not be there. Nothing may go between host and device; no input may be written
    to; blocks and threads in the reverse order must give the same bits. `launches` counts forward and two backwards.
    """
    needs = needs or tuple(array is not None and array.dtype.kind == "f" for array in arrays)
    expected = both_ways(op, np, arrays, dy, needs, geometry)
    found = []
    for reverse in (False, True):
        given, ddy = [on_device(array, layout) for array in arrays], on_device(dy, layout)
        with counted() as count, mock.patch.object(kernels, "reversed_order", reverse):
            results = both_ways(pair, cupy, given, ddy, needs, geometry)
        assert (count.to_host, count.to_device, count.synchronisations) == (0, 0, 0)
        assert launches is None or count.launches == launches
        for before, after in zip((*arrays, dy), (*given, ddy), strict=True):
            assert before is None or cupy.asnumpy(after).tobytes() == np.ascontiguousarray(before).tobytes()
        found.append([None if result is None else cupy.asnumpy(result) for result in results])
    for i, (a, again, b) in enumerate(zip(*found, expected, strict=True)):
        assert (a is None) == (b is None), i
        if b is not None:
            assert (a.shape, a.dtype) == (b.shape, b.dtype), i
            assert a.tobytes() == again.tobytes(), f"result {i} depends on the order of threads"
            compare(i, a, b)


def exactly(i, found, expected):
    np.testing.assert_array_equal(found, expected, err_msg=f"result {i}")


def closely(i, found, expected):
    tolerance = 1e-10 if expected.dtype == np.float64 else 1e-3
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=f"result {i}")
