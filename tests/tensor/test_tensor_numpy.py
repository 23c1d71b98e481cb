"""NumPy's functions of tensors: reductions are on the tape; others give what they give of arrays, or raise an error
where a gradient would be lost."""

from functools import partial

import numpy as np
import pytest
from messages import message

import tinyconv as tc

A = np.arange(6, dtype=np.float32).reshape(2, 3) / 4 - 0.5
B = np.float32([[3.0], [1.0]])
MASK = A > 0

REDUCTIONS = ("sum", "mean", "max", "min", "amax", "amin", "prod", "std", "var", "any", "all")
WHOLE = (
    "argmax", "argmin", "ptp", "median", "cumsum", "cumprod", "ravel", "squeeze", "transpose", "sort", "argsort",
    "diff", "unique", "round", "nanmean", "nansum", "nonzero", "count_nonzero", "shape", "ndim", "size", "copy",
    "zeros_like", "ones_like", "flip", "histogram", "gradient", "average",
)  # fmt: skip
ALONG = ("argmax", "argmin", "median", "cumsum", "sort")
FUNCTIONS = {
    **{name: getattr(np, name) for name in WHOLE},
    **{f"{name}, axis 1": partial(getattr(np, name), axis=1) for name in ALONG},
    "sum, where": lambda t: np.sum(t, where=MASK),
    "max, initial": lambda t: np.max(t, initial=7),
    "prod, several axes": lambda t: np.prod(t, axis=(0, 1)),
    "clip": lambda t: np.clip(t, 0, 0.5),
    "reshape": lambda t: np.reshape(t, (3, 2)),
    "expand_dims": lambda t: np.expand_dims(t, 0),
    "moveaxis": lambda t: np.moveaxis(t, 0, 1),
    "swapaxes": lambda t: np.swapaxes(t, 0, 1),
    "broadcast_to": lambda t: np.broadcast_to(t, (4, 2, 3)),
    "tile": lambda t: np.tile(t, 2),
    "repeat": lambda t: np.repeat(t, 2, axis=0),
    "pad": lambda t: np.pad(t, 1),
    "concatenate": lambda t: np.concatenate([t, A]),
    "stack": lambda t: np.stack((A, t), axis=1),
    "vstack": lambda t: np.vstack([t, t]),
    "hstack": lambda t: np.hstack([t, A]),
    "split": lambda t: np.split(t, 3, axis=1),
    "where": lambda t: np.where(MASK, t, 0),
    "where, one argument": lambda t: np.where(t),
    "take": lambda t: np.take(t, [0, 1]),
    "dot": lambda t: np.dot(t, A.T),
    "tensordot": lambda t: np.tensordot(t, A, axes=2),
    "einsum": lambda t: np.einsum("ij,ij->i", t, A),
    "inner": lambda t: np.inner(A, t),
    "outer": lambda t: np.outer(t, t),
    "linalg.norm": lambda t: np.linalg.norm(t),
    "linalg.svd": lambda t: np.linalg.svd(t)[1],
    "percentile": lambda t: np.percentile(t, [25, 75]),
    "quantile": lambda t: np.quantile(t, 0.3),
    "bincount": lambda t: np.bincount(np.argmax(t, axis=1)),
    "allclose": lambda t: np.allclose(t, A),
    "isclose": lambda t: np.isclose(t, 0),
    "array_equal": lambda t: np.array_equal(t, A),
    "interp": lambda t: np.interp(t, [0, 1], [5, 6]),
    "corrcoef": lambda t: np.corrcoef(t),
    "apply_along_axis": lambda t: np.apply_along_axis(np.sum, 1, t),
    "result_type": lambda t: np.result_type(t, np.float16),
    "array2string": lambda t: np.array2string(t),
    "exp": lambda t: np.exp(t),
    "sqrt": lambda t: np.sqrt(np.abs(t)),
    "add": lambda t: np.add(t, t),
    "sign": lambda t: np.sign(t),
    "isnan": lambda t: np.isnan(t),
    "maximum.reduce": lambda t: np.maximum.reduce(t, axis=0),
}  # fmt: skip


def equal(found, expected):
    if isinstance(expected, list | tuple):
        assert type(found) is type(expected)
        assert len(found) == len(expected)
        return all(equal(a, b) for a, b in zip(found, expected, strict=True))
    assert type(found) is type(expected)
    assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)
    return np.array_equal(found, expected)


REDUCED = {
    **{name: getattr(np, name) for name in REDUCTIONS},
    **{f"{name}, axis 1": partial(getattr(np, name), axis=1) for name in REDUCTIONS},
    "sum, in order": lambda t: np.sum(t, 0),
    "sum, keepdims": lambda t: np.sum(t, axis=(0, 1), keepdims=True),
    "sum, dtype": lambda t: np.sum(t, dtype=np.float64),
    "mean, several axes": lambda t: np.mean(t, (0, 1)),
    "std, ddof": lambda t: np.std(t, ddof=1),
    "var, ddof, axis": lambda t: np.var(t, axis=0, ddof=1, keepdims=True),
    "max, keepdims": lambda t: np.max(t, axis=0, keepdims=True),
}


@pytest.mark.parametrize("function", REDUCED)
def test_a_reduction_is_a_tensor_on_the_tape(function):
    """Also where NumPy and PyTorch differ: np.std divides by n, t.std() by n - 1."""
    expected = REDUCED[function](A)
    t = tc.tensor(A, requires_grad=True)
    y = REDUCED[function](t)
    assert isinstance(y, tc.Tensor)
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-6)
    assert y.requires_grad == (expected.dtype.kind == "f")
    if y.requires_grad:
        wide = tc.tensor(A.astype(np.float64), requires_grad=True)
        assert tc.check.gradcheck(REDUCED[function], [wide])


