"""Time `tinyconv train --recipe fast` from start to exit, beside the same recipe in PyTorch, eager and compiled.

python benchmarks/fast_recipe.py                # ten seeds, three of PyTorch: three minutes on two cores
python benchmarks/tables.py                     # puts the record into the pages
"""

import argparse
import statistics
from dataclasses import asdict
from pathlib import Path

import tinyconv
from harness.record import LIBRARIES, write
from harness.whole import fast
from tinyconv.host.environment import stamp, version_of
from tinyconv.host.files import check_writable
from tinyconv.train import RECIPES

RECORD = Path(__file__).parent / "records" / "fast-recipe.json"


def measure(seeds, others, root=None):
    """The record of these seeds, of which PyTorch trains `others`."""
    found = fast(tinyconv.get_num_threads(), seeds, others, root)
    return {
        "benchmark": "fast-recipe",
        "recipe": asdict(RECIPES["fast"]),
        **stamp(),
        "versions": {library: version_of(library) for library in LIBRARIES},
        **found,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="seeds from 0 on (default: 10)")
    parser.add_argument("--others", type=int, default=3, help="the seeds of these that PyTorch trains (default: 3)")
    parser.add_argument("--data-dir", type=Path, help="folder with the data files")
    parser.add_argument("--out", type=Path, default=RECORD, help="file for the record")
    arguments = parser.parse_args()
    check_writable(arguments.out.parent)
    found = measure(range(arguments.seeds), range(arguments.others), arguments.data_dir)
    write(arguments.out, found)
    for name, runs in found["runs"].items():
        accuracies, seconds = ([run[key] for run in runs] for key in ("test_accuracy", "seconds"))
        print(f"{name}: {statistics.median(seconds):.2f} s, mean of {len(runs)}: {statistics.mean(accuracies):.3%}")
    print(arguments.out)


if __name__ == "__main__":
    main()
