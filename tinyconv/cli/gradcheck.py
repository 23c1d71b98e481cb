"""`tinyconv gradcheck`."""

from __future__ import annotations

import json
import shlex
from ast import literal_eval
from dataclasses import asdict
from itertools import takewhile
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from tinyconv.cli.common import Json, load_named
from tinyconv.errors import ShapeError, TinyconvError, VariantError


def gradcheck(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of ops; or one op and its options; or an op of yours as MODULE:NAME or FILE.py:NAME. "
            "Without any, all ops are checked."
        ),
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="Cases to check for each op.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed for the random cases.")] = 0,
    with_torch: Annotated[
        bool, typer.Option("--torch", help="Compare with PyTorch too, which must be installed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check gradients against finite differences; exit code 1 when something is wrong.

    Without a name it checks all ops. `tinyconv gradcheck conv2d --stride 2 --padding 1,2` checks one op with options,
    and `tinyconv gradcheck mymodule:MyOp --beta 2.0` an op of your own, from the current folder.

    An op's options are written like those of the command: --padding same, --dim -1, --keepdim. Its inputs are random.
    """
    from tinyconv.check.blame import raised, users_line
    from tinyconv.check.own import OpArgumentError
    from tinyconv.check.pytorch import torch
    from tinyconv.testing.table import known

    names, options = _split_options(what or [])
    own = [name for name in names if ":" in name or "." in name]
    try:
        for name in names:
            if name not in own:
                known(name)
    except VariantError as error:
        raise typer.BadParameter(f"{error}; for an op of your own give MODULE:NAME") from None
    if options and len(names) != 1:
        raise typer.BadParameter(f"--{next(iter(options))} is an option of an op: name one op first, then its options")
    if own and with_torch:
        raise typer.BadParameter(
            f"--torch knows no counterpart of {own[0]} in PyTorch: use tinyconv.check.compare_with_torch in a test"
        )
    if own and len(names) > 1:
        raise typer.BadParameter(f"{own[0]} is an op of your own: check it alone")
    if with_torch:
        try:
            torch()
        except TinyconvError as error:
            raise typer.BadParameter(f"--torch: {error}") from None
    try:
        failed = (
            _gradcheck_own(own[0], what or [], cases, seed, options, as_json)
            if own
            else _gradcheck_public(names, cases, seed, options, with_torch, as_json)
        )
    except (OpArgumentError, ShapeError) as error:
        raise typer.BadParameter(str(error)) from None
    except Exception as error:
        if not own or not users_line(error):
            raise
        raise typer.BadParameter(raised(own[0], error)) from None
    if failed:
        raise typer.Exit(1)


def _gradcheck_public(
    names: list[str], cases: int, seed: int, options: dict[str, Any], with_torch: bool, as_json: bool
) -> bool:
    from tinyconv.testing.table import check_public, public_ops

    names = names or public_ops()
    stderr = Console(stderr=True)
    rows = []
    with Progress(console=stderr, transient=True, disable=as_json or not stderr.is_terminal) as progress:
        task = progress.add_task("", total=cases * len(names))
        for k, name in enumerate(names):
            progress.update(task, completed=cases * k, description=name)
            row = check_public(
                name,
                cases=cases,
                seed=seed,
                options=options,
                with_torch=with_torch,
                on_case=lambda: progress.advance(task),
            )
            rows.append(row)
            if as_json:
                print(json.dumps(asdict(row)), flush=True)
    failed = [row for row in rows if not row.ok]
    if as_json:
        return bool(failed)
    console = Console()
    table = Table()
    for name in ("op", "cases", "drawn", "worst error", *(["PyTorch"] if with_torch else [])):
        table.add_column(name, justify="left" if name == "op" else "right")
    table.add_column("verdict")
    for row in rows:
        if row.verdict != "no gradient":
            torch = [] if not with_torch else ["-" if row.torch_error is None else f"{row.torch_error:.2f}"]
            verdict = row.verdict if row.ok else f"[red]{row.verdict}[/red]"
            table.add_row(row.op, str(row.cases), str(row.tried), f"{row.error:.1e}", *torch, verdict)
    if table.row_count:
        console.print(table)
    without = [row.op for row in rows if row.verdict == "no gradient"]
    lines = [f"no gradient to check: {', '.join(without)}"] if without else []
    lines += [f"\n{row.message}" for row in failed]
    units = "errors are shares of the gradient, up to 1e-4 is allowed" + (
        "; PyTorch's are units in the last place, up to 64 are allowed" if with_torch else ""
    )
    if table.row_count:
        count = f"{table.row_count} op{'s' * (table.row_count > 1)}"
        lines.append(f"{len(failed)} of {count} failed" if failed else f"{count}, all right; {units}")
    console.print(escape("\n".join(lines)), highlight=False, soft_wrap=True)
    return bool(failed)


def _gradcheck_own(place: str, words: list[str], cases: int, seed: int, options: dict[str, Any], as_json: bool) -> bool:
    from tinyconv.check import check_op

    if "inputs" in options:
        raise typer.BadParameter(
            "the command line cannot take arrays; in Python, tinyconv.check.check_op(op, inputs=[...]) does"
        )
    report = check_op(load_named(place), cases=cases, seed=seed, raise_exception=False, **options)
    if as_json:
        for case, found in zip(report.cases, report.reports, strict=True):
            print(json.dumps({"op": report.name, "shapes": case.shapes, **asdict(found)}), flush=True)
    else:
        Console().print(escape(str(report)), highlight=False, soft_wrap=True)
        for case, _ in report.failures[:1]:
            shapes = str([np.shape(x) for x in case.inputs if x is not None])
            words = [*words, *([] if "shapes" in options else ["--shapes", shapes]), "--seed", str(case.seed)]
            print(f"or on the command line: tinyconv gradcheck {shlex.join(words)}")
    return not report.ok


def _split_options(words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """`conv2d --stride 2 --padding 1,2` -> (["conv2d"], {"stride": 2, "padding": (1, 2)})."""
    names = list(takewhile(lambda word: not word.startswith("--"), words))
    options: dict[str, Any] = {}
    rest = words[len(names) :]
    while rest:
        name, equals, value = rest.pop(0).removeprefix("--").partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("--") else "True"
        options[name.replace("-", "_")] = _literal(value)
        if rest and not rest[0].startswith("--"):
            raise typer.BadParameter(
                f"--{name} takes one value, got {value} and {rest[0]}; write a pair as {value},{rest[0]}"
            )
    return names, options


def _literal(text: str) -> Any:
    """A number, a tuple, True, None; anything else is a string."""
    try:
        return literal_eval({"true": "True", "false": "False", "none": "None"}.get(text, text))
    except (ValueError, SyntaxError):
        return text
