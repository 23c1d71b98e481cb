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


@space("smooth_l1_loss")
def smooth_l1_loss(draw: Draw) -> Case:
    return _huber(draw, "smooth_l1_loss", "beta", (1.0, 0.5, 2, 0.0))


@space("huber_loss")
def huber_loss(draw: Draw) -> Case:
    return _huber(draw, "huber_loss", "delta", (1.0, 0.5, 2))


def _huber(draw: Draw, name: str, option: str, choices: Sequence[float]) -> Case:
    """A parabola with straight lines on either side; second derivatives jump where they meet."""
    arrays, options, needs = _pair(draw, VALUES[:-1], VALUES[:-1])
    if draw.flag():
        options[option] = draw.choice(choices)
        draw.note(option)
    bend = options.get(option, 1.0)
    difference = abs(np.asarray(arrays["input"], np.float64) - arrays["target"])
    smooth = away(difference - bend) and (bend > 0 or away(difference))
    made = _case(
        f"functional.{name}", arrays, options, needs=needs, magnitude=4 * max(1, _summed(arrays)), smooth=smooth
    )
    made.second_order &= smooth
    return made


@space("kl_div")
def kl_div(draw: Draw) -> Case:
    """Targets above 0: at 0 the gradient of t ln t is infinite, and only the input gets one."""
    (input_shape, target_shape), dtype = broadcast_shapes(draw, ("input", "target")), draw.dtype()
    arrays = {"input": draw.array(input_shape, dtype), "target": draw.array(target_shape, dtype, ("positive",))}
    options: dict[str, Any] = {"reduction": draw.choice(["mean", "batchmean", "sum", "none"])}
    draw.note(f"reduction='{options['reduction']}'")
    if options["reduction"] == "batchmean" and (0 in input_shape or not input_shape):
        options["reduction"] = "sum"
    if draw.flag():
        options["log_target"] = True
        draw.note("log_target")
    needs = floats_among(draw, list(arrays.values()))
    if not options.get("log_target") and draw.flag():
        arrays["target"], needs = np.zeros_like(arrays["target"]), [0]
        draw.note("target of 0")
    return _case("functional.kl_div", arrays, options, needs=needs, magnitude=40 * max(1, _summed(arrays)))


@space("binary_cross_entropy")
def binary_cross_entropy(draw: Draw) -> Case:
    shape, dtype = draw.shape(), draw.dtype()

    def inside(x: Array) -> Any:
        return 1 / (1 + np.exp(-x))

    arrays = {
        "input": _laid_out(draw, shape, dtype, inside),
        "target": _laid_out(draw, shape, dtype, lambda t: np.minimum(abs(t), 1)),
    }
    needs = floats_among(draw, list(arrays.values()))
    if dtype == np.float32 and draw.integer(0, 3) == 3:  # torch's 1e-12 has no more digits
        draw.note("certain probabilities")
        arrays["input"], needs = _laid_out(draw, shape, dtype, lambda x: x > 0), [0]
    if draw.flag():
        draw.note("weight")
        arrays["weight"] = _laid_out(draw, draw.choice([shape, shape[1:]]), dtype, abs)
    certain = bool(((arrays["input"] == 0) | (arrays["input"] == 1)).any())
    made = _case(
        "functional.binary_cross_entropy", arrays, _reduction(draw), needs=needs, magnitude=200, smooth=not certain
    )
    made.second_order &= not certain and dtype == np.float32  # torch adds 1e-12 where gradients are differentiated
    return made


@space("poisson_nll_loss")
def poisson_nll_loss(draw: Draw) -> Case:
    (input_shape, target_shape), dtype = broadcast_shapes(draw, ("input", "target")), draw.dtype()
    options = _reduction(draw) | {"log_input": not draw.flag(), "full": draw.flag()}
    draw.note_if(options["full"], "full")
    draw.note_if(not options["log_input"], "log_input=False")
    arrays = {
        "input": draw.array(input_shape, dtype, ("normal",) if options["log_input"] else ("positive",)),
        "target": _laid_out(draw, target_shape, dtype, abs),
    }
    return _case("functional.poisson_nll_loss", arrays, options, needs=[0], magnitude=100 * max(1, _summed(arrays)))


@space("gaussian_nll_loss")
def gaussian_nll_loss(draw: Draw) -> Case:
    shape, dtype = draw.shape(1, 3, 1), draw.dtype()
    of = draw.choice([shape, shape[:-1], (*shape[:-1], 1)])
    draw.note_if(of != shape, "a variance for each row")
    arrays = {
        "input": draw.array(shape, dtype),
        "target": draw.array(shape, dtype),
        "var": draw.array(of, dtype, ("positive",)),
    }
    options = _reduction(draw) | {"full": draw.flag(), "eps": draw.choice([1e-6, 0.01])}
    draw.note_if(options["full"], "full")
    return _case("functional.gaussian_nll_loss", arrays, options, magnitude=2000 * max(1, shape[-1]))


def _signs(draw: Draw, shape: Shape, dtype: Any) -> Array:
    return _laid_out(draw, shape, dtype, lambda t: np.where(t > 0, 1, -1))


