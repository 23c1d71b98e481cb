"""Train small networks, look into them, check gradients, and measure this library.

Exit codes: 0 success; 1 a wrong gradient, or bad input, data or checkpoint, with the reason on standard error; 2 wrong
usage; 130 stopped by Ctrl-C, after saving if a training was under way (143 by SIGTERM, 129 by a closed terminal).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Annotated, Any, TextIO

try:
    import typer
    from rich.console import Console
    from rich.markup import escape
except ImportError as error:  # `import tinyconv` needs NumPy alone; the command line needs more
    raise SystemExit(f"the tinyconv command needs {error.name}: pip install 'tinyconv[train]'") from None


import tinyconv
from tinyconv.cli import bench, datasets, doctor, evaluate, export, gradcheck, look, run, studio, train
from tinyconv.cli.common import LONGEST, complain, show_lines
from tinyconv.engine import kernels
from tinyconv.errors import TinyconvError, printable


def _help(text: str | None) -> str:
    """A docstring with each paragraph on one line: Typer keeps the line breaks of all paragraphs but the first."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n"))


_UsageError: Any = typer.BadParameter.__mro__[1]  # click's, which some versions of Typer keep within


class _Commands(typer.core.TyperGroup):
    """The commands; what they say of a wrong word does not quote all of it."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        with _said_shortly():
            return super().make_context(*args, **options)

    def invoke(self, *args: Any, **options: Any) -> Any:
        with _said_shortly():
            return super().invoke(*args, **options)


@contextmanager
def _said_shortly() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        error.message = printable(error.message, LONGEST)
        raise


def _add(group: typer.Typer, *functions: Callable[..., None], **options: Any) -> None:
    """Make commands of functions, each under its own name without the underscore of `eval_`."""
    for function in functions:
        group.command(function.__name__.rstrip("_"), help=_help(function.__doc__), **options)(function)


app = typer.Typer(
    cls=_Commands,
    help=_help(__doc__),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_add(app, train.train, evaluate.eval_, evaluate.predict_, export.export)
_add(app, look.summary, look.maps, look.report, look.curves)
_add(app, gradcheck.gradcheck, context_settings={"ignore_unknown_options": True})
_add(
    app,
    bench.bench,
    add_help_option=False,  # --help is that of the benchmarks
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
_add(
    app,
    run.run,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False},
)
data = typer.Typer(help="Fetch, list and verify datasets.", no_args_is_help=True)
_add(data, datasets.fetch, datasets.list_, datasets.verify)
app.add_typer(data, name="data")
_add(app, studio.studio, doctor.doctor)


def main() -> None:
    """Run the command line; every error raised on purpose becomes one message and exit code 1."""
    if isinstance(sys.stdout, TextIOWrapper):  # a name that the console cannot show must not end a training
        sys.stdout.reconfigure(errors="backslashreplace")
    warnings.showwarning, kernels.announce = _warn, _announce
    try:
        app()
    except KeyboardInterrupt:  # before the command has begun
        raise SystemExit(130) from None
    except (TinyconvError, ValueError, OSError, MemoryError) as error:
        if isinstance(error, MemoryError):
            error.add_note("memory ran out: `tinyconv summary` shows which layers of a model have the parameters")
        elif not isinstance(error, TinyconvError | OSError) and type(error) is not ValueError:
            raise
        show_lines(error)
        complain(error)
        raise SystemExit(1) from None


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line; the file and line that raised it mean nothing to a user of the command."""
    Console(stderr=True).print(f"[yellow]warning:[/yellow] {escape(str(message))}", highlight=False, soft_wrap=True)


def _announce(line: str) -> None:
    Console(stderr=True).print(escape(line), highlight=False, soft_wrap=True)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"tinyconv {tinyconv.__version__}")
        raise typer.Exit
