"""Mutants: ops that are wrong by a mistake people make. The checkers must refuse each.

    PYTHONPATH=.:tests python tests/check/mutants.py    # writes docs/mutants.md

A mutant that lives is a mistake nobody would notice.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from oracle import check

import tinyconv as tc
from tinyconv import ops
from tinyconv.check import Report, gradcheck

REF = torch.nn.functional
rng = np.random.default_rng(0)


def normal(*shape):
    return rng.standard_normal(shape)


def ties(*shape):
    return rng.integers(-1, 2, shape).astype(float)


# --- an op, a question to it, and the same to torch -----------------------------------------------------------------


class Question(NamedTuple):
    ours: Callable[..., Any]  # of the op to ask, and tensors
    theirs: Callable[..., Any]
    inputs: Sequence[np.ndarray]
    magnitude: float | str = 0
    needs: Sequence[int] | None = None
    smooth: Sequence[np.ndarray] | None = None  # inputs without ties, for differences; None: they have none


def applied(*rest, **geometry):
    """A function that applies an op to its inputs and then `rest`, and returns the first output."""

    def ours(op, *tensors):
        y = tc.apply(op, *tensors, *rest, **geometry)
        return y[0] if isinstance(y, tuple) else y

    return ours


def added(**geometry):
    """A function that adds what an op gives to its inputs: a gradient that is 0 alone tells differences nothing."""
    return lambda op, *tensors: sum(tensors) + tc.apply(op, *tensors, **geometry)


def written_over(y):
    """y + 1, in the memory of y: an input that shares it changes too."""
    y.data += 1
    return y


def there_and_back(op, x):
    """A cast to float64 and one back: a float32 among float64 would be too coarse for differences."""
    return tc.apply(op, tc.apply(op, x, dtype=np.float64), dtype=x.dtype)


CONV = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
WINDOWS = {"kernel": (3, 2), "stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
POOL = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "ceil_mode": False}
AVG = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), "ceil_mode": True, "divisor": None}
ROWS = {"axes": (1,), "keepdims": False}
CLASSES = {"ignore_index": 1, "reduction": "mean"}
TARGET, WEIGHT = np.array([0, 1, 3, 2, 3]), np.array([0.5, 1.0, 2.0, 4.0])
REPEATED = np.array([0, 2, 2, 0])

QUESTIONS = {
    ops.Conv2d: Question(
        applied(**CONV),
        lambda *tensors: REF.conv2d(*tensors, **CONV),
        [normal(3, 4, 7, 7), normal(6, 2, 3, 3), normal(6)],
        "terms",
    ),
    ops.Conv2dRelu: Question(
        applied(**CONV),
        lambda *tensors: REF.conv2d(*tensors, **CONV).relu(),
        [normal(3, 4, 7, 7), normal(6, 2, 3, 3), normal(6)],
        "terms",
    ),
    ops.Conv2dReluMaxPool2d: Question(
        applied(pool=POOL, **CONV),
        lambda *tensors: REF.max_pool2d(REF.conv2d(*tensors, **CONV).relu(), 3, 2, 1),
        [normal(3, 4, 7, 7), normal(6, 2, 3, 3), normal(6)],
        "terms",
    ),
    ops.MaxPool2d: Question(
        applied(**POOL),
        lambda x: REF.max_pool2d(x, 3, 2, 1),
        [ties(2, 2, 7, 7) - 2],
        1,
        smooth=[normal(2, 2, 7, 7) - 3],
    ),
    ops.ReluMaxPool2d: Question(
        applied(**POOL), lambda x: REF.max_pool2d(x.relu(), 3, 2, 1), [normal(2, 2, 7, 7) - 1], 1
    ),
    ops.AvgPool2d: Question(
        applied(**AVG, count_include_pad=False),
        lambda x: REF.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        [normal(2, 2, 6, 6)],
        "terms",
    ),
    ops.AdaptiveAvgPool2d: Question(
        applied(out=(3, 3)), lambda x: REF.adaptive_avg_pool2d(x, 3), [normal(2, 2, 5, 5)], "terms"
    ),
    ops.AdaptiveMaxPool2d: Question(
        applied(out=(3, 3)), lambda x: REF.adaptive_max_pool2d(x, 3), [ties(2, 2, 5, 5)], 1, smooth=[normal(2, 2, 5, 5)]
    ),
    ops.Unfold: Question(
        applied(**WINDOWS), lambda x: REF.unfold(x, (3, 2), (1, 2), (1, 2), (2, 1)), [normal(3, 2, 7, 7)], "terms"
    ),
    ops.Fold: Question(
        applied(size=(7, 7), **WINDOWS),
        lambda cols: REF.fold(cols, 7, (3, 2), (1, 2), (1, 2), (2, 1)),
        [normal(3, 12, 4 * 9)],
        "terms",
    ),
    ops.ConvTranspose2d: Question(
        applied(**CONV, output_padding=(1, 0)),
        lambda *tensors: REF.conv_transpose2d(*tensors, **CONV, output_padding=(1, 0)),
        [normal(3, 4, 5, 5), normal(4, 3, 3, 3), normal(6)],
        "terms",
    ),
    ops.GridSample: Question(
        applied(nearest=False, padding="reflection", align=False),
        lambda x, grid: REF.grid_sample(x, grid, padding_mode="reflection", align_corners=False),
        [normal(2, 2, 4, 3), normal(2, 3, 3, 2)],
        64,
    ),
    ops.Linear: Question(applied(), REF.linear, [normal(4, 3), normal(3, 3), normal(3)], "terms"),
    ops.LinearRelu: Question(
        applied(), lambda *tensors: REF.linear(*tensors).relu(), [normal(4, 3), normal(3, 3), normal(3)], "terms"
    ),
    ops.Matmul: Question(applied(), torch.matmul, [normal(2, 3, 3), normal(3, 3)], "terms"),
    ops.Add: Question(applied(), torch.add, [normal(3, 3), normal(3)], "terms"),
    ops.Sub: Question(applied(), torch.sub, [normal(3, 3), normal(3)], "terms"),
    ops.Mul: Question(applied(), torch.mul, [normal(3, 3), normal(3, 3)], "terms"),
    ops.Div: Question(applied(), torch.div, [normal(3, 3), 1 + abs(normal(3))], 4),
    ops.Pow: Question(
        applied(),
        torch.pow,
        [np.append(abs(normal(8)), 0.0), np.append(normal(8), 0.0)],
        smooth=[abs(normal(8)), normal(8)],
    ),
    ops.Maximum: Question(applied(), torch.maximum, [ties(4, 4), ties(4, 4)], smooth=[normal(4, 4), normal(4, 4)]),
    ops.Minimum: Question(applied(), torch.minimum, [ties(4, 4), ties(4, 4)], smooth=[normal(4, 4), normal(4, 4)]),
    ops.LogAddExp: Question(applied(), torch.logaddexp, [1000 * normal(3, 4), 1000 * normal(3, 4)], 1),
    ops.Where: Question(applied(), torch.where, [normal(3, 3) > 0, normal(3, 3), normal(3, 3)], needs=[1, 2]),
    ops.Clamp: Question(
        applied(low=-1.0, high=1.0),
        lambda x: x.clamp(-1, 1),
        [ties(4, 4) + ties(4, 4)],
        smooth=[2 * normal(4, 4)],
    ),
    ops.Neg: Question(applied(), torch.neg, [normal(3, 4)]),
    ops.Exp: Question(applied(), torch.exp, [normal(3, 4)]),
    ops.Log: Question(applied(), torch.log, [0.1 + abs(normal(3, 4))]),
    ops.Sqrt: Question(applied(), torch.sqrt, [0.1 + abs(normal(3, 4))]),
    ops.Sin: Question(applied(), torch.sin, [normal(3, 4)], 1),
    ops.Cos: Question(applied(), torch.cos, [normal(3, 4)], 1),
    ops.Tan: Question(applied(), torch.tan, [np.tanh(normal(3, 4))], 4),
    ops.Asin: Question(applied(), torch.asin, [0.8 * np.tanh(normal(3, 4))], 2),
    ops.Acos: Question(applied(), torch.acos, [0.8 * np.tanh(normal(3, 4))], 2),
    ops.Atan: Question(applied(), torch.atan, [normal(3, 4)], 1),
    ops.Atan2: Question(applied(), torch.atan2, [normal(3, 3), 1 + abs(normal(3))], 8),
    ops.Sinh: Question(applied(), torch.sinh, [normal(3, 4)], 1),
    ops.Cosh: Question(applied(), torch.cosh, [normal(3, 4)], 1),
    ops.Expm1: Question(applied(), torch.expm1, [1e-4 * normal(20)]),
    ops.Log1p: Question(applied(), torch.log1p, [1e-4 * normal(20)]),
    ops.Log2: Question(applied(), torch.log2, [0.1 + abs(normal(3, 4))], 1),
    ops.Log10: Question(applied(), torch.log10, [0.1 + abs(normal(3, 4))], 1),
    ops.Erf: Question(applied(), torch.erf, [normal(40)], 1),
    ops.Step: Question(added(step="floor"), lambda x: x + x.floor(), [ties(4, 4)], smooth=[normal(4, 4)]),
    ops.Sign: Question(added(), lambda x: x + x.sign(), [ties(4, 4)], smooth=[normal(4, 4)]),
    ops.FloorDivide: Question(
        added(), lambda a, b: a + b + a.div(b, rounding_mode="floor"), [5 * normal(3, 4), 1 + abs(normal(4))]
    ),
    ops.TruncDivide: Question(
        added(), lambda a, b: a + b + a.div(b, rounding_mode="trunc"), [5 * normal(3, 4), 1 + abs(normal(4))]
    ),
    ops.Remainder: Question(applied(), torch.remainder, [5 * normal(3, 4), -1 - abs(normal(4))], 20),
    ops.Fmod: Question(applied(), torch.fmod, [5 * normal(3, 4), -1 - abs(normal(4))], 20),
    ops.Cast: Question(there_and_back, lambda x: x.double().to(x.dtype), [normal(3, 4)]),
    ops.Copy: Question(lambda op, x: written_over(tc.apply(op, x)), lambda x: written_over(x.clone()), [normal(3, 4)]),
    ops.Relu: Question(applied(), REF.relu, [ties(4, 4)], smooth=[normal(4, 4)]),
    ops.LeakyRelu: Question(applied(slope=0.1), lambda x: REF.leaky_relu(x, 0.1), [ties(4, 4)], smooth=[normal(4, 4)]),
    ops.Hardtanh: Question(
        applied(low=-1.0, high=1.0), REF.hardtanh, [ties(4, 4) + ties(4, 4)], smooth=[2 * normal(4, 4)]
    ),
    ops.Hardswish: Question(applied(), REF.hardswish, [np.append(4 * normal(40), [-3.0, 3.0])], 1, smooth=[normal(40)]),
    ops.Prelu: Question(
        applied(),
        REF.prelu,
        [np.append(normal(12), 0.0).reshape(13, 1), normal(1)],
        "terms",
        smooth=[normal(4, 3), normal(3)],
    ),
    ops.Elu: Question(
        applied(alpha=0.5, scale=2.0, rate=1.0),
        lambda x: 2 * REF.elu(x, 0.5),
        [np.append(3 * normal(40), 1000.0)],
        1,
        smooth=[3 * normal(40)],
    ),
    ops.Softplus: Question(
        applied(beta=2.0, threshold=20.0), lambda x: REF.softplus(x, 2), [np.append(normal(40), [1000.0, 11.0])], 1
    ),
    ops.Abs: Question(applied(), torch.abs, [ties(4, 4)], smooth=[normal(4, 4)]),
    ops.Gelu: Question(applied(), REF.gelu, [3 * normal(40)], 1),
    ops.GeluTanh: Question(applied(), lambda x: REF.gelu(x, approximate="tanh"), [3 * normal(40)], 1),
    ops.Silu: Question(applied(), REF.silu, [3 * normal(40)], 1),
    ops.Sigmoid: Question(applied(), torch.sigmoid, [3 * normal(40)], 1),
    ops.Tanh: Question(applied(), torch.tanh, [normal(40)], 1),
    ops.Dropout: Question(applied(p=0.25), lambda x, keep: x * keep / 0.75, [normal(4, 4), rng.random((4, 4)) < 0.75]),
    ops.Softmax: Question(applied(axis=1), lambda x: REF.softmax(x, 1), [normal(3, 4)], 1),
    ops.LogSoftmax: Question(applied(axis=1), lambda x: REF.log_softmax(x, 1), [1000 * normal(3, 4)], 1),
    ops.Sum: Question(applied(**ROWS), lambda x: x.sum(1), [normal(3, 3)], "terms"),
    ops.Mean: Question(applied(**ROWS), lambda x: x.mean(1), [normal(3, 4)], "terms"),
    ops.Amax: Question(applied(**ROWS), lambda x: x.amax(1), [ties(6, 5)], smooth=[normal(6, 5)]),
    ops.Amin: Question(applied(**ROWS), lambda x: x.amin(1), [ties(6, 5)], smooth=[normal(6, 5)]),
    ops.Pick: Question(
        applied(axis=1, keepdims=False),
        lambda x, index: x.gather(1, index)[:, 0],
        [normal(3, 4), np.array([[2], [0], [3]])],
    ),
    ops.Var: Question(applied(**ROWS, correction=1), lambda x: x.var(1), [normal(3, 4)], 8),
    ops.Std: Question(applied(**ROWS, correction=1), lambda x: x.std(1), [normal(3, 4)], 8),
    ops.Norm: Question(
        applied(**ROWS), lambda x: x.norm(dim=1), [normal(3, 4) * [[1], [0], [1]]], 1, smooth=[normal(3, 4)]
    ),
    ops.PNorm: Question(
        applied(**ROWS, p=3), lambda x: x.norm(3, dim=1), [normal(3, 4) * [[1], [0], [1]]], 8, smooth=[normal(3, 4)]
    ),
    ops.Cumsum: Question(applied(axis=1), lambda x: x.cumsum(1), [normal(3, 4)], "terms"),
    ops.Cumprod: Question(applied(), lambda x: x.cumprod(-1), [ties(5, 3)]),
    ops.Prod: Question(applied(), lambda x: x.prod(-1), [ties(5, 3)]),
    ops.LogSumExp: Question(applied(**ROWS), lambda x: x.logsumexp(1), [1000 * normal(3, 4)], 1),
    ops.Reshape: Question(applied(shape=(2, 6)), lambda x: x.reshape(2, 6), [normal(3, 4)]),
    ops.Permute: Question(applied(axes=(1, 2, 0)), lambda x: x.permute(1, 2, 0), [normal(2, 2, 2)]),
    ops.Expand: Question(applied(shape=(2, 3, 4)), lambda x: x.expand(2, 3, 4), [normal(3, 1)], "terms"),
    ops.Index: Question(
        applied(index=REPEATED, simple=False), lambda x: x[torch.from_numpy(REPEATED)], [normal(3, 2)], 1
    ),
    ops.Put: Question(
        applied(index=(slice(None), slice(0, 2))),
        lambda x, value: x.slice_scatter(value, 1, 0, 2),
        [normal(3, 4), normal(3, 2)],
    ),
    ops.AddAt: Question(
        applied(index=REPEATED),
        lambda x, value: x.index_add(0, torch.from_numpy(REPEATED), value),
        [normal(3, 2), normal(4, 2)],
        "terms",
    ),
    ops.Cat: Question(applied(axis=1), lambda *parts: torch.cat(parts, 1), [normal(2, 2), normal(2, 3)]),
    ops.Stack: Question(applied(axis=1), lambda *parts: torch.stack(parts, 1), [normal(2, 2), normal(2, 2)]),
    ops.Pad: Question(
        applied(widths=((0, 0), (1, 2)), value=0.5), lambda x: REF.pad(x, (1, 2), value=0.5), [normal(2, 3)]
    ),
    ops.BatchNorm: Question(
        applied(None, None, eps=0.1),
        lambda x, weight, bias: REF.batch_norm(x, None, None, weight, bias, training=True, eps=0.1),
        [normal(4, 3, 2, 2), normal(3), normal(3)],
        4,
    ),
    ops.GroupNorm: Question(
        applied(groups=2, eps=0.1),
        lambda x, weight, bias: REF.group_norm(x, 2, weight, bias, eps=0.1),
        [normal(3, 4, 2), normal(4), normal(4)],
        8,
    ),
    ops.LayerNorm: Question(
        applied(shape=(4,), eps=0.1),
        lambda x, weight, bias: REF.layer_norm(x, (4,), weight, bias, eps=0.1),
        [normal(3, 4), normal(4), normal(4)],
        4,
    ),
    ops.MseLoss: Question(applied(reduction="mean"), REF.mse_loss, [normal(3, 4), normal(3, 4)], 8),
    ops.L1Loss: Question(applied(reduction="mean"), REF.l1_loss, [normal(3, 4), normal(3, 4)], 8),
    ops.NllLoss: Question(
        applied(**CLASSES),
        lambda x, target, weight: REF.nll_loss(x, target, weight, **CLASSES),
        [normal(5, 4), TARGET, WEIGHT],
        4,
        needs=[0],
    ),
    ops.CrossEntropy: Question(
        applied(**CLASSES, label_smoothing=0.1),
        lambda x, target, weight: REF.cross_entropy(x, target, weight, **CLASSES, label_smoothing=0.1),
        [normal(5, 4), TARGET, WEIGHT],
        4,
        needs=[0],
    ),
    ops.SoftCrossEntropy: Question(
        applied(reduction="mean"), REF.cross_entropy, [normal(5, 4), abs(normal(5, 4)), WEIGHT], 4
    ),
    ops.BceWithLogits: Question(
        applied(None, None, reduction="mean"),
        REF.binary_cross_entropy_with_logits,
        [1000 * normal(3, 4), abs(np.tanh(normal(3, 4)))],
        1,
    ),
    ops.HuberLoss: Question(
        applied(delta=0.5, reduction="mean"),
        lambda x, target: REF.huber_loss(x, target, delta=0.5),
        [normal(3, 4), normal(3, 4)],
        8,
    ),
    ops.Bce: Question(
        applied(None, reduction="mean"),
        REF.binary_cross_entropy,
        [1 / (1 + np.exp(-normal(3, 4))), abs(np.tanh(normal(3, 4)))],
        100,
    ),
    ops.Embedding: Question(
        applied(padding=None),
        lambda weight, index: REF.embedding(index, weight),
        [normal(4, 3), np.array([[0, 1, 2], [2, 2, 1]])],
        "terms",
        needs=[0],
    ),
}


def ask_torch(asked, op, dtype):
    """Put the question for `op` to `asked`, which claims to be it, and to PyTorch."""
    question = QUESTIONS[op]
    inputs = [array.astype(dtype) if array.dtype.kind == "f" else array for array in question.inputs]
    check(
        lambda *tensors: question.ours(asked, *tensors),
        question.theirs,
        inputs,
        needs=question.needs,
        magnitude=question.magnitude,
    )


def ask_differences(asked, op) -> Report:
    """Check the gradients of `asked` against differences."""
    question = QUESTIONS[op]
    inputs = question.smooth or question.inputs
    needs = range(len(inputs)) if question.needs is None else question.needs
    return gradcheck(
        lambda *tensors: question.ours(asked, *tensors),
        [tc.tensor(x, requires_grad=i in needs and x.dtype.kind == "f") for i, x in enumerate(inputs)],
        raise_exception=False,
    )


# --- the mistakes ---------------------------------------------------------------------------------------------------


def forward(mistake):
    """An op that computes `mistake(right forward, xp, *arrays, **geometry)`."""
    return lambda op: type(op.__name__, (op,), {"forward": lambda *args, **kw: mistake(op.forward, *args, **kw)})


def backward(mistake):
    """An op whose gradients are `mistake(right backward, xp, saved, dy, needs, **geometry)`."""
    return lambda op: type(op.__name__, (op,), {"backward": lambda *args, **kw: mistake(op.backward, *args, **kw)})


def value(change):
    """An op whose value is changed."""

    def mistake(right, *args, **geometry):
        y, saved = right(*args, **geometry)
        return ((change(y[0]), *y[1:]) if isinstance(y, tuple) else change(y)), saved

    return forward(mistake)


def gradient(number, change):
    """An op with one of its gradients changed."""

    def mistake(right, *args, **geometry):
        grads = right(*args, **geometry)
        return *grads[:number], change(grads[number]), *grads[number + 1 :]

    return backward(mistake)


def forgetting(**geometry):
    """An op that computes with another geometry, in the shape that is expected of it."""

    def mistake(right, *args, **given):
        y, saved = right(*args, **given)
        return right(*args, **given | geometry)[0][tuple(map(slice, y.shape))], saved

    return forward(mistake)


def overwriting(xp, cols, size, stride, padding, dilation):
    """col2im with `=` for `+=`."""
    n, c, kh, kw, oh, ow = cols.shape
    (h, w), (sh, sw), (ph, pw), (dh, dw) = size, stride, padding, dilation
    x = xp.zeros((n, c, h + 2 * ph, w + 2 * pw), cols.dtype)
    for u in range(kh):
        for v in range(kw):
            x[:, :, u * dh : u * dh + sh * oh : sh, v * dw : v * dw + sw * ow : sw] = cols[:, :, u, v]
    return x[:, :, ph : ph + h, pw : pw + w]


def col2im_overwrites(right, *args, **geometry):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops.conv, "col2im", overwriting)
        patch.setattr(ops.windows, "col2im", overwriting)
        return right(*args, **geometry)


def columns_without_padding(right, xp, saved, dx, needs, **geometry):
    """A rim of zeros is right where dx ends; here its last rows are repeated there."""
    (dcols,) = right(xp, saved, dx, needs, **geometry)
    (inner,) = right(xp, saved, xp.ones_like(dx), needs, **geometry)
    return (xp.where(inner, dcols, dx[0, 0, 0, 0]),)


def last_of_equals(right, xp, x, **geometry):
    """Windows read from the end: the maximum is the same, its index is not."""
    (y, place), (_, size, rims) = right(xp, x, **geometry)
    (_, mirrored), _ = right(xp, x[..., ::-1, ::-1], **geometry)
    place = 8 - mirrored[..., ::-1, ::-1]
    return (y, place), (place, size, rims)


def pooled_zeros(right, xp, x, **geometry):
    """A rim of zeros beats a window of negative numbers."""
    padded = xp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    _, saved = right(xp, x, **geometry)
    return right(xp, padded, **geometry | {"padding": (0, 0)})[0], saved


def cells_overwritten(right, xp, saved, dy, needs, *, out):
    """`dx[cell] = share` where cells overlap."""
    dx = 0
    for i, j in np.ndindex(*out):
        alone = xp.zeros_like(dy)
        alone[..., i, j] = dy[..., i, j]
        (share,) = right(xp, saved, alone, needs, out=out)
        dx = xp.where(share, share, dx)
    return (dx,)


def bias_after_relu(right, xp, x, weight, bias, **geometry):
    y, saved = right(xp, x, weight, None, **geometry)
    return y + bias[:, None, None], saved


def quotient(right, xp, saved, dy, needs):
    """y / x_i for the product of the others."""
    (x,) = saved
    return (dy[..., None] * xp.prod(x, axis=-1, keepdims=True) / x,)


def assigned(right, xp, saved, dy, needs, *, index, simple):
    """dx[index] = dy, which keeps the last of several."""
    return right(xp, saved, dy, needs, index=index, simple=True)


def added_once(right, xp, x, value, *, index):
    """y[index] += value, which adds the last of several."""
    y = x.copy()
    y[index] += value
    return y, (value.shape,)


def same_stretch(right, xp, saved, dy, needs, *, axis):
    """The start not moved on from part to part."""
    return tuple(dy[:, :size] for size in saved)


def overflowing(xp, x, **axis):
    """ln sum e^x without the maximum taken off."""
    return xp.log(xp.sum(xp.exp(x), keepdims=True, **axis))


def mean_over_rows(right, xp, x, target, *, reduction):
    y, (difference, scale, *shapes) = right(xp, x, target, reduction=reduction)
    return y * x.shape[1], (difference, scale * x.shape[1], *shapes)


def written_to(right, xp, x, *rest):
    y, saved = right(xp, x, *rest)
    x *= 2
    return y, saved


ANOTHER_TIE = "a choice at a tie or kink, where there is no derivative"
ANOTHER_FUNCTION = "another function, with the right gradient of it"


def slope(function):
    """An op of one input with another derivative, `function(xp, what was saved)`."""
    return backward(lambda right, xp, saved, dy, needs: (dy * function(xp, *saved),))


def whole_quotient(right, xp, saved, dy, needs):
    """db = -dy a / b."""
    a, b = saved
    return right(xp, saved, dy, needs)[0], -(dy * a / b).sum(axis=0)


def running_quotient(right, xp, saved, dy, needs):
    """The sum of dy y from i on, over x_i."""
    (x,) = saved
    terms = dy * xp.cumprod(x, axis=-1)
    return (xp.cumsum(terms[:, ::-1], axis=1)[:, ::-1] / x,)


ROUNDED = "a value with few digits left, near the right one"


class Mutant(NamedTuple):
    mistake: str
    op: Any
    mutate: Callable[[Any], Any]
    unseen: str = ""  # why differences do not see it

    def __str__(self) -> str:
        return f"{self.op.__name__}: {self.mistake}"


MUTANTS = [
    Mutant("bias dropped", ops.Conv2d, forward(lambda right, xp, x, w, b, **kw: right(xp, x, w, None, **kw))),
    Mutant(
        "kernel axes swapped",
        ops.Conv2d,
        forward(lambda right, xp, x, w, b, **kw: right(xp, x, w.swapaxes(2, 3), b, **kw)),
    ),
    Mutant(
        "kernel flipped",
        ops.Conv2d,
        forward(lambda right, xp, x, w, b, **kw: right(xp, x, w[..., ::-1, ::-1], b, **kw)),
    ),
    Mutant("stride forgotten", ops.Conv2d, forgetting(stride=(1, 1))),
    Mutant("strides swapped", ops.Conv2d, forgetting(stride=(1, 2))),
    Mutant("dilation forgotten", ops.Conv2d, forgetting(dilation=(1, 1))),
    Mutant("dilations swapped", ops.Conv2d, forgetting(dilation=(2, 1))),
    Mutant("padding forgotten", ops.Conv2d, forgetting(padding=(0, 0))),
    Mutant(
        "channels of the other group",
        ops.Conv2d,
        forward(lambda right, xp, x, *rest, **kw: right(xp, x[:, ::-1], *rest, **kw)),
    ),
    Mutant("dx doubled", ops.Conv2d, gradient(0, lambda dx: 2 * dx)),
    Mutant("dx overwritten where windows overlap", ops.Conv2d, backward(col2im_overwrites)),
    Mutant("dx of another image", ops.Conv2d, gradient(0, lambda dx: dx[::-1])),
    Mutant("dx without its last column", ops.Conv2d, gradient(0, lambda dx: dx * (np.arange(7) < 6).astype(dx.dtype))),
    Mutant("dweight 0.1% off", ops.Conv2d, gradient(1, lambda dw: dw * dw.dtype.type(1.001))),
    Mutant("dweight transposed", ops.Conv2d, gradient(1, lambda dw: dw.swapaxes(2, 3))),
    Mutant("dweight averaged over the batch", ops.Conv2d, gradient(1, lambda dw: dw / 3)),
    Mutant("dbias of the wrong shape", ops.Conv2d, gradient(2, lambda db: db.reshape(-1, 1, 1))),
    Mutant("dbias forgotten", ops.Conv2d, gradient(2, lambda db: None)),
    Mutant("channels innermost", ops.Unfold, value(lambda y: y.reshape(3, 2, 6, -1).swapaxes(1, 2).reshape(y.shape))),
    Mutant(
        "windows column by column", ops.Unfold, value(lambda y: y.reshape(3, 12, 4, 9).swapaxes(2, 3).reshape(y.shape))
    ),
    Mutant("dx overwritten where windows overlap", ops.Unfold, backward(col2im_overwrites)),
    Mutant("overwritten where windows overlap", ops.Fold, forward(col2im_overwrites)),
    Mutant("padding forgotten in dcols", ops.Fold, backward(columns_without_padding)),
    Mutant(
        "kernel flipped",
        ops.ConvTranspose2d,
        forward(lambda right, xp, x, w, b, **kw: right(xp, x, w[..., ::-1, ::-1], b, **kw)),
    ),
    Mutant("output_padding at the start", ops.ConvTranspose2d, value(lambda y: y.take(np.arange(-1, 9), axis=2))),
    Mutant("overwritten where windows overlap", ops.ConvTranspose2d, forward(col2im_overwrites)),
    Mutant("dweight transposed", ops.ConvTranspose2d, gradient(1, lambda dw: dw.swapaxes(2, 3))),
    Mutant("rows for columns", ops.GridSample, forward(lambda right, xp, x, g, **kw: right(xp, x, g[..., ::-1], **kw))),
    Mutant("corners for edges", ops.GridSample, forgetting(align=True)),
    Mutant("zeros for the reflection", ops.GridSample, forgetting(padding="zeros")),
    Mutant(
        "the slope of pixels forgotten", ops.GridSample, gradient(1, lambda dg: dg / np.array([1.5, 2.0], dg.dtype))
    ),
    Mutant("the way back taken forwards in dgrid", ops.GridSample, gradient(1, abs)),
    Mutant("bias added after the ReLU", ops.Conv2dRelu, forward(bias_after_relu)),
    Mutant("stride of the pooling forgotten", ops.Conv2dReluMaxPool2d, forgetting(pool=POOL | {"stride": (1, 1)})),
    Mutant("last of equals", ops.MaxPool2d, forward(last_of_equals), ANOTHER_TIE),
    Mutant("zeros for padding", ops.MaxPool2d, forward(pooled_zeros)),
    Mutant("dx doubled", ops.MaxPool2d, gradient(0, lambda dx: 2 * dx)),
    Mutant(
        "the ReLU forgotten in dx",
        ops.ReluMaxPool2d,
        backward(lambda right, xp, saved, *rest, **kw: right(xp, (xp.ones_like(saved[0]), *saved[1:]), *rest, **kw)),
    ),
    Mutant("padding counted", ops.AvgPool2d, forgetting(count_include_pad=True)),
    Mutant("always divided by the kernel", ops.AvgPool2d, forgetting(divisor=9)),
    Mutant("dx overwritten where cells overlap", ops.AdaptiveAvgPool2d, backward(cells_overwritten)),
    Mutant(
        "dx of another cell",
        ops.AdaptiveMaxPool2d,
        backward(lambda right, xp, saved, dy, *rest, **kw: right(xp, saved, dy[..., ::-1], *rest, **kw)),
    ),
    Mutant("dweight transposed", ops.Linear, gradient(1, lambda dw: dw.T)),
    Mutant("bias dropped", ops.Linear, forward(lambda right, xp, x, w, b: right(xp, x, w, None))),
    Mutant(
        "dy masked by its own sign",
        ops.LinearRelu,
        backward(lambda right, xp, saved, dy, needs: right(xp, (*saved[:2], dy), dy, needs)),
    ),
    Mutant(
        "dweight of other rows",
        ops.Embedding,
        backward(lambda right, xp, saved, *rest, **kw: right(xp, (saved[0][::-1], saved[1]), *rest, **kw)),
    ),
    Mutant("transpose forgotten in da", ops.Matmul, gradient(0, lambda da: da.swapaxes(-1, -2))),
    Mutant(
        "db not summed over the batch",
        ops.Matmul,
        backward(lambda right, xp, saved, dy, needs: (dy @ saved[1].T, saved[0].swapaxes(-1, -2) @ dy)),
    ),
    Mutant("unbroadcast forgotten", ops.Add, backward(lambda right, xp, saved, dy, needs: (dy, dy))),
    Mutant("unbroadcast over the wrong axis", ops.Add, backward(lambda right, xp, saved, dy, needs: (dy, dy.sum(1)))),
    Mutant("unbroadcast by the mean", ops.Add, gradient(1, lambda db: db / 3)),
    Mutant("sign of db", ops.Sub, gradient(1, lambda db: -db)),
    Mutant("factors swapped", ops.Mul, backward(lambda right, xp, saved, dy, needs: right(xp, saved[::-1], dy, needs))),
    Mutant("an input written to", ops.Mul, forward(written_to)),
    Mutant("sign of db", ops.Div, gradient(1, lambda db: -db)),
    Mutant(
        "exponent forgotten in da",
        ops.Pow,
        backward(lambda right, xp, saved, dy, needs: (dy * saved[0] ** (saved[1] - 1), right(xp, saved, dy, needs)[1])),
    ),
    Mutant(
        "ties to the first",
        ops.Maximum,
        backward(lambda right, xp, saved, dy, needs: (dy * (saved[0] >= saved[1]), dy * (saved[0] < saved[1]))),
        ANOTHER_TIE,
    ),
    Mutant("gradient to the larger", ops.Minimum, backward(lambda right, *args: ops.Maximum.backward(*args))),
    Mutant(
        "the maximum not taken off",
        ops.LogAddExp,
        forward(lambda right, xp, a, b: (xp.log(xp.exp(a) + xp.exp(b)), right(xp, a, b)[1])),
    ),
    Mutant("dy to both", ops.Where, backward(lambda right, xp, saved, dy, needs: (None, dy, dy))),
    Mutant(
        "gradient 0 at the bounds",
        ops.Clamp,
        backward(lambda right, xp, saved, dy, needs, low, high: (dy * (saved[0] > low) * (saved[0] < high),)),
        ANOTHER_TIE,
    ),
    Mutant("sign of dx", ops.Neg, gradient(0, lambda dx: -dx)),
    Mutant("x saved for y", ops.Exp, forward(lambda right, xp, x: (xp.exp(x), (x,)))),
    Mutant("y saved for x", ops.Log, forward(lambda right, xp, x: (xp.log(x), (xp.log(x),)))),
    Mutant("2 forgotten in dx", ops.Sqrt, gradient(0, lambda dx: 2 * dx)),
    Mutant("dx forgotten", ops.Cast, gradient(0, lambda dx: None)),
    Mutant("x itself, not a copy", ops.Copy, forward(lambda right, xp, x: (x, ()))),
    Mutant("gradient 1 at 0", ops.Relu, backward(lambda right, xp, saved, dy, needs: (xp.where(saved[0] < 0, 0, dy),))),
    Mutant(
        "slope forgotten in dx",
        ops.LeakyRelu,
        backward(lambda right, xp, saved, dy, needs, slope: right(xp, saved, dy, needs, slope=0.0)),
    ),
    Mutant(
        "gradient 1 at 0",
        ops.Abs,
        backward(lambda right, xp, saved, dy, needs: (xp.where(saved[0] < 0, -dy, dy),)),
        ANOTHER_TIE,
    ),
    Mutant(
        "gradient 1 at the bounds",
        ops.Hardtanh,
        backward(lambda right, *args, **kw: ops.Clamp.backward(*args, **kw)),
        ANOTHER_TIE,
    ),
    Mutant(
        "the ramp taken for a constant",
        ops.Hardswish,
        backward(lambda right, xp, saved, dy, needs: (dy * xp.clip(saved[0] / 6 + 0.5, 0, 1),)),
    ),
    Mutant(
        "dslope on both sides",
        ops.Prelu,
        backward(
            lambda right, xp, saved, dy, needs: (
                right(xp, saved, dy, needs)[0],
                ops.elementwise.unbroadcast(xp, saved[0] * dy, saved[1].shape),
            )
        ),
    ),
    Mutant("alpha forgotten in dx", ops.Elu, backward(lambda right, *args, alpha, **kw: right(*args, alpha=1.0, **kw))),
    Mutant(
        "e^(beta x) overflows",
        ops.Softplus,
        forward(lambda right, xp, x, beta, threshold: (xp.log(1 + xp.exp(beta * x)) / beta, (x,))),
    ),
    Mutant(
        "beta forgotten in dx", ops.Softplus, backward(lambda right, *args, beta, **kw: right(*args, beta=1.0, **kw))
    ),
    Mutant("the cheaper GELU", ops.Gelu, lambda op: ops.GeluTanh, ANOTHER_FUNCTION),
    Mutant("the density forgotten", ops.Gelu, backward(lambda right, xp, saved, dy, needs: (dy * (saved[0] > 0),))),
    Mutant(
        "the inner derivative forgotten",
        ops.GeluTanh,
        backward(lambda right, xp, saved, dy, needs: (dy * 0.5 * (1 + saved[1] + saved[0] * (1 - saved[1] ** 2)),)),
    ),
    Mutant(
        "the sigmoid taken for a constant", ops.Silu, backward(lambda right, xp, saved, dy, needs: (dy * saved[1],))
    ),
    Mutant(
        "the sigmoid taken twice in dx",
        ops.Sigmoid,
        backward(lambda right, xp, saved, dy, needs: right(xp, ops.Sigmoid.forward(xp, *saved)[1], dy, needs)),
    ),
    Mutant("y not squared in dx", ops.Tanh, backward(lambda right, xp, saved, dy, needs: (dy * (1 - saved[0]),))),
    Mutant(
        "not divided by 1 - p",
        ops.Dropout,
        forward(lambda right, xp, x, keep, p: (x * keep, (keep,))),
        ANOTHER_FUNCTION,
    ),
    Mutant(
        "the coupling forgotten",
        ops.Softmax,
        backward(lambda right, xp, saved, dy, needs, axis: (dy * saved[0] * (1 - saved[0]),)),
    ),
    Mutant(
        "the maximum not taken off",
        ops.LogSoftmax,
        forward(lambda right, xp, x, axis: (x - overflowing(xp, x, axis=axis), (x,))),
    ),
    Mutant(
        "dx repeated along the wrong axis",
        ops.Sum,
        backward(lambda right, xp, saved, dy, needs, **kw: (xp.broadcast_to(dy, saved[0]),)),
    ),
    Mutant("dx not divided", ops.Mean, gradient(0, lambda dx: 4 * dx)),
    Mutant("the sum", ops.Mean, value(lambda y: 4 * y)),
    Mutant(
        "whole gradient to every tie",
        ops.Amax,
        backward(
            lambda right, xp, saved, dy, needs, axes, keepdims: (
                xp.where(saved[0] == saved[1][:, None], dy[:, None], 0),
            )
        ),
        ANOTHER_TIE,
    ),
    Mutant(
        "gradient to the maximum",
        ops.Amin,
        backward(lambda right, xp, saved, *rest, **kw: right(xp, (saved[0], saved[0].max(1)), *rest, **kw)),
    ),
    Mutant(
        "dx to the whole row",
        ops.Pick,
        backward(lambda right, xp, saved, dy, needs, **kw: (xp.broadcast_to(dy[:, None], saved[0]), None)),
    ),
    Mutant("the biased variance", ops.Var, forgetting(correction=0)),
    Mutant(
        "the root forgotten in dx",
        ops.Std,
        backward(lambda right, xp, saved, *rest, **kw: ops.Var.backward(xp, saved[:2], *rest, **kw)),
    ),
    Mutant(
        "0 / 0 where y is 0",
        ops.Norm,
        backward(lambda right, xp, saved, dy, needs, **kw: (saved[0] * (dy / saved[1])[:, None],)),
        ANOTHER_TIE,
    ),
    Mutant("sin for cos", ops.Sin, slope(lambda xp, x: xp.sin(x))),
    Mutant("the sign lost", ops.Cos, slope(lambda xp, x: xp.sin(x))),
    Mutant("1 - y^2, as of tanh", ops.Tan, slope(lambda xp, y: 1 - y * y)),
    Mutant("dx of arccos", ops.Asin, lambda op: type(op.__name__, (op,), {"backward": ops.Acos.backward})),
    Mutant("dx of arcsin", ops.Acos, lambda op: type(op.__name__, (op,), {"backward": ops.Asin.backward})),
    Mutant("1 - x^2 for 1 + x^2", ops.Atan, slope(lambda xp, x: 1 / (1 - x * x))),
    Mutant("arctan of the quotient", ops.Atan2, forward(lambda right, xp, a, b: (xp.arctan(b / a), (a, b)))),
    Mutant("the sign of db lost", ops.Atan2, gradient(1, lambda db: -db)),
    Mutant("-cosh x, as of cos", ops.Sinh, slope(lambda xp, x: -xp.cosh(x))),
    Mutant("-sinh x, as of cos", ops.Cosh, slope(lambda xp, x: -xp.sinh(x))),
    Mutant("e^x - 1 in two steps", ops.Expm1, forward(lambda right, xp, x: (xp.exp(x) - 1, right(xp, x)[1])), ROUNDED),
    Mutant("y for y + 1", ops.Expm1, slope(lambda xp, y: y)),
    Mutant("ln(1 + x) in two steps", ops.Log1p, forward(lambda right, xp, x: (xp.log(1 + x), (x,))), ROUNDED),
    Mutant("dx of ln x", ops.Log1p, slope(lambda xp, x: 1 / x)),
    Mutant("ln 2 forgotten", ops.Log2, slope(lambda xp, x: 1 / x)),
    Mutant("ln 10 forgotten", ops.Log10, slope(lambda xp, x: 1 / x)),
    Mutant("2 / pi for 2 / sqrt(pi)", ops.Erf, slope(lambda xp, x: 2 / np.pi * xp.exp(-x * x))),
    Mutant("dy passed through the step", ops.Step, backward(lambda right, xp, saved, dy, needs, step: (dy,))),
    Mutant("dy passed through the step", ops.Sign, backward(lambda right, xp, saved, dy, needs: (dy,))),
    Mutant("1 at 0", ops.Sign, forward(lambda right, xp, x: (xp.where(x < 0, -1, 1).astype(x.dtype), ())), ANOTHER_TIE),
    Mutant("rounded towards 0", ops.FloorDivide, lambda op: ops.TruncDivide, ANOTHER_FUNCTION),
    Mutant("rounded down", ops.TruncDivide, lambda op: ops.FloorDivide, ANOTHER_FUNCTION),
    Mutant("the sign of a", ops.Remainder, lambda op: ops.Fmod, ANOTHER_FUNCTION),
    Mutant("the quotient not rounded in db", ops.Remainder, backward(whole_quotient)),
    Mutant("the sign of b", ops.Fmod, lambda op: ops.Remainder, ANOTHER_FUNCTION),
    Mutant("the quotient not rounded in db", ops.Fmod, backward(whole_quotient)),
    Mutant("the sign of x lost", ops.PNorm, gradient(0, abs)),
    Mutant(
        "0 / 0 at 0",
        ops.PNorm,
        backward(
            lambda right, xp, saved, dy, needs, p, axes, keepdims: (
                xp.sign(saved[0]) * (abs(saved[0]) / saved[1][:, None]) ** (p - 1) * dy[:, None],
            )
        ),
        ANOTHER_TIE,
    ),
    Mutant(
        "summed from the start",
        ops.Cumsum,
        backward(lambda right, xp, saved, dy, needs, axis: (xp.cumsum(dy, axis=axis, dtype=dy.dtype),)),
    ),
    Mutant("y / x for the product of the others", ops.Cumprod, backward(running_quotient)),
    Mutant("a quotient for the product of the others", ops.Prod, backward(quotient)),
    Mutant(
        "the maximum not taken off",
        ops.LogSumExp,
        forward(
            lambda right, xp, x, axes, keepdims: (
                overflowing(xp, x, axis=axes)[:, 0],
                right(xp, x, axes=axes, keepdims=keepdims)[1],
            )
        ),
    ),
    Mutant("dx in the shape of y", ops.Reshape, backward(lambda right, xp, saved, dy, needs, shape: (dy,))),
    Mutant(
        "dx permuted by the axes, not by their inverse",
        ops.Permute,
        backward(lambda right, xp, saved, dy, needs, axes: (dy.transpose(axes),)),
    ),
    Mutant("dx of one copy", ops.Expand, backward(lambda right, xp, saved, dy, needs, shape: (dy[0, :, :1],))),
    Mutant("dx assigned, not added", ops.Index, backward(assigned)),
    Mutant(
        "dx not cleared where the value goes",
        ops.Put,
        backward(lambda right, xp, saved, dy, needs, index: (dy, dy[index])),
    ),
    Mutant("added once where the index repeats", ops.AddAt, forward(added_once)),
    Mutant("the first stretch of dy to each part", ops.Cat, backward(same_stretch)),
    Mutant("dy cut along the first axis", ops.Stack, backward(lambda right, *args, axis: right(*args, axis=0))),
    Mutant("zeros for the value", ops.Pad, forgetting(value=0.0), ANOTHER_FUNCTION),
    Mutant("widths swapped in dx", ops.Pad, gradient(0, lambda dx: dx[:, ::-1])),
    Mutant("eps forgotten", ops.BatchNorm, forward(lambda right, *args, eps: right(*args, eps=0.0)), ANOTHER_FUNCTION),
    Mutant(
        "mean and variance taken for constants",
        ops.BatchNorm,
        backward(lambda right, xp, saved, dy, needs, eps: right(xp, (*saved[:3], True), dy, needs, eps=eps)),
    ),
    Mutant(
        "eps forgotten",
        ops.LayerNorm,
        forward(lambda right, *args, shape, eps: right(*args, shape=shape, eps=0.0)),
        ANOTHER_FUNCTION,
    ),
    Mutant(
        "the groups forgotten",
        ops.GroupNorm,
        forward(lambda right, *args, groups, eps: right(*args, groups=1, eps=eps)),
        ANOTHER_FUNCTION,
    ),
    Mutant("dbias averaged", ops.GroupNorm, gradient(2, lambda db: db / 6)),
    Mutant("dweight averaged", ops.LayerNorm, gradient(1, lambda dw: dw / 3)),
    Mutant("the mean forgotten", ops.MseLoss, forgetting(reduction="sum")),
    Mutant("the mean forgotten in dx", ops.MseLoss, gradient(0, lambda dx: 12 * dx)),
    Mutant("2 forgotten in dx", ops.MseLoss, gradient(0, lambda dx: dx / 2)),
    Mutant("mean over rows, not elements", ops.L1Loss, forward(mean_over_rows), ANOTHER_FUNCTION),
    Mutant(
        "the slope not limited",
        ops.HuberLoss,
        backward(lambda right, *args, delta, **kw: right(*args, delta=1e9, **kw)),
    ),
    Mutant("delta forgotten", ops.HuberLoss, forgetting(delta=1.0)),
    Mutant("1 - x forgotten in dx", ops.Bce, gradient(0, lambda dx: dx / 2)),
    Mutant("ignored targets counted", ops.NllLoss, forgetting(ignore_index=-100)),
    Mutant("mean over examples, not weights", ops.NllLoss, value(lambda y: y * y.dtype.type(10.5 / 4))),
    Mutant("ignored targets counted", ops.CrossEntropy, forgetting(ignore_index=-100)),
    Mutant("smoothing forgotten", ops.CrossEntropy, forgetting(label_smoothing=0.0)),
    Mutant("the mean forgotten", ops.CrossEntropy, forgetting(reduction="sum")),
    Mutant(
        "the softmax forgotten in dx",
        ops.CrossEntropy,
        backward(lambda right, xp, saved, dy, needs, **kw: (-saved[1] * dy * saved[-1], None, None)),
    ),
    Mutant(
        "targets taken to sum to 1 in dx",
        ops.SoftCrossEntropy,
        backward(
            lambda right, xp, saved, dy, needs, **kw: (
                (xp.exp(saved[0]) - saved[1]) * dy * saved[-1],
                *right(xp, saved, dy, needs, **kw)[1:],
            )
        ),
    ),
    Mutant(
        "ln(1 + e^-x) overflows",
        ops.BceWithLogits,
        forward(
            lambda right, xp, x, t, *rest, **kw: (
                xp.mean((1 - t) * x + xp.log(1 + xp.exp(-x))),
                right(xp, x, t, *rest, **kw)[1],
            )
        ),
    ),
]


# --- breaches of the contract: the gradients are right, the op is not -----------------------------------------------


class Breach(NamedTuple):
    mistake: str
    op: Any


def halves(op, forward=None, backward=None):
    """The op with one or both of its halves replaced."""
    changes = {"forward": forward, "backward": backward}
    return type(op.__name__, (op,), {name: staticmethod(half) for name, half in changes.items() if half})


def through_float64(xp, a, b):
    return a * b * np.ones(1), (a, b)


def writing_to_input(xp, a, b):
    y = a * b
    a += 0
    return y, (a, b)


def writing_to_dy(xp, saved, dy, needs):
    dy *= 1
    return ops.Mul.backward(xp, saved, dy, needs)


def gradient_in_float64(xp, saved, dy, needs):
    return tuple(dx.astype(np.float64) for dx in ops.Mul.backward(xp, saved, dy, (True, True)))


def gradient_in_float32(xp, saved, dy, needs):
    (dx,) = ops.Relu.backward(xp, saved, dy, needs)
    return (dx.astype(np.float32).astype(dx.dtype),)


def both_or_nothing(xp, saved, dy, needs):
    return ops.Mul.backward(xp, saved, dy, needs) if all(needs) else (None, None)


def ones_for_a_single(xp, saved, dy, needs):
    da, db = ops.Mul.backward(xp, saved, dy, (True, True))
    return (da, db) if needs[1] else (np.ones_like(da), None)


def flat_memory(xp, saved, dy, needs):
    (y,) = saved
    dy = dy.ravel(order="K").reshape(dy.shape)
    return (xp.where(y > 0, dy, 0),)


def absolute(xp, saved, dy, needs):
    (y,) = saved
    return (xp.where(y > 0, abs(dy), 0),)


def masked(xp, x):
    mask = (x > 0).astype(x.dtype)
    return x * mask, (mask,)


def using_up(xp, saved, dy, needs):
    (mask,) = saved
    dx = dy * mask
    mask *= 0
    return (dx,)


def a_list(xp, saved, dy, needs):
    return list(ops.Mul.backward(xp, saved, dy, needs))


def one_for_two(xp, saved, dy, needs):
    return ops.Mul.backward(xp, saved, dy, needs)[:1]


def growing():
    calls = []

    def forward(xp, x):
        calls.append(x)
        y = xp.maximum(x, 0)
        return y * (1 + 1e-3 * len(calls)), (y,)

    return forward


BREACHES = [
    Breach("forward gives float64 for float32", halves(ops.Mul, through_float64)),
    Breach("forward writes to an input", halves(ops.Mul, writing_to_input)),
    Breach("another output at every call", halves(ops.Relu, growing())),
    Breach("backward writes to dy", halves(ops.Mul, None, writing_to_dy)),
    Breach("backward gives float64 for float32", halves(ops.Mul, None, gradient_in_float64)),
    Breach("backward rounds to float32", halves(ops.Relu, None, gradient_in_float32)),
    Breach("gradients only where all are asked for", halves(ops.Mul, None, both_or_nothing)),
    Breach("another gradient where one alone is asked for", halves(ops.Mul, None, ones_for_a_single)),
    Breach("dy read in the order of its memory", halves(ops.Relu, None, flat_memory)),
    Breach("|dy| for dy", halves(ops.Relu, None, absolute)),
    Breach("backward changes what was saved", halves(ops.Relu, masked, using_up)),
    Breach("a list for a tuple", halves(ops.Mul, None, a_list)),
    Breach("one gradient for two inputs", halves(ops.Mul, None, one_for_two)),
]


# --- the list, as a document ----------------------------------------------------------------------------------------

DOCUMENT = Path(__file__).parents[2] / "docs" / "mutants.md"


def document() -> str:
    """docs/mutants.md."""
    rows = [
        f"| {op.__name__} | {mistake} | yes | {f'no: {unseen}' if unseen else 'yes'} |"
        for mistake, op, _, unseen in MUTANTS
    ]
    seen = sum(not mutant.unseen for mutant in MUTANTS)
    return "\n".join(
        [
            "# Wrong ops that the checkers refuse",
            "",
            f"A checker is worth what it rejects. Here are {len(MUTANTS)} ops, each wrong by one mistake, and at least",
            "one for every op of tinyconv. `compare_with_torch` rejects them all, in float32 and in float64.",
            f"`gradcheck`, which knows no right answer, rejects the {seen} whose gradient is not the derivative of",
            "what they compute. They are in [`tests/check/mutants.py`](../tests/check/mutants.py), which writes",
            "this page.",
            "",
            "| op | mistake | rejected by PyTorch | by differences |",
            "|---|---|---|---|",
            *rows,
            "",
            "An op may give the right gradients and still break what [`tinyconv/ops`](../tinyconv/ops/__init__.py)",
            "asks of every op. `check_op` rejects these:",
            "",
            "| op | mistake |",
            "|---|---|",
            *(f"| {op.__name__} | {mistake.replace('|', chr(92) + '|')} |" for mistake, op in BREACHES),
            "",
        ]
    )


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
    print(f"{DOCUMENT}: {len(MUTANTS)} mutants, {len(BREACHES)} breaches")
