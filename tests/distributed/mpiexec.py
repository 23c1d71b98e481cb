"""mpiexec, for tests: where it is, why there is none, and how ranks are started."""

import os
import subprocess
import sys
from pathlib import Path

from tinyconv.host.environment import version_of
from tinyconv.host.processes import program

BESIDE = Path(sys.executable).with_name("mpiexec")
MPIEXEC = str(BESIDE) if BESIDE.exists() else program("mpiexec")
NO_MPI = (
    "needs mpi4py: pip install mpi4py mpich" if version_of("mpi4py") == "not installed" else
    "needs mpiexec, of an MPI: pip install mpich" if MPIEXEC is None else ""
)  # fmt: skip


def start(ranks, *words, cwd=None):
    """So many ranks of this Python, with these arguments."""
    own = {"PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.Popen(
        [MPIEXEC, "-n", str(ranks), sys.executable, *words], cwd=cwd, env={**os.environ, **own},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process, timeout=300):
    """Its exit code and outputs; of the errors without the line in which MPICH says that it was told to end."""
    out, errors = process.communicate(timeout=timeout)
    lines = [line for line in errors.splitlines() if not line.startswith("Abort(")]
    return process.returncode, out, "\n".join(lines)
