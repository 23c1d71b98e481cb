"""The judge of every op: PyTorch, asked the same question on the same numbers.

`compare_with_torch(ours, theirs, inputs)` runs both functions and compares every output, every gradient and, if asked,
every gradient of a gradient. It raises `Disagreement` with the first difference, and `Vacuous` where passing would mean
nothing. PyTorch is imported at the first comparison.

Nothing here knows how an op works, and no tolerance is tuned to one. Two correct programs differ by the rounding of
what they add up. So the allowed error is ROUNDINGS units in the last place of the *magnitude* of a result, in the
coarsest dtype that took part (the gradient of a float64 may come through a float32):

    magnitude = 0         the result itself: nothing cancels on the way (exp, relu, indexing)
    magnitude = "terms"   the sum of the absolute values of its terms. For functions linear in each input (convolution,
                          matrix product, mean) that is what the function makes of |inputs| and |cotangents|
    magnitude = slope     slope * max |inputs| (for a gradient: slope * max |cotangents|), or the result where it is
                          larger: terms of about this size cancel on the way (softmax, losses, normalisation)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from zlib import crc32

import numpy as np

import tinyconv as tc
from tinyconv.check.draw import LAYOUTS, arrange
from tinyconv.check.pytorch import torch
from tinyconv.errors import shortened

ROUNDINGS = 64
SECOND_ROUNDINGS = 1024
"""For second order, of the largest number among all results: more terms are added up on the way, of unlike sizes."""

Array = np.ndarray[Any, Any]
Arrays = Sequence[Array]
Magnitude: TypeAlias = float | Literal["terms"]
Tensors: TypeAlias = tc.Tensor | Sequence[tc.Tensor]


class Disagreement(AssertionError):
    """Raised where we and the reference differ; the message has the first difference."""


class Vacuous(AssertionError):
    """Raised where nothing was compared, so that agreement would mean nothing."""


@dataclass(frozen=True)
class Agreement:
    """How well two functions agree: the worst error of values, gradients and second-order gradients.

    Errors are in roundings, units in the last place of the magnitude; None where nothing of the kind was compared.
    """

    values: float
    gradients: float | None = None
    second: float | None = None


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A random cotangent, in which no element can stand in for another."""
    return np.asarray(rng.standard_normal(shape), dtype)


