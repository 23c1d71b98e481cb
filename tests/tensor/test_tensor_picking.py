"""Picking, ordering, multiplying and rearranging: what the argument spaces do not ask, mistakes, and captured steps."""

import numpy as np
import pytest
from messages import message
from oracle import assert_allclose, assert_array_equal

import tinyconv as tc
import tinyconv.functional as F

torch = pytest.importorskip("torch")

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


# --- what the spaces do not ask -------------------------------------------------------------------------------------


def test_where_with_a_condition_alone_is_nonzero():
    mask = X > 0
    for ours, theirs in zip(tc.where(tc.tensor(mask)), torch.where(torch.tensor(mask)), strict=True):
        assert_array_equal(ours, theirs)


def test_where_is_a_method_too():
    x = tc.tensor(X)
    assert_array_equal(x.where(x > 0, 0.0), torch.tensor(X).where(torch.tensor(X) > 0, 0.0))


def test_equal_elements_keep_their_order():
    x = tc.tensor([1.0, 0.0, 1.0, 0.0, float("nan")])
    assert x.argsort().tolist() == [1, 3, 0, 2, 4]
    assert x.argsort(descending=True).tolist() == [4, 0, 2, 1, 3]
    assert x.topk(3).indices.tolist() == [4, 0, 2]


def test_einsum_in_torchs_other_form():
    a, b = X, X.T.copy()

    def asked(library):
        a_, b_ = library.tensor(a), library.tensor(b)
        return (
            library.einsum(a_, [0, 1], b_, [1, 2], [2, 0]),
            library.einsum(a_, [..., 1], b_, [1, ...]),
            library.einsum(" i j , j k -> k i ", [a_, b_]),
            library.einsum(a_, [30, 2]),
        )

    for ours, theirs in zip(asked(tc), asked(torch), strict=True):
        assert_allclose(ours, theirs, rtol=1e-5)


def test_a_flipped_or_rolled_tensor_has_memory_of_its_own():
    x = tc.zeros(3)
    for y in (x.flip(0), x.roll(1), x.repeat(1), x.tile(1), x.rot90(0) if x.ndim > 1 else x.flipud()):
        y += 1
    assert x.tolist() == [0.0] * 3


def test_products_of_integers_are_integers():
    x = tc.tensor([[1, 2], [3, 4]], dtype=tc.int8)
    assert (x @ x).dtype == x.mm(x).dtype == tc.einsum("ij,jk", x, x).dtype == np.int8
    assert (x @ x).tolist() == [[7, 10], [15, 22]]


def test_the_rows_that_embed_tokens_get_the_sums_of_their_gradients():
    table = tc.ones(5, 2, requires_grad=True)
    table.index_select(0, tc.tensor([1, 1, 3])).sum().backward()
    assert table.grad[:, 0].tolist() == [0.0, 2.0, 0.0, 1.0, 0.0]


def test_slices_to_fill_may_be_counted_from_the_end():
    for library in (tc, torch):
        x, index = library.zeros(2, 4), library.tensor([-1, 1])
        assert x.index_fill(1, index, 5.0).tolist() == [[0.0, 5.0, 0.0, 5.0]] * 2
        assert x.index_fill_(0, index, 3.0).tolist() == [[0.0] * 4, [3.0] * 4]
        with pytest.raises(IndexError):
            x.index_fill(1, library.tensor([-5]), 5.0)


INDICES = {
    "an Ellipsis of no axis between arrays": ((3, 2, 2), (None, slice(0, -1), [0, 1], ..., [1, 0])),
    "the same with nothing in it": ((1, 2, 2), (None, slice(0, -1), [0, 1], ..., [1, 0])),
    "an Ellipsis of one axis": ((3, 2, 5, 2), (None, slice(0, -1), [0, 1], ..., [1, 0])),
    "an Ellipsis of no elements": ((3, 2, 0, 2), (None, slice(0, -1), [0, 1], ..., [1, 0])),
    "an integer before it": ((2, 3, 4), (0, ..., [1, 2], [0, 3])),
    "an integer and an array apart": ((2, 3, 4), (0, slice(None), [1, 2])),
    "None between arrays": ((2, 3, 4), ([0, 1], None, [1, 2])),
    "a mask before it": ((2, 3, 4), (np.array([[True, False, True], [False, False, True]]), ..., [1, 2, 3])),
    "a bool between integers": ((2, 3, 4), (1, ..., True, 0)),
    "False before an integer": ((2, 3, 4, 2), (..., False, slice(None), -2, -2)),
    "an integer, a mask and None": ((2, 3, 4), (1, None, slice(1, 3), [True, False, True, False])),
}


