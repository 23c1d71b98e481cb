"""Tensors from nothing and from random numbers; devices, and arrays of other libraries."""

import copy
import json
import sys

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv.arrays.backend import NUMPY, backend_of

torch = pytest.importorskip("torch")


def assert_same(ours, theirs):
    assert ours.shape == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(ours, theirs.numpy())


# --- shapes and values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["zeros", "ones"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), ((2, 3),), ([2, 3],), ((),)], ids=repr)
@pytest.mark.parametrize("dtype", [None, "bool", "uint8", "int64", "float64"])
def test_zeros_and_ones(name, shape, dtype):
    theirs = getattr(torch, name)(*shape or [()], dtype=dtype and getattr(torch, dtype))
    assert_same(getattr(tc, name)(*shape, dtype=dtype), theirs)


@pytest.mark.parametrize("value", [True, 3, 2.5, float("nan")])
def test_full(value):
    assert_same(tc.full((2, 3), value), torch.full((2, 3), value))
    assert_same(tc.full((2,), value, dtype=tc.float64), torch.full((2,), value, dtype=torch.float64))


def test_full_of_one_axis():
    assert tc.full(3, 1.0).shape == (3,)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float64"])
def test_like_another(dtype):
    ours, theirs = tc.ones(2, 3, dtype=dtype), torch.ones(2, 3, dtype=getattr(torch, dtype))
    assert_same(tc.zeros_like(ours), torch.zeros_like(theirs))
    assert_same(tc.ones_like(ours), torch.ones_like(theirs))
    assert_same(tc.full_like(ours, 1), torch.full_like(theirs, 1))
    assert_same(tc.zeros_like(ours, dtype=tc.float32), torch.zeros_like(theirs, dtype=torch.float32))


