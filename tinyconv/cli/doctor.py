"""`tinyconv doctor`."""

from __future__ import annotations

import tinyconv
from tinyconv import data
from tinyconv.host.environment import environment, version_of


def doctor() -> None:
    """Print what this installation has: versions, BLAS and its threads, GPUs, datasets."""
    print(f"tinyconv: {tinyconv.__version__}")
    for what, found in environment().items():
        print(f"{what}: {'; '.join(found) or 'unknown' if isinstance(found, list) else found}")
    for name in ("typer", "rich", "safetensors", "requests", "pillow", "threadpoolctl", "torch"):
        print(f"{name}: {version_of(name)}")
    for name in data.list_datasets():
        print(f"data: {name}: {data.locate(name) or 'not found'}")
