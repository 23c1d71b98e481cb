"""The judge of every op: PyTorch, asked the same question on the same numbers.

`check(ours, theirs, inputs)` runs both functions and compares every output and every gradient. It raises `Disagreement`
with the first difference, and `Vacuous` where passing would mean nothing.

Nothing here knows how an op works, and no tolerance is tuned to one. Two correct programs differ by the rounding of
what they add up, so the error allowed is ROUNDINGS units in the last place of the *magnitude* of a result (in the
coarsest dtype that took part: the gradient of a float64 may come through a float32):

    magnitude = 0         the result itself: nothing cancels on the way (exp, relu, indexing)
    magnitude = "terms"   the sum of the absolute values of its terms. For functions linear in each input (convolution,
                          matrix product, mean) that is what the function makes of |inputs| and |cotangents|
    magnitude = slope     where terms of about slope * max |inputs| (for a gradient: slope * max |cotangents|) cancel on
                          the way: softmax, losses, normalisation
"""

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import numpy as np
import torch
from hypothesis import strategies as st

import tinyconv as tc

torch.set_num_threads(1)  # the tensors are tiny: waking a second thread costs more than it brings

ROUNDINGS = 64
FLOATS = (np.float32, np.float64)
LAYOUTS = ("contiguous", "permuted", "sliced", "reversed", "read-only", "broadcast")

Arrays = Sequence[np.ndarray]


class Disagreement(AssertionError):
    """We and the reference differ."""


class Vacuous(AssertionError):
    """Nothing was compared, so agreement would mean nothing."""


