"""What a program runs on: for `tinyconv doctor`, and for the records of benchmarks."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from tinyconv.backend import cupy_backend


def environment() -> dict[str, Any]:
    """Versions, processor, cores this process may use, BLAS libraries with their threads, and GPUs."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": platform.platform(),
        "processor": processor(),
        "cores": cores(),
        "blas": blas(),
        "gpu": gpu(),
    }


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blas() -> list[str]:
    """The BLAS libraries that are loaded; empty without threadpoolctl, which finds them."""
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
    except Exception as error:  # whatever is wrong with a driver is what we are here to say
        return f"none: {str(error).splitlines()[0]}"
    return f"CuPy {cupy.__version__}: {', '.join(names)}"


def commit() -> str:
    """The commit of the checkout this runs from, with a + where files differ from it; "unknown" outside of one."""
    describe = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    except OSError:  # no git
        return "unknown"


def version_of(distribution: str) -> str:
    """The version of an installed distribution, or "not installed"."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
