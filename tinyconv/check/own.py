"""Checking an op of one's own: its arguments are drawn here, from nothing but its signature.

    check_op(Softplus, beta=2.0)

For a class with `forward` and `backward`, many combinations of shapes are tried, from 0-d to four axes: equal ones,
ones that broadcast, ones that multiply. Those that forward takes are kept. Cases are drawn with and without an array
that may be left out (`w=None`). Each case has a seed of its own. `gradcheck` checks it in float64, and then the two
halves are called as the tape calls them: in float32 and float64, with arrays of any strides, and for each set of
gradients that may be asked for. A function of tensors is checked too, but by `gradcheck` alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import groupby, islice, product
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np

import tinyconv as tc
from tinyconv.check.blame import raised
from tinyconv.check.draw import FLOATS, LAYOUTS, RandomDraw, arrange
from tinyconv.check.numeric import Finding, GradcheckError, Report, Verdict, gradcheck, is_op
from tinyconv.engine.variants import op_name
from tinyconv.errors import ShapeError, TinyconvError, shortened
from tinyconv.user_frame import warn

MOST_TRIED = 600
EACH = 3  # cases with one first shape at most: ten ways to add two matrices say no more than three
FIRST = ((3, 4), (), (5,), (2, 3, 4), (2, 4, 5, 6), (2, 4, 6, 6), (0, 3))
LONG = 160  # characters of one refusal, where several are listed

Array = np.ndarray[Any, Any]
Op: TypeAlias = type[Any] | Callable[..., Any]
Inputs: TypeAlias = Sequence[Array | None]
Shapes: TypeAlias = Sequence[Sequence[int]]


class OpArgumentError(TinyconvError, TypeError):
    """Raised where the object to check is not an op, or cannot be called with these arguments."""


@dataclass(repr=False)
class OpCase:
    """An op (or a function of tensors) and inputs that it takes. `check()` checks it; `str(case)` is a name for it."""

    op: Any  # a class with two halves, or something that can be called
    inputs: Inputs
    geometry: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    drawn: bool = False  # whether the inputs are drawn from the seed

    def __repr__(self) -> str:
        return f"{name_of(self.op)} {self.shapes}"

    @property
    def shapes(self) -> str:
        """The shapes of the inputs, as in "(3,4) (4,)"."""
        return " ".join(
            str(array.shape).replace(" ", "") if isinstance(array, np.ndarray) else repr(array) for array in self.inputs
        )

    @property
    def empty(self) -> bool:
        """Whether an input has no elements."""
        return any(isinstance(array, np.ndarray) and not array.size for array in self.inputs)

    def function(self) -> Callable[..., Any]:
        """The op as a function of tensors that returns the output with the gradient."""

        if isinstance(self.op, tc.nn.Module) and not self.geometry:
            return self.op  # gradcheck checks the parameters of a module

        def run(*tensors: Any) -> Any:
            if not is_op(self.op):
                return self.op(*tensors, **self.geometry)
            y = tc.apply(self.op, *tensors, **self.geometry)
            return y[0] if isinstance(y, tuple) else y

        run.__name__ = name_of(self.op)
        return run

    def flat(self) -> bool:
        """Whether these inputs say nothing about the gradient: softmax over one element is 1, whatever it is."""
        report = gradcheck(self.function(), list(self.inputs), directions=2, seed=self.seed, raise_exception=False)
        return report.verdict == "nothing to check" and not (self.empty and is_op(self.op))

    def check(self, raise_exception: bool = True) -> Report:
        """Check the gradients, and for an op the contract of its halves (`tinyconv.ops`), and return the Report.

        Raises GradcheckError where something is wrong, unless `raise_exception` is False.
        """
        report = gradcheck(self.function(), list(self.inputs), seed=self.seed, raise_exception=False)
        if is_op(self.op) and report.verdict == "nothing to check" and self.empty:
            report = replace(report, verdict="ok", message="")  # the contract holds for empty arrays too
        if is_op(self.op) and report.ok:
            try:
                _Contract(self.op, self.inputs, self.geometry, self.seed).check()
            except Finding as found:
                report = replace(report, verdict=found.verdict, message=found.message)
        if self.drawn:
            report = replace(report, replay=self.call())
        if raise_exception:
            if not report.ok:
                raise GradcheckError(report)
            if note := self.note():
                warn(note)
        return report

    def call(self) -> str:
        """The call of `check_op` that draws these inputs again."""
        options = "".join(f", {key}={value!r}" for key, value in self.geometry.items())
        shapes = [np.shape(array) for array in self.inputs if array is not None]
        return f"check_op({name_of(self.op)}, shapes={shapes}, seed={self.seed}{options})"

    def note(self) -> str:
        """A warning that outputs besides the first have no gradient; empty where none of them is floating point."""
        y = self.forward() if is_op(self.op) else None
        lost = [i for i, other in enumerate(y) if i and np.asarray(other).dtype.kind == "f"] if type(y) is tuple else []
        if not lost:
            return ""
        return (
            f"{name_of(self.op)}: output {', '.join(map(str, lost))} is floating point and has no gradient: only the "
            "first of several outputs takes part in differentiation (tinyconv.ops); for gradients of all, write an op "
            "for each, or one whose output holds them all"
        )

    def forward(self) -> Any:
        """The outputs as arrays. Raises OpArgumentError where the op, or function, does not return what it must."""
        name = name_of(self.op)
        if not is_op(self.op):
            y = self.function()(*(tc.tensor(x, requires_grad=_is_float(x)) for x in self.inputs))
            for output in y if isinstance(y, tuple | list) else [y]:
                if not isinstance(output, tc.Tensor):
                    raise OpArgumentError(
                        f"check_op: {name} must return a tensor, or several; it returned {shortened(output)}"
                    )
            return tuple(output.numpy() for output in y) if isinstance(y, tuple | list) else y.detach().numpy()
        with np.errstate(all="ignore"):
            if hasattr(self.op, "check"):
                self.op.check(*self.inputs, **self.geometry)
            result = self.op.forward(np, *self.inputs, **self.geometry)
        if not isinstance(result, tuple) or len(result) != 2:
            got = f"a tuple of {len(result)}" if isinstance(result, tuple) else f"one {type(result).__name__}"
            raise OpArgumentError(
                f"check_op: {name}.forward must return two things, y and what backward needs (`return y, (x,)`, or "
                f"`return y, ()`); it returned {got}"
            )
        return result[0]


@dataclass(frozen=True, repr=False)
class OpReport:
    """What `check_op` found: a Report for each case. It is true where all are, and prints as a table."""

    name: str
    cases: Sequence[OpCase]
    reports: Sequence[Report]
    notes: Sequence[str] = ()  # what is not checked although all cases pass

    @property
    def ok(self) -> bool:
        """Whether every case passes."""
        return all(report.ok for report in self.reports)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def error(self) -> float:
        """The largest error of all cases, as in Report."""
        return max((report.error for report in self.reports), default=0.0)

    @property
    def failures(self) -> list[tuple[OpCase, Report]]:
        """The cases that fail, each with its Report."""
        return [(case, found) for case, found in zip(self.cases, self.reports, strict=True) if not found.ok]

    def __str__(self) -> str:
        wide = max(len(case.shapes) for case in self.cases)
        lines = [f"{self.name}: {'ok' if self.ok else 'FAILED'}, {len(self.cases)} case{'s' * (len(self.cases) > 1)}"]
        rows = zip(self.cases, self.reports, strict=True)
        for _, alike in groupby(rows, lambda row: id(row) if row[1].ok else (row[1].error, row[1].message)):
            (case, report), *more = alike
            others = f", and {len(more)} more" if more else ""
            lines.append(f"  {case.shapes:{wide}}  {report.error:8.1e}  {report.verdict}{others}")
        for case, report in self.failures[:1]:
            lines.append(f"with {case.shapes}, {report}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)

    __repr__ = __str__


def check_op(
    op: Op,
    /,
    *,
    inputs: Inputs | None = None,
    shapes: Shapes | None = None,
    cases: int = 12,
    seed: int = 0,
    raise_exception: bool = True,
    **geometry: Any,
) -> OpReport:
    """Check an op of one's own on inputs that are drawn here: its gradients, and the contract of `tinyconv.ops`.

        check_op(Softplus, beta=2.0)

    Args:
        op: A class with `forward` and `backward`, as in `tinyconv.ops`; or a function of tensors, or a Module.
        inputs: The arrays (or None, for one that is left out) of a single case, where drawn ones will not do: for an
            op that takes indices, for instance.
        shapes: A shape for each array of a single case, as in [(2, 3), (3,)]; the numbers are drawn.
        cases: How many cases to draw at most.
        seed: Seed for the numbers that are drawn.
        raise_exception: False returns the report of a check that fails, too.
        **geometry: The keyword arguments to call the op with.

    Returns an OpReport, with a Report for each case. Raises GradcheckError, an AssertionError with the table of all
    cases, where one fails; OpArgumentError, a TypeError, where `op` is not an op or is not called like this; ShapeError
    where it takes none of the shapes that are tried. Warns of what is not checked.
    """
    drawing = _draw_cases(op, inputs, shapes, cases, seed, geometry)
    reports = [case.check(raise_exception=False) for case in drawing.cases]
    notes = tuple(filter(None, [drawing.cases[0].note(), drawing.note()]))
    report = OpReport(name_of(op), drawing.cases, reports, notes)
    if raise_exception:
        if not report.ok:
            raise GradcheckError(report.failures[0][1], str(report))
        for note in notes:
            warn(note)
    return report


def op_cases(
    op: Op,
    /,
    *,
    inputs: Inputs | None = None,
    shapes: Shapes | None = None,
    cases: int = 12,
    seed: int = 0,
    **geometry: Any,
) -> list[OpCase]:
    """The cases that `check_op` checks, for `pytest.mark.parametrize`: `case.check()` checks one.

        @pytest.mark.parametrize("case", op_cases(Softplus, beta=2.0), ids=str)

    The arguments and errors are those of `check_op`.
    """
    return _draw_cases(op, inputs, shapes, cases, seed, geometry).cases


@dataclass
class _Drawing:
    """Cases, and the proposals that were refused on the way to them."""

    cases: list[OpCase]
    tried: int = 0
    refusals: dict[tuple[int, ...], str] = field(default_factory=dict)  # the first for each shape of the first array
    never_given: str = ""  # a sentence about the optional input that no case has

    def refuse(self, proposal: tuple[tuple[int, ...], ...], why: str) -> None:
        self.refusals.setdefault(proposal[0], why)

    def note(self) -> str:
        """A warning for the user where the cases are so few that passing says little; otherwise empty."""
        taken = [case for case in self.cases if not case.empty]
        if len(taken) > 1 or not self.refusals or self.never_given:
            return self.never_given
        first = next(iter(self.refusals.values()))
        return (
            f"only {taken[0].shapes} was checked: {self.tried - len(self.cases)} other combinations of shapes were "
            f"refused, the first with {first}"
        )

    def message(self) -> str:
        """The first refusal for each number of axes, a line each; one line where all are alike."""
        of_axes = {len(shape): (shape, why) for shape, why in reversed(self.refusals.items())}
        alike = len({why for _, why in of_axes.values()}) == 1
        lines = [
            (f"  {'all' if alike else str(shape).replace(' ', '')}: {why if len(why) <= LONG else f'{why[:LONG]} ...'}")
            for _, (shape, why) in sorted(of_axes.items())
        ]
        return "\n".join(lines[:1] if alike else lines)


def _draw_cases(
    op: Op, inputs: Inputs | None, shapes: Shapes | None, cases: int, seed: int, geometry: dict[str, Any]
) -> _Drawing:
    name = name_of(op)
    low, high, optional = _arity(op, geometry)
    if isinstance(op, tc.nn.Module):
        op = deepcopy(op).to(dtype=tc.float64)
    if inputs is not None:
        return _Drawing([OpCase(op, list(inputs), geometry, seed)])
    found: list[OpCase] = []
    drawing, of_first = _Drawing(found), dict[Any, int]()
    proposals = iter([_as_shapes(name, shapes, low, high)]) if shapes is not None else _proposals(low, high, optional)
    for proposal in islice(proposals, MOST_TRIED):
        if len(found) == cases:
            break
        kin = len(proposal), proposal[0]
        if of_first.get(kin, 0) == EACH:
            continue
        drawing.tried += 1
        of_case = seed_of(seed, len(found))
        for kind in ("normal", "positive"):
            draw = RandomDraw(of_case)
            values = [draw.values(shape, np.float64, kind) for shape in proposal]
            case = OpCase(op, values, geometry, of_case, drawn=True)
            try:
                y = case.forward()
            except OpArgumentError:
                raise
            except Exception as error:  # an op refuses shapes with an error of any kind, as NumPy does
                drawing.refuse(proposal, raised("forward" if is_op(op) else name, error))
                break
            if not all(np.isfinite(output).all() for output in (y if type(y) is tuple else (y,))):
                drawing.refuse(proposal, "the output is not finite, for normal and for positive numbers")
                continue
            if optional and len(proposal) < high:
                case = _with_nones(case, high)
            if case.flat():
                drawing.refuse(proposal, "the output does not depend on the input")
                break
            found.append(case)
            of_first[kin] = of_first.get(kin, 0) + 1
            break
    if all(case.empty for case in found):
        raise ShapeError(
            f"check_op: {name} takes none of the {drawing.tried} combinations of shapes that were tried:\n"
            f"{drawing.message()}\ngive shapes=[(2, 3), ...], or the arrays: inputs=[...]"
        )
    if (
        optional
        and shapes is None
        and all(any(x is None for x in case.inputs[low:]) or len(case.inputs) < high for case in found)
    ):
        drawing.never_given = f"input {high - 1} ({optional[-1]}) was never given"
        if len(found) < cases:
            raise ShapeError(
                f"check_op: {name}: {drawing.never_given}, so nothing is known about its gradient; refused were\n"
                f"{drawing.message()}\ngive shapes=[(2, 3), ...] with one for it, or the arrays: inputs=[...]"
            )
    return drawing


def _with_nones(case: OpCase, high: int) -> OpCase:
    """The case with None for each array that is left out, if backward returns a gradient for it."""
    try:
        y, saved = case.op.forward(np, *case.inputs, **case.geometry)
        dy = np.ones_like(y[0] if isinstance(y, tuple) else y)
        grads = case.op.backward(np, saved, dy, (True,) * len(case.inputs), **case.geometry)
    except Exception:  # what it raises is found by the check
        return case
    nones = [None] * (high - len(case.inputs))
    counted = isinstance(grads, tuple) and len(grads) == high
    return replace(case, inputs=[*case.inputs, *nones]) if counted else case


def _as_shapes(name: str, shapes: Any, low: int, high: int) -> tuple[tuple[int, ...], ...]:
    wanted = "shapes takes a shape for each array, as in shapes=[(2, 3)]"
    if not isinstance(shapes, tuple | list) or not all(
        isinstance(shape, tuple | list) and all(isinstance(side, int) and side >= 0 for side in shape)
        for shape in shapes
    ):
        raise OpArgumentError(f"check_op: {wanted}, got {shortened(shapes)}")
    if not low <= len(shapes) <= high:
        count = f"{low}" if low == high else f"{low} to {high}"
        raise OpArgumentError(f"check_op: {wanted}; {name} takes {count}, got {len(shapes)}: {shortened(shapes)}")
    return tuple(map(tuple, shapes))


def seed_of(seed: int, number: int) -> int:
    """The seed of the case with this number. The first has `seed` itself, so its own replays a case alone."""
    return crc32(f"{seed} {number}".encode()) if number else seed


def name_of(op: Any) -> str:
    return op_name(op) if hasattr(op, "name") or hasattr(op, "__name__") else type(op).__name__


def _arity(op: Any, geometry: dict[str, Any]) -> tuple[int, int, list[str]]:
    """How many arrays `op` takes, at least and at most, and the names of those that may be left out.

    Raises OpArgumentError for anything but an op, and for geometry that is missing or unknown.
    """
    name = name_of(op)
    if not is_op(op) and (not callable(op) or inspect.isclass(op)):
        missing = " and no ".join(half for half in ("forward", "backward") if not callable(getattr(op, half, None)))
        module = inspect.isclass(op) and issubclass(op, tc.nn.Module)
        raise OpArgumentError(
            f"check_op: {name} is a class of modules: give an instance of it"
            if module
            else f"check_op: {name} is neither an op nor a function of tensors: it has no {missing}; see tinyconv.ops"
        )
    if is_op(op):
        _refuse_other_halves(op, name)
    called = op.forward if is_op(op) or isinstance(op, tc.nn.Module) else op
    parameters = list(inspect.signature(called).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][is_op(op) :]
    several = any(p.kind == p.VAR_POSITIONAL for p in parameters)
    named = {p.name: p for p in parameters if p.kind == p.KEYWORD_ONLY}
    optional = [p.name for p in positional if is_op(op) and p.default is None]  # an array, or None
    named |= {p.name: p for p in positional if p.default is not p.empty and p.name not in optional}
    positional = [p for p in positional if p.default is p.empty]
    arrays = [key for key in geometry if key in optional or key in [p.name for p in positional]]
    if arrays:
        raise OpArgumentError(
            f"check_op: {', '.join(arrays)} of {name} is an array, not an option: leave it out and it is drawn, or "
            "give inputs=[...]"
        )
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
    if not positional and not several and not optional:
        raise OpArgumentError(f"check_op: {name} takes no arrays, so there is nothing to check")
    low = max(len(positional), 1)
    return (low, len(positional) + 3, []) if several else (low, len(positional) + len(optional), optional)


def _refuse_other_halves(op: Any, name: str) -> None:
    """Raise OpArgumentError for a class that looks like an op and is called differently."""
    if not inspect.isclass(op) and not hasattr(op, "name") and not hasattr(op, "__name__"):
        raise OpArgumentError(f"check_op: an op is a class, not an instance of it: check_op({name}, ...)")
    for half, called in (("forward", "forward(xp, *arrays)"), ("backward", "backward(xp, saved, dy, needs)")):
        first = next(iter(inspect.signature(getattr(op, half)).parameters), "")
        if first == "self":
            raise OpArgumentError(f"check_op: {name}.{half} takes self: put @staticmethod above it, as {called}")
        if first == "ctx":
            raise OpArgumentError(
                f"check_op: {name}.{half} takes ctx, as a torch.autograd.Function does; here it is {called}, where "
                "forward returns y and what backward needs"
            )


def _proposals(low: int, high: int, optional: Sequence[str]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Combinations of shapes, plain ones first. Optional arrays are left out and given by turns."""
    counts = [range(low, high + 1)] if optional else [range(count, count + 1) for count in range(low, high + 1)]
    for together in counts:
        for first, count in product(FIRST, together):
            yield from ((first, *rest) for rest in product(_partners(first), repeat=count - 1))


