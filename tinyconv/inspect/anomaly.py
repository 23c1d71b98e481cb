"""detect_anomaly: which op made the first NaN or infinity, and from what."""

from __future__ import annotations

import math
from inspect import unwrap
from typing import Any

import numpy as np

from tinyconv.arrays.backend import Array, backend_of
from tinyconv.engine.context import Change, Context, Layer, context
from tinyconv.engine.nodes import OpNode
from tinyconv.engine.variants import op_name, place_of, shown
from tinyconv.errors import AnomalyError, shortened
from tinyconv.inspect.rows import parts_of
from tinyconv.tensor.tensor import Tensor
from tinyconv.user_frame import user_line


class detect_anomaly(Change):
    """Raise AnomalyError where a NaN or an infinity is made: a `with` block, or a decorator.

        with tc.detect_anomaly():
            loss = F.cross_entropy(model(x), y)
            loss.backward()

    Outputs are checked as they are made and gradients as they come. The error names the op and its variant, the layer,
    your line, where the op is to be read, and the shapes, minima and maxima of what went in. A NaN that an input
    already holds is reported as that input's. An infinity that an input already holds may pass, because masks are made
    of them; in gradients nothing infinite is meant, and every infinity there is reported.

    Around the forward alone or the backward alone it checks what it sees. To learn the line of an op whose gradient is
    wrong, put it around the forward too. Every value is read once more, and a GPU is waited for after every op: it is
    for finding a mistake, not for training. Like `torch.autograd.detect_anomaly`, which checks gradients only.

    Args:
        check_nan: False checks nothing and only notes the lines of your program, which `trace` then shows.

    Raises AnomalyError, inside the block, where a value or a gradient is not finite, and TypeError where `check_nan` is
    not a bool.
    """

    def __init__(self, check_nan: bool = True) -> None:
        if not isinstance(check_nan, bool):
            given = shortened(check_nan)
            raise TypeError(f"detect_anomaly: check_nan must be True or False, got {given}; @detect_anomaly()?")
        super().__init__()
        self.check_nan = check_nan

    def changed(self, now: Context) -> Context:
        """The context with an observer of every op."""
        return now.but(observer=_Observer(self.check_nan))


_FIXES = {
    "Div": "keep the divisor away from 0: x / (y + eps), y.clamp(min=eps)",
    "Exp": "let softmax, log_softmax, logsumexp or sigmoid take the exponential: they cannot overflow",
    "Log": "keep what goes in above 0: (x + eps).log(), x.clamp(min=eps); of a softmax, use log_softmax",
    "Pow": "keep the base away from 0, and above it under a fraction: (x + eps) ** p",
    "Sqrt": "keep what goes in above 0: (x + eps).sqrt(), x.clamp(min=eps)",
}


