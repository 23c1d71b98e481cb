"""Matrix products and sums of products by their names in torch, `einsum` among them.

All of them are reshapes, permutations and one `Matmul`, so their gradients of any order are those of these ops.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from tinyconv import ops, shapes
from tinyconv.arrays.backend import backend_of
from tinyconv.engine.options import real
from tinyconv.errors import DtypeError, ShapeError, shortened
from tinyconv.tensor.rearranging import diagonal
from tinyconv.tensor.refusals import check_tensor
from tinyconv.tensor.rounding import rounded_once
from tinyconv.tensor.signatures import Scalar
from tinyconv.tensor.tensor import Tensor, apply, wrap

__all__ = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "dot", "einsum", "ger", "inner", "kron", "matmul", "mm", "mv",
    "outer", "tensordot",
]  # fmt: skip

# --- matrices and vectors -------------------------------------------------------------------------------------------


def matmul(input: Tensor, other: Tensor | np.ndarray[Any, Any]) -> Tensor:
    """The matrix product (..., N, K) @ (..., K, M) = (..., N, M), with batch axes broadcast, by NumPy's rule.

    A vector is a row on the left and a column on the right. Raises ShapeError where the sizes do not fit, and
    DtypeError where the dtypes differ.
    """
    check_tensor("matmul", input)
    return input @ other


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The matrix product (N, K) @ (K, M) = (N, M). ShapeError for other shapes, DtypeError where the dtypes differ."""
    _check_axes("mm", 2, input=input, mat2=mat2)
    return input @ mat2


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The matrix products of a batch, (B, N, K) @ (B, K, M) = (B, N, M). Nothing broadcasts.

    Raises ShapeError for other shapes, and DtypeError where the dtypes differ.
    """
    _check_axes("bmm", 3, input=input, mat2=mat2)
    if len(input) != len(mat2):
        raise ShapeError(f"bmm: {input.shape} and {mat2.shape} are batches of two sizes")
    return input @ mat2


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector, (N, K) @ (K,) = (N,). ShapeError for other shapes."""
    _check_axes("mv", 2, input=input)
    _check_axes("mv", 1, vec=vec)
    return input @ vec


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors, (K,) and (K,): a 0-d tensor. ShapeError for other shapes."""
    _check_axes("dot", 1, input=input, tensor=tensor)
    return input @ tensor


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """y[i, j] = input[i] vec2[j], for two vectors. ShapeError for other shapes."""
    _check_axes("outer", 1, input=input, vec2=vec2)
    return input[:, None] * vec2


ger = outer


def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sums of products along the last axes: (..., K) and (.., K) give (..., ..). A 0-d operand multiplies.

    Raises ShapeError where the last sizes differ. Like `torch.inner`.
    """
    if not check_tensor("inner", input).ndim or not check_tensor("inner", other, "other").ndim:
        return input * other
    return tensordot(input, other, ([-1], [-1]))


@rounded_once
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1) -> Tensor:
    """beta input + alpha (mat1 @ mat2), where `input` broadcasts; with beta = 0 it is not looked at.

    Raises ShapeError where the shapes do not fit, and DtypeError where the dtypes differ.
    """
    check_tensor("addmm", input)
    return _added("addmm", input, mm(mat1, mat2), beta, alpha)


@rounded_once
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1) -> Tensor:
    """beta input + alpha (mat @ vec), where `input` broadcasts; with beta = 0 it is not looked at.

    Raises what `addmm` raises.
    """
    check_tensor("addmv", input)
    return _added("addmv", input, mv(mat, vec), beta, alpha)


@rounded_once
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1) -> Tensor:
    """beta input + alpha outer(vec1, vec2), where `input` broadcasts; with beta = 0 it is not looked at.

    Raises what `addmm` raises.
    """
    check_tensor("addr", input)
    return _added("addr", input, outer(vec1, vec2), beta, alpha)


@rounded_once
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1) -> Tensor:
    """beta input + alpha bmm(batch1, batch2), where `input` broadcasts; with beta = 0 it is not looked at.

    Raises what `addmm` raises.
    """
    check_tensor("baddbmm", input)
    return _added("baddbmm", input, bmm(batch1, batch2), beta, alpha)


