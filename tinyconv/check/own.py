"""Checking an op of one's own: the arguments are drawn here, from nothing but the signature.

    check_op(Softplus, beta=2.0)

For a class with `forward` and `backward`, shapes that may go together are tried, from 0-d to four axes, equal ones,
ones that broadcast, ones that multiply; those that forward takes are kept. Each is checked by `gradcheck` in float64,
and then the two halves are called as the tape would call them: in float32 and float64, with arrays of any strides, and
for each set of gradients that may be asked for. A function of tensors will do too: there is no contract then.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv.check.draw import FLOATS, LAYOUTS, RandomDraw, arrange
from tinyconv.check.numeric import Finding, GradcheckError, Report, Verdict, gradcheck
from tinyconv.errors import ShapeError, TinyconvError
from tinyconv.variants import op_name

MOST_TRIED = 600
EACH = 3  # cases of one first shape at most: ten ways to add two matrices are no better than three
FIRST = ((3, 4), (), (5,), (2, 3, 4), (2, 4, 5, 6), (0, 3))

Array = np.ndarray[Any, Any]
Shapes = Sequence[Sequence[int]]


class OpArgumentError(TinyconvError, TypeError):
    """What is to be checked is no op, or is not called like that."""


@dataclass(repr=False)
class OpCase:
    """An op (or a function of tensors) and arrays that it takes. `check()` it in a test; `str` is a name for it."""

    op: Any
    inputs: Sequence[Any]
    geometry: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __repr__(self) -> str:
        return f"{name_of(self.op)} {self.shapes}"

    @property
    def shapes(self) -> str:
        return " ".join(
            str(array.shape).replace(" ", "") if isinstance(array, np.ndarray) else repr(array) for array in self.inputs
        )

    @property
    def empty(self) -> bool:
        return any(isinstance(array, np.ndarray) and not array.size for array in self.inputs)

    def function(self) -> Callable[..., Any]:
        """Of tensors; of the outputs, the one with the gradient."""

        def run(*tensors: Any) -> Any:
            if not is_op(self.op):
                return self.op(*tensors, **self.geometry)
            y = tc.apply(self.op, *tensors, **self.geometry)
            return y[0] if isinstance(y, tuple) else y

        run.__name__ = name_of(self.op)
        return run

    def flat(self) -> bool:
        """Whether nothing can be learnt here: softmax over one element is 1."""
        report = gradcheck(self.function(), list(self.inputs), directions=2, seed=self.seed, raise_exception=False)
        return report.verdict == "nothing to check" and not (self.empty and is_op(self.op))

    def check(self, raise_exception: bool = True) -> Report:
        """The gradients, and for an op what is asked of its halves; raises GradcheckError if something is wrong."""
        report = gradcheck(self.function(), list(self.inputs), seed=self.seed, raise_exception=False)
        if is_op(self.op) and report.verdict == "nothing to check" and self.empty:
            report = replace(report, verdict="ok", message="")  # the contract holds for empty arrays too
        if is_op(self.op) and report.ok:
            try:
                _Contract(self.op, self.inputs, self.geometry, self.seed).check()
            except Finding as found:
                report = replace(report, verdict=found.verdict, message=found.message)
        if raise_exception and not report.ok:
            raise GradcheckError(report)
        return report


@dataclass(frozen=True)
class OpReport:
    """What `check_op` found: a report for each case. Prints as a table."""

    name: str
    cases: Sequence[OpCase]
    reports: Sequence[Report]

    @property
    def ok(self) -> bool:
        return all(report.ok for report in self.reports)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def error(self) -> float:
        """The worst of all cases; see Report."""
        return max((report.error for report in self.reports), default=0.0)

    @property
    def failures(self) -> list[tuple[OpCase, Report]]:
        return [(case, found) for case, found in zip(self.cases, self.reports, strict=True) if not found.ok]

    def __str__(self) -> str:
        wide = max(len(case.shapes) for case in self.cases)
        lines = [f"{self.name}: {'ok' if self.ok else 'FAILED'}, {len(self.cases)} case{'s' * (len(self.cases) > 1)}"]
        for case, report in zip(self.cases, self.reports, strict=True):
            lines.append(f"  {case.shapes:{wide}}  {report.error:8.1e}  {report.verdict}")
        for case, report in self.failures[:1]:
            lines.append(f"with {case.shapes}, {report}")
        return "\n".join(lines)


def check_op(
    op: Any,
    /,
    *,
    inputs: Sequence[Any] | None = None,
    shapes: Shapes | None = None,
    cases: int = 12,
    seed: int = 0,
    raise_exception: bool = True,
    **geometry: Any,
) -> OpReport:
    """Whether `op`, a class with `forward` and `backward` as in `tinyconv.ops`, or a function of tensors, is right.

    `geometry` are the keyword arguments the op is to be called with. `shapes`, one for each array, or `inputs`, the
    arrays themselves, say what no signature can: for an op that takes indices, for instance. Raises GradcheckError, an
    AssertionError, with the table of all cases, unless `raise_exception` is False.
    """
    found = op_cases(op, inputs=inputs, shapes=shapes, cases=cases, seed=seed, **geometry)
    report = OpReport(name_of(op), found, [case.check(raise_exception=False) for case in found])
    if raise_exception and not report.ok:
        raise GradcheckError(report.failures[0][1], str(report))
    return report


def op_cases(
    op: Any,
    /,
    *,
    inputs: Sequence[Any] | None = None,
    shapes: Shapes | None = None,
    cases: int = 12,
    seed: int = 0,
    **geometry: Any,
) -> list[OpCase]:
    """What `check_op` checks, one by one: for pytest.mark.parametrize."""
    name = name_of(op)
    low, high = _arity(op, geometry)
    if inputs is not None:
        return [OpCase(op, list(inputs), geometry, seed)]
    draw, found, tried, refusal = RandomDraw(seed), list[OpCase](), 0, ""
    proposals: Iterator[tuple[tuple[int, ...], ...]] = (
        iter([tuple(map(tuple, shapes))]) if shapes is not None else _proposals(low, high)
    )
    of_first: dict[Any, int] = {}
    for proposal in islice(proposals, MOST_TRIED):
        if len(found) == cases:
            break
        if of_first.get(proposal[0], 0) == EACH:
            continue
        tried += 1
        for kind in ("normal", "positive"):
            case = OpCase(op, [draw.values(shape, np.float64, kind) for shape in proposal], geometry, seed + len(found))
            try:
                with tc.no_grad():
                    y = case.function()(*map(tc.tensor, case.inputs))
            except (TinyconvError, ValueError, IndexError) as error:
                refusal = refusal or f"{type(error).__name__}: {error}"
                break
            if isinstance(y, tc.Tensor) and not np.isfinite(y.numpy()).all():
                refusal = refusal or "the output is not finite, for normal and for positive numbers"
                continue
            if case.flat():
                refusal = refusal or "the output does not depend on the input"
                break
            found.append(case)
            of_first[proposal[0]] = of_first.get(proposal[0], 0) + 1
            break
    if all(case.empty for case in found):
        raise ShapeError(
            f"check_op: {name} takes none of the {tried} combinations of shapes that were tried (the first was refused "
            f"with {refusal}); say shapes=[(2, 3), ...], or give the arrays: inputs=[...]"
        )
    return found


def is_op(op: Any) -> bool:
    return callable(getattr(op, "forward", None)) and callable(getattr(op, "backward", None))


def name_of(op: Any) -> str:
    return op_name(op) if hasattr(op, "name") or hasattr(op, "__name__") else type(op).__name__


def _arity(op: Any, geometry: dict[str, Any]) -> tuple[int, int]:
    """How many arrays `op` takes, at least and at most; complains of geometry that is missing or unknown."""
    name = name_of(op)
    if not is_op(op) and (not callable(op) or inspect.isclass(op)):
        missing = " and no ".join(half for half in ("forward", "backward") if not callable(getattr(op, half, None)))
        raise OpArgumentError(
            f"check_op: {name} is neither an op nor a function of tensors: it has no {missing}; see tinyconv.ops"
        )
    parameters = list(inspect.signature(op.forward if is_op(op) else op).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][is_op(op) :]
    several = any(p.kind == p.VAR_POSITIONAL for p in parameters)
    named = {p.name: p for p in parameters if p.kind == p.KEYWORD_ONLY}
    if not is_op(op):
        named |= {p.name: p for p in positional if p.default is not p.empty}
    positional = [p for p in positional if p.default is p.empty]
    unknown = [key for key in geometry if key not in named]
    if unknown and not any(p.kind == p.VAR_KEYWORD for p in parameters):
        has = f"it has {', '.join(named)}" if named else "it has none"
        raise OpArgumentError(f"check_op: {name} has no option {', '.join(unknown)}; {has}")
    required = [key for key, p in named.items() if p.default is p.empty and key not in geometry]
    if required:
        raise OpArgumentError(
            f"check_op: {name} needs {', '.join(required)}: check_op({name}, "
            f"{', '.join(f'{key}=...' for key in required)})"
        )
    if not positional and not several:
        raise OpArgumentError(f"check_op: {name} takes no arrays, so there is nothing to check")
    return (len(positional), len(positional)) if not several else (max(len(positional), 1), len(positional) + 3)


def _proposals(low: int, high: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Shapes that may go together, the plain ones first: by number of arrays, and by the shape of the first."""
    for count in range(low, high + 1):
        for first in FIRST:
            yield from ((first, *rest) for rest in product(_partners(first), repeat=count - 1))


