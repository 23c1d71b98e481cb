"""The command line: `tinyconv train | eval | predict | summary | maps | report | curves | gradcheck | bench | data`.

Exit codes: 0 success; 1 a wrong gradient; 1 bad input, data or checkpoint, with the reason on standard error; 2 wrong
usage; 130 stopped by Ctrl-C after saving (143 by SIGTERM).
"""

from __future__ import annotations

import sys
import warnings
from io import TextIOWrapper
from typing import Annotated, TextIO

try:
    import typer
    from rich.console import Console
    from rich.markup import escape
except ImportError as error:  # `import tinyconv` needs NumPy alone; the command line needs more
    raise SystemExit(f"the tinyconv command needs {error.name}: pip install 'tinyconv[train]'") from None


import tinyconv
from tinyconv.cli import bench, datasets, doctor, evaluate, gradcheck, look, train
from tinyconv.errors import TinyconvError

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(train.train)
app.command("eval")(evaluate.eval_)
app.command("predict")(evaluate.predict_)
for command in (look.summary, look.maps, look.report, look.curves):
    app.command()(command)
app.command(context_settings={"ignore_unknown_options": True})(gradcheck.gradcheck)
app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    bench.bench
)
data = typer.Typer(help="Fetch, list and verify datasets.", no_args_is_help=True)
data.command("fetch")(datasets.fetch)
data.command("list")(datasets.list_)
data.command("verify")(datasets.verify)
app.add_typer(data, name="data")
app.command()(doctor.doctor)


_SAID_WELL = (
    ValueError,
    FileNotFoundError,
    PermissionError,
)  # whose own words are enough; of others the place is shown


def main() -> None:
    """Run the command line; every error raised on purpose becomes one message and exit code 1."""
    if isinstance(sys.stdout, TextIOWrapper):  # a name that the console cannot show must not end a training
        sys.stdout.reconfigure(errors="backslashreplace")
    warnings.showwarning = _warn
    try:
        app()
    except (TinyconvError, ValueError, OSError, MemoryError) as error:
        if isinstance(error, MemoryError):
            error.add_note("there is not so much memory: `tinyconv summary` says where a model's parameters are")
        elif not isinstance(error, TinyconvError) and type(error) not in _SAID_WELL:
            raise
        said = "\n".join([str(error), *getattr(error, "__notes__", [])])
        Console(stderr=True).print(f"[red]error:[/red] {escape(said)}", highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """As a line of its own: where in a program it was raised means nothing here."""
    Console(stderr=True).print(f"[yellow]warning:[/yellow] {escape(str(message))}", highlight=False, soft_wrap=True)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"tinyconv {tinyconv.__version__}")
        raise typer.Exit
