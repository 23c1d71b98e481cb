"""The argument spaces of normalisation, dropout and padding."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv.check.draw import Array, Draw
from tinyconv.check.pytorch import torch
from tinyconv.testing.case import Case, space
from tinyconv.testing.spaces.geometry import finite, steepest
from tinyconv.testing.spaces.keywords import keyword_case

VALUES = ("normal", "ties", "normal", "ties", "special")
STEEP = 100


@space("batch_norm")
def batch_norm(draw: Draw) -> Case:
    training, tracked = draw.choice([(True, True), (False, True), (True, False)])
    n, c, *rest = _channels(draw, training)
    draw.note("training" if training else "eval")
    dtype = draw.dtype()
    arrays = {"input": draw.array((n, c, *rest), dtype, VALUES)}
    _maybe_affine(draw, arrays, (c,), dtype)
    needs = draw.subset(len(arrays))
    draw.note_if(len(needs) < len(arrays), "constant operand")
    if tracked:
        draw.note("running statistics")
        arrays["running_mean"] = draw.array((c,), dtype)
        arrays["running_var"] = draw.array((c,), dtype, ("positive",))
    else:
        draw.note("no running statistics")
    axes = (0, *range(2, len(rest) + 2))
    var = _variance(arrays["input"], axes) if training else arrays["running_var"]
    options: dict[str, Any] = {"training": training} | _maybe_eps(draw, var, zero=not training)
    if training and draw.flag():
        options["momentum"] = draw.choice([0.1, 0.5, 1.0, 0.0])
        draw.note("momentum")
    names = list(arrays)

    def call(function: Any, tensors: Any, options: dict[str, Any]) -> Any:
        """y, and the running statistics after it. These are copies, because training writes to them."""
        given = dict(zip(names, tensors, strict=True))
        running = [given[name].clone() if tracked else None for name in ("running_mean", "running_var")]
        given |= dict(zip(("running_mean", "running_var"), running, strict=True))
        y = function(**given, **options)
        return (y, *running) if tracked else y

    if training:
        slope = _slope(arrays["input"], axes, options, arrays)
    else:  # x / s and mean / s cancel
        largest = steepest(arrays["input"]) + steepest(arrays["running_mean"])
        slope = max(1.0, steepest(_scale(var, options)) * max(_weight(arrays), largest))
    return Case(
        "functional.batch_norm",
        list(arrays.values()),
        options,
        needs=needs,
        magnitude=slope,
        smooth=finite(*arrays.values()),
        second_order=_twice(arrays, slope),
        ours=lambda *tensors, **options: call(tc.functional.batch_norm, tensors, options),
        theirs=lambda *tensors, **options: call(torch().nn.functional.batch_norm, tensors, options),
    )


@space("nn.BatchNorm")
def batch_norm_module(draw: Draw) -> Case:
    """The module: the outputs for batches of training and for one of evaluation, and the state after them."""
    n, c, *rest = _channels(draw, training=True)
    kind = "BatchNorm2d" if len(rest) == 2 else "BatchNorm1d"
    options = {"affine": draw.flag(), "track_running_stats": not draw.flag(), "momentum": draw.choice([0.1, None, 1.0])}
    draw.note_if(not options["affine"], "affine=False")
    draw.note_if(not options["track_running_stats"], "track_running_stats=False")
    draw.note_if(options["momentum"] is None, "momentum=None")
    dtype = draw.dtype()
    inputs = [draw.array((n, c, *rest), dtype) for _ in range(draw.integer(2, 4))]

    def call(library: Any, batches: Any, options: dict[str, Any]) -> Any:
        module = getattr(library.nn, kind)(c, **options, dtype=batches[0].dtype)
        outputs = [module(x) for x in batches[:-1]]
        outputs.append(module.eval()(batches[-1]))
        return (*outputs, *module.state_dict().values())

    axes = (0, *range(2, len(rest) + 2))
    slope = max(_slope(x, axes, {}, {}) for x in inputs)
    return Case(
        f"nn.{kind}",
        inputs,
        options,
        magnitude=slope,
        second_order=slope < STEEP,
        smooth=not options["track_running_stats"],  # they are constants to the tape, not to differences
        ours=lambda *tensors, **options: call(tc, tensors, options),
        theirs=lambda *tensors, **options: call(torch(), tensors, options),
    )


@space("layer_norm")
def layer_norm(draw: Draw) -> Case:
    lead, shape = draw.shape(max_dims=2, max_side=3), draw.shape(min_dims=1, max_dims=2)
    draw.note(f"normalised axes: {len(shape)}")
    draw.note_if(prod(shape) == 1, "one element")
    dtype = draw.dtype()
    arrays = {"input": draw.array((*lead, *shape), dtype, VALUES)}
    _maybe_affine(draw, arrays, shape, dtype)
    axes = tuple(range(len(lead), len(lead) + len(shape)))
    options: dict[str, Any] = {"normalized_shape": shape} | _maybe_eps(draw, _variance(arrays["input"], axes))
    needs = draw.subset(len(arrays))
    draw.note_if(len(needs) < len(arrays), "constant operand")
    slope = _slope(arrays["input"], axes, options, arrays)
    return keyword_case(
        "functional.layer_norm",
        arrays,
        options,
        needs=needs,
        magnitude=slope,
        second_order=_twice(arrays, slope),
    )


@space("group_norm")
def group_norm(draw: Draw) -> Case:
    groups, per_group = draw.integer(1, 3), draw.integer(1, 3)
    rest = draw.shape(max_dims=2, min_side=1, max_side=3)
    draw.note("one channel a group" if per_group == 1 else "one group" if groups == 1 else "several groups")
    draw.note_if(per_group * prod(rest) == 1, "one value a group")
    dtype, c = draw.dtype(), groups * per_group
    n = draw.choice([2, 1, 3, 0])
    n = 2 if n * c * prod(rest) == groups else n  # torch refuses one value in all for each of them
    arrays = {"input": draw.array((n, c, *rest), dtype, VALUES)}
    _maybe_affine(draw, arrays, (c,), dtype, bias_alone=False)  # torch's backward fails there
    grouped = np.asarray(arrays["input"]).reshape(n, groups, per_group * prod(rest))
    return _standardised(draw, "group_norm", arrays, {"num_groups": groups}, grouped)


@space("instance_norm")
def instance_norm(draw: Draw) -> Case:
    """With the statistics of the input; where running ones count it is batch_norm, and tests/nn compares the module."""
    n, c = draw.choice([2, 1, 3]), draw.integer(1, 3)
    rest = draw.shape(min_dims=1, max_dims=2, min_side=1, max_side=3)
    rest = rest if prod(rest) > 1 else (*rest[1:], 2)
    dtype = draw.dtype()
    arrays = {"input": draw.array((n, c, *rest), dtype, VALUES)}
    _maybe_affine(draw, arrays, (c,), dtype)
    return _standardised(draw, "instance_norm", arrays, {}, np.asarray(arrays["input"]).reshape(n, c, prod(rest)))


def _standardised(draw: Draw, name: str, arrays: dict[str, Array], options: dict[str, Any], grouped: Array) -> Case:
    """A standardisation over the last axis of `grouped`, an arrangement of the input."""
    options |= _maybe_eps(draw, _variance(grouped, (2,)), zero=False)
    needs = draw.subset(len(arrays))
    draw.note_if(len(needs) < len(arrays), "constant operand")
    slope = _slope(grouped, (2,), options, arrays)
    return keyword_case(
        f"functional.{name}",
        arrays,
        options,
        needs=needs,
        magnitude=slope * max(1, arrays["input"].size // max(arrays["input"].shape[1], 1)),  # dweight is a sum
        second_order=_twice(arrays, slope),
    )


@space("rms_norm")
def rms_norm(draw: Draw) -> Case:
    lead, shape, dtype = draw.shape(max_dims=2, max_side=3), draw.shape(1, 2, 1), draw.dtype()
    arrays = {"input": draw.array((*lead, *shape), dtype)}
    if draw.flag():
        arrays["weight"] = draw.array(shape, dtype)
        draw.note("weight")
    options: dict[str, Any] = {"normalized_shape": shape, "eps": draw.choice([0.1, 1e-3, 1.0])}
    return keyword_case("functional.rms_norm", arrays, options, magnitude=100 * prod(lead))


@space("local_response_norm")
def local_response_norm(draw: Draw) -> Case:
    shape = (draw.choice([2, 1]), draw.integer(1, 5), *draw.shape(1, 2, 1, 3))
    options: dict[str, Any] = {"size": draw.integer(1, 5)}
    for name, choices in {"alpha": (1e-4, 0.5, 1), "beta": (0.75, 0.5, 2.0), "k": (1.0, 2, 0.5)}.items():
        if draw.flag():
            options[name] = draw.choice(choices)
            draw.note(name)
    return keyword_case(
        "functional.local_response_norm", {"input": draw.array(shape, draw.dtype())}, options, magnitude=50
    )


@space("normalize")
def normalize(draw: Draw) -> Case:
    """Away from 0, where the length has no derivative."""
    shape = draw.shape(min_dims=1, max_dims=3, min_side=1)
    x = draw.array(shape, draw.dtype(), ("normal", "positive"))
    options: dict[str, Any] = {"dim": draw.integer(-len(shape), len(shape) - 1)}
    if draw.flag():
        options["p"] = draw.choice([2.0, 1.0])
        draw.note(f"p = {options['p']:g}")
    if draw.flag():
        options["eps"] = draw.choice([1e-12, 10.0])
        draw.note("eps")
    length = np.linalg.norm(np.asarray(x, np.float64), options.get("p", 2.0), options["dim"])
    near = bool((abs(length - options.get("eps", 1e-12)) > 1e-3).all()) and steepest(1 / length) < 20
    return keyword_case(
        "functional.normalize",
        {"input": x},
        options,
        magnitude=steepest(1 / length) ** 2 + 1,
        smooth=near and bool((abs(x) > 1e-3).all()),
        second_order=near and bool((x != 0).all()),
    )


def _two_vectors(draw: Draw, name: str) -> tuple[dict[str, Array], bool]:
    """Two arrays that broadcast, and whether no vector along the last axis is near 0."""
    shape, dtype = draw.shape(min_dims=1, max_dims=3, min_side=1), draw.dtype()
    other = tuple(draw.choice((n, 1)) for n in shape[:-1]) + shape[-1:]
    draw.note_if(other != shape, "broadcast")
    arrays = {"x1": draw.array(shape, dtype, ("normal",)), "x2": draw.array(other, dtype, ("normal",))}
    vectors = arrays.values() if name == "cosine_similarity" else [arrays["x1"] - arrays["x2"] + 1e-6]
    return arrays, all(bool((np.linalg.norm(v, axis=-1) > 0.2).all()) for v in vectors)


@space("cosine_similarity")
def cosine_similarity(draw: Draw) -> Case:
    arrays, apart = _two_vectors(draw, "cosine_similarity")
    options: dict[str, Any] = {"dim": -1}
    if draw.flag():
        options["eps"] = draw.choice([1e-8, 1e-3])
    short = any((np.linalg.norm(v, axis=-1) < options.get("eps", 1e-8)).any() for v in arrays.values())
    return keyword_case(
        "functional.cosine_similarity",
        arrays,
        options,
        magnitude=1000,
        differentiable=not short,
        smooth=apart,
        second_order=apart,
    )


@space("pairwise_distance")
def pairwise_distance(draw: Draw) -> Case:
    arrays, apart = _two_vectors(draw, "pairwise_distance")
    options: dict[str, Any] = {}
    if draw.flag():
        options["p"] = draw.choice([2.0, 1.0])
        draw.note(f"p = {options['p']:g}")
    if draw.flag():
        options["keepdim"] = True
    difference = abs(np.asarray(arrays["x1"] - arrays["x2"], np.float64))
    smooth = apart and bool((difference > 1e-2).all())
    return keyword_case(
        "functional.pairwise_distance", arrays, options, magnitude=1000, smooth=smooth, second_order=smooth
    )


def _channels(draw: Draw, training: bool) -> tuple[int, ...]:
    """A shape (N, C), (N, C, L) or (N, C, H, W), in training with more than one value per channel."""
    n, c = draw.choice([2, 1, 0, 4, 3]), draw.integer(1, 3)
    rest = draw.shape(max_dims=2, min_side=1, max_side=3)
    if training and n * prod(rest) == 1:
        rest = (*rest[1:], 2)
    draw.note(f"{2 + len(rest)}-d input")
    draw.note_if(n < 2, f"N = {n}")
    draw.note_if(n * prod(rest) == 2, "two values a channel")
    return n, c, *rest


def _maybe_affine(
    draw: Draw, arrays: dict[str, Array], shape: tuple[int, ...], dtype: Any, bias_alone: bool = True
) -> None:
    given = draw.choice([(), ("weight", "bias"), ("weight",), ("bias",)][: 4 if bias_alone else 3])
    draw.note(" and ".join(given) if given else "no weight or bias")
    for name in given:
        arrays[name] = draw.array(shape, dtype)


def _maybe_eps(draw: Draw, var: Array, zero: bool = True) -> dict[str, float]:
    """`eps`, or nothing. It is 0 only where that does not lead to a division by 0."""
    if draw.flag():
        return {}
    eps = draw.choice([1e-5, 0.1, 1e-3, 0.0])
    if not eps and not (zero and var.size and var.min() > 1e-3):
        eps = 0.1
    draw.note("eps = 0" if not eps else "eps")
    return {"eps": eps}


def _twice(arrays: Mapping[str, Array], slope: float) -> bool:
    """Whether second derivatives are to be compared.

    They are not where there are infinities, of which the formula makes inf - inf; nor where elements are so nearly
    equal that second derivatives, of the order of 1 / s^3, are all rounding; nor with a bias and no weight, where torch
    multiplies by the weight all the same, and fails.
    """
    return finite(*arrays.values()) and slope < STEEP and ("weight" in arrays or "bias" not in arrays)


def _variance(x: Array, axes: tuple[int, ...]) -> Array:
    if not x.size:  # nothing varies
        return np.ones(())
    with np.errstate(all="ignore"):
        return np.asarray(x, np.float64).var(axis=axes)


def _scale(var: Array, options: dict[str, Any]) -> Array:
    return np.asarray(1 / np.sqrt(var + options.get("eps", 1e-5)))


def _weight(arrays: Mapping[str, Array]) -> float:
    return max(1.0, steepest(arrays.get("weight", 1.0)))


def _slope(x: Array, axes: tuple[int, ...], options: dict[str, Any], arrays: Mapping[str, Array]) -> float:
    """The slope of a standardisation: x - mean is as wrong as x, x^ is that over s, and dx is that over s again.

    It is at least 1, because the gradient of the bias is a sum of dy.
    """
    scale = _scale(_variance(x, axes), options)
    largest = abs(x).max(axis=axes, initial=0)
    return max(1.0, steepest(scale * np.maximum(1, scale * largest))) * _weight(arrays)


@space("dropout")
def dropout(draw: Draw) -> Case:
    """Only what does not depend on random numbers: p = 0, p = 1 and evaluation."""
    p, training = draw.choice([(0.0, True), (1.0, True), (0.0, False), (0.5, False), (1.0, False)])
    draw.note(f"p = {p:g}" if training else "eval")
    x = draw.array(draw.shape(), draw.dtype(), VALUES)
    return keyword_case("functional.dropout", {"input": x}, {"p": p, "training": training})


@space("dropout1d")
def dropout1d(draw: Draw) -> Case:
    return _all_or_nothing(draw, "dropout1d", (2, 3))


@space("dropout2d")
def dropout2d(draw: Draw) -> Case:
    return _all_or_nothing(draw, "dropout2d", (4,))


@space("alpha_dropout")
def alpha_dropout(draw: Draw) -> Case:
    return _all_or_nothing(draw, "alpha_dropout", (0, 1, 2, 3))


@space("feature_alpha_dropout")
def feature_alpha_dropout(draw: Draw) -> Case:
    return _all_or_nothing(draw, "feature_alpha_dropout", (2, 3, 4))


def _all_or_nothing(draw: Draw, name: str, ranks: tuple[int, ...]) -> Case:
    """As for dropout; of the kinds that keep mean and variance, torch's p = 1 drops to 0."""
    p, training = draw.choice([(0.0, True), (1.0, True), (0.5, False)])
    draw.note(f"p = {p:g}" if training else "eval")
    rank = draw.choice(ranks)
    x = draw.array(draw.shape(rank, rank, max_side=3), draw.dtype())
    return keyword_case(f"functional.{name}", {"input": x}, {"p": p, "training": training})


