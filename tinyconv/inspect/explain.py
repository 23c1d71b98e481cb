"""explain: why a cell of an output, or of a gradient, is the number that it is; without a word about any one op.

A cell of an output y: the op's own `backward`, given a gradient that is 1 at this cell and 0 elsewhere, returns the
slope of the cell along every input. Where the op is affine, slope times input, added up, is the cell, but for a
constant.

A cell k of a gradient dx: dx = J^T dy, so dx[k] = sum_j J[j, k] dy[j], and column k of J is what y gains where x gains
1 at k. Where the op is affine, `forward` tells. Elsewhere `backward` does: it is linear in dy, so its own gradient, on
the tape, is J (`arrays.boxed`).

Whether an op is affine is found by trying: F(r) + F(-r) = 2 F(0) and F(2r) = 2 F(r) - F(0), for whole numbers r. Which
cell of the weight a coefficient is is found by trying too, with a weight of the numbers 1, 2, 3, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import unwrap
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from tinyconv.arrays.boxed import Boxed, Library
from tinyconv.engine.context import Context, context, quietly
from tinyconv.engine.variants import READABLE, op_name, using
from tinyconv.errors import GraphError, ShapeError, shortened
from tinyconv.inspect.pictures import HostArray
from tinyconv.inspect.record import Frame
from tinyconv.inspect.tracer import CELL_BY_CELL
from tinyconv.shapes import Shape
from tinyconv.tensor.gradients import grad
from tinyconv.tensor.tensor import apply, wrap

MOST = 4096
"""The most terms that an Explanation lists: a page shows no more of them. Its sums are of all."""

MOST_TRIED = 1024
"""The most cells of dy that are tried one by one, where an op cannot be recorded: 0.1 s for an op of 0.1 ms."""


class Term(NamedTuple):
    """One product of an Explanation."""

    argument: str  # the input that the value is a cell of: "x", "bias"; "dy" for a gradient
    place: Shape  # the index of that cell
    value: float
    coefficient: float
    of: str | None  # where the coefficient is a cell of another input, that input ("weight"), else None
    at: Shape | None  # and the index of that cell

    @property
    def product(self) -> float:
        """The value times the coefficient."""
        return self.value * self.coefficient

    def __str__(self) -> str:
        coefficient = f"{self.coefficient:.6g}"
        if self.of is not None and self.at is not None:
            coefficient = f"{_cell(self.of, self.at)} {coefficient}"
        return f"{_cell(self.argument, self.place)} {self.value:.6g} * {coefficient} = {self.product:.6g}"


@dataclass(frozen=True, repr=False, eq=False)
class Explanation:
    """What `explain` returns: `total`, the number shown, is the sum of all terms plus `remainder`, to rounding.

    Where the op is `linear` in the values of the terms, the remainder is its constant: what the cell is where all of
    them are 0. Otherwise the coefficients are slopes, right near these values and nowhere else, and the remainder is
    what the terms leave. It is 0 for ReLU, max-pooling and others that are straight from 0 to here.
    """

    frame: int
    which: str  # "y", "dx", "dweight"
    cell: Shape
    total: float  # as the frame has it
    terms: tuple[Term, ...]  # by argument and place, the first MOST of them
    count: int  # of all terms
    sum: float  # of all products
    remainder: float
    linear: bool
    windows: dict[
        str, tuple[tuple[int, int], ...]
    ]  # where the terms of an argument lie: (first, past the last) an axis

    def to_dict(self) -> dict[str, Any]:
        """The explanation in plain values, for JSON.

        The keys are those of the class: `frame`, `which`, `cell`, `total`, `count`, `sum`, `remainder`, `linear`,
        `windows`, and `terms`, a list of `argument`, `place`, `value`, `coefficient`, `product`, `of` and `at`.
        """
        terms = [{**term._asdict(), "product": term.product} for term in self.terms]
        return {**vars(self), "terms": terms}

    def __repr__(self) -> str:
        rest = "" if not self.remainder else f" + {self.remainder:.6g}"
        terms = f"the sum of {self.count} term{'s' * (self.count != 1)}, {self.sum:.6g}"
        return f"<{_cell(self.which, self.cell)} = {self.total:.6g}: {terms}{rest}>"

    def _repr_html_(self) -> str:
        from tinyconv import notebook

        largest = sorted(self.terms, key=lambda term: -abs(term.product))[: notebook.EDGE]
        rows = [
            [
                _cell(t.argument, t.place),
                f"{t.value:.6g}",
                "" if t.of is None or t.at is None else _cell(t.of, t.at),
                f"{t.coefficient:.6g}",
                f"{t.product:.6g}",
            ]
            for t in largest
        ]
        if len(largest) < self.count:
            left = self.sum - sum(t.product for t in largest)
            rows.append([f"{self.count - len(largest):,} smaller terms", "", "", "", f"{left:.6g}"])
        if self.remainder:
            rows.append(["what the terms leave", "", "", "", f"{self.remainder:.6g}"])
        heads = ["cell", "value", "times", "coefficient" if self.linear else "slope", "product"]
        foot = [_cell(self.which, self.cell), "", "", "", f"{self.total:.6g}"]
        said = repr(self).partition(": ")[2][:-1]
        return notebook.page(
            notebook.caption(f"{_cell(self.which, self.cell)} = {self.total:.6g}", said),
            notebook.table(heads, rows, foot),
        )


def _cell(name: str, place: Shape) -> str:
    return f"{name}[{', '.join(map(str, place))}]"


@np.errstate(all="ignore")
def explain(frame: Frame, which: str | int = 0, cell: Sequence[int] = ()) -> Explanation:
    """Why a cell of an output, or of a gradient that leaves, is the number that it is.

        recording = tc.inspect.record(tc.models.lenet5(), tc.ones(1, 28, 28), 7)
        found = tc.inspect.explain(recording.frames[0], "y", (0, 2, 10, 10))
        found.count, found.linear, found.windows["x"]  # (26, True, ((0, 1), (0, 1), (10, 15), (10, 15)))

    Args:
        frame: A frame of a Recording. Forwards a cell of "y" is explained by the cells of the op's inputs, backwards a
            cell of "dx", "dweight", ... by those of "dy".
        which: The operand among `frame.outputs`: its `argument`, or its number.
        cell: The index of the cell, a number for each axis.

    Raises ShapeError where there is no such operand or cell, and GraphError where it has no gradient, or where the
    backward of a user's own op, with an output of more than MOST_TRIED cells, does what no tape can record.
    """
    number, array = operand_of(frame, which)
    argument, place = frame.outputs[number].argument, place_in(cell, array.shape)
    study, total, dy = _study(frame.twin or frame), float(array[place]), frame.inputs[0].array
    if frame.twin is not None and dy is not None:
        parts, remainder, linear = [study.gradient(number, place, total, dy)], 0.0, True
    elif number or not study.differentiable:
        raise GraphError(f"explain: {argument} of {frame!r} has no gradient, so no cell of it can be explained")
    else:
        parts, remainder, linear = study.output(place, total)
    listed: list[Term] = []
    for part in parts:
        listed += part.terms(MOST - len(listed))
    return Explanation(
        frame=frame.number,
        which=argument,
        cell=place,
        total=total,
        terms=tuple(listed),
        count=sum(len(part.values) for part in parts),
        sum=float(sum(part.sum for part in parts)),
        remainder=remainder,
        linear=linear,
        windows={part.argument: part.box for part in parts if len(part.values)} | _window(frame, place, parts),
    )


def operand_of(frame: Frame, which: str | int) -> tuple[int, HostArray]:
    """The number of an output of the frame, and its array."""
    named = [operand.argument for operand in frame.outputs]
    number = named.index(which) if which in named else which
    if not isinstance(number, int) or not 0 <= number < len(named):
        raise ShapeError(f"{frame!r} has no {shortened(which)}; it has {', '.join(named)}")
    array = frame.outputs[number].array
    if array is None:
        raise GraphError(f"nothing needs {named[number]} of {frame!r}, so it was not computed")
    return number, array


def place_in(cell: Sequence[int], shape: Shape) -> Shape:
    """The cell as an index of an array of this shape."""
    place = tuple(map(int, cell))
    if len(place) != len(shape) or not all(0 <= i < n for i, n in zip(place, shape, strict=True)):
        raise ShapeError(f"there is no cell {place} in an array of shape {shape}")
    return place


def _window(frame: Frame, place: Shape, parts: list[_Part]) -> dict[str, tuple[tuple[int, int], ...]]:
    """All that an output cell sees of the op's first input, where both are maps: a maximum too looks at all of it."""
    first, x = frame.inputs[0].argument, frame.inputs[0].array
    box = next((part.box for part in parts if part.argument == first and len(part.cells)), None)
    if frame.window is None or x is None or box is None:
        return {}
    spans = (axis.span(i, n) for axis, i, n in zip(frame.window, place[2:], x.shape[2:], strict=True))
    return {first: (*box[:2], *spans)}


