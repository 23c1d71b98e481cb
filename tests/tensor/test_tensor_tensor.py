"""Tensors as values: how they are made from data, what they turn into, and how Python sees them."""

import copy
import pickle
from operator import lt

import numpy as np
import pytest
from messages import message
from oracle import assert_array_equal, on_the_host, share_memory

import tinyconv as tc
from tinyconv.nn import Parameter

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("everywhere")

DTYPES = ["bool", "uint8", "int32", "int64", "float16", "float32", "float64"]


def dtype_name(x):
    return str(x.dtype).removeprefix("torch.")


# --- making them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        1.5, 2, True, [], [1.0, 2], [1, 2], [True, False], [True, 2], [True, 2.5], [[1, 2], [3, 4]], ((1.0,), (2.0,)),
        range(3), np.float64(1.5), np.float32(1.5), np.int32(2), np.bool_(True),
        [np.float64(1.5)], [np.float32(1.5), np.float32(2)], [np.int32(1)], [np.uint8(1), np.uint8(2)],
        *(np.ones((2, 3), dtype) for dtype in DTYPES), np.ones(()), np.ones((0, 3), np.int32), float("nan"),
    ],
    ids=repr,
)  # fmt: skip
def test_tensor_infers_shape_and_dtype_as_torch(data):
    ours, theirs = tc.tensor(data), torch.tensor(data)
    assert ours.shape == tuple(theirs.shape)
    assert dtype_name(ours) == dtype_name(theirs)
    assert_array_equal(ours.array, theirs.numpy())


@on_the_host
def test_tensor_of_nested_lists_with_tensors():
    x = tc.tensor([[tc.tensor(1, dtype=tc.int32), 2], [3, 4]])
    assert x.tolist() == [[1, 2], [3, 4]]
    assert tc.tensor([tc.tensor(1.0), tc.tensor(2.0, requires_grad=True)]).dtype == tc.float32
    assert tc.tensor([tc.tensor(1.0, dtype=tc.float64), tc.tensor(2, dtype=tc.int32)]).dtype == tc.float64
    assert tc.tensor([tc.tensor([1, 2], dtype=tc.uint8), tc.tensor([3, 4], dtype=tc.uint8)]).dtype == tc.uint8


def test_tensor_takes_torchs_tensors():
    x = tc.tensor(torch.arange(3, dtype=torch.int32))
    assert x.dtype == tc.int32
    assert x.tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensor_with_a_dtype(dtype):
    assert tc.tensor([0, 1], dtype=dtype).tolist() == torch.tensor([0, 1], dtype=getattr(torch, dtype)).tolist()
    assert tc.tensor(np.array([0.0, 1.0]), dtype=dtype).dtype == dtype


def test_a_wanted_dtype_is_reached_without_detours():
    assert tc.tensor([0.1], dtype=tc.float64).item() == 0.1
    assert tc.tensor(2**53 + 1).item() == 2**53 + 1
    assert tc.tensor([1.9, -1.9], dtype=tc.int64).tolist() == torch.tensor([1.9, -1.9], dtype=torch.int64).tolist()


def test_byte_order_becomes_this_machines():
    x = tc.tensor(np.arange(3, dtype=">f4"))
    assert x.dtype.isnative
    assert x.tolist() == [0.0, 1.0, 2.0]


def test_tensor_always_copies():
    array = np.ones(3, np.float32)
    x = tc.tensor(array)
    y = tc.tensor(x)
    array[:] = 2
    x.fill_(3)
    assert (x.tolist(), y.tolist()) == ([3.0] * 3, [1.0] * 3)


def test_the_class_itself_makes_float32():
    for data in (1, [1, 2], True, np.ones(2), tc.ones(2, dtype=tc.int64)):
        assert tc.Tensor(data).dtype == tc.float32
    assert tc.Tensor([1, 2], dtype=tc.int64).dtype == tc.int64
    assert tc.Tensor([1.0], requires_grad=True).requires_grad


NUMBERS = "tensor: expected numbers (integers within int64) or nested lists of them, got"