def test_reductions_of_integers():
    n = tc.arange(6).reshape(2, 3)
    assert np.sum(n, axis=0).tolist() == [3, 5, 7]
    assert np.mean(n) == 2.5  # PyTorch has no mean of integers; NumPy's is a float64
    assert type(np.std(n)) is np.float64


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_of_a_tensor_is_that_of_its_array(function):
    assert equal(FUNCTIONS[function](tc.tensor(A)), FUNCTIONS[function](A))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_gradient_is_lost_in_silence(function):
    """Of a tensor that requires grad a function gives what has no gradient, or raises."""
    expected = FUNCTIONS[function](A)
    t = tc.tensor(A, requires_grad=True)
    values = expected if isinstance(expected, list | tuple) else [expected]
    if any(np.asarray(value).dtype.kind == "f" for value in values):
        with pytest.raises(tc.GraphError, match=r"is not recorded, so the gradient through it would be missing"):
            FUNCTIONS[function](t)
        assert equal(FUNCTIONS[function](t.detach()), expected)
    else:
        assert equal(FUNCTIONS[function](t), expected)


def test_the_error_names_the_function():
    w = tc.ones(2, requires_grad=True)
    rest = (
        " is not recorded, so the gradient through it would be missing; use tinyconv's own functions, or leave the "
        "tape on purpose with x.detach()"
    )
    assert message(tc.GraphError, np.median, w) == f"np.median{rest}"
    assert message(tc.GraphError, np.concatenate, [w, w]) == f"np.concatenate{rest}"
    assert message(tc.GraphError, np.exp, w) == f"np.exp{rest}"


def test_results_cannot_be_put_into_a_tensor():
    t = tc.ones(2)
    for call in (lambda: np.sum(A, axis=1, out=t), lambda: np.add(1, 2, out=t), lambda: np.clip(A[0, :2], 0, 1, out=t)):
        assert "out=tensor) is not possible; write x[...] = value, under no_grad" in message(TypeError, call)
    assert t.tolist() == [1.0, 1.0]


def test_writes_go_into_the_memory_of_the_tensor_unless_it_requires_grad():
    t, w = tc.zeros(2, 2), tc.zeros(2, 2, requires_grad=True)
    np.fill_diagonal(t, 5)
    np.copyto(t[0], np.float32([7, 8]))
    assert t.tolist() == [[7.0, 8.0], [0.0, 5.0]]
    with pytest.raises(ValueError, match="read-only"):
        np.fill_diagonal(w, 5)
    assert w.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_a_write_by_numpy_is_noticed_by_the_tape():
    t, w = tc.ones(2, 2), tc.ones(2, 2, requires_grad=True)
    loss = (t * w).sum()
    np.fill_diagonal(t, 5)
    with pytest.raises(tc.GraphError, match="saved input"):
        loss.backward()


def test_lending_again_after_a_step_is_no_write_by_numpy():
    w = tc.ones(3, requires_grad=True)
    w.detach().numpy()
    (w * w).sum().backward()
    tc.optim.SGD([w], lr=0.1).step()
    loss = (w * w).sum()
    lent = w.detach().numpy()
    loss.backward()
    loss = (w * w).sum()
    w.detach().numpy()
    lent[0] = 5
    with pytest.raises(tc.GraphError, match="saved input"):
        loss.backward()


def test_shapes_are_known_without_the_elements():
    t = tc.zeros(2, 3, device="meta")
    assert (np.shape(t), np.ndim(t), np.size(t)) == ((2, 3), 2, 6)
    assert np.sum(t, axis=0).shape == (3,)
    with pytest.raises(tc.DeviceError):
        np.median(t)


def test_files(tmp_path):
    t = tc.tensor(A)
    np.save(tmp_path / "t.npy", t)
    np.savez(tmp_path / "t.npz", a=t, b=t[0])
    np.savetxt(tmp_path / "t.txt", t)
    assert np.array_equal(np.load(tmp_path / "t.npy"), A)
    with np.load(tmp_path / "t.npz") as saved:
        assert np.array_equal(saved["b"], A[0])
    assert np.allclose(np.loadtxt(tmp_path / "t.txt"), A)


@pytest.mark.parametrize("how", ["mmap", "broadcast", "flag"])
def test_read_only_arrays(how, tmp_path):
    """They are copied by `tensor`, shared by `from_numpy`, computed with, and never written to."""
    np.save(tmp_path / "a.npy", A)
    array = np.broadcast_to(np.float32(2), (2, 3)) if how == "broadcast" else A.copy()
    array.flags.writeable = False
    array = np.load(tmp_path / "a.npy", mmap_mode="r") if how == "mmap" else array
    before = np.array(array)

    t = tc.tensor(array, requires_grad=True)
    with tc.no_grad():
        t += 1
    assert np.array_equal(t.numpy(), before + 1)
    (t * tc.from_numpy(array)).sum().backward()
    assert np.array_equal(t.grad.numpy(), before)

    shared = tc.from_numpy(array)
    y = tc.ones(2, 3, requires_grad=True) * 2
    y.backward(shared)
    leaf = tc.ones(2, 3, requires_grad=True)
    for _ in range(2):
        (leaf * 1).backward(shared)  # which is added to
    assert np.array_equal(leaf.grad.numpy(), 2 * before)
    leaf.grad = shared
    (leaf * 1).backward(shared)
    assert np.array_equal(leaf.grad.numpy(), 2 * before)
    error = message(tc.GraphError, shared.add_, 1)
    assert error.startswith("this tensor cannot be written to") or "shares" in error
    assert "x.clone()" in error or "make a new tensor" in error
    assert np.array_equal(array, before)