class _Part(NamedTuple):
    """The terms whose values are cells of one argument. Cells are numbered row by row."""

    argument: str
    shape: Shape
    cells: HostArray
    values: HostArray  # float64, as the coefficients
    coefficients: HostArray
    of: str | None = None  # the input whose cells the coefficients are, its shape, and those cells
    of_shape: Shape = ()
    of_cells: HostArray | None = None

    @property
    def sum(self) -> float:
        return float((self.values * self.coefficients).sum())

    @property
    def box(self) -> tuple[tuple[int, int], ...]:
        """Where the terms lie: for each axis (first, past the last)."""
        axes = np.unravel_index(self.cells, self.shape) if self.shape else ()
        return tuple((int(places.min()), int(places.max()) + 1) for places in axes)

    def terms(self, most: int) -> list[Term]:
        columns = (
            _indices(self.cells[:most], self.shape),
            self.values[:most].tolist(),
            self.coefficients[:most].tolist(),
        )
        at = [None] * most if self.of_cells is None else _indices(self.of_cells[:most], self.of_shape)
        return [Term(self.argument, i, v, c, self.of, j) for i, v, c, j in zip(*columns, at, strict=False)]


def _indices(cells: HostArray, shape: Shape) -> list[Any]:
    """The index of each of these cells."""
    if not shape:
        return [()] * len(cells)
    return list(zip(*(axis.tolist() for axis in np.unravel_index(cells, shape)), strict=True))


