"""`tinyconv bench`: run the benchmarks of the checkout that this package lives in."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

import tinyconv

BENCHMARKS = Path(tinyconv.__file__).parents[1] / "benchmarks"


def bench(context: typer.Context) -> None:
    """Measure, beside other libraries where they are installed. Needs a checkout: `tinyconv bench --help`."""
    if not (BENCHMARKS / "harness" / "command.py").is_file():
        raise FileNotFoundError(
            f"the benchmarks are not part of the package: clone the repository, `pip install -e .` there, and run "
            f"`tinyconv bench` again (looked in {BENCHMARKS})"
        )
    sys.path.insert(0, str(BENCHMARKS))
    from harness.command import app

    app(context.args, prog_name="tinyconv bench", standalone_mode=False)
