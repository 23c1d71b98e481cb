"""The record of a run: how well we agree with PyTorch, by op and by argument class. benchmarks/coverage.py prints it.

    pytest tests/ops/test_ops_spaces.py tests/optim --hypothesis-profile=dev --record=record.json

A test adds every example to the `record` fixture. Under pytest-xdist (-n 2) each process counts its own, and the first
sums up.
"""

import json
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import settings

from tinyconv.host.environment import commit, environment

ALL = "all"
"""The argument class of every example."""


@dataclass
class Tally:
    """The examples of one argument class, and the worst error of each kind that was compared."""

    examples: int = 0
    dtypes: set[str] = field(default_factory=set)
    errors: dict[str, float] = field(default_factory=dict)

    def add(self, examples, dtypes, errors):
        self.examples += examples
        self.dtypes.update(dtypes)
        for kind, error in errors.items():
            self.errors[kind] = max(error, self.errors.get(kind, 0.0))


class Record:
    """Tallies by group ("ops", "optimisers", "schedules"), name and argument class."""

    def __init__(self):
        self.tallies = {}

    def add(self, group, name, classes, dtypes, errors):
        """Count one example that agrees in each of its classes. `errors` by kind; None where nothing was compared."""
        errors = {kind: error for kind, error in errors.items() if error is not None}
        for argument_class in {ALL, *classes}:
            self._tally(group, name, argument_class).add(1, dtypes, errors)

    def rows(self):
        """The tallies as plain dicts, for JSON, for another process, and for `merge`."""
        return [
            {
                "group": group, "name": name, "class": argument_class, "examples": tally.examples,
                "dtypes": sorted(tally.dtypes),
                "errors": {kind: float(f"{error:.3g}") for kind, error in sorted(tally.errors.items())},
            }
            for (group, name, argument_class), tally in sorted(self.tallies.items())
        ]  # fmt: skip

    def merge(self, rows):
        for row in rows:
            self._tally(row["group"], row["name"], row["class"]).add(row["examples"], row["dtypes"], row["errors"])

    def _tally(self, *key):
        return self.tallies.setdefault(key, Tally())


class Recorder:
    """The pytest plugin that writes the record at the end of a run, with every test that failed."""

    def __init__(self, config):
        self.config = config
        self.path = config.getoption("--record")
        self.record, self.failures, self.start = Record(), {}, time.monotonic()
        # Asked now and not at the end, because somebody may commit during the run.
        self.commit = commit() if self.path else None

    def pytest_runtest_logreport(self, report):
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.failures[report.nodeid] = crash.message if crash else str(report.longrepr)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        self.record.merge(getattr(node, "workeroutput", {}).get("rows", []))

    def pytest_sessionfinish(self):
        if hasattr(self.config, "workeroutput"):  # one of pytest-xdist's processes
            self.config.workeroutput["rows"] = self.record.rows()
        elif self.path:
            Path(self.path).write_text(self.json(), encoding="utf-8")

    def json(self):
        """The record as JSON with one line per row, so that two records can be compared by their lines."""
        rows = self.record.rows()
        seed = self.config.getoption("--hypothesis-seed")
        head = {
            "benchmark": "oracle",
            "profile": settings.get_current_profile_name(),
            "max_examples": settings().max_examples,
            "seed": "the same examples each time" if settings().derandomize else seed,
            "date": time.strftime("%Y-%m-%d"),
            "seconds": round(time.monotonic() - self.start),
            "processes": self.config.getoption("numprocesses", None) or 1,
            "commit": self.commit,
            "environment": environment(),
            "versions": {name: version(name) for name in ("torch", "hypothesis")},
            "examples": sum(row["examples"] for row in rows if row["class"] == ALL),
            "failures": self.failures,
        }
        lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        return json.dumps(head | {"rows": []}, indent=1).replace('"rows": []', f'"rows": [\n{lines}\n ]') + "\n"
