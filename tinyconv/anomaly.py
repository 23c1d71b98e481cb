"""detect_anomaly: who made the first NaN or infinity, and of what."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyconv.backend import Array, backend_of
from tinyconv.caller import user_line
from tinyconv.errors import AnomalyError
from tinyconv.modes import Change, Layer, Mode, mode
from tinyconv.tensor import OpNode, Tensor
from tinyconv.variants import op_name


class detect_anomaly(Change):
    """Raise AnomalyError where a NaN or an infinity is made: a `with` block, or a decorator.

        with tc.detect_anomaly():
            loss = F.cross_entropy(model(x), y)
            loss.backward()

    Outputs are checked as they are made and gradients as they come. The error names the op, the layer, your line, and
    the shapes, minima and maxima of what went in. A NaN that an input already holds is reported of that input. An
    infinity that an input already holds is passed on without a word, for masks are made of them; in gradients nothing
    infinite is meant, and it is reported wherever it comes from.

    Around the forward alone or the backward alone it checks what it sees; for the line of an op whose gradient is wrong
    it must be around the forward too. With `check_nan=False` nothing is checked and only the lines are noted, which
    `trace` then shows.

    Every value is read once more, and a GPU is waited for after every op: for finding a mistake, not for training.
    """

    def __init__(self, check_nan: bool = True) -> None:
        if not isinstance(check_nan, bool):
            raise TypeError(f"detect_anomaly: check_nan must be True or False, got {check_nan!r}; @detect_anomaly()?")
        super().__init__()
        self.check_nan = check_nan

    def changed(self, now: Mode) -> Mode:
        return now.but(watcher=_Watcher(self.check_nan))

    def _recreate_cm(self) -> detect_anomaly:
        return type(self)(self.check_nan)


class _Watcher:
    """What `apply` and the walk report to."""

    def __init__(self, check_nan: bool) -> None:
        self.check_nan = check_nan

    def made(self, op: Any, inputs: tuple[Any, ...], geometry: dict[str, Any], outputs: tuple[Tensor, ...]) -> None:
        """An op has run."""
        line = user_line()
        node = outputs[0].node
        if isinstance(node, OpNode):
            node.line = line
        if not self.check_nan:
            return
        bad = next((t.array for t in outputs if not _finite(t.array)), None)
        if bad is None:
            return
        name, given = repr(op_name(op)), [t.array if isinstance(t, Tensor) else t for t in inputs]
        infinite = any(_infinities(x) for x in (*given, *geometry.values()))
        if infinite and not _nans(bad):
            return  # passed on
        said = f"{name} made {_found(bad)} in its output {_kind(bad)}" + " out of infinities" * infinite
        holder = next((i for i, x in enumerate(given) if _nans(x)), None) if _nans(bad) else None
        if holder is not None:
            said = f"input {holder} of {name} already holds NaN: in the data, made by optimizer.step(), or made before "
            said += "this block"
        raise _error(said, mode.get().layer, [f"at {line}", *_described("input", given)])

    def pulled(self, node: OpNode, grad: Array, grads: Any) -> None:
        """The gradients of an op's inputs have been computed from `grad`, that of its output."""
        if not self.check_nan:
            return
        name = repr(op_name(node.op))
        if not _finite(grad):
            said = f"the gradient of what {name} gave, {_kind(grad)}, holds {_found(grad)} that no op made: given to "
            said += "backward, returned by a hook, or a sum of gradients that overflowed"
        else:
            bad = next(((i, g) for i, g in enumerate(grads) if g is not None and not _finite(g)), None)
            if bad is None:
                return
            said = f"the backward of {name} made {_found(bad[1])} in the gradient of input {bad[0]}, {_kind(bad[1])}"
        line = f"recorded at {node.line}" if node.line else "its line: run the forward inside detect_anomaly too"
        raise _error(
            said, node.layer, [line, f"gradient of its output: {_summary(grad)}", *_described("saved", node.saved)]
        )


def _error(said: str, layer: Layer | None, lines: list[str]) -> AnomalyError:
    if layer is not None and layer.caller is None:  # it has no path to be named by
        lines = [f"in {type(layer.module).__name__}", *lines]
    error = AnomalyError("\n  ".join([f"detect_anomaly: {said}", *lines]))
    if layer is not None:
        layer.sign(error)
    return error


# --- what is in an array --------------------------------------------------------------------------------------------


def _finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(backend_of(array).xp.isfinite(array).all())


def _nans(x: Any) -> int:
    """How many there are, in an array or a number; none in anything else."""
    return _count("isnan", x)


def _infinities(x: Any) -> int:
    return _count("isinf", x)


def _count(kind: str, x: Any) -> int:
    if isinstance(x, float):
        return int(getattr(math, kind)(x))
    return int(getattr(backend_of(x).xp, kind)(x).sum()) if _is_array(x) and x.dtype.kind == "f" else 0


def _is_array(x: Any) -> bool:
    return hasattr(x, "strides")


def _described(label: str, things: Any) -> list[str]:
    """A line for each array and number among them."""
    return [
        f"{label} {i}: {_summary(x) if _is_array(x) else repr(x)}"
        for i, x in enumerate(things)
        if _is_array(x) or isinstance(x, int | float)
    ]


def _kind(array: Array) -> str:
    return f"{array.dtype} {array.shape}"


def _summary(array: Array) -> str:
    """`float32 (64, 10), -3.2 to 4.5, 3 NaN (first at [0, 2])`."""
    parts = [_kind(array)]
    known = array[backend_of(array).xp.isfinite(array)]
    if known.size and array.dtype.kind != "b":
        low, high = known.min(), known.max()
        all_of_it = f"all {_number(low)}" if array.ndim else _number(low)
        parts.append(f"{_number(low)} to {_number(high)}" if low != high else all_of_it)
    if not _finite(array):
        parts.append(_found(array))
    return ", ".join(parts)


def _number(value: Any) -> str:
    return f"{value.item():.5g}"


def _found(array: Array) -> str:
    """`3 NaN and 1 -inf (first at [0, 2])`."""
    xp = backend_of(array).xp
    counts = {"NaN": _nans(array), "inf": int((array == math.inf).sum()), "-inf": int((array == -math.inf).sum())}
    found = " and ".join(f"{n} {name}" for name, n in counts.items() if n)
    at = np.unravel_index(int(xp.argmax(~xp.isfinite(array))), array.shape)
    return f"{found} (first at {[int(i) for i in at]})" if array.ndim else found
