"""Tensors from data, from nothing, and from random numbers.

Random numbers come from one NumPy generator on the host, whatever the device: a seed gives the same weights everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from math import ceil
from reprlib import repr as shortened
from threading import Lock
from typing import Any

import numpy as np

from tinyconv.arrays.backend import META, backend_for, captured_step, device_name
from tinyconv.arrays.meta import MetaArray
from tinyconv.arrays.setting import Setting
from tinyconv.distributed.communicator import Communicator, current
from tinyconv.engine.dtypes import DEFAULT_FLOAT, Dtype, as_dtype, dtype_of_number
from tinyconv.engine.each_step import computed, staged
from tinyconv.engine.options import finite, integer, number, real
from tinyconv.errors import DtypeError, ShapeError
from tinyconv.host.threads import Once
from tinyconv.shapes import Shape, new_sizes, whole
from tinyconv.tensor.convert import to_array
from tinyconv.tensor.generator import Generator, numbers_of
from tinyconv.tensor.refusals import check_tensor
from tinyconv.tensor.tensor import Tensor, from_array, wrap

__all__ = [
    "arange", "as_tensor", "asarray", "empty", "empty_like", "eye", "from_numpy", "full", "full_like", "get_rng_state",
    "linspace", "logspace", "manual_seed", "meshgrid", "ones", "ones_like", "rand", "rand_like", "randint",
    "randint_like", "randn", "randn_like", "randperm", "set_rng_state", "synchronize", "tensor", "tril_indices",
    "triu_indices", "zeros", "zeros_like",
]  # fmt: skip


def tensor(data: Any, requires_grad: bool = False, dtype: Dtype = None, device: Any = None) -> Tensor:
    """A tensor with a copy of `data`. Like `torch.tensor`.

    Args:
        data: A number, nested lists of one length each, an array of any library, or a tensor.
        requires_grad: Whether gradients with respect to it are wanted.
        dtype: Unless given, Python floats become float32, integers int64, and arrays keep their dtype.
        device: "cpu", "cuda", "cuda:1" or "meta"; the default device unless given.

    Raises DtypeError for a dtype that tensors cannot have, values that do not fit it, or integers that require grad,
    and DeviceError where there is no such device.

        tc.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    """
    return wrap(to_array(data, dtype, device)).requires_grad_(requires_grad)


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor that shares the array's memory, shape and dtype: a write to either is seen by both.

    Raises DtypeError for anything but a NumPy array of a dtype that tensors have. Like `torch.from_numpy`.
    """
    if not isinstance(array, np.ndarray):
        raise DtypeError(f"from_numpy: expected a numpy.ndarray, got {type(array).__name__}; use tensor(data)")
    if as_dtype(array.dtype) != array.dtype:
        raise DtypeError(f"from_numpy: {array.dtype} is not this machine's byte order; tensor(array) makes a copy")
    return from_array(array)