def compare_with_torch(
    ours: Callable[..., Tensors],
    theirs: Callable[..., Any],
    inputs: tc.Tensor | Array | Sequence[tc.Tensor | Array],
    *,
    needs: Sequence[int] | None = None,
    magnitude: Magnitude = 1,
    second_order: bool = False,
    cotangent: Callable[[np.random.Generator, tuple[int, ...], np.dtype[Any]], Array] = normal,
) -> Agreement:
    """Check that `ours` gives on tinyconv's tensors what `theirs` gives on torch's.

        compare_with_torch(lambda x, w: tc.functional.conv2d(x, w, padding=1),
                           lambda x, w: torch.nn.functional.conv2d(x, w, padding=1), [x, w])

    Values, gradients, shapes, dtypes, and the places of NaN and infinities are compared.

    Args:
        ours: Takes tinyconv's tensors and returns one or several.
        theirs: Takes torch's tensors and returns as many.
        inputs: Arrays or tensors of any shapes and dtypes, or a single one. `ours` gets them with their strides.
        needs: The numbers of the inputs that get a gradient. None means all of floating point.
        magnitude: How large the numbers are whose rounding is allowed: a slope, or "terms"; see the module's docstring.
            1 suits most functions, 0 those in which nothing cancels.
        second_order: Also compare the gradients of a random projection of the gradients, with respect to the inputs
            and to the cotangents.
        cotangent: Makes the gradient of an output from a generator, a shape and a dtype.

    Returns an Agreement, with the worst errors. Raises Disagreement, an AssertionError, with the first difference;
    Vacuous, an AssertionError, where nothing would be compared; TypeError where a function does not return tensors;
    ValueError for another magnitude; and TinyconvError where PyTorch is not installed.
    """
    arrays = [as_array(value) for value in ([inputs] if hasattr(inputs, "__array__") else inputs)]
    if needs is None:
        needs = [i for i, array in enumerate(arrays) if array.dtype.kind == "f"]
    if not needs:
        raise Vacuous("no input has a gradient: compare_values() is for functions that have none")
    before = [array.tobytes() for array in arrays]
    rng = np.random.default_rng([crc32(data) for data in before])  # other inputs get other cotangents

    leaves = [tc.from_numpy(array) for array in arrays]
    outputs = as_tuple(ours(*(leaf.requires_grad_(i in needs) for i, leaf in enumerate(leaves))))
    expected_leaves = [_to_torch(array).requires_grad_(i in needs) for i, array in enumerate(arrays)]
    expected = as_tuple(theirs(*expected_leaves))
    require_tensors("ours", outputs, tc.Tensor)
    require_tensors("theirs", expected, type(expected_leaves[0]))
    for i, (y, reference) in enumerate(zip(outputs, expected, strict=False)):
        compare_structure(f"output {i}", y.array, _to_numpy(reference))

    recorded = [i for i, y in enumerate(expected) if y.requires_grad]
    found = [i for i, y in enumerate(outputs) if y.requires_grad]
    if found != recorded:
        raise Disagreement(f"the outputs that have a gradient are {found}, expected {recorded}")
    if not recorded:
        raise Vacuous("no output depends on an input that needs a gradient")
    cotangents = [
        arrange(cotangent(rng, outputs[i].shape, outputs[i].dtype), str(rng.choice(LAYOUTS[:-1]))) for i in recorded
    ]
    if any(dy.size and not dy.any() for dy in cotangents):
        raise Vacuous("a cotangent of zeros asks for no gradient at all")
    before_dy = [dy.tobytes() for dy in cotangents]

    for k, (i, dy) in enumerate(zip(recorded, cotangents, strict=True)):
        outputs[i].backward(tc.from_numpy(dy), retain_graph=k + 1 < len(recorded))
    expected_grads = _gradients(expected, expected_leaves, needs, recorded, cotangents)

    of_values, of_grads = _magnitudes(magnitude, theirs, arrays, needs, recorded, cotangents, expected_grads)
    eps = coarsest(arrays + [y.array for y in outputs])
    of_outputs = compare_all("output", [y.array for y in outputs], [_to_numpy(y) for y in expected], of_values, eps)
    grads = [None if leaves[i].grad is None else leaves[i].grad.array for i in needs]  # type: ignore[union-attr]
    if all(grad is None for grad in expected_grads):
        raise Vacuous("the reference has no gradient to compare with")
    of_gradients = compare_all("gradient of input", grads, expected_grads, of_grads, eps, needs)

    if [array.tobytes() for array in arrays] != before or [dy.tobytes() for dy in cotangents] != before_dy:
        raise Disagreement("an input or a cotangent was written to")
    second = _compare_second_order(ours, theirs, arrays, needs, recorded, cotangents, rng) if second_order else None
    return Agreement(of_outputs, of_gradients, second)


def _compare_second_order(
    ours: Any, theirs: Any, inputs: Arrays, needs: Sequence[int], recorded: Sequence[int], cotangents: Any, rng: Any
) -> float | None:
    """The gradients of <gradients, random directions>; None where the gradient is constant."""
    directions = [normal(rng, inputs[i].shape, inputs[i].dtype) for i in needs]

    def twice(function: Any, leaves: Any, seeds: Any, along: Any, grad: Any) -> Any:
        outputs = as_tuple(function(*leaves))
        wanted = [leaves[i] for i in needs]
        first = grad([outputs[i] for i in recorded], wanted, seeds, create_graph=True, allow_unused=True)
        projected = [(g * u).sum() for g, u in zip(first, along, strict=True) if g is not None and g.requires_grad]
        if not projected:
            return [None] * (len(wanted) + len(seeds))
        return grad(sum(projected[1:], projected[0]), [*wanted, *seeds], allow_unused=True)

    found = twice(
        ours,
        [tc.tensor(array, requires_grad=i in needs) for i, array in enumerate(inputs)],
        [tc.tensor(dy, requires_grad=True) for dy in cotangents],
        [tc.tensor(u) for u in directions],
        tc.grad,
    )
    expected = twice(
        theirs,
        [_to_torch(array).requires_grad_(i in needs) for i, array in enumerate(inputs)],
        [_to_torch(dy).requires_grad_() for dy in cotangents],
        [_to_torch(u) for u in directions],
        torch().autograd.grad,
    )
    # A gradient that is zero everywhere may be left out by the one and not by the other.
    pairs: list[tuple[str, Any, Any]] = [
        (
            f"second-order gradient of {f'input {needs[k]}' if k < len(needs) else f'cotangent {k - len(needs)}'}",
            None if ours_k is None else ours_k.array,
            None if theirs_k is None else _to_numpy(theirs_k),
        )
        for k, (ours_k, theirs_k) in enumerate(zip(found, expected, strict=True))
    ]
    pairs = [
        (name, np.zeros_like(b) if a is None else a, np.zeros_like(a) if b is None else b)
        for name, a, b in pairs
        if a is not None or b is not None
    ]
    if not pairs:
        return None
    scale = max([largest(u) for u in directions], default=0) * max([largest(dy) for dy in cotangents], default=0)
    scale = max(scale, *(largest(b) for _, _, b in pairs)) * SECOND_ROUNDINGS / ROUNDINGS
    eps = coarsest([*inputs, *cotangents])
    return max(compare(name, a, b, scale, eps) for name, a, b in pairs) * SECOND_ROUNDINGS / ROUNDINGS