@pytest.mark.parametrize("case", INDICES)
def test_an_index_puts_axes_where_torch_does_in_reading_and_writing(case):
    def of(library):
        shape, index = INDICES[case]
        index = tuple(library.tensor(part) if isinstance(part, np.ndarray) else part for part in index)
        x = library.arange(float(np.prod(shape))).reshape(shape).requires_grad_()
        read = x[index]
        (read * (read.detach() + 1)).sum().backward()
        y, value = x.detach() * 1, (read.detach() * 2).requires_grad_()
        recorded = x * 1
        recorded[index] = value
        (recorded * recorded).sum().backward()
        y[index] = value.detach()
        return read.detach(), x.grad, y, recorded.detach(), value.grad

    for ours, theirs in zip(of(tc), of(torch), strict=True):
        assert_array_equal(ours, theirs)


def test_as_tensor_shares_the_memory_of_an_array_and_of_a_tensor():
    array = np.zeros(3, np.float32)
    x = tc.as_tensor(array)
    assert tc.as_tensor(x) is x
    array[0] = 7
    assert x[0].item() == 7.0
    assert tc.asarray(array, dtype=tc.float64).dtype == np.float64
    assert tc.as_tensor([1, 2]).dtype == np.int64
    assert tc.as_tensor(x, dtype=tc.int64).tolist() == [7, 0, 0]
    assert tc.as_tensor(2.0, device=tc.device("meta")).device == "meta"


def test_sizes_by_name_and_devices_as_objects():
    for make in (tc.zeros, tc.ones, tc.empty, tc.rand, tc.randn):
        assert make(size=(2, 3)).shape == make((2, 3)).shape == make(2, 3).shape == make([2, 3]).shape == (2, 3)
        assert make(2, device=tc.device("meta")).device == "meta"
    assert tc.full(size=(2,), fill_value=3).tolist() == [3, 3]
    assert tc.zeros_like(input=tc.ones(2), device=tc.device("cpu"), requires_grad=True).requires_grad


def test_new_tensors_are_like_the_one_that_makes_them():
    x = tc.ones(2, dtype=tc.float64)
    made = [x.new_zeros(2, 3), x.new_ones((2, 3)), x.new_full((2, 3), 7), x.new_empty(size=(2, 3)), x.new_tensor([[1]])]
    assert [t.dtype for t in made] == [np.float64] * 5
    assert [t.shape for t in made] == [(2, 3)] * 4 + [(1, 1)]
    assert x.new_zeros(2, dtype=tc.int64, requires_grad=False).dtype == np.int64


def test_what_a_tensor_is_by_torchs_names():
    for ours, theirs in ((tc.ones(2, 3), torch.ones(2, 3)), (tc.ones(2, 3).T, torch.ones(2, 3).T)):
        assert ours.stride() == theirs.stride()
        assert ours.stride(0) == theirs.stride(0)
        assert ours.is_contiguous() == theirs.is_contiguous()
        assert (ours.nelement(), ours.ndimension()) == (theirs.nelement(), theirs.ndimension())
        assert (ours.itemsize, ours.nbytes, ours.is_cuda) == (theirs.itemsize, theirs.nbytes, theirs.is_cuda)
    for name in ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"):
        ours, theirs = tc.ones(1, dtype=name), torch.ones(1, dtype=getattr(torch, name))
        assert ours.type() == theirs.type()
        assert ours.type("torch.LongTensor").dtype == np.int64
        assert tc.zeros(1).type(name).type_as(ours).dtype == ours.dtype
    assert [t.dtype.name for t in (ours.half(), ours.short(), ours.char(), ours.byte())] == [
        "float16", "int16", "int8", "uint8",
    ]  # fmt: skip


# --- mistakes -------------------------------------------------------------------------------------------------------

