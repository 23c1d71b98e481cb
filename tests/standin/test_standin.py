"""The stand-in for CuPy itself: it must refuse, count and capture as CuPy does, or tests on it prove nothing."""

import inspect

import numpy as np
import pytest

from standin import counted, cupy, functions

CODE = """
// y = x from its end to its start, plus a number, plus an array if there is one; one block.
extern "C" __global__ void backwards(float* y, const float* x, const float* more, float step, int n) {
    __shared__ float copy[32];
    const int i = threadIdx.x;
    if (i < n) copy[i] = x[i];
    __syncthreads();
    if (i < n) y[i] = copy[n - 1 - i] + step + (more ? more[i] : 0);
}
extern "C" __global__ void uneven(float* x) {
    if (threadIdx.x) __syncthreads();
    x[threadIdx.x] = 1;
}
"""


def on_device(values=((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), dtype=np.float32):
    return cupy.asarray(np.array(values, dtype))


def kernel(name):
    return cupy.RawModule(code=CODE, options=("-std=c++17",)).get_function(name)


# --- arrays of the device and of the host do not mix ----------------------------------------------------------------


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, host: x + host,
        lambda x, host: host * x,
        lambda x, host: cupy.maximum(x, host),
        lambda x, host: cupy.where(x > 0, x, host),
        lambda x, host: cupy.add(x, 1, out=host),
        lambda x, host: cupy.sum(host),
        lambda x, host: cupy.concatenate([x, host]),
        lambda x, host: x.__iadd__(host),
        lambda x, host: np.add(x, 1),
        lambda x, host: np.sum(x),
        lambda x, host: np.asarray(x),
        lambda x, host: np.array(x),
        lambda x, host: host.__setitem__(..., x),
        lambda x, host: kernel("backwards")((1,), (32,), (x, host, None, np.float32(0), np.int32(6))),
    ],
)
def test_no_array_of_the_host_is_taken_and_none_is_made(mix):
    with counted() as count, pytest.raises(TypeError):
        mix(on_device(), np.ones((2, 3), np.float32))
    assert (count.to_host, count.synchronisations) == (0, 0)


def test_the_messages_are_cupys():
    with pytest.raises(TypeError, match=r"^Unsupported type <class 'numpy.ndarray'>$"):
        on_device() + np.ones(3)
    with pytest.raises(TypeError, match=r"^Implicit conversion to a NumPy array is not allowed. Please use `.get\(\)`"):
        np.asarray(on_device())
    with pytest.raises(ValueError, match=r"^non-scalar numpy.ndarray cannot be used for fill$"):
        on_device()[...] = np.ones(3)


def test_numbers_of_python_and_numpy_are_taken():
    x = on_device()
    assert ((np.float32(2) * x + 1 - np.int64(1)) / 2).get().tolist() == x.get().tolist()
    assert (x * 2.0).dtype == np.float32
    assert (x * np.float64(2)).dtype == np.float64


@pytest.mark.parametrize("name", ["errstate", "vectorize", "nditer", "save", "np", "testing", "float"])
def test_what_cupy_does_not_have_is_not_there(name):
    assert not hasattr(cupy, name)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: cupy.max(x, initial=0),
        lambda x: x.sum(where=x > 0),
        lambda x: cupy.exp(x, where=x > 0),
        lambda x: cupy.zeros(3, like=x),
        lambda x: cupy.broadcast_to(x, (2, 3), subok=True),
        lambda x: cupy.lib.stride_tricks.as_strided(x, (2,), (4,), writeable=False),
        lambda x: x.astype("f8", like=x),
    ],
)
def test_what_cupys_functions_do_not_take_is_refused(call):
    with pytest.raises(TypeError):
        call(on_device())


def test_the_arguments_are_those_of_cupy():
    real = pytest.importorskip("cupy")
    for text in (functions.KERNELS, functions.VIEWS):
        for name, signature in functions.signatures(text).items():
            given = inspect.signature(getattr(real, name)).parameters
            assert set(signature.parameters) <= set(given), name
    for name in functions.UFUNCS.split():
        assert isinstance(getattr(real, name), real.ufunc), name


