"""An interpreter that does nothing: its peak memory is what others are measured above. Imports next to nothing."""

import resource
import sys

if __name__ == "__main__":
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(str(peak))
