"""`tinyconv ...` in the process of the test, which saves the second that another takes to start."""

import contextlib
import io
import os
import sys
import tempfile
import warnings
from types import SimpleNamespace
from unittest import mock

import tinyconv as tc
from tinyconv import cli, models
from tinyconv.cli import common
from tinyconv.engine import kernels

TEMPORARY = os.path.join(tempfile.gettempdir(), "pytest-of-")
PLAIN = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}


class _Console(io.TextIOWrapper):
    """Where a command writes, as if it were a pipe."""

    def __init__(self):
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    @property
    def text(self):
        return self.buffer.getvalue().decode().replace("\r\n", "\n")


def run_here(*args, code=0, cwd=None):
    """Run a command in `cwd`, expect this exit code, and return what it printed; nothing of it stays behind."""
    out, errors, status = _Console(), _Console(), 0
    threads, modules, generator = tc.get_num_threads(), set(sys.modules), tc.get_rng_state()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(cwd or os.getcwd()))
        for target, values in ((sys, {"argv": ["tinyconv", *map(str, args)], "path": ["", *sys.path]}),):
            stack.enter_context(mock.patch.multiple(target, **values))
        stack.enter_context(mock.patch.dict(os.environ, PLAIN))
        stack.enter_context(mock.patch.dict(models._OWN))
        stack.enter_context(mock.patch.object(common, "OWN", set()))
        stack.enter_context(mock.patch.object(warnings, "showwarning", warnings.showwarning))
        stack.enter_context(mock.patch.object(kernels, "announce", kernels.announce))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("default")
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(errors))
        try:
            cli.main()
        except SystemExit as stopped:
            status = stopped.code or 0
    tc.set_rng_state(generator)
    if tc.get_num_threads() != threads:
        tc.set_num_threads(threads)
    for name in set(sys.modules) - modules:  # a user's module; another test may have a file of that name
        if str(getattr(sys.modules[name], "__file__", None)).startswith(TEMPORARY):
            del sys.modules[name]
    assert status == code, f"exit code {status}\n{out.text}\n{errors.text}"
    assert "Traceback" not in errors.text
    return SimpleNamespace(stdout=out.text, stderr=errors.text)