class _Study:
    """An op on the arrays that it was recorded with: what it is affine in, and its slopes.

    What holds for all cells of a frame is found once.
    """

    def __init__(self, frame: Frame) -> None:
        self.op, self.pair, self.geometry = frame.op, frame.pair, frame.geometry
        self.names = [operand.argument for operand in frame.inputs]
        self.arrays: list[Any] = [o.value if o.array is None else o.array for o in frame.inputs]
        self.floats = [i for i, a in enumerate(self.arrays) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
        self.y: Any = frame.outputs[0].array
        self._affine: dict[tuple[int, ...], bool] = {}
        self._left: dict[int | None, Any] = {}
        self._zeros: dict[tuple[int | None, tuple[int, ...]], HostArray] = {}

    # What a cell is made of.

    def output(self, place: Shape, total: float) -> tuple[list[_Part], float, bool]:
        """The terms of a cell of the output, what they leave of it, and whether the op is affine in them."""
        inputs = self.affine_in or tuple(self.differentiable)
        slopes = self._slopes(place, inputs)
        parts = [self._part(self.names[i], self.arrays[i], slopes[i], self._own(i, place), total) for i in inputs]
        if self.affine_in:
            constant = float(self._at_zero(inputs)[place])
            if self._is_sum(total, parts, constant, sum(len(part.cells) for part in parts)):
                again = {m: self._slopes(place, inputs, m) for m in self.floats if m not in inputs}
                placed = [self._placed(p, {m: again[m][i] for m in again}) for p, i in zip(parts, inputs, strict=True)]
                return placed, constant, True
        return parts, 0.0 if self._is_sum(total, parts) else total - sum(part.sum for part in parts), False

    def gradient(self, i: int, place: Shape, total: float, dy: HostArray) -> _Part:
        """The terms of a cell of the gradient of input `i`: cells of dy."""
        if self._is_affine((i,)):
            column = self._column(i, place).astype(self.y.dtype)  # without the rounding of the difference
            part = self._part("dy", dy, column, self._own(i, place), total)
            if self._is_sum(total, [part], 0.0, len(part.cells)):
                return self._placed(part, {m: self._column(i, place, m) for m in self.floats if m != i})
        return self._part("dy", dy, self._transposed(i, place), self._own(i, place), total)

    def _part(
        self, argument: str, values: HostArray, coefficients: HostArray, own: Shape | None, total: float
    ) -> _Part:
        """The terms whose coefficient is not 0, and that of the cell `own`."""
        slopes, flat = np.asarray(coefficients, np.float64).reshape(-1), values.reshape(-1)
        chosen = slopes != 0
        if own is not None:
            chosen[np.ravel_multi_index(own, values.shape) if own else 0] = True
        if np.isfinite(total):  # else what is not finite is the reason; here it is 0 times infinity, or no slope at all
            chosen &= np.isfinite(slopes)
        cells = np.flatnonzero(chosen)
        return _Part(argument, values.shape, cells, flat[cells].astype(np.float64), slopes[cells])

    def _own(self, i: int, place: Shape) -> Shape | None:
        """The place itself, if the op goes cell by cell from input `i` to its output."""
        return place if op_name(self.op) in CELL_BY_CELL and self.arrays[i].shape == self.y.shape else None

    def _placed(self, part: _Part, again: dict[int, HostArray]) -> _Part:
        """The part, with the cells of another input that its coefficients are.

        `again` are the coefficients where input m holds the numbers of its cells, counted from 1.
        """
        for m, coefficients in again.items():
            numbers, array = coefficients.reshape(-1)[part.cells], self.arrays[m].reshape(-1)
            cells = np.rint(numbers).astype(np.int64) - 1
            if (
                not np.allclose(numbers, part.coefficients, rtol=1e-9, atol=0)  # they do not depend on it
                and np.allclose(numbers, cells + 1)
                and ((cells >= 0) & (cells < array.size)).all()
                and np.allclose(array[cells], part.coefficients, rtol=1e-6)
            ):
                return part._replace(of=self.names[m], of_shape=self.arrays[m].shape, of_cells=cells)
        return part

    def _is_sum(self, total: float, parts: list[_Part], constant: float = 0.0, additions: int = 0) -> bool:
        """Whether these terms make the total, but for the rounding of so many additions in the dtype of the output."""
        found = sum(part.sum for part in parts) + constant
        size = sum(abs(part.values * part.coefficients).sum() for part in parts) + abs(constant)
        near = float(np.finfo(self.y.dtype).eps) * (additions + 8) * size
        return bool(abs(total - found) <= near) or found == total or (found != found and total != total)

    # What is known of the op.

    @cached_property
    def differentiable(self) -> list[int]:
        """The inputs that the op has a gradient for."""
        if not self.floats or self.y.dtype.kind != "f":
            return []
        slopes = self._slopes(None, self.floats)
        return [i for i in self.floats if slopes[i] is not None]

    @cached_property
    def affine_in(self) -> tuple[int, ...]:
        """The inputs that the op is affine in, all at once, beginning with the first; () where not even in that."""
        found: tuple[int, ...] = ()
        for i in self.differentiable:
            if self._is_affine((*found, i)):
                found = (*found, i)
            elif not found:
                break
        return found

    def _is_affine(self, inputs: tuple[int, ...]) -> bool:
        """Whether the output is affine in these inputs, the others being as recorded."""
        if inputs not in self._affine:
            draw = np.random.default_rng(0)
            r = {i: draw.choice([-4, -3, -2, -1, 1, 2, 3, 4], self.arrays[i].shape) for i in inputs}
            below, zero, once, twice = (self._output({i: k * r[i] for i in inputs}) for k in (-1, 0, 1, 2))
            near = 1e-9 * (abs(twice) + abs(once) + abs(zero))
            self._affine[inputs] = bool(
                (abs(once + below - 2 * zero) <= near).all() and (abs(twice - 2 * once + zero) <= near).all()
            )
        return self._affine[inputs]

    # The op, run again.

    def _instead(self, others: dict[int, Any]) -> list[Any]:
        """The inputs in float64, some of them replaced."""
        return [np.asarray(others.get(i, a), np.float64) if i in self.floats else a for i, a in enumerate(self.arrays)]

    def _numbers(self, m: int | None) -> dict[int, Any]:
        """The numbers of its cells, from 1, in place of input `m`."""
        return {} if m is None else {m: np.arange(1, self.arrays[m].size + 1).reshape(self.arrays[m].shape)}

    def _output(self, others: dict[int, Any]) -> HostArray:
        """The output in float64, with other arrays as some inputs."""
        y, _ = quietly(unwrap(self.pair).forward, np, *self._instead(others), **self.geometry)
        return np.asarray(y[0] if isinstance(y, tuple) else y, np.float64)

    def _at_zero(self, inputs: tuple[int, ...], m: int | None = None) -> HostArray:
        """The output where these inputs are 0; with the numbers of its cells as input `m`."""
        key = m, inputs
        if key not in self._zeros:
            self._zeros[key] = self._output({i: np.zeros(self.arrays[i].shape) for i in inputs} | self._numbers(m))
        return self._zeros[key]

    def _column(self, i: int, place: Shape, m: int | None = None) -> HostArray:
        """What an affine op's output gains where input `i` gains 1 at this place."""
        one = np.zeros(self.arrays[i].shape)
        one[place] = 1
        return self._output({i: one} | self._numbers(m)) - self._at_zero((i,), m)

    def _slopes(self, place: Shape | None, inputs: Sequence[int], m: int | None = None) -> tuple[Any, ...]:
        """The slopes of a cell of the output, by backward; in float64 with the numbers of its cells as input `m`."""
        pair = self.pair if m is None else unwrap(self.pair)
        dy = np.zeros(self.y.shape, self.y.dtype if m is None else np.float64)
        if place is not None:
            dy[place] = 1
        needs = tuple(i in inputs for i in range(len(self.arrays)))
        grads: tuple[Any, ...] = quietly(pair.backward, np, self._saved(m), dy, needs, **self.geometry)
        return grads

    def _saved(self, m: int | None = None) -> Any:
        """What forward leaves for backward; in float64 with the numbers of its cells as input `m`."""
        if m not in self._left:
            pair = self.pair if m is None else unwrap(self.pair)
            arrays = self.arrays if m is None else self._instead(self._numbers(m))
            self._left[m] = quietly(pair.forward, np, *arrays, **self.geometry)[1]
        return self._left[m]

    def _transposed(self, i: int, place: Shape) -> HostArray:
        """The coefficients of dy in a cell of the gradient of input `i`: backward is linear in dy, so its gradient."""
        dy = wrap(np.zeros(self.y.shape, self.y.dtype)).requires_grad_()
        library, one = Library(np, apply, wrap, op_name(self.op)), np.zeros(self.arrays[i].shape, self.arrays[i].dtype)
        one[place] = 1
        needs, now = tuple(k == i for k in range(len(self.arrays))), context.get()
        try:
            context.set(Context())
            with using(READABLE):
                dx = self.pair.backward(library, self._saved(), library.box(dy), needs, **self.geometry)[i]
                depends = isinstance(dx, Boxed) and dx.tensor.requires_grad
                found = grad(dx.tensor, dy, wrap(one))[0] if depends else None
                column = np.zeros(self.y.shape) if found is None else found.array
        except GraphError:  # a user's own op may do what cannot be recorded
            if self.y.size > MOST_TRIED:
                raise
            column = np.full(self.y.shape, np.nan)
        finally:
            context.set(now)
        for j in np.argwhere(np.isnan(column))[:MOST_TRIED]:  # or 0 times the infinity that a `where` takes out
            column[tuple(j)] = self._slopes(tuple(j), (i,))[i][place]
        return column


_studies: WeakKeyDictionary[Frame, _Study] = WeakKeyDictionary()


def _study(frame: Frame) -> _Study:
    """What was found about a forward frame so far."""
    if frame not in _studies:
        _studies[frame] = _Study(frame)
    return _studies[frame]