T = tc.tensor(X)
PLACES = tc.tensor([[0], [3]])
MISTAKES = {
    "gather beyond": (IndexError, lambda: T.gather(1, tc.tensor([[4]])), "index 4 is out of range for dim 1 of size 4"),
    "gather below 0": (IndexError, lambda: T.gather(1, tc.tensor([[-1]])), "index -1 is out of range"),
    "gather by floats": (tc.DtypeError, lambda: T.gather(1, T), "the index must be of integers, got float32"),
    "gather, one axis": (tc.ShapeError, lambda: T.gather(1, tc.tensor([0])), "an index of shape (1,) does not fit"),
    "gather, too many": (tc.ShapeError, lambda: T.gather(1, tc.zeros(5, 1, dtype=tc.int64)), "does not fit (3, 4)"),
    "scatter, small src": (tc.ShapeError, lambda: T.scatter(1, PLACES, tc.ones(1, 1)), "smaller than the index"),
    "scatter, dtype": (tc.DtypeError, lambda: T.scatter(1, PLACES, PLACES), "input is float32 and source is int64"),
    "scatter, nothing": (tc.DtypeError, lambda: T.scatter(1, PLACES), "expected either src, a tensor, or value"),
    "scatter, multiply": (ValueError, lambda: T.scatter(1, PLACES, 2.0, reduce="multiply"), "got 'multiply'"),
    "index_select, matrix": (tc.ShapeError, lambda: T.index_select(0, PLACES), "must have one axis, got (2, 1)"),
    "index_add, shape": (tc.ShapeError, lambda: T.index_add(0, tc.tensor([0]), T), "shape (1, 4), got (3, 4)"),
    "masked_fill, floats": (tc.DtypeError, lambda: T.masked_fill(T, 0.0), "the mask must be bool, got float32"),
    "masked_fill, vector": (tc.DtypeError, lambda: T.masked_fill(T > 0, T[0]), "expected a number or a 0-d tensor"),
    "masked_scatter": (tc.ShapeError, lambda: T.masked_scatter(T == T, T[0]), "12 true elements, and source has 4"),
    "topk": (tc.ShapeError, lambda: T.topk(5), "there are no 5 elements along dim -1 of (3, 4)"),
    "kthvalue": (tc.ShapeError, lambda: T.kthvalue(0), "k must be from 1 to 4"),
    "bincount, floats": (tc.DtypeError, lambda: T[0].bincount(), "expected integers, got float32"),
    "bincount, below 0": (ValueError, lambda: tc.tensor([-1]).bincount(), "expected integers from 0 on, got -1"),
    "bucketize": (tc.ShapeError, lambda: tc.bucketize(T, T), "boundaries must have one axis, got (3, 4)"),
    "mm": (tc.ShapeError, lambda: T.mm(T[0]), "mat2 must be a matrix, 2 axes, got (4,)"),
    "bmm": (tc.ShapeError, lambda: tc.ones(2, 3, 4).bmm(tc.ones(1, 4, 3)), "are batches of two sizes"),
    "addmm": (tc.ShapeError, lambda: tc.ones(5).addmm(T, T.T), "shapes (5,) and (3, 3) do not broadcast"),
    "einsum, axes": (tc.ShapeError, lambda: tc.einsum("ijk->i", T), "does not fit an operand with 2 axes"),
    "einsum, sizes": (tc.ShapeError, lambda: tc.einsum("ij,ij", T, T.T), "axis 'i' has sizes 3 and 4"),
    "einsum, unknown": (tc.ShapeError, lambda: tc.einsum("ij->k", T), "axis 'k' is in the result of 'ij->k'"),
    "einsum, twice": (tc.ShapeError, lambda: tc.einsum("ij->ii", T), "an axis is twice in the result"),
    "einsum, signs": (tc.ShapeError, lambda: tc.einsum("i?", T), "expected letters, '...', ',' and '->'"),
    "einsum, operands": (tc.ShapeError, lambda: tc.einsum("ij,jk", T), "is for 2 operands, got 1"),
    "tensordot": (tc.ShapeError, lambda: tc.tensordot(T, T, 1), "have other sizes than"),
    "rot90": (tc.ShapeError, lambda: T[0].rot90(), "expected two dims of a tensor with at least 2"),
    "repeat": (tc.ShapeError, lambda: T.repeat(2), "(3, 4) needs a number >= 0 for each axis at least, got (2,)"),
    "diag": (tc.ShapeError, lambda: tc.ones(1, 1, 1).diag(), "expected a vector or a matrix, got (1, 1, 1)"),
    "diagonal": (tc.ShapeError, lambda: T.diagonal(0, 1, 1), "expected two axes of (3, 4), got 1 and 1"),
    "roll": (tc.ShapeError, lambda: T.roll((1, 2), 0), "roll: shifts: expected 1, got (1, 2)"),
    "narrow": (tc.ShapeError, lambda: T.narrow(1, 3, 2), "(3, 4) has no 2 slices along dim 1 from 3 on"),
    "hstack": (tc.DtypeError, lambda: tc.hstack(T), "expected a list of tensors, got Tensor"),
    "one_hot": (ValueError, lambda: F.one_hot(tc.tensor([3]), 3), "from 0 to 2, got some from 3 to 3"),
    "one_hot of nothing": (ValueError, lambda: F.one_hot(tc.zeros(0, dtype=tc.int64)), "no index says how many"),
    "meshgrid": (ValueError, lambda: tc.meshgrid(T[0], indexing="yx"), "must be 'ij' or 'xy', got 'yx'"),
    "zeros twice": (tc.ShapeError, lambda: tc.zeros(2, size=(2,)), "sizes are given twice: (2,) and size=(2,)"),
    "type": (tc.DtypeError, lambda: T.type("torch.BFloat16Tensor"), "no type 'torch.BFloat16Tensor'"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "mistake", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(kind, mistake, expected):
    assert expected in message(kind, mistake)


# --- captured steps -------------------------------------------------------------------------------------------------

STEPS = {
    "gather": lambda x, i: x.gather(1, i),
    "gather, one a row": lambda x, i: x.gather(1, i[:, :1]),
    "scatter": lambda x, i: x.scatter(1, i, x[:, :2] * 2),
    "scatter_add": lambda x, i: x.scatter_add(1, i, x[:, :2]),
    "index_select": lambda x, i: x.index_select(1, i[0]),
    "masked_fill": lambda x, i: x.masked_fill(x > 0, 2.0),
    "sort": lambda x, i: x.sort(1, descending=True).values,
    "topk": lambda x, i: x.topk(2, 1).values,
    "einsum": lambda x, i: tc.einsum("ij,kj->ik", x, x),
    "tril": lambda x, i: x.tril() + x.triu(1) * 2,
    "diagonal": lambda x, i: x.diagonal() * x[:, 0],
    "flip and roll": lambda x, i: x.flip(0) * x.roll(1, 1),
    "repeat_interleave": lambda x, i: x.repeat_interleave(2, 1),
    "one_hot": lambda x, i: x[:, None, :] * F.one_hot(i, 4).float(),
    "an index in torch's order": lambda x, i: x.reshape(3, 1, 4)[1, :, i[0]],
    "x[i] = v": lambda x, i: assigned(x * 1, i),
}


def assigned(x, i):
    x[:, i[0]] = x[:, :2] * 3
    return x


@pytest.mark.parametrize("name", STEPS)
def test_a_captured_step_gives_what_the_eager_one_gives(name):
    w = tc.tensor(X).requires_grad_()

    def step(x, i):
        w.grad = None
        y = STEPS[name](w * x, i)
        (y * y).sum().backward()
        return y

    captured = tc.capture(step)
    rng = np.random.default_rng(1)
    for _ in range(4):
        x = tc.tensor(rng.standard_normal((3, 4)).astype(np.float32))
        i = tc.tensor(np.argsort(rng.random((3, 4)), axis=1)[:, :2])
        found, grad = captured(x, i).numpy().copy(), w.grad.numpy().copy()
        assert_array_equal(found, step(x, i).numpy())
        assert_array_equal(grad, w.grad.numpy())


UNKNOWN = {
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: tc.where(x > 0)[0],
    "unique": lambda x: x.unique(),
    "masked_select": lambda x: x.masked_select(x > 0),
    "bincount": lambda x: (x > 0).long().reshape(-1).bincount(),
    "one_hot": lambda x: F.one_hot((x > 0).long()),
    "repeat_interleave": lambda x: x.repeat_interleave((x[0] > 0).long(), 1),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_shapes_that_depend_on_values_cannot_be_captured(name):
    captured = tc.capture(lambda x: UNKNOWN[name](x).float().sum())
    captured(tc.tensor(X))
    with pytest.raises(tc.CaptureError, match="depend"):
        captured(tc.tensor(X))