@space("pad")
def pad(draw: Draw) -> Case:
    mode = draw.choice(["constant", "constant", "reflect", "replicate", "circular"])
    draw.note(mode)
    if mode == "constant":
        shape = draw.shape()
        axes = draw.integer(0, len(shape))
    else:  # torch pads the last 1, 2 or 3 axes of inputs that have one or two more
        axes = draw.integer(1, 3)
        shape = draw.shape(axes + 1, axes + 1, 1, 4)
        if draw.flag():
            shape = (draw.choice([2, 1, 0]), *shape)
    widths = [width for n in shape[: -axes - 1 : -1] for width in _widths(draw, n, mode)]
    draw.note_if(any(width < 0 for width in widths), "negative widths")
    draw.note_if(not any(widths), "nothing to pad")
    draw.note(f"{axes} padded axes" if axes != 1 else "1 padded axis")
    options: dict[str, Any] = {"pad": tuple(widths) if draw.flag() else widths}
    if mode != "constant" or draw.flag():
        options["mode"] = mode
    if mode == "constant" and draw.flag():
        options["value"] = draw.choice([0.0, 1.5, -2, np.inf, np.nan])
        draw.note("value")
    x = draw.array(shape, draw.dtype(), VALUES)
    return keyword_case(
        "functional.pad",
        {"input": x},
        options,
        smooth=finite(options.get("value", 0.0)),
        magnitude=0 if mode == "constant" else "terms",  # an element may come back many times
    )


def _widths(draw: Draw, n: int, mode: str) -> tuple[int, int]:
    """Widths to add to, or crop from, both ends of an axis of n. Where edges are repeated, an element must remain."""
    least = 0 if mode in ("constant", "circular") else 1
    crop = draw.choice([0, 0, max(n - least, 0)])
    before_crop = draw.integer(0, crop)
    crops = before_crop, draw.integer(0, crop - before_crop)
    most = {"constant": 3, "reflect": n - 1, "replicate": n + 2, "circular": n - sum(crops)}[mode]
    before, after = (-crop if crop else draw.integer(0, min(most, 3)) for crop in crops)
    return before, after