@pytest.mark.parametrize(
    ("data", "dtype", "message"),
    [
        (1j, None, f"{NUMBERS} 1j"),
        ("text", None, f"{NUMBERS} 'text'"),
        (["3"], None, f"{NUMBERS} ['3']"),
        (None, None, f"{NUMBERS} None"),
        (None, "float32", f"{NUMBERS} None"),
        ([None, 1], None, f"{NUMBERS} [None, 1]"),
        ({"a": 1}, None, f"{NUMBERS} {{'a': 1}}"),
        (2**70, None, f"{NUMBERS} {2**70}"),
        (1.0, "float23", "not a dtype: 'float23'; did you mean 'float32'?"),
        (1.0, torch.float32, "not a dtype: torch.float32; tinyconv.float32, for example"),
        (1.0, complex, "tensors of complex128 are not supported: bool, integers, float16, float32 and float64 are"),
        ([300], "uint8", "tensor: values from 300 to 300 do not fit uint8"),
        ([-1, 5], "uint8", "tensor: values from -1 to 5 do not fit uint8"),
        ([1.0, float("inf")], "int64", "tensor: values from 1.0 to inf do not fit int64"),
        (float("nan"), "int64", "tensor: values from nan to nan do not fit int64"),
    ],
)
def test_data_that_tensors_cannot_hold(data, dtype, message):
    with pytest.raises(tc.DtypeError) as error:
        tc.tensor(data, dtype=dtype)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("data", "lengths"),
    [
        ([[1], [1, 2]], "1, 2"),
        ([[1, 2], 3], "2, none"),
        ([[[1], [2]], [[1], [2, 3]]], "1, 2"),
        ([tc.ones(2), tc.ones(3)], "2, 3"),
        ([[1, 2], tc.tensor(3)], "2, none"),
    ],
)
def test_ragged_lists(data, lengths):
    with pytest.raises(tc.ShapeError) as error:
        tc.tensor(data)
    expected = f"nested lists must have one length each, these have {lengths}: pad the shorter ones"
    assert str(error.value) == f"tensor: {expected}, or keep a list of tensors"


def test_only_floating_point_requires_grad():
    with pytest.raises(tc.DtypeError) as error:
        tc.tensor([1, 2], requires_grad=True)
    assert str(error.value) == "requires_grad: only floating-point tensors have gradients, this one is int64"


# --- NumPy and others -----------------------------------------------------------------------------------------------


def test_from_numpy_shares_memory():
    array = np.zeros(3, np.float32)
    x = tc.from_numpy(array)
    array[0] = 1
    x[1] = 2
    assert x.tolist() == array.tolist() == [1.0, 2.0, 0.0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([1.0], "from_numpy: expected a numpy.ndarray, got list; use tensor(data)"),
        (np.float32(1), "from_numpy: expected a numpy.ndarray, got float32; use tensor(data)"),
        (
            np.ones(1, complex),
            "tensors of complex128 are not supported: bool, integers, float16, float32 and float64 are",
        ),
        (np.ones(1, ">f4"), "from_numpy: >f4 is not this machine's byte order; tensor(array) makes a copy"),
    ],
    ids=["list", "scalar", "complex", "byte order"],
)
def test_from_numpy_refuses(array, message):
    with pytest.raises(tc.DtypeError) as error:
        tc.from_numpy(array)
    assert str(error.value) == message


# Before, it hands out none: test_dlpack_hands_out_no_gradients_memory_to_who_cannot_be_told.
SAYS_READ_ONLY = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="DLPack can say that memory is read-only from NumPy 2.1 on"
)


@on_the_host
@pytest.mark.parametrize(
    "export",
    [
        pytest.param(tc.Tensor.numpy, id="numpy"),
        pytest.param(np.asarray, id="asarray"),
        pytest.param(np.from_dlpack, id="dlpack", marks=SAYS_READ_ONLY),
    ],
)
def test_arrays_share_memory_and_are_read_only_where_grad_is_required(export):
    x = tc.ones(3)
    array = export(x)
    assert type(array) is np.ndarray
    array[0] = 5
    assert x.tolist() == [5.0, 1.0, 1.0]
    x.requires_grad_()
    with pytest.raises(ValueError, match="read-only"):
        export(x)[0] = 6
    with pytest.raises(ValueError, match="read-only"):
        export(x * 2)[0] = 6
    assert export(x.detach()).flags.writeable


