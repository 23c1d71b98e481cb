"""A stand-in for CuPy that is stricter than CuPy, on NumPy: to test what runs on a GPU where there is none.

    from standin import cupy, counted

Arrays of the device and of the host do not mix, new memory holds garbage, and what CuPy does not have is not there.
`counted` counts copies between host and device, waits and launches. `installed` makes the stand-in what `import cupy`
finds. The host's compiler compiles the kernels' sources, and they run thread by thread (`kernels`).
"""

import sys
from contextlib import contextmanager

from standin import cupy
from standin.cuda import Count, counted

__all__ = ["Count", "counted", "cupy", "installed"]


@contextmanager
def installed():
    """Inside, the stand-in is what `import cupy` finds."""
    names = {"cupy": cupy, "cupy.cuda": cupy.cuda}
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update(names)
    cupy.cuda.Device(0).use()
    try:
        yield
    finally:
        cupy.cuda.Device(0).use()
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
