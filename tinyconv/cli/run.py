"""`tinyconv run SCRIPT.py`: a PyTorch script on this library."""

from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Annotated

import typer

from tinyconv.errors import shortened
from tinyconv.torch_modules.stand_in import as_torch

_SHOW = warnings.showwarning  # Python's, which the command replaces


def run(
    context: typer.Context, script: Annotated[Path, typer.Argument(help="A Python file that imports torch.")]
) -> None:
    """Run a PyTorch script on this library: `import torch` in it gives tinyconv, `torchvision` what is here of it.

    What follows SCRIPT are its own arguments. The first name that is not here stops it, with its line, and says what
    the name is and what to use instead. The exit code is the script's: 1 where it ends with an error.
    """
    if not script.is_file():
        raise typer.BadParameter(f"no file {shortened(str(script), 1000)}", param_hint="SCRIPT")
    main = ModuleType("__main__")
    main.__file__, main.__builtins__ = str(script), __builtins__  # type: ignore[attr-defined]
    before = sys.argv, sys.path[:], sys.modules["__main__"], warnings.showwarning
    sys.argv, sys.modules["__main__"], warnings.showwarning = [str(script), *context.args], main, _SHOW
    sys.path.insert(0, str(script.resolve().parent))
    try:
        with as_torch():
            exec(compile(script.read_bytes(), str(script), "exec"), vars(main))
    except Exception as error:
        traceback.print_exception(error.with_traceback(_from(str(script), error.__traceback__)))
        raise typer.Exit(1) from None
    finally:
        sys.argv, sys.path[:], sys.modules["__main__"], warnings.showwarning = before


def _from(script: str, lines: TracebackType | None) -> TracebackType | None:
    """A traceback without what comes before the script."""
    while lines is not None and lines.tb_frame.f_code.co_filename != script:
        lines = lines.tb_next
    return lines
