"""`tinyconv doctor`."""

from __future__ import annotations

import tinyconv
from tinyconv import data
from tinyconv.engine import kernels
from tinyconv.errors import TinyconvError
from tinyconv.host.environment import environment, mpi, version_of


def doctor() -> None:
    """Print what this installation has: versions, BLAS and its threads, GPUs, MPI, the studio, datasets."""
    from tinyconv.web.door import check_installed

    print(f"tinyconv: {tinyconv.__version__}")
    for what, found in environment().items():
        print(f"{what}: {'; '.join(found) or 'unknown' if isinstance(found, list) else found}")
    print(f"kernels: {kernels.running()}: {kernels.for_programs().how}")
    print(f"mpi: {mpi()}")
    names = ["typer", "rich", "safetensors", "requests", "pillow", "threadpoolctl", "torch"]
    for name in [*names, "starlette", "uvicorn", "websockets", "pygments"]:
        print(f"{name}: {version_of(name)}")
    try:
        check_installed()
        print("studio: can be served")
    except TinyconvError as error:
        print(f"studio: {error}")
    for name in data.list_datasets():
        print(f"data: {name}: {data.locate(name) or 'not found'}")
