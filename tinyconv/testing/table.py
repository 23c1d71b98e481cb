"""Check every public op on many cases of its argument space: the rows of `tinyconv gradcheck`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from shlex import quote
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv.check.draw import RandomDraw
from tinyconv.check.numeric import Report, Verdict, gradcheck
from tinyconv.check.own import OpArgumentError, seed_of
from tinyconv.check.reference import Disagreement, Vacuous, compare_with_torch
from tinyconv.errors import TinyconvError, VariantError, shortened
from tinyconv.testing import spaces as spaces  # fills SPACES
from tinyconv.testing.case import SPACES, Case, draw_case, find

TRIES = 40  # draws for each case that is wanted: some have kinks, some do not take the given options

CUTS = frozenset({"detach"})  # ops whose gradient is not the derivative, on purpose
STEPS = frozenset({"ceil", "floor", "floor_divide", "round", "sign", "trunc"})
"""Ops whose gradient is 0 wherever there is one: where that is found, no size is left to compare."""

INSTEAD = {"dim": "axis", "keepdim": "keepdims", "correction": "unbiased", "unbiased": "correction"}
"""Options that say the same as another one: where the one is given, the other is not drawn."""

LONG = 110  # characters of a line about a case


@dataclass
class Row:
    """What was found about one op: how many cases were drawn and checked, the worst error, and the first failure."""

    op: str
    cases: int = 0
    tried: int = 0
    skipped: dict[str, int] = field(default_factory=dict)  # how many drawn cases were not checked, by reason
    error: float = 0.0
    verdict: Verdict | str = "ok"
    message: str = ""
    torch_error: float | None = None  # in roundings; None where nothing was compared

    def skip(self, why: str) -> None:
        self.skipped[why] = self.skipped.get(why, 0) + 1

    @property
    def ok(self) -> bool:
        return self.verdict in ("ok", "no gradient")


def public_ops() -> list[str]:
    """The names that `check_public` takes: all ops with an argument space."""
    return sorted(SPACES)


def check_public(
    name: str,
    *,
    cases: int = 20,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    with_torch: bool = False,
    on_case: Callable[[], None] = lambda: None,
) -> Row:
    """Check a public op (`public_ops()` names them) on `cases` cases of its argument space.

    `options` replace the drawn ones; a case that the op then refuses is drawn again. Only cases without kinks and ties
    count, because differences need smooth functions. `with_torch` compares them with PyTorch too, in their own dtype
    and layout.
    """
    known(name)
    options = dict(options or {})
    refuse_unknown_options(name, options)
    row, refusal = Row(name), ""
    while row.cases < cases and row.tried < cases * TRIES and row.ok:
        at = seed_of(seed, row.tried)
        again = replay(name, options, at, with_torch)
        row.tried += 1
        case = draw_case(name, RandomDraw(at))
        if not all(map(case.takes, options)):
            row.skip("called without options")
            continue
        for option, value in options.items():
            case.options.pop(INSTEAD.get(option, ""), None)
            case.options[option] = value
        if not case.differentiable or not case.smooth:
            row.skip("not smooth" if case.differentiable else "no gradient")
            continue
        try:
            report = check_case(case, at)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if options and isinstance(error, TinyconvError | ValueError | IndexError | TypeError):
                row.skip("refused")
                refusal = f"{error}"
                if not row.cases and row.skipped["refused"] == TRIES:
                    break
            else:
                row.verdict, row.message = "raised", f"{name}: {reason}\n{drawn(case, again)}"
            continue
        if report.verdict in ("nothing to check", "kink or tie", "not finite") or (
            report.verdict == "float32" and "Cast" in report.ops  # the case asks for float32
        ):
            row.skip(report.verdict)
            continue
        row.cases += 1
        row.error = max(row.error, report.error)
        if not report.ok:
            row.verdict, row.message = report.verdict, f"{replace(report, name=name, replay=again)}\n{drawn(case)}"
        elif with_torch:
            compare(row, case, again)
        on_case()
    if refusal and not row.cases and row.skipped["refused"] >= TRIES // 2:
        raise OpArgumentError(refusal)
    if row.ok and not row.cases:
        if set(row.skipped) == {"no gradient"} or name in CUTS | STEPS:
            row.verdict = "no gradient"
        else:
            skipped = ", ".join(f"{count} {why}" for why, count in row.skipped.items())
            row.verdict = "nothing to check"
            row.message = f"{name}: none of {row.tried} drawn cases could be checked: {skipped}" + (
                f"\nthe last was refused with {refusal}" if refusal else ""
            )
    return row


def check_case(case: Case, seed: int = 0) -> Report:
    """Run `gradcheck` on a drawn case, cast to float64."""
    needs = range(len(case.inputs)) if case.needs is None else case.needs
    inputs = [
        tc.tensor(np.asarray(x, np.float64), requires_grad=i in needs) if x.dtype.kind == "f" else tc.tensor(x)
        for i, x in enumerate(case.inputs)
    ]
    return gradcheck(
        case.function(),
        inputs,
        seed=seed,
        raise_exception=False,
    )


def compare(row: Row, case: Case, again: str) -> None:
    """Compare the case, as it was drawn, with PyTorch, and note the result in the row."""
    try:
        agreement = compare_with_torch(
            case.function(), case.torch_function(), case.inputs, needs=case.needs, magnitude=case.magnitude
        )
        row.torch_error = max(row.torch_error or 0.0, agreement.values, agreement.gradients or 0.0)
    except Disagreement as error:
        row.verdict, row.message = "differs from PyTorch", f"{row.op}: {error}\n{drawn(case, again)}"
    except Vacuous:
        row.skip("nothing to compare")


def replay(name: str, options: Mapping[str, Any], seed: int, with_torch: bool) -> str:
    """The command that draws one case again."""
    words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    return " ".join(
        ["tinyconv gradcheck", name, *map(quote, words), f"--seed {seed} --cases 1", *["--torch"] * with_torch]
    )


def drawn(case: Case, again: str = "") -> str:
    """The case in a few short lines, and the command that draws it again."""
    lines = [line if len(line) <= LONG else f"{line[:LONG]} ..." for line in repr(case).splitlines()]
    return "\n".join([f"drawn: {lines[0]}", *lines[1:], *([f"to replay it: {again}"] if again else [])])


def known(name: str) -> None:
    """Raise VariantError for a name that no public op has, with the names that are like it."""
    names = public_ops()
    if name not in names:
        near = get_close_matches(name, names, n=4, cutoff=0.5)
        raise VariantError(
            f"no op {shortened(name)}"
            + (f"; did you mean {', '.join(near)}?" if near else ", and none with a similar name")
        )


def options_of(name: str) -> list[str]:
    """The options of a public op: the arguments of its function, without tensors, other operands and indices."""
    known(name)
    function = find(tc, draw_case(name, RandomDraw(0)).call)
    if not callable(function) or name.startswith("__"):  # a property, or an operator
        return []
    return [
        p.name
        for p in inspect.signature(function).parameters.values()
        if not any(kind in str(p.annotation) for kind in ("Tensor", "Operand", "Index", "object"))
        and p.name not in ("self", "inplace")
        and p.kind != p.VAR_POSITIONAL
    ]


def refuse_unknown_options(name: str, options: Mapping[str, Any]) -> None:
    if options:
        has = options_of(name)
        unknown = [key for key in options if key not in has]
        if unknown:
            raise OpArgumentError(
                f"{name} has no option {', '.join(unknown)}; it has {', '.join(has) if has else 'none'}"
            )
