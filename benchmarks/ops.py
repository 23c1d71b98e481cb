"""`tinyconv bench ops` as a script: `python benchmarks/ops.py --help`."""

import sys

from tinyconv.bench.command import app

if __name__ == "__main__":
    app(["ops", *sys.argv[1:]])