@rounded_once
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1) -> Tensor:
    """beta input + alpha times the sum of bmm(batch1, batch2) over the batch; with beta = 0 `input` is not looked at.

    Raises what `addmm` raises.
    """
    check_tensor("addbmm", input)
    product = bmm(batch1, batch2)
    return _added("addbmm", input, product.sum(0, dtype=product.dtype), beta, alpha)


def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix: a 0-d tensor, int64 for integers. ShapeError for other shapes.

    A method alone: `tc.trace` shows a tape.
    """
    _check_axes("trace", 2, input=input)
    return diagonal(input).sum()


@rounded_once
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: each element of `input` times all of `other`, in its place. Like `torch.kron`."""
    n = max(check_tensor("kron", input).ndim, check_tensor("kron", other, "other").ndim)
    a, b = ((1,) * (n - t.ndim) + t.shape for t in (input, other))
    spread = input.reshape([size for i in range(n) for size in (a[i], 1)])
    return (spread * other.reshape([size for i in range(n) for size in (1, b[i])])).reshape(
        [p * q for p, q in zip(a, b, strict=True)]
    )


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sums of products of `a` and `b` along some axes of each. Like `torch.tensordot`.

    Args:
        a, b: Tensors of one dtype.
        dims: How many: the last of `a` and the first of `b`, in order; or two lists, of axes of `a` and of `b`.

    Raises ShapeError where the sizes differ, or an axis does not exist.
    """
    names = (
        [*range(check_tensor("tensordot", a, "a").ndim)],
        [*range(a.ndim, a.ndim + check_tensor("tensordot", b, "b").ndim)],
    )
    if isinstance(dims, Sequence):
        if len(dims) != 2:
            raise ShapeError(f"tensordot: dims must be a number or two lists of axes, got {shortened(dims)}")
        pairs = [[d] if not isinstance(d, Sequence) else list(d) for d in dims]
    else:
        count = shapes.whole(dims, "tensordot: dims", minimum=0)
        pairs = [[*range(max(a.ndim - count, 0), a.ndim)], [*range(min(count, b.ndim))]]
        if count > min(a.ndim, b.ndim):
            raise ShapeError(f"tensordot: {a.shape} and {b.shape} do not have {count} axes each")
    of_a, of_b = (
        shapes.axes_of(axes, t.ndim, "tensordot") if axes else () for axes, t in zip(pairs, (a, b), strict=True)
    )
    sizes = [[t.shape[axis] for axis in axes] for t, axes in ((a, of_a), (b, of_b))]
    for i, j, (n, m) in zip(of_a, of_b, zip(*sizes, strict=True), strict=True):
        if n != m and 1 in (n, m):  # it is repeated
            a, b = (a, b.sum(j, keepdim=True, dtype=b.dtype)) if n == 1 else (a.sum(i, keepdim=True, dtype=a.dtype), b)
    sizes = [[t.shape[axis] for axis in axes] for t, axes in ((a, of_a), (b, of_b))]
    if sizes[0] != sizes[1]:
        raise ShapeError(f"tensordot: axes {of_a} of {a.shape} have other sizes than axes {of_b} of {b.shape}")
    for i, j in zip(of_a, of_b, strict=True):
        names[1][j] = names[0][i]
    kept = [n for n in names[0] if n not in names[1]] + [n for n in names[1] if n not in names[0]]
    return _ordered(*_product((a, names[0]), (b, names[1]), kept), kept)


# --- einsum ---------------------------------------------------------------------------------------------------------

Label = Hashable
Named = tuple[Tensor, list[Any]]  # a tensor, and a name for each of its axes


def einsum(equation: str | Tensor, *operands: Any) -> Tensor:
    """Sums of products of any tensors, by names of their axes: `einsum("bij,bjk->bik", x, y)` is `bmm(x, y)`.

    Args:
        equation: A letter for each axis of each operand, commas between operands, and after `->` the axes of the
            result. Axes that are not there are summed. `...` stands for axes that broadcast. A letter twice in one
            operand is its diagonal. Without `->` the result has `...` and the letters that are there once, in
            alphabetical order.
        operands: The tensors, of one dtype, or a list of them. Torch's other form is read too: a tensor, a list of
            numbers for its axes, the next tensor, ..., and perhaps the list of the result.

    From left to right, each operand is multiplied with what came before by one `Matmul`. Raises ShapeError for an
    equation that cannot be read or does not fit the operands, and DtypeError for anything but tensors.

        tc.einsum("ij,jk->ik", x, w)
    """
    if isinstance(equation, Tensor):
        equation, operands = _lettered((equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    for t in operands:
        check_tensor("einsum", t, "operand")
    terms, result = _read(equation, operands)
    sizes: dict[Any, int] = {}
    for t, labels in zip(operands, terms, strict=True):
        for n, label in zip(t.shape, labels, strict=True):
            if n != 1 and sizes.get(label, 1) not in (1, n):
                raise ShapeError(f"einsum: {_said(label)} has sizes {sizes[label]} and {n} in {equation!r}")
            sizes[label] = n if n != 1 else sizes.get(label, 1)
    named = [_without_repeats(t, labels, sizes) for t, labels in zip(operands, terms, strict=True)]
    so_far, *rest = named
    for i, following in enumerate(rest, 1):
        later = {label for _, labels in named[i + 1 :] for label in labels}
        so_far = _product(so_far, following, later.union(result))
    return _ordered(*so_far, result)


def _lettered(given: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """Torch's other form, as an equation and its operands."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    letters = letters[26:] + letters[:26]  # numbers are in order as "A" ... "z" are
    parts: list[str] = []
    for axes in [*given[1::2], *[given[-1]] * (len(given) % 2)]:
        try:
            parts.append(
                "".join(
                    "..." if axis is ... else letters[shapes.whole(axis, "einsum: axes", minimum=0)] for axis in axes
                )
            )
        except (TypeError, IndexError):
            raise ShapeError(f"einsum: expected a list of axes, numbers below 52, got {shortened(axes)}") from None
    terms = ",".join(parts[: len(given) // 2])
    return (f"{terms}->{parts[-1]}" if len(given) % 2 else terms), given[: len(given) // 2 * 2 : 2]


def _read(equation: Any, operands: Sequence[Tensor]) -> tuple[list[list[Any]], list[Any]]:
    """The names of the axes of each operand, and those of the result. An axis under `...` is called by a number."""
    if not isinstance(equation, str):
        raise ShapeError(f"einsum: the equation must be a string, got {type(equation).__name__}")
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ShapeError(f"einsum: {equation!r} is for {len(terms)} operands, got {len(operands)}")
    named = [_labels(term, t.ndim, equation) for term, t in zip(terms, operands, strict=True)]
    every = [label for labels in named for label in labels]
    under = sorted({label for label in every if isinstance(label, int)}, reverse=True)
    if not arrow:
        return named, [
            *under,
            *sorted(label for label in set(every) if isinstance(label, str) and every.count(label) == 1),
        ]
    result = _labels(right, len(right.replace("...", "")) + len(under) * ("..." in right), equation)
    if len(set(result)) < len(result):
        raise ShapeError(f"einsum: an axis is twice in the result of {equation!r}")
    for label in result:
        if label not in every:
            raise ShapeError(f"einsum: {_said(label)} is in the result of {equation!r} and in no operand")
    return named, result


def _labels(term: str, ndim: int, equation: str) -> list[Any]:
    """The letters of a term; an axis under its `...` is the number of axes under it that are to its right."""
    before, dots, after = term.partition("...")
    if not (before + after).isascii() or not (before + after or "a").isalpha():
        raise ShapeError(f"einsum: expected letters, '...', ',' and '->' in the equation, got {shortened(equation)}")
    under = ndim - len(before) - len(after)
    if under < 0 or (under > 0 and not dots):
        raise ShapeError(f"einsum: {term!r} of {equation!r} does not fit an operand with {ndim} axes")
    return [*before, *reversed(range(under)), *after]


def _said(label: Any) -> str:
    return f"axis {label!r}" if isinstance(label, str) else "an axis under '...'"


def _without_repeats(t: Tensor, labels: list[Any], sizes: dict[Any, int]) -> Named:
    """The operand with each name once: diagonals taken, and axes of size 1 that broadcast left out."""
    labels = list(labels)
    for label in [*labels]:
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            if t.shape[i] != t.shape[j]:
                raise ShapeError(f"einsum: {_said(label)} has sizes {t.shape[i]} and {t.shape[j]} in one operand")
            t, labels = diagonal(t, 0, i, j), [each for k, each in enumerate(labels) if k not in (i, j)] + [label]
    kept = [i for i, label in enumerate(labels) if t.shape[i] == sizes[label]]
    return (t if len(kept) == t.ndim else t.reshape([t.shape[i] for i in kept])), [labels[i] for i in kept]


def _product(a: Named, b: Named, wanted: Any) -> Named:
    """The product of two tensors, summed over the axes that are not wanted: one matrix product for each batch."""
    (x, of_x), (y, of_y) = _summed(a, {*b[1], *wanted}), _summed(b, {*a[1], *wanted})
    batch = [label for label in of_x if label in of_y and label in wanted]
    inner = [label for label in of_x if label in of_y and label not in wanted]
    left, right = ([n for n in names if n not in others] for names, others in ((of_x, of_y), (of_y, of_x)))
    size = dict(zip([*of_x, *of_y], [*x.shape, *y.shape], strict=True))
    shape = [size[label] for label in [*batch, *left, *right]]
    b_, l_, i_, r_ = (shapes.product(size[label] for label in group) for group in (batch, left, inner, right))
    x = _ordered(x, of_x, [*batch, *left, *inner]).reshape(b_, l_, i_)
    y = _ordered(y, of_y, [*batch, *inner, *right]).reshape(b_, i_, r_)
    return (x @ y if inner else x * y).reshape(shape), [*batch, *left, *right]


def _summed(named: Named, wanted: set[Any]) -> Named:
    t, labels = named
    gone = [i for i, label in enumerate(labels) if label not in wanted]
    return (t.sum(gone) if gone else t), [label for label in labels if label in wanted]


def _ordered(t: Tensor, labels: list[Any], order: list[Any]) -> Tensor:
    """With its axes in this order; those that are not in it are summed."""
    t, labels = _summed((t, labels), set(order))
    axes = [labels.index(label) for label in order]
    return t if axes == [*range(t.ndim)] else t.permute(axes)


# --- what they share ------------------------------------------------------------------------------------------------


def _check_axes(name: str, count: int, **tensors: Any) -> None:
    for what, t in tensors.items():
        if check_tensor(name, t, what).ndim != count:
            kind = {1: "a vector, one axis", 2: "a matrix, 2 axes", 3: "a batch of matrices, 3 axes"}[count]
            raise ShapeError(f"{name}: {what} must be {kind}, got {t.shape}; @ multiplies tensors of any axes")


def _added(name: str, input: Tensor, product: Tensor, beta: Scalar, alpha: Scalar) -> Tensor:
    """beta input + alpha product."""
    whole = {"f": float, "b": bool}.get(product.dtype.kind, int)  # of 0.6 torch takes 0 where it multiplies integers
    alpha, beta = whole(real(f"{name}: alpha", alpha)), whole(real(f"{name}: beta", beta))
    if input.dtype != product.dtype:
        raise DtypeError(f"{name}: input is {input.dtype} and the product {product.dtype}; convert one: .to(dtype)")
    if shapes.broadcast_shape(name, input.shape, product.shape) != product.shape:
        raise ShapeError(f"{name}: input of shape {input.shape} does not broadcast to {product.shape}")
    product = product if alpha == 1 else product * alpha
    if beta == 0:  # whatever is in it, and its gradient is 0
        if not input.requires_grad:
            return product
        never = wrap(backend_of(input.array).xp.zeros((), bool))
        return apply(ops.Where, never, input, 0.0) + product
    return (input if beta == 1 else input * beta) + product
