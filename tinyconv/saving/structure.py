"""What is saved as a JSON document and named arrays, and back.

Numbers, texts, None and lists are what JSON has. Anything else is an object {"is": KIND, "of": ...}.
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from tinyconv.arrays.backend import device as Device
from tinyconv.errors import CheckpointError, shortened
from tinyconv.nn.module import Module, Parameter, host_array
from tinyconv.saving.safetensors import METADATA, NAMES
from tinyconv.tensor.tensor import Tensor

Place = Callable[[np.ndarray[Any, Any], str], Tensor]


def taken_apart(obj: Any) -> tuple[dict[str, np.ndarray[Any, Any]], str]:
    """The arrays in `obj` by name, and the rest as JSON. Raises CheckpointError for what is no data."""
    taking = _Taking()
    try:
        return taking.arrays, json.dumps(taking.document(obj, "", "obj"))
    except RecursionError:
        raise CheckpointError("save: it is nested too deeply, or a container holds itself") from None


class _Taking:
    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}
        self.names: dict[int, str] = {}  # of the tensors and arrays that were seen, by id
        self.seen: list[Any] = []  # keeps them alive, so that no id is given twice

    def document(self, x: Any, name: str, path: str) -> Any:
        """`x` as JSON has it. `name` is where it stands, for its tensors; `path` for messages."""
        kind = type(x)
        if x is None or kind in (bool, int, str):
            return x
        if kind is float:
            return x if isfinite(x) else {"is": "float", "of": repr(x)}
        if kind is list:
            return self._each(x, name, path)
        if kind in (tuple, set, frozenset):
            return {"is": kind.__name__, "of": self._each(list(x), name, path)}
        if kind in (dict, OrderedDict):
            pairs = [
                [
                    self.document(key, name, f"a key of {path}"),
                    self.document(x[key], _join(name, key), f"{path}[{key!r}]"),
                ]
                for key in x
            ]
            return {"is": kind.__name__, "of": pairs}
        if isinstance(x, Tensor):
            more: dict[str, Any] = {"grad": True} if x.requires_grad else {}
            if x.device != "cpu":
                more["at"] = x.device
            what = "Parameter" if isinstance(x, Parameter) else "Tensor"
            return {"is": what, "of": self._array(x, name, path), **more}
        if isinstance(x, np.ndarray | np.generic):
            return {"is": "array" if isinstance(x, np.ndarray) else "scalar", "of": self._array(x, name, path)}
        if kind is bytes:
            return {"is": "bytes", "of": base64.b64encode(x).decode()}
        if kind is complex:
            return {"is": "complex", "of": [x.real, x.imag]}
        if isinstance(x, np.dtype):
            return {"is": "dtype", "of": x.name}
        if isinstance(x, Device):
            return {"is": "device", "of": str(x)}
        raise _no_data(x, path)

    def _each(self, items: list[Any], name: str, path: str) -> list[Any]:
        return [self.document(item, _join(name, i), f"{path}[{i}]") for i, item in enumerate(items)]

    def _array(self, x: Any, name: str, path: str) -> str:
        if id(x) not in self.names:
            array = np.asarray(host_array(x) if isinstance(x, Tensor) else x)
            if array.dtype.newbyteorder("=") not in NAMES:
                raise CheckpointError(f"save: {path} is an array of {array.dtype}, which cannot be saved")
            array = array.astype(array.dtype.newbyteorder("="), copy=False)
            first = name = name if name not in ("", METADATA) else "tensor"
            n = 1
            while name in self.arrays:
                name, n = f"{first}~{n}", n + 1
            self.arrays[name] = array
            self.names[id(x)] = name
            self.seen.append(x)
        return self.names[id(x)]


def _join(name: str, key: Any) -> str:
    return f"{name}/{key}" if name else str(key)


def _no_data(x: Any, path: str) -> CheckpointError:
    kind = type(x).__name__
    if callable(getattr(x, "state_dict", None)):
        loads = "model" if isinstance(x, Module) else "object"
        return CheckpointError(
            f"save: {path} is a {kind}, and a file holds data, no code; save {path}.state_dict(), and give that to the "
            f"load_state_dict of another {loads} of this kind"
        )
    if isinstance(x, dict):
        return CheckpointError(f"save: {path} is a {kind}; save dict(...) of it")
    if isinstance(x, tuple):
        return CheckpointError(f"save: {path} is a {kind}; save tuple(...) of it, or its _asdict()")
    if hasattr(x, "detach"):
        return CheckpointError(f"save: {path} is a {kind} of another library; save tc.tensor(...) of it")
    fix = ""
    if isinstance(getattr(x, "__dict__", None), dict) and not isinstance(x, type) and not callable(x):
        fix = "; its attributes: vars(...)"
    elif hasattr(x, "__fspath__"):
        fix = "; save str(...) of it"
    return CheckpointError(
        f"save: {path} is {shortened(x)}, which is no data: a number, text, tensor or plain container{fix}"
    )


def put_together(document: Any, arrays: dict[str, np.ndarray[Any, Any]], place: Place) -> Any:
    """What `taken_apart` was given."""
    return _Putting(arrays, place).thing(document)


class _Putting:
    def __init__(self, arrays: dict[str, np.ndarray[Any, Any]], place: Place) -> None:
        self.arrays, self.place = arrays, place
        self.made: dict[tuple[str, str], Any] = {}

    def thing(self, x: Any) -> Any:
        if isinstance(x, list):
            return [self.thing(item) for item in x]
        if not isinstance(x, dict):
            return x
        kind, of = x["is"], x["of"]
        if kind in ("dict", "OrderedDict"):
            pairs = [(self.thing(key), self.thing(value)) for key, value in of]
            return dict(pairs) if kind == "dict" else OrderedDict(pairs)
        if kind in ("Tensor", "Parameter", "array"):
            if (kind, of) not in self.made:
                self.made[kind, of] = self._made(kind, self.arrays[of], x)
            return self.made[kind, of]
        if kind == "scalar":
            return self.arrays[of][()]
        return _SIMPLE[kind](self, of)

    def _made(self, kind: str, array: np.ndarray[Any, Any], x: dict[str, Any]) -> Any:
        if kind == "array":
            return array
        t = self.place(array, x.get("at", "cpu"))
        if kind == "Parameter":
            return Parameter(t, requires_grad=bool(x.get("grad")))
        return t.requires_grad_() if x.get("grad") else t


_SIMPLE: dict[str, Callable[[_Putting, Any], Any]] = {
    "tuple": lambda putting, of: tuple(putting.thing(of)),
    "set": lambda putting, of: set(putting.thing(of)),
    "frozenset": lambda putting, of: frozenset(putting.thing(of)),
    "float": lambda _, of: {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}[of],
    "complex": lambda _, of: complex(*of),
    "bytes": lambda _, of: base64.b64decode(of, validate=True),
    "dtype": lambda _, of: next(dtype for dtype in NAMES if dtype.name == of),
    "device": lambda _, of: Device(of),
}