class _Observer:
    """What `apply` and the walk report to. Where `line` is given, it notes that line for every op that is made."""

    def __init__(self, check_nan: bool, line: str | None = None) -> None:
        self.check_nan, self.line = check_nan, line
        self.paths: dict[Any, str] = {}  # the nodes of the parameters that went into an op, and what these are called

    def within(self, node: OpNode) -> _Observer:
        """The observer of a backward that is itself recorded: it notes that its steps belong to `node`."""
        line = node.line or "an unknown line, for the forward ran outside detect_anomaly"
        return _Observer(False, f"{line} (in the backward of {shown(node.op, node.pair)})")

    def made(
        self, op: Any, pair: Any, inputs: tuple[Any, ...], geometry: dict[str, Any], outputs: tuple[Tensor, ...]
    ) -> None:
        """An op has run, by this pair."""
        line = self.line or user_line()
        node = outputs[0]._node
        if isinstance(node, OpNode):
            node.line = line
        if not self.check_nan:
            return
        self.paths.update((t._node, t.path) for t in inputs if getattr(t, "path", None))
        bad = next((t.array for t in outputs if not _finite(t.array)), None)
        if bad is None:
            return
        name, given = shown(op, pair), [t.array if isinstance(t, Tensor) else t for t in inputs]
        infinite = any(_infinities(x) for x in (*given, *geometry.values()))
        if infinite and not _nans(bad):
            return  # passed on
        holder = next((i for i, x in enumerate(given) if _nans(x)), None) if _nans(bad) else None
        if holder is not None:
            said = f"input {holder} of {name} already holds NaN: in the data, made by optimizer.step(), or made before "
            said += "this block"
            blamed = []
        else:
            said = f"{name} made {_found(bad)} in its output {_kind(bad)}" + " out of infinities" * infinite
            blamed = [*_places(op, pair), *([] if infinite else _fix(op))]
        raise _error(said, context.get().layer, [f"at {line}", *_described("input", given), *blamed])

    def left(self, layer: Layer, output: Any) -> None:
        """A layer has returned: its ops have told everything already."""

    def pulled(self, node: OpNode, pair: Any, grad: Array, grads: Any) -> None:
        """This pair has computed the gradients of an op's inputs from `grad`, the gradient of its output."""
        if not self.check_nan:
            return
        name, blamed = shown(node.op, pair), []
        if not _finite(grad):
            said = f"the gradient of the output of {name}, {_kind(grad)}, holds {_found(grad)} that no op made: given "
            said += "to backward, returned by a hook, or a sum of gradients that overflowed"
        else:
            bad = next(((i, g) for i, g in enumerate(grads) if g is not None and not _finite(g)), None)
            if bad is None:
                return
            said = f"the backward of {name} made {_found(bad[1])} in the gradient of input {bad[0]}, {_kind(bad[1])}"
            blamed = [*_places(node.op, pair), *_fix(node.op)]
        line = (
            f"recorded at {node.line}"
            if node.line
            else "its line: run the forward (or the backward with create_graph=True) that recorded it inside "
            "detect_anomaly too"
        )
        saved = _described("saved", node.saved, [_which_input(node, x) for x in node.saved])
        raise _error(said, node.layer, [line, f"gradient of its output: {_summary(grad)}", *saved, *blamed])

    def summed(self, total: Array, grad: Array, found: Array) -> None:
        """Two gradients were added: an overflow shows in the op or the leaf that gets the sum."""

    def gathered(self, leaf: Any, array: Array, grad: Array, first: bool) -> None:
        """A leaf has received a gradient: `array` is the sum of all that it has received."""
        if not self.check_nan or _finite(array):
            return
        whose = repr(self.paths[leaf]) if leaf in self.paths else "a leaf"
        said = (
            f"the gradient of {whose}, {_kind(array)}, holds {_found(array)} that no op made: shares that overflowed "
        )
        said += "when they were added up, within one backward or to the .grad of one before; returned by a hook; or "
        said += "given to backward"
        raise _error(said, None, [])


def _error(said: str, layer: Layer | None, lines: list[str]) -> AnomalyError:
    if layer is not None and layer.caller is None:  # it has no path to be named by
        lines = [f"in {type(layer.module).__name__}", *lines]
    error = AnomalyError("\n  ".join([f"detect_anomaly: {said}", *lines]))
    if layer is not None:
        layer.sign(error)
    return error


def _places(op: Any, pair: Any) -> list[str]:
    """Where the readable op, its parts and another pair that ran are to be read, a line each."""
    ran = [] if unwrap(pair) is op else [f"what ran: {place_of(pair)}"]
    return [f"read it: {place_of(op)}", *(f"  {part.name}: {part.source}" for part in parts_of(op)), *ran]


def _fix(op: Any) -> list[str]:
    """A line with the likely fix, for the ops that have one."""
    known = _FIXES.get(op_name(op))
    return [f"likely fix: {known}"] if known else []


def _which_input(node: OpNode, saved: Any) -> str:
    """` (input 1)` where the saved array is an input that can still be found: a leaf, or one without a gradient."""
    for i, parent in enumerate(node.parents):
        array = node.constants[i][0] if parent is None else getattr(parent, "array", None)
        if array is saved:
            return f" (input {i})"
    return ""


# --- what is in an array --------------------------------------------------------------------------------------------


def _finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(backend_of(array).xp.isfinite(array).all())


def _nans(x: Any) -> int:
    """How many NaN there are in an array or a number; 0 for anything else."""
    return _count("isnan", x)


def _infinities(x: Any) -> int:
    return _count("isinf", x)


def _count(kind: str, x: Any) -> int:
    if isinstance(x, float):
        return int(getattr(math, kind)(x))
    return int(getattr(backend_of(x).xp, kind)(x).sum()) if _is_array(x) and x.dtype.kind == "f" else 0


def _is_array(x: Any) -> bool:
    return hasattr(x, "strides")


def _described(label: str, things: Any, notes: list[str] | None = None) -> list[str]:
    """A line for each array and each number, with its note."""
    return [
        f"{label} {i}{note}: {_summary(x) if _is_array(x) else repr(x)}"
        for i, (x, note) in enumerate(zip(things, notes or [""] * len(things), strict=True))
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