# --- the checker ----------------------------------------------------------------------------------------------------


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Random cotangents: no two elements of an output may stand in for each other."""
    return np.asarray(rng.standard_normal(shape), dtype)


def check(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    inputs: Arrays,
    *,
    needs: Sequence[int] | None = None,
    magnitude: float | str = 0,
    cotangent: Callable[..., np.ndarray] = normal,
) -> None:
    """Whether `ours`, on tinyconv tensors, gives what `theirs` gives on torch's: values, dtypes, shapes and gradients.

    `inputs` go to `ours` with the strides they have. `needs` numbers those that get a gradient: all of floating point,
    unless given. An output may be a tuple.
    """
    inputs = [np.asarray(array) for array in inputs]
    if needs is None:
        needs = [i for i, array in enumerate(inputs) if array.dtype.kind == "f"]
    if not needs:
        raise Vacuous("no input has a gradient: check_values() is for functions that have none")
    before = [array.tobytes() for array in inputs]
    rng = np.random.default_rng([crc32(data) for data in before])  # other inputs, other cotangents; never the inputs

    leaves = [tc.from_numpy(array) for array in inputs]
    outputs = _tuple(ours(*(leaf.requires_grad_(i in needs) for i, leaf in enumerate(leaves))))
    expected_leaves = [_to_torch(array).requires_grad_(i in needs) for i, array in enumerate(inputs)]
    expected = _tuple(theirs(*expected_leaves))
    for i, (y, reference) in enumerate(zip(outputs, expected, strict=False)):
        compare_structure(f"output {i}", y.array, _to_numpy(reference))

    recorded = [i for i, y in enumerate(expected) if y.requires_grad]
    if [i for i, y in enumerate(outputs) if y.requires_grad] != recorded:
        raise Disagreement(f"outputs with a gradient should be {recorded}")
    if not recorded:
        raise Vacuous("no output depends on an input that needs a gradient")
    cotangents = [
        arrange(cotangent(rng, outputs[i].shape, outputs[i].dtype), rng.choice(LAYOUTS[:-1])) for i in recorded
    ]
    if any(dy.size and not dy.any() for dy in cotangents):
        raise Vacuous("a cotangent of zeros asks for no gradient at all")
    before_dy = [dy.tobytes() for dy in cotangents]

    for k, (i, dy) in enumerate(zip(recorded, cotangents, strict=True)):
        outputs[i].backward(tc.from_numpy(dy), retain_graph=k + 1 < len(recorded))
    expected_grads = _gradients(expected, expected_leaves, needs, recorded, cotangents)

    of_values, of_grads = _magnitudes(magnitude, theirs, inputs, needs, recorded, cotangents, expected_grads)
    eps = _coarsest(inputs + [y.array for y in outputs])
    compare_all("output", [y.array for y in outputs], [_to_numpy(y) for y in expected], of_values, eps)
    grads = [None if leaves[i].grad is None else leaves[i].grad.array for i in needs]
    if all(grad is None for grad in expected_grads):
        raise Vacuous("the reference has no gradient to compare with")
    compare_all("gradient of input", grads, expected_grads, of_grads, eps, needs)

    if [array.tobytes() for array in inputs] != before or [dy.tobytes() for dy in cotangents] != before_dy:
        raise Disagreement("an input or a cotangent was written to")


def check_values(
    ours: Callable[..., Any], theirs: Callable[..., Any], inputs: Arrays, *, magnitude: float | str = 0
) -> None:
    """`check` for functions of, or to, integers and bools: there is no gradient, and none may be recorded."""
    if not inputs:
        raise Vacuous("no input")
    inputs = [np.asarray(array) for array in inputs]
    outputs = _tuple(ours(*map(tc.from_numpy, inputs)))
    expected = _tuple(theirs(*map(_to_torch, inputs)))
    of_values, _ = _magnitudes(magnitude, theirs, inputs, (), (), (), ())
    eps = _coarsest(inputs + [y.array for y in outputs])
    compare_all("output", [y.array for y in outputs], [_to_numpy(y) for y in expected], of_values, eps)
    if any(y.requires_grad for y in outputs):
        raise Disagreement("an output has a gradient, though no input needs one")


def compare_all(
    what: str,
    found: Sequence[Any],
    expected: Sequence[Any],
    magnitudes: Any,
    eps: float,
    numbers: Sequence[int] | None = None,
) -> None:
    """Compare array by array; `magnitudes` is one for all or one for each."""
    if len(found) != len(expected):
        raise Disagreement(f"{len(found)} of {what}, expected {len(expected)}")
    for k, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        name = f"{what} {k if numbers is None else numbers[k]}"
        if ours is None or theirs is None:
            if ours is not theirs:
                raise Disagreement(f"{name}: {describe(ours)}, expected {describe(theirs)}")
            continue
        compare(name, ours, theirs, magnitudes[k] if isinstance(magnitudes, list) else magnitudes, eps)


def compare_structure(name: str, ours: Any, theirs: np.ndarray) -> None:
    """One array with its reference: type, shape and dtype."""
    if not isinstance(ours, np.ndarray) or ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        raise Disagreement(f"{name}: {describe(ours)}, expected {describe(theirs)}")


def compare(name: str, ours: Any, theirs: np.ndarray, magnitude: Any = 0, eps: float | None = None) -> None:
    """One array with its reference: structure, where NaN and infinities are, and every value."""
    compare_structure(name, ours, theirs)
    with np.errstate(all="ignore"):
        if ours.dtype.kind == "f":
            allowed = ROUNDINGS * (eps or _coarsest([ours])) * np.maximum(abs(theirs), magnitude)
            allowed = allowed + np.finfo(ours.dtype).smallest_normal  # what is smaller may be flushed to zero
            same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs)) | (abs(ours - theirs) <= allowed)
            same &= np.isfinite(ours) == np.isfinite(theirs)
        else:
            same = ours == theirs
    if not same.all():
        first = tuple(int(i) for i in np.argwhere(~same)[0])
        raise Disagreement(
            f"{name}: {np.count_nonzero(~same)} of {same.size} values differ, the first at {first}: "
            f"{ours[first]!r}, expected {theirs[first]!r}"
        )


def describe(array: Any) -> str:
    return f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else repr(array)


def _coarsest(arrays: Arrays) -> float:
    """The largest unit in the last place (of 1) among the dtypes of these."""
    return max((float(np.finfo(array.dtype).eps) for array in arrays if array.dtype.kind == "f"), default=0.0)


def _magnitudes(magnitude, theirs, inputs, needs, recorded, cotangents, expected_grads):
    """Of each output, and of each gradient."""
    if magnitude != "terms":
        of_inputs, of_cotangents = ([_largest(a) for a in arrays] for arrays in (inputs, cotangents))
        of_values = magnitude * max(of_inputs, default=0)
        of_grads = magnitude * max(of_cotangents, default=0)
        if not magnitude:
            return of_values, of_grads
        return of_values, [0 if g is None else max(of_grads, _largest(g)) for g in expected_grads]
    leaves = [_to_torch(abs(a) if a.dtype.kind == "f" else a).requires_grad_(i in needs) for i, a in enumerate(inputs)]
    outputs = _tuple(theirs(*leaves))
    of_grads = _gradients(outputs, leaves, needs, recorded, [abs(dy) for dy in cotangents]) if needs else []
    return [_to_numpy(y) for y in outputs], of_grads


def _largest(array: np.ndarray) -> float:
    """max |array|, of what is finite; integers are not numbers to compute with here, but classes."""
    return float(abs(array[np.isfinite(array)]).max(initial=0)) if array.dtype.kind == "f" else 0.0


def _gradients(outputs, leaves, needs, recorded, cotangents):
    grads = torch.autograd.grad(
        [outputs[i] for i in recorded],
        [leaves[i] for i in needs],
        [_to_torch(dy) for dy in cotangents],
        allow_unused=True,
    )
    return [None if grad is None else _to_numpy(grad) for grad in grads]


def _tuple(outputs: Any) -> tuple[Any, ...]:
    return tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)


def _to_torch(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, order="C"))  # torch takes neither negative strides nor read-only memory


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


# --- arrays to ask about --------------------------------------------------------------------------------------------


def arrange(array: np.ndarray, layout: str) -> np.ndarray:
    """The same values in the same shape, laid out otherwise; "broadcast" repeats the first column."""
    if not array.ndim or layout == "contiguous":
        return array
    if layout == "permuted":
        return array.T.copy().T
    if layout == "sliced":
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "reversed":
        flip = (slice(None, None, -1),) * array.ndim
        return array[flip].copy()[flip]
    if layout == "broadcast" and array.size:
        return np.broadcast_to(array[..., :1], array.shape)
    array = array.copy()
    array.flags.writeable = layout != "read-only"
    return array


def values(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, kind: str) -> np.ndarray:
    """Numbers to compute with: "normal"; "ties", a few integers; with infinities "infinite", with NaN "special"."""
    if kind == "normal":
        return normal(rng, shape, dtype)
    if kind == "ties":
        return np.asarray(rng.integers(-2, 3, shape), dtype)
    pool = [np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.0, np.nan]
    return np.asarray(rng.choice(pool if kind == "special" else pool[:-1], shape), dtype)


@st.composite
def arrays(draw, shape, dtype, kinds=("normal", "ties"), layouts=LAYOUTS):
    """An array of this shape and dtype, its values from a drawn seed, its layout drawn."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    array = values(rng, tuple(shape), dtype, draw(st.sampled_from(kinds), label="values"))
    return arrange(array, draw(st.sampled_from(layouts), label="layout"))


def shapes(min_dims=0, max_dims=4, min_side=0, max_side=4):
    """Shapes small enough to print."""
    return st.lists(st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims).map(tuple)


dtypes = st.sampled_from(FLOATS)