def _partners(first: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes for further arrays: the same, ones that broadcast, vectors of an axis, matrices and filters that fit."""
    shapes = [first, first[1:], (), first[-1:], first[1:2], tuple(1 for _ in first), (1, *first[1:])]
    if len(first) >= 2:
        shapes += [(*first[:-2], first[-1], 4), (4, first[-1]), (first[-1], 4), (4, *first[1:])]
    if len(first) == 4:
        shapes += [(4, first[1], 3, 3), (first[1], 1, 3, 3)]
    return list(dict.fromkeys(shapes))


class _Contract:
    """Calls the halves of an op as the tape does: what `tinyconv.ops` asks of every op besides right gradients."""

    def __init__(self, op: Any, inputs: Sequence[Any], geometry: dict[str, Any], seed: int) -> None:
        self.op, self.inputs, self.geometry, self.seed = op, inputs, geometry, seed
        self.floats = [_is_float(x) for x in inputs]

    def check(self) -> None:
        plain: dict[str, Any] = {}
        with np.errstate(all="ignore"):
            for dtype in FLOATS:
                for layout in LAYOUTS:
                    if layout == "broadcast":  # changes the values
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
                    self.same(y, grads, (y, alone), f"where needs asks for the gradient of input {i} alone", 0)
        y, grads = plain["float32"]
        self.same(y, grads, plain["float64"], "in float32, by more than its rounding", 1e-2)

    def halves(self, dtype: str, layout: str, needs: tuple[bool, ...]) -> tuple[Array, list[Any]]:
        """Run forward and backward and see that they keep to the form. Gradients that are not needed become None."""
        arrays = [
            arrange(x.astype(dtype), layout) if is_float else x
            for x, is_float in zip(self.inputs, self.floats, strict=True)
        ]
        before = [x.tobytes() if isinstance(x, np.ndarray) else x for x in arrays]
        y, saved = self.run("forward", np, *arrays)
        first = np.asarray(y[0] if isinstance(y, tuple) else y)
        if first.dtype != dtype:
            raise broken(f"forward gives {first.dtype} for {dtype}: is a constant an array, or a float64 scalar?")
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
            raise broken(raised(half, error)) from error
        return result

    def same(self, y: Any, grads: Any, expected: Any, when: str, tolerance: float) -> None:
        names = ["the output", *(f"the gradient of input {i}" for i in range(len(grads)))]
        for name, a, b in zip(names, [y, *grads], [expected[0], *expected[1]], strict=True):
            if (a is None) != (b is None):
                raise broken(f"{name} is None {when}" if a is None else f"{name} is None, except {when}")
            if a is not None and not np.allclose(a, b, rtol=0, atol=tolerance * abs(b).max(initial=0), equal_nan=True):
                raise broken(f"{name} differs {when}")


def _is_float(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "f"


def broken(message: str) -> Finding:
    verdict: Verdict = "broken contract"
    return Finding(verdict, message)