def _partners(first: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes of further arrays: the same, ones that broadcast, vectors of an axis, matrices and filters that fit."""
    shapes = [first, first[1:], (), first[-1:], first[1:2], tuple(1 for _ in first), (1, *first[1:])]
    if len(first) >= 2:
        shapes += [(*first[:-2], first[-1], 4), (4, first[-1]), (first[-1], 4), (4, *first[1:])]
    if len(first) == 4:
        shapes += [(4, first[1], 3, 3), (first[1], 1, 3, 3)]
    return list(dict.fromkeys(shapes))


class _Contract:
    """The halves of an op, called as the tape calls them: what tinyconv.ops asks of every op, besides its gradients."""

    def __init__(self, op: Any, inputs: Sequence[Any], geometry: dict[str, Any], seed: int) -> None:
        self.op, self.inputs, self.geometry, self.seed = op, inputs, geometry, seed
        self.floats = [isinstance(x, np.ndarray) and x.dtype.kind == "f" for x in inputs]

    def check(self) -> None:
        plain: dict[str, Any] = {}
        with np.errstate(all="ignore"):
            for dtype in FLOATS:
                for layout in LAYOUTS:
                    if layout == "broadcast":  # other values
                        continue
                    y, grads = self.halves(dtype, layout, tuple(self.floats))
                    how = f"{dtype} arrays" if layout == "contiguous" else f"{layout} {dtype} arrays"
                    if layout == "contiguous":
                        plain[dtype] = y, grads
                    self.same(y, grads, plain[dtype], f"for {how}", 1e3 * float(np.finfo(dtype).eps))
                for i in np.flatnonzero(self.floats):
                    needs = tuple(k == i for k in range(len(self.inputs)))
                    y, grads = self.halves(dtype, "contiguous", needs)
                    alone = [g if k == i else None for k, g in enumerate(plain[dtype][1])]
                    self.same(y, grads, (y, alone), f"where needs asks for that of input {i} alone", 0)
        y, grads = plain["float32"]
        self.same(y, grads, plain["float64"], "in float32, by more than its rounding", 1e-2)

    def halves(self, dtype: str, layout: str, needs: tuple[bool, ...]) -> tuple[Array, list[Any]]:
        """Forward and backward, and whether they kept to the form; gradients not needed are left out."""
        arrays = [
            arrange(x.astype(dtype), layout) if is_float else x
            for x, is_float in zip(self.inputs, self.floats, strict=True)
        ]
        before = [x.tobytes() if isinstance(x, np.ndarray) else x for x in arrays]
        y, saved = self.run("forward", np, *arrays)
        first = np.asarray(y[0] if isinstance(y, tuple) else y)
        if first.dtype != dtype:
            raise broken(f"forward gives {first.dtype} for {dtype}: a constant that is an array, or a float64 scalar?")
        values = np.random.default_rng(self.seed).standard_normal(first.shape)
        dy = arrange(np.asarray(values, dtype), layout)
        dy.flags.writeable = False
        grads = self.run("backward", np, saved, dy, needs)
        if not isinstance(grads, tuple) or len(grads) != len(arrays):
            got = f"{len(grads)}" if isinstance(grads, tuple) else f"a {type(grads).__name__}"
            raise broken(f"backward must return a tuple of {len(arrays)}, a gradient or None for each array; got {got}")
        for i, (x, dx) in enumerate(zip(arrays, grads, strict=True)):
            if needs[i] and dx is not None and (dx.shape, dx.dtype) != (x.shape, x.dtype):
                raise broken(f"the gradient of input {i} is {dx.dtype} {dx.shape}; the input is {x.dtype} {x.shape}")
        if [x.tobytes() if isinstance(x, np.ndarray) else x for x in arrays] != before:
            raise broken("the op wrote to its inputs; they belong to others")
        return first, [dx if need else None for dx, need in zip(grads, needs, strict=True)]

    def run(self, half: str, *args: Any) -> Any:
        try:
            result = getattr(self.op, half)(*args, **self.geometry)
            if half == "forward":
                _, _ = result
        except Exception as error:
            wrote = "read-only" in str(error)
            hint = " (inputs and dy belong to others and must not be written to)" if wrote else ""
            raise broken(f"{half} raised {type(error).__name__}: {error}{hint}") from error
        return result

    def same(self, y: Any, grads: Any, expected: Any, when: str, tolerance: float) -> None:
        names = ["the output", *(f"the gradient of input {i}" for i in range(len(grads)))]
        for name, a, b in zip(names, [y, *grads], [expected[0], *expected[1]], strict=True):
            if (a is None) != (b is None):
                raise broken(f"{name} is {'None' if a is None else 'there only'} {when}")
            if a is not None and not np.allclose(a, b, rtol=0, atol=tolerance * abs(b).max(initial=0), equal_nan=True):
                raise broken(f"{name} is another {when}")


def broken(message: str) -> Finding:
    verdict: Verdict = "broken contract"
    return Finding(verdict, message)