def full(
    size: int | Sequence[int],
    fill_value: bool | int | float,
    *,
    dtype: Dtype = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of this shape with one number everywhere. Like `torch.full`.

    The dtype is float32 for a Python float, int64 for an integer and bool for a bool, unless given. Raises DtypeError
    where the number does not fit the dtype, and ShapeError for negative sizes.

        tc.full((2, 3), 0.5)
    """
    given = number(fill_value)
    if given is None:
        raise DtypeError(f"full: expected one number to fill with, got {shortened(fill_value)}")
    wanted = dtype_of_number(given) if dtype is None else as_dtype(dtype)
    value = np.asarray(_fitting("full", given, wanted), wanted)
    sizes = new_sizes((size,))
    array = computed(partial(backend_for(device).full, sizes, value.item(), wanted, device_name(device)))
    return wrap(array).requires_grad_(requires_grad)


def _fitting(what: str, value: float, dtype: np.dtype[Any]) -> float:
    """A number as the dtype has it, without what stands behind its point; DtypeError where it has none near it."""
    if dtype.kind in "iu":
        if not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:  # NaN too
            raise DtypeError(f"{what}: {shortened(value)} does not fit {dtype}")
        return int(value)
    if dtype.kind == "f" and float(np.finfo(dtype).max) < abs(value) < float("inf"):
        raise DtypeError(f"{what}: {shortened(value)} does not fit {dtype}")
    return value


def zeros(
    *shape: Any, size: Any = None, dtype: Dtype = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros, float32 unless `dtype` says otherwise: `zeros(2, 3)`, `zeros((2, 3))` or `zeros(size=(2, 3))`.

    Raises ShapeError for negative sizes.
    """
    return full(new_sizes(shape, size), 0.0, dtype=dtype or DEFAULT_FLOAT, device=device, requires_grad=requires_grad)


def ones(*shape: Any, size: Any = None, dtype: Dtype = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones, float32 unless `dtype` says otherwise: `ones(2, 3)`, `ones((2, 3))` or `ones(size=(2, 3))`.

    Raises ShapeError for negative sizes.
    """
    return full(new_sizes(shape, size), 1.0, dtype=dtype or DEFAULT_FLOAT, device=device, requires_grad=requires_grad)


def empty(
    *shape: Any, size: Any = None, dtype: Dtype = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor whose values nobody promises (here they are 0), float32 unless `dtype` says otherwise.

    `empty(2, 3)`, `empty((2, 3))` or `empty(size=(2, 3))`. Raises ShapeError for negative sizes.
    """
    return zeros(*shape, size=size, dtype=dtype, device=device, requires_grad=requires_grad)


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Dtype = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below `end`, one axis; `arange(n)` counts from 0. Like `torch.arange`.

    The dtype is int64 if all three are integers, else float32, unless given. An integer dtype counts from `start` in
    steps of `step`, both without what stands behind their points. Raises ShapeError where `end` cannot be reached from
    `start`.
    """
    start, end = (0, start) if end is None else (start, end)
    start, end, step = finite("arange: start", start), finite("arange: end", end), finite("arange: step", step)
    if dtype is None:
        dtype = DEFAULT_FLOAT if np.result_type(start, end, step).kind == "f" else np.int64
    wanted, first, stride = as_dtype(dtype), start, step
    wrong = (end - start) * step < 0
    if wanted.kind in "iu":
        first, stride = int(start), int(step)
        if wanted.itemsize == 8:  # how many there are, is asked of the integers too: in torch of int64 alone
            start, end, step = first, int(end), stride
    if step == 0 or wrong:
        raise ShapeError(f"arange: {end} cannot be reached from {start} in steps of {step}")
    try:
        count = ceil((end - start) / step)
    except OverflowError:
        count = 1 << 63
    if count >= 1 << 63:  # NumPy's own range of so many is empty
        raise ShapeError(f"arange: {shortened(end)} is too far from {shortened(start)} for steps of {shortened(step)}")
    # In double precision, rounded once at the end.
    return made(device, (count,), wanted, lambda: (first + stride * np.arange(count)).astype(wanted), requires_grad)


def linspace(
    start: float, end: float, steps: int, *, dtype: Dtype = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """`steps` numbers at equal distances from `start` to `end`, both included. Like `torch.linspace`.

    float32 unless `dtype` says otherwise; in an integer dtype the ends are integers first, and what is between them is
    rounded toward 0. Raises ShapeError for steps < 0, OptionError where an end is not finite, and DtypeError where one
    does not fit the dtype.
    """
    (count,), wanted = new_sizes((whole(steps, "linspace: steps"),)), as_dtype(dtype or DEFAULT_FLOAT)
    first, last = _ends("linspace", start, end, wanted)
    return made(device, (count,), wanted, lambda: _even(first, last, count).astype(wanted), requires_grad)


def logspace(
    start: float,
    end: float,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Dtype = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """base to the powers of `linspace(start, end, steps)`. Arguments and errors are those of `linspace`."""
    (count,), root, wanted = (
        new_sizes((whole(steps, "logspace: steps"),)),
        real("logspace: base", base),
        as_dtype(dtype or DEFAULT_FLOAT),
    )
    first, last = _ends("logspace", start, end, wanted)
    return made(device, (count,), wanted, lambda: (root ** _even(first, last, count)).astype(wanted), requires_grad)


def _ends(name: str, start: float, end: float, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Both ends; in an integer dtype they are integers first, as in torch."""
    first, last = finite(f"{name}: start", start), finite(f"{name}: end", end)
    return _fitting(f"{name}: start", first, dtype), _fitting(f"{name}: end", last, dtype)


def _even(first: float, last: float, count: int) -> np.ndarray[Any, Any]:
    """In double precision, counted from the nearer end, so that both ends are what was given."""
    places = np.arange(count)
    step = (last - first) / max(count - 1, 1)
    return np.where(places < (count + 1) // 2, first + step * places, last - step * (count - 1 - places))


def eye(
    n: int, m: int | None = None, *, dtype: Dtype = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The matrix of n rows, and as many columns unless m is given, with 1 on its diagonal and 0 elsewhere.

    float32 unless `dtype` says otherwise. Raises ShapeError for negative sizes. Like `torch.eye`.
    """
    sizes, wanted = new_sizes((n, n if m is None else m)), as_dtype(dtype or DEFAULT_FLOAT)
    return made(device, sizes, wanted, lambda: np.eye(*sizes, dtype=wanted), requires_grad)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Dtype = None, device: Any = None) -> Tensor:
    """The places of a matrix in its lower triangle, row by row: int64, shape (2, count). Like `torch.tril_indices`.

    `offset` moves the triangle's diagonal up. Raises ShapeError for negative sizes.
    """
    return _triangle(np.tril, row, col, offset, dtype, device)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Dtype = None, device: Any = None) -> Tensor:
    """The places of a matrix in its upper triangle, row by row: int64, shape (2, count). Like `torch.triu_indices`.

    `offset` moves the triangle's diagonal up. Raises ShapeError for negative sizes.
    """
    return _triangle(np.triu, row, col, offset, dtype, device)


def _triangle(cut: Any, row: int, col: int, offset: int, dtype: Dtype, device: Any) -> Tensor:
    places = np.stack(cut(np.ones(new_sizes((row, col)), bool), whole(offset, "offset")).nonzero())
    wanted = as_dtype(dtype or np.int64)
    return made(device, places.shape, wanted, lambda: places.astype(wanted), False)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Vectors repeated to one grid, each along its own axis, without copying: as many tensors of shape (N, M, ...).

    Args:
        tensors: Vectors or 0-d tensors, or one list of them.
        indexing: "ij", the axes in order; or "xy", the first two exchanged, as pictures have them.

    Raises ShapeError for more axes, ValueError for another indexing, and DtypeError for anything but tensors. Like
    `torch.meshgrid`.
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing must be 'ij' or 'xy', got {shortened(indexing)}")
    for t in given:
        if check_tensor("meshgrid", t, "each vector").ndim > 1:
            raise ShapeError(f"meshgrid: expected vectors, got {t.shape}")
    order = [*range(len(given))]
    if indexing == "xy" and len(order) > 1:
        order[:2] = 1, 0
    shape = [given[i].numel() for i in order]
    places = [[-1 if k == order.index(i) else 1 for k in range(len(order))] for i in range(len(order))]
    return tuple(t.reshape(place).expand(shape) for t, place in zip(given, places, strict=True))


def as_tensor(data: Any, dtype: Dtype = None, device: Any = None) -> Tensor:
    """`data` as a tensor: itself where it is one, in its own memory where it is an array, otherwise a copy.

    Another dtype or device makes a copy too. Raises what `tensor` raises. Like `torch.as_tensor`.
    """
    if isinstance(data, np.ndarray) and data.dtype.isnative and captured_step.get() is None:
        data = from_numpy(data)
    if isinstance(data, Tensor):
        return data.to(device=None if device is None else str(device), dtype=dtype)
    return tensor(data, dtype=dtype, device=device)


asarray = as_tensor


def zeros_like(
    input: Tensor, dtype: Dtype = None, device: Any = None, *, requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """Zeros of the shape and (unless given) the dtype and device of `input`. DtypeError where that is no tensor."""
    return full_like(input, 0, dtype, device, requires_grad=requires_grad)


def ones_like(
    input: Tensor, dtype: Dtype = None, device: Any = None, *, requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """Ones of the shape and (unless given) the dtype and device of `input`."""
    return full_like(input, 1, dtype, device, requires_grad=requires_grad)


def empty_like(
    input: Tensor, dtype: Dtype = None, device: Any = None, *, requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """A tensor whose values nobody promises, of the shape and (unless given) the dtype and device of `input`."""
    return full_like(input, 0, dtype, device, requires_grad=requires_grad)


def full_like(
    input: Tensor,
    fill_value: bool | int | float,
    dtype: Dtype = None,
    device: Any = None,
    *,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """One number everywhere, in the shape and (unless given) the dtype and device of `input`.

    `memory_format` changes nothing: tensors are made row by row.
    """
    _check_tensor(input)
    dtype, device = dtype or input.dtype, device or input.device
    return full(input.shape, fill_value, dtype=dtype, device=device, requires_grad=requires_grad)


# --- random ---------------------------------------------------------------------------------------------------------


@Once
def _of_the_process() -> np.random.Generator:
    """Made when it is first asked for, because numpy.random takes 12 ms to import."""
    return np.random.Generator(np.random.PCG64())


def _generator(ranks: Communicator | None = None) -> np.random.Generator:
    """The one generator; ranks that are threads have one each."""
    own: np.random.Generator | None = (ranks or current()).numbers
    return _of_the_process() if own is None else own


_stream: ContextVar[tuple[Streams, int] | None]


class Streams:
    """Random numbers for parts of a computation that run side by side: each part has a stream of its own.

        streams = Streams()
        with streams.part(3):
            rand(2)

    One number from the generator that they replace seeds the streams. It is drawn when the first stream is asked for
    anything, so that generator is left alone where nothing is random.
    """

    def __init__(self) -> None:
        self._instead_of, self._ranks = _stream.get(), current()
        self._lock = Lock()
        self._seed: int | None = None
        self._generators: dict[int, np.random.Generator] = {}

    def part(self, number: int) -> _Part:
        """A `with` block in which random numbers come from this stream."""
        return _Part(self, number)

    def seed(self) -> int:
        """What seeds the streams: drawn now, if it was not before."""
        if self._seed is None:
            self._seed = int(_of(self._instead_of, self._ranks).integers(2**63))
        return self._seed

    @property
    def asked(self) -> bool:
        """Whether any of the streams was asked for numbers."""
        return self._seed is not None

    def generator(self, number: int) -> np.random.Generator:
        with self._lock:
            self.seed()
            if number not in self._generators:
                place = np.random.SeedSequence(self._seed, spawn_key=(number,))
                self._generators[number] = np.random.Generator(np.random.PCG64(place))
            return self._generators[number]


_stream = ContextVar("tinyconv_stream", default=None)


class _Part(Setting):
    """A `with` block in which random numbers come from one stream."""

    variable = _stream

    def __init__(self, *stream: Any) -> None:
        super().__init__()
        self.stream = stream

    def changed(self, now: Any) -> Any:
        return self.stream


def _of(stream: tuple[Streams, int] | None, ranks: Communicator | None = None) -> np.random.Generator:
    return _generator(ranks) if stream is None else stream[0].generator(stream[1])


def _random(generator: Generator | None = None) -> np.random.Generator:
    """Where random numbers come from: what was given as `generator=`, else what there is here and now."""
    return _of(_stream.get()) if generator is None else numbers_of(generator)


def drawn_seed(generator: Generator | None = None) -> int:
    """A seed for numbers of their own, drawn from `generator`, or from those of `manual_seed`."""
    return int(_random(generator).integers(2**63))


def manual_seed(seed: int) -> None:
    """Start the random numbers anew: the same seed gives the same weights, dropout masks and `rand`s.

    Like `torch.manual_seed`; the numbers are those of NumPy's PCG64. Raises OptionError unless it is an integer >= 0.
    """
    set_rng_state(dict(np.random.PCG64(integer("manual_seed: seed", seed, 0)).state))


def get_rng_state() -> dict[str, Any]:
    """The state of the generator, of plain integers and strings: what a checkpoint keeps."""
    with _generator().bit_generator.lock:  # another thread may be drawing
        return dict(_generator().bit_generator.state)


def set_rng_state(state: dict[str, Any]) -> None:
    """Go back to a state that `get_rng_state` returned."""
    with _generator().bit_generator.lock:
        _generator().bit_generator.state = state


def rand(
    *shape: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform on [0, 1), float32 unless `dtype` says otherwise. `rand(2, 3)`, `rand((2, 3))` or `rand(size=(2, 3))`.

    In float16 the numbers are multiples of 1 / 2048. Raises DtypeError for a dtype that is not floating point, and
    ShapeError for negative sizes. Like `torch.rand`.
    """
    sizes, wanted, drawn = new_sizes(shape, size), *_random_dtypes(dtype)

    def values() -> np.ndarray[Any, Any]:
        numbers = _random(generator).random(sizes, dtype=drawn)
        return numbers if drawn == wanted else (np.floor(numbers * 2048) / 2048).astype(wanted)  # else some become 1

    return made(device, sizes, wanted, values, requires_grad)


def randn(
    *shape: Any,
    size: Any = None,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Standard normal, float32 unless `dtype` says otherwise. `randn(2, 3)`, `randn((2, 3))` or `randn(size=(2, 3))`.

    Raises DtypeError for a dtype that is not floating point, and ShapeError for negative sizes. Like `torch.randn`.
    """
    sizes, wanted, drawn = new_sizes(shape, size), *_random_dtypes(dtype)

    def values() -> np.ndarray[Any, Any]:
        return np.asarray(_random(generator).standard_normal(sizes, dtype=drawn), wanted)

    return made(device, sizes, wanted, values, requires_grad)


def randint(
    low: int = 0,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform integers, low <= n < high, of this size: `randint(0, 10, (2, 3))`, or `randint(10, (2, 3))` from 0 on.

    int64 unless `dtype` says otherwise. Raises ShapeError for negative sizes, and OptionError where there is no integer
    to draw. Like `torch.randint`.
    """
    if size is None:
        low, high, size = 0, low, high
    sizes, first = new_sizes((size,)), integer("randint: low", low)
    beyond, wanted = integer("randint: high", high, first + 1), as_dtype(dtype or np.int64)
    values = lambda: _random(generator).integers(first, beyond, sizes).astype(wanted)  # noqa: E731
    return made(device, sizes, wanted, values, requires_grad)


def randperm(n: int, *, generator: Generator | None = None, device: Any = None) -> Tensor:
    """The integers below n in random order, int64, shape (n,). ShapeError for n < 0. Like `torch.randperm`."""
    (n,) = new_sizes((n,))
    return made(device, (n,), np.int64, lambda: _random(generator).permutation(n), False)


def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform on [0, 1), in the shape and (unless given) the dtype and device of `input`."""
    _check_tensor(input)
    dtype, device = dtype or input.dtype, device or input.device
    return rand(input.shape, generator=generator, dtype=dtype, device=device, requires_grad=requires_grad)


def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Standard normal, in the shape and (unless given) the dtype and device of `input`."""
    _check_tensor(input)
    dtype, device = dtype or input.dtype, device or input.device
    return randn(input.shape, generator=generator, dtype=dtype, device=device, requires_grad=requires_grad)


def randint_like(
    input: Tensor,
    low: int = 0,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    dtype: Dtype = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform integers, low <= n < high, in the shape and (unless given) the dtype and device of `input`.

    `randint_like(x, 10)` counts from 0. Raises OptionError where there is no integer to draw.
    """
    _check_tensor(input)
    low, high = (0, low) if high is None else (low, high)
    options: dict[str, Any] = {"dtype": dtype or input.dtype, "device": device or input.device}
    return randint(low, high, input.shape, generator=generator, requires_grad=requires_grad, **options)


def _check_tensor(x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise DtypeError(f"a tensor like another one needs that tensor, got {type(x).__name__}")


def _random_dtypes(dtype: Dtype) -> tuple[Any, Any]:
    """The dtype of random numbers, and the one that they are drawn in: there is no generator of float16."""
    found = as_dtype(dtype or DEFAULT_FLOAT)
    if found.kind != "f":
        raise DtypeError(f"random numbers are floating point, not {found}; randint makes integers")
    return found, np.promote_types(found, np.float32)


def made(
    device: str | None,
    shape: Shape,
    dtype: Dtype,
    values: Callable[[], np.ndarray[Any, Any]],
    requires_grad: bool,
) -> Tensor:
    """A tensor on `device` with the host's array that `values()` returns; on "meta" it is not called."""
    backend = backend_for(device)
    if backend is META:
        array: Any = MetaArray(shape, dtype)
    elif captured_step.get() is None:
        array = backend.asarray(values(), device_name(device))
    else:  # each replay of a captured step draws anew
        array = staged(backend.xp, values)
    return wrap(array).requires_grad_(requires_grad)


def synchronize(device: Any = None) -> None:
    """Wait until the device has done all it was asked to; on the CPU it always has. DeviceError for no such device."""
    backend_for(device).synchronize(device_name(device))
