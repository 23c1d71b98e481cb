"""What a program runs on, for `tinyconv doctor` and the records of benchmarks."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tinyconv.arrays.backend import cuda_version, cupy_backend, device_name


def environment() -> dict[str, Any]:
    """Versions, the processor, the cores this process may use, BLAS libraries with their threads, and GPUs."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": platform.platform(),
        "processor": processor(),
        "cores": cores(),
        "blas": blas(),
        "gpu": gpu(),
    }


def stamp() -> dict[str, Any]:
    """What every record begins with: the date, the commit, and the environment."""
    return {"date": time.strftime("%Y-%m-%d"), "commit": commit(), "environment": environment()}


def processor() -> str:
    """The name of the processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def cores() -> int:
    """The number of cores this process may use: those it is bound to, but no more than the limit of a container."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cpu_limit(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return bound if limit >= bound else max(1, round(limit))


def cpu_limit(root: Path, membership: Path) -> float:
    """The number of processors whose time control groups of Linux leave to this process; infinity without a limit.

    Reads version 2 (cpu.max of this group and of those above it) and version 1 (cpu.cfs_quota_us).
    """
    limits = [inf]
    try:
        groups = [line.split(":", 2)[2].strip("/") for line in membership.read_text(encoding="utf-8").splitlines()]
    except (OSError, IndexError):
        groups = []
    for group in dict.fromkeys(["", *groups]):
        for folder in (root / group, *(root / group).parents):
            limits += _limits_of(folder)
            if folder == root:
                break
    return min(limits)


def _limits_of(folder: Path) -> list[float]:
    found = []
    for quota_file, period_file in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = (folder / quota_file).read_text(encoding="ascii").split()
            if period_file is not None:
                words += (folder / period_file).read_text(encoding="ascii").split()
            quota, period = float(words[0]), float(words[1])
        except (OSError, ValueError, IndexError):  # there is no such file, or it says "max"
            continue
        if quota > 0 and period > 0:
            found.append(quota / period)
    return found


def blas() -> list[str]:
    """The BLAS libraries that are loaded. They are found with threadpoolctl; without it the list is empty."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    return [
        f"{pool['internal_api']} {pool.get('version')} {pool.get('architecture', '')}, {pool['num_threads']} threads"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]


def gpu() -> str:
    """The GPUs that CuPy finds, or why it finds none."""
    try:
        cupy = cupy_backend().xp
        count = cupy.cuda.runtime.getDeviceCount()
        names = [cupy.cuda.runtime.getDeviceProperties(i)["name"].decode() for i in range(count)]
    except Exception as error:  # a broken driver may raise anything, and this is the place to say what
        return f"none: {str(error).splitlines()[0]}"
    return f"CuPy {cupy.__version__}: {', '.join(names)}"


FIND_MPI = """
import mpi4py
mpi4py.rc.initialize = mpi4py.rc.finalize = False
from mpi4py import MPI
print("mpi4py " + mpi4py.__version__ + ", " + " ".join(MPI.Get_library_version().splitlines()[0].split()))
"""


def mpi() -> str:
    """The MPI that `--ranks mpi` runs on, and its mpiexec; or why there is none.

    Another process looks: this one would load MPI, which is not asked to run here.
    """
    from tinyconv.host.processes import PYTHON, program, run_child

    if (found := version_of("mpi4py")) == "not installed":
        return "none: mpi4py is not installed: pip install 'tinyconv[mpi]', and mpich where no MPI is installed"
    with TemporaryDirectory() as folder:
        try:
            ended = run_child([*PYTHON, "-c", FIND_MPI], folder=folder, timeout=60)
        except OSError as error:
            return f"none: {error}"
    said = ended.said.strip().splitlines() or ["it said nothing"]
    if ended.code != 0:
        return f"none: mpi4py {found} finds no MPI ({said[-1]:.200}): pip install mpich, or load your cluster's module"
    beside = program(os.path.join(os.path.dirname(sys.executable), "mpiexec"))
    return f"{said[-1]}; mpiexec: {beside or program('mpiexec') or 'not found'}"


def device_details(device: str) -> dict[str, Any]:
    """A device, for a record: its name; for a GPU also its memory, compute capability, driver, CuPy and CUDA.

    Raises DeviceError where there is no such device.
    """
    place = device_name(device)
    if place == "cpu":
        return {"name": processor()}
    number, cupy = cupy_backend().check_device(place), cupy_backend().xp
    found = cupy.cuda.runtime.getDeviceProperties(number)
    return {
        "name": found["name"].decode(),
        "memory_mib": found["totalGlobalMem"] >> 20,
        "compute_capability": f"{found['major']}.{found['minor']}",
        "driver": driver(Path("/proc/driver/nvidia/version")),
        "driver_cuda": cuda_version(cupy.cuda.runtime.driverGetVersion()),
        "cuda": cuda_version(cupy.cuda.runtime.runtimeGetVersion()),
        "cupy": cupy.__version__,
    }


def driver(path: Path) -> str:
    """The version of NVIDIA's driver, from the file of its kernel module, or "unknown"."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)", path.read_text(encoding="utf-8"))
    except OSError:
        return "unknown"
    return found[1] if found else "unknown"


def commit() -> str:
    """The commit of the checkout this runs from, with a + where files differ from it; "unknown" without one."""
    from tinyconv.host.processes import program, run_child  # here: it takes as long as importing all of the ops

    root, git = Path(__file__).parents[2], program("git")
    if git is None or not (root / ".git").exists():  # git would look above it, in a repository of another's
        return "unknown"
    quiet = [
        "-c",
        "core.fsmonitor=",
        "-c",
        f"core.hooksPath={os.devnull}",
        "-C",
        str(root),
    ]  # what else runs a program of its own
    describe = [git, *quiet, "describe", "--always", "--dirty=+", "--exclude=*"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        ended = run_child(describe, folder=root, timeout=60, env=plain | {"GIT_OPTIONAL_LOCKS": "0"})
    except OSError:
        return "unknown"
    return ended.said.strip() if ended.code == 0 else "unknown"


def version_of(distribution: str) -> str:
    """The version of an installed distribution, or "not installed"."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
