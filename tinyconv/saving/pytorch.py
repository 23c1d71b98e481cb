"""Files that PyTorch's `save` writes: a zip archive with a pickle of the structure, and the bytes of each storage.

A pickle is a program for a small machine, which may call anything. The machine here knows the steps that plain data
take, and instead of calling it builds tensors, Parameters and containers itself; at any other name it stops.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np

from tinyconv.arrays.backend import device as Device
from tinyconv.errors import CheckpointError, printable
from tinyconv.host import limits
from tinyconv.nn.module import Parameter
from tinyconv.saving.safetensors import from_bfloat16
from tinyconv.shapes import product
from tinyconv.tensor.tensor import Tensor

_STORAGES = {
    "Float": "f4", "Double": "f8", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1", "Byte": "u1",
    "Bool": "?", "BFloat16": "bfloat16",
}  # fmt: skip
_NAMES = "float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool"
_DTYPES = {name: np.dtype(name) for name in _NAMES.split()} | {"bfloat16": np.dtype(np.float32)}


class Name(NamedTuple):
    """A name in a pickle, which stands for itself and is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Stored(NamedTuple):
    """A storage: its elements, and the device that they were on."""

    array: np.ndarray[Any, Any]
    place: str


def read(file: BinaryIO, place: Callable[[np.ndarray[Any, Any], str], Tensor]) -> Any:
    """What is in the archive; `place` makes tensors. Raises CheckpointError where it holds more than data."""
    try:
        end = file.seek(0, 2)
        with zipfile.ZipFile(file) as archive:
            return _Archive(archive, end).read(place)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise CheckpointError(f"the zip archive is damaged or cut short ({printable(str(error))})") from error


