"""An interpreter that does nothing: its peak memory is what others are measured above.

It is run as a file, and imports nothing but the standard library.
"""

import resource
import sys


def peak_mib() -> float:
    """The peak memory of this process so far, in MiB. Linux tells it in /proc: what `getrusage` says there, a process
    inherits from the one that started it."""
    if sys.platform == "linux":
        with open("/proc/self/status", encoding="ascii") as status:
            (kib,) = (int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        return kib / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    print(peak_mib())