@on_the_host
def test_memory_maps(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((4, 3), np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r+")
    w = tc.ones(3, requires_grad=True)
    y = (w * mapped + tc.from_numpy(mapped[1:2])).sum()
    assert y.item() == 24.0
    y.backward()
    assert w.grad.tolist() == [4.0, 4.0, 4.0]


@on_the_host
def test_np_array_copies_and_converts():
    x = tc.ones(3, requires_grad=True)
    array = np.array(x)
    array[0] = 5
    assert x.tolist() == [1.0] * 3
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype=np.float64, copy=False)


@on_the_host
def test_dlpack_hands_out_no_gradients_memory_to_who_cannot_be_told():
    """A consumer that does not ask for DLPack 1.0 would take it for memory to write into."""
    x = tc.ones(2, requires_grad=True)
    with pytest.raises(BufferError, match=r"requires grad.*Hand over x.detach\(\)"):
        x.__dlpack__()
    assert torch.from_dlpack(x.detach()).tolist() == [1, 1]


@on_the_host
def test_torch_reads_the_same_memory_through_dlpack():
    x = tc.ones(2, 3)
    theirs = torch.from_dlpack(x)
    theirs[0, 0] = 7
    assert x[0, 0].item() == 7
    assert tc.from_numpy(theirs.numpy()).tolist() == x.tolist()


@on_the_host
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "true_divide"])
def test_arithmetic_with_arrays_gives_tensors_either_way_round(name):
    symbol = {"add": "__add__", "subtract": "__sub__", "multiply": "__mul__", "true_divide": "__truediv__"}[name]
    array, other = np.array([1.0, 2.0], np.float32), np.array([4.0, 8.0], np.float32)
    x = tc.tensor(other, requires_grad=True)
    right = getattr(x, symbol)(array)
    reflected = {"add": array + x, "subtract": array - x, "multiply": array * x, "true_divide": array / x}[name]
    for result, expected in ((right, getattr(np, name)(other, array)), (reflected, getattr(np, name)(array, other))):
        assert type(result) is tc.Tensor
        assert result.requires_grad
        assert result.dtype == tc.float32
        assert_array_equal(result, expected)


@on_the_host
def test_matmul_and_comparisons_with_arrays():
    array, x = np.eye(2, dtype=np.float32), tc.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert type(array @ x) is type(x @ array) is type(array < x) is type(array == x) is tc.Tensor
    assert_array_equal(array < x, [[False, True], [True, True]])


@pytest.mark.parametrize("scalar", [np.float64(2), np.float32(2), np.int64(2), np.uint8(2)], ids=repr)
def test_numpy_scalars_count_as_python_numbers(scalar):
    x = tc.ones(2)
    for result in (x * scalar, scalar * x, x + scalar, scalar - x, x / scalar):
        assert type(result) is tc.Tensor
        assert result.dtype == tc.float32


@on_the_host
def test_numpy_functions_give_arrays_unless_a_gradient_would_be_lost():
    x = tc.tensor([0.0, 1.0])
    assert type(np.exp(x)) is np.ndarray
    assert np.maximum(x, 0.5).tolist() == [0.5, 1.0]
    assert np.add.reduce(x) == 1
    x.requires_grad_()
    assert message(tc.GraphError, np.exp, x) == (
        "np.exp is not recorded, so the gradient through it would be missing; use tinyconv's own functions, or leave "
        "the tape on purpose with x.detach()"
    )
    assert type(np.exp(x.detach())) is np.ndarray


# --- numbers, lists, text -------------------------------------------------------------------------------------------


def test_item_and_tolist():
    assert type(tc.tensor([[2]]).item()) is int
    assert type(tc.tensor(2.5).item()) is float
    assert type(tc.tensor(True).item()) is bool
    assert tc.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert tc.tensor(1.5).tolist() == 1.5
    with pytest.raises(tc.ShapeError) as error:
        tc.ones(2).item()
    needed = (
        "item: only a tensor with one element is a number, this one has shape (2,); reduce it (x.mean()), take one "
    )
    assert str(error.value) == needed + "element (x[0]), or all of them (x.tolist())"


def test_python_numbers():
    assert (float(tc.tensor(1.5)), int(tc.tensor([2.9])), bool(tc.tensor([[1]]))) == (1.5, 2, True)
    assert bool(tc.tensor(0.0)) is False
    assert [10, 20, 30][tc.tensor(1)] == 20
    assert list(range(3))[tc.tensor(1) : tc.tensor(3)] == [1, 2]
    with pytest.raises(TypeError) as error:
        [1][tc.tensor(0.0)]
    assert str(error.value) == "only integer tensors can be used as an index, this one is float32"
    with pytest.raises(tc.ShapeError) as error:
        bool(tc.ones(2))
    expected = "the truth of a tensor of shape (2,) is ambiguous; use .any(), .all() or compare single values"
    assert str(error.value) == expected


