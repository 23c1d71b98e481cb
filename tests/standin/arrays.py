"""`cupy.ndarray`: an array that the host cannot see, held by NumPy.

It takes no NumPy arrays and becomes one only if asked to; copies and waits are counted (`cuda.counted`).
Results without axes are arrays, as in CuPy, and their memory is in C order unless CuPy keeps the order of the operand.
"""

from types import SimpleNamespace

import numpy as np

from standin import cuda

SCALARS = (bool, int, float, complex, np.generic)
DTYPES = {np.dtype(code) for code in "?bBhHiIlLqQefdFD"}


class ndarray:
    """An array on a device; `ndarray(shape, dtype)` is an uninitialised one."""

    __slots__ = ("__weakref__", "_host", "_memory", "base")
    __array_priority__ = 100
    __array_ufunc__ = None  # NumPy's operators leave theirs to this class, and its ufuncs refuse; CuPy runs its own
    __hash__ = None

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C") -> None:
        if memptr is not None or strides is not None:
            raise NotImplementedError("the stand-in makes arrays of new memory only: slice and reshape another one")
        dtype = _supported(np.dtype(dtype))
        self._host = np.empty(shape, dtype, order=order)
        self._memory = cuda.alloc(self._host.nbytes)
        self.base = None
        # What was there before: nothing that a right answer could be made of.
        self._host.fill({"f": np.nan, "c": np.nan, "b": True}.get(dtype.kind) or np.iinfo(dtype).max)

    # What it is.

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    device = property(lambda self: cuda.Device(self._memory.block.device))
    T = property(lambda self: self.transpose())

    @property
    def flags(self):
        flags = self._host.flags
        return SimpleNamespace(
            c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=self.base is None
        )

    @property
    def data(self):
        return SimpleNamespace(ptr=self._host.ctypes.data, device=self.device, device_id=self.device.id)

    @property
    def __cuda_array_interface__(self) -> dict:
        return {
            "shape": self.shape, "typestr": self.dtype.str, "version": 3, "data": (self.data.ptr, False),
            "strides": None if self.flags.c_contiguous else self.strides, "stream": 1,
        }  # fmt: skip

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    # To the host.

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def __array_function__(self, function, types, args, kwargs):  # CuPy runs its own; here it is a mistake to find
        raise TypeError(f"numpy.{function.__name__} of a cupy.ndarray: use the function of its own library")

    def get(self, stream=None, order="C", out=None, blocking=True):
        with stream or cuda.get_current_stream():
            cuda.transfer("to_host")
            if blocking:
                cuda.wait()
        if out is None:
            return np.array(self._host, order=order)
        if out.dtype != self.dtype or out.shape != self.shape:
            raise TypeError(f"{out.dtype} {out.shape} cannot take {self.dtype} {self.shape}")
        out[...] = self._host
        return out

    def set(self, arr, stream=None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        with stream or cuda.get_current_stream():
            cuda.transfer("to_device")
        self._host[...] = arr

    def item(self):
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def tobytes(self, order="C") -> bytes:
        return self.get().tobytes(order)

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
        return bool(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __reduce__(self):
        return array, (self.get(),)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    # Views, where there can be one; else copies.

    def reshape(self, *shape, order="C", copy=None):
        return view_or_copy(np.ndarray.reshape, self, *shape, order=order)

    def transpose(self, *axes):
        return view_or_copy(np.ndarray.transpose, self, *axes)

    def swapaxes(self, axis1, axis2):
        return view_or_copy(np.ndarray.swapaxes, self, axis1, axis2)

    def squeeze(self, axis=None):
        return view_or_copy(np.ndarray.squeeze, self, axis)

    def ravel(self, order="C"):
        return view_or_copy(np.ndarray.ravel, self, order)

    def view(self, dtype=None, array_class=None):
        return view_or_copy(np.ndarray.view, self, *([] if dtype is None else [dtype]))

    def flatten(self, order="C"):
        return kernel(np.ndarray.flatten, self, order)

    def copy(self, order="C"):
        return kernel(np.ndarray.copy, self, order, keep_order=True)

    def astype(self, dtype, order="K", casting="unsafe", subok=None, copy=True):
        dtype = _supported(np.dtype(dtype))
        if not copy and dtype == self.dtype and order in "KA":
            return self
        return kernel(np.ndarray.astype, self, dtype, order, casting, keep_order=True)

    def fill(self, value) -> None:
        write(np.ndarray.fill, self, _scalar(value))

    # Indexing.

    def __getitem__(self, index):
        parts = index_parts(index)
        if not any(isinstance(part, ndarray) for part in parts):
            parts += [] if any(part is Ellipsis for part in parts) else [Ellipsis]  # then NumPy gives a view, no scalar
            return _around(self._host[tuple(parts)], self)
        wait_for_masks(parts)
        return kernel(lambda x, *parts: x[wrapped(x.shape, parts)], self, *parts)

    def __setitem__(self, index, value) -> None:
        parts = index_parts(index)
        arrays = [part for part in parts if isinstance(part, ndarray)]
        if not isinstance(value, ndarray):
            value = as_operand(value, self.dtype) if arrays else _scalar(value)
        if getattr(value, "size", 1) > 1:
            wait_for_masks(parts)
        write(_put, self, value, *parts)


def _put(x, value, *parts) -> None:
    x[wrapped(x.shape, parts)] = value


def _around(host, of: ndarray) -> ndarray:
    """A view of an array."""
    out = object.__new__(ndarray)
    out._host, out._memory, out.base = host, of._memory, of if of.base is None else of.base
    return out


def _supported(dtype):
    if dtype not in DTYPES:
        raise ValueError(f"Unsupported dtype {dtype}")
    return dtype


def _scalar(value):
    """What may be written everywhere: no array of the host."""
    if isinstance(value, np.ndarray) and value.ndim:
        raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
    if not isinstance(value, (*SCALARS, np.ndarray)):
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def index_parts(index) -> list:
    """The parts of an index: lists and the host's arrays are copied to the device, as CuPy does."""
    parts = list(index) if isinstance(index, tuple) else [index]
    for i, part in enumerate(parts):
        if isinstance(part, list | tuple | np.ndarray | bool | np.bool_):
            part = np.asarray(part)
            parts[i] = array(part.astype(np.int32) if part.size == 0 and part.dtype.kind == "f" else part)
        if isinstance(parts[i], ndarray) and parts[i].dtype.kind not in "biu":
            raise IndexError("arrays used as indices must be of integer or boolean type.")
    return parts


def wait_for_masks(parts) -> None:
    """How many elements a mask names is read on the host."""
    if any(isinstance(part, ndarray) and part.dtype.kind == "b" for part in parts):
        cuda.transfer("to_host")
        cuda.wait()


def wrapped(shape, parts) -> tuple:
    """The parts of an index, integers in arrays taken modulo the size of their axis: CuPy looks for no mistakes."""
    axes = [  # that each part indexes
        0 if part is None or part is Ellipsis else part.ndim if getattr(part, "dtype", None) == np.bool_ else 1
        for part in parts
    ]
    wrapped, axis = [], 0
    for part, n in zip(parts, axes, strict=True):
        axis = len(shape) - sum(axes[len(wrapped) :]) if part is Ellipsis else axis
        whole = isinstance(part, np.ndarray) and part.dtype.kind in "iu" and axis < len(shape) and shape[axis]
        wrapped.append(part % shape[axis] if whole else part)
        axis += n
    return tuple(wrapped)


# --- work -----------------------------------------------------------------------------------------------------------


def operand(value):
    """What a kernel reads: the array inside one of this device's; numbers and what describes work are as they are."""
    if isinstance(value, ndarray):
        if value._memory.block.device != cuda.runtime.getDevice():
            raise ValueError(
                f"The device where the array resides ({value.device.id}) is different from the current device "
                f"({cuda.runtime.getDevice()}). Peer access is unavailable between these devices."
            )
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, list | tuple):
        return type(value)(operand(each) for each in value)
    return value


def _blank(value):
    """Zeros in place of a host array: a capture learns shapes from them, and nothing of values."""
    if isinstance(value, list | tuple):
        return type(value)(_blank(each) for each in value)
    return np.zeros_like(value) if isinstance(value, np.ndarray) else value


def _arrays_in(values):
    for value in values:
        if isinstance(value, ndarray):
            yield value
        elif isinstance(value, list | tuple):
            yield from _arrays_in(value)


def _quietly(function, args, options):
    with np.errstate(all="ignore"):  # a GPU does not warn
        return function(*args, **options)


def _check_numbers(held):
    """A Python integer becomes one of the array's dtype, which may not hold it. In comparisons NumPy minds that not."""
    for dtype in {array.dtype for array in held if isinstance(array, np.ndarray) and array.dtype.kind in "iu"}:
        limits = np.iinfo(dtype)
        for number in held:
            if type(number) is int and not limits.min <= number <= limits.max:
                raise OverflowError(f"Python integer {number} out of bounds for {dtype}.")


def kernel(function, *args, keep_order=False, **options):
    """A new array (or a tuple of them): what a function of NumPy makes of these operands."""
    held = [operand(arg) for arg in args]
    if isinstance(function, np.ufunc):
        _check_numbers(held)
    plain = {name: operand(value) for name, value in options.items()}
    capturing = cuda.capturing()
    made = _quietly(function, [_blank(arg) for arg in held] if capturing else held, plain)
    results = made if isinstance(made, tuple) else (made,)
    outs = []
    for result in map(np.asarray, results):
        order = "F" if keep_order and result.flags.f_contiguous and not result.flags.c_contiguous else "C"
        outs.append(ndarray(result.shape, result.dtype, order=order))
    into = [out._host for out in outs]

    def work() -> None:
        again = _quietly(function, held, plain) if capturing else made
        for out, result in zip(into, again if isinstance(again, tuple) else (again,), strict=True):
            out[...] = result

    cuda.submit(work, [each._memory.block for each in (*_arrays_in(args), *outs)])
    return tuple(outs) if isinstance(made, tuple) else outs[0]


def write(function, target, *args, **options):
    """`function(target, ...)`, which writes into the target; returns the target."""
    into, held = operand(target), [operand(arg) for arg in args]
    if cuda.capturing():  # mistakes are found when it is asked for
        _quietly(function, [np.zeros_like(into), *map(_blank, held)], options)
    blocks = [each._memory.block for each in _arrays_in((target, *args))]
    cuda.submit(lambda: _quietly(function, [into, *held], options), blocks)
    return target


def view_or_copy(function, x, *args, **options):
    """What a function of NumPy that makes views makes of `x`: no work, unless it has to copy."""
    result = function(x._host, *args, **options)
    if result.size == 0 or np.may_share_memory(result, x._host):
        return _around(result, x)
    return kernel(function, x, *args, **options)


def blas() -> None:
    """CuPy's way to cuBLAS is closed while a stream captures."""
    if cuda.capturing():
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")


# --- from the host --------------------------------------------------------------------------------------------------


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """A copy on the current device, of an array of any device or of what NumPy makes an array of."""
    if isinstance(obj, ndarray):
        if obj.device == cuda.Device():
            out = obj.astype(dtype or obj.dtype, copy=bool(copy))
        else:
            with obj.device:
                operand(obj)
            out = ndarray(obj.shape, dtype or obj.dtype)
            cuda.submit(lambda: np.copyto(out._host, obj._host, casting="unsafe"), ())
        return out if ndmin <= out.ndim else out.reshape((1,) * (ndmin - out.ndim) + out.shape)
    if isinstance(obj, list | tuple) and any(_arrays_in(obj)):
        raise TypeError("a list of cupy.ndarrays: the stand-in stacks none")
    host = np.array(obj, dtype, order="C" if order is None or isinstance(obj, list | tuple) else order, ndmin=ndmin)
    out = ndarray(host.shape, host.dtype, order="F" if host.flags.f_contiguous and not host.flags.c_contiguous else "C")
    cuda.transfer("to_device")
    out._host[...] = host
    if blocking:
        cuda.wait()
    return out


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    return array(a, dtype, bool(copy), order, blocking=blocking)


def ascontiguousarray(a, dtype=None):
    a = asarray(a, dtype)
    return a if a.flags.c_contiguous and a.ndim else a.copy().reshape(a.shape or 1)


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get(stream, order, out, blocking) if isinstance(a, ndarray) else np.asarray(a, order=order)


def as_operand(value, dtype):
    """What CuPy makes of a value that is to be scattered: numbers stay, what is a list or the host's is copied."""
    return value if isinstance(value, SCALARS) else array(value, dtype)


# --- operators ------------------------------------------------------------------------------------------------------


def _operands(*values):
    """Whether an operator takes these; NumPy's arrays it refuses by name, what it does not know is left to that."""
    for value in values:
        if isinstance(value, np.ndarray):
            raise TypeError(f"Unsupported type {type(value)}")
    return all(isinstance(value, (ndarray, *SCALARS)) for value in values)


def _binary(function, prepare=None):
    def forward(self, other):
        if not _operands(other):
            return NotImplemented
        if prepare:
            prepare()
        return kernel(function, self, other)

    def reflected(self, other):
        if not _operands(other):
            return NotImplemented
        if prepare:
            prepare()
        return kernel(function, other, self)

    def in_place(self, other):
        if not _operands(other):
            return NotImplemented
        return write(lambda x, y: function(x, y, out=x, casting="same_kind"), self, other)

    return forward, reflected, in_place


for _name, _function in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "lshift": np.left_shift, "rshift": np.right_shift,
}.items():  # fmt: skip
    for _prefix, _method in zip(("", "r", "i"), _binary(_function), strict=True):
        setattr(ndarray, f"__{_prefix}{_name}__", _method)
ndarray.__divmod__, ndarray.__rdivmod__, _ = _binary(np.divmod)
ndarray.__matmul__, ndarray.__rmatmul__, _ = _binary(np.matmul, prepare=blas)
for _name, _function in {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _binary(_function)[0])
for _name, _function in {
    "neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", lambda self, function=_function: kernel(function, self))