# --- values ---------------------------------------------------------------------------------------------------------


def test_results_without_axes_are_arrays():
    x = on_device()
    for y in (x.sum(), x[0, 1], x.reshape(-1)[3], cupy.exp(x.max()), x.mean(axis=(0, 1)), x.argmax()):
        assert isinstance(y, cupy.ndarray)
        assert y.shape == ()


def test_views_share_memory_and_copies_do_not():
    x = on_device()
    for view in (x.T, x[1:], x[None], x.reshape(3, 2), x[0], x[..., 0], cupy.broadcast_to(x, (4, 2, 3)), x.ravel()):
        assert cupy.may_share_memory(view, x)
        assert view.base is x
    x[0].fill(9)
    assert x.get().tolist() == [[9, 9, 9], [4, 5, 6]]
    for copy in (x.copy(), x.T.reshape(-1), x[[0, 1]], x + 0, x.flatten()):
        assert not cupy.may_share_memory(copy, x)
        assert copy.base is None


def test_results_are_in_c_order_and_copies_keep_theirs():
    x = on_device().T
    assert (x + 1).flags.c_contiguous
    assert x.astype(np.float64).flags.f_contiguous
    assert cupy.zeros_like(x).flags.f_contiguous
    assert x.copy().flags.c_contiguous


def test_new_memory_holds_garbage():
    assert np.isnan(cupy.empty(4, np.float32).get()).all()
    assert cupy.empty(4, np.int32).get().tolist() == [2**31 - 1] * 4
    assert np.isnan(cupy.empty_like(on_device()).get()).all()


def test_an_index_out_of_range_is_taken_modulo_the_size():
    x = on_device()
    assert x[cupy.asarray(np.array([2, -1]))].get().tolist() == [[1, 2, 3], [4, 5, 6]]
    assert x[..., cupy.asarray(np.array([3]))].get().tolist() == [[1], [4]]
    x[cupy.asarray(np.array([5])), 0] = 7
    assert x.get()[1, 0] == 7


def test_nothing_warns():
    assert np.isnan(cupy.log(-on_device()).get()).all()  # a warning is an error in these tests


# --- what is counted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda x: x * 2 + 1, (0, 0, 0, 2)),
        (lambda x: x.T[1:].reshape(-1), (0, 0, 0, 1)),
        (lambda x: x.reshape(3, 2)[None], (0, 0, 0, 0)),
        (lambda x: x.sum(axis=0), (0, 0, 0, 1)),
        (lambda x: cupy.empty(3), (0, 0, 0, 0)),
        (lambda x: cupy.asarray(x), (0, 0, 0, 0)),
        (lambda x: cupy.asarray(np.ones(3)), (1, 0, 0, 0)),
        (lambda x: cupy.array([1.0, 2.0]), (1, 0, 0, 0)),
        (lambda x: x[[0, 1]], (1, 0, 0, 1)),
        (lambda x: x.set(np.zeros((2, 3), np.float32)), (1, 0, 0, 0)),
        (lambda x: x.get(), (0, 1, 1, 0)),
        (lambda x: x.get(blocking=False), (0, 1, 0, 0)),
        (cupy.asnumpy, (0, 1, 1, 0)),
        (lambda x: x[0, 0].item(), (0, 1, 1, 0)),
        (lambda x: float(x[0, 0]), (0, 1, 1, 0)),
        (lambda x: int(x[0, 0]), (0, 1, 1, 0)),
        (lambda x: bool(x[0, 0]), (0, 1, 1, 0)),
        (lambda x: 1 if x[0, 0] > 0 else 0, (0, 1, 1, 1)),
        (lambda x: x.tolist(), (0, 1, 1, 0)),
        (repr, (0, 1, 1, 0)),
        (lambda x: x[x > 2], (0, 1, 1, 2)),
        (lambda x: x.__setitem__(x > 2, 0), (0, 0, 0, 2)),
        (cupy.nonzero, (0, 1, 1, 1)),
        (lambda x: cupy.cuda.get_current_stream().synchronize(), (0, 0, 1, 0)),
        (lambda x: cupy.cuda.Device().synchronize(), (0, 0, 1, 0)),
    ],
)
def test_copies_waits_and_kernels_are_counted(work, expected):
    x = on_device()
    with counted() as count:
        work(x)
    assert (count.to_device, count.to_host, count.synchronisations, count.launches) == expected


