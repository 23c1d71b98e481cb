"""What was compared with PyTorch and how well it agreed, from the record of a run: a page of the site, or printed.

make oracle                                        # the run: an hour
make docs                                          # the page, and for each op what was found of it
python benchmarks/coverage.py                      # print the summary
python benchmarks/coverage.py --details            # print every op's table of argument classes
python benchmarks/coverage.py --details conv2d     # or those of some ops, optimisers and schedules
"""

import argparse

from tables import machine, record

from tinyconv.check.reference import ROUNDINGS, SECOND_ROUNDINGS

RECORD, JUDGES = "oracle-deep", "judges"
KINDS = {  # what was compared in each group, and the head of its column
    "ops": {"values": "value", "gradients": "gradients", "second": "second order"},
    "optimisers": {"parameters": "parameters"},
    "schedules": {"rates": "rates and momenta"},
}
INTRO = """\
# Coverage: what was compared with PyTorch

Every public op is asked random questions, and so is PyTorch: geometry first, then options, dtypes, memory layouts and
values, as the argument spaces in [tinyconv/testing/spaces](../tinyconv/testing/spaces) describe them. Outputs, every
gradient and, where there is one, every gradient of a gradient must agree. Dtypes, shapes, and the places of NaN and
infinities must be equal; numbers may differ by rounding.

{total:,} examples on {date}, profile `{profile}` (seed: {seed}), commit `{commit}`, PyTorch {torch},
Hypothesis {hypothesis}; {minutes:.0f} minutes on {machine}, {processes}. {verdict}

**Errors of ops** are the worst of all examples, in roundings: units in the last place of the magnitude of what is
compared ([tinyconv/check/reference.py](../tinyconv/check/reference.py) says which). Up to {roundings} are allowed, and
{second} for second order, which is measured against the largest number of all. *exact* means equal to the last bit; –
means that there was nothing of the kind to compare: integers have no gradient.

**An argument class** is a corner that an example lies in, such as "negative strides" or "depthwise". Most examples lie
in several, and count in each. [The page of an op](ops/index.md) has the same table for each of its classes.

`make oracle` compares everything again.
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
    """For each name in a group: its row of all examples, and its rows by argument class."""
    found = {}
    for row in rows:
        if row["group"] == group:
            found.setdefault(row["name"], {})[row["class"]] = row
    return {name: (classes.pop("all"), classes) for name, classes in found.items()}


def numbers(row, group):
    return [f"{row['examples']:,}", *(number(row["errors"].get(kind)) for kind in KINDS[group])]


def summary(rows, group):
    """A table with one row for each name."""
    return table(
        ["name", "argument classes", "examples", *KINDS[group].values()],
        [
            [f"`{name}`", str(len(classes)), *numbers(every, group)]
            for name, (every, classes) in by_name(rows, group).items()
        ],
    )


def details(found, names):
    """For each of the names, or for all, a table with one row for each argument class."""
    parts = {}
    for group, kinds in KINDS.items():
        for name, (every, classes) in by_name(found["rows"], group).items():
            if names and name not in names:
                continue
            of_classes = table(
                ["argument class", "dtypes", "examples", *kinds.values()],
                [
                    [argument_class, " ".join(row["dtypes"]), *numbers(row, group)]
                    for argument_class, row in sorted(classes.items())
                ],
            )
            parts[name] = f"## `{name}`: {every['examples']:,} examples by argument class\n\n{of_classes}"
    unknown = [name for name in names if name not in parts]
    if unknown:
        known = dict.fromkeys(row["name"] for row in found["rows"])
        raise SystemExit(f"{', '.join(unknown)}: not in the record, which has {', '.join(known)}")
    return "\n\n".join(parts[name] for name in names or parts)


def judge(found, what, of="ops"):
    """The answers to one of the judges who ask their own questions: `what` they ask, and `of` which things."""
    passed, reasons = found["passed"], found["out_of_scope"]
    of_dtypes = ", ".join(f"{count:,} of {dtype}" for dtype, count in passed.items())
    faults = "".join(f"\n* **wrong**: {fault}" for fault in found["faults"])
    answered = f"{sum(passed.values()):,} {what} of {found['ops']} {of} are answered correctly ({of_dtypes}). "
    if not reasons:
        return f"{answered}None is out of scope.{faults}"
    out = table(["out of scope", what], [[reason, f"{count:,}"] for reason, count in reasons.items()])
    scope = f"{sum(reasons.values()):,} are out of scope, each by a rule that looks at the question alone."
    return f"{answered}{scope}{faults}\n\n{out}"


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
        summary(rows, "ops"),
        "## Optimisers and schedules",
        "Every optimiser takes fifty steps in float64, without a schedule and under each, from the same start and down "
        "the same noisy bowl as PyTorch's: on a grid of options, and with options that Hypothesis draws. An error is a "
        "share of the largest value that the parameter (the rate, the momentum) has had. On the grid 1e-10 is allowed, "
        "with drawn options 1e-6 (some make the steps chaotic), and for rates and momenta 1e-12. An option that is not "
        "the default is an argument class.",
        summary(rows, "optimisers"),
        summary(rows, "schedules"),
        "## Questions that others wrote",
        f"PyTorch {judges['versions']['torch']} tests its own operators, layers and optimisers on samples, and ONNX "
        f"{judges['versions']['onnx']} has cases with answers for those who run its graphs. They are put to what we "
        "share ([tests/judges](../tests/judges)), and values and dtypes are compared; with PyTorch's samples of "
        "operators and layers, gradients too; of optimisers, the weights after ten steps. "
        f"Commit `{judges['commit']}`; `python benchmarks/judges.py` asks them again.",
        "### PyTorch's operators: `op_db`",
        judge(judges["torch"], "samples"),
        "### PyTorch's layers: `module_db`",
        judge(judges["layers"], "uses", "layers"),
        "### PyTorch's optimisers: `optim_db`",
        judge(judges["optimisers"], "sets of options", "optimisers"),
        "### ONNX's node cases",
        judge(judges["onnx"], "cases"),
        "## Differences by decision",
        "The argument spaces leave out what we and PyTorch do differently on purpose: "
        "[function by function](from_pytorch.md#where-single-functions-differ), and "
        "[what belongs to none](architecture.md#where-this-departs-from-pytorch).",
    ]
    return "\n\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description="Print how well we agree with PyTorch.")
    parser.add_argument("--details", nargs="*", metavar="NAME", help="print the tables of these names, or of all")
    names = parser.parse_args().details
    print(page(record(RECORD), record(JUDGES)) if names is None else details(record(RECORD), names))


if __name__ == "__main__":
    main()
