"""A stand-in for CuPy that is stricter than CuPy, on NumPy: to test what runs on a GPU where there is none.

    from standin import cupy, counted

Arrays of the device and of the host do not mix, garbage is what new memory holds, and what CuPy has not is not there.
`counted` tells what was copied between host and device, waited for and launched; `installed` makes it what
`import cupy` finds. The kernels' sources are compiled by the host's compiler and run thread by thread (`kernels`).
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