def test_a_number_that_is_none_of_the_dtype_is_refused_in_comparisons_too():
    with pytest.raises(OverflowError, match="Python integer -100 out of bounds for uint8"):
        cupy.not_equal(cupy.zeros(2, np.uint8), -100)
    with pytest.raises(OverflowError, match="out of bounds for int8"):
        assert cupy.zeros(2, np.int8) < 255


# --- kernels --------------------------------------------------------------------------------------------------------


def test_a_kernel_runs_and_none_is_a_null_pointer():
    x, y = on_device(), cupy.empty((2, 3), np.float32)
    with counted() as count:
        kernel("backwards")((1,), (32,), (y, x, None, np.float32(0.5), np.int32(6)))
    assert count.launches == 1
    np.testing.assert_array_equal(y.get(), x.get()[::-1, ::-1] + 0.5)
    kernel("backwards")((1,), (32,), (y, x, x, np.float32(0), np.int32(6)))
    assert y.get().tolist() == [[7, 7, 7], [7, 7, 7]]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({0: lambda x: cupy.empty((3, 2), np.float32).T}, ValueError),  # strides, of which the kernel knows nothing
        ({3: lambda x: 0.5}, TypeError),  # CuPy passes a double
        ({4: lambda x: 6}, TypeError),  # and an int64
        ({1: lambda x: np.float32(1)}, TypeError),
    ],
)
def test_arguments_that_a_kernel_would_misread_are_refused(change, error):
    x = on_device()
    args = [cupy.empty((2, 3), np.float32), x, None, np.float32(0), np.int32(6)]
    for i, value in change.items():
        args[i] = value(x)
    with pytest.raises(error, match="kernel backwards"):
        kernel("backwards")((1,), (32,), tuple(args))


def test_a_barrier_that_some_threads_miss_is_found():
    with pytest.raises(RuntimeError, match="not all threads of a block reached the barrier"):
        kernel("uneven")((1,), (4,), (cupy.zeros(4, np.float32),))


# --- devices and memory ---------------------------------------------------------------------------------------------


def test_arrays_know_their_device_and_two_do_not_mix():
    x = on_device()
    with cupy.cuda.Device(1):
        y = on_device()
        assert (x.device.id, y.device.id) == (0, 1)
        for mix in (lambda: x + y, lambda: x.sum(), lambda: cupy.exp(x)):
            with pytest.raises(ValueError, match=r"resides \(0\) is different from the current device \(1\)"):
                mix()
        assert cupy.asarray(x).device.id == 1
    assert cupy.cuda.Device().id == 0
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="cudaErrorInvalidDevice"):
        cupy.cuda.Device(2).use()


def test_memory_comes_from_a_pool_and_goes_back():
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        x = cupy.zeros(100, np.float32)
    view = x[1:]
    del x
    assert pool.used_bytes() == 512
    del view
    assert pool.used_bytes() == 0


def test_a_limit_of_memory():
    pool = cupy.cuda.MemoryPool()
    pool.set_limit(size=1024)
    with (
        cupy.cuda.using_allocator(pool.malloc),
        pytest.raises(cupy.cuda.memory.OutOfMemoryError, match=r"allocating 4,096 bytes \(allocated so far: 512 bytes"),
    ):
        _x, _y = cupy.zeros(100, np.float32), cupy.zeros(1000, np.float32)