@pytest.mark.parametrize(
    "args",
    [
        (5,), (0,), (2, 5), (0, 10, 3), (5, 0, -2), (5, 5), (2.5,), (0, 1, 0.1), (1, 0, -0.25), (0.0, 5), (-3, 3),
        (1000, 1001, 0.001), (0, 100_000, 0.3),
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("dtype", [None, "float32", "float64"])
def test_arange(args, dtype):
    ours, theirs = tc.arange(*args, dtype=dtype), torch.arange(*args, dtype=dtype and getattr(torch, dtype))
    assert ours.shape == tuple(theirs.shape)
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=2e-7 if ours.dtype == np.float32 else 1e-15)


def test_arange_of_a_small_integer_dtype():
    assert_same(tc.arange(2, 20, 3, dtype=tc.int32), torch.arange(2, 20, 3, dtype=torch.int32))


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
@pytest.mark.parametrize(
    "args", [(4.6,), (-0.5, 3), (0.5, 3.7, 1), (3, 0, -1.5), (-1.84, 1, 2), (3.67, 3.1, -2), (7.9, 3.2, -1.6)], ids=repr
)
def test_arange_of_fractions_in_an_integer_dtype(args, dtype):
    assert_same(tc.arange(*args, dtype=dtype), torch.arange(*args, dtype=getattr(torch, dtype)))


def test_arange_of_a_step_that_rounds_to_nothing():
    """Of int64 both of us refuse it; of smaller integers PyTorch counts by what was given."""
    assert_same(tc.arange(0, 1, 0.3, dtype=tc.int32), torch.arange(0, 1, 0.3, dtype=torch.int32))
    assert message(tc.ShapeError, tc.arange, 0, 1, 0.3, dtype=tc.int64) == (
        "arange: 1 cannot be reached from 0 in steps of 0"
    )


@pytest.mark.parametrize("name", ["linspace", "logspace"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float64"])
@pytest.mark.parametrize("args", [(0, 2, 4), (2.9, 0, 7), (0.5, 1.9, 5), (1, 2, 0), (1, 1, 1)], ids=repr)
def test_numbers_at_equal_distances_in_a_dtype(name, dtype, args):
    ours, theirs = (getattr(lib, name)(*args, dtype=getattr(lib, dtype)) for lib in (tc, torch))
    assert str(theirs.dtype) == f"torch.{ours.dtype}"
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-15, atol=1e-15)


def test_whole_numbers_between_integers_are_exact():
    """-2 + 0.8 * 5 is 2. PyTorch rounds a product and a sum together and may be one below, on machines with an FMA."""
    assert tc.linspace(-2, 6, 11, dtype=tc.int64).tolist() == [-2, -1, 0, 0, 1, 2, 2, 3, 4, 5, 6]
    assert tc.linspace(5, -1, 15, dtype=tc.int64)[7].item() == 2


def test_numbers_that_a_dtype_does_not_have():
    assert message(tc.DtypeError, tc.full, (2,), 300, dtype=tc.uint8) == "full: 300 does not fit uint8"
    assert message(tc.DtypeError, tc.full, (2,), 1e6, dtype=tc.float16) == "full: 1000000.0 does not fit float16"
    assert message(tc.DtypeError, tc.linspace, 0, 1e3, 3, dtype=tc.int8) == "linspace: end: 1000.0 does not fit int8"
    assert message(tc.DtypeError, tc.logspace, -1, 2, 3, dtype=tc.uint8) == "logspace: start: -1 does not fit uint8"
    assert tc.full((1,), float("inf"), dtype=tc.float16).item() == float("inf")


def test_arange_that_leads_nowhere():
    assert message(tc.ShapeError, tc.arange, 0, 5, 0) == "arange: 5 cannot be reached from 0 in steps of 0"
    assert message(tc.ShapeError, tc.arange, 0, 5, -1) == "arange: 5 cannot be reached from 0 in steps of -1"


@pytest.mark.parametrize("make", [tc.zeros, tc.ones, tc.rand, tc.randn])
def test_requires_grad_and_bad_arguments(make):
    x = make(2, requires_grad=True)
    assert x.requires_grad
    assert x.is_leaf
    assert not make(2).requires_grad
    assert message(tc.ShapeError, make, 2, -1) == "sizes cannot be negative, got (2, -1)"
    assert message(tc.DtypeError, make, 2, dtype="float23") == "not a dtype: 'float23'; did you mean 'float32'?"
    complex_numbers = "tensors of complex64 are not supported: bool, integers, float16, float32 and float64 are"
    assert message(tc.DtypeError, make, 2, dtype=np.complex64) == complex_numbers
    objects = "tensors of object are not supported: bool, integers, float16, float32 and float64 are"
    assert message(tc.DtypeError, make, 2, dtype=object) == objects
    gpu = "unknown device 'gpu': expected 'cpu', 'cuda', 'cuda:N' or 'meta'"
    assert message(tc.DeviceError, make, 2, device="gpu") == gpu


def test_only_floating_point_noise():
    expected = "random numbers are floating point, not int64; randint makes integers"
    assert message(tc.DtypeError, tc.rand, 2, dtype=tc.int64) == expected
    integers = "requires_grad: only floating-point tensors have gradients, this one is int64"
    assert message(tc.DtypeError, tc.zeros, 2, dtype=tc.int64, requires_grad=True) == integers
    assert message(tc.ShapeError, tc.randint, 0, 5, (-1,)) == "sizes cannot be negative, got (-1,)"
    assert message(ValueError, tc.randint, 5, 5, (1,)) == "randint: high: expected an integer >= 6, got 5"


# --- random numbers -------------------------------------------------------------------------------------------------


def draw():
    x = tc.ones(3, 2, dtype=tc.float64)
    return [
        t.tolist()
        for t in (
            tc.rand(3), tc.randn(2, 2), tc.randint(0, 10, (5,)), tc.randperm(7), tc.rand_like(x), tc.randn_like(x),
            tc.functional.dropout(x), tc.nn.Linear(3, 2).weight,
        )
    ]  # fmt: skip


def test_a_seed_gives_the_same_numbers():
    tc.manual_seed(7)
    first = draw()
    assert draw() != first
    tc.manual_seed(7)
    assert draw() == first
    tc.manual_seed(8)
    assert draw() != first


def test_the_state_of_the_generator_can_be_saved_and_restored():
    tc.manual_seed(0)
    draw()
    state = tc.get_rng_state()
    saved = json.dumps(state)  # plain numbers and strings: it fits in any checkpoint
    kept = copy.deepcopy(state)
    first = draw()
    assert state == kept  # it does not move on
    tc.set_rng_state(json.loads(saved))
    assert draw() == first


def test_a_generator_is_apart_from_manual_seed():
    tc.manual_seed(0)
    before, g = tc.get_rng_state(), tc.Generator(device="cpu").manual_seed(3)
    first, state = tc.randperm(20, generator=g), json.loads(json.dumps(g.get_state()))
    second = tc.randperm(20, generator=g)
    assert tc.get_rng_state() == before
    assert first.tolist() != second.tolist()
    assert tc.randperm(20, generator=g.manual_seed(3)).tolist() == first.tolist()
    g.set_state(state)
    assert tc.randperm(20, generator=g).tolist() == second.tolist()
    assert (g.initial_seed(), g.seed() == g.initial_seed()) == (3, True)
    with pytest.raises(tc.OptionError, match=r"generator: expected a tinyconv.Generator, got 3"):
        tc.randperm(20, generator=3)
    with pytest.raises(tc.OptionError, match=r"set_state: expected what get_state returned, got \{\}"):
        g.set_state({})


def test_the_numbers_have_the_promised_distribution():
    tc.manual_seed(0)
    uniform, normal = tc.rand(100_000), tc.randn(100_000, dtype=tc.float64)
    assert (uniform.dtype, normal.dtype) == (tc.float32, tc.float64)
    assert 0 <= uniform.min().item() < 0.001
    assert 0.999 < uniform.max().item() < 1
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.005)
    assert normal.mean().item() == pytest.approx(0, abs=0.02)
    assert normal.std().item() == pytest.approx(1, abs=0.02)
    integers = tc.randint(-2, 3, (10_000,))
    assert integers.dtype == tc.int64
    assert set(integers.tolist()) == {-2, -1, 0, 1, 2}
    assert sorted(tc.randperm(100).tolist()) == list(range(100))
    assert tc.randperm(100).dtype == tc.int64


def test_numpys_own_generator_is_left_alone():
    np.random.seed(3)  # noqa: NPY002 (the old global one is what a bystander would use)
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    tc.manual_seed(0)
    draw()
    assert np.random.rand() == expected  # noqa: NPY002


def test_is_tensor():
    assert tc.is_tensor(tc.ones(1))
    assert not tc.is_tensor(np.ones(1))


# --- devices --------------------------------------------------------------------------------------------------------


@pytest.fixture
def without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # importing it then fails, as where it is not installed
    monkeypatch.setattr("tinyconv.arrays.backend._cupy", None)


NO_CUPY = (
    "device 'cuda' needs CuPy, which is not installed: pip install 'tinyconv[cuda13]' (CUDA 13) "
    "or 'tinyconv[cuda12]' (CUDA 12), or use device='cpu'"
)


@pytest.mark.usefixtures("without_cupy")
@pytest.mark.parametrize(
    "use",
    [
        lambda: tc.zeros(2, device="cuda"),
        lambda: tc.tensor([1.0], device="cuda:1"),
        lambda: tc.rand(2, device="cuda"),
        lambda: tc.ones(2).to("cuda"),
        lambda: tc.ones(2).cuda(),
        lambda: tc.nn.Linear(2, 2).to("cuda"),
        lambda: tc.nn.Linear(2, 2).cuda(),
        lambda: tc.synchronize("cuda"),
    ],
)
def test_cuda_without_cupy(use):
    assert message(tc.DeviceError, use) == NO_CUPY


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "cuda:x", "mps", "CUDA"])
@pytest.mark.parametrize(
    "use",
    [
        lambda device: tc.ones(2, device=device),
        lambda device: tc.ones(2).to(device),
        lambda device: tc.ones(2).to(device=device),
        lambda device: tc.nn.Linear(2, 2).to(device),
        lambda device: tc.tensor([1.0], device=device),
    ],
)
def test_devices_that_do_not_exist(use, device):
    assert (
        message(tc.DeviceError, use, device) == f"unknown device {device!r}: expected 'cpu', 'cuda', 'cuda:N' or 'meta'"
    )


