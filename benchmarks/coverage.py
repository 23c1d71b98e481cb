"""Write docs/coverage.md, what was compared with PyTorch and how well it agreed, from the record of a run.

make oracle                        # the run and the page; an hour
python benchmarks/coverage.py      # the page alone
"""

from tables import HERE, machine, record

from tinyconv.check.reference import ROUNDINGS, SECOND_ROUNDINGS
from tinyconv.testing.decisions import DECISIONS

RECORD, JUDGES = "oracle-deep", "judges"
PAGE = HERE.parent / "docs" / "coverage.md"
KINDS = {  # of what was compared, by group: the heads of columns
    "ops": {"values": "value", "gradients": "gradients", "second": "second order"},
    "optimisers": {"parameters": "parameters"},
    "schedules": {"rates": "rates and momenta"},
}
INTRO = """\
# Coverage: what was compared with PyTorch

<!-- Written by benchmarks/coverage.py. Do not edit. -->

Every public op is asked random questions, and so is PyTorch: geometry first, then options, dtypes, memory layouts and
values, as the argument spaces in [tinyconv/check/spaces](../tinyconv/check/spaces) describe them. Outputs, every
gradient and, where offered, every gradient of a gradient have to agree. Dtypes, shapes, and where NaN and infinities
are, have to be equal; the numbers may differ by rounding.

{total:,} examples on {date}, profile `{profile}` (seed: {seed}), commit `{commit}`, PyTorch {torch},
Hypothesis {hypothesis}; {minutes:.0f} minutes on {machine}, {processes}. {verdict}

**Errors of ops** are the worst of all examples, in roundings: units in the last place of the magnitude of what is
compared ([tinyconv/check/reference.py](../tinyconv/check/reference.py) says which). Up to {roundings} are allowed, and
{second} for second order, which is measured against the largest number of all. *exact* means equal to the last bit, –
that there was nothing of the kind to compare: integers have no gradient.

**An argument class** is a corner that an example was in: most are in several, and count in each. The dtypes listed are
those of the inputs; dtypes of outputs and of gradients are compared in every example.

`make oracle` runs it again.
"""


def number(error):
    """An error in a few characters."""
    if error is None:
        return "–"
    if error == 0:
        return "exact"
    return f"{error:.0e}" if error < 0.01 else f"{error:.2g}" if error < 100 else f"{error:.0f}"


def table(heads, rows):
    lines = [heads, [":--", *["--:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_name(rows, group):
    """Of each name in a group: its row of all examples, and those of its argument classes."""
    found = {}
    for row in rows:
        if row["group"] == group:
            found.setdefault(row["name"], {})[row["class"]] = row
    return {name: (classes.pop("all"), classes) for name, classes in found.items()}


def numbers(row, group):
    return [f"{row['examples']:,}", *(number(row["errors"].get(kind)) for kind in KINDS[group])]


def section(rows, group):
    """A table of one row a name, and then, folded, a table of one row an argument class for each."""
    heads, found = list(KINDS[group].values()), by_name(rows, group)
    parts = [
        table(
            ["name", "argument classes", "examples", *heads],
            [[f"`{name}`", str(len(classes)), *numbers(every, group)] for name, (every, classes) in found.items()],
        )
    ]
    for name, (every, classes) in found.items():
        of_classes = table(
            ["argument class", "dtypes", "examples", *heads],
            [
                [argument_class, " ".join(row["dtypes"]), *numbers(row, group)]
                for argument_class, row in sorted(classes.items())
            ],
        )
        summary = f"<summary><code>{name}</code>: {every['examples']:,} examples by argument class</summary>"
        parts.append(f"<details>\n{summary}\n\n{of_classes}\n\n</details>")
    return "\n\n".join(parts)


def decisions():
    lines = [f"* `{name}`: {'; '.join(reasons)}" for name, reasons in sorted(DECISIONS.items())]
    return "\n".join(lines)


def judge(found, what):
    """One of the judges that asked their own questions."""
    passed, reasons = found["passed"], found["out_of_scope"]
    of_dtypes = ", ".join(f"{count:,} of {dtype}" for dtype, count in passed.items())
    faults = "".join(f"\n* **wrong**: {fault}" for fault in found["faults"])
    out = table(["out of scope", what], [[reason, f"{count:,}"] for reason, count in reasons.items()])
    return (
        f"{sum(passed.values()):,} {what} of {found['ops']} ops are answered rightly ({of_dtypes}); "
        f"{sum(reasons.values()):,} are out of scope, each by a rule that looks at the question alone.{faults}\n\n"
        f"<details>\n<summary>What is out of scope, and why</summary>\n\n{out}\n\n</details>"
    )


def verdict(found):
    failures = found["failures"]
    if not failures:
        return "There was no disagreement."
    listed = "\n".join(f"* `{name}`: {message.splitlines()[0]}" for name, message in failures.items())
    count = "was one disagreement" if len(failures) == 1 else f"were {len(failures)} disagreements"
    return f"**There {count}**:\n\n{listed}"


def page(found, judges):
    """The page, from the records of the run and of the judges."""
    processes = found["processes"]
    intro = INTRO.format(
        total=found["examples"],
        **{key: found[key] for key in ("date", "profile", "seed", "commit")},
        **found["versions"],
        minutes=found["seconds"] / 60,
        machine=machine(found),
        processes=f"{processes} processes" if processes > 1 else "one process",
        verdict=verdict(found),
        roundings=ROUNDINGS,
        second=SECOND_ROUNDINGS,
    )
    rows = found["rows"]
    parts = [
        intro.rstrip(),
        "## Ops",
        section(rows, "ops"),
        "## Optimisers and schedules",
        "Fifty steps of every optimiser, under every schedule and none, in float64, from the same start and down the "
        "same noisy bowl as PyTorch's: on a grid of options, and wherever Hypothesis went. Errors are parts of the "
        "largest value that a parameter (a rate, a momentum) has had; 1e-10 are allowed on the grid, 1e-6 of options "
        "drawn (some make the steps chaotic), and 1e-12 of rates and momenta. An option is an argument class where it "
        "was not the default.",
        section(rows, "optimisers"),
        section(rows, "schedules"),
        "## Questions that others wrote",
        f"PyTorch {judges['versions']['torch']} tests its own operators on samples, and ONNX "
        f"{judges['versions']['onnx']} has cases with their answers for those who run its graphs. Both are asked of "
        "the ops that we share ([tests/judges](../tests/judges)): values, dtypes and, of PyTorch's, gradients. Commit "
        f"`{judges['commit']}`; `python benchmarks/judges.py` asks them again.",
        "### PyTorch's operator database",
        judge(judges["torch"], "samples"),
        "### ONNX's node cases",
        judge(judges["onnx"], "cases"),
        "## Differences by decision",
        "What is left out of the argument spaces, since we and PyTorch differ there on purpose "
        "([docs/architecture.md](architecture.md) has those that are not of one op):",
        decisions(),
    ]
    return "\n\n".join(parts) + "\n"


def main():
    PAGE.write_text(page(record(RECORD), record(JUDGES)), encoding="utf-8")


if __name__ == "__main__":
    main()
