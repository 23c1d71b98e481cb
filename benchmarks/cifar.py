"""`tinyconv bench cifar` as a script: `python benchmarks/cifar.py --help`."""

import sys

from tinyconv.bench.command import app

if __name__ == "__main__":
    app(["cifar", *sys.argv[1:]])