def test_len_iter_and_in():
    x = tc.tensor([[1, 2], [3, 4]])
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert 3 in x
    assert 5 not in x
    first, second = x
    assert first.tolist() + second.tolist() == [1, 2, 3, 4]
    for use in (len, iter):
        with pytest.raises(TypeError, match="0-d tensor"):
            use(tc.tensor(1))


def test_rows_of_an_iteration_pass_gradients():
    x = tc.ones(3, requires_grad=True)
    total = 0
    for i, element in enumerate(x):
        total = total + i * element
    total.backward()
    assert x.grad.tolist() == [0.0, 1.0, 2.0]


def test_comparisons_are_elementwise_and_hashing_is_by_identity():
    x, y = tc.tensor([1.0, 2.0]), tc.tensor([1.0, 3.0])
    assert (x == y).tolist() == [True, False]
    assert (x != y).tolist() == [False, True]
    assert (x < 2).tolist() == (2 > x).tolist() == [True, False]  # noqa: SIM300
    assert (x >= y).tolist() == [True, False]
    assert ((x == 1) | (x == 2)).tolist() == [True, True]
    assert (~(x > 1) & True).tolist() == [True, False]
    assert (x == y).dtype == tc.bool
    assert (x == None) is False  # noqa: E711
    assert (x == "text") is False
    assert len({x, y, x}) == 2
    assert not (x.clone().requires_grad_() > 1).requires_grad
    with pytest.raises(tc.ShapeError) as error:
        lt(x, tc.ones(3))
    assert str(error.value) == "less: shapes (2,) and (3,) do not broadcast"


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (tc.tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (tc.tensor(3), "tensor(3)"),
        (tc.tensor([[1, 2], [3, 4]]), "tensor([[1, 2],\n        [3, 4]])"),
        (tc.tensor([True]), "tensor([ True])"),
        (tc.ones(1, dtype=tc.float64), "tensor([1.], dtype=float64)"),
        (tc.ones(1, requires_grad=True), "tensor([1.], requires_grad=True)"),
        (tc.ones(1, requires_grad=True) * 2, "tensor([2.], grad_fn=<Mul (readable)>)"),
        (tc.zeros(0), "tensor([])"),
        (Parameter(tc.ones(1)), "Parameter containing:\ntensor([1.], requires_grad=True)"),
    ],
)
def test_repr(x, text):
    assert repr(x) == text
    assert f"{x}" == text


def test_format_of_numbers():
    assert f"{tc.tensor(2.0 / 3):.2f}" == "0.67"
    assert f"{tc.tensor(5):03d}" == "005"


# --- other dtypes, devices and copies -------------------------------------------------------------------------------


@on_the_host
def test_to():
    x = tc.ones(2, requires_grad=True)
    assert x.to(tc.float32) is x
    assert x.to("cpu") is x
    assert x.cpu() is x
    assert x.to("float64").dtype == x.to(dtype=np.float64).dtype == x.double().dtype == tc.float64
    assert (x.long().dtype, x.int().dtype, x.bool().dtype) == (tc.int64, tc.int32, tc.bool)
    assert x.to(tc.ones(1, dtype=tc.float64)).dtype == tc.float64
    assert x.to("cpu", tc.float64).dtype == tc.float64
    copied = x.to("cpu", copy=True)
    assert copied is not x
    copied.to(tc.float64).sum().backward()
    assert x.grad.dtype == tc.float32
    assert x.grad.tolist() == [1.0, 1.0]
    assert not x.long().requires_grad


