"""The argument spaces of losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyconv.check.draw import LAYOUTS, Array, Draw
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.geometry import away, broadcast_shapes, finite, floats_among, repeats, steepest
from tinyconv.testing.spaces.keywords import keyword_case

VALUES = ("normal", "ties", "normal", "ties", "special")
Shape = tuple[int, ...]
_INTEGERS = ("uint8", "int32", "int16", "int8", "uint16", "uint32", "uint64")


@space("cross_entropy")
def cross_entropy(draw: Draw) -> Case:
    shape, dtype = _scores(draw), draw.dtype()
    c = shape[_class_axis(shape)]
    options: dict[str, Any] = _reduction(draw)
    if draw.flag():
        options["label_smoothing"] = draw.choice([0.1, 0.0, 1.0])
        draw.note_if(options["label_smoothing"], "label_smoothing")
    values = VALUES[:-1] if options.get("label_smoothing") == 1 else VALUES
    arrays = {"input": _logits(draw, shape, dtype, values)}
    if draw.choice([False, False, True]):
        draw.note("probabilities")
        arrays["target"] = _probabilities(draw, shape, dtype)
        if draw.flag():
            draw.note("weight")
            arrays["weight"] = draw.array((c,), dtype, ("positive",))
        needs = floats_among(draw, list(arrays.values()))
        slope = 4 * max(1.0, steepest(arrays.get("weight", 1.0)))
    else:
        draw.note("class indices")
        options |= _classes(
            draw, arrays, shape, c, light=not options.get("label_smoothing") and finite(arrays["input"])
        )
        needs, slope = [0], _steepness(arrays, options)
    return _case("functional.cross_entropy", arrays, options, needs=needs, magnitude=slope)


@space("nll_loss")
def nll_loss(draw: Draw) -> Case:
    shape, dtype = _scores(draw), draw.dtype()
    arrays = {"input": draw.array(shape, dtype, VALUES)}
    options = _reduction(draw) | _classes(draw, arrays, shape, shape[_class_axis(shape)])
    return _case("functional.nll_loss", arrays, options, needs=[0], magnitude=_steepness(arrays, options))


@space("mse_loss")
def mse_loss(draw: Draw) -> Case:
    arrays, options, needs = _pair(draw, VALUES, VALUES)
    # With equal shapes only x - t cancels, which is rounded once; where shapes broadcast, gradients are summed.
    terms = 4 * steepest(*arrays.values()) * _summed(arrays)
    return _case("functional.mse_loss", arrays, options, needs=needs, magnitude=terms)


@space("l1_loss")
def l1_loss(draw: Draw) -> Case:
    arrays, options, needs = _pair(draw, (*VALUES[:-1], "infinite"), VALUES[:-1])
    smooth = away(arrays["input"] - arrays["target"])
    return _case("functional.l1_loss", arrays, options, needs=needs, magnitude=_summed(arrays), smooth=smooth)


@space("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(draw: Draw) -> Case:
    shape, dtype = draw.shape(), draw.dtype()
    draw.note_if(shape[:1] == (0,), "N = 0")
    weights = draw.choice([(), ("weight",), ("pos_weight",), ("weight", "pos_weight")])
    arrays = {
        "input": _logits(draw, shape, dtype),
        "target": _laid_out(draw, shape, dtype, lambda t: np.minimum(abs(t), 1)),  # 0 and 1 among them
    }
    needs = floats_among(draw, list(arrays.values()))
    for name in weights:
        draw.note(name)
        of = draw.choice([shape, shape[1:], tuple(draw.choice([n, 1]) for n in shape)])
        draw.note_if(of != shape, f"broadcast {name}")
        arrays[name] = _laid_out(draw, of, dtype, abs)
    options = _reduction(draw)
    # (1 - t) x and ln(1 + e^-x), or their derivatives by t, cancel: each is about x times the weights.
    weight, positive = (steepest(arrays.get(name, 1.0)) for name in ("weight", "pos_weight"))
    slope = max(1, weight) * (2 + positive) * max(1, steepest(arrays["input"]))
    return _case("functional.binary_cross_entropy_with_logits", arrays, options, needs=needs, magnitude=slope)


def _case(call: str, arrays: dict[str, Array], options: dict[str, Any], **facts: Any) -> Case:
    """A case whose second order is compared only without infinities, where the formula may make inf - inf.

    PyTorch gets class indices in int64, the one dtype that it takes.
    """
    made = keyword_case(call, arrays, options, second_order=finite(*arrays.values()), **facts)
    theirs: Any = made.theirs
    made.theirs = lambda *tensors, **options: theirs(
        *(t if t.is_floating_point() else t.long() for t in tensors), **options
    )
    return made


def _scores(draw: Draw) -> Shape:
    """The shape of scores: (N, C), (N, C, ...) or, for one example, (C,)."""
    n, c, rest = draw.choice([2, 3, 1, 2, 0]), draw.choice([3, 4, 2, 1]), draw.shape(max_dims=2, min_side=1, max_side=3)
    draw.note_if(c == 1, "C = 1")
    if draw.integer(0, 4) == 4:
        draw.note("(C,)")
        return (c,)
    draw.note_if(n < 2, f"N = {n}")
    draw.note("extra axes" if rest else "(N, C)")
    return n, c, *rest


def _class_axis(shape: Shape) -> int:
    return min(len(shape) - 1, 1)


def _logits(draw: Draw, shape: Shape, dtype: Any, values: Sequence[str] = VALUES) -> Array:
    if draw.integer(0, 4) == 4:
        draw.note("huge logits")
        return _laid_out(draw, shape, dtype, lambda x: x * 1000)
    return draw.array(shape, dtype, values)


def _laid_out(draw: Draw, shape: Shape, dtype: Any, change: Callable[[Array], Any]) -> Array:
    """An array that is changed before it is laid out, because arithmetic would make it contiguous again."""
    values = np.asarray(change(draw.values(shape, dtype, draw.choice(["normal", "ties"]))), dtype)
    return draw.arrange(values, draw.choice(LAYOUTS))


def _probabilities(draw: Draw, shape: Shape, dtype: Any) -> Array:
    """Class probabilities for every example: any, or one class certain, or all classes equal."""
    axis = _class_axis(shape)
    kind = draw.choice(["positive", "one-hot", "uniform"])
    if kind == "one-hot":
        draw.note("one-hot")
        likely = draw.values(shape, dtype, "normal")
        values = likely == likely.max(axis=axis, keepdims=True)
    else:
        values = draw.values(shape, dtype, "positive") if kind == "positive" else np.ones(shape)
    values = np.asarray(values / values.sum(axis=axis, keepdims=True), dtype)
    return draw.arrange(values, draw.choice(LAYOUTS))


def _classes(draw: Draw, arrays: dict[str, Array], shape: Shape, c: int, light: bool = True) -> dict[str, Any]:
    """Draw class indices, of any integer dtype, and perhaps class weights into `arrays`, and return the options.

    None, some or all of the indices are ignored. With `light`, some classes may weigh nothing.
    """
    options = {}
    ignored = -100
    if draw.flag():
        ignored = options["ignore_index"] = draw.choice([-100, 0, 1, -1, 255, c, c + 7])
        draw.note_if(0 <= ignored < c, "ignore_index is a class")
        draw.note_if(ignored >= c, "ignore_index beyond the classes")
    dtype = np.dtype(draw.choice(["int64", *_INTEGERS]))
    draw.note_if(dtype != np.int64, "another integer dtype")
    rng = np.random.default_rng(draw.integer(0, 2**32 - 1))
    of = shape[:1] + shape[2:] if len(shape) > 1 else ()
    target = np.asarray(rng.integers(0, c, of))
    share = draw.choice([0, 0.3, 1]) if np.iinfo(dtype).min <= ignored <= np.iinfo(dtype).max else 0
    target = np.where(rng.random(of) < share, ignored, target).astype(dtype)
    target = draw.arrange(target, draw.choice(LAYOUTS))
    arrays["target"] = target
    draw.note_if((target == ignored).any(), "ignored targets")
    draw.note_if(target.size and (target == ignored).all(), "all ignored")
    if draw.flag():
        draw.note("weight")
        dtype = arrays["input"].dtype
        arrays["weight"] = draw.array((c,), dtype, ("positive",))
        if light and draw.flag():
            arrays["weight"] = _laid_out(draw, (c,), dtype, lambda w: np.maximum(w, 0))
            draw.note_if((arrays["weight"] == 0).any(), "weight of 0")
    return options


def _steepness(arrays: dict[str, Array], options: dict[str, Any]) -> float:
    """The slope of a loss of class indices: what an example weighs, in a mean relative to the others."""
    weight = arrays.get("weight", np.ones(1))
    heaviest = float(weight.max())
    if options.get("reduction", "mean") == "mean":
        return 4 * max(1.0, heaviest / float(weight[weight > 0].min(initial=heaviest))) if heaviest else 4.0
    return 4 * max(1.0, heaviest)


def _pair(
    draw: Draw, of_input: Sequence[str], of_target: Sequence[str]
) -> tuple[dict[str, Array], dict[str, Any], list[int]]:
    (input_shape, target_shape), dtype = broadcast_shapes(draw, ("input", "target")), draw.dtype()
    arrays = {
        "input": draw.array(input_shape, dtype, of_input),
        "target": draw.array(target_shape, dtype, of_target),
    }
    return arrays, _reduction(draw), floats_among(draw, list(arrays.values()))


def _summed(arrays: dict[str, Array]) -> int:
    """The number of terms that a gradient sums because an input was broadcast; 0 if none was."""
    terms = repeats([array.shape for array in arrays.values()])
    return terms if terms > 1 else 0


def _reduction(draw: Draw) -> dict[str, Any]:
    reduction = draw.choice(["mean", "sum", "none"])
    draw.note(f"reduction='{reduction}'")
    return {} if reduction == "mean" and draw.flag() else {"reduction": reduction}