def compare_values(
    ours: Callable[..., Tensors],
    theirs: Callable[..., Any],
    inputs: Sequence[tc.Tensor | Array],
    *,
    magnitude: Magnitude = 0,
) -> Agreement:
    """`compare_with_torch` for functions of integers and bools, or to them: they have no gradient, and may record none.

    Where no input is floating point, the integers are what rounding is measured by.
    """
    if not inputs:
        raise Vacuous("there is no input")
    arrays = [as_array(value) for value in inputs]
    outputs = as_tuple(ours(*map(tc.from_numpy, arrays)))
    expected = as_tuple(theirs(*map(_to_torch, arrays)))
    of_values, _ = _magnitudes(magnitude, theirs, arrays, (), (), (), ())
    eps = coarsest(arrays + [y.array for y in outputs])
    error = compare_all("output", [y.array for y in outputs], [_to_numpy(y) for y in expected], of_values, eps)
    if any(y.requires_grad for y in outputs):
        raise Disagreement("an output has a gradient, though no input needs one")
    return Agreement(error)


def compare_all(
    what: str,
    found: Sequence[Any],
    expected: Sequence[Any],
    magnitudes: Any,
    eps: float,
    numbers: Sequence[int] | None = None,
) -> float:
    """Compare array by array, with one magnitude for all or one for each. Returns the worst error, in roundings."""
    if len(found) != len(expected):
        raise Disagreement(f"{len(found)} {what}s, expected {len(expected)}")
    worst = 0.0
    for k, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        name = f"{what} {k if numbers is None else numbers[k]}"
        if ours is None or theirs is None:
            if ours is not theirs:
                raise Disagreement(f"{name}: {describe(ours)}, expected {describe(theirs)}")
            continue
        worst = max(
            worst, compare(name, ours, theirs, magnitudes[k] if isinstance(magnitudes, list) else magnitudes, eps)
        )
    return worst


def require_tensors(which: str, outputs: Sequence[Any], wanted: type) -> None:
    for i, y in enumerate(outputs):
        if not isinstance(y, wanted):
            module = wanted.__module__.partition(".")[0]
            raise TypeError(
                f"compare_with_torch: `{which}` must return tensors of {module}; output {i} is "
                + ("None: is a return missing?" if y is None else f"a {type(y).__module__}.{type(y).__name__}")
            )


def compare_structure(name: str, ours: Any, theirs: Array) -> None:
    """Compare the type, shape and dtype of one array with its reference."""
    if not isinstance(ours, np.ndarray) or ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        raise Disagreement(f"{name}: {describe(ours)}, expected {describe(theirs)}")