def test_clone_contiguous_detach_data():
    x = tc.arange(6).float().reshape(2, 3).requires_grad_()
    assert x.contiguous() is x
    turned = x.T.contiguous()
    assert turned.array.flags.c_contiguous
    (turned * turned).sum().backward()
    assert_array_equal(x.grad, 2 * x.detach())
    x.grad = None
    x.clone().sum().backward()
    assert x.grad.tolist() == [[1.0] * 3] * 2
    for same in (x.detach(), x.data):
        assert not same.requires_grad
        assert share_memory(same.array, x.array)
    x.data -= x.data
    assert x.tolist() == [[0.0] * 3] * 2
    x.data = tc.ones(2, 3)
    assert x.requires_grad
    assert x.sum().item() == 6
    with pytest.raises(tc.ShapeError) as error:
        x.data = tc.ones(3)
    assert str(error.value) == "data must be float32 (2, 3), got float32 (3,)"


@pytest.mark.parametrize("make", [lambda: tc.ones(2, requires_grad=True), lambda: Parameter(tc.ones(2))])
def test_deepcopy_and_pickle(make):
    x = make()
    (x * 3).sum().backward()
    twin = copy.deepcopy([x, x])
    assert twin[0] is twin[1]
    assert type(twin[0]) is type(x)
    assert twin[0].requires_grad
    assert twin[0].grad.tolist() == [3.0, 3.0]
    assert not share_memory(twin[0].array, x.array)
    assert not share_memory(twin[0].grad.array, x.grad.array)
    again = pickle.loads(pickle.dumps(x))
    assert type(again) is type(x)
    assert (again.tolist(), again.requires_grad, again.grad) == (x.tolist(), True, None)
    with pytest.raises(tc.GraphError) as error:
        copy.deepcopy(x * 2)
    assert str(error.value) == "deepcopy: only leaves can be copied with their gradients; use x.detach().clone()"
    with pytest.raises(tc.GraphError) as error:
        pickle.dumps(x * 2)
    assert str(error.value) == "pickle: only leaves can be pickled, the tape cannot; use x.detach()"


@pytest.mark.parametrize("dtype", DTYPES)
def test_pickle_keeps_the_dtype_and_the_0_d_shape(dtype):
    x = pickle.loads(pickle.dumps(tc.ones((), dtype=dtype)))
    assert (x.shape, x.dtype) == ((), dtype)


@on_the_host
def test_sizes():
    x = tc.zeros(2, 3, 4)
    assert x.size() == x.shape == (2, 3, 4)
    assert (x.size(-1), x.ndim, x.dim(), x.numel(), x.element_size(), len(x)) == (4, 3, 3, 24, 4, 2)
    assert x.device == "cpu"
    assert x.is_floating_point()
    assert not x.long().is_floating_point()


# --- indexing -------------------------------------------------------------------------------------------------------