def test_the_cpu():
    assert tc.ones(2, device="cpu").device == "cpu"
    tc.synchronize()


class ForeignArray:
    dtype, shape, ndim = np.dtype(np.float32), (2,), 1


def test_arrays_of_unknown_libraries():
    assert backend_of() is backend_of(None, 1, 2.5) is backend_of(np.ones(1), None) is NUMPY
    foreign = "expected a NumPy or CuPy array or a number, got ForeignArray"
    assert message(tc.DeviceError, backend_of, np.ones(2), ForeignArray()) == foreign
    torchs = "expected a NumPy or CuPy array or a number, got Tensor"
    assert message(tc.DeviceError, backend_of, torch.ones(2)) == torchs
    with pytest.raises(TypeError, match="unsupported operand"):
        tc.ones(2) + ForeignArray()


@pytest.mark.parametrize("end", [2**63, 2**70, 10**400])
def test_a_range_that_is_too_long(end):
    with pytest.raises(ValueError, match=r"arange: "):
        tc.arange(end)


@pytest.mark.parametrize("p", [np.ones(3), "two", [2]])
def test_a_norm_of_another_kind(p):
    with pytest.raises(ValueError, match=r"norm: p must be a number or 'fro', got"):
        tc.ones(3).norm(p)


def test_bools_without_a_name_are_non_blocking_and_copy():
    x = tc.ones(2)
    assert x.to(tc.float32, True) is x
    assert x.to(tc.float32, False, True) is not x
    assert x.to("cpu", tc.float64, False, True).dtype == np.float64
    assert x.long(memory_format=tc.preserve_format).dtype == np.int64
