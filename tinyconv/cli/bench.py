"""`tinyconv bench`: run the benchmarks of the checkout that this package lives in."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

import tinyconv

BENCHMARKS = Path(tinyconv.__file__).parents[1] / "benchmarks"


def bench(context: typer.Context) -> None:
    """Time ops and training steps beside other libraries. Needs a checkout of the repository."""
    if not (BENCHMARKS / "harness" / "command.py").is_file():
        raise FileNotFoundError(
            f"the benchmarks are not part of the installed package, and there are none in {BENCHMARKS}: clone the "
            "repository, run `pip install -e '.[train]'` in it, then `tinyconv bench` again"
        )
    sys.path.insert(0, str(BENCHMARKS))
    from harness.command import app  # type: ignore[import-not-found, unused-ignore]

    app(context.args, prog_name="tinyconv bench")  # ends the program, with an exit code of its own