# --- capture --------------------------------------------------------------------------------------------------------


class Captured:
    """What is done in the block is captured, in memory of its own."""

    def __init__(self):
        self.stream, self.pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()

    def __enter__(self):
        self.contexts = [self.stream, cupy.cuda.using_allocator(self.pool.malloc)]
        for context in self.contexts:
            context.__enter__()
        self.stream.begin_capture()
        return self

    def __exit__(self, kind, *error):
        try:
            if kind is None:
                self.graph = self.stream.end_capture()
            elif self.stream._work is not None:
                self.stream._work = None
        finally:
            for context in reversed(self.contexts):
                context.__exit__(kind, *error)


def test_a_stream_that_captures_does_nothing_until_the_graph_is_launched():
    x, y = on_device(), cupy.zeros((2, 3), np.float32)
    with Captured() as captured:
        assert captured.stream.is_capturing()
        doubled = x * 2
        y += doubled
        y[0, 0] = -1
        kernel("backwards")((1,), (32,), (y, y, doubled, np.float32(0), np.int32(6)))
        total = y.sum()
        buffer = cupy.zeros(3)
        cupy.add.at(buffer, cupy.zeros(2, np.int64), 1)
    assert not captured.stream.is_capturing()
    assert y.get().tolist() == [[0] * 3] * 2
    assert np.isnan(total.get())
    expected = np.zeros((2, 3), np.float32)
    for scale in (1, 1, 3):  # other values of x, in the same place
        x[...] = on_device() * scale
        with counted() as count:
            captured.graph.launch()
        assert count.launches == 1
        twice = 2 * x.get()
        expected += twice
        expected[0, 0] = -1
        expected = expected[::-1, ::-1] + twice
        np.testing.assert_array_equal(y.get(), expected)
        assert total.get() == expected.sum()
        assert buffer.get().tolist() == [2, 0, 0]


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda x: x.get(),
        lambda x: float(x.sum()),
        lambda x: cupy.asarray(np.ones(3)),
        lambda x: x.set(np.zeros((2, 3), np.float32)),
        lambda x: x[x > 0],
        lambda x: x[[0, 1]],
        lambda x: cupy.cuda.get_current_stream().synchronize(),
        lambda x: cupy.cuda.Device().synchronize(),
    ],
)
def test_what_a_capture_forbids_spoils_it(forbidden):
    x = on_device()
    refused = pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="StreamCaptureUnsupported: operation not permit")
    spoilt = pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated")
    with spoilt, Captured(), refused:
        forbidden(x)


@pytest.mark.parametrize("product", [lambda x: x @ x.T, lambda x: cupy.matmul(x, x.T), lambda x: x.dot(x.T)])
def test_cublas_is_closed_to_a_capture(product):
    x = on_device()
    with Captured(), pytest.raises(NotImplementedError, match="calling cuBLAS API during stream capture"):
        product(x)


def test_the_default_stream_does_not_capture():
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cupy.cuda.get_current_stream().begin_capture()


def test_a_graph_whose_memory_others_may_have_is_not_launched():
    x, y = on_device(), cupy.zeros((2, 3), np.float32)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        y += x * 2  # the product is gone, and its memory with it
        graph = stream.end_capture()
    with pytest.raises(RuntimeError, match="gone back to a pool"):
        graph.launch()
    with Captured() as captured:
        y += x * 2
    captured.graph.launch()  # its pool is still there, and nobody else's
    captured.pool = None
    with pytest.raises(RuntimeError, match="gone back to a pool"):
        captured.graph.launch()


def test_what_is_captured_waits_only_for_what_is_captured():
    stream, other = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
    event = other.record()
    stream.wait_event(event)
    with stream:
        stream.begin_capture()
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="StreamCaptureIsolation"):
            stream.wait_event(event)
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="StreamCaptureInvalidated"):
            stream.end_capture()
