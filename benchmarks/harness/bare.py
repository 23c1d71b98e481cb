"""An interpreter that does nothing: its peak memory is what others are measured above.

Run as a file, for as a module of the package it would import NumPy first.
"""

import resource
import sys


def peak_mib() -> float:
    """The peak memory of this process so far, in MiB. On Linux not what `getrusage` says, which a process takes over
    from the one that started it."""
    if sys.platform == "linux":
        with open("/proc/self/status", encoding="ascii") as status:
            (kib,) = (int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        return kib / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    print(peak_mib())
