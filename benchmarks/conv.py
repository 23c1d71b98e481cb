"""`tinyconv bench conv` as a script: `python benchmarks/conv.py --help`."""

import sys

from tinyconv.bench.command import app

if __name__ == "__main__":
    app(["conv", *sys.argv[1:]])
