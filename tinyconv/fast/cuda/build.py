"""The CUDA sources beside this file, compiled when a kernel first runs, and their launch."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
REAL = {"f": "float", "d": "double"}
"""What the sources call REAL, by the character of a dtype."""
MOST = 1 << 30
"""The most elements of an array that a kernel takes: they are counted with ints, and some way past the end."""
INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


def source(name: str) -> str:
    """The text of a source with what it includes in place: CuPy finds what it compiled before by the text alone."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return INCLUDE.sub(lambda found: source(found[1]), text)


def options(real: str, **names: str) -> tuple[str, ...]:
    """What the compiler is told besides the source: what REAL stands for, and other names."""
    return ("-std=c++17", f"-DREAL={real}", *(f"-D{name}={value}" for name, value in names.items()))


@cache
def _function(xp: Any, name: str, kernel: str, char: str, **names: str) -> Any:
    return _module(xp, name, char, **names).get_function(kernel)


@cache
def _module(xp: Any, name: str, char: str, **names: str) -> Any:
    return xp.RawModule(code=source(name), options=options(REAL[char], **names))


def launch(
    xp: Any,
    place: str,
    dtype: Any,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    *args: Any,
    **names: str,
) -> None:
    """Run a kernel: `launch(xp, "pool.cu:max_pool", x.dtype, (blocks,), (threads,), x, y, n, ...)`.

    Arrays go as their addresses (they must be contiguous), None as a null pointer, a Python int as `int`, a float as
    REAL, and a NumPy array of one element, such as a struct, by value. `names` says what else the source leaves open.
    """
    name, _, kernel = place.partition(":")
    dtype = np.dtype(dtype)
    function = _function(xp, name, kernel, dtype.char, **names)
    given = tuple(
        np.int32(arg) if isinstance(arg, int) else dtype.type(arg) if isinstance(arg, float) else arg for arg in args
    )
    function(grid, block, given)


def blocks(n: int, threads: int) -> int:
    """How many blocks of so many threads n items take."""
    return -(-n // threads)