class _Archive:
    def __init__(self, archive: zipfile.ZipFile, end: int) -> None:
        self.archive = archive
        self.entries = {entry.filename: entry for entry in archive.infolist()}
        if sum(entry.file_size for entry in self.entries.values()) > end:  # entries that lie in one another
            raise CheckpointError("its entries are larger than the file")
        pickles = [name for name in self.entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError("it is a zip archive, but none that PyTorch's save wrote: it has no data.pkl")
        self.root = pickles[0].removesuffix("data.pkl")
        if f"{self.root}constants.pkl" in self.entries:
            raise CheckpointError("it is a TorchScript program; in PyTorch, save the state_dict() of the model")
        order = self.content("byteorder").decode() if f"{self.root}byteorder" in self.entries else "little"
        self.order: Literal["<", ">"] = "<" if order == "little" else ">"
        self.storages: dict[str, Stored] = {}

    def content(self, name: str, most: int = limits.HEADER) -> bytes:
        """What is in an entry, whose size is checked before."""
        entry = self.entries[f"{self.root}{name}"]
        if entry.compress_type != zipfile.ZIP_STORED:  # PyTorch never does; and a little could become very much
            raise CheckpointError(f"its {name} is compressed, which PyTorch's save does not do")
        if entry.file_size > most:
            raise CheckpointError(f"its {name} has {entry.file_size:,} bytes; {most:,} are read")
        return self.archive.read(entry)

    def read(self, place: Callable[[np.ndarray[Any, Any], str], Tensor]) -> Any:
        return _Machine(self, place).run(self.content("data.pkl"))

    def storage(self, kind: Name, key: str, where: str, count: int) -> Stored:
        """A storage, read once."""
        if kind.name == "UntypedStorage":
            dtype = "u1"
        elif kind.module in ("torch", "torch.cuda") and (known := kind.name.removesuffix("Storage")) in _STORAGES:
            dtype = _STORAGES[known]
        else:
            raise CheckpointError(f"it has numbers of a type that NumPy lacks ({printable(str(kind), 80)})")
        if key not in self.storages:
            size = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
            if type(count) is not int or count < 0 or self.entries[f"{self.root}data/{key}"].file_size != count * size:
                raise CheckpointError(f"its storage {printable(key, 40)} has not the {count} elements that it should")
            self.storages[key] = Stored(self.as_array(self.content(f"data/{key}", count * size), dtype), where)
        return self.storages[key]

    def as_array(self, content: bytes, dtype: str) -> np.ndarray[Any, Any]:
        """Bytes as numbers in this machine's order."""
        if dtype == "bfloat16":
            return from_bfloat16(np.frombuffer(content, f"{self.order}u2"))
        found = np.frombuffer(content, np.dtype(dtype).newbyteorder(self.order))
        return found.astype(np.dtype(dtype), copy=False)


class _Mark:
    """Where a list of arguments begins on the stack."""


_MARK = _Mark()


class _Machine:
    """The steps of a pickle, without one that calls what the file names."""

    def __init__(self, archive: _Archive, place: Callable[[np.ndarray[Any, Any], str], Tensor]) -> None:
        self.archive, self.place = archive, place
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        for step, argument, _ in pickletools.genops(program):
            if step.name == "STOP":
                return self.stack.pop()
            self.step(step.name, argument)
        raise ValueError("a pickle without an end")

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "TUPLE":
            stack.append(tuple(self.since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(name[-1])
            stack[-n:] = [tuple(stack[-n:])]
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self.since_mark()
            _of(list, stack[-1]).extend(items)
        elif name == "ADDITEMS":
            items = self.since_mark()
            _of(set, stack[-1]).update(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self.since_mark()
            _of(dict, stack[-1]).update(zip(items[::2], items[1::2], strict=True))
        elif name == "GLOBAL":
            module, _, last = argument.partition(" ")
            stack.append(self.named(Name(module, last)))
        elif name == "STACK_GLOBAL":
            last, module = stack.pop(), stack.pop()
            stack.append(self.named(Name(_of(str, module), _of(str, last))))
        elif name == "REDUCE":
            arguments = _of(tuple, stack.pop())
            stack.append(self.made(stack.pop(), arguments))
        elif name == "BINPERSID":
            what, kind, key, where, count = stack.pop()
            if what != "storage" or not isinstance(kind, Name):
                raise ValueError("a reference to something else than a storage")
            stack.append(self.archive.storage(kind, _of(str, key), _of(str, where), count))
        elif name == "BUILD":
            stack.pop()
            _of(OrderedDict, stack[-1])  # a state_dict's _metadata: the versions of its layers
        else:
            raise CheckpointError(f"it holds more than data: the step {name} of its pickle; nothing of it was executed")

    def since_mark(self) -> list[Any]:
        """What was put on the stack since the last mark."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def named(self, name: Name) -> Any:
        """What a name stands for: itself, a dtype; CheckpointError for one that no data have."""
        if name.module == "torch" and name.name in _DTYPES:
            return _DTYPES[name.name]
        if str(name) in _MAKERS or name.name == "UntypedStorage" or name.name.endswith("Storage"):
            return name
        raise CheckpointError(
            f"it holds more than data: {printable(str(name), 120)}; nothing of it was executed. In PyTorch, save the "
            "state_dict() of a model, and numbers, texts and tensors in plain dicts and lists"
        )

    def made(self, name: Any, arguments: tuple[Any, ...]) -> Any:
        """What the call of a known name gives."""
        return _MAKERS[str(_of(Name, name))](self, *arguments)

    def tensor(
        self, stored: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any, hooks: Any = None, *more: Any
    ) -> Tensor:
        """torch._utils._rebuild_tensor_v2, and v3, which names a dtype."""
        array, place = _of(Stored, stored)
        if more and isinstance(more[0], np.dtype):
            array = self.archive.as_array(array.tobytes(), more[0].str)
        sizes = (offset, *_of(tuple, shape), *_of(tuple, strides))
        if len(shape) != len(strides) or not all(type(n) is int and n >= 0 for n in sizes):
            raise ValueError("a tensor whose sizes are no numbers >= 0")
        count = product(shape)
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if count else 0
        if last >= len(array) and count:
            raise ValueError("a tensor that reaches beyond its storage")
        if count > len(array):
            raise CheckpointError("it has an expanded tensor, of more elements than are stored; save x.contiguous()")
        view = np.lib.stride_tricks.as_strided(array[offset:], shape, [stride * array.itemsize for stride in strides])
        t = self.place(np.array(view), place)
        return t.requires_grad_() if requires_grad is True else t

    def parameter(self, data: Any, requires_grad: Any, *more: Any) -> Parameter:
        """torch._utils._rebuild_parameter."""
        return Parameter(_of(Tensor, data).detach(), requires_grad=requires_grad is True)


_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict, "EMPTY_SET": set, "MARK": lambda: _MARK,
}  # fmt: skip
_MAKERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda machine, *items: OrderedDict(*items),
    "torch._utils._rebuild_tensor_v2": _Machine.tensor,
    "torch._utils._rebuild_tensor_v3": _Machine.tensor,
    "torch._utils._rebuild_parameter": _Machine.parameter,
    "torch.Size": lambda machine, sizes: tuple(sizes),
    "torch.device": lambda machine, kind, index=None: Device(kind if index is None else f"{kind}:{index}"),
    "builtins.set": lambda machine, items: set(items),
    "__builtin__.set": lambda machine, items: set(items),
    "_codecs.encode": lambda machine, text, coding: _of(str, text).encode("latin1"),
}


def _of(kind: type, value: Any) -> Any:
    """The value, if it is of this kind. ValueError otherwise: no file of PyTorch's has it there."""
    if not isinstance(value, kind):
        raise ValueError(f"a {type(value).__name__} where a {kind.__name__} should be")
    return value
