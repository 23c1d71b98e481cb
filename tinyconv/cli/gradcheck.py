"""`tinyconv gradcheck`."""

from __future__ import annotations

import json
import shlex
from ast import literal_eval
from dataclasses import asdict
from importlib.util import find_spec
from itertools import takewhile
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from tinyconv.cli.common import Json, load_named
from tinyconv.errors import ShapeError, VariantError


def gradcheck(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ops, or one and its options, or MODULE:NAME or FILE.py:NAME of an op of yours; all ops unless given."
        ),
    ] = None,
    cases: Annotated[int, typer.Option(min=1, help="How many to check of each op.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 0,
    with_torch: Annotated[bool, typer.Option("--torch", help="Compare with PyTorch too, which must be there.")] = False,
    as_json: Json = False,
) -> None:
    """Check gradients against finite differences; exit code 1 when something is wrong.

    Without a name, all ops; `tinyconv gradcheck conv2d --stride 2 --padding 1,2` is one with options, and
    `tinyconv gradcheck mymodule:MyOp --beta 2.0` one of your own, from the current folder.

    The options of an op are given like those of the command: --padding same, --dim -1, --keepdim. Arguments are drawn.
    """
    from tinyconv.check.blame import place_of, raised
    from tinyconv.check.own import OpArgumentError
    from tinyconv.testing.table import known

    names, options = _split_options(what or [])
    own = [name for name in names if ":" in name or "." in name]
    try:
        for name in names:
            if name not in own:
                known(name)
    except VariantError as error:
        raise typer.BadParameter(f"{error}; an op of your own is MODULE:NAME") from None
    if options and len(names) != 1:
        raise typer.BadParameter(
            f"--{next(iter(options))} is an option of an op: name one op, and its options after it"
        )
    if with_torch and find_spec("torch") is None:
        raise typer.BadParameter("--torch needs PyTorch: pip install torch")
    if own and (with_torch or len(names) > 1):
        raise typer.BadParameter(
            f"{own[0]} has no counterpart in PyTorch to be found: use tinyconv.check.compare_with_torch in a test"
            if with_torch
            else f"check {own[0]} alone"
        )
    try:
        failed = (
            _gradcheck_own(own[0], what or [], cases, seed, options, as_json)
            if own
            else _gradcheck_public(names, cases, seed, options, with_torch, as_json)
        )
    except (OpArgumentError, ShapeError) as error:
        raise typer.BadParameter(str(error)) from None
    except Exception as error:
        if not own or not place_of(error):
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
        "; PyTorch: in units in the last place, up to 64" if with_torch else ""
    )
    if table.row_count:
        count = f"{table.row_count} op{'s' * (table.row_count > 1)}"
        lines.append(f"{len(failed)} of {count} failed" if failed else f"{count}, all right; {units}")
    console.print(escape("\n".join(lines)), highlight=False, soft_wrap=True)
    return bool(failed)


def _gradcheck_own(place: str, words: list[str], cases: int, seed: int, options: dict[str, Any], as_json: bool) -> bool:
    from tinyconv.check import check_op

    if "inputs" in options:
        raise typer.BadParameter("arrays cannot be given here: tinyconv.check.check_op(op, inputs=[...]) takes them")
    report = check_op(load_named(place), cases=cases, seed=seed, raise_exception=False, **options)
    if as_json:
        for case, found in zip(report.cases, report.reports, strict=True):
            print(json.dumps({"op": report.name, "shapes": case.shapes, **asdict(found)}), flush=True)
    else:
        Console().print(escape(str(report)), highlight=False, soft_wrap=True)
        for case, _ in report.failures[:1]:
            shapes = str([np.shape(x) for x in case.inputs if x is not None])
            words = [*words, *([] if "shapes" in options else ["--shapes", shapes]), "--seed", str(case.seed)]
            print(f"or, here: tinyconv gradcheck {shlex.join(words)}")
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
            raise typer.BadParameter(f"--{name} has one value, got {value} and {rest[0]}; a pair is {value},{rest[0]}")
    return names, options


def _literal(text: str) -> Any:
    """A number, a tuple, True, None; anything else is a string."""
    try:
        return literal_eval({"true": "True", "false": "False", "none": "None"}.get(text, text))
    except (ValueError, SyntaxError):
        return text
