"""`tinyconv bench lenet` as a script: `python benchmarks/lenet.py --help`."""

import sys

from tinyconv.bench.command import app

if __name__ == "__main__":
    app(["lenet", *sys.argv[1:]])
