"""Gradients against finite differences: the check that needs no second implementation.

    gradcheck(lambda x, w: tc.functional.conv2d(x, w, padding=1), [x, w])

A gradient g of a function f claims that moving the input by h u changes <dy, f> by h <g, u>. So move it, by h forwards
and by h backwards, and look. Everything is float64; dy and u are random and dense, no element of them near 0, so that
an error in one element of ten thousand shows in every direction.

How large h, and how much may the two differ? The central difference (f(x + h u) - f(x - h u)) / 2h is off by about
h^2 f''' / 6 because f is curved, and by about 2^-52 |f| / h because f is rounded. With h = 1e-6 times the size of x
these are 1e-12 and 1e-10 of the result for a function without large numbers in it. A mistake is hardly ever smaller
than 1e-4 of the gradient, and so there is room between the two: `rtol` = 1e-4 of the root mean square of g for *all*
elements of a direction together, plus ROUNDINGS roundings of the outputs over h.

Where f has a kink (relu at 0) or a tie (the maximum of equals) within h, differences prove nothing. There the forward
and the backward difference disagree. If they do, h is made smaller, up to a hundred times, until they agree; a
disagreement that stays is a kink at x, one that grows is noise, and neither is passed nor called a wrong gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

import tinyconv as tc
from tinyconv.check.blame import raised
from tinyconv.check.draw import arrange
from tinyconv.engine.nodes import OpNode
from tinyconv.engine.variants import op_name
from tinyconv.errors import TinyconvError, shortened

ROUNDINGS = 64
SHRINK = (1.0, 0.1, 0.01)  # of the step, until the one-sided differences agree
FEW = 32  # elements that are looked at one by one to find the worst

Array = np.ndarray[Any, Any]
Mode: TypeAlias = Literal["directions", "jacobian"]
Outputs: TypeAlias = tc.Tensor | Sequence[tc.Tensor | None] | None  # None is refused, but tc.grad has it in its type
Verdict: TypeAlias = Literal[
    "ok",
    "wrong gradient",
    "kink or tie",  # suspected, because the one-sided derivatives differ
    "noise",  # the values jump by more than float64 rounds, so differences say nothing
    "nothing to check",
    "not finite",
    "not deterministic",
    "float32",  # something on the way computes in it
    "broken contract",  # an input written to, a backward that is not linear, ...
]


class GradcheckError(TinyconvError, AssertionError):
    """Raised where a gradient is wrong, or where nothing is known about it. `report` says which, and where."""

    def __init__(self, report: Report, message: str | None = None) -> None:
        super().__init__(message or str(report))
        self.report = report


@dataclass(frozen=True)
class Worst:
    """The element of an input where the analytic and the numeric gradient differ most."""

    input: str  # "input 0", or the name of a parameter
    index: tuple[int, ...]
    value: float  # the input's value there
    analytic: float
    numeric: float
    output: tuple[int, ...] | None = None  # in mode "jacobian": the number of the output, then the index in it


@dataclass(frozen=True, repr=False)
class Report:
    """What `gradcheck` found. It is true where the verdict is "ok", and prints as a few lines for the user."""

    name: str  # the function's
    verdict: Verdict
    message: str = ""
    ops: tuple[str, ...] = ()  # the ops on the tape, in order
    error: float = 0.0  # the largest |analytic - numeric| as a share of the gradient; up to `rtol` is allowed
    evaluations: int = 0
    unmoved: tuple[str, ...] = ()  # inputs on which, by both gradients, no output depends
    worst: Worst | None = None
    seed: int = 0
    replay: str = ""  # the call that checks this again, where the inputs were drawn and not given

    @property
    def ok(self) -> bool:
        """Whether the verdict is "ok"."""
        return self.verdict == "ok"

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if self.ok:
            unmoved = f"; no effect: {', '.join(self.unmoved)}" if self.unmoved else ""
            return f"{self.name}: ok, worst error {self.error:.1e} after {self.evaluations} evaluations{unmoved}"
        lines = [f"{self.name}: {self.verdict}", *self.message.splitlines()]
        if len(self.ops) > 1 or (self.ops and self.ops[0] != self.name):
            lines.append(f"ops on the tape: {', '.join(self.ops)}")
        if self.worst or self.replay:
            lines.append(f"to replay it: {self.replay or f'the same inputs, seed={self.seed}'}")
        return "\n  ".join(lines)

    __repr__ = __str__


class _Projection:
    """The numbers of outputs that are compared: the product of all with `dys`, or without `dys` every element."""

    def __init__(self, dys: list[Array] | None = None) -> None:
        self.dys = dys

    def __call__(self, arrays: list[Array]) -> Array:
        if self.dys is None:
            return np.concatenate([array.ravel() for array in arrays])
        return np.array([sum(float((dy * array).sum()) for dy, array in zip(self.dys, arrays, strict=True))])

    def size(self, arrays: list[Array]) -> Array:
        """The size that roundings of the outputs scale with: not a sum, because roundings have random signs."""
        if self.dys is None:
            return abs(self(arrays))
        return np.array([np.sqrt(sum(float(((dy * y) ** 2).sum()) for dy, y in zip(self.dys, arrays, strict=True)))])


class Finding(Exception):
    """Raised to end a check that does not pass."""

    def __init__(self, verdict: Verdict, message: str, worst: Worst | None = None) -> None:
        super().__init__(message)
        self.verdict, self.message, self.worst = verdict, message, worst


def gradcheck(
    fn: Callable[..., Outputs],
    inputs: tc.Tensor | Array | Sequence[object],
    *,
    eps: float = 1e-6,
    atol: float | None = None,
    rtol: float = 1e-4,
    mode: Mode = "directions",
    directions: int = 3,
    seed: int = 0,
    raise_exception: bool = True,
) -> Report:
    """Check in float64 that the gradients of `fn` at `inputs` are its derivatives. Like `torch.autograd.gradcheck`.

        gradcheck(lambda x, w: tc.functional.conv2d(x, w, padding=1), [x, w])

    It also checks that `fn` writes to no input and gives the same twice; that backward is linear in dy, takes dy of any
    strides, does not write to it, and gives the same twice; and that nothing goes through float32. A check that says
    nothing does not pass: outputs that do not depend on the inputs, empty outputs, infinities, kinks and ties have
    verdicts of their own. The module's docstring has the method, and the reasons for the defaults.

    Args:
        fn: Takes tensors and returns one or several; outputs that require no gradient are left out. A Module is copied
            to float64, and its parameters are checked too.
        inputs: Arrays or tensors of any shapes, or a single one. Those of floating point are copied to float64;
            anything else is passed on as it is. Tensors that require grad are checked; if there are none, all inputs
            of floating point are.
        eps: The step, as a share of the size (the root mean square) of the input that is moved.
        atol: How much a directional derivative may be off besides `rtol`. None allows what the rounding of the outputs
            makes of a difference.
        rtol: How much a directional derivative may be off, as a share of the root mean square of the gradient.
        mode: "directions" moves all elements of an input at once along random directions, which takes as long for a
            million elements as for ten. "jacobian" moves each element alone and compares each element of the outputs.
        directions: The number of directions, at least 2.
        seed: Seed for the directions, and for the gradients dy that are sent back.
        raise_exception: False returns the report of a check that fails, too.

    Raises GradcheckError, an AssertionError, unless the verdict is "ok"; TypeError where `fn` is not a function of
    tensors or returns anything else; ValueError for an option that is out of range.
    """
    _require_function(fn)
    if mode not in ("directions", "jacobian"):
        raise ValueError(f"gradcheck: mode must be 'directions' or 'jacobian', got {shortened(mode)}")
    if directions < 2:
        raise ValueError(f"gradcheck: at least 2 directions are needed, got {directions}")
    if not (eps > 0 and rtol > 0 and (atol is None or atol >= 0)):
        raise ValueError(f"gradcheck: eps and rtol must be above 0, atol at least 0; got {eps=}, {rtol=}, {atol=}")
    check = _Check(fn, inputs, eps, atol, rtol, np.random.default_rng(seed))
    verdict, message, worst = "ok", "", None
    try:
        check.run(mode, directions)
    except Finding as found:
        verdict, message, worst = found.verdict, found.message, found.worst
    report = Report(
        name_of(fn),
        verdict,  # type: ignore[arg-type]
        message,
        tuple(check.ops),
        check.error,
        check.evaluations,
        tuple(check.unmoved) if verdict == "ok" else (),
        worst,
        seed,
    )
    if raise_exception and not report.ok:
        raise GradcheckError(report)
    return report


def name_of(fn: Any) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def is_op(op: Any) -> bool:
    return callable(getattr(op, "forward", None)) and callable(getattr(op, "backward", None))


def _require_function(fn: Any) -> None:
    if is_op(fn):
        name = op_name(fn) if isinstance(fn, type) else type(fn).__name__
        raise TypeError(
            f"gradcheck takes a function of tensors, and {name} is an op: use check_op({name}, inputs=[...])"
        )
    if isinstance(fn, str):
        raise TypeError(
            f"gradcheck takes a function of tensors, got the name {shortened(fn)}: give the function, as in "
            "tinyconv.functional.relu; or run `tinyconv gradcheck NAME`, which draws the inputs, as check_op does for "
            "ops of your own"
        )
    if not callable(fn) or isinstance(fn, type):
        hint = "; give an instance of it" if isinstance(fn, type) else ""
        raise TypeError(f"gradcheck takes a function of tensors, or a module, got {shortened(fn)}{hint}")


@dataclass
class _Look:
    """One direction, with steps made smaller until the one-sided differences agree. One entry for each projection."""

    analytic: Array
    numeric: Array  # with the last step
    jump: Array  # |forward difference - backward difference|
    tolerance: Array
    growth: Array  # of the jump, in the last shrinking of the step by ten
    erratic: Array  # the differences change with the step as they do where values jump
    error: Array  # |analytic - numeric| / tolerance, the worst of the steps
    visible: bool  # something here is larger than rounding

    def verdicts(self) -> Array:
        """The verdict on each projection."""
        verdicts = np.where(self.error <= 1, "ok", "wrong gradient").astype(object)
        verdicts[(self.jump > self.tolerance) & (self.growth > 0.5)] = "kink or tie"  # a curve's shrinks tenfold
        verdicts[self.erratic] = "noise"
        verdicts[~np.isfinite(self.numeric)] = "not finite"
        return verdicts


@dataclass
class _Check:
    fn: Callable[..., Any]
    inputs: Any
    eps: float
    atol: float | None
    rtol: float
    rng: np.random.Generator
    ops: list[str] = field(default_factory=list)
    error: float = 0.0
    evaluations: int = 0
    unmoved: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        given = list(self.inputs) if isinstance(self.inputs, Sequence) else [self.inputs]
        for i, value in enumerate(given):
            if type(value).__module__.partition(".")[0] == "torch":
                raise TypeError(
                    f"gradcheck: input {i} is a torch.{type(value).__name__}; give an array: x.detach().numpy()"
                )
        self.values = [_float64(value) for value in given]
        floats = [i for i, value in enumerate(self.values) if _is_float(value)]
        asked = [i for i in floats if isinstance(given[i], tc.Tensor) and given[i].requires_grad]
        self.checked = asked or floats
        self.names = [f"input {i}" for i in range(len(given))]
        if isinstance(self.fn, tc.nn.Module):
            module = self.fn = deepcopy(self.fn).to(dtype=tc.float64)
            parameters = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
            self.parameters = [p for _, p in parameters]
            self.names += [name for name, _ in parameters]
            self.checked = [*self.checked, *range(len(given), len(self.names))]
            self.values += [p.array.copy() for p in self.parameters]
        else:
            self.parameters = []

    # Evaluations.

    def leaves(self) -> list[Any]:
        """Fresh tensors of the inputs, and the parameters with their values set."""
        own = len(self.values) - len(self.parameters)
        leaves = [
            tc.tensor(value, requires_grad=i in self.checked) if isinstance(value, np.ndarray) else value
            for i, value in enumerate(self.values[:own])
        ]
        with tc.no_grad():
            for parameter, value in zip(self.parameters, self.values[own:], strict=True):
                parameter.copy_(tc.tensor(value))
        return [*leaves, *self.parameters]

    def call(self, leaves: list[Any]) -> list[Any]:
        self.evaluations += 1
        outputs = self.fn(*leaves[: len(leaves) - len(self.parameters)])
        outputs = list(outputs) if isinstance(outputs, tuple | list) else [outputs]
        for i, y in enumerate(outputs):
            if not isinstance(y, tc.Tensor):
                raise TypeError(
                    f"gradcheck: {name_of(self.fn)} must return tensors; output {i} is a {type(y).__name__}"
                    + (": an array inside a function is not on the tape" if isinstance(y, np.ndarray) else "")
                )
        self.unwritten(leaves, "the function")
        return outputs

    def outputs(self) -> list[Array]:
        """The outputs that are compared, at the present values.

        The call is recorded although nobody goes back, because the function may take gradients itself.
        """
        outputs = self.call(self.leaves())
        return [outputs[i].array for i in self.recorded]

    def unwritten(self, leaves: list[Any], culprit: str) -> None:
        for name, leaf, value in zip(self.names, leaves, self.values, strict=True):
            if isinstance(value, np.ndarray) and leaf.array.tobytes() != value.tobytes():
                raise Finding("broken contract", f"{culprit} wrote to {name}; work on a copy: x = x.clone()")

    def gradients(self, dys: list[Array], twice: bool = False) -> list[Array]:
        """The gradients of <dys, outputs>; zeros for None."""
        leaves = self.leaves()
        outputs = self.call(leaves)
        wanted = [leaves[i] for i in self.checked]
        seeds = [tc.from_numpy(dy) for dy in dys]
        before = [dy.tobytes() for dy in dys]

        def walk(retain: bool) -> list[Any]:
            try:
                grads = tc.grad(
                    [outputs[i] for i in self.recorded], wanted, seeds, retain_graph=retain, allow_unused=True
                )
            except Exception as error:
                raise Finding("broken contract", raised("backward", error)) from error
            if [dy.tobytes() for dy in dys] != before:
                raise Finding("broken contract", "backward wrote to the gradient dy it was given; others hold it too")
            self.unwritten(leaves, "backward")
            return [np.zeros_like(x.array) if dx is None else dx.array for x, dx in zip(wanted, grads, strict=True)]

        found = walk(twice)
        if twice:
            for i, a, b in zip(self.checked, found, walk(False), strict=True):
                if not np.array_equal(a, b, equal_nan=True):
                    raise Finding(
                        "broken contract",
                        f"a second backward over the same graph gives another gradient of {self.names[i]}: backward "
                        "must not change what forward saved",
                    )
        return found

    # The check.

    def run(self, mode: Mode, directions: int) -> None:
        self.prepare()
        cotangents = [[self.dense(y.shape) for y in self.base] for _ in range(directions)]
        gradients = [self.gradients(dys, twice=k == 0) for k, dys in enumerate(cotangents)]
        for grads in gradients:
            for i, dx in zip(self.checked, grads, strict=True):
                self.look_at_gradient(self.names[i], dx)
        try:
            visible = self.compare_jacobian() if mode == "jacobian" else self.compare_directions(cotangents, gradients)
        except Finding as found:
            if found.verdict == "noise":
                self.look_for_float32([True] * len(self.checked), gradients)
            raise
        if not any(visible):
            if any(dx.any() for grads in gradients for dx in grads):
                reason = "the function is flat here: all gradients are smaller than what rounding makes of a difference"
            else:
                reason = (
                    "all gradients are 0, analytic and numeric: the outputs do not depend on the inputs, or not here"
                )
            raise Finding("nothing to check", f"{reason}; use other inputs")
        self.look_for_float32(visible, gradients)
        self.unmoved = [self.names[i] for i, seen in zip(self.checked, visible, strict=True) if not seen]
        self.check_backward(cotangents, gradients)

    def prepare(self) -> None:
        """Compute the outputs at the inputs, and see that there is something to check."""
        if not self.checked:
            others = "".join(f"; input {i} is {_described(value)}" for i, value in enumerate(self.values))
            raise Finding("nothing to check", f"no input is floating point, so none has a gradient{others}")
        for i in self.checked:
            if not np.isfinite(self.values[i]).all():
                raise Finding("not finite", f"{self.names[i]} holds infinities or NaN: there are no differences there")
        if not any(self.values[i].size for i in self.checked):
            raise Finding("nothing to check", "all inputs are empty")
        outputs = self.call(self.leaves())
        self.recorded = [i for i, y in enumerate(outputs) if y.requires_grad]
        if not self.recorded:
            raise Finding(
                "nothing to check",
                "no output requires a gradient: the function does not use its inputs, or leaves the tape (detach, "
                "no_grad, numpy, a comparison)",
            )
        self.ops = ops_on_tape([outputs[i] for i in self.recorded])
        self.base = [outputs[i].array for i in self.recorded]
        for i, y in zip(self.recorded, self.base, strict=True):
            if y.dtype != np.float64:
                raise Finding(
                    "float32",
                    f"output {i} is {y.dtype} although all inputs are float64: a constant or a parameter inside is "
                    f"{y.dtype}, or forward converts to it; in {y.dtype} differences are mostly rounding",
                )
            if not np.isfinite(y).all():
                where = _first(~np.isfinite(y))
                raise Finding(
                    "not finite", f"output {i} is {y[where]} at {list(where)}; use inputs where the function is finite"
                )
        if not any(y.size for y in self.base):
            raise Finding("nothing to check", "all outputs are empty")
        for i, y, again in zip(self.recorded, self.base, self.outputs(), strict=True):
            if not np.array_equal(y, again):
                raise Finding(
                    "not deterministic",
                    f"output {i} differs at the second call with the same inputs; if the function is random, call "
                    "tinyconv.manual_seed(0) inside it, or module.eval()",
                )
        self.steps = {i: self.eps * (_rms(self.values[i]) or 1.0) for i in self.checked}

    def look_at_gradient(self, name: str, dx: Array) -> None:
        if not np.isfinite(dx).all():
            where = _first(~np.isfinite(dx))
            raise Finding(
                "not finite", f"the gradient of {name} is {dx[where]} at {list(where)}, the outputs are finite"
            )

    def look_for_float32(self, visible: Sequence[bool], gradients: list[list[Array]]) -> None:
        """Refuse a gradient of which every element is a float32 number.

        dy is random, so a float64 that depends on it is a float32 number once in 2^29 times. What is left of numbers
        that cancel has few digits and may be one; that is why only a visible gradient counts.
        """
        for i, seen, dxs in zip(self.checked, visible, zip(*gradients, strict=True), strict=True):
            with np.errstate(over="ignore", under="ignore"):
                rounded = all(np.array_equal(dx, dx.astype(np.float32)) for dx in dxs)
            if seen and rounded and any(dx.any() for dx in dxs):
                raise Finding(
                    "float32",
                    f"every element of the gradient of {self.names[i]} is a float32 number: backward computes in it, "
                    "or does not use dy",
                )

    def compare_directions(self, cotangents: list[list[Array]], gradients: list[list[Array]]) -> list[bool]:
        visible = [False] * len(self.checked)
        for dys, grads in zip(cotangents, gradients, strict=True):
            project = _Projection(dys)
            for k, (i, dx) in enumerate(zip(self.checked, grads, strict=True)):
                if not dx.size:
                    continue
                scale = np.array([_rms(dx)])
                u = self.dense(dx.shape)
                look = self.look(i, u, dx.reshape(1, -1), project, scale)
                if look.verdicts()[0] != "ok":
                    self.locate(i, u, dx, project, scale, look)
                visible[k] |= look.visible
        return visible

    def compare_jacobian(self) -> list[bool]:
        sizes = [y.size for y in self.base]
        rows: list[list[Array]] = []  # the gradients of each element of the outputs
        for row in np.eye(sum(sizes)):
            parts = np.split(row, np.cumsum(sizes)[:-1])
            rows.append(self.gradients([part.reshape(y.shape) for part, y in zip(parts, self.base, strict=True)]))
        visible = [False] * len(self.checked)
        for k, i in enumerate(self.checked):
            jacobian = np.stack([grads[k].ravel() for grads in rows])
            scale = np.sqrt(np.mean(jacobian**2, axis=1)) if jacobian.size else np.zeros(len(jacobian))
            for index in np.ndindex(self.values[i].shape):
                u = np.zeros(self.values[i].shape)
                u[index] = 1
                look = self.look(i, u, jacobian, _Projection(), scale)
                visible[k] |= look.visible
                verdicts = look.verdicts()
                bad = np.flatnonzero(verdicts != "ok")
                if bad.size:
                    p = int(bad[np.argmax(look.error[bad])])
                    number = int(np.searchsorted(np.cumsum(sizes), p, side="right"))
                    inside = np.unravel_index(p - sum(sizes[:number]), self.base[number].shape)
                    self.fail(i, index, look, p, (self.recorded[number], *map(int, inside)))
        return visible

    def look(self, i: int, u: Array, jacobian: Array, project: _Projection, scale: Array) -> _Look:
        """Move input i along u: what the gradients (the rows of `jacobian`) predict, and what happens."""
        x, count = self.values[i], len(jacobian)
        analytic, numeric, jump, tolerance, growth = (np.full(count, np.nan) for _ in range(5))
        erratic, error, visible, active = np.zeros(count, bool), np.zeros(count), False, np.ones(count, bool)
        for shrink in SHRINK:
            h = self.steps[i] * shrink
            above, below = np.asarray(x + h * u), np.asarray(x - h * u)
            sides = []
            for self.values[i] in (above, below):
                sides.append(self.outputs())
            self.values[i] = x
            with np.errstate(all="ignore"):
                forward, backward = (
                    project([(a - b) / h for a, b in zip(*ends, strict=True)])
                    for ends in ((sides[0], self.base), (self.base, sides[1]))
                )
                central, jumped = (forward + backward) / 2, abs(forward - backward)
                # The outputs are rounded; and so is the moved input, which counts where the slope is 0 at x alone.
                rounding = (
                    ROUNDINGS
                    * 2.0**-52
                    * (project.size(self.base) / h + (abs(forward) + abs(backward)) / (self.eps * shrink))
                )
                slope = jacobian @ ((above - below) / (2 * h)).ravel()  # x + h u was rounded
                # In the tail of a distribution 1 - 1 cancels, in the analytic gradient or in the numeric one.
                least = ROUNDINGS * 2.0**-52 * project.size([np.ones_like(y) for y in self.base])
                rounding += least * (np.maximum(abs(slope), abs(central)) <= least)
                # The larger step was off by what the smaller one changes, which cannot exceed its sides' disagreement.
                change = abs(central - numeric)
                error[active] = np.fmax(error, (abs(analytic - numeric) - change) / tolerance)[active]
                erratic |= active & ((change > jump + tolerance) | (jumped > 4 * jump))
                for kept, new in (
                    (growth, jumped / jump),
                    (analytic, slope),
                    (numeric, central),
                    (jump, jumped),
                    (tolerance, (rounding if self.atol is None else self.atol) + self.rtol * scale),
                ):
                    kept[active] = new[active]
                visible |= bool((np.maximum(abs(analytic), abs(numeric)) > rounding)[active].any())
            active &= ~(jump <= tolerance)
            if not active.any():
                break
        with np.errstate(all="ignore"):
            error = np.fmax(error, abs(analytic - numeric) / tolerance)
        self.error = max(self.error, self.rtol * float(error[np.isfinite(error)].max(initial=0)))
        return _Look(analytic, numeric, jump, tolerance, growth, erratic, error, visible)

    def locate(self, i: int, u: Array, dx: Array, project: _Projection, scale: Array, look: _Look) -> None:
        """Halve the set of moved elements, keeping the worse half, then look at the last few one by one."""
        verdict = look.verdicts()[0]

        def badness(chosen: Array, weights: Array) -> tuple[float, _Look]:
            some = np.zeros(dx.size)
            some[chosen] = weights[chosen]
            seen = self.look(i, some.reshape(dx.shape), dx.reshape(1, -1), project, scale)
            measure = abs(seen.analytic - seen.numeric) if verdict == "wrong gradient" else seen.jump
            return float(np.nan_to_num(measure, nan=np.inf)[0]), seen

        candidates = np.arange(dx.size)
        while candidates.size > FEW:
            middle = candidates.size // 2
            candidates = max(candidates[:middle], candidates[middle:], key=lambda half: badness(half, u.ravel())[0])
        looks = [(*badness(np.array([c]), np.ones(dx.size)), int(c)) for c in candidates]
        _, worst, at = max(looks, key=lambda found: found[0])
        several = [found for _, found, _ in looks]
        self.fail(i, tuple(map(int, np.unravel_index(at, dx.shape))), worst, 0, None, verdict, several)

    def fail(
        self,
        i: int,
        index: tuple[int, ...],
        look: _Look,
        p: int,
        output: tuple[int, ...] | None,
        verdict: Verdict | None = None,
        several: Sequence[_Look] = (),
    ) -> None:
        verdict = verdict or look.verdicts()[p]
        analytic, numeric = float(look.analytic[p]), float(look.numeric[p])
        value = float(self.values[i][index])
        worst = Worst(self.names[i], index, value, analytic, numeric, output)
        of = f"output {output[0]} at {list(output[1:])}" if output else "<dy, y>, dy random"
        numbers = f"analytic {analytic:.8g}, numeric {numeric:.8g} (the derivative of {of})"
        place = f"{self.names[i]}, shape {self.values[i].shape}, at {list(index)}, where it is {value:.6g}"
        if verdict == "kink or tie":
            message = (
                f"suspected at {place}: the slopes on its two sides differ by {look.jump[p]:.3g}\n{numbers}\n"
                "differences prove nothing there: move the input away from it, or leave it out"
            )
        elif verdict == "noise":
            message = (
                f"the values jump by more than float64 rounds, at {place}\n{numbers}\n"
                "something inside computes in float32, subtracts large numbers, or is not continuous"
            )
        elif verdict == "not finite":
            message = f"the function is not finite next to {place}"
        else:
            hint = _hint(several or [look], p)
            message = f"{place}:\n{numbers}" + (f"\n{hint}" if hint else "")
        raise Finding(verdict, message, worst)

    def check_backward(self, cotangents: list[list[Array]], gradients: list[list[Array]]) -> None:
        """See that backward is linear in dy, and gives the same for dy of other strides."""
        for layout in ("sliced", "permuted", "reversed"):
            self.compare_gradients(
                self.gradients([arrange(dy, layout) for dy in cotangents[0]]),
                gradients[0],
                f"changes with the strides of dy ({layout}), at equal values; do not count on contiguous arrays",
            )
        mixed = self.gradients([np.asarray(2 * a - b) for a, b in zip(*cotangents[:2], strict=True)])
        expected = [2 * a - b for a, b in zip(*gradients[:2], strict=True)]
        self.compare_gradients(
            mixed, expected, "is not linear in dy: backward(2 a - b) is not 2 backward(a) - backward(b)"
        )

    def compare_gradients(self, found: list[Array], expected: list[Array], what: str) -> None:
        rounding = ROUNDINGS * 2.0**-52 * max(float(abs(y).max(initial=0)) for y in self.base)
        for i, a, b in zip(self.checked, found, expected, strict=True):
            if a.size and not (abs(a - b) <= self.rtol * _rms(b) + rounding / self.steps[i]).all():
                raise Finding("broken contract", f"the gradient of {self.names[i]} {what}")

    def dense(self, shape: tuple[int, ...]) -> Array:
        """Random numbers from 0.5 to 1.5 with random signs: none is near 0, where a mistake would not show."""
        return np.asarray(self.rng.choice([-1.0, 1.0], shape) * self.rng.uniform(0.5, 1.5, shape))


def ops_on_tape(outputs: Sequence[Any]) -> list[str]:
    """The names of the ops that computed the outputs, in order, each once."""
    nodes = {}
    pending = [y._node for y in outputs]
    while pending:
        node = pending.pop()
        if node is not None and node.order not in nodes:
            nodes[node.order] = node
            pending += node.parents
    return list(dict.fromkeys(op_name(nodes[k].op) for k in sorted(nodes) if isinstance(nodes[k], OpNode)))


def _float64(value: Any) -> Any:
    """Tensors, arrays and lists as an array in C order, floating point as float64; anything else as it is."""
    if isinstance(value, tc.Tensor):
        value = value.detach().cpu().array
    if isinstance(value, list):
        value = np.array(value)
    if not isinstance(value, np.ndarray):
        return np.float64(value).reshape(()) if isinstance(value, np.floating) else value
    return np.array(value, np.float64 if value.dtype.kind == "f" else value.dtype, order="C")


def _described(value: Any) -> str:
    """An input that has no gradient, and what to give instead."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}" + (": give x.astype(float)" if value.dtype.kind in "iu" else "")
    fix = f": give np.array({float(value)})" if isinstance(value, int | float) else ""
    return f"{shortened(value)}, of type {type(value).__name__}{fix}"


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _rms(array: Array) -> float:
    """The root mean square, also where squares overflow."""
    largest = float(abs(array).max(initial=0))
    return largest * float(np.sqrt(np.mean((array / largest) ** 2))) if largest else 0.0


def _first(mask: Array) -> tuple[int, ...]:
    return tuple(map(int, np.argwhere(mask)[0]))


def _hint(looks: Sequence[_Look], p: int) -> str:
    """What the numbers say about the mistake, where it is one of the usual ones."""
    wrong = [look for look in looks if look.verdicts()[p] != "ok"]
    if len(wrong) == 1 < len(looks):
        others = "element that was looked at is" if len(looks) == 2 else f"{len(looks) - 1} elements looked at are"
        return f"the other {others} right"
    analytic = np.array([look.analytic[p] for look in looks])
    numeric = np.array([look.numeric[p] for look in looks])
    if not analytic.any():
        return "analytic is 0: backward returns None for this input, or it is detached on the way"
    moved = abs(numeric) > 1e-3 * abs(numeric).max()
    if not moved.any():
        return ""
    ratio = analytic[moved] / numeric[moved]
    if np.allclose(ratio, ratio[0], rtol=1e-3):
        elements = f"in all {moved.sum()} elements looked at" if moved.sum() > 1 else "there"
        return f"analytic is {ratio[0]:.5g} times numeric {elements}"
    return "the factor between the two differs from element to element"