INDICES = [
    0, -1, slice(1, None), slice(None, None, 2), (0, 1), (slice(None), 2), (..., 0), None, (None, 0), ...,
    [0, 1, 0], ([0, 1], [2, 0]), (slice(None), [2, 0, 2]), np.array([True, False]), np.array([[0, 1], [1, 0]]), [],
    (0, [1, 2]), np.int64(1),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_indexing_equals_torch_with_its_gradient(index):
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    x, theirs = tc.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    y, expected = x[index], theirs[index]
    assert_array_equal(y, expected.detach().numpy())
    (y * y).sum().backward()
    (expected * expected).sum().backward()
    assert_array_equal(x.grad, theirs.grad.numpy())


def test_indexing_with_tensors():
    x = tc.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x[tc.tensor([1, 0])].tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert x[x > 2].tolist() == [3.0, 4.0]
    assert x[tc.tensor(1)].tolist() == [3.0, 4.0]
    assert x[tc.tensor([0, 1]), tc.tensor([1, 0])].tolist() == [2.0, 3.0]


def test_bad_indices_say_what_was_indexed():
    x = tc.zeros(2, 3)
    with pytest.raises(IndexError, match="index 9 is out of bounds") as error:
        x[0, 9]
    assert error.value.__notes__ == ["in x[...] with x of shape (2, 3)"]
    with pytest.raises(IndexError, match="out of bounds"):
        x[2]
    with pytest.raises(IndexError) as error:
        x[tc.tensor([0.5])]
    assert str(error.value) == "an index must be of integers or bools, got float32"


def test_an_index_that_changes_later_does_not_spoil_the_gradient():
    x = tc.zeros(4, requires_grad=True)
    places, rows = tc.tensor([0, 1]), np.array([2, 2])
    y = x[places].sum() + x[rows].sum()
    places += 2
    rows[:] = 0
    y.backward()
    assert x.grad.tolist() == [1.0, 1.0, 2.0, 0.0]


@on_the_host
def test_printing_of_small_and_empty_tensors():
    assert repr(tc.tensor([1 / 3, 2.0])) == "tensor([0.3333, 2.    ])"
    assert repr(tc.zeros(0, 3)) == "tensor([], size=(0, 3))"
    assert repr(tc.zeros(0)) == "tensor([])"


def test_the_maximum_along_an_axis_has_names():
    best = tc.tensor([[1.0, 3.0], [5.0, 2.0]]).max(1)
    assert best.values.tolist() == [3.0, 5.0]
    assert best.indices.tolist() == [1, 0]


@pytest.mark.parametrize("index", [((0, 0),), ((0, 0, 1), slice(None)), (range(2), 0), ([0, 0],)], ids=repr)
def test_sequences_in_an_index_are_integer_arrays(index):
    """An element that is named twice gets both gradients."""
    x = np.arange(6.0).reshape(3, 2)
    t = tc.tensor(x, requires_grad=True)
    y = t[index]
    assert_array_equal(y, x[index])
    y.sum().backward()
    expected = np.zeros_like(x)
    np.add.at(expected, index, 1)
    assert_array_equal(t.grad, expected)


@on_the_host
@pytest.mark.parametrize(
    "expression",
    [
        lambda t: np.float64(2) ** t,
        lambda t: np.array([2.0], np.float32) ** t,
        lambda t: t.clamp(min=np.float32(1)),
        lambda t: t * np.float64(2),
    ],
)
def test_numpy_numbers_leave_the_dtype_alone(expression):
    assert expression(tc.ones(2)).dtype == tc.float32


def test_operands_that_are_none():
    t = tc.ones(2)
    with pytest.raises(TypeError):
        "a" ** t
    assert (
        message(tc.DtypeError, tc.where, t > 0, None, t)
        == "where: expected tensors or numbers, got NoneType and Tensor"
    )
    with pytest.raises(ValueError, match="negative integer power"):
        tc.tensor([2]) ** tc.tensor([-1])


def test_sum_in_the_dtype_asked_for():
    assert tc.ones(3, dtype=tc.int32).sum(dtype=tc.int32).dtype == tc.int32
    assert tc.ones(3, dtype=tc.bool).sum().dtype == tc.int64


@pytest.mark.parametrize(
    "name", ["sum", "mean", "amax", "amin", "argmax", "argmin", "var", "std", "prod", "logsumexp", "all", "any"]
)
def test_the_words_of_numpy_are_understood(name):
    x = tc.tensor([[1.0, 2.0], [3.0, 5.0]])
    reduce = getattr(x, name)
    assert_array_equal(reduce(axis=1, keepdims=True), reduce(dim=1, keepdim=True))
    assert reduce(axis=-1).shape == (2,)
    assert getattr(tc, name)(x, axis=0).shape == (2,)


@on_the_host
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("compare", ["equal", "not_equal"])
def test_comparing_a_column_with_a_row_is_warned_of(compare, swapped):
    """(scores.argmax(1, keepdim=True) == labels).float().mean() looks like an accuracy."""
    operator = {"equal": lambda a, b: a == b, "not_equal": lambda a, b: a != b}[compare]
    guesses, labels = tc.arange(4)[:, None], tc.arange(4)
    pair = (labels, guesses) if swapped else (guesses, labels)
    with pytest.warns(UserWarning, match=compare) as caught:
        assert operator(*pair).shape == (4, 4)
    assert [(str(warning.message), warning.filename) for warning in caught] == [(
        f"{compare}: (4, 1) and (4,) give (4, 4), each compared with each; x.squeeze(1) for one by one, "
        "y[:, None] == y[None, :] where each with each is meant", __file__,
    )]  # fmt: skip
    with pytest.warns(UserWarning, match=compare):
        operator(guesses, labels.numpy())


@on_the_host
def test_comparisons_that_are_meant_are_not_warned_of():
    labels = tc.arange(4)
    assert (labels[:, None] == labels[None, :]).sum().item() == 4
    assert (labels[:, None] == tc.arange(10)).shape == (4, 10)  # one-hot
    assert (labels[:1, None] == labels[:1]).item()
    assert (labels[:, None] == 1).sum().item() == 1
    assert (labels[:, None] > labels).sum().item() == 6