def compare(name: str, ours: Any, theirs: Array, magnitude: Any = 0, eps: float | None = None) -> float:
    """Compare one array with its reference: structure, places of NaN and infinities, and every value.

    Returns the worst error, in roundings.
    """
    compare_structure(name, ours, theirs)
    worst = 0.0
    with np.errstate(all="ignore"):
        if ours.dtype.kind == "f":
            rounding = (eps or coarsest([ours])) * np.maximum(abs(theirs), magnitude)
            rounding = rounding + np.finfo(ours.dtype).smallest_normal / ROUNDINGS  # smaller may be flushed to zero
            same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
            error = np.where(same, 0, abs(ours - theirs) / rounding)
            same |= (error <= ROUNDINGS) & (np.isfinite(ours) == np.isfinite(theirs))
            worst = float(np.max(error, initial=0))
        else:
            same = ours == theirs
    if not same.all():
        first = tuple(int(i) for i in np.argwhere(~same)[0])
        off = ""
        if ours.dtype.kind == "f" and np.isfinite([ours[first], theirs[first]]).all():
            difference, allowed = abs(ours[first] - theirs[first]), ROUNDINGS * rounding[first]
            off = f", which is off by {difference:.3g} where {allowed:.3g} is allowed"
        raise Disagreement(
            f"{name}: {np.count_nonzero(~same)} of {same.size} values differ, the first at {first}: "
            f"{ours[first]}, expected {theirs[first]}{off}"
        )
    return worst


def describe(array: Any) -> str:
    return f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else repr(array)


def coarsest(arrays: Arrays) -> float:
    """The largest unit in the last place (of 1) among the dtypes of these."""
    return max((float(np.finfo(array.dtype).eps) for array in arrays if array.dtype.kind == "f"), default=0.0)


def numbers_among(arrays: Arrays) -> list[bool]:
    """Which inputs a function computes with, so that rounding is measured by their size.

    Integers beside floats are classes or places; however large, they round nothing. Where no input is floating point,
    the integers are what is computed with: `softmax` makes floats of them.
    """
    floats = [array.dtype.kind == "f" for array in arrays]
    return floats if any(floats) else [True for _ in arrays]


def largest(array: Array) -> float:
    """The largest |element| that is finite; 0 where there is none."""
    return float(abs(array[np.isfinite(array)].astype(np.float64)).max(initial=0))


def as_array(value: Any) -> Array:
    return value.array if isinstance(value, tc.Tensor) else np.asarray(value)


def as_tuple(outputs: Any) -> tuple[Any, ...]:
    return tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)


def _magnitudes(
    magnitude: Magnitude, theirs: Any, inputs: Any, needs: Any, recorded: Any, cotangents: Any, expected_grads: Any
) -> Any:
    """The magnitude of each output, and of each gradient."""
    if isinstance(magnitude, str) and magnitude != "terms":
        raise ValueError(f"compare_with_torch: magnitude must be a number or 'terms', got {shortened(magnitude)}")
    are_numbers = numbers_among(inputs)
    if not isinstance(magnitude, str):
        of_values = magnitude * max(largest(a) for a, is_number in zip(inputs, are_numbers, strict=True) if is_number)
        of_any = magnitude * max(map(largest, cotangents), default=0)
        if not magnitude:
            return of_values, of_any
        return of_values, [0 if g is None else max(of_any, largest(g)) for g in expected_grads]
    sizes = [abs(a) if is_number else a for a, is_number in zip(inputs, are_numbers, strict=True)]
    leaves = [_to_torch(a).requires_grad_(i in needs) for i, a in enumerate(sizes)]
    outputs = as_tuple(theirs(*leaves))
    of_grads = _gradients(outputs, leaves, needs, recorded, [abs(dy) for dy in cotangents]) if needs else []
    return [_to_numpy(y) for y in outputs], of_grads


def _gradients(outputs: Any, leaves: Any, needs: Any, recorded: Any, cotangents: Any) -> list[Any]:
    grads = torch().autograd.grad(
        [outputs[i] for i in recorded],
        [leaves[i] for i in needs],
        [_to_torch(dy) for dy in cotangents],
        allow_unused=True,
    )
    return [None if grad is None else _to_numpy(grad) for grad in grads]


def _to_torch(array: Array) -> Any:
    return torch().from_numpy(np.array(array, order="C"))  # torch takes neither negative strides nor read-only memory


def _to_numpy(tensor: Any) -> Array:
    array: Array = tensor.detach().numpy(force=True)  # some gradients of zero have no memory until asked
    return array