@space("hinge_embedding_loss")
def hinge_embedding_loss(draw: Draw) -> Case:
    shape, dtype = draw.shape(), draw.dtype()
    arrays = {"input": draw.array(shape, dtype), "target": _signs(draw, shape, dtype)}
    options = _reduction(draw) | _margin(draw, 1.0)
    smooth = away(options["margin"] - arrays["input"])
    return _case("functional.hinge_embedding_loss", arrays, options, needs=[0], smooth=smooth)


@space("margin_ranking_loss")
def margin_ranking_loss(draw: Draw) -> Case:
    shape, dtype = draw.shape(), draw.dtype()
    arrays = {
        "input1": draw.array(shape, dtype),
        "input2": draw.array(shape, dtype),
        "target": _signs(draw, shape, dtype),
    }
    options = _reduction(draw) | _margin(draw, 0.0)
    smooth = away(options["margin"] - arrays["target"] * (arrays["input1"] - arrays["input2"]))
    return _case("functional.margin_ranking_loss", arrays, options, needs=[0, 1], smooth=smooth, magnitude=4)


@space("triplet_margin_loss")
def triplet_margin_loss(draw: Draw) -> Case:
    """Far from 0, and with the loss above 0 and below it; `swap` takes the nearer of two, which is another kink."""
    shape, dtype = draw.shape(1, 2, 2), draw.dtype()
    arrays = {
        name: draw.array(shape, dtype, ("normal",), ("contiguous", "permuted"))
        for name in ("anchor", "positive", "negative")
    }
    options = _reduction(draw) | _margin(draw, 1.0) | {"swap": draw.flag()}
    draw.note_if(options["swap"], "swap")
    a, p, n = (np.asarray(x, np.float64) for x in arrays.values())
    near, far, other = (np.linalg.norm(x + 1e-6, axis=-1) for x in (a - p, a - n, p - n))
    apart = bool((np.stack([near, far, other]) > 0.1).all()) and away(far - other, 0.05)
    smooth = apart and away(options["margin"] + near - np.minimum(far, other if options["swap"] else far), 0.05)
    made = _case("functional.triplet_margin_loss", arrays, options, magnitude=1000, smooth=smooth)
    made.second_order &= smooth
    return made


@space("cosine_embedding_loss")
def cosine_embedding_loss(draw: Draw) -> Case:
    shape, dtype = draw.shape(1, 2, 1), draw.dtype()
    arrays = {"input1": draw.array(shape, dtype, ("normal",)), "input2": draw.array(shape, dtype, ("normal",))}
    arrays["target"] = _signs(draw, shape[:-1], dtype)
    a, b = (np.asarray(x, np.float64) for x in list(arrays.values())[:2])
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    options = _reduction(draw) | _margin(draw, 0.0)
    with np.errstate(all="ignore"):
        smooth = bool((lengths > 0.1).all()) and away((a * b).sum(-1) / lengths - options["margin"], 0.05)
    made = _case("functional.cosine_embedding_loss", arrays, options, needs=[0, 1], magnitude=1000, smooth=smooth)
    made.second_order &= smooth
    return made


@space("multi_margin_loss")
def multi_margin_loss(draw: Draw) -> Case:
    shape, dtype = draw.choice([(2, 3), (1, 4), (4, 2), (3,)]), draw.dtype()
    arrays = {"input": draw.array(shape, dtype, ("normal",))}
    arrays["target"] = draw.values(shape[:-1], np.int64, "ties") % shape[-1]
    options: dict[str, Any] = _reduction(draw) | _margin(draw, 1.0) | {"p": draw.choice([1, 2])}
    draw.note(f"p = {options['p']}", "one example" if len(shape) == 1 else "(N, C)")
    if draw.flag():
        arrays["weight"] = draw.array(shape[-1:], dtype, ("positive",))
        draw.note("weight")
    right = np.take_along_axis(arrays["input"], arrays["target"][..., None], -1)
    smooth = away(options["margin"] - right + arrays["input"])
    made = _case("functional.multi_margin_loss", arrays, options, needs=[0], magnitude=100, smooth=smooth)
    made.second_order = False  # torch has none
    return made


@space("soft_margin_loss")
def soft_margin_loss(draw: Draw) -> Case:
    shape, dtype = draw.shape(), draw.dtype()
    arrays = {"input": draw.array(shape, dtype), "target": _signs(draw, shape, dtype)}
    return _case("functional.soft_margin_loss", arrays, _reduction(draw), needs=[0], magnitude=4)


@space("multilabel_soft_margin_loss")
def multilabel_soft_margin_loss(draw: Draw) -> Case:
    shape, dtype = draw.shape(1, 2, 1), draw.dtype()
    arrays = {"input": draw.array(shape, dtype), "target": _laid_out(draw, shape, dtype, lambda t: t > 0)}
    if draw.flag():
        arrays["weight"] = draw.array(shape[-1:], dtype, ("positive",))
        draw.note("weight")
    return _case("functional.multilabel_soft_margin_loss", arrays, _reduction(draw), needs=[0], magnitude=20)


def _margin(draw: Draw, usual: float) -> dict[str, float]:
    margin = draw.choice([usual, 0.5, 2])
    draw.note_if(margin != usual, "margin")
    return {"margin": margin}


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
