"""What both outside judges share: rules for what is out of scope, and the tally of answers.

Others wrote the questions, so nobody here chose the easy ones. A question is answered correctly, or a rule says, by
looking at the question alone, why we do not answer it. Rules are held to what they say: a correct answer to a question
that is out of scope is a fault of the rule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tinyconv.check.reference import Disagreement
from tinyconv.errors import TinyconvError

REFUSED = (TinyconvError, TypeError)  # TypeError: Python's own, of an argument that our function does not have
DIFFERS = (Disagreement,)
NOT_ASKED: tuple[type[Exception], ...] = ()


class Question(Protocol):
    """A question to one op. Its str names it in messages."""

    op: str
    dtype: str


@dataclass(frozen=True, eq=False)
class Rule:
    """The reason why questions to `ops` (or to all, if none are named) are out of scope where `applies` is true.

    `outcome` is what asking all the same leads to: we refuse, or the answer differs, or, of chance, nothing is certain.
    """

    reason: str
    applies: Callable[[Any], bool]
    ops: Collection[str] = ()
    outcome: tuple[type[Exception], ...] = REFUSED

    def covers(self, question: Question) -> bool:
        return (not self.ops or question.op in self.ops) and self.applies(question)


@dataclass
class Tally:
    """How one op answers the questions of one dtype."""

    op: str
    dtype: str
    passed: int = 0
    out_of_scope: Counter[str] = field(default_factory=Counter)  # by reason
    faults: list[str] = field(default_factory=list)

    def ask(self, question: Question, compare: Callable[[], object], rules: Sequence[Rule]) -> None:
        """Ask and count one question. `compare` asks it, and raises Disagreement where our answer is wrong."""
        rule = next((rule for rule in rules if rule.covers(question)), None)
        if rule is None:
            try:
                compare()
            except Disagreement as error:
                self.faults.append(f"{question}: {error}")
            else:
                self.passed += 1
            return
        self.out_of_scope[rule.reason] += 1
        if rule.outcome is NOT_ASKED:
            return
        try:
            compare()
        except rule.outcome:
            return
        self.faults.append(f"{question}: is answered rightly, so it is not out of scope: {rule.reason}")


def unused(rules: Sequence[Rule], tallies: Sequence[Tally]) -> list[str]:
    """The reasons of rules that apply to no question."""
    met: Counter[str] = sum((tally.out_of_scope for tally in tallies), Counter())
    return [rule.reason for rule in rules if rule.reason not in met]


def rows(tallies: Sequence[Tally]) -> list[dict[str, Any]]:
    """A row for each tally: op, dtype, the number that pass, and the numbers out of scope, by reason."""
    return [
        {"op": tally.op, "dtype": tally.dtype, "passed": tally.passed, "out_of_scope": dict(tally.out_of_scope)}
        for tally in tallies
    ]
