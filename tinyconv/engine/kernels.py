"""Which kernels run: `variants.kernels` says what is chosen, and here is what can be had.

The compiled ones are a library, which `tinyconv.fast.native` finds or builds; whoever runs captured steps, and the
command line, ask here. Without `tinyconv.fast` there is none, and NumPy runs.
"""

from __future__ import annotations

from contextlib import suppress
from ctypes import CDLL
from threading import Thread
from typing import NamedTuple

from tinyconv.engine.variants import kernels
from tinyconv.errors import VariantError
from tinyconv.host.threads import Once
from tinyconv.user_frame import warn


class Found(NamedTuple):
    """The compiled kernels, and where they came from; or None, and why there are none."""

    library: CDLL | None
    how: str


class NoCompilerError(VariantError):
    """There is no compiler, and nobody has named one."""


def find() -> Found:
    """The compiled kernels; VariantError where they cannot be had. `tinyconv.fast` puts its own in this place."""
    return Found(None, "tinyconv.fast is not there")


def announce(line: str) -> None:
    """Is told before a compiler is called, which takes seconds. The command line puts its own in this place."""


def for_programs() -> Found:
    """The library that captured steps run in, if compiled kernels are chosen here and can be had; else None, and why.

    Waits until a library that is being compiled is there. Where none can be had, NumPy goes on, here and in the rest of
    the process: silently where there is no compiler, else with a warning.
    """
    chosen = kernels()
    return _for_programs() if chosen == "compiled" else Found(None, f"{chosen} kernels are chosen")


@Once
def _for_programs() -> Found:
    try:
        return find()
    except VariantError as error:
        lines = (line.strip() for line in str(error).splitlines()[:2])
        why = " ".join(lines).removeprefix("native: ").partition("; ")[0]
        if not isinstance(error, NoCompilerError):
            warn(f"no compiled kernels: {why}; NumPy runs instead")
        return Found(None, why)


def running(search: bool = True) -> str:
    """The kernels that captured steps on the CPU run: "compiled", "numpy" or "readable".

    Without `search` the library counts only if it has been asked for before, as it has where a step ran in it.
    """
    chosen = kernels()
    there = (search or _for_programs.made) and chosen == "compiled" and for_programs().library is not None
    return chosen if chosen != "compiled" or there else "numpy"


def prepare() -> None:
    """Find the library now, in a thread of its own: if it has to be compiled, data can be read meanwhile."""

    def look() -> None:
        with suppress(Exception):  # whoever asks next is told
            _for_programs()

    if kernels() == "compiled":
        Thread(target=look, name="tinyconv-kernels", daemon=True).start()
